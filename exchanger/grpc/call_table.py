"""The calls of one connection: which are there, what they hold together, what is to be reported, and how they ended.

Must not know: the HTTP/2 codec, tasks or clocks.
"""

import math
from collections import deque
from typing import final

import attrs

from exchanger.grpc.call import Aborted, Arrived, Call, Event
from exchanger.grpc.head import UNKNOWN_METHOD, Refusal, read_head
from exchanger.grpc.limits import ConnectionLimits
from exchanger.grpc.routes import CallInfo, Headers, Route, Routes, Streaming, StreamMethod
from exchanger.grpc.statistics import CallTableStatistics
from exchanger.grpc.status import GrpcError, StatusCode


@final
@attrs.define(eq=False)
class CallTable:
    """The stream table. ``events`` grows until they are taken; ``counts`` has the ended calls, by status code."""

    _routes: Routes
    _limits: ConnectionLimits
    calls: dict[int, Call] = attrs.field(factory=dict, init=False)
    events: list[Event] = attrs.field(factory=list, init=False)
    counts: list[int] = attrs.field(factory=lambda: [0] * len(StatusCode), init=False)
    _held: int = attrs.field(default=0, init=False)
    _head: tuple[Route, CallInfo] | None = attrs.field(default=None, init=False)
    _headers: Headers = attrs.field(default=(), init=False, repr=False)
    _now: float = attrs.field(default=math.nan, init=False)

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
        if type(route) is StreamMethod and route.streaming is not Streaming.UNARY_STREAM:
            call.messages = deque()
            self._start(call)
        return call

    def _read(self, headers: Headers, now: float) -> tuple[Route, CallInfo] | Refusal:
        info = read_head(headers, now)
        if type(info) is Refusal:
            return info
        route = self._routes.get(info.path)
        return UNKNOWN_METHOD if route is None else (route, info)

    def feed(self, call: Call, data: bytes) -> None:
        """Take request bytes of an open ``call``.

        Raises:
            GrpcError: what to refuse the call with.
        """
        held = call.held
        try:
            complete = call.feed(data, self._limits.message_bytes)
        finally:
            self._held += call.held - held
        if self._held > self._limits.held_bytes:
            raise GrpcError(StatusCode.RESOURCE_EXHAUSTED, "too much incomplete request data on this connection")
        if complete and call.messages is not None:
            self.events.append(Arrived(call))

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
        self._held -= call.held
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

    def statistics(self) -> CallTableStatistics:
        """Return what is held now, and how calls ended so far."""
        return CallTableStatistics(len(self.calls), self._held, tuple(self.counts))

    def _start(self, call: Call) -> None:
        call.started = True
        self.events.append(call)
