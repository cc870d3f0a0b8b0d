"""Headers in a match: the names and values that an entry may have, a request's values, and the table of entries by their headers.

A header must not be a way around an entry. So if an entry that otherwise matches names a header, the request must leave no doubt about its
value: it occurs at most once, without a comma, and no other name differs from it only in ``_`` and ``-``, since some servers treat these as
equal (RFC 3875 section 4.1.18, https://www.rfc-editor.org/rfc/rfc3875#section-4.1.18).

Must not know: hosts, paths, or documents.
"""

import base64
import binascii
import enum
import re
from collections.abc import Iterator
from operator import itemgetter
from typing import Final, TypeAlias, TypeVar, final

import attrs
from rpds import HashTrieMap

from exchanger.policy.methods import MethodTable
from exchanger.policy.path import certain_part
from exchanger.values.entry import Entry, HeaderMatch
from exchanger.values.request import HeaderFields

# Headers of one entry; the Model Context Protocol needs two or three.
MAX_HEADERS: Final = 8
# Characters of a name or a value in a policy; gateways have limits of the same order for all headers together.
MAX_NAME: Final = 256
MAX_VALUE: Final = 4096
# Values that differ only in what a ``!`` may hide and that are compared for one request, in some 30 µs; none but a flood has as many.
MAX_POSSIBLE_VALUES: Final = 64

TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # RFC 9110 section 5.6.2
# Headers that other parts of a match cover, and those that do not belong in a policy.
FORBIDDEN: Final = frozenset({"authorization", "cookie", "host"})
_is_token: Final = re.compile(TOKEN).fullmatch
_find_control: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]").search

# The Model Context Protocol sends values that are not plain ASCII as =?base64?…?= (Streamable HTTP, "Standard headers").
_PROTOCOL: Final = "mcp-"
_is_encoded: Final = re.compile(r"=\?(base64)\?(.*)\?=", re.IGNORECASE | re.DOTALL).fullmatch


def name_problem(name: str) -> str:
    """Return why no entry may name the header ``name``, "" if one may; the text continues after the field's name."""
    if name.startswith(":"):
        return "is a pseudo-header: match it by host, pathPrefix and methods"
    if len(name) > MAX_NAME or not _is_token(name):
        return "is not a header name"
    if canonical(name) in FORBIDDEN:
        return "cannot be matched: match the host by host, and leave credentials out of policies"
    return ""


def value_problem(value: str) -> str:
    """Return why no header can have ``value`` without doubt, "" if one can; the text continues after the field's name."""
    if value != value.strip():
        return "has leading or trailing blanks, which gateways remove"
    if "," in value:
        return "has a comma, which separates header values"
    if _find_control(value):
        return "has a character that headers cannot have"
    return f"is longer than {MAX_VALUE} characters" if len(value) > MAX_VALUE else ""


def canonical(name: str) -> str:
    """Return ``name`` as seen by servers that take ``_`` for ``-``."""
    return name.lower().replace("_", "-")


@final
@attrs.frozen
class _Field:
    """A header that occurred once: its name in lower case, and its value. ``masked``: parts of the value are unknown."""

    name: str
    value: str
    masked: bool


@final
@attrs.frozen
class HeaderValues:
    """The values of some headers. ``masked``: a ``!`` in one of them may stand for other characters, or for none."""

    texts: tuple[str, ...]
    masked: bool


@enum.unique
class _Doubt(enum.Enum):
    """A header occurred whose value servers may read differently."""

    DOUBT = "doubt"


# The number of headers and the entries of each node of a ``HeaderTable`` that a request reaches.
Reached: TypeAlias = "list[tuple[int, MethodTable[Entry]]]"


