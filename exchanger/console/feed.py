"""Takes each decision's record as it happens, and keeps the newest. The only part of the console on the way of a request.

It appends a tuple and looks whether somebody waits, so that it costs a fraction of a microsecond whether or not anybody watches. Half of
that is spent on what is kept: when it is let go of, its memory is no longer in the processor's caches. So under load no more is kept than
is told. Must not know: JSON, subscribers, or anything in a record but whether it was refused and how large it is.
"""

import math
import time
from collections import deque
from collections.abc import Callable
from typing import Final, TypeAlias, final

import attrs
import trio

from exchanger.console.bounded_record import bounded
from exchanger.decision.outcome import DecisionRecord, Deny

KEPT: Final = 200
"""Records that a newcomer is shown: as many as somebody scrolls through."""
KEPT_DENIED: Final = 100
"""Denials kept beside those, so that a burst of what was allowed does not push them out before they are told."""

WINDOW_S: Final = 0.25
"""Seconds in which no more than these are kept anew; as often, the news is told."""

Entry: TypeAlias = tuple[int, float, DecisionRecord, int]
"""Sequence number from 1, time in seconds since the epoch, record, and revision of the policy then. A tuple is the cheapest."""


@final
@attrs.frozen
class Batch:
    """What is new: ``entries`` in order, ``lost`` how many there were besides, ``upto`` the sequence number to go on from."""

    entries: tuple[Entry, ...]
    lost: int
    upto: int


@final
@attrs.frozen
class FeedStatistics:
    """``seen``: decisions since the start; ``kept``: records that are held now."""

    seen: int
    kept: int


@final
@attrs.define(eq=False)
class Feed:
    """See ``typing.DecisionObserver``. ``revision`` is that of the policy in force; whoever publishes one sets it."""

    revision: int = 0
    _clock: Callable[[], float] = time.time
    _sequence: int = attrs.field(default=0, init=False)
    _latest: "deque[Entry]" = attrs.field(factory=lambda: deque(maxlen=KEPT), init=False, repr=False)
    _denied: "deque[Entry]" = attrs.field(factory=lambda: deque(maxlen=KEPT_DENIED), init=False, repr=False)
    _waiting: trio.Event | None = attrs.field(default=None, init=False)
    _began: float = attrs.field(default=-math.inf, init=False)
    _room: int = attrs.field(default=0, init=False)
    _room_denied: int = attrs.field(default=0, init=False)

    def decided(self, record: DecisionRecord, /) -> None:
        """See ``typing.DecisionObserver``."""
        self._sequence = sequence = self._sequence + 1
        now = self._clock()
        if not 0.0 <= now - self._began < WINDOW_S:  # clocks are set back at times
            self._began = now
            self._make_room()
        denied = type(record.outcome) is Deny
        if self._room or (denied and self._room_denied):
            self._keep((sequence, now, bounded(record), self.revision), denied=denied)
        if self._waiting is not None:
            self._waiting.set()
            self._waiting = None

    @property
    def sequence(self) -> int:
        """The sequence number of the newest decision, 0 before there is one."""
        return self._sequence

    async def beyond(self, sequence: int) -> None:
        """Return when there is a decision after ``sequence``."""
        while self._sequence <= sequence:
            if self._waiting is None:
                self._waiting = trio.Event()
            await self._waiting.wait()

    def latest(self, upto: int) -> tuple[Entry, ...]:
        """Return the newest entries that are not after ``upto``, oldest first."""
        return tuple(entry for entry in self._latest if entry[0] <= upto)

    def since(self, sequence: int, limit: int) -> Batch:
        """Return at most ``limit`` (not more than are kept) of what is kept and after ``sequence``: denials first, then the newest."""
        self._make_room()
        new = self._sequence - sequence
        latest = [entry for entry in self._latest if entry[0] > sequence]
        if new > limit:
            denied = [entry for entry in self._denied if entry[0] > sequence]
            chosen = {entry[0]: entry for entry in denied[-limit:]}
            for entry in reversed(latest):
                if len(chosen) >= limit:
                    break
                chosen[entry[0]] = entry
            latest = [chosen[number] for number in sorted(chosen)]
        return Batch(tuple(latest), new - len(latest), self._sequence)

    def _make_room(self) -> None:
        self._room, self._room_denied = KEPT, KEPT_DENIED

    def _keep(self, entry: Entry, *, denied: bool) -> None:
        if self._room:
            self._room -= 1
        else:
            self._room_denied -= 1
        self._latest.append(entry)
        if denied:
            self._denied.append(entry)

    def statistics(self) -> FeedStatistics:
        """Tell how much was seen."""
        return FeedStatistics(self._sequence, len({entry[0] for kept in (self._latest, self._denied) for entry in kept}))
