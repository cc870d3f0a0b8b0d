"""The time of day at a reading of the monotonic clock.

Both ends of every span come from one clock that never jumps, so spans nest as the work they describe did. The time of day is only compared
with it.
"""

import time
from collections.abc import Callable
from typing import Final, final

import attrs

# Nanoseconds. The two clocks run equally fast nearly everywhere; a larger difference means that one was set, or the machine slept.
TOLERANCE: Final = 1_000_000

_NANOSECONDS: Final = 1_000_000_000


@final
@attrs.define(eq=False)
class Clock:
    """Keeps the offset between two clocks, both in nanoseconds: ``wall`` counts from 1970, ``monotonic`` from an arbitrary moment."""

    _wall: Callable[[], int] = time.time_ns
    _monotonic: Callable[[], int] = time.perf_counter_ns
    _offset: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._offset = self._wall() - self._monotonic()

    def at(self, moment: float) -> int:
        """Return the nanoseconds since 1970 of ``moment``, which is in seconds of the monotonic clock.

        After the time of day was set, this and later results follow it.
        """
        before = self._monotonic()
        wall = self._wall()
        after = self._monotonic()
        # The offset must lie between these bounds, whatever else ran in between.
        if not wall - after - TOLERANCE <= self._offset <= wall - before + TOLERANCE:
            self._offset = wall - (before + after) // 2
        return self._offset + int(moment * _NANOSECONDS)
