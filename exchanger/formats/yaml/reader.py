"""The door to YAML: the text of a document as a tree of plain nodes with their places, or why it is unreadable. Total and bounded.

Built from libyaml's events in a loop, so no nesting reaches the stack. Aliases share their node; a document that would be large with its
aliases expanded is refused. JSON is read as YAML.

Must not know: what the document is about.
"""

import re
from itertools import islice
from typing import Final, final

import attrs
from yaml import CSafeLoader, parse
from yaml.error import MarkedYAMLError, YAMLError
from yaml.events import AliasEvent, CollectionEndEvent, DocumentStartEvent, Event, NodeEvent, ScalarEvent, SequenceStartEvent
from yaml.events import CollectionStartEvent as StartEvent

from exchanger.formats.yaml.nodes import Mapping, Node, Scalar, ScalarKind, Sequence
from exchanger.formats.yaml.syntax import Suggestion, meant
from exchanger.model.codes import policy as codes
from exchanger.model.codes.code import Code
from exchanger.model.codes.problem import Problem
from exchanger.util.text import quoted

MAX_BYTES: Final = 1_048_576  # of UTF-8; a ConfigMap holds no more (https://kubernetes.io/docs/concepts/configuration/configmap/)
MAX_NODES: Final = 262_144  # with aliases written out; the densest honest document has some 4 bytes a node
MAX_DEPTH: Final = 32  # levels of lists and mappings; a policy document needs 5

# What libyaml counts as the end of a line.
BREAK: Final = re.compile("\r\n|[\n\r\x85\u2028\u2029]")

# At the beginning of a line. libyaml compares each %TAG with all before it, in time with the square of their number; a policy needs none.
_find_tag_directive: Final = re.compile("%TAG(?:(?<=[\n\r\x85\u2028\u2029]%TAG)|(?<=\\A%TAG)|(?<=\\A\ufeff%TAG))").search

# What plain scalars mean: YAML 1.2 core schema, https://yaml.org/spec/1.2.2/#1032-tag-resolution. All others are texts.
_is_null: Final = re.compile(r"null|Null|NULL|~|").fullmatch
_is_bool_or_number: Final = re.compile(
    r"true|True|TRUE|false|False|FALSE"
    r"|[-+]?+[0-9]++|0o[0-7]++|0x[0-9a-fA-F]++"
    r"|[-+]?+(?:\.[0-9]++|[0-9]++(?:\.[0-9]*+)?)(?:[eE][-+]?+[0-9]++)?"
    r"|[-+]?+\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
).fullmatch

_TEXT_TAGS: Final = frozenset({"!", "tag:yaml.org,2002:str"})
_FIELDS: Final = 2  # levels that are open in a list that is a field of the root
_COLLECTION_TAGS: Final = frozenset({None, "!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"})


@final
@attrs.frozen
class UnreadableYaml:
    """Why the text is not a document; ``line`` and ``column`` are ``None`` if there is no place to point at.

    What was ``meant`` may repeat the text; ``reason`` does not.
    """

    reason: str
    line: int | None = None
    column: int | None = attrs.field(default=None, eq=False)
    code: Code = attrs.field(default=codes.NOT_YAML, eq=False, repr=False, kw_only=True)
    meant: Suggestion | None = attrs.field(default=None, eq=False, repr=False, kw_only=True)

    def problem(self, what: str, code: Code | None = None) -> Problem:
        """Return this as a problem of ``what``, the first words of the sentence, with ``code`` instead of its own."""
        better = self.meant or Suggestion(self.column)
        text = f"{what} {self.reason}"
        return Problem(code or self.code, text, line=self.line, column=better.column, hint=better.hint, instead=better.instead)


_EMPTY: Final = UnreadableYaml("is empty", code=codes.EMPTY_DOCUMENT)


@final
@attrs.frozen
class YamlLimits:
    """``size`` is in bytes of UTF-8; ``values`` and ``depth``, in levels, count aliases expanded."""

    size: int = MAX_BYTES
    values: int = MAX_NODES
    depth: int = MAX_DEPTH


