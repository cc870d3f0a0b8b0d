"""Who claims one place of the policy, by method: an answer in constant time, however many claim it.

For a request it matters only whether there is no claim, exactly one, or more than one. MethodTable are told apart by source and index.

Must not know: hosts, paths, or what follows from a claim.
"""

import enum
from collections.abc import Iterator
from typing import Final, Generic, TypeAlias, TypeVar, final

import attrs
from rpds import HashTrieMap

from exchanger.values.entry import DenyEntry, ExchangeEntry, FailClosedRegion, Source

ClaimKey = tuple[Source, int | None]
C = TypeVar("C", bound=DenyEntry | ExchangeEntry | FailClosedRegion)


@enum.unique
class Contested(enum.Enum):
    """More than one claim."""

    CONTESTED = "several"


CONTESTED: Final = Contested.CONTESTED


@final
@attrs.frozen
class Contenders(Generic[C]):
    """Two or more claims on one place."""

    members: "HashTrieMap[ClaimKey, C]"


Claimed: TypeAlias = C | Contenders[C] | None


def _key(claim: DenyEntry | ExchangeEntry | FailClosedRegion) -> ClaimKey:
    return (claim.source, claim.index)


def _with_claim(claimed: Claimed[C], claim: C) -> Claimed[C]:
    if isinstance(claimed, Contenders):
        return Contenders(claimed.members.insert(_key(claim), claim))
    if claimed is None or _key(claimed) == _key(claim):
        return claim
    return Contenders(HashTrieMap({_key(claimed): claimed, _key(claim): claim}))


def _without_claim(claimed: Claimed[C], claim: C) -> Claimed[C]:
    if isinstance(claimed, Contenders):
        members = claimed.members.discard(_key(claim))
        return Contenders(members) if len(members) > 1 else next(iter(members.values()))
    return None if claimed is not None and _key(claimed) == _key(claim) else claimed


def each(claimed: Claimed[C]) -> Iterator[C]:
    """Yield the claims that ``claimed`` is."""
    if isinstance(claimed, Contenders):
        yield from claimed.members.values()
    elif claimed is not None:
        yield claimed


@final
@attrs.frozen
class MethodTable(Generic[C]):
    """The claims on one place: ``every`` for all methods, ``named`` for those that name theirs (no method without a claim is in it)."""

    every: Claimed[C] = None
    named: "HashTrieMap[str, Claimed[C]]" = attrs.field(factory=HashTrieMap)

    def of(self, method: str) -> C | Contested | None:
        """Return the only claim on ``method``, or that there is none or more than one.

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
        """Return the claims with ``claim`` among them, for the methods of its scope; costs the number of these."""
        if claim.match.methods is None:
            return MethodTable(_with_claim(self.every, claim), self.named)
        named = self.named
        for method in claim.match.methods:
            named = named.insert(method, _with_claim(named.get(method), claim))
        return MethodTable(self.every, named)

    def without_claim(self, claim: C) -> "MethodTable[C] | None":
        """Return the claims without ``claim``, ``None`` when there is no other."""
        every, named = self.every, self.named
        if claim.match.methods is None:
            every = _without_claim(every, claim)
        for method in claim.match.methods or ():
            rest = _without_claim(named.get(method), claim)
            named = named.discard(method) if rest is None else named.insert(method, rest)
        return None if every is None and not named else MethodTable(every, named)
