"""The door to YAML: the text of a document as a tree of plain nodes with their places, or why it is unreadable. Total and bounded.

Built from libyaml's events in a loop, so that no nesting reaches the stack. Aliases share their node; a document that would be large if
they were written out is refused. JSON is read as the YAML that it is.

Must not know: what the document is about.
"""

import enum
import math
import re
from collections.abc import Iterator
from typing import Final, final

import attrs
from yaml import CSafeLoader, parse
from yaml.error import MarkedYAMLError, YAMLError
from yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceStartEvent,
)

from exchanger.util.text import quoted

MAX_BYTES: Final = 1_048_576  # of UTF-8; a ConfigMap holds no more (https://kubernetes.io/docs/concepts/configuration/configmap/)
MAX_NODES: Final = 262_144  # with aliases written out; the densest honest document has some 4 bytes a node
MAX_DEPTH: Final = 32  # levels of lists and mappings; a policy document needs 5

# libyaml compares each %TAG with all before it, so a text full of them takes time with the square of its length; a policy needs none.
_TAG: Final = "%TAG"
_BREAKS: Final = frozenset("\n\r\x85\u2028\u2029")

# What plain scalars mean: YAML 1.2 core schema, https://yaml.org/spec/1.2.2/#1032-tag-resolution. All others are texts.
_is_null: Final = re.compile(r"null|Null|NULL|~|").fullmatch
_is_bool_or_number: Final = re.compile(
    r"true|True|TRUE|false|False|FALSE"
    r"|[-+]?+[0-9]++|0o[0-7]++|0x[0-9a-fA-F]++"
    r"|[-+]?+(?:\.[0-9]++|[0-9]++(?:\.[0-9]*+)?+)(?:[eE][-+]?+[0-9]++)?+"
    r"|[-+]?+\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
).fullmatch

_TEXT_TAGS: Final = frozenset({"!", "tag:yaml.org,2002:str"})
_COLLECTION_TAGS: Final = frozenset({None, "!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"})


@enum.unique
class Kind(enum.Enum):
    """What a scalar is; ``MERGE`` a plain ``<<`` where that merges; ``OTHER`` a boolean, a number, or anything with a tag of its own."""

    TEXT = "text"
    NULL = "null"
    MERGE = "merge"
    OTHER = "other"


@final
@attrs.frozen
class Scalar:
    """A single value. ``line`` and ``column`` count from 1, here and below; two nodes that differ in their column alone say the same."""

    kind: Kind
    text: str
    line: int
    column: int = attrs.field(default=1, eq=False)


@final
@attrs.frozen
class Sequence:
    """A list."""

    items: tuple["Node", ...]
    line: int
    column: int = attrs.field(default=1, eq=False)


@final
@attrs.frozen
class Mapping:
    """A mapping, in the order of the text. No two scalar keys are equal."""

    pairs: tuple[tuple["Node", "Node"], ...]
    line: int
    column: int = attrs.field(default=1, eq=False)


Node = Scalar | Sequence | Mapping
Pairs = tuple[tuple[Node, Node], ...]


def is_null(node: Node) -> bool:
    """Tell whether ``node`` is YAML's null, which counts as nothing."""
    return isinstance(node, Scalar) and node.kind is Kind.NULL


def text_of(node: Node) -> str | None:
    """Return the text that ``node`` is; ``None`` for anything else, whatever a tag hides in it."""
    return node.text if isinstance(node, Scalar) and node.kind is Kind.TEXT else None


@final
@attrs.frozen
class Unreadable:
    """Why the text is no document; ``line`` and ``column`` are ``None`` where there is no place to point at."""

    reason: str
    line: int | None = None
    column: int | None = attrs.field(default=None, eq=False)


@final
@attrs.frozen
class Limits:
    """How much a text may hold: ``size`` in bytes of UTF-8, ``values`` and ``depth``, in levels, with aliases written out."""

    size: int = MAX_BYTES
    values: int = MAX_NODES
    depth: int = MAX_DEPTH


_POLICY_LIMITS: Final = Limits()


