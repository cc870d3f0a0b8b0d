"""The claims on one place, by method.

Must not know: hosts, paths, or how a request is looked up.
"""

import enum
from collections.abc import Iterator
from typing import Final, Generic, TypeAlias, TypeVar, final

import attrs
from rpds import HashTrieMap

from exchanger.values.entry import Claim, FailClosedRegion, GrantedArea, MatchScope, Source

ClaimKey = tuple[Source, int | None, MatchScope, GrantedArea | None]
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


def key_of(claim: Claim) -> ClaimKey:
    """Return the identity of ``claim`` among all others."""
    return (claim.source, claim.index, claim.match, claim.area if isinstance(claim, FailClosedRegion) else None)


def _added(claimed: Claimed[C], claim: C) -> Claimed[C]:
    if isinstance(claimed, Contenders):
        return Contenders(claimed.members.insert(key_of(claim), claim))
    if claimed is None or key_of(claimed) == key_of(claim):
        return claim
    return Contenders(HashTrieMap({key_of(claimed): claimed, key_of(claim): claim}))


def _removed(claimed: Claimed[C], claim: C) -> Claimed[C]:
    if isinstance(claimed, Contenders):
        members = claimed.members.discard(key_of(claim))
        return Contenders(members) if len(members) > 1 else next(iter(members.values()))
    return None if claimed is not None and key_of(claimed) == key_of(claim) else claimed


def each(claimed: Claimed[C]) -> Iterator[C]:
    """Yield the claims in ``claimed``."""
    if isinstance(claimed, Contenders):
        yield from claimed.members.values()
    elif claimed is not None:
        yield claimed


@final
@attrs.frozen
class MethodTable(Generic[C]):
    """The claims on one place, by method. A look-up takes constant time: it only tells whether there is no claim, one, or more than one.

    ``every`` has those on all methods, ``named`` those on named methods, without empty ones. Claims are told apart by source and index.
    """

    every: Claimed[C] = None
    named: "HashTrieMap[str, Claimed[C]]" = attrs.field(factory=HashTrieMap)

    def of(self, method: str) -> C | Contested | None:
        """Return the only claim on ``method``, ``None`` without one, or ``CONTESTED``."""
        found = self.every
        if self.named and (named := self.named.get(method)) is not None:
            if found is not None:
                return CONTESTED
            found = named
        return CONTESTED if isinstance(found, Contenders) else found

    def all_of(self, method: str) -> Iterator[C]:
        """Yield the claims on ``method``."""
        yield from each(self.every)
        yield from each(self.named.get(method))

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
