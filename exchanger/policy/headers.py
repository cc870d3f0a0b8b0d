"""Headers in a match: the names and values that an entry may have, a request's values, and the table of entries by their headers.

A header must not be a way around an entry. So if an entry that matches otherwise names a header, the request must leave no doubt about
its value: it comes at most once, without a comma, and no other name differs from it in ``_`` and ``-`` alone, since some servers take
these for the same (RFC 3875 section 4.1.18, https://www.rfc-editor.org/rfc/rfc3875#section-4.1.18).

Must not know: hosts, paths, or documents.
"""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Final, TypeVar, final

import attrs
from rpds import HashTrieMap

from exchanger.policy.methods import MethodTable
from exchanger.values.entry import Entry, HeaderMatch
from exchanger.values.headers import HeaderFields

# Headers of one entry; the Model Context Protocol needs two or three.
MAX_HEADERS: Final = 8
# Characters of a name or a value in a policy; gateways have limits of the same order for all headers together.
MAX_NAME: Final = 256
MAX_VALUE: Final = 4096
# Header values that are looked up for one request at one place, in about a millisecond. An honest policy needs a handful.
MAX_WORK: Final = 1024

TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # RFC 9110 section 5.6.2
# What other parts of a match are about, and what nobody should write into a policy.
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
        return "is not the name of a header"
    if canonical(name) in FORBIDDEN:
        return "is not matched by entries: match the host by host, and leave credentials out of policies"
    return ""


def value_problem(value: str) -> str:
    """Return why no header can have ``value`` without doubt, "" if one can; the text continues after the field's name."""
    if value != value.strip():
        return "has blanks at an end, which gateways remove"
    if "," in value:
        return "has a comma, which separates the values of a header"
    if _find_control(value):
        return "has a character that no header can have"
    return f"is longer than {MAX_VALUE} characters" if len(value) > MAX_VALUE else ""


def canonical(name: str) -> str:
    """Return ``name`` as servers know it that take ``_`` for ``-``."""
    return name.lower().replace("_", "-")


@final
@attrs.frozen
class _Field:
    """A header of a request that came once: its name in lower case, and its value. ``masked``: parts of the value are not known."""

    name: str
    value: str
    masked: bool


@final
@attrs.define(eq=False, repr=False)
class RequestHeaders:
    """The headers of one request, read when a policy first needs one."""

    _fields: HeaderFields
    # By canonical name: the name in lower case and the value, ``None`` if there are several.
    _once: dict[str, tuple[str, str] | None] | None = attrs.field(default=None, init=False)

    def names(self) -> Mapping[str, tuple[str, str] | None]:
        """Return what came by canonical name."""
        if self._once is None:
            self._once = once = {}
            for given, value in self._fields.fields:
                name = given.lower()
                key = name.replace("_", "-")
                once[key] = None if key in once else (name, value)
        return self._once

    def field(self, key: str) -> _Field | None:
        """Return the header with the canonical name ``key``, which came; ``None`` if its value is in doubt."""
        once = self.names()[key]
        if once is None or "," in once[1]:
            return None
        name, value = once
        masked = not self._fields.raw and "!" in value
        if key.startswith(_PROTOCOL) and (encoded := _is_encoded(value)):
            decoded = _decoded(encoded[2]) if encoded[1] == "base64" else None
            return None if decoded is None else _Field(name, decoded, masked)
        return _Field(name, value, masked)


def _decoded(text: str) -> str | None:
    try:
        return base64.b64decode(text.encode("ascii"), validate=True).decode()
    except (UnicodeError, binascii.Error):
        return None


T = TypeVar("T")


