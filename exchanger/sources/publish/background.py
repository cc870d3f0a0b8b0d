"""Keeps work in threads from blocking the event loop, with two switches of the interpreter that apply to the whole process.

A full garbage collection looks at every object without a pause: with some large documents that takes a tenth of a second, during which
nothing else runs. Policy has no cycles, so there is nothing to collect. No full collection begins while documents are read, and what
reading allocates does not cause one later. Young objects, and the garbage of everything else, are collected as before.
(https://docs.python.org/3/library/gc.html#gc.set_threshold)

A computing thread releases the interpreter after the switch interval, and the event loop waits as long at each of its turns.
(https://docs.python.org/3/library/sys.html#sys.setswitchinterval)
"""

import gc
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final, final

import attrs

# Collections of the younger objects before a full one.
NEVER: Final = 2**30
# Seconds: a tenth of the default, which costs the thread a few percent.
SWITCH_S: Final = 0.0005


@final
@attrs.define(eq=False)
class Background:
    """Counts collections of the middle generation, which trigger a full one."""

    _usual: tuple[int, int, int] = attrs.field(factory=gc.get_threshold, init=False)
    _interval: float = attrs.field(factory=sys.getswitchinterval, init=False)
    _at_work: int = attrs.field(default=0, init=False)
    _count: int = attrs.field(init=False)
    _allowed: int = attrs.field(default=0, init=False)

    @contextmanager
    def watched(self) -> Generator[None]:
        """Restore the thresholds of collections when the block ends; ``at_work`` restores the switch interval."""
        self._usual, self._interval = gc.get_threshold(), sys.getswitchinterval()
        gc.callbacks.append(self._collected)
        try:
            yield
        finally:
            gc.callbacks.remove(self._collected)
            gc.set_threshold(*self._usual)

    @contextmanager
    def at_work(self) -> Generator[None]:
        """Avoid full collections within the block, and later ones caused by its allocations; threads switch often."""
        if not self._at_work:
            self._count = gc.get_count()[2]
            gc.set_threshold(*self._usual[:2], NEVER)
            sys.setswitchinterval(min(SWITCH_S, self._interval))
        self._at_work += 1
        try:
            yield
        finally:
            self._at_work -= 1
            if not self._at_work:
                self._allowed += max(0, gc.get_count()[2] - self._count)
                gc.set_threshold(*self._usual[:2], self._usual[2] + self._allowed)
                sys.setswitchinterval(self._interval)

    def _collected(self, _phase: str, info: dict[str, int]) -> None:
        if info["generation"] == len(self._usual) - 1:
            self._allowed = self._count = 0
            if not self._at_work:
                gc.set_threshold(*self._usual)
