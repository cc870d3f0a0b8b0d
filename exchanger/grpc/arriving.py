"""Requests that are still arriving, and until when they must be complete; and streams that must be over by then.

Nearly all requests are complete when they are first looked at, so that one that is not may cost something: it gets an entry in a heap,
which stays there until its time has come, whether or not the request was completed meanwhile.

Must not know: the HTTP/2 codec, clocks, or what becomes of a call that takes too long.
"""

import heapq
from collections.abc import Mapping
from typing import Final, final

import attrs

from exchanger.grpc.call import NEVER, Call

_SPARE: Final = 64
"""Entries that are kept without looking whether they still mean anything."""


@final
@attrs.define(eq=False)
class Arriving:
    """The calls of one connection that wait for the rest of a message, by the time until which they may."""

    _calls: Mapping[int, Call]
    _heap: list[tuple[float, int]] = attrs.field(factory=list, init=False)
    _full: int = attrs.field(default=_SPARE, init=False)

    @property
    def next_due(self) -> float:
        """When to ask for ``overdue`` calls, at the latest (seconds); that there are any then is not certain."""
        return self._heap[0][0] if self._heap else NEVER

    def expect(self, call: Call, due: float) -> None:
        """``call`` must be complete by ``due`` (seconds), and not by what was said before."""
        call.due = due
        heapq.heappush(self._heap, (due, call.stream_id))
        if len(self._heap) > self._full:  # most of them were completed long ago
            self._heap = list({entry for entry in self._heap if self._waiting(*entry) is not None})
            heapq.heapify(self._heap)
            self._full = 2 * len(self._heap) + _SPARE

    def overdue(self, now: float) -> list[Call]:
        """Return the calls that should have been complete by ``now`` (seconds), and forget them."""
        heap, late = self._heap, []
        while heap:
            call = self._waiting(*heap[0])
            if call is not None:
                if call.due > now:
                    break
                call.due = NEVER
                late.append(call)
            heapq.heappop(heap)
        return late

    def clear(self) -> None:
        """The connection is over."""
        self._heap.clear()

    def _waiting(self, due: float, stream_id: int) -> Call | None:
        """Return the call of an entry, if it means one that still waits."""
        call = self._calls.get(stream_id)
        if call is None or call.due != due or not call.open:
            return None
        return None if call.ended and call.messages is None else call
