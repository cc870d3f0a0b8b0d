"""What time of day it was when a clock for durations showed something.

Both ends of every span come from one clock that never jumps, so that spans lie within each other as what they tell did, however late they
are told. The time of day is only compared with it. Must not know: spans, records, or who asks.
"""

import time
from collections.abc import Callable
from typing import Final, final

import attrs

TOLERANCE: Final = 1_000_000
"""Nanoseconds. The two clocks go equally fast nearly everywhere; what differs by more was set, or slept."""

_NANOSECONDS: Final = 1_000_000_000


@final
@attrs.define(eq=False)
class Epoch:
    """Keeps the distance of two clocks, both in nanoseconds: ``wall`` counts from 1970, ``monotonic`` from wherever durations do."""

    _wall: Callable[[], int] = time.time_ns
    _monotonic: Callable[[], int] = time.perf_counter_ns
    _distance: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._distance = self._wall() - self._monotonic()

    def at(self, moment: float) -> int:
        """Return the nanoseconds since 1970 of ``moment``, which is in seconds of the monotonic clock.

        Where the time of day was set, this and what follows have the new one.
        """
        before = self._monotonic()
        wall = self._wall()
        after = self._monotonic()
        # Whatever else ran in between, the distance is none outside these two.
        if not wall - after - TOLERANCE <= self._distance <= wall - before + TOLERANCE:
            self._distance = wall - (before + after) // 2
        return self._distance + int(moment * _NANOSECONDS)