@final
@attrs.frozen
class _Node:
    """The entries with exactly the headers on the way here, and by name and value the nodes of those with one more, in order of names."""

    entries: MethodTable[Entry] | None = None
    more: "HashTrieMap[str, HashTrieMap[str, _Node]]" = attrs.field(factory=HashTrieMap)

    def changed(self, headers: tuple[HeaderMatch, ...], entry: Entry, *, adds: bool) -> "_Node | None":
        """Return the node with or without ``entry``, which has ``headers`` beside those on the way; ``None`` if nothing is left."""
        if not headers:
            entries = _changed(self.entries, entry, adds=adds)
            return None if entries is None and not self.more else _Node(entries, self.more)
        name, value = headers[0]
        values = self.more.get(name, HashTrieMap())
        child = (values.get(value) or _Node()).changed(headers[1:], entry, adds=adds)
        more = _put(self.more, name, _put(values, value, child) or None)
        return None if self.entries is None and not more else _Node(self.entries, more)


def _changed(table: MethodTable[Entry] | None, entry: Entry, *, adds: bool) -> MethodTable[Entry] | None:
    if adds:
        return (table or MethodTable()).with_claim(entry)
    return None if table is None else table.without_claim(entry)


def _put(table: "HashTrieMap[str, T]", key: str, value: T | None) -> "HashTrieMap[str, T]":
    """Return ``table`` with ``value`` under ``key``, without the key for ``None``."""
    return table.discard(key) if value is None else table.insert(key, value)


@final
@attrs.frozen
class HeaderTable:
    """The entries of one place that name headers. ``named`` has them by canonical name and name of each of their headers."""

    root: _Node = attrs.field(factory=_Node)
    named: "HashTrieMap[str, HashTrieMap[str, MethodTable[Entry]]]" = attrs.field(factory=HashTrieMap)

    def changed(self, entry: Entry, *, adds: bool) -> "HeaderTable | None":
        """Return the table with or without ``entry``; ``None`` if nothing is left. Costs its headers times its methods."""
        headers, named = entry.match.headers, self.named
        root = self.root.changed(headers, entry, adds=adds)
        if root is None:
            return None
        for name, _ in headers:
            key = canonical(name)
            names = named.get(key, HashTrieMap())
            named = _put(named, key, _put(names, name, _changed(names.get(name), entry, adds=adds)) or None)
        return HeaderTable(root, named)

    def at(self, headers: tuple[HeaderMatch, ...]) -> MethodTable[Entry] | None:
        """Return the entries with exactly these headers."""
        node = self.root
        for name, value in headers:
            values = node.more.get(name)
            child = None if values is None else values.get(value)
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
            rest.extend(child for values in node.more.values() for child in values.values())

    def is_doubtful(self, method: str, request: RequestHeaders) -> bool:
        """Tell whether an entry for ``method`` names a header whose value in ``request`` is in doubt."""
        known, work = request.names(), MAX_WORK
        for key in self.named if len(self.named) < len(known) else known:
            names = self.named.get(key)
            if names is None or key not in known:
                continue
            field = request.field(key)
            work -= len(names)
            if work < 0:  # nobody spells one name in a thousand ways
                return True
            for name, entries in names.items():
                if (field is None or field.name != name) and entries.of(method) is not None:
                    return True
        return False

    def matching(self, method: str, request: RequestHeaders) -> list[tuple[int, MethodTable[Entry]]] | None:
        """Return the number of headers and the entries of each node that ``request`` reaches with an entry for ``method``.

        ``None`` if that takes too much work, or depends on what a ``!`` in a value stands for.
        """
        known = request.names()
        found: list[tuple[int, MethodTable[Entry]]] = []
        rest, work = [(0, self.root)], MAX_WORK
        while rest:
            depth, node = rest.pop()
            if node.entries is not None and node.entries.of(method) is not None:
                found.append((depth, node.entries))
            names = node.more if len(node.more) < len(known) else [once[0] for once in known.values() if once is not None]
            work -= len(node.more) and len(names)
            if work < 0:
                return None
            for name in names:
                values, key = node.more.get(name), canonical(name)
                field = None if values is None or key not in known else request.field(key)
                if values is None or field is None or field.name != name:
                    continue
                child = values.get(field.value)
                if child is not None and field.masked:
                    return None
                if child is not None:
                    rest.append((depth + 1, child))
        return found
