"""Long work done in slices, so that whoever waits for the event loop meanwhile waits for a slice and not for all of it.

Must not know: what the work is.
"""

import time
from collections.abc import Callable
from typing import Final, final

import attrs
import trio

SLICE_S: Final = 0.002
"""Seconds at a time: a request waits so long at most, of the 200 ms that a gateway gives it."""


@final
@attrs.frozen
class PaceStatistics:
    """How often others had their turn."""

    breaks: int


@final
@attrs.define(eq=False)
class Pace:
    """Watches the time of one piece of work."""

    _clock: Callable[[], float] = time.perf_counter
    _began: float = attrs.field(init=False)
    _breaks: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._began = self._clock()

    async def step(self) -> None:
        """Let others run when it is time; to be called between small steps, each of which costs little against a slice."""
        if self._clock() - self._began >= SLICE_S:
            await trio.lowlevel.checkpoint()
            self._breaks += 1
            self._began = self._clock()

    def statistics(self) -> PaceStatistics:
        """Tell how much there was."""
        return PaceStatistics(self._breaks)
