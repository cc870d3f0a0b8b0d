"""The objects in a manifest file, each with its place, and everything that prevents some of them from being read. Total.

The service refuses a whole file for its first mistake. Here each document of it is read by itself, so that none hides another's. What the
service cannot read is a problem, even if it can be read here.
"""

import re
from collections.abc import Callable
from typing import Final, final

import attrs

from exchanger.commands.check.source_map import NOWHERE, DocumentPlaces, FileText, Found, Place, objects_found
from exchanger.formats.yaml import nodes
from exchanger.formats.yaml.nodes import field
from exchanger.formats.yaml.reader import UnreadableYaml, read_stream
from exchanger.model.codes import manifests as codes
from exchanger.model.codes.policy import TOO_LARGE
from exchanger.model.codes.problem import Problem
from exchanger.model.entry import Source
from exchanger.policy.namespace import EffectiveDocument
from exchanger.policy.selection import ConfigMap, PolicyObject
from exchanger.sources.directory.manifest import (
    LIMITS,
    MAX_FILE_BYTES,
    PassedOver,
    UnreadableFile,
    objects_of,
    plain,
    read_document,
    read_json,
)
from exchanger.util.text import MAX_QUOTED, bounded

# Documents of a file with a syntax error that are read one by one to find the mistakes in the others.
MAX_PIECES: Final = 2_000

_SEPARATOR: Final = re.compile(r"^---(?=[ \t\r\n]|\Z)", re.MULTILINE)


@final
@attrs.frozen
class Object:
    """An object of a file and its place. ``document`` maps places of a ConfigMap's document; ``None``: they are unknown."""

    value: PolicyObject
    place: Place
    found: Found | None = attrs.field(default=None, repr=False)
    document: DocumentPlaces | None = attrs.field(default=None, repr=False)


@final
@attrs.frozen
class PlacedProblem:
    """A problem and its place in ``file``; ``policy`` is the ConfigMap that it is about, and ``rivals`` are other places that matter."""

    problem: Problem
    file: str
    place: Place = NOWHERE
    policy: Source | None = None
    rivals: tuple[tuple[str, Place], ...] = ()


@final
@attrs.frozen
class ManifestFile:
    """What one file says. ``bare`` is a policy document that is not in a ConfigMap."""

    name: str
    text: FileText = attrs.field(default=FileText(""), repr=False)
    objects: tuple[Object, ...] = ()
    problems: tuple[PlacedProblem, ...] = ()
    bare: bool = False


@final
@attrs.frozen
class CheckedDocument:
    """A policy document of a file. ``meant``: nothing selects it, but it was meant to be policy. ``bare``: it is the whole file.

    ``policy`` is what grants and limits leave of it beside the other documents. ``problems`` have their places in its text.
    """

    file: ManifestFile
    object: Object
    policy: EffectiveDocument
    problems: tuple[Problem, ...] = ()
    meant: bool = False
    bare: bool = False

    def place(self, line: int | None, column: int | None) -> Place:
        """Return the place in the file for a place in the document: the object itself if that is unknown.

        Without a column, it is the line's first character that is neither a blank nor a dash.
        """
        places = self.object.document
        if line is None or (places is None and not self.bare):
            return self.object.place
        said = (self.file.text if places is None else places.lines).line(line)
        column = column or len(said) - len(said.lstrip(" -")) + 1
        return Place(line, column) if places is None else self.file.text.place(places.offset(line, column))


def read_file(name: str, data: bytes, *, may_be_bare: bool = False) -> ManifestFile:
    """Return the content of the file ``name`` with the bytes ``data``. Never raises.

    A policy that is not in a ConfigMap is a problem unless the file ``may_be_bare``: among manifests, it would not be active.
    """
    if len(data) > MAX_FILE_BYTES:
        return _unreadable(name, Problem(codes.LARGE_FILE, f"the file is larger than {MAX_FILE_BYTES} bytes"))
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return _unreadable(name, Problem(codes.UNREADABLE_FILE, "the file is not UTF-8"), Place(line, 1))
    if not text.strip():
        return _unreadable(name, Problem(codes.EMPTY_FILE, "the file is empty (add manifests to it, or delete it)"))
    file = _Reading(name, FileText(text))
    file.read()
    welcome = may_be_bare and file.bare
    problems = tuple(one for one in file.problems if not (welcome and one.problem.code is codes.BARE_POLICY))
    return ManifestFile(name, file.text, tuple(file.objects), problems, file.bare)


def _unreadable(name: str, problem: Problem, place: Place = NOWHERE) -> ManifestFile:
    return ManifestFile(name, problems=(PlacedProblem(problem, name, place),))


