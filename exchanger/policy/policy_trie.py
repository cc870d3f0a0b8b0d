"""Where policies apply: host, then path, then method. Persistent, as all of its parts are.

Adding or removing a claim costs the length of its own prefix and the number of its own methods, whatever the size of the policy.

Must not know: documents, or how a request is looked up.
"""

import enum
from collections.abc import Iterator
from functools import partial
from typing import Final, Generic, TypeAlias, TypeVar, final

import attrs
from rpds import HashTrieMap

from exchanger.policy.prefix import fold, spellings_of
from exchanger.policy.trie import PrefixTrie
from exchanger.values.entry import Claim, Entry, FailClosedRegion, Source

ClaimKey = tuple[Source, int | None]
C = TypeVar("C", bound=Claim)


@enum.unique
class Contested(enum.Enum):
    """There is more than one claim."""

    CONTESTED = "contested"


CONTESTED: Final = Contested.CONTESTED


@final
@attrs.frozen
class Contenders(Generic[C]):
    """Two or more claims on one place."""

    members: "HashTrieMap[ClaimKey, C]"


Claimed: TypeAlias = C | Contenders[C] | None


def _key(claim: Claim) -> ClaimKey:
    return (claim.source, claim.index)


def _added(claimed: Claimed[C], claim: C) -> Claimed[C]:
    if isinstance(claimed, Contenders):
        return Contenders(claimed.members.insert(_key(claim), claim))
    if claimed is None or _key(claimed) == _key(claim):
        return claim
    return Contenders(HashTrieMap({_key(claimed): claimed, _key(claim): claim}))


def _removed(claimed: Claimed[C], claim: C) -> Claimed[C]:
    if isinstance(claimed, Contenders):
        members = claimed.members.discard(_key(claim))
        return Contenders(members) if len(members) > 1 else next(iter(members.values()))
    return None if claimed is not None and _key(claimed) == _key(claim) else claimed


def each(claimed: Claimed[C]) -> Iterator[C]:
    """Yield the claims in ``claimed``."""
    if isinstance(claimed, Contenders):
        yield from claimed.members.values()
    elif claimed is not None:
        yield claimed


@final
@attrs.frozen
class MethodTable(Generic[C]):
    """The claims on one place, by method. A look-up takes constant time: it only says whether there is no claim, one, or more than one.

    ``every`` has those on all methods, ``named`` those that name theirs; it has no method without a claim. Source and index tell claims
    apart.
    """

    every: Claimed[C] = None
    named: "HashTrieMap[str, Claimed[C]]" = attrs.field(factory=HashTrieMap)

    def of(self, method: str) -> C | Contested | None:
        """Return the only claim on ``method``, ``None`` if there is none, or ``CONTESTED``.

        Handlers of GET answer HEAD (RFC 9110 section 9.3.2, https://www.rfc-editor.org/rfc/rfc9110#section-9.3.2), so claims on GET are
        claims on HEAD where none covers HEAD itself.
        """
        found = self.every
        if self.named and (named := self.named.get(method)) is not None:
            if found is not None:
                return CONTESTED
            found = named
        elif found is None and method == "HEAD":
            found = self.named.get("GET")
        return CONTESTED if isinstance(found, Contenders) else found

    def covers(self, method: str) -> bool:
        """Tell whether there is a claim on ``method`` itself."""
        return self.every is not None or method in self.named

    def members(self) -> Iterator[C]:
        """Yield every claim, once for each method that it names."""
        for claimed in (self.every, *self.named.values()):
            yield from each(claimed)

    def with_claim(self, claim: C) -> "MethodTable[C]":
        """Return a table with ``claim``, at the cost of the number of its methods."""
        if claim.match.methods is None:
            return MethodTable(_added(self.every, claim), self.named)
        named = self.named
        for method in claim.match.methods:
            named = named.insert(method, _added(named.get(method), claim))
        return MethodTable(self.every, named)

    def without_claim(self, claim: C) -> "MethodTable[C] | None":
        """Return a table without ``claim``, ``None`` if that leaves it empty."""
        every, named = self.every, self.named
        if claim.match.methods is None:
            every = _removed(every, claim)
        for method in claim.match.methods or ():
            rest = _removed(named.get(method), claim)
            named = named.discard(method) if rest is None else named.insert(method, rest)
        return None if every is None and not named else MethodTable(every, named)


