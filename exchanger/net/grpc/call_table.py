"""The calls of one connection: which are open, what they hold together, when they must be complete, and how they ended."""

import heapq
import math
from collections import deque
from collections.abc import Mapping
from typing import Final, final

import attrs

from exchanger.net.grpc.call import NEVER, Aborted, Arrived, Call, Event
from exchanger.net.grpc.head import UNKNOWN_METHOD, HeadRefusal, read_head
from exchanger.net.grpc.limits import Budget, ConnectionLimits
from exchanger.net.grpc.routes import CallInfo, Headers, ImmediateStream, Route, Routes, Streaming, StreamMethod
from exchanger.net.grpc.status import GrpcError, StatusCode

# Heap entries that are kept without checking whether they are stale.
_SPARE: Final = 64


@final
@attrs.define(eq=False)
class ArrivalDeadlines:
    """When the requests of a connection that are still arriving must be complete, and when streams must have ended.

    Nearly all requests are complete at once, so the others may cost something: each gets a heap entry, which stays until it is due, even if
    the request was completed meanwhile.
    """

    _calls: Mapping[int, Call]
    heap: list[tuple[float, int]] = attrs.field(factory=list, init=False)
    _full: int = attrs.field(default=_SPARE, init=False)

    @property
    def next_due(self) -> float:
        """When to ask for ``overdue`` calls, at the latest (seconds). There may be none then."""
        return self.heap[0][0] if self.heap else NEVER

    def expect(self, call: Call, due: float) -> None:
        """``call`` must be complete by ``due`` (seconds). Replaces its earlier deadline."""
        call.due = due
        heapq.heappush(self.heap, (due, call.stream_id))
        if len(self.heap) > self._full:  # most entries are stale
            self.heap = list({entry for entry in self.heap if self._waiting(*entry) is not None})
            heapq.heapify(self.heap)
            self._full = 2 * len(self.heap) + _SPARE

    def postpone(self, seconds: float) -> None:
        """Move all deadlines by ``seconds``, but none beyond its call's own deadline."""
        waiting = {call for entry in self.heap if (call := self._waiting(*entry)) is not None}
        for call in waiting:
            call.due = min(call.due + seconds, call.info.deadline)
        self.heap = [(call.due, call.stream_id) for call in waiting]
        heapq.heapify(self.heap)

    def overdue(self, now: float) -> list[Call]:
        """Return the calls that should have been complete by ``now`` (seconds), and forget them."""
        heap, late = self.heap, []
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
        """The connection has ended."""
        self.heap.clear()

    def _waiting(self, due: float, stream_id: int) -> Call | None:
        """Return the call of an entry, unless the entry is stale."""
        call = self._calls.get(stream_id)
        if call is None or call.due != due or not call.open:
            return None
        return None if call.ended and call.messages is None else call


