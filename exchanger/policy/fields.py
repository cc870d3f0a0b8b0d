"""The fields of the mappings of a document: their types, the rules for their texts, and reading them by name.

Each mapping has a table of the fields that it may have, from which its JSON Schema is made too. Rules for texts are regular expressions
that every language reads: no look-around, no possessive quantifiers. The readers decide. The rules never refuse what they accept, and
refuse most of what they refuse, so that an editor can tell at once. A text is judged as it was written, with the blanks around it.

Must not know: which fields there are, or what they mean.
"""

import enum
import re
from collections.abc import Mapping as Table
from typing import Final, final

import attrs

from exchanger.policy.authority import LITERAL, NAME, SCHEMES
from exchanger.policy.headers import FORBIDDEN, TOKEN
from exchanger.policy.prefix import UNSEEN, Fault
from exchanger.policy.yaml_nodes import Kind, Mapping, Node, Scalar, Sequence, is_null, text_of
from exchanger.util.text import quoted

_BOOLEANS: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}  # YAML 1.2 core schema

EXCHANGE: Final = "exchange"
DENY: Final = "deny"
ALLOW: Final = "allow"
# Words for all methods elsewhere; as methods they would match no request.
EVERY_METHOD: Final = frozenset({"ALL", "ANY"})
METHOD: Final = "[A-Za-z][A-Za-z0-9_-]*"


@final
@attrs.frozen
class Refusal:
    """Texts in which ``pattern`` is found are refused. ``reason`` is a sentence for authors."""

    pattern: str
    reason: str


@final
@attrs.frozen
class TextRule:
    """A text has to contain ``pattern`` ("": anything) and none of the ``refusals``, or to be exactly ``only``.

    ``examples`` are texts that editors offer.
    """

    pattern: str = ""
    refusals: tuple[Refusal, ...] = ()
    only: str = ""
    examples: tuple[str, ...] = ()


ANY_TEXT: Final = TextRule()


def _literally(escapes: str) -> str:
    """Return ``escapes``, of Python, as the characters themselves."""
    return escapes.encode("ascii").decode("unicode_escape")


def any_case(words: frozenset[str]) -> str:
    """Return a pattern for ``words`` in any case."""
    return "|".join("".join(f"[{char.upper()}{char.lower()}]" if char.isalpha() else char for char in word) for word in sorted(words))


def whole(pattern: str) -> str:
    """Return ``pattern`` for a whole text, with blanks around it."""
    return f"^[{BLANKS}]*(?:{pattern})[{BLANKS}]*$"


def _portable(pattern: str) -> str:
    """Return ``pattern`` without possessive quantifiers, which make a difference to its speed alone."""
    return re.sub(r"([+*}])\+", r"\1", pattern)


# The blanks that Python strips: more than JavaScript in some places, and fewer in others.
BLANKS: Final = _literally(r"\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000")
NOT_BLANK: Final = f"[^{BLANKS}]"

ACTION: Final = TextRule(whole(any_case(frozenset({EXCHANGE, DENY, ALLOW}))), examples=(EXCHANGE, DENY, ALLOW))
IS_EXCHANGE: Final = whole(any_case(frozenset({EXCHANGE})))
METHODS: Final = TextRule(
    whole(rf"(?:{METHOD}|\*)?"),
    (Refusal(whole(any_case(EVERY_METHOD)), "There is no word for all methods: leave methods out."),),
    examples=("GET", "POST", "PUT", "PATCH", "DELETE"),
)

_SERVICE: Final = "[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*"
_COLON: Final = "[ \t]*:[ \t]*"
_ADDRESS: Final = r"[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,8}(?:\.[0-9]{1,3}){0,3}"
_HOST: Final = rf"(?:(?:\*\.[{BLANKS}]*)?(?:{_portable(NAME)})\.?|{_portable(LITERAL)})(?:{_COLON}(?:[0-9]*|\*|{_SERVICE}))?|{_ADDRESS}"
HOST: Final = TextRule(
    whole(_HOST),
    (
        Refusal(f"{_COLON}[0-9]+-[0-9-]*[{BLANKS}]*$", "What follows the colon is no port."),
        Refusal(f"^[{BLANKS}]*(?:{any_case(SCHEMES)}){_COLON}[0-9-]*[A-Za-z]", "What stands before the colon is a scheme, not a host."),
    ),
)
# The same, or every host.
ANY_HOST: Final = attrs.evolve(HOST, pattern=whole(rf"\*|{_HOST}"))