def read_nodes(
    text: str, found: list[Node] | None = None, *, lined: bool = False, duplicates: "list[UnreadableYaml] | None" = None
) -> Node | UnreadableYaml:
    """Return the root node of the only document in ``text``, with its merge keys resolved, or why there is none. Never raises.

    ``lined``: lists that are fields of the root have the lines of their items, which takes time that requests do not need.
    Empty documents after it are ignored. ``found`` receives every node, children before parents, also of an unreadable text. Popping them
    after the root is gone frees them one by one, instead of up to ``MAX_NODES`` in one step that nothing can interrupt. ``duplicates``
    receives repeated keys, which otherwise make a text unreadable; the first occurrence counts.
    """
    if not text or text.isspace():
        return _EMPTY
    roots = _read(text, _Composer(YamlLimits(), [] if found is None else found, single=True, lined=lined, duplicates=duplicates))
    return roots if isinstance(roots, UnreadableYaml) else roots[0] if roots else _EMPTY


def read_stream(text: str, limits: YamlLimits) -> tuple[Node, ...] | UnreadableYaml:
    """Return the root nodes of all documents in ``text``, or why they cannot be read; ``<<`` is a plain text. Never raises."""
    return _read(text, _Composer(limits, [], single=False))


def _read(text: str, composer: "_Composer") -> tuple[Node, ...] | UnreadableYaml:
    found = _composed(text, composer)
    return _hinted(found, text) if isinstance(found, UnreadableYaml) else found


def _hinted(found: UnreadableYaml, text: str) -> UnreadableYaml:
    """Return a mistake in the syntax of ``text`` with what was probably meant."""
    if found.code is not codes.NOT_YAML or found.line is None or found.column is None:
        return found
    breaks = [at.end() for at in islice(BREAK.finditer(text), found.line - 1)]
    if len(breaks) < found.line - 1:
        return found  # something is missing at the end
    start = breaks[-1] if breaks else 0
    last = BREAK.search(text, start)
    told = meant(text[start : len(text) if last is None else last.start()], found.column, found.reason)
    return attrs.evolve(found, meant=told)


def _composed(text: str, composer: "_Composer") -> tuple[Node, ...] | UnreadableYaml:
    size = composer.limits.size
    try:
        data = b"" if len(text) > size else text.encode()
    except UnicodeEncodeError:
        return UnreadableYaml("is not UTF-8")
    if max(len(text), len(data)) > size:
        return UnreadableYaml(f"is longer than {size} bytes", code=codes.TOO_LARGE)
    if directive := _find_tag_directive(text):
        return UnreadableYaml("has a %TAG directive", text.count("\n", 0, directive.start()) + 1)
    try:
        for event in parse(Pieces(data), Loader=CSafeLoader):
            if (problem := composer.take(event)) is not None:
                return problem
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = f"is not YAML: {error.problem or error.context}"
        return UnreadableYaml(what) if mark is None else UnreadableYaml(what, mark.line + 1, mark.column + 1)
    except YAMLError:  # from the reader, without a line
        return UnreadableYaml("is not YAML: it has characters that YAML does not allow")
    return tuple(composer.roots)


@final
@attrs.define(eq=False)
class Pieces:
    """Gives libyaml a text piece by piece. Other threads can run between two pieces, but not within one long scalar."""

    _data: bytes = attrs.field(repr=False)
    _at: int = attrs.field(default=0, init=False)

    def read(self, size: int = MAX_BYTES) -> bytes:
        """Return at most the next ``size`` bytes, b"" at the end."""
        began, self._at = self._at, self._at + size
        return self._data[began : self._at]


@attrs.define(eq=False)
class _Open:
    """A list or mapping that has not ended yet: its nodes, and the number of nodes and levels in it, with aliases expanded."""

    event: StartEvent
    nodes: list[Node] = attrs.field(factory=list)
    size: int = 1
    height: int = 0
    lines: list[tuple[int, int]] = attrs.field(factory=list)