@final
@attrs.define(eq=False)
class _Reading:
    """Reads one file."""

    name: str
    text: FileText
    objects: list[Object] = attrs.field(factory=list)
    problems: list[PlacedProblem] = attrs.field(factory=list)
    bare: bool = False

    def read(self) -> None:
        if self.name.endswith(".json"):
            self._json()
            return
        roots = read_stream(self.text.text, LIMITS)
        if isinstance(roots, UnreadableYaml):
            self._pieces(roots)
            return
        for index, root in enumerate(roots):
            self._document(root, index)
        self.bare = self.bare and len(roots) == 1

    def _json(self) -> None:
        """Read JSON as the service does. Places are known where YAML says the same; it has no words for surrogates, for example."""
        content = read_json(self.text.text)
        if isinstance(content, UnreadableFile):
            self._unreadable(content)
            return
        roots = read_stream(self.text.text, LIMITS)
        for root in () if isinstance(roots, UnreadableYaml) else roots:
            self._document(root, 0)
        known = read_document(content, 0)
        if isinstance(known, UnreadableFile):
            if not self.problems:
                self._unreadable(known)
        elif isinstance(roots, UnreadableYaml) or [item.value for item in self.objects] != list(objects_of(known)):
            self.objects, self.problems, self.bare = [Object(item, NOWHERE) for item in objects_of(known)], [], False
            for item in known:
                if isinstance(item, PassedOver):
                    self._passed_over(item, NOWHERE)

    def _unreadable(self, found: UnreadableFile) -> None:
        place = Place(found.line, found.column)
        self._problem(Problem(found.code, f"the file {found.reason}", line=place.line, column=place.column), place)

    def _passed_over(self, found: PassedOver, place: Place) -> None:
        self._problem(Problem(found.code, f"{found.reason} ({found.remedy})"), place)

    def _pieces(self, whole: UnreadableYaml) -> None:
        """Read each document by itself."""
        starts = [0, *(found.start() for found in _SEPARATOR.finditer(self.text.text))]
        pieces = list(zip(starts, [*starts[1:], len(self.text.text)], strict=True))
        wrong = 0
        for index, (start, end) in enumerate(pieces if len(pieces) <= MAX_PIECES else ()):
            # Lines before the piece stay, as empty ones, so that places are those of the file.
            before = (self.text.place(start).line or 1) - 1
            roots = read_stream("\n" * before + self.text.text[start:end], LIMITS)
            if isinstance(roots, UnreadableYaml):
                wrong += 1
                self._syntax(roots)
                continue
            for root in roots:
                self._document(root, index)
        if not wrong:
            self._syntax(whole)
        self.bare = False

    def _syntax(self, found: UnreadableYaml) -> None:
        code = codes.LARGE_FILE if found.code is TOO_LARGE else codes.UNREADABLE_FILE
        problem = found.problem("the file", code)
        self._problem(problem, self.text.within(problem.line, problem.column))

    def _document(self, root: nodes.Node, index: int) -> None:
        placed = list(objects_found(root))
        for found in placed:
            self._look_at_labels(found)
        read = read_document(plain(_with_labels(root)), index)
        begin = Place(root.line, root.column)
        if isinstance(read, UnreadableFile):
            self._problem(Problem(read.code, read.reason), begin)
            return
        left = iter(placed)
        for item in read:
            if isinstance(item, PassedOver):
                self.bare = self.bare or item.code is codes.BARE_POLICY
                self._passed_over(item, begin)
                continue
            where = next(left, None)
            node = None if where is None or not isinstance(item, ConfigMap) else where.document
            places = None if node is None else DocumentPlaces(self.text, node)
            self.objects.append(Object(item, begin if where is None else where.place, where, places))

    def _look_at_labels(self, found: Found) -> None:
        """Tell of each label that is not text. The object counts as if it were one, so that the rest of it is looked at."""
        labels = field(field(found.node, "metadata"), "labels")
        for key, value in labels.pairs if isinstance(labels, nodes.Mapping) else ():
            if nodes.text_of(value) is None and isinstance(key, nodes.Scalar):
                scalar = value.text if isinstance(value, nodes.Scalar) and value.kind is nodes.ScalarKind.OTHER else ""
                text = f"the label {bounded(key.text)} must be text; put numbers and true/false in quotes"
                instead = f'"{scalar}"' if 0 < len(scalar) <= MAX_QUOTED else ""
                self._problem(Problem(codes.MALFORMED_OBJECT, text, instead=instead), Place(value.line, value.column), found.source)

    def _problem(self, problem: Problem, place: Place, policy: Source | None = None) -> None:
        self.problems.append(PlacedProblem(problem, self.name, place, policy))


def _with_labels(root: nodes.Node) -> nodes.Node:
    """Return an object, or a list of them, with each label as text."""

    def textual(node: nodes.Node) -> nodes.Node:
        if isinstance(node, nodes.Scalar) and node.kind is nodes.ScalarKind.OTHER:
            return attrs.evolve(node, kind=nodes.ScalarKind.TEXT)
        return node

    def labels(node: nodes.Node) -> nodes.Node:
        return _mapped(node, textual)

    def metadata(node: nodes.Node) -> nodes.Node:
        return _mapped(node, labels, "labels")

    def item(node: nodes.Node) -> nodes.Node:
        return _mapped(node, metadata, "metadata")

    def items(node: nodes.Node) -> nodes.Node:
        return attrs.evolve(node, items=tuple(map(item, node.items))) if isinstance(node, nodes.Sequence) else node

    return _mapped(item(root), items, "items")


def _mapped(node: nodes.Node, change: Callable[[nodes.Node], nodes.Node], name: str | None = None) -> nodes.Node:
    """Return a mapping with the values of the field ``name``, or of all fields, changed."""
    if not isinstance(node, nodes.Mapping):
        return node
    pairs = ((key, change(value) if name is None or nodes.text_of(key) == name else value) for key, value in node.pairs)
    return attrs.evolve(node, pairs=tuple(pairs))
