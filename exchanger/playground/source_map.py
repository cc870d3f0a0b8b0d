"""Maps lines and columns of a policy document to those of the manifest file that contains it, to mark problems in an editor. Pure.

Source: https://yaml.org/spec/1.2.2/#81-block-scalar-styles
"""

import re
from collections.abc import Iterator
from typing import Final, final

import attrs

from exchanger.policy import yaml_nodes as nodes
from exchanger.policy.selection import DOCUMENT_KEY
from exchanger.values.entry import Source

# The head of a literal block scalar, with tag and anchor; lines of a folded or quoted one are not those of the file.
_is_block: Final = re.compile(r"(?:[&!]\S*[ \t]+)*\|[-+1-9]{0,2}[ \t]*(?:#.*)?").fullmatch


@final
@attrs.frozen
class Place:
    """Line and column in the file, counted from 1."""

    line: int | None = None
    column: int | None = None


NOWHERE: Final = Place()


@final
@attrs.frozen
class Found:
    """A ConfigMap in the file: where it begins, the node of its document (``None``: it has none), and the lines of that."""

    source: Source
    place: Place
    document: nodes.Scalar | None = attrs.field(default=None, repr=False)
    lines: tuple[str, ...] = attrs.field(init=False, repr=False)

    @lines.default
    def _split(self) -> tuple[str, ...]:
        return () if self.document is None else tuple(nodes.BREAK.split(self.document.text.rstrip("\n")))


@final
@attrs.frozen
class FileMap:
    """The lines of a file, and its ConfigMaps in their order."""

    lines: tuple[str, ...] = attrs.field(repr=False)
    configmaps: tuple[Found, ...]

    def of(self, source: Source) -> Found | None:
        """Return the first ConfigMap of this name."""
        return next((found for found in self.configmaps if found.source == source), None)

    def place(self, source: Source, line: int | None, column: int | None) -> Place:
        """Return where ``line`` and ``column`` of the document of ``source`` are in the file, its beginning if that is unknown."""
        found = self.of(source)
        if found is None:
            return NOWHERE
        if found.document is None or line is None:
            return found.place
        return self._inside(found.document, found.lines, line, column)

    def _inside(self, document: nodes.Scalar, theirs: tuple[str, ...], line: int, column: int | None) -> Place:
        begin = Place(document.line, document.column)
        head = self._line(document.line)
        if head is None or line < 1 or not _is_block(head[document.column - 1 :]):
            return begin
        if line > len(theirs):  # what is missing is found missing after the last line
            line, column = len(theirs), len(theirs[-1]) + 1
        said, here = theirs[line - 1], self._line(document.line + line)
        if here is None or not here.endswith(said) or here[: len(here) - len(said)].strip(" "):
            return begin
        # The block's indentation is what stands before the text; a blank line need not have all of it.
        return Place(document.line + line, None if column is None else column + len(here) - len(said))

    def _line(self, number: int) -> str | None:
        return self.lines[number - 1] if 0 < number <= len(self.lines) else None


def file_map(text: str, limits: nodes.Limits) -> FileMap | nodes.Unreadable:
    """Return where things are in ``text``, or why it is no YAML. Never raises."""
    roots = nodes.read_stream(text, limits)
    if isinstance(roots, nodes.Unreadable):
        return roots
    return FileMap(tuple(nodes.BREAK.split(text)), tuple(found for root in roots for found in _configmaps(root, "")))


def within(text: str, place: Place) -> Place:
    """Return ``place``, or the last line of ``text`` for one after it: there libyaml finds missing what is missing at the end."""
    last = len(nodes.BREAK.split(text))
    return place if place.line is None or place.line <= last else Place(last, None)


def document_places(text: str, limits: nodes.Limits) -> tuple[Place, ...] | nodes.Unreadable:
    """Return where each document of the stream ``text`` begins, or why it is no YAML. Never raises."""
    roots = nodes.read_stream(text, limits)
    return roots if isinstance(roots, nodes.Unreadable) else tuple(Place(root.line, root.column) for root in roots)


def _configmaps(node: nodes.Node, kind_of_list: str) -> Iterator[Found]:
    """Return the ConfigMaps in a Kubernetes object, in the order in which ``directory.manifest`` reads them."""
    if not isinstance(node, nodes.Mapping):
        return
    kind = _text(_field(node, "kind")) or kind_of_list
    items = _field(node, "items")
    if kind.endswith("List") and isinstance(items, nodes.Sequence) and not kind_of_list:
        for item in items.items:
            yield from _configmaps(item, kind.removesuffix("List"))
    elif kind == "ConfigMap":
        metadata = _field(node, "metadata")
        document = _field(_field(node, "data"), DOCUMENT_KEY)
        source = Source(_text(_field(metadata, "namespace")) or "default", _text(_field(metadata, "name")))
        is_text = isinstance(document, nodes.Scalar) and document.kind is nodes.Kind.TEXT
        yield Found(source, Place(node.line, node.column), document if is_text and isinstance(document, nodes.Scalar) else None)


def _field(node: nodes.Node | None, name: str) -> nodes.Node | None:
    if not isinstance(node, nodes.Mapping):
        return None
    return next((value for key, value in node.pairs if isinstance(key, nodes.Scalar) and key.text == name), None)


def _text(node: nodes.Node | None) -> str:
    return "" if node is None else nodes.text_of(node) or ""
