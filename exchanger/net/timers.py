"""Deadlines of rows, in one heap with one task that waits for the earliest of them.

A row nearly always ends before its deadline, so removing that costs nothing: its entry stays in the heap until it is due or on top. The
heap does not keep rows alive, since ended rows hold tokens: rows are owned by whatever waits for them.
"""

import heapq
import itertools
import math
import weakref
from collections.abc import Callable, Iterator
from typing import Final, Protocol, final

import attrs
import trio

NEVER: Final = math.inf

# Rows that are due in one turn: most are answered then, at some 50 µs each with their records.
_DUE_AT_ONCE: Final = 64

# Heap entries that are kept without checking whether they are stale.
_SPARE: Final = 1024


class Timed(Protocol):
    """A row with a deadline; ``due`` is in seconds of Trio's clock, ``NEVER`` without a deadline."""

    due: float

    def on_due(self, now: float, /) -> None:
        """The deadline has passed, at ``now``; ``due`` is ``NEVER`` until it is set again. Must neither block nor raise."""


@final
@attrs.define(eq=False)
class Timers:
    """Calls ``on_due`` of each row when its time has come. ``turn`` surrounds the calls of one moment."""

    _turn: Callable[[Callable[[], None]], None]
    _heap: "list[tuple[float, int, weakref.ref[Timed]]]" = attrs.field(factory=list, init=False)
    _numbers: Iterator[int] = attrs.field(factory=itertools.count, init=False)
    _full: int = attrs.field(default=_SPARE, init=False)
    _alarm: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    _alarm_at: float = attrs.field(default=NEVER, init=False)

    def expect(self, row: Timed, due: float) -> None:
        """Call ``row.on_due`` at ``due``, unless its deadline has changed or nothing owns the row any more."""
        row.due = due
        if due == NEVER:
            return
        heap = self._heap
        heapq.heappush(heap, (due, next(self._numbers), weakref.ref(row)))
        if len(heap) > self._full:  # most entries are stale
            heap[:] = [entry for entry in heap if (known := entry[2]()) is not None and known.due == entry[0]]
            heapq.heapify(heap)
            self._full = 2 * len(heap) + _SPARE
        if due < self._alarm_at:  # later ones are looked at when the alarm goes off
            self._alarm.deadline = self._alarm_at = due

    async def run(self) -> None:
        """Wait for deadlines until cancelled. Only the earliest deadline bounds the wait."""
        while True:
            heap = self._heap
            while heap and not _is_due(heap[0]):
                heapq.heappop(heap)
            self._alarm_at = heap[0][0] if heap else NEVER
            with trio.CancelScope(deadline=self._alarm_at) as self._alarm:
                await trio.sleep_forever()
            self._turn(self._expire)

    def _expire(self) -> None:
        now, heap, left = trio.current_time(), self._heap, _DUE_AT_ONCE
        while left and heap and heap[0][0] <= now:
            due, _, reference = heapq.heappop(heap)
            row = reference()
            if row is not None and row.due == due:
                left -= 1
                row.due = NEVER
                row.on_due(now)


def _is_due(entry: "tuple[float, int, weakref.ref[Timed]]") -> bool:
    """Return whether the row of ``entry`` still has this deadline."""
    row = entry[2]()
    return row is not None and row.due == entry[0]
