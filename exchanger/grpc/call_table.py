"""The calls of one connection: which are there, what they hold together, what is to be reported, and how they ended.

Must not know: the HTTP/2 codec, tasks or clocks.
"""

import math
from collections import deque
from typing import final

import attrs

from exchanger.grpc.arriving import Arriving
from exchanger.grpc.budget import Budget
from exchanger.grpc.call import NEVER, Aborted, Arrived, Call, Event
from exchanger.grpc.head import UNKNOWN_METHOD, Refusal, read_head
from exchanger.grpc.limits import ConnectionLimits
from exchanger.grpc.routes import CallInfo, Headers, ImmediateStream, Route, Routes, Streaming, StreamMethod
from exchanger.grpc.statistics import CallTableStatistics
from exchanger.grpc.status import GrpcError, StatusCode


@final
@attrs.define(eq=False)
class CallTable:
    """The stream table. ``events`` grows until they are taken; ``counts`` has the ended calls, by status code."""

    _routes: Routes
    _limits: ConnectionLimits
    _budget: Budget
    calls: dict[int, Call] = attrs.field(factory=dict, init=False)
    events: list[Event] = attrs.field(factory=list, init=False)
    counts: list[int] = attrs.field(factory=lambda: [0] * len(StatusCode), init=False)
    arriving: Arriving = attrs.field(init=False)
    _held: int = attrs.field(default=0, init=False)
    _head: tuple[Route, CallInfo] | None = attrs.field(default=None, init=False)
    _headers: Headers = attrs.field(default=(), init=False, repr=False)
    _now: float = attrs.field(default=math.nan, init=False)

    def __attrs_post_init__(self) -> None:
        self.arriving = Arriving(self.calls)

    def admit(self, stream_id: int, headers: Headers, now: float) -> Call | Refusal:
        """Return the new call that ``headers`` ask for, or why there is none. A streaming call starts with its headers."""
        # One gateway sends the same headers over and over; to compare them costs a third of reading them.
        head = self._head
        if head is None or headers != self._headers or (now != self._now and head[1].deadline != math.inf):
            read = self._read(headers, now)
            if type(read) is Refusal:
                self.counts[read.status] += 1
                return read
            head, self._headers, self._now = read, headers, now
            self._head = head
        route, info = head
        call = self.calls[stream_id] = Call(stream_id, route, info)
        if type(route) is ImmediateStream or (type(route) is StreamMethod and route.streaming is not Streaming.UNARY_STREAM):
            call.messages = deque()
            call.expect_parts(self._limits.message_bytes)
            call.due = NEVER
            self._expect_nothing(call)
            self._start(call)
        return call

    def _read(self, headers: Headers, now: float) -> tuple[Route, CallInfo] | Refusal:
        info = read_head(headers, now)
        if type(info) is Refusal:
            return info
        route = self._routes.get(info.path)
        return UNKNOWN_METHOD if route is None else (route, info)

    def expect_since(self, stream_id: int, now: float) -> None:
        """Give a time until which to be complete to the requests that are not, of those with a stream after ``stream_id``."""
        for call in reversed(self.calls.values()):
            if call.stream_id <= stream_id:  # streams are opened in order (RFC 9113 section 5.1.1)
                break
            if not call.ended and call.messages is None and call.open:
                self._expect(call, now)

    def feed(self, call: Call, data: bytes, now: float) -> None:
        """Take request bytes of an open ``call``.

        Raises:
            GrpcError: what to refuse the call with.
        """
        held = call.held
        try:
            complete = call.feed(data, self._limits.message_bytes)
        finally:
            self._hold(call.held - held)
        if self._held > self._limits.held_bytes:
            raise GrpcError(StatusCode.RESOURCE_EXHAUSTED, "too much request data on this connection")
        if self._budget.refuses(self._held):
            raise GrpcError(StatusCode.RESOURCE_EXHAUSTED, "too much request data on all connections")
        if call.messages is not None:
            if not call.partial:
                self._expect_nothing(call)
            elif complete or call.due == NEVER:
                self._expect(call, now)
            if complete:
                self.events.append(Arrived(call))

    def take(self, call: Call) -> bytes | None:
        """Return the next unread message of a client-streaming ``call``, or ``None`` when there is none."""
        held = call.held
        message = call.take()
        self._hold(call.held - held)
        return message

    def end(self, call: Call) -> None:
        """The request of ``call`` has ended; a unary one can start.

        Raises:
            GrpcError: what to refuse the call with.
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
        """An open ``call`` is over, with ``status``; what it holds is let go."""
        call.open = False
        self.counts[status] += 1
        self.release(call)

    def release(self, call: Call) -> None:
        """Let go of all that ``call`` has received."""
        self._hold(-call.held)
        call.release()

    def abandon(self, call: Call) -> None:
        """Close ``call``, if it is open, because nobody waits for its answer."""
        if call.open:
            self.close(call, StatusCode.CANCELLED)
            self.report_aborted(call)

    def report_aborted(self, call: Call) -> None:
        """Tell whoever runs ``call`` that it is over."""
        if call.started:
            self.events.append(Aborted(call))

    def clear(self) -> None:
        """The connection is over, and with it every call."""
        for call in self.calls.values():
            self.abandon(call)
        self.calls.clear()
        self.arriving.clear()

    def statistics(self) -> CallTableStatistics:
        """Return what is held now, and how calls ended so far."""
        return CallTableStatistics(len(self.calls), self._held, tuple(self.counts))

    def _expect(self, call: Call, now: float) -> None:
        self.arriving.expect(call, min(call.info.deadline, now + self._limits.arrival_seconds))

    def _expect_nothing(self, call: Call) -> None:
        """No message of a client-streaming ``call`` has begun, so that it may be silent, until its deadline if no task sees to that."""
        due = call.info.deadline if type(call.route) is ImmediateStream else NEVER
        if due == NEVER:
            call.due = NEVER
        elif call.due != due:
            self.arriving.expect(call, due)

    def _hold(self, change: int) -> None:
        self._held += change
        self._budget.change(change)

    def _start(self, call: Call) -> None:
        call.started = True
        self.events.append(call)
