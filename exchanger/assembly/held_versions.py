"""Versions of the policy that newer ones may not loosen, because the newest one is not a consistent state of its source yet.

While a document is unread, or a feed is behind, the parts of a version show different moments. A deny that moved to another Namespace is
gone from one and not yet in the other, and a mixed state looks the same for a deny that was withdrawn. So changes that tighten take effect
at once, and changes that would loosen wait: the versions before them stay in force beside the newest one, until that is consistent again.
"""

from collections.abc import Sequence
from itertools import chain, islice
from typing import Final, final

import attrs

from exchanger.policy.selection import Change
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.values.entry import DenyEntry

# Versions that are held at a time; each costs requests about as much as the newest one. The first one of an outage has everything that was
# in force before, and each further one what came and went during it. If there are more, edits and withdrawals wait, but not new documents.
MAX_HELD: Final = 8
# Entries of a version that are checked for loosening, in a quarter of a millisecond; with more of them it counts as loosening.
MAX_LOOKED_AT: Final = 5_000
# The same for documents.
MAX_DOCUMENTS: Final = 500


@final
@attrs.frozen
class _Held:
    """A version, and the time at which a newer one replaced it."""

    snapshot: PolicySnapshot
    until: float


@final
@attrs.define(eq=False)
class HeldVersions:
    """Holds versions, the newest first, for at most ``limit`` seconds unless that is 0. Times are of the caller's clock.

    A version that was in force for less than ``apart`` seconds after a held one is not held.
    """

    limit: float = 0.0
    apart: float = 0.0
    _versions: tuple[_Held, ...] = attrs.field(default=(), init=False, repr=False)

    def __bool__(self) -> bool:
        return bool(self._versions)

    @property
    def is_full(self) -> bool:
        """Whether no more versions can be held."""
        return len(self._versions) >= MAX_HELD

    @property
    def snapshots(self) -> tuple[PolicySnapshot, ...]:
        """The versions."""
        return tuple(held.snapshot for held in self._versions)

    def hold(self, before: PolicySnapshot, change: Change, now: float) -> bool:
        """Hold ``before``, which ``change`` replaces, if that may loosen anything; return whether it is the first one.

        If no more can be held, it is not: its additional denials arrived during the same outage.
        """
        if self.is_full or not _may_loosen(before, change):
            return False
        if self._versions and now < self._versions[0].until + self.apart:
            return False
        first = not self._versions
        self._versions = (_Held(before, now), *self._versions)
        return first

    def is_over(self, caught_up_until: float, now: float) -> bool:
        """Whether a version need not be held any longer: every feed was caught up after its replacement, or its time is up."""
        return any(not self._holds(held, caught_up_until, now) for held in self._versions)

    def release(self, caught_up_until: float, now: float) -> None:
        """Drop the versions that need not be held any longer."""
        self._versions = tuple(held for held in self._versions if self._holds(held, caught_up_until, now))

    def replace(self, before: Sequence[PolicySnapshot], after: Sequence[PolicySnapshot]) -> None:
        """Hold each of ``after`` in place of the one of ``before``, if that is still held."""
        places = {id(old): new for old, new in zip(before, after, strict=True)}
        self._versions = tuple(attrs.evolve(held, snapshot=places.get(id(held.snapshot), held.snapshot)) for held in self._versions)

    def _holds(self, held: _Held, caught_up_until: float, now: float) -> bool:
        return held.until > caught_up_until and (not self.limit or now < held.until + self.limit)


def _may_loosen(before: PolicySnapshot, change: Change) -> bool:
    """Return whether ``change`` has anything but documents that are new and only deny."""
    if change.withdrawn or len(change.documents) > MAX_DOCUMENTS:
        return True
    if any(before.document(document.source) is not None for document in change.documents):
        return True
    entries = list(islice(chain.from_iterable(document.entries for document in change.documents), MAX_LOOKED_AT))
    return len(entries) == MAX_LOOKED_AT or not all(isinstance(entry, DenyEntry) for entry in entries)
