"""A policy document as values: its healthy entries, and a fail-closed region for everything that cannot be understood. Total.

Must not know: where the text comes from, or how entries are found for a request.
"""

import re
from typing import Final, final

import attrs

from exchanger.policy.entry_reader import ENTRY_FIELDS, MatchReader, read_entry
from exchanger.policy.fields import Field, FieldType, TextRule
from exchanger.policy.yaml_nodes import BREAK, MAX_BYTES, Kind, Mapping, Node, Scalar, Sequence, Unreadable, is_null, read_nodes, text_of
from exchanger.util.text import bounded, quoted
from exchanger.values.entry import EVERYWHERE, Entry, FailClosedRegion, MatchScope, Source

UNREADABLE_REACH: Final[MatchScope] = EVERYWHERE  # what an unreadable document closes
VERSION: Final = "v1"
MAX_ENTRIES: Final = MAX_BYTES // 48  # the shortest valid entry has 48 bytes, so this stops only invalid ones
# Up to so many regions, an entry that names several hosts closes each of them; beyond, it closes an unknown host.
MAX_REGIONS_BY_NAME: Final = 4096
DOCUMENT_FIELDS: Final = (
    Field("version", FieldType.TEXT, f"The version of the format: {VERSION}.", required=True, rule=TextRule(only=VERSION)),
    Field(
        "entries",
        FieldType.ENTRIES,
        "The entries. Of those that match a request, the one with the longest prefix decides.",
        fields=ENTRY_FIELDS,
    ),
)
_NAMES: Final = frozenset(field.name for field in DOCUMENT_FIELDS)

# The labels of a Namespace, sorted by key.
Labels = tuple[tuple[str, str], ...]
# First and last line, counted from 1.
Lines = tuple[int, int]

_is_blank: Final = re.compile(r"\s*(?:#.*)?").fullmatch
_is_dash: Final = re.compile(r"\s*-\s*(?:#.*)?").fullmatch


@final
@attrs.frozen
class Refusal:
    """An entry, or a document (``index`` is ``None``), that counts for nothing, or would, since it is outside what is granted."""

    source: Source
    index: int | None
    reason: str


@final
@attrs.frozen
class PolicyDocument:
    """What one ConfigMap says. All entries and regions are its own.

    No two have the same index, except the regions of one invalid entry: there is one for each part that it closes.

    ``text`` is its source text, ``None`` if there is none; documents that differ in their text alone are equal. ``problems`` has the first
    region of each invalid entry, or that of the document. ``refused`` are the parts that its namespace is not granted. ``written`` is the
    document as its author wrote it if grants have changed it, and ``namespace_labels`` are the labels by which its namespace is described.
    """

    source: Source
    entries: tuple[Entry, ...] = ()
    regions: tuple[FailClosedRegion, ...] = ()
    text: str | None = attrs.field(default=None, eq=False, repr=False)
    refused: tuple[Refusal, ...] = attrs.field(default=(), kw_only=True)
    written: "PolicyDocument | None" = attrs.field(default=None, eq=False, repr=False, kw_only=True)
    namespace_labels: tuple[Labels, ...] = attrs.field(default=(), eq=False, repr=False, kw_only=True)
    problems: tuple[FailClosedRegion, ...] = attrs.field(init=False, eq=False, repr=False)

    @problems.default
    def _first_of_each(self) -> tuple[FailClosedRegion, ...]:
        first: dict[int | None, FailClosedRegion] = {}
        for region in self.regions:
            first.setdefault(region.index, region)
        return tuple(first.values())

    def is_like(self, other: "PolicyDocument") -> bool:
        """Tell whether an equal document also has the same text and, for other grants, the same origin."""
        origin = (self.text, self.namespace_labels, self.written)
        return origin == (other.text, other.namespace_labels, other.written)

    def __attrs_post_init__(self) -> None:
        claims = (*self.entries, *self.regions)
        if any(claim.source != self.source for claim in claims):
            raise ValueError("an entry or region is of another source")
        healthy = {entry.index for entry in self.entries}
        closed = {(region.index, region.match) for region in self.regions}
        if len(healthy) + len(closed) != len(claims) or not healthy.isdisjoint(index for index, _ in closed):
            raise ValueError("two entries or regions have the same index")