def read_nodes(text: str, found: list[Node] | None = None) -> Node | Unreadable:
    """Return the root node of the only document in ``text``, with its merge keys resolved, or why there is none. Never raises.

    Empty documents after it are none. ``found`` gets every node, those below before those above, also of an unreadable text. Whoever pops
    them when the root is gone frees them one by one, instead of up to ``MAX_NODES`` in one step that nothing can interrupt.
    """
    if not text or text.isspace():
        return Unreadable("is empty")
    roots = _read(text, _Composer(_POLICY_LIMITS, [] if found is None else found, max_documents=1, merging=True))
    if isinstance(roots, Unreadable):
        return roots
    return roots[0] if roots else Unreadable("is empty")


def read_stream(text: str, limits: Limits) -> tuple[Node, ...] | Unreadable:
    """Return the root nodes of all documents in ``text``, or why they cannot be read; ``<<`` is a text there. Never raises."""
    return _read(text, _Composer(limits, []))


def _read(text: str, composer: "_Composer") -> tuple[Node, ...] | Unreadable:
    size = composer.limits.size
    try:
        data = b"" if len(text) > size else text.encode()
    except UnicodeEncodeError:
        return Unreadable("is not UTF-8")
    if max(len(text), len(data)) > size:
        return Unreadable(f"is longer than {size} bytes")
    directive = _tag_directive(text)
    if directive >= 0:
        return Unreadable("has a %TAG directive", text.count("\n", 0, directive) + 1)
    try:
        return _compose(composer, parse(Pieces(data), Loader=CSafeLoader))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = f"is not YAML: {error.problem or error.context}"
        return Unreadable(what) if mark is None else Unreadable(what, mark.line + 1, mark.column + 1)
    except YAMLError:  # the reader's, which know no line
        return Unreadable("is not YAML: it has characters that YAML does not allow")


def _tag_directive(text: str) -> int:
    """Return where the first line begins that may be a %TAG directive, -1 where there is none."""
    at = text.find(_TAG)
    while at > 0 and text[at - 1] not in _BREAKS and not (at == 1 and text[0] == "\ufeff"):
        at = text.find(_TAG, at + 1)
    return at


@final
@attrs.define(eq=False)
class Pieces:
    """Has libyaml read a text piece by piece. Between two of them other threads may go on, which they may not within one long scalar."""

    _data: bytes = attrs.field(repr=False)
    _at: int = attrs.field(default=0, init=False)

    def read(self, size: int = MAX_BYTES) -> bytes:
        """Return the next ``size`` bytes at most, b"" at the end."""
        began, self._at = self._at, self._at + size
        return self._data[began : self._at]


def _compose(composer: "_Composer", events: Iterator[Event]) -> tuple[Node, ...] | Unreadable:
    for event in events:
        problem = composer.take(event)
        if problem is not None:
            return problem
    return tuple(composer.roots)


@attrs.define(eq=False)
class _Open:
    """A list or mapping whose end has not come yet.

    ``size`` is the number of nodes so far, ``height`` that of the levels below, both with aliases written out.
    """

    event: MappingStartEvent | SequenceStartEvent
    nodes: list[Node] = attrs.field(factory=list)
    size: int = 1
    height: int = 0


