"""A policy document as values: its healthy entries, and a fail-closed scope for everything invalid or unreadable. Total.

Must not know: where the text comes from, or how entries are found for a request.
"""

import re
from itertools import chain, islice
from typing import Final, final

import attrs

from exchanger.formats.yaml.fields import Field, FieldType, Findings, Table, report_unknown
from exchanger.formats.yaml.nodes import Mapping, Node, Scalar, ScalarKind, Sequence, is_null, text_of
from exchanger.formats.yaml.reader import BREAK, MAX_BYTES, UnreadableYaml, read_nodes
from exchanger.formats.yaml.text_rules import TextRule
from exchanger.model.codes import policy as codes
from exchanger.model.codes.code import Code
from exchanger.model.codes.grants import OUTSIDE_GRANTS
from exchanger.model.codes.manifests import MISSING_DOCUMENT
from exchanger.model.codes.problem import Problem, hinted
from exchanger.model.entry import EVERYWHERE, Entry, FailClosedScope, MatchScope, Source
from exchanger.policy.documents.entry_reader import ENTRY_FIELDS, MatchReader, read_entry
from exchanger.util.text import bounded, quoted

UNREADABLE_REACH: Final[MatchScope] = EVERYWHERE  # what an unreadable document closes
VERSION: Final = "v1"
MAX_ENTRIES: Final = MAX_BYTES // 48  # the shortest valid entry has 48 bytes, so this stops only invalid ones
# Further problems of an unreadable document that are kept, half a kilobyte each: an author does not correct more of them at a time.
MAX_OTHER_PROBLEMS: Final = 64
# Up to this number of fail-closed scopes, an entry that names several hosts closes each of them; beyond, it closes an unknown host.
MAX_CLOSED_SCOPES_BY_NAME: Final = 4096
DOCUMENT_FIELDS: Final = Table.of(
    Field(
        "version",
        FieldType.TEXT,
        f"The version of the format: {VERSION}.",
        required=True,
        rule=TextRule(only=VERSION),
        aliases=frozenset({"apiversion"}),
    ),
    Field(
        "entries",
        FieldType.MAPPINGS,
        "The entries. Of those that match a request, the one with the longest prefix decides.",
        fields=ENTRY_FIELDS,
        nullable=True,
        says={"maxItems": MAX_ENTRIES},
    ),
)

# The labels of a Namespace, sorted by key.
Labels = tuple[tuple[str, str], ...]
# First and last line, counted from 1.
Lines = tuple[int, int]

# Likely spellings of the version.
_SPELLINGS: Final = frozenset({"1", "1.0", "v1", "v1.0"})
_MISSING: Final = UnreadableYaml("is missing: the ConfigMap has no config.yaml", code=MISSING_DOCUMENT)

_is_blank: Final = re.compile(r"\s*(?:#.*)?").fullmatch
_is_dash: Final = re.compile(r"\s*-\s*(?:#.*)?").fullmatch


@final
@attrs.frozen
class PolicyRefusal:
    """An entry, or a document (``index`` is ``None``), that has no effect, or would have none, because it is outside the grants.

    ``line`` is that of the entry, ``None`` if it is unknown. ``hint`` is what was probably meant, "" if unknown.
    """

    source: Source
    index: int | None
    reason: str
    code: Code = attrs.field(default=OUTSIDE_GRANTS, repr=False)
    line: int | None = attrs.field(default=None, eq=False, repr=False)
    hint: str = attrs.field(default="", eq=False, repr=False)

    @property
    def sentence(self) -> str:
        """The reason with the hint."""
        return hinted(self.reason, self.hint)

    @property
    def coded(self) -> str:
        """The sentence after its code."""
        return f"{self.code}: {self.sentence}"


@final
@attrs.frozen
class PolicyDocument:
    """The content of one ConfigMap, as its author wrote it. All entries and fail-closed scopes belong to it.

    No two have the same index, except the fail-closed scopes of one invalid entry: there is one for each part that it closes.

    ``text`` is its source text, ``None`` if it is missing; documents that differ only in their text are equal. ``problems`` has the first
    fail-closed scope of each invalid entry, or that of the document. ``issuers`` are the issuer names that were known when it was read,
    ``None`` if it was not read.
    """

    source: Source
    entries: tuple[Entry, ...] = ()
    closed_scopes: tuple[FailClosedScope, ...] = ()
    text: str | None = attrs.field(default=None, eq=False, repr=False)
    issuers: frozenset[str] | None = attrs.field(default=None, eq=False, repr=False, kw_only=True)
    problems: tuple[FailClosedScope, ...] = attrs.field(init=False, eq=False, repr=False)

    @problems.default
    def _first_of_each(self) -> tuple[FailClosedScope, ...]:
        first: dict[int | None, FailClosedScope] = {}
        for closed_scope in self.closed_scopes:
            first.setdefault(closed_scope.index, closed_scope)
        return tuple(first.values())

    @property
    def findings(self) -> tuple[Problem, ...]:
        """The author's mistakes, in the order of entries. An invalid entry has one problem for each mistake."""
        found = [problem for closed_scope in self.problems for problem in closed_scope.problems]
        return tuple(sorted(found, key=lambda problem: -1 if problem.entry is None else problem.entry))

    def __attrs_post_init__(self) -> None:
        claims = (*self.entries, *self.closed_scopes)
        if any(claim.source != self.source for claim in claims):
            raise ValueError("an entry or fail-closed scope is of another source")
        indices = {entry.index for entry in self.entries}
        closed = {(closed_scope.index, closed_scope.match, closed_scope.guessed) for closed_scope in self.closed_scopes}
        if len(indices) + len(closed) != len(claims) or not indices.isdisjoint(index for index, *_ in closed):
            raise ValueError("two entries or fail-closed scopes have the same index")