@attrs.define(eq=False)
class _Composer:
    """Receives events one by one, and has the ``roots`` after the last one. ``found`` receives every node before its parent.

    ``single``: merge keys are resolved, and documents after the first must be empty, as after ``---`` at the end. ``began`` is where
    the latest document begins. ``anchors`` has each node with its size and height, ``None`` for one that is still open. ``lined``: see
    ``read_nodes``; ``last`` is the last line so far that has more than blanks and comments.
    """

    limits: YamlLimits
    found: list[Node]
    single: bool
    lined: bool = False
    duplicates: list[UnreadableYaml] | None = None
    last: int = 1
    values: int = 0
    roots: list[Node] = attrs.field(factory=list)
    documents: int = 0
    began: tuple[int, int] = (1, 1)
    stack: list[_Open] = attrs.field(factory=list)
    anchors: dict[str, tuple[Node, int, int] | None] = attrs.field(factory=dict)

    def take(self, event: Event) -> UnreadableYaml | None:
        """Take the next event, and return what makes the text unreadable, if anything."""
        if self.lined:
            self.last = max(self.last, self._last_line(event))
        match event:
            case DocumentStartEvent():
                self.documents += 1
                self.anchors.clear()
                self.began = _place(event)
                return None
            case NodeEvent() if self.single and self.documents > 1:
                return None if _is_nothing(event) else UnreadableYaml("has a second document", *self.began, code=codes.SECOND_DOCUMENT)
            case ScalarEvent():
                return self._add(event, Scalar(_kind(event, merging=self.single), event.value, *_place(event)), 1, 0)
            case AliasEvent():
                shared = self.anchors.get(event.anchor or "")
                return (
                    self._add(event, *shared)
                    if shared is not None
                    else UnreadableYaml("has an alias without an anchor before it", *_place(event))
                )
            case StartEvent():
                if event.anchor is not None:
                    self.anchors[event.anchor] = None
                self.stack.append(_Open(event))
                return self._too_deep(event, 0)
            case CollectionEndEvent():
                return self._close()
            case _:  # start and end of the stream, end of a document
                return None

    def _close(self) -> UnreadableYaml | None:
        closed = self.stack.pop()
        node = _collection(closed.event, tuple(closed.nodes), self.duplicates, merging=self.single)
        if closed.lines and isinstance(node, Sequence):
            node = attrs.evolve(node, lines=tuple(closed.lines))
        return node if isinstance(node, UnreadableYaml) else self._add(closed.event, node, closed.size, closed.height + 1)

    def _too_deep(self, event: Event, height: int) -> UnreadableYaml | None:
        """Refuse a node of ``height`` that goes too deep here, so that walking the nodes may recurse."""
        depth = self.limits.depth
        if len(self.stack) + height <= depth:
            return None
        return UnreadableYaml(f"is nested deeper than {depth} levels", *_place(event), code=codes.TOO_LARGE)

    def _add(self, event: NodeEvent, node: Node, size: int, height: int) -> UnreadableYaml | None:
        if not isinstance(event, AliasEvent):
            self.found.append(node)
            if event.anchor is not None:
                self.anchors[event.anchor] = (node, size, height)
        if self.stack:
            parent = self.stack[-1]
            parent.nodes.append(node)
            if self.lined and len(self.stack) == _FIELDS and isinstance(parent.event, SequenceStartEvent):
                parent.lines.append((_place(event)[0], self.last))
            parent.size += size
            parent.height = max(parent.height, height)
            if isinstance(event, AliasEvent) and (problem := self._too_deep(event, height)) is not None:
                return problem
            total = self.values + parent.size
        else:
            self.roots.append(node)
            self.values += size
            total = self.values
        most = self.limits.values
        return UnreadableYaml(f"has more than {most} values", *_place(event), code=codes.TOO_LARGE) if total > most else None

    def _last_line(self, event: Event) -> int:
        """Return the last line of ``event`` itself; 0 without text. A block ends where the next node begins."""
        mark = event.end_mark
        is_text = isinstance(event, ScalarEvent | AliasEvent) or (
            isinstance(event, CollectionEndEvent) and bool(self.stack) and bool(self.stack[-1].event.flow_style)
        )
        if mark is None or not is_text:
            return 0
        ends_with_line = mark.column == 0 and isinstance(event, ScalarEvent) and event.style in {"|", ">"}
        return mark.line if ends_with_line else mark.line + 1


