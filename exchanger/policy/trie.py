"""A persistent radix trie over strings: an update makes a new version that shares as much as possible with the old one.

Every operation is a loop, never a recursion, so no key is too long for the stack. The shape is canonical: every node but the root has a
value or two children, and children are sorted. So equal contents are equal tries, whatever the order of updates.

Must not know: the meaning of keys and values.
"""

from bisect import bisect
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, Protocol, TypeVar, final

import attrs

V = TypeVar("V")


class Likeness(Protocol):
    """Which characters of a key match which of a text, beyond equality. Equal characters match."""

    def children(self, chars: str, text: str, at: int) -> Iterable[int]:
        """Return the positions in ``chars``, which are sorted, of those that may match at ``at``, which may be the end of the text."""

    def after(self, key: str, text: str, at: int) -> int:
        """Return where the text continues after matching the character ``key`` at ``at``, -1 if it does not match."""


@final
@attrs.define(eq=False)
class Steps:
    """How many nodes and characters may still be looked at; shared by all searches of one question."""

    left: int

    def take(self, steps: int) -> bool:
        """Take ``count`` steps; return whether there were enough."""
        self.left -= steps
        return self.left >= 0


@final
@attrs.frozen(eq=False)
class _Node(Generic[V]):
    """``label`` leads here from the parent; ``chars`` has the first characters of the children's labels, in the same (sorted) order."""

    label: str
    value: V | None = None
    chars: str = ""
    children: tuple["_Node[V]", ...] = attrs.field(default=(), repr=False)

    def with_label(self, label: str) -> "_Node[V]":
        return _Node(label, self.value, self.chars, self.children)

    def with_value(self, value: V | None) -> "_Node[V]":
        return _Node(self.label, value, self.chars, self.children)

    def with_child(self, child: "_Node[V]") -> "_Node[V]":
        """Add ``child``, whose first character is new here."""
        at = bisect(self.chars, child.label[0])
        chars = self.chars[:at] + child.label[0] + self.chars[at:]
        return _Node(self.label, self.value, chars, (*self.children[:at], child, *self.children[at:]))

    def with_child_at(self, at: int, child: "_Node[V] | None") -> "_Node[V]":
        """Put ``child``, which has the same first character, in the place of the child at ``at``; ``None`` removes that one."""
        if child is None:
            return _Node(self.label, self.value, self.chars[:at] + self.chars[at + 1 :], self.children[:at] + self.children[at + 1 :])
        return _Node(self.label, self.value, self.chars, (*self.children[:at], child, *self.children[at + 1 :]))

    def shrunk(self) -> "_Node[V] | None":
        """Return the canonical form of a node that may have lost its value or children: itself, merged with its only child, or nothing."""
        if self.value is not None or len(self.children) > 1:
            return self
        return self.children[0].with_label(self.label + self.children[0].label) if self.children else None