@final
@attrs.define(eq=False, repr=False)
class RequestHeaders:
    """The headers of one request, read when a policy first needs one.

    The result for a table is computed once for each table and method, since every interpretation of the path needs the same.
    """

    _given: HeaderFields
    # By canonical name: the name in lower case and the value, ``None`` if there are several.
    _once: dict[str, tuple[str, str] | None] | None = attrs.field(default=None, init=False)
    _fields: "dict[str, _Field | _Doubt | None]" = attrs.field(factory=dict, init=False)
    # By the identity of a table, which is kept so that no other object gets the same id.
    _answers: "dict[tuple[int, str], tuple[HeaderTable, bool, Reached | None]]" = attrs.field(factory=dict, init=False)

    def field(self, key: str) -> "_Field | _Doubt | None":
        """Return the header with the canonical name ``key``; ``None`` if it did not occur."""
        try:
            return self._fields[key]
        except KeyError:
            return self._fields.setdefault(key, self._read(key))

    def answer(self, table: "HeaderTable", method: str) -> "tuple[HeaderTable, bool, Reached | None]":
        """Return ``table``, whether an entry of it for ``method`` names a header in doubt, and the part of it that the request reaches.

        ``None`` if there is doubt, or if the result depends on the meaning of a ``!`` in a value.
        """
        key = (id(table), method)
        known = self._answers.get(key)
        if known is None:
            doubtful = table.is_doubtful(method, self)
            known = self._answers[key] = (table, doubtful, None if doubtful else table.matching(method, self))
        return known

    def is_doubtful(self, key: str, name: str) -> bool:
        """Return whether servers may read the header ``name``, with the canonical name ``key``, in different ways."""
        field = self.field(key)
        return field is _Doubt.DOUBT or (isinstance(field, _Field) and field.name != name)

    def values_of(self, names: tuple[str, ...]) -> "HeaderValues | None":
        """Return the values of headers without doubt; ``None`` if one is missing."""
        texts, masked = list[str](), False
        for name in names:
            field = self.field(canonical(name))
            if not isinstance(field, _Field) or field.name != name:
                return None
            texts.append(field.value)
            masked = masked or field.masked
        return HeaderValues(tuple(texts), masked)

    def _read(self, key: str) -> "_Field | _Doubt | None":
        if self._once is None:
            self._once = once = {}
            for given, value in self._given.fields:
                name = given.lower()
                other = name.replace("_", "-")
                once[other] = None if other in once else (name, value)
        if key not in self._once:
            return None
        came = self._once[key]
        if came is None or "," in came[1]:
            return _Doubt.DOUBT
        name, value = came
        masked = not self._given.raw and "!" in value
        if key.startswith(_PROTOCOL) and (encoded := _is_encoded(value)):
            decoded = _decoded(encoded[2]) if encoded[1] == "base64" else None
            return _Doubt.DOUBT if decoded is None else _Field(name, decoded, masked)
        return _Field(name, value, masked)

    def has(self, headers: tuple[HeaderMatch, ...]) -> bool:
        """Return whether the request has all ``headers`` without doubt."""
        for name, value in headers:
            field = self.field(canonical(name))
            if not isinstance(field, _Field) or (field.name, field.value) != (name, value):
                return False
        return True


def _decoded(text: str) -> str | None:
    try:
        return base64.b64decode(text.encode("ascii"), validate=True).decode()
    except (UnicodeError, binascii.Error):
        return None


T = TypeVar("T")


# A value for each of some names, in their order; each preceded by its canonical name.
_Named: TypeAlias = "tuple[tuple[str, str, T], ...]"


@final
@attrs.frozen
class _Values:
    """Nodes by the value of one header. ``hidden`` has the values of which less is certain, by that part."""

    nodes: "HashTrieMap[str, _HeaderNode]" = attrs.field(factory=HashTrieMap)
    hidden: "HashTrieMap[str, HashTrieMap[str, None]]" = attrs.field(factory=HashTrieMap)

    def replaced(self, value: str, node: "_HeaderNode | None") -> "_Values | None":
        """Return the values with another node for ``value``, ``None`` for none; ``None`` if nothing is left."""
        nodes = self.nodes.discard(value) if node is None else self.nodes.insert(value, node)
        certain, hidden = certain_part(value), self.hidden
        if certain != value:
            own: HashTrieMap[str, None] = hidden.get(certain) or HashTrieMap()
            own = own.discard(value) if node is None else own.insert(value, None)
            hidden = hidden.insert(certain, own) if own else hidden.discard(certain)
        return _Values(nodes, hidden) if nodes else None

    def possible(self, value: str) -> "tuple[_HeaderNode, ...] | None":
        """Return the nodes of values that ``value`` may be, whose ``!`` may stand for other characters or for none; ``None`` if many."""
        certain = certain_part(value)
        others: HashTrieMap[str, None] = self.hidden.get(certain) or HashTrieMap()
        if len(others) > MAX_POSSIBLE_VALUES:
            return None
        return tuple([self.nodes[one] for one in (certain, *others) if one in self.nodes])