@final
@attrs.frozen
class Cell:
    """All claims at one path prefix, which has ``length`` characters; ``None`` instead of an empty table.

    ``rewritten`` has the claims of which this prefix is a decoded spelling.
    """

    length: int = 0
    entries: MethodTable[Entry] | None = None
    regions: MethodTable[FailClosedRegion] | None = None
    rewritten: "Cell | None" = None

    def with_claim(self, claim: Claim) -> "Cell":
        """Return the cell with ``claim``."""
        if isinstance(claim, FailClosedRegion):
            return Cell(self.length, self.entries, (self.regions or MethodTable()).with_claim(claim), self.rewritten)
        return Cell(self.length, (self.entries or MethodTable()).with_claim(claim), self.regions, self.rewritten)

    def without_claim(self, claim: Claim) -> "Cell | None":
        """Return the cell without ``claim``, ``None`` if that leaves it empty."""
        entries, regions = self.entries, self.regions
        if isinstance(claim, FailClosedRegion):
            regions = regions and regions.without_claim(claim)
        else:
            entries = entries and entries.without_claim(claim)
        return self._or_nothing(entries, regions, self.rewritten)

    def with_rewritten_claim(self, claim: Claim) -> "Cell":
        """Return the cell with ``claim`` for rewritten paths."""
        return Cell(self.length, self.entries, self.regions, (self.rewritten or Cell(self.length)).with_claim(claim))

    def without_rewritten_claim(self, claim: Claim) -> "Cell | None":
        """Return the cell without ``claim`` for rewritten paths, ``None`` if that leaves it empty."""
        return self._or_nothing(self.entries, self.regions, self.rewritten and self.rewritten.without_claim(claim))

    def _or_nothing(
        self, entries: MethodTable[Entry] | None, regions: MethodTable[FailClosedRegion] | None, rewritten: "Cell | None"
    ) -> "Cell | None":
        if entries is None and regions is None and rewritten is None:
            return None
        return Cell(self.length, entries, regions, rewritten)


PathTrie = PrefixTrie[Cell]


@final
@attrs.frozen
class Paths:
    """The claims by path prefix; ``folded`` has those that ignore case, ``None`` instead of an empty trie."""

    exact: PathTrie = attrs.field(factory=PrefixTrie)
    folded: PathTrie | None = None

    def with_claim(self, claim: Claim) -> "Paths":
        """Return the paths with ``claim`` under every spelling of its prefix."""
        trie, spellings = self._trie(claim), spellings_of(claim.match)
        for prefix in spellings.literal:
            trie = trie.updated(prefix, partial(_with_claim, claim, len(prefix)))
        for prefix in spellings.rewritten:
            trie = trie.updated(prefix, partial(_with_rewritten_claim, claim, len(prefix)))
        return self._with_trie(claim, trie)

    def without_claim(self, claim: Claim) -> "Paths":
        """Return the paths without ``claim``."""
        trie, spellings = self._trie(claim), spellings_of(claim.match)
        for prefix in spellings.literal:
            trie = trie.updated(prefix, lambda cell: cell and cell.without_claim(claim))
        for prefix in spellings.rewritten:
            trie = trie.updated(prefix, lambda cell: cell and cell.without_rewritten_claim(claim))
        return self._with_trie(claim, trie)

    def tries_for(self, path: str) -> tuple[tuple[PathTrie, str], ...]:
        """Return each trie with the text to look up in it for ``path``."""
        return ((self.exact, path),) if self.folded is None else ((self.exact, path), (self.folded, fold(path)))

    def __bool__(self) -> bool:
        return bool(self.exact) or self.folded is not None

    def _trie(self, claim: Claim) -> PathTrie:
        if not claim.match.case_insensitive:
            return self.exact
        return PrefixTrie() if self.folded is None else self.folded

    def _with_trie(self, claim: Claim, trie: PathTrie) -> "Paths":
        return Paths(self.exact, trie or None) if claim.match.case_insensitive else Paths(trie, self.folded)


def _with_claim(claim: Claim, length: int, cell: Cell | None) -> Cell:
    return (cell or Cell(length)).with_claim(claim)


def _with_rewritten_claim(claim: Claim, length: int, cell: Cell | None) -> Cell:
    return (cell or Cell(length)).with_rewritten_claim(claim)


@final
@attrs.frozen
class PolicyTrie:
    """Claims by host and path prefix. Those of unknown host are kept apart: all together, and once more by namespace.

    No host and no namespace is in it without a claim; ``None`` instead of empty paths.
    """

    hosts: "HashTrieMap[str, Paths]" = attrs.field(factory=HashTrieMap)
    all_hosts: Paths | None = None
    of_namespaces: "HashTrieMap[str, Paths]" = attrs.field(factory=HashTrieMap)

    def with_claim(self, claim: Claim) -> "PolicyTrie":
        """Return a trie with ``claim``."""
        host, namespace = claim.match.host, claim.source.namespace
        if host is not None:
            return PolicyTrie(self.hosts.insert(host, self.hosts.get(host, Paths()).with_claim(claim)), self.all_hosts, self.of_namespaces)
        own = self.of_namespaces.get(namespace, Paths()).with_claim(claim)
        return PolicyTrie(self.hosts, (self.all_hosts or Paths()).with_claim(claim), self.of_namespaces.insert(namespace, own))

    def without_claim(self, claim: Claim) -> "PolicyTrie":
        """Return a trie without ``claim``."""
        host, namespace = claim.match.host, claim.source.namespace
        if host is not None:
            return PolicyTrie(_removed_from(self.hosts, host, claim), self.all_hosts, self.of_namespaces)
        all_hosts = None if self.all_hosts is None else self.all_hosts.without_claim(claim) or None
        return PolicyTrie(self.hosts, all_hosts, _removed_from(self.of_namespaces, namespace, claim))


def _removed_from(places: "HashTrieMap[str, Paths]", key: str, claim: Claim) -> "HashTrieMap[str, Paths]":
    paths = places.get(key)
    if paths is None:
        return places
    rest = paths.without_claim(claim)
    return places.insert(key, rest) if rest else places.discard(key)