_SLASH: Final = "(?:/|%(?:25)*2[Ff])"  # as it is, or with escapes, be it of escapes
_DOT: Final = r"(?:\.|%(?:25)*2[Ee])"
_START: Final = f"(?:^[{BLANKS}]*|{_SLASH})"  # of a segment
_END: Final = f"(?:[/;,|){BLANKS}]|$)"  # of a segment, of a list's item, or of a pattern's group
_HIDDEN: Final = _literally(rf"\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f{UNSEEN}")
_LINE_BREAKS: Final = _literally(r"\t-\r\x1c-\x1f\x85\u2028\u2029")  # blanks that are controls or break lines; harmless around a text
REFUSED_IN_PREFIXES: Final = (
    (Fault.URL, rf"^[{BLANKS}]*(?:/?[A-Za-z][A-Za-z0-9+.-]*:[/\\]{{2}}|(?:{any_case(frozenset({'http', 'https', 'ws', 'wss'}))}):)"),
    (Fault.QUOTED, f'^[{BLANKS}]*(?:["\'`]/|/?["`])'),
    (Fault.EXPRESSION, rf"^[{BLANKS}]*/?\^"),
    (Fault.DOTS, rf"{_START} *{_DOT}{{1,2}} *(?:;|{_SLASH}|[{BLANKS}]*$)"),
    (Fault.SLASHES, "//"),
    (Fault.BACKSLASH, r"\\"),
    (Fault.FRAGMENT, "#"),
    (Fault.QUERY, r"\?"),
    (Fault.ESCAPE, "%(?:[^0-9A-Fa-f]|[0-9A-Fa-f][^0-9A-Fa-f]|[0-9A-Fa-f]?$)"),
    (Fault.INVISIBLE, f"[{_HIDDEN}]|[^{BLANKS}][{BLANKS}]*[{_LINE_BREAKS}][{BLANKS}]*[^{BLANKS}]"),
    (Fault.LIST, rf"(?:[,|]|[^{BLANKS}][{BLANKS}]+)/"),
    (Fault.WILDCARD, rf"\*{_END}"),
    (
        Fault.PATTERN,
        (
            rf"^[{BLANKS}]*\*|/\*|\.\*|\.\+{_END}|(?:^[{BLANKS}]*|/)(?:\{{[^/]*\}}|<[^/]*>){_END}"
            rf"|\$\{{|\{{\{{|\((?:/|[^()'/]*\|)|\[\^|\[[^\]/]{{1,64}}\][*+{{]"
        ),
    ),
    (
        Fault.REWRITTEN,
        rf"{_START} *;[^/]*/|{_SLASH} *{_SLASH}|^[{BLANKS}]*%(?:25)*2[Ff]|%(?:25)*(?:5[Cc]|[01][0-9A-Fa-f]|7[Ff])",
    ),
)


def refusal_of(fault: Fault, pattern: str) -> Refusal:
    """Return the refusal of prefixes with ``fault``, in which ``pattern`` is found."""
    return Refusal(pattern, f"Refused: such a text {fault.value}.")


PATH_PREFIX: Final = TextRule(NOT_BLANK, tuple(refusal_of(fault, pattern) for fault, pattern in REFUSED_IN_PREFIXES))
_PATH_TYPES: Final = ("Prefix", "Segment", "Exact")
PATH_TYPE: Final = TextRule(whole(f"(?:{any_case(frozenset(_PATH_TYPES))})?"), examples=_PATH_TYPES)
HEADER_NAME: Final = TextRule(
    whole(TOKEN), (Refusal(whole("|".join(any_case(frozenset({name})) for name in sorted(FORBIDDEN))), "No entry matches this header."),)
)
_CONTROLS: Final = _literally(r"\x00-\x1f\x7f-\x9f")
HEADER_VALUE: Final = TextRule(f"^[^{BLANKS},{_CONTROLS}](?:[^,{_CONTROLS}]*[^{BLANKS},{_CONTROLS}])?$")


@enum.unique
class FieldType(enum.Enum):
    """What a field holds."""

    TEXT = "text"
    TEXTS = "list of texts"
    BOOLEAN = "boolean"
    MAPPING = "mapping"
    MAPPINGS = "list of mappings"
    ENTRIES = "list of entries"


