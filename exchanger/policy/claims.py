"""Who claims one place of the policy, by method: an answer in constant time, however many claim it.

For a request it matters only whether there is no claim, exactly one, or more than one. Claims are told apart by source and index.

Must not know: hosts, paths, or what follows from a claim.
"""

import enum
from collections.abc import Iterator
from typing import Final, Generic, TypeAlias, TypeVar, final

import attrs
from rpds import HashTrieMap

from exchanger.values.entry import DenyEntry, ExchangeEntry, Region, Source

ClaimKey = tuple[Source, int | None]
C = TypeVar("C", bound=DenyEntry | ExchangeEntry | Region)


@enum.unique
class Several(enum.Enum):
    """More than one claim."""

    SEVERAL = "several"


SEVERAL: Final = Several.SEVERAL


@final
@attrs.frozen
class Crowd(Generic[C]):
    """Two or more claims on one place."""

    members: "HashTrieMap[ClaimKey, C]"


Claimed: TypeAlias = C | Crowd[C] | None


def _key(claim: DenyEntry | ExchangeEntry | Region) -> ClaimKey:
    return (claim.source, claim.index)


def _joined(claimed: Claimed[C], claim: C) -> Claimed[C]:
    if isinstance(claimed, Crowd):
        return Crowd(claimed.members.insert(_key(claim), claim))
    if claimed is None or _key(claimed) == _key(claim):
        return claim
    return Crowd(HashTrieMap({_key(claimed): claimed, _key(claim): claim}))


def _left(claimed: Claimed[C], claim: C) -> Claimed[C]:
    if isinstance(claimed, Crowd):
        members = claimed.members.discard(_key(claim))
        return Crowd(members) if len(members) > 1 else next(iter(members.values()))
    return None if claimed is not None and _key(claimed) == _key(claim) else claimed


def each(claimed: Claimed[C]) -> Iterator[C]:
    """Yield the claims that ``claimed`` is."""
    if isinstance(claimed, Crowd):
        yield from claimed.members.values()
    elif claimed is not None:
        yield claimed


@final
@attrs.frozen
class Claims(Generic[C]):
    """The claims on one place: ``every`` for all methods, ``named`` for those that name theirs (no method without a claim is in it)."""

    every: Claimed[C] = None
    named: "HashTrieMap[str, Claimed[C]]" = attrs.field(factory=HashTrieMap)

    def of(self, method: str) -> C | Several | None:
        """Return the only claim on ``method``, or that there is none or more than one.

        Handlers of GET answer HEAD (RFC 9110 section 9.3.2, https://www.rfc-editor.org/rfc/rfc9110#section-9.3.2), so claims on GET are
        claims on HEAD where none covers HEAD itself.
        """
        found = self.every
        if self.named and (named := self.named.get(method)) is not None:
            if found is not None:
                return SEVERAL
            found = named
        elif found is None and method == "HEAD":
            found = self.named.get("GET")
        return SEVERAL if isinstance(found, Crowd) else found

    def covers(self, method: str) -> bool:
        """Tell whether there is a claim on ``method`` itself."""
        return self.every is not None or method in self.named

    def members(self) -> Iterator[C]:
        """Yield every claim, once for each method that it names."""
        for claimed in (self.every, *self.named.values()):
            yield from each(claimed)

    def joined(self, claim: C) -> "Claims[C]":
        """Return the claims with ``claim`` among them, for the methods of its area; costs the number of these."""
        if claim.area.methods is None:
            return Claims(_joined(self.every, claim), self.named)
        named = self.named
        for method in claim.area.methods:
            named = named.insert(method, _joined(named.get(method), claim))
        return Claims(self.every, named)

    def left(self, claim: C) -> "Claims[C] | None":
        """Return the claims without ``claim``, ``None`` when there is no other."""
        every, named = self.every, self.named
        if claim.area.methods is None:
            every = _left(every, claim)
        for method in claim.area.methods or ():
            rest = _left(named.get(method), claim)
            named = named.discard(method) if rest is None else named.insert(method, rest)
        return None if every is None and not named else Claims(every, named)
