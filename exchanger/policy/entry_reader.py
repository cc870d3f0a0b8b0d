"""One entry of a document, from nodes to a value: an entry where all is well, otherwise a region over what can be read of its area.

Must not know: YAML text, or other entries.
"""

from typing import Final

import attrs

from exchanger.policy.authority import is_host, normalise_policy_host
from exchanger.policy.quoting import quoted
from exchanger.policy.yaml_nodes import Kind, Mapping, Node, Scalar, Sequence, is_null, text_of
from exchanger.values.entry import Area, DenyEntry, Entry, ExchangeEntry, Region, Source, TokenTarget

_ENTRY_FIELDS: Final = frozenset({"match", "action", "exchange"})
_MATCH_FIELDS: Final = frozenset({"host", "pathPrefix", "methods", "caseInsensitive"})
_EXCHANGE_FIELDS: Final = frozenset({"issuerRef", "scope", "resources", "audiences"})
_BOOLEANS: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}  # YAML 1.2 core schema
_NO_HOST: Final = "is no host: wildcards and URLs are not supported, only a host name or a bracketed IPv6 address"


@attrs.frozen
class _Problem:
    """A sentence for the author, and the node to look at."""

    text: str
    node: Node


@attrs.define(eq=False)
class _Reader:
    """Reads fields of one mapping, ``node``, and notes the problems. A field that is null is missing. ``where`` is the mapping's path."""

    where: str
    node: Node
    problems: list[_Problem]
    fields: dict[str, Node]

    def problem(self, name: str, text: str) -> None:
        self.problems.append(_Problem(f"{self.where}.{name} {text}", self.fields.get(name, self.node)))

    def mapping(self, name: str, known: frozenset[str]) -> "_Reader | None":
        """Return a reader of the mapping in the field ``name``, ``None`` when it is missing or something else."""
        node = self.fields.get(name)
        return None if node is None else _reader(node, f"{self.where}.{name}", known, self.problems)

    def text(self, name: str) -> str:
        """Return the trimmed text of a field, "" when it is missing or something else."""
        node = self.fields.get(name)
        if node is None:
            return ""
        text = text_of(node)
        if text is not None:
            return text.strip()
        self.problem(name, "must be text")
        return ""

    def boolean(self, name: str) -> bool | None:
        """Return a field that must be a boolean, False when it is missing, ``None`` when it is something else."""
        node = self.fields.get(name)
        if node is None:
            return False
        value = _BOOLEANS.get(node.text) if isinstance(node, Scalar) and node.kind is Kind.OTHER else None
        if value is None:
            self.problem(name, "must be true or false")
        return value

    def required(self, name: str) -> str:
        """Return the trimmed text of a field that must be there, "" when there is a problem with it."""
        before = len(self.problems)
        text = self.text(name)
        if not text and len(self.problems) == before:
            self.problem(name, "is required")
        return text

    def texts(self, name: str) -> tuple[str, ...] | None:
        """Return the trimmed texts of a list without blank ones; ``None`` when it is no list of texts."""
        node = self.fields.get(name)
        if node is None:
            return ()
        if isinstance(node, Sequence):
            present = [item for item in node.items if not is_null(item)]
            texts = [text for item in present if (text := text_of(item)) is not None]
            if len(texts) == len(present):
                return tuple(trimmed for text in texts if (trimmed := text.strip()))
        self.problem(name, "must be a list of texts")
        return None


def _reader(node: Node, where: str, known: frozenset[str], problems: list[_Problem]) -> _Reader | None:
    if not isinstance(node, Mapping):
        problems.append(_Problem(f"{where} must be a mapping", node))
        return None
    fields: dict[str, Node] = {}
    unknown: list[Node] = []
    for key, value in node.pairs:
        name = text_of(key)
        if name is None or name not in known:
            unknown.append(key)
        elif not is_null(value):
            fields[name] = value
    if unknown:
        first = unknown[0]
        name = text_of(first)
        shown = "that is no text" if name is None else quoted(name)
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        problems.append(_Problem(f"{where} has an unknown field {shown}{more}", first))
    return _Reader(where, node, problems, fields)


def read_entry(source: Source, index: int, node: Node, issuers: frozenset[str]) -> Entry | Region:
    """Return the entry at ``index``, or the region that its problems close. ``issuers`` are the profiles it may refer to.

    The region's place is that of its first problem: the field that is wrong, or the mapping that lacks one.
    """
    problems: list[_Problem] = []
    area, target = Area(), None
    entry = _reader(node, f"entries[{index}]", _ENTRY_FIELDS, problems)
    if entry is not None:
        area = _read_area(entry)
        target = _read_action(entry, issuers)
    if problems:
        place = problems[0].node
        return Region(source, area, "; ".join(problem.text for problem in problems), index, place.line, place.column)
    return DenyEntry(source, index, area) if target is None else ExchangeEntry(source, index, area, target)


def _read_area(entry: _Reader) -> Area:
    """Read where the entry applies; a part that is missing or unreadable is everything."""
    match = entry.mapping("match", _MATCH_FIELDS)
    if match is None:
        if "match" not in entry.fields:
            entry.problem("match", "is required")
        return Area()
    written = match.required("host")
    host = normalise_policy_host(written)
    if written and not is_host(host):
        match.problem("host", f"{quoted(host or written)} {_NO_HOST}")
    prefix = match.required("pathPrefix")
    methods = frozenset(method.strip().upper() for method in match.texts("methods") or ())
    return Area(
        host=host or None,
        path_prefix=prefix if not prefix or prefix.startswith("/") else "/" + prefix,
        methods=methods if methods and "*" not in methods else None,
        case_insensitive=match.boolean("caseInsensitive") is not False,
    )


def _read_action(entry: _Reader, issuers: frozenset[str]) -> TokenTarget | None:
    """Read what the entry asks for, and return the target of an exchange that has no problem."""
    action = entry.required("action").lower()
    wanted = action == "exchange"
    if action and not wanted and action != "deny":
        entry.problem("action", f"must be exchange or deny, not {quoted(action)}")
    exchange = entry.mapping("exchange", _EXCHANGE_FIELDS)
    if exchange is None:
        if wanted and "exchange" not in entry.fields:
            entry.problem("exchange", "is required")
        return None
    # The block of another action need not be complete, but must be made of the fields and types that it may have.
    issuer = exchange.required("issuerRef") if wanted else exchange.text("issuerRef")
    scope, resources, audiences = exchange.text("scope"), exchange.texts("resources"), exchange.texts("audiences")
    if not wanted:
        return None
    if issuer and issuer not in issuers:
        exchange.problem("issuerRef", f"references unknown issuer profile {quoted(issuer)}")
    if not (scope or resources or audiences) and resources is not None and audiences is not None:
        entry.problem("exchange", "needs at least one of scope, resources and audiences")
    return None if entry.problems else TokenTarget(issuer, scope, resources or (), audiences or ())