def parse_document(source: Source, text: str | None, issuers: frozenset[str]) -> PolicyDocument:
    """Read the text of a ConfigMap's ``config.yaml``; never raises, and takes bounded work.

    Args:
        source: the ConfigMap
        text: the document, ``None`` if the ConfigMap has no such key
        issuers: the names of the issuer profiles that entries may refer to
    """
    nodes: list[Node] = []
    document = _parse(source, text, issuers, nodes)
    while nodes:
        nodes.pop()
    return document


def _parse(source: Source, text: str | None, issuers: frozenset[str], nodes: list[Node]) -> PolicyDocument:
    """Return the document; ``nodes`` gets its YAML nodes."""
    items = _items(text, nodes)
    if isinstance(items, Unreadable):
        region = FailClosedRegion(source, UNREADABLE_REACH, f"the document {items.reason}", line=items.line, column=items.column)
        return PolicyDocument(source, regions=(region,), text=text)
    matches = MatchReader()
    entries: list[Entry] = []
    regions: list[FailClosedRegion] = []
    for index, node in enumerate(items):
        if is_null(node):
            continue
        read = read_entry(source, index, node, issuers, matches)
        if not isinstance(read, tuple):
            entries.append(read)
        elif len(regions) < MAX_REGIONS_BY_NAME:
            regions += read
        else:
            regions.append(read[0] if len(read) == 1 else attrs.evolve(read[0], match=attrs.evolve(read[0].match, host=None)))
    return PolicyDocument(source, tuple(entries), tuple(regions), text)


def _items(text: str | None, nodes: list[Node]) -> tuple[Node, ...] | Unreadable:
    """Return the nodes of the entries."""
    if text is None:
        return Unreadable("is missing: the ConfigMap has no config.yaml")
    root = read_nodes(text, nodes)
    if isinstance(root, Unreadable):
        return root
    if not isinstance(root, Mapping):
        return Unreadable("is not a mapping", root.line, root.column)
    fields: dict[str, Node] = {}
    for key, value in root.pairs:
        name = text_of(key)
        if name is None or name not in _NAMES:
            return Unreadable(f"has an unknown field {'that is no text' if name is None else quoted(name)}", key.line, key.column)
        fields[name] = value
    version = fields.get("version")
    if version is None or is_null(version):
        return Unreadable(f"has no version {VERSION}", None if version is None else version.line)
    if not isinstance(version, Scalar) or version.kind is not Kind.TEXT or version.text != VERSION:
        return Unreadable(f"has {_shown(version)} instead of {VERSION}", version.line, version.column)
    entries = fields.get("entries")
    if entries is None or is_null(entries):
        return ()
    if not isinstance(entries, Sequence):
        return Unreadable("has entries that are not a list", entries.line, entries.column)
    if len(entries.items) > MAX_ENTRIES:
        return Unreadable(f"has more than {MAX_ENTRIES} entries", entries.line, entries.column)
    return entries.items


def _shown(version: Node) -> str:
    """Return the wrong version as its author wrote it: texts in quotation marks, so that blanks show."""
    if not isinstance(version, Scalar):
        return f"a {'list' if isinstance(version, Sequence) else 'mapping'} as version"
    if version.kind is Kind.TEXT:
        return f"version {quoted(version.text)}"
    if version.text in {"", VERSION}:  # without its tag, it would look empty or right
        return "a version with a tag"
    return f"version {bounded(version.text)}"


def entry_lines(text: str) -> tuple[Lines, ...]:
    """Return the lines of each item of ``entries``, in order; nothing if the document is unreadable or has none.

    They begin with the item's dash and end with its last value. Blank lines and comments after it are not part of it, since a comment
    usually speaks of what follows. An alias has its own line.
    """
    root = read_nodes(text, lined=True)
    if not isinstance(root, Mapping):
        return ()
    entries = next((value for key, value in root.pairs if isinstance(key, Scalar) and key.text == "entries"), None)
    if not isinstance(entries, Sequence):
        return ()
    lines = BREAK.split(text)
    return tuple((_first_line(first, lines), _last_line(first, last, lines)) for first, last in entries.lines)


def _first_line(first: int, lines: list[str]) -> int:
    """Return the line of the dash before what begins in line ``first``: it may stand alone in a line above."""
    if lines[first - 1].lstrip().startswith("-"):
        return first
    above = first - 1
    while above and _is_blank(lines[above - 1]):
        above -= 1
    return above if above and _is_dash(lines[above - 1]) else first


def _last_line(first: int, last: int, lines: list[str]) -> int:
    while last > first and not lines[last - 1].strip():  # blank lines at the end of a block
        last -= 1
    return max(first, last)
