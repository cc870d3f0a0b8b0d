"""The time of day at a reading of the steady clock.

Both ends of every span come from one clock that never jumps, so spans nest as their work did. The time of day is only compared with it.
"""

from collections.abc import Callable
from typing import Final, final

import attrs

from exchanger.net.network import SYSTEM

# Seconds. The two clocks run equally fast nearly everywhere; a larger difference means that one was set, or the machine slept.
TOLERANCE: Final = 0.001

_NANOSECONDS: Final = 1_000_000_000


@final
@attrs.define(eq=False)
class Clock:
    """Keeps the offset between two clocks, both in seconds: ``wall`` counts from 1970, ``steady`` from an arbitrary moment."""

    _wall: Callable[[], float] = SYSTEM.wall
    _steady: Callable[[], float] = SYSTEM.steady
    _offset: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._offset = self._wall() - self._steady()

    def at(self, moment: float) -> int:
        """Return the nanoseconds since 1970 of ``moment``, which is in seconds of the steady clock.

        After the time of day was set, this and later results follow it.
        """
        before = self._steady()
        wall = self._wall()
        after = self._steady()
        # The offset must lie between these bounds, whatever else ran in between.
        if not wall - after - TOLERANCE <= self._offset <= wall - before + TOLERANCE:
            self._offset = wall - (before + after) / 2
        return int(self._offset * _NANOSECONDS) + int(moment * _NANOSECONDS)
