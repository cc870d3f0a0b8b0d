"""Maps lines and columns of a policy document to those of the manifest file that contains it. Pure.

The document may be a block scalar, literal or folded, a quoted or a plain one. In a literal block, lines are lines. In all others, the
characters that are not blanks are in the same order in the value and in the file, so walking through both finds each character's place.

Source: https://yaml.org/spec/1.2.2/#chapter-7-flow-style-productions, https://yaml.org/spec/1.2.2/#81-block-scalar-styles
"""

import re
import sys
from bisect import bisect_right
from collections.abc import Iterator
from typing import Final, final

import attrs

from exchanger.formats.yaml import nodes
from exchanger.formats.yaml.nodes import field
from exchanger.formats.yaml.reader import BREAK
from exchanger.model.entry import Source
from exchanger.policy.selection import DOCUMENT_KEY

_PROPERTIES: Final = re.compile(r"(?:[&!][^\s,\[\]{}]*\s+)*")  # an anchor and a tag, before their node
# Escapes of double-quoted scalars: https://yaml.org/spec/1.2.2/#57-escaped-characters; a line break after the backslash is not one.
_ESCAPE: Final = re.compile(r"\\(?:x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|\r\n|.)", re.DOTALL)
_NAMED: Final = {"0": "\0", "a": "\a", "b": "\b", "t": "\t", "\t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r", "e": "\x1b"}
_NAMED_BLANKS: Final = {"N": "\x85", "_": "\xa0", "L": "\u2028", "P": "\u2029", "\n": "", "\r": "", "\r\n": ""}


@final
@attrs.frozen
class Place:
    """Line and column in the file, counted from 1."""

    line: int | None = None
    column: int | None = None


NOWHERE: Final = Place()


@final
@attrs.frozen
class FileText:
    """The text of a file, and where its lines begin."""

    text: str = attrs.field(repr=False)
    starts: tuple[int, ...] = attrs.field(init=False, repr=False)

    @starts.default
    def _split(self) -> tuple[int, ...]:
        return (0, *(found.end() for found in BREAK.finditer(self.text)))

    def line(self, number: int) -> str:
        """Return the line ``number``, counted from 1, without its end; "" if there is none."""
        if not 0 < number <= len(self.starts):
            return ""
        end = self.starts[number] if number < len(self.starts) else len(self.text)
        return self.text[self.starts[number - 1] : end].rstrip("\r\n\x85\u2028\u2029")

    def offset(self, line: int, column: int) -> int:
        """Return the position of a place, the end of the text for one after it."""
        if line > len(self.starts):
            return len(self.text)
        return min(self.starts[max(line, 1) - 1] + max(column, 1) - 1, len(self.text))

    def within(self, line: int | None, column: int | None) -> Place:
        """Return a place, or the last line for one after it, which libyaml reports for something missing at the end."""
        last = len(self.starts)
        return Place(line, column) if line is None or line <= last else Place(last, None)

    def place(self, offset: int) -> Place:
        """Return the place of a position."""
        line = bisect_right(self.starts, offset)
        return Place(line, offset - self.starts[line - 1] + 1)


@final
@attrs.define(eq=False)
class DocumentPlaces:
    """The places of one document, the value of ``node`` in ``file``. Walks through both once, when a place is first asked for.

    ``lines`` are those of the document.
    """

    file: FileText
    node: nodes.Scalar
    lines: FileText = attrs.field(init=False, repr=False)
    # For each character of the value, its position in the file. Empty before the first question, and for a literal block.
    _offsets: list[int] = attrs.field(factory=list, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.lines = FileText(self.node.text)

    def offset(self, line: int, column: int) -> int:
        """Return the position in the file of a place in the document."""
        start, text = self.content, self.file.text
        if text[start : start + 1] == "|":
            return self._in_literal(line, column)
        if not self._offsets:
            self._offsets = list(_walk(text, start, self.node.text))
        return self._offsets[min(self.lines.offset(line, column), len(self._offsets) - 1)]

    @property
    def content(self) -> int:
        """The position of the value after its anchor and tag: of its first character, its quotation mark, or its ``|``."""
        found = _PROPERTIES.match(self.file.text, self.file.offset(self.node.line, self.node.column))
        return found.end() if found is not None else 0

    def _in_literal(self, line: int, column: int) -> int:
        lines = self.lines
        last = self.lines.place(len(self.node.text.rstrip("\n"))).line or 1
        if line > last:  # something missing at the end is reported after the last line
            line, column = last, len(lines.line(last)) + 1
        head = self.file.place(self.content).line or 1
        here, said = self.file.line(head + line), lines.line(line)
        indentation = here[: len(here) - len(said)] if here.endswith(said) else ""
        return self.file.offset(head + line, column + len(indentation))


def _walk(text: str, at: int, value: str) -> Iterator[int]:
    """Yield the position of each character of ``value``, whose scalar begins at ``at``, and at last that of its end."""
    style = text[at : at + 1]
    if style == ">":
        head = BREAK.search(text, at)
        at = len(text) if head is None else head.end()
    elif style and style in "\"'":
        at += 1
    for char in value:
        unit, length = _unit(text, at, style)
        while not char.isspace() and unit.strip() != char and at < len(text):
            at += length
            unit, length = _unit(text, at, style)
        yield at
        at += length if unit == char else 0
    yield at


def _unit(text: str, at: int, style: str) -> tuple[str, int]:
    """Return the character at ``at`` in a scalar of this style, and the length of its written form."""
    if style == "'" and text.startswith("''", at):
        return "'", 2
    escape = _ESCAPE.match(text, at) if style == '"' else None
    if escape is None:
        return text[at : at + 1], 1
    code = escape[0][1:]
    if len(code) > 1 and code[0] in "xuU":
        return _character(int(code[1:], 16)), len(escape[0])
    return _NAMED.get(code, _NAMED_BLANKS.get(code, code)), len(escape[0])


def _character(number: int) -> str:
    return chr(number) if number <= sys.maxunicode else ""


@final
@attrs.frozen
class Found:
    """A ConfigMap or Namespace in a file: its node, and for a ConfigMap that of its document (``None``: it has none)."""

    kind: str
    source: Source
    place: Place
    node: nodes.Mapping = attrs.field(repr=False)
    document: nodes.Scalar | None = attrs.field(default=None, repr=False)


def objects_found(node: nodes.Node, kind_of_list: str = "") -> Iterator[Found]:
    """Yield the objects in one document of a file, in the order in which ``directory.manifest`` reads them."""
    if not isinstance(node, nodes.Mapping):
        return
    kind, items = text_field(node, "kind") or kind_of_list, field(node, "items")
    if kind.endswith("List") and isinstance(items, nodes.Sequence) and not kind_of_list:
        for item in items.items:
            yield from objects_found(item, kind.removesuffix("List"))
        return
    if kind not in {"ConfigMap", "Namespace"} or (text_field(node, "apiVersion") or "v1") != "v1":
        return
    metadata = field(node, "metadata")
    document = field(field(node, "data"), DOCUMENT_KEY)
    source = Source(text_field(metadata, "namespace") or "default", text_field(metadata, "name"))
    is_text = isinstance(document, nodes.Scalar) and document.kind is nodes.ScalarKind.TEXT
    place = Place(node.line, node.column)
    yield Found(kind, source, place, node, document if is_text and isinstance(document, nodes.Scalar) else None)


def text_field(node: nodes.Node | None, name: str) -> str:
    """Return the text of a field, "" if it has none."""
    value = field(node, name)
    return "" if value is None else nodes.text_of(value) or ""