def parse_document(source: Source, text: str | None, issuers: frozenset[str], *, thorough: bool = False) -> PolicyDocument:
    """Read the text of a ConfigMap's ``config.yaml``; never raises, and takes bounded work.

    Args:
        source: the ConfigMap
        text: the document, ``None`` if the ConfigMap has no such key
        issuers: the names of the issuer profiles that entries may refer to
        thorough: look for further problems after a duplicate key, although it already makes the document unreadable
    """
    nodes: list[Node] = []
    duplicates: list[UnreadableYaml] | None = [] if thorough else None
    document = _parse(source, text, issuers, nodes, duplicates)
    while nodes:
        nodes.pop()
    return document


def _parse(
    source: Source, text: str | None, issuers: frozenset[str], nodes: list[Node], duplicates: list[UnreadableYaml] | None
) -> PolicyDocument:
    """Return the document; ``nodes`` receives its YAML nodes, and ``duplicates`` the repeated keys."""
    root = _MISSING if text is None else read_nodes(text, nodes, duplicates=duplicates)
    if isinstance(root, UnreadableYaml):
        return PolicyDocument(source, closed_scopes=(_everything(source, (root.problem("the document"),)),), text=text, issuers=issuers)
    matches = MatchReader()
    findings = Findings(hints=matches.hints)
    for duplicate in duplicates or ():
        findings.kept.append(duplicate.problem("the document"))
    entries: list[Entry] = []
    closed_scopes: list[FailClosedScope] = []
    for index, node in enumerate(_items(root, findings)):
        if is_null(node):
            continue
        read = read_entry(source, index, node, issuers, matches)
        if not isinstance(read, tuple):
            entries.append(read)
        elif len(closed_scopes) < MAX_CLOSED_SCOPES_BY_NAME:
            closed_scopes += read
        else:
            first, *others = read
            closed_scopes.append(attrs.evolve(first, match=attrs.evolve(first.match, host=None)) if others else first)
    if findings.kept:
        # The document is closed for its own problem. Its author may learn of the others at the same time.
        of_entries = {closed_scope.index: closed_scope for closed_scope in reversed(closed_scopes)}
        more = chain(findings.kept[1:], chain.from_iterable(closed_scope.problems for closed_scope in reversed(of_entries.values())))
        rest = (attrs.evolve(problem, summary="") for problem in islice(more, MAX_OTHER_PROBLEMS))
        return PolicyDocument(
            source, closed_scopes=(_everything(source, (attrs.evolve(findings.kept[0], summary=None), *rest)),), text=text, issuers=issuers
        )
    return PolicyDocument(source, tuple(entries), tuple(closed_scopes), text, issuers=issuers)


def _everything(source: Source, problems: tuple[Problem, ...]) -> FailClosedScope:
    """Return the fail-closed scope of a document that cannot be read, for the first of ``problems``."""
    first = problems[0]
    return FailClosedScope(source, UNREADABLE_REACH, first.text, line=first.line, column=first.column, problems=problems)


def _items(root: Node, findings: Findings) -> tuple[Node, ...]:
    """Return the nodes of the entries; ``findings`` gets what makes the document unreadable."""
    if not isinstance(root, Mapping):
        findings.add(codes.WRONG_TYPE, "the document is not a mapping", root, "")
        return ()
    fields: dict[str, Node] = {}
    unknown: list[Node] = []
    for key, value in root.pairs:
        name = text_of(key)
        if name is None or name not in DOCUMENT_FIELDS.fields:
            unknown.append(key)
        else:
            fields[name] = value
    missing = [field for name, field in DOCUMENT_FIELDS.fields.items() if name not in fields]
    meant = report_unknown(unknown, "the document has", "", missing, findings)
    version = fields.get("version")
    if "version" in meant:
        pass  # the problem with the other name is about it
    elif version is None or is_null(version):
        findings.add(codes.WRONG_VERSION, f"the document has no version {VERSION}", version, "version")
    elif not isinstance(version, Scalar) or version.kind is not ScalarKind.TEXT or version.text != VERSION:
        is_meant = isinstance(version, Scalar) and version.text.strip().lower() in _SPELLINGS
        text = f"the document has {_shown(version)} instead of {VERSION}"
        findings.add(codes.WRONG_VERSION, text, version, "version", instead=VERSION if is_meant else "")
    entries = fields.get("entries")
    if entries is None or is_null(entries):
        return ()
    if not isinstance(entries, Sequence):
        findings.add(codes.WRONG_TYPE, "the document has entries that are not a list", entries, "entries")
        return ()
    if len(entries.items) > MAX_ENTRIES:
        findings.add(codes.TOO_LARGE, f"the document has more than {MAX_ENTRIES} entries", entries, "entries")
        return ()
    return entries.items


def _shown(version: Node) -> str:
    """Return the wrong version as its author wrote it: texts in quotation marks, so that blanks are visible."""
    if not isinstance(version, Scalar):
        return f"a {'list' if isinstance(version, Sequence) else 'mapping'} as version"
    if version.kind is ScalarKind.TEXT:
        return f"version {quoted(version.text)}"
    if version.text in {"", VERSION}:  # without its tag, it would look empty or right
        return "a version with a tag"
    return f"version {bounded(version.text)}"


def entry_lines(text: str) -> tuple[Lines, ...]:
    """Return the lines of each item of ``entries``, in order; nothing if the document is unreadable or has none.

    They begin with the item's dash and end with its last value. Blank lines and comments after it are not part of it, since a comment
    usually belongs to what follows. An alias has its own line.
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
    """Return the line of the dash for an item that begins in line ``first``: the dash may be alone in an earlier line."""
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