@attrs.define(eq=False)
class _Composer:
    """Takes events one by one, and has the ``roots`` when all are taken. ``anchors`` has ``None`` for a node that is still open.

    ``found`` gets every node before what it is in.
    ``began`` is where the latest document begins. Documents beyond ``max_documents`` may only be empty, as after ``---`` at the end.
    """

    limits: Limits
    found: list[Node]
    max_documents: float = math.inf
    merging: bool = False
    values: int = 0
    roots: list[Node] = attrs.field(factory=list)
    documents: int = 0
    began: tuple[int, int] = (1, 1)
    stack: list[_Open] = attrs.field(factory=list)
    anchors: dict[str, tuple[Node, int, int] | None] = attrs.field(factory=dict)

    def take(self, event: Event) -> Unreadable | None:
        """Take the next event, and return the problem that makes the text unreadable, if there is one."""
        match event:
            case DocumentStartEvent():
                self.documents += 1
                self.anchors.clear()
                self.began = _place(event)
                return None
            case NodeEvent() if self.documents > self.max_documents:
                return None if _is_nothing(event) else Unreadable("has a second document", *self.began)
            case ScalarEvent():
                kind = Kind.MERGE if self.merging and _is_merge(event) else _kind(event)
                return self._add(event, Scalar(kind, event.value, *_place(event)), 1, 0)
            case AliasEvent():
                return self._alias(event)
            case MappingStartEvent() | SequenceStartEvent():
                if event.anchor is not None:
                    self.anchors[event.anchor] = None
                self.stack.append(_Open(event))
                return self._too_deep(event, 0)
            case CollectionEndEvent():
                return self._close()
            case _:  # begin and end of the stream, end of a document
                return None

    def _alias(self, event: AliasEvent) -> Unreadable | None:
        shared = self.anchors.get(event.anchor or "")
        return self._add(event, *shared) if shared is not None else Unreadable("has an alias to nothing before it", *_place(event))

    def _close(self) -> Unreadable | None:
        closed = self.stack.pop()
        event, nodes, place = closed.event, tuple(closed.nodes), _place(closed.event)
        size, height = closed.size, closed.height + 1
        if event.tag not in _COLLECTION_TAGS:
            return self._add(event, Scalar(Kind.OTHER, "", *place), size, height)
        if isinstance(event, SequenceStartEvent):
            return self._add(event, Sequence(nodes, *place), size, height)
        pairs = tuple(zip(nodes[::2], nodes[1::2], strict=True))
        repeated = _repeated_key(pairs)
        if repeated is not None:
            return Unreadable(f"has duplicate keys: {quoted(repeated.text)}", repeated.line, repeated.column)
        merged = _merged(pairs) if self.merging else pairs
        return merged if isinstance(merged, Unreadable) else self._add(event, Mapping(merged, *place), size, height)

    def _too_deep(self, event: Event, height: int) -> Unreadable | None:
        """Tell whether something of ``height`` goes too deep here; whoever walks the nodes may then do so by recursion."""
        depth = self.limits.depth
        return Unreadable(f"is nested deeper than {depth} levels", *_place(event)) if len(self.stack) + height > depth else None

    def _add(self, event: NodeEvent, node: Node, size: int, height: int) -> Unreadable | None:
        if not isinstance(event, AliasEvent):
            self.found.append(node)
            if event.anchor is not None:
                self.anchors[event.anchor] = (node, size, height)
        if self.stack:
            parent = self.stack[-1]
            parent.nodes.append(node)
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
        return Unreadable(f"has more than {most} values", *_place(event)) if total > most else None


def _place(event: Event) -> tuple[int, int]:
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)


def _is_nothing(event: NodeEvent) -> bool:
    """Tell whether ``event`` is the node of an empty document: not even a ``null`` is written there."""
    return isinstance(event, ScalarEvent) and event.value == "" and event.implicit[0] and event.tag is None and event.anchor is None


def _kind(event: ScalarEvent) -> Kind:
    if event.tag is not None:
        return Kind.TEXT if event.tag in _TEXT_TAGS else Kind.OTHER
    if not event.implicit[0]:  # quoted, or a block
        return Kind.TEXT
    if _is_null(event.value):
        return Kind.NULL
    return Kind.OTHER if _is_bool_or_number(event.value) else Kind.TEXT


def _is_merge(event: ScalarEvent) -> bool:
    return event.value == "<<" and event.tag is None and event.implicit[0]


def _merged(pairs: Pairs) -> Pairs | Unreadable:
    """Put the pairs of mappings under the key ``<<`` (https://yaml.org/type/merge.html) in its place; own keys win, then earlier mappings.

    What is merged is an alias as a rule, and has been counted where that stands.
    """
    merge = next((pair for pair in pairs if isinstance(pair[0], Scalar) and pair[0].kind is Kind.MERGE), None)
    if merge is None:
        return pairs
    key, value = merge
    found = [pair for pair in pairs if pair is not merge]
    known = {(own.kind, own.text) for own, _ in found if isinstance(own, Scalar)}
    for source in value.items if isinstance(value, Sequence) else (value,):
        if not isinstance(source, Mapping):
            return Unreadable("has a merge key << of something else than mappings", key.line, key.column)
        for pair in source.pairs:
            name = (pair[0].kind, pair[0].text) if isinstance(pair[0], Scalar) else None
            if name not in known:
                found.append(pair)
                if name is not None:
                    known.add(name)
    return tuple(found)


def _repeated_key(pairs: Pairs) -> Scalar | None:
    seen: dict[Kind, set[str]] = {}
    for key, _ in pairs:
        if isinstance(key, Scalar):
            texts = seen.setdefault(key.kind, set())
            if key.text in texts:
                return key
            texts.add(key.text)
    return None