@final
@attrs.frozen
class Field:
    """A field that a mapping may have.

    ``description`` is shown by authors' editors. ``required``: it must not be missing, null or blank. ``rule`` applies to the field's text,
    or each of its texts. ``fields`` are those of the mapping, or of each mapping or entry, in it.
    """

    name: str
    type: FieldType
    description: str
    required: bool = False
    rule: TextRule = ANY_TEXT
    fields: tuple["Field", ...] = ()


@final
@attrs.frozen
class Problem:
    """A sentence for the author, and the node to look at."""

    text: str
    node: Node


@final
@attrs.define(eq=False)
class Fields:
    """The fields of one mapping, ``node``. A null field is missing. ``where`` is the mapping's path, for sentences."""

    where: str
    node: Node
    known: Table[str, Field]
    problems: list[Problem]
    nodes: dict[str, Node]

    @classmethod
    def of(cls, node: Node, where: str, known: tuple[Field, ...], problems: list[Problem]) -> "Fields | None":
        """Return the fields of ``node``, ``None`` if it is no mapping. ``problems`` gets what is wrong, now and later."""
        table = {field.name: field for field in known}
        if not isinstance(node, Mapping):
            problems.append(Problem(f"{where} must be a mapping", node))
            return None
        nodes: dict[str, Node] = {}
        unknown: list[Node] = []
        for key, value in node.pairs:
            name = text_of(key)
            if name is None or name not in table:
                unknown.append(key)
            elif not is_null(value):
                nodes[name] = value
        if unknown:
            first = unknown[0]
            name = text_of(first)
            shown = "that is no text" if name is None else quoted(name)
            more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
            problems.append(Problem(f"{where} has an unknown field {shown}{more}", first))
        return cls(where, node, table, problems, nodes)

    def problem(self, name: str, text: str) -> None:
        """Record a problem with the field ``name``; ``text`` continues after its path."""
        self.problems.append(Problem(f"{self.where}.{name} {text}", self.nodes.get(name, self.node)))

    def mapping(self, name: str, *, required: bool = False) -> "Fields | None":
        """Return the fields of the mapping in the field ``name``, ``None`` if it is missing or something else.

        A missing mapping is a problem if the table or the caller says that it is ``required``.
        """
        field, node = self.known[name], self.nodes.get(name)
        if node is not None:
            return Fields.of(node, f"{self.where}.{name}", field.fields, self.problems)
        if required or field.required:
            self.problem(name, "is required")
        return None

    def text(self, name: str, *, required: bool = False) -> str:
        """Return the trimmed text of a field, "" if it is missing or something else; ``required`` as for a mapping."""
        node = self.nodes.get(name)
        text = "" if node is None else text_of(node)
        if text is None:
            self.problem(name, "must be text")
            return ""
        text = text.strip()
        if not text and (required or self.known[name].required):
            self.problem(name, "is required")
        return text

    def written(self, name: str) -> str:
        """Return the text of a field with the blanks around it, "" if it is missing or something else, which is a problem."""
        node = self.nodes.get(name)
        text = None if node is None else text_of(node)
        if not text:
            self.problem(name, "must be text" if text is None and node is not None else "is required")
        return text or ""

    def mappings(self, name: str) -> "tuple[Fields, ...]":
        """Return the fields of each mapping of a list; what is something else is a problem. Null items are none."""
        field, node = self.known[name], self.nodes.get(name)
        if node is None:
            return ()
        if not isinstance(node, Sequence):
            self.problem(name, "must be a list of mappings")
            return ()
        items = [
            Fields.of(item, f"{self.where}.{name}[{index}]", field.fields, self.problems)
            for index, item in enumerate(node.items)
            if not is_null(item)
        ]
        return tuple([item for item in items if item is not None])

    def boolean(self, name: str) -> bool | None:
        """Return a boolean field, False if it is missing, ``None`` if it is something else."""
        node = self.nodes.get(name)
        if node is None:
            return False
        value = _BOOLEANS.get(node.text) if isinstance(node, Scalar) and node.kind is Kind.OTHER else None
        if value is None:
            self.problem(name, "must be true or false")
        return value

    def texts(self, name: str) -> tuple[str, ...] | None:
        """Return the trimmed texts of a list, without blank ones; ``None`` if it is no list of texts."""
        node = self.nodes.get(name)
        if node is None:
            return ()
        if isinstance(node, Sequence):
            present = [item for item in node.items if not is_null(item)]
            texts = [text for item in present if (text := text_of(item)) is not None]
            if len(texts) == len(present):
                return tuple(trimmed for text in texts if (trimmed := text.strip()))
        self.problem(name, "must be a list of texts")
        return None
