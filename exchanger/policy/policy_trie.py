"""Where policies apply: host, then path, then method. Persistent, as all of it is made of persistent parts.

Adding or removing an entry or region costs the length of its own prefix and the number of its own methods, not the size of the policy.

Must not know: documents, or how a request is looked up.
"""

from functools import partial
from typing import final

import attrs
from rpds import HashTrieMap

from exchanger.policy.cell import Cell
from exchanger.policy.prefix import fold, spellings_of
from exchanger.policy.trie import PrefixTrie
from exchanger.values.entry import Entry, FailClosedRegion

PathTrie = PrefixTrie[Cell]


@final
@attrs.frozen
class Paths:
    """What applies by path prefix; ``folded`` has what is compared without regard to case, ``None`` instead of an empty trie."""

    exact: PathTrie = attrs.field(factory=PrefixTrie)
    folded: PathTrie | None = None

    def with_claim(self, claim: Entry | FailClosedRegion) -> "Paths":
        """Return the paths with ``claim`` among them, under every spelling of its prefix."""
        trie, spellings = self._trie(claim), spellings_of(claim.match)
        for prefix in spellings.literal:
            trie = trie.updated(prefix, partial(_with_claim, claim, len(prefix)))
        for prefix in spellings.rewritten:
            trie = trie.updated(prefix, partial(_with_rewritten_claim, claim, len(prefix)))
        return self._with(claim, trie)

    def without_claim(self, claim: Entry | FailClosedRegion) -> "Paths":
        """Return the paths without ``claim``."""
        trie, spellings = self._trie(claim), spellings_of(claim.match)
        for prefix in spellings.literal:
            trie = trie.updated(prefix, lambda cell: cell and cell.without_claim(claim))
        for prefix in spellings.rewritten:
            trie = trie.updated(prefix, lambda cell: cell and cell.without_rewritten_claim(claim))
        return self._with(claim, trie)

    def tries_for(self, path: str) -> tuple[tuple[PathTrie, str], ...]:
        """Return each trie with the text to ask it about for ``path``."""
        return ((self.exact, path),) if self.folded is None else ((self.exact, path), (self.folded, fold(path)))

    def __bool__(self) -> bool:
        return bool(self.exact) or self.folded is not None

    def _trie(self, claim: Entry | FailClosedRegion) -> PathTrie:
        if not claim.match.case_insensitive:
            return self.exact
        return PrefixTrie() if self.folded is None else self.folded

    def _with(self, claim: Entry | FailClosedRegion, trie: PathTrie) -> "Paths":
        return Paths(self.exact, trie or None) if claim.match.case_insensitive else Paths(trie, self.folded)


def _with_claim(claim: Entry | FailClosedRegion, length: int, cell: Cell | None) -> Cell:
    return (cell or Cell(length)).with_claim(claim)


def _with_rewritten_claim(claim: Entry | FailClosedRegion, length: int, cell: Cell | None) -> Cell:
    return (cell or Cell(length)).with_rewritten_claim(claim)


@final
@attrs.frozen
class PolicyTrie:
    """Entries and regions by host and path prefix. Those of unknown host are kept apart: all together, and once more by namespace.

    No host and no namespace without a claim is in it; ``None`` instead of empty paths.
    """

    hosts: "HashTrieMap[str, Paths]" = attrs.field(factory=HashTrieMap)
    all_hosts: Paths | None = None
    of_namespaces: "HashTrieMap[str, Paths]" = attrs.field(factory=HashTrieMap)

    def with_claim(self, claim: Entry | FailClosedRegion) -> "PolicyTrie":
        """Return a trie with ``claim`` in it, under every spelling of its prefix."""
        host, namespace = claim.match.host, claim.source.namespace
        if host is not None:
            return PolicyTrie(self.hosts.insert(host, self.hosts.get(host, Paths()).with_claim(claim)), self.all_hosts, self.of_namespaces)
        own = self.of_namespaces.get(namespace, Paths()).with_claim(claim)
        return PolicyTrie(self.hosts, (self.all_hosts or Paths()).with_claim(claim), self.of_namespaces.insert(namespace, own))

    def without_claim(self, claim: Entry | FailClosedRegion) -> "PolicyTrie":
        """Return a trie without ``claim``."""
        host, namespace = claim.match.host, claim.source.namespace
        if host is not None:
            return PolicyTrie(_less(self.hosts, host, claim), self.all_hosts, self.of_namespaces)
        all_hosts = None if self.all_hosts is None else self.all_hosts.without_claim(claim) or None
        return PolicyTrie(self.hosts, all_hosts, _less(self.of_namespaces, namespace, claim))


def _less(places: "HashTrieMap[str, Paths]", key: str, claim: Entry | FailClosedRegion) -> "HashTrieMap[str, Paths]":
    paths = places.get(key)
    if paths is None:
        return places
    rest = paths.without_claim(claim)
    return places.insert(key, rest) if rest else places.discard(key)
