"""A path trie that is built whole and never changes: sorted prefixes, each with a link to the longest other one that begins it.

Must not know: the meaning of paths and nodes.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from typing import Generic, TypeVar, final

import attrs

N = TypeVar("N")


@final
@attrs.frozen
class PathTrie(Generic[N]):
    """Nodes by prefix, sorted. ``parents`` are the places of the longest other prefixes that begin each prefix, -1 for none.

    So a look-up is one bisection and a walk up the links, and a change copies flat tuples.
    """

    prefixes: tuple[str, ...] = ()
    parents: tuple[int, ...] = attrs.field(default=(), repr=False)
    nodes: tuple[N, ...] = attrs.field(default=(), repr=False)

    @classmethod
    def of(cls, nodes: Mapping[str, N]) -> "PathTrie[N]":
        """Return the trie of ``nodes``."""
        prefixes = tuple(sorted(nodes))
        return cls(prefixes, parents_of(prefixes), tuple(map(nodes.__getitem__, prefixes)))

    def covering(self, path: str) -> list[N]:
        """Return the nodes of all prefixes of ``path``, the longest first."""
        place, parents, nodes = self._last(path), self.parents, self.nodes
        found = []
        while place >= 0:
            found.append(nodes[place])
            place = parents[place]
        return found

    def prefixes_of(self, path: str) -> Iterator[str]:
        """Yield all prefixes of ``path`` that have a node, the longest first."""
        place = self._last(path)
        while place >= 0:
            yield self.prefixes[place]
            place = self.parents[place]

    def _last(self, path: str) -> int:
        """Return the place of the longest prefix of ``path``, -1 for none."""
        prefixes, parents = self.prefixes, self.parents
        place = bisect_right(prefixes, path) - 1  # every prefix of the path also begins this one, if it is another
        while place >= 0 and not path.startswith(prefixes[place]):
            place = parents[place]
        return place

    def get(self, prefix: str) -> N | None:
        """Return the node of ``prefix``."""
        place = bisect_left(self.prefixes, prefix)
        return self.nodes[place] if self.prefixes[place : place + 1] == (prefix,) else None

    def has_below(self, text: str) -> bool:
        """Return whether a prefix begins with ``text``."""
        return any(True for _ in self.below(text))

    def below(self, text: str) -> Iterator[N]:
        """Yield the nodes of all prefixes that begin with ``text``."""
        for place in range(bisect_left(self.prefixes, text), len(self.prefixes)):
            if not self.prefixes[place].startswith(text):
                return
            yield self.nodes[place]

    def replaced(self, changes: Mapping[str, N | None]) -> "PathTrie[N]":
        """Return the trie with other nodes at some prefixes, ``None`` for no node there; it shares all other nodes."""
        if not self.prefixes:
            return PathTrie.of({prefix: node for prefix, node in changes.items() if node is not None})
        prefixes, nodes, has_same_prefixes = list(self.prefixes), list(self.nodes), True
        for prefix, node in changes.items():
            place = bisect_left(prefixes, prefix)
            is_known = place < len(prefixes) and prefixes[place] == prefix
            has_same_prefixes &= is_known is (node is not None)
            prefixes[place : place + is_known] = () if node is None else (prefix,)
            nodes[place : place + is_known] = () if node is None else (node,)
        if has_same_prefixes:  # an edit at known prefixes
            return PathTrie(self.prefixes, self.parents, tuple(nodes))
        return PathTrie(tuple(prefixes), parents_of(prefixes), tuple(nodes))

    def __bool__(self) -> bool:
        return bool(self.prefixes)


def parents_of(prefixes: Iterable[str]) -> tuple[int, ...]:
    """Return the place of the longest other prefix of each of ``prefixes``, which are sorted; -1 for none."""
    parents, above = list[int](), [(-1, "")]
    for place, prefix in enumerate(prefixes):
        while not prefix.startswith(above[-1][1]):
            above.pop()
        parents.append(above[-1][0])
        above.append((place, prefix))
    return tuple(parents)