@final
@attrs.frozen(eq=False)
class PrefixTrie(Generic[V]):
    """Maps strings to values, and finds the values of all prefixes of a text. ``None`` is not a value: it means absence."""

    _root: _Node[V] = attrs.field(factory=lambda: _Node(""), repr=False)

    def updated(self, key: str, change: Callable[[V | None], V | None]) -> "PrefixTrie[V]":
        """Return a trie with the value at ``key`` replaced by ``change`` of it; ``None`` is absence on both sides.

        Costs the length of ``key``, one copy of the children's tuple of each node on the way, and one of a neighbour's label.
        """
        way: list[tuple[_Node[V], int]] = []  # the nodes above, each with the position of the child that was taken
        node, at = self._root, 0
        while at < len(key):
            index = node.chars.find(key[at])
            child = node.children[index] if index >= 0 else None
            if child is None or not key.startswith(child.label, at):
                value = change(None)
                if value is None:
                    return self
                leaf = _Node(key[at:], value)
                node = node.with_child(leaf) if child is None else node.with_child_at(index, _fork(child, leaf))
                break
            way.append((node, index))
            node, at = child, at + len(child.label)
        else:
            value = change(node.value)
            if value is node.value:
                return self
            node = node.with_value(value)
        for parent, index in reversed(way):
            node = parent.with_child_at(index, node.shrunk())
        return PrefixTrie(node)

    def prefixes_of(self, text: str) -> list[V]:
        """Return the values of all keys that are a prefix of ``text``, shortest key first; costs no more than the length of ``text``."""
        node, at, length = self._root, 0, len(text)
        found = [] if node.value is None else [node.value]
        while at < length:
            index = node.chars.find(text[at])
            if index < 0:
                break
            node = node.children[index]
            if not text.startswith(node.label, at):
                break
            at += len(node.label)
            if node.value is not None:
                found.append(node.value)
        return found

    def prefixes_within(self, text: str, steps: Steps) -> list[V] | None:
        """Return what ``prefixes_of`` does; each node on the way takes one of ``steps``, ``None`` when these are too few."""
        node, at, length = self._root, 0, len(text)
        found = [] if node.value is None else [node.value]
        nodes = 0
        while at < length and nodes <= steps.left:
            index = node.chars.find(text[at])
            if index < 0:
                break
            nodes += 1
            node = node.children[index]
            if not text.startswith(node.label, at):
                break
            at += len(node.label)
            if node.value is not None:
                found.append(node.value)
        return found if steps.take(nodes) else None

    def alike(self, text: str, likeness: Likeness, steps: Steps) -> list[tuple[str, V]] | None:
        """Return all keys that are, by ``likeness``, a prefix of ``text``, unordered, and their values.

        The path of ``text`` itself is free, as it is for ``prefixes_of``. Everything else takes ``steps``; ``None`` if these are too few.
        """
        found: list[tuple[str, V]] = []
        rest: list[tuple[_Node[V], int, str | None]] = [(self._root, 0, None)]  # the last is ``None`` for a beginning of the text itself
        while rest:
            node, at, key = rest.pop()
            if node.value is not None:
                found.append((text[:at] if key is None else key, node.value))
            for index in likeness.children(node.chars, text, at):
                child = node.children[index]
                end, looked = after(child.label, text, at, likeness)
                literal = key is None and text.startswith(child.label, at)
                if not literal and not steps.take(looked):
                    return None
                if end >= 0:
                    rest.append((child, end, None if literal else (text[:at] if key is None else key) + child.label))
        return found

    def items(self) -> Iterator[tuple[str, V]]:
        """Iterate over keys and values, sorted by key."""
        rest = [("", self._root)]
        while rest:
            above, node = rest.pop()
            key = above + node.label
            if node.value is not None:
                yield key, node.value
            rest.extend((key, child) for child in reversed(node.children))

    def __bool__(self) -> bool:
        return self._root.value is not None or bool(self._root.children)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PrefixTrie):
            return NotImplemented
        rest = [(self._root, other._root)]
        while rest:
            mine, yours = rest.pop()
            if mine is yours:
                continue
            if mine.label != yours.label or mine.chars != yours.chars or mine.value != yours.value:
                return False
            rest.extend(zip(mine.children, yours.children, strict=True))
        return True

    def __hash__(self) -> int:
        return hash(tuple(self.items()))


def after(label: str, text: str, at: int, likeness: Likeness) -> tuple[int, int]:
    """Return where ``text`` continues after ``label`` at ``at``, -1 if it does not match, and how many characters that took."""
    if text.startswith(label, at):
        return at + len(label), 1
    for place, char in enumerate(label, 1):
        at = likeness.after(char, text, at)
        if at < 0:
            return -1, place
    return at, len(label)


def _fork(node: _Node[V], leaf: _Node[V]) -> _Node[V]:
    """Join ``node`` and ``leaf``, whose labels begin alike and of which neither reaches ``node``'s end, below their common beginning."""
    shared = 0
    while shared < len(leaf.label) and leaf.label[shared] == node.label[shared]:
        shared += 1
    rest = node.with_label(node.label[shared:])
    if shared == len(leaf.label):
        return leaf.with_child(rest)
    fork: _Node[V] = _Node(leaf.label[:shared])
    return fork.with_child(rest).with_child(leaf.with_label(leaf.label[shared:]))