@final
@attrs.define(eq=False)
class CallTable:
    """The stream table. ``events`` grows until they are taken; ``ended_calls`` counts by status code; ``held`` is in bytes."""

    _routes: Routes
    _limits: ConnectionLimits
    _budget: Budget
    calls: dict[int, Call] = attrs.field(factory=dict, init=False)
    events: list[Event] = attrs.field(factory=list, init=False)
    ended_calls: list[int] = attrs.field(factory=lambda: [0] * len(StatusCode), init=False)
    held: int = attrs.field(default=0, init=False)
    deadlines: ArrivalDeadlines = attrs.field(init=False)
    _head: tuple[Route, CallInfo] | None = attrs.field(default=None, init=False)
    _headers: Headers = attrs.field(default=(), init=False, repr=False)
    _now: float = attrs.field(default=math.nan, init=False)

    def __attrs_post_init__(self) -> None:
        self.deadlines = ArrivalDeadlines(self.calls)

    def admit(self, stream_id: int, headers: Headers, now: float) -> Call | HeadRefusal:
        """Return the new call that ``headers`` request, or the refusal. A streaming call starts with its headers."""
        # A gateway sends the same headers again and again; comparing them costs a third of reading them.
        head = self._head
        if head is None or headers != self._headers:
            read = self._read(headers, now)
            if type(read) is HeadRefusal:
                self.ended_calls[read.status] += 1
                return read
            head = self._head = read
            self._headers, self._now = headers, now
        elif now != self._now:
            head = self._head = head[0], head[1].begun_at(now)
            self._now = now
        route, info = head
        call = self.calls[stream_id] = Call(stream_id, route, info)
        if type(route) is ImmediateStream or (type(route) is StreamMethod and route.streaming is Streaming.STREAM_STREAM):
            call.messages = deque()
            call.expect_parts(self._limits.message_bytes)
            call.due = NEVER
            self._expect_nothing(call)
            self._start(call)
        return call

    def _read(self, headers: Headers, now: float) -> tuple[Route, CallInfo] | HeadRefusal:
        info = read_head(headers, now)
        if type(info) is HeadRefusal:
            return info
        route = self._routes.get(info.path)
        return UNKNOWN_METHOD if route is None else (route, info)

    def expect_since(self, stream_id: int, now: float) -> None:
        """Set the arrival deadline of incomplete requests whose streams came after ``stream_id``."""
        for call in reversed(self.calls.values()):
            if call.stream_id <= stream_id:  # streams are opened in order (RFC 9113 section 5.1.1)
                break
            if not call.ended and call.messages is None and call.open:
                self._expect(call, now)

    def feed(self, call: Call, data: bytes, now: float) -> int:
        """Add request bytes to an open ``call``, and return how many messages they complete.

        Raises:
            GrpcError: the refusal of the call.
        """
        held = call.held
        try:
            complete = call.feed(data, self._limits.message_bytes)
        finally:
            self._hold(call.held - held)
        if self.held > self._limits.held_bytes:
            raise GrpcError(StatusCode.RESOURCE_EXHAUSTED, "too much request data on this connection")
        if self._budget.refuses(self.held):
            raise GrpcError(StatusCode.RESOURCE_EXHAUSTED, "too much request data on all connections")
        if call.messages is not None:
            if not call.partial:
                self._expect_nothing(call)
            elif complete or call.due == NEVER:
                self._expect(call, now)
            if complete:
                self.events.append(Arrived(call))
        return complete

    def take(self, call: Call) -> bytes | None:
        """Return the next unread message of a client-streaming ``call``, or ``None`` if there is none."""
        held = call.held
        message = call.take()
        self._hold(call.held - held)
        return message

    def end(self, call: Call) -> None:
        """The request of ``call`` has ended; a unary one can start.

        Raises:
            GrpcError: the refusal of the call.
        """
        call.ended = True
        if not call.open:
            return
        call.check_complete()
        if call.messages is None:
            self._start(call)
        else:
            self.events.append(Arrived(call))

    def close(self, call: Call, status: StatusCode) -> None:
        """An open ``call`` has ended, with ``status``."""
        call.open = False
        self.ended_calls[status] += 1
        self.release(call)

    def release(self, call: Call) -> None:
        """Let go of all that ``call`` has received."""
        self._hold(-call.held)
        call.release()

    def abandon(self, call: Call) -> None:
        """Close ``call``, if it is open, because its answer is no longer needed."""
        if call.open:
            self.close(call, StatusCode.CANCELLED)
            self.report_aborted(call)

    def report_aborted(self, call: Call) -> None:
        """Notify the handler of ``call`` that it has ended."""
        if call.started:
            self.events.append(Aborted(call))

    def clear(self) -> None:
        """The connection has ended, and with it every call."""
        for call in self.calls.values():
            self.abandon(call)
        self.calls.clear()
        self.deadlines.clear()

    def _expect(self, call: Call, now: float) -> None:
        self.deadlines.expect(call, min(call.info.deadline, now + self._limits.arrival_seconds))

    def _expect_nothing(self, call: Call) -> None:
        """Let a client-streaming ``call`` without a message be silent: until its deadline, if no task enforces that."""
        due = call.info.deadline if type(call.route) is ImmediateStream else NEVER
        if due == NEVER:
            call.due = NEVER
        elif call.due != due:
            self.deadlines.expect(call, due)

    def _hold(self, change: int) -> None:
        self.held += change
        self._budget.change(change)

    def _start(self, call: Call) -> None:
        call.started = True
        self.events.append(call)
