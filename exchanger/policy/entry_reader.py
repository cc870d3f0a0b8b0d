"""One entry of a document, from nodes to a value: an entry where all is well, otherwise regions over what can be read of its area.

Must not know: YAML text, or other entries.
"""

from typing import Final

from exchanger.policy.fields import Fields, Problem
from exchanger.policy.match_reader import MatchReader
from exchanger.policy.quoting import quoted
from exchanger.policy.yaml_nodes import Node
from exchanger.values.entry import EVERYWHERE, Area, DenyEntry, Entry, ExchangeEntry, Region, Source, TokenTarget

_ENTRY_FIELDS: Final = frozenset({"match", "action", "exchange"})
_EXCHANGE_FIELDS: Final = frozenset({"issuerRef", "scope", "resources", "audiences"})


def read_entry(source: Source, index: int, node: Node, issuers: frozenset[str], matches: MatchReader) -> Entry | tuple[Region, ...]:
    """Return the entry at ``index``, or the regions that its problems close, one for each host that may have been meant.

    The regions' place is that of the first problem: the field that is wrong, or the mapping that lacks one.

    Args:
        source: the document
        index: the position in its ``entries``
        node: what stands there
        issuers: the profiles that it may refer to
        matches: the reader of all matches of the document
    """
    problems: list[Problem] = []
    areas: tuple[Area, ...] = (EVERYWHERE,)
    target = None
    entry = Fields.of(node, f"entries[{index}]", _ENTRY_FIELDS, problems)
    if entry is not None:
        areas = matches.read(entry)
        target = _read_action(entry, issuers)
    if problems:
        reason, place = "; ".join(problem.text for problem in problems), problems[0].node
        return tuple(Region(source, area, reason, index, place.line, place.column) for area in areas)
    (area,) = areas
    return DenyEntry(source, index, area) if target is None else ExchangeEntry(source, index, area, target)


def _read_action(entry: Fields, issuers: frozenset[str]) -> TokenTarget | None:
    """Read what the entry asks for, and return the target of an exchange that has no problem."""
    action = entry.required("action").lower()
    wanted = action == "exchange"
    if action and not wanted and action != "deny":
        entry.problem("action", f"must be exchange or deny, not {quoted(action)}")
    exchange = entry.mapping("exchange", _EXCHANGE_FIELDS)
    if exchange is None:
        if wanted and "exchange" not in entry.nodes:
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