def _place(event: Event) -> tuple[int, int]:
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)


def _is_nothing(event: NodeEvent) -> bool:
    """Return whether ``event`` is the node of an empty document, without even a ``null``."""
    return isinstance(event, ScalarEvent) and event.value == "" and event.implicit[0] and event.tag is None and event.anchor is None


def _kind(event: ScalarEvent, *, merging: bool) -> ScalarKind:
    if event.tag is not None:
        return ScalarKind.TEXT if event.tag in _TEXT_TAGS else ScalarKind.OTHER
    if not event.implicit[0]:  # quoted, or a block
        return ScalarKind.TEXT
    if merging and event.value == "<<":
        return ScalarKind.MERGE
    if _is_null(event.value):
        return ScalarKind.NULL
    return ScalarKind.OTHER if _is_bool_or_number(event.value) else ScalarKind.TEXT


def _collection(
    event: StartEvent, nodes: tuple[Node, ...], duplicates: list[UnreadableYaml] | None, *, merging: bool
) -> Node | UnreadableYaml:
    if event.tag not in _COLLECTION_TAGS:
        return Scalar(ScalarKind.OTHER, "", *_place(event))
    if isinstance(event, SequenceStartEvent):
        return Sequence(nodes, *_place(event))
    pairs: list[tuple[Node, Node]] = []
    seen: set[str | tuple[ScalarKind, str]] = set()
    # A loop, which other threads can interrupt: a call that pairs 100,000 nodes holds the interpreter for 40 ms.
    for key, value in zip(nodes[::2], nodes[1::2], strict=True):
        if isinstance(key, Scalar):
            name = key.text if key.kind is ScalarKind.TEXT else (key.kind, key.text)
            if name in seen:
                problem = UnreadableYaml(f"has duplicate keys: {quoted(key.text)}", key.line, key.column, code=codes.DUPLICATE_KEY)
                if duplicates is None:
                    return problem
                duplicates.append(problem)
                continue
            seen.add(name)
        pairs.append((key, value))
    merged = _merged(tuple(pairs)) if merging else tuple(pairs)
    return merged if isinstance(merged, UnreadableYaml) else Mapping(merged, *_place(event))


def _merged(pairs: tuple[tuple[Node, Node], ...]) -> tuple[tuple[Node, Node], ...] | UnreadableYaml:
    """Replace the key ``<<`` by the pairs of its mappings (https://yaml.org/type/merge.html); own keys win, then earlier mappings.

    A merged mapping is usually an alias, and was counted there.
    """
    merge = next((pair for pair in pairs if isinstance(pair[0], Scalar) and pair[0].kind is ScalarKind.MERGE), None)
    if merge is None:
        return pairs
    key, value = merge
    found = [pair for pair in pairs if pair is not merge]
    known = {(own.kind, own.text) for own, _ in found if isinstance(own, Scalar)}
    for source in value.items if isinstance(value, Sequence) else (value,):
        if not isinstance(source, Mapping):
            return UnreadableYaml("has a merge key << of something other than mappings", key.line, key.column)
        for pair in source.pairs:
            name = (pair[0].kind, pair[0].text) if isinstance(pair[0], Scalar) else None
            if name not in known:
                found.append(pair)
                if name is not None:
                    known.add(name)
    return tuple(found)
