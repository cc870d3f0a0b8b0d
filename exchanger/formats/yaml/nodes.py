"""The nodes of a YAML text, with their places.

Must not know: how a text is read, or what it is about.
"""

import enum
from typing import final

import attrs


@enum.unique
class ScalarKind(enum.Enum):
    """``MERGE`` is a plain ``<<`` where it merges, ``OTHER`` a boolean, a number, or anything with an explicit tag."""

    TEXT = "text"
    NULL = "null"
    MERGE = "merge"
    OTHER = "other"


@final
@attrs.frozen
class Scalar:
    """A single value. ``line`` and ``column`` count from 1, here and below; nodes that differ in their column alone are equal."""

    kind: ScalarKind
    text: str
    line: int
    column: int = attrs.field(default=1, eq=False)


@final
@attrs.frozen
class Sequence:
    """A list. ``lines`` has the first and last line of each item, an alias its own; see ``reader`` for when it is filled."""

    items: tuple["Node", ...]
    line: int
    column: int = attrs.field(default=1, eq=False)
    lines: tuple[tuple[int, int], ...] = attrs.field(default=(), eq=False, repr=False)


@final
@attrs.frozen
class Mapping:
    """A mapping, in the order of the text. No two scalar keys are equal."""

    pairs: tuple[tuple["Node", "Node"], ...]
    line: int
    column: int = attrs.field(default=1, eq=False)


Node = Scalar | Sequence | Mapping


def is_null(node: Node) -> bool:
    """Return whether ``node`` is null."""
    return isinstance(node, Scalar) and node.kind is ScalarKind.NULL


def text_of(node: Node) -> str | None:
    """Return the text of ``node``, ``None`` if it is anything but a text."""
    return node.text if isinstance(node, Scalar) and node.kind is ScalarKind.TEXT else None


def field(node: Node | None, name: str) -> Node | None:
    """Return the value of the field ``name`` of a mapping, ``None`` if there is none."""
    if not isinstance(node, Mapping):
        return None
    return next((value for key, value in node.pairs if isinstance(key, Scalar) and key.text == name), None)
