"""Receives the record of each decision and keeps the newest. The only part of the console on the path of a request.

It appends a tuple and checks whether anyone is waiting: a fraction of a microsecond, with viewers or without. Half of that is spent on
records that are kept, since their memory has left the processor's caches when they are released. So under load it keeps no more than is
shown. Must not know: JSON, subscribers, or anything of a record except whether it is a denial and how large it is.
"""

import math
from collections import deque
from collections.abc import Callable
from typing import Final, TypeAlias, final

import attrs
import trio

from exchanger.authz.decision.outcome import DecisionRecord, Deny
from exchanger.net.network import SYSTEM
from exchanger.operations.console.bounded_record import bounded

# Records that a new viewer gets: as many as somebody scrolls through.
KEPT: Final = 200
# Denials kept in addition, so that a burst of allowed requests does not displace them before they are shown.
KEPT_DENIED: Final = 100

# Seconds in which at most that many are added; messages to viewers have the same interval.
WINDOW_S: Final = 0.25

# Sequence number from 1, time in seconds since the epoch, record, and revision of the policy then. A tuple is the cheapest.
Entry: TypeAlias = tuple[int, float, DecisionRecord, int]


@final
@attrs.frozen
class DecisionBatch:
    """New ``entries`` in order, how many more were ``lost``, and the sequence number to continue from."""

    entries: tuple[Entry, ...]
    lost: int
    upto: int


@final
@attrs.define(eq=False)
class Feed:
    """Observes decisions for the console. ``revision`` is that of the active policy; its publisher sets it."""

    _clock: Callable[[], float] = SYSTEM.wall
    revision: int = attrs.field(default=0, init=False)
    _sequence: int = attrs.field(default=0, init=False)
    _latest: "deque[Entry]" = attrs.field(factory=lambda: deque(maxlen=KEPT), init=False, repr=False)
    _denied: "deque[Entry]" = attrs.field(factory=lambda: deque(maxlen=KEPT_DENIED), init=False, repr=False)
    _waiting: trio.Event | None = attrs.field(default=None, init=False)
    _began: float = attrs.field(default=-math.inf, init=False)
    _room: int = attrs.field(default=0, init=False)
    _room_denied: int = attrs.field(default=0, init=False)

    def decided(self, record: DecisionRecord, /) -> None:
        self._sequence = sequence = self._sequence + 1
        now = self._clock()
        if not 0.0 <= now - self._began < WINDOW_S:  # clocks may be set back
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

    def since(self, sequence: int, limit: int) -> DecisionBatch:
        """Return at most ``limit`` entries after ``sequence``: denials first, then the newest."""
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
        return DecisionBatch(tuple(latest), new - len(latest), self._sequence)

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
