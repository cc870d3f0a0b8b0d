"""Keeps full garbage collections out of the way of requests while the policy grows.

A full collection looks at everything that there is, in one go: with some large documents a tenth of a second, during which nothing else runs.
Policy is values without cycles, which it never has to look at. So none begins while documents are read, and what reading has allocated does
not bring one about later. Young objects are collected as always, and so is everything else's garbage.
(https://docs.python.org/3/library/gc.html#gc.set_threshold; since 3.14 full collections come in steps, and this changes nothing.)
"""

import gc
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final, final

import attrs

NEVER: Final = 2**30
"""Collections of the younger objects before a full one."""


@final
@attrs.define(eq=False)
class FullCollections:
    """Counts collections of the middle generation, of which so many bring a full one about."""

    _usual: tuple[int, int, int] = attrs.field(factory=gc.get_threshold, init=False)
    _holders: int = attrs.field(default=0, init=False)
    _count: int = attrs.field(default=0, init=False)
    _allowed: int = attrs.field(default=0, init=False)

    @contextmanager
    def watched(self) -> Generator[None]:
        """Leave everything as it was when the block ends."""
        self._usual = gc.get_threshold()
        gc.callbacks.append(self._collected)
        try:
            yield
        finally:
            gc.callbacks.remove(self._collected)
            gc.set_threshold(*self._usual)

    @contextmanager
    def held_off(self) -> Generator[None]:
        """Have none within the block, nor later because of what was allocated in it."""
        if not self._holders:
            self._count = gc.get_count()[2]
            gc.set_threshold(*self._usual[:2], NEVER)
        self._holders += 1
        try:
            yield
        finally:
            self._holders -= 1
            if not self._holders:
                self._allowed += max(0, gc.get_count()[2] - self._count)
                gc.set_threshold(*self._usual[:2], self._usual[2] + self._allowed)

    def _collected(self, phase: str, info: dict[str, int]) -> None:
        if phase == "stop" and info["generation"] == len(self._usual) - 1:
            self._allowed = self._count = 0
            if not self._holders:
                gc.set_threshold(*self._usual)