@final
@attrs.frozen
class _HeaderNode:
    """The entries with exactly the headers up to here, and by name and value the nodes of those with one more, in order of names."""

    entries: MethodTable[Entry] | None = None
    more: "tuple[tuple[str, str, _Values], ...]" = ()

    def changed(self, headers: tuple[HeaderMatch, ...], entry: Entry, *, adds: bool) -> "_HeaderNode | None":
        """Return the node with or without ``entry``, whose remaining headers are ``headers``; ``None`` if the node is then empty."""
        if not headers:
            entries = _changed(self.entries, entry, adds=adds)
            return None if entries is None and not self.more else _HeaderNode(entries, self.more)
        name, value = headers[0]
        values = _get(self.more, name) or _Values()
        child = (values.nodes.get(value) or _HeaderNode()).changed(headers[1:], entry, adds=adds)
        more = _put(self.more, name, values.replaced(value, child))
        return None if self.entries is None and not more else _HeaderNode(self.entries, more)


def _changed(table: MethodTable[Entry] | None, entry: Entry, *, adds: bool) -> MethodTable[Entry] | None:
    if adds:
        return (table or MethodTable()).with_claim(entry)
    return None if table is None else table.without_claim(entry)


def _get(named: "_Named[T]", name: str) -> T | None:
    return next((value for _, other, value in named if other == name), None)


def _put(named: "_Named[T]", name: str, value: T | None) -> "_Named[T]":
    """Return ``named`` with ``value`` for ``name``, without the name for ``None``."""
    rest = [item for item in named if item[1] != name]
    if value is not None:
        rest.append((canonical(name), name, value))
    return tuple(sorted(rest, key=itemgetter(1)))


@final
@attrs.frozen
class HeaderTable:
    """The entries of one place that name headers; ``named`` has them by each name.

    Names are in tuples, which are the quickest to iterate: the share of a namespace allows only a few of them (see ``shares``).
    """

    root: _HeaderNode = attrs.field(factory=_HeaderNode)
    named: tuple[tuple[str, str, MethodTable[Entry]], ...] = ()

    def changed(self, entry: Entry, *, adds: bool) -> "HeaderTable | None":
        """Return the table with or without ``entry``; ``None`` if nothing is left. Costs its headers times its methods."""
        headers, named = entry.match.headers, self.named
        root = self.root.changed(headers, entry, adds=adds)
        if root is None:
            return None
        for name, _ in headers:
            named = _put(named, name, _changed(_get(named, name), entry, adds=adds))
        return HeaderTable(root, named)

    def at(self, headers: tuple[HeaderMatch, ...]) -> MethodTable[Entry] | None:
        """Return the entries with exactly these headers."""
        node = self.root
        for name, value in headers:
            values = _get(node.more, name)
            child = None if values is None else values.nodes.get(value)
            if child is None:
                return None
            node = child
        return node.entries

    def members(self) -> Iterator[Entry]:
        """Yield every entry, more than once if it has more than one method."""
        rest = [self.root]
        while rest:
            node = rest.pop()
            if node.entries is not None:
                yield from node.entries.members()
            rest.extend(child for _, _, values in node.more for child in values.nodes.values())

    def is_doubtful(self, method: str, request: RequestHeaders) -> bool:
        """Return whether an entry for ``method`` names a header whose value in ``request`` is in doubt."""
        for key, name, entries in self.named:
            field = request.field(key)
            if field is None or (isinstance(field, _Field) and field.name == name):
                continue
            if entries.of(method) is not None:
                return True
        return False

    def matching(self, method: str, request: RequestHeaders) -> "Reached | None":
        """Return the nodes that ``request`` reaches with an entry for ``method``; ``None`` if a ``!`` in a value may be another byte.

        A request has one value of each name, so it reaches at most as many nodes as there are combinations of names.
        """
        found: list[tuple[int, MethodTable[Entry]]] = []
        rest = [(0, self.root, True)]
        for depth, node, is_certain in rest:  # grows meanwhile
            if node.entries is not None and node.entries.of(method) is not None:
                if not is_certain:
                    return None
                found.append((depth, node.entries))
            for key, name, values in node.more:
                field = request.field(key)
                if not isinstance(field, _Field) or field.name != name:
                    continue
                if field.masked:
                    possible = values.possible(field.value)
                    if possible is None:
                        return None
                    rest += [(depth + 1, child, False) for child in possible]
                elif (child := values.nodes.get(field.value)) is not None:
                    rest.append((depth + 1, child, is_certain))
        return found
