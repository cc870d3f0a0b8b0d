"""The calls of one session: decided at once if their route allows it, later, or in a task.

A call that must wait is a row in a table by stream, with its deferred answer or its task's cancel scope, so a reset, a lost
connection, the deadline and the drain all end it.
"""

import functools
from collections.abc import Awaitable, Callable
from typing import Final, assert_never, final

import attrs
import trio

from exchanger.net.deferred import Deferred
from exchanger.net.grpc.call import Arrived, Call, Event
from exchanger.net.grpc.connection import Connection
from exchanger.net.grpc.routes import (
    MARGIN_S,
    Immediate,
    ImmediateStream,
    StreamContinuation,
    StreamHandler,
    StreamMethod,
    UnaryMethod,
    run_stream,
    run_unary,
)
from exchanger.net.grpc.status import GrpcError, StatusCode
from exchanger.net.reactor import WORK_PER_CHECKPOINT, Reactor
from exchanger.net.timers import NEVER

# Ends of calls that are handled at once, and messages of one stream that are answered: about 1 ms.
_WORK_AT_ONCE: Final = 64


@final
@attrs.define(eq=False)
class _Waiting:
    """A call whose answer comes later; ``late`` is called at its deadline."""

    call: Call
    deferred: Deferred
    late: Callable[["_Waiting"], None]
    due: float = NEVER

    def on_due(self, _now: float) -> None:
        self.late(self)


@final
@attrs.define(eq=False)
class _Following:
    """A stream with an answer that was ``StreamContinuation``: ``handler`` gets its messages. ``idle``: that was its last answer.

    ``over`` is called just before its deadline.
    """

    call: Call
    handler: StreamHandler
    over: Callable[[Call], None]
    idle: bool = True
    due: float = NEVER

    def on_due(self, _now: float) -> None:
        self.over(self.call)


@final
@attrs.define(eq=False)
class Dispatcher:
    """Handles the events of ``connection``; ``flush`` sends the outcome, ``later`` requests a call of ``resume``.

    Its owner sets ``blocked`` while nothing can be sent. ``unfinished`` are the events for ``resume``, which go before any others.
    Exceptions that methods should not raise go to ``on_fault``.
    """

    _connection: Connection
    _on_fault: Callable[[BaseException], None]
    _flush: Callable[[], None]
    _later: Callable[[], None]
    _reactor: Reactor
    nursery: trio.Nursery = attrs.field(init=False)
    blocked: bool = attrs.field(default=False, init=False)
    unfinished: list[Event] = attrs.field(factory=list, init=False)
    _deferred: dict[int, _Waiting] = attrs.field(factory=dict, init=False)
    _following: dict[int, _Following] = attrs.field(factory=dict, init=False)
    _draining: bool = attrs.field(default=False, init=False)
    _scopes: dict[int, trio.CancelScope] = attrs.field(factory=dict, init=False)
    _readers: dict[int, trio.Event] = attrs.field(factory=dict, init=False)
    _senders: dict[int, trio.Event] = attrs.field(factory=dict, init=False)
    _stalled: list[Call] = attrs.field(factory=list, init=False)
    _flush_due: bool = attrs.field(default=False, init=False)

    @property
    def waiting(self) -> int:
        """Calls whose tasks wait for a message or for room."""
        return len(self._readers) + len(self._senders)

    @property
    def waiting_calls(self) -> int:
        """Calls that run in tasks now, or whose answers come later."""
        return len(self._scopes) + len(self._deferred)

    def resume(self, most: int) -> int:
        """Handle the unfinished events, as ``decide`` does."""
        unfinished, self.unfinished = self.unfinished, []
        return self.decide(unfinished, most)

    def decide(self, events: list[Event], most: int = _WORK_AT_ONCE) -> int:
        """Handle ``events`` until the work, in calls and messages, is ``most``, and put the others off; return the work."""
        reactor, work = self._reactor, 0
        for index, event in enumerate(events):
            if work >= most or reactor.spent >= WORK_PER_CHECKPOINT:
                self._put_off(events[index:])
                break
            work += 1
            if type(event) is Call:
                if event.open:
                    self._begin(event)
            elif type(event) is Arrived:
                work += self._on_arrived(event.call, most - work)
            else:
                self._abort(event.call.stream_id)
        return work

    def wake_senders(self) -> None:
        """Something was sent: calls that wait for room check again."""
        if self.blocked or not (self._senders or self._stalled):
            return
        senders, self._senders = self._senders, {}
        for sender in senders.values():
            sender.set()
        if self._stalled:
            ready: list[Event] = []
            stalled: list[Call] = []
            for call in self._stalled:
                if call.open and not self._has_room(call):
                    stalled.append(call)
                else:
                    ready.append(Arrived(call))
            self._stalled = stalled
            if ready:
                self._put_off(ready)

    def drain(self) -> None:
        """End the streams that ``StreamContinuation`` answers left idle, a bounded number in a turn, and others as soon as they are."""
        self._draining = True
        if self._following:
            self._put_off([Arrived(following.call) for following in self._following.values()])

    def _put_off(self, events: list[Event]) -> None:
        self.unfinished += events
        self._later()

    def _begin(self, call: Call) -> None:
        route = call.route
        if type(route) is Immediate:
            try:
                answer = route.handler(call.message or b"", call.info)
                if type(answer) is bytes:
                    self._connection.respond(call, answer)
                else:
                    self._defer(call, _deferred(answer))
            except GrpcError as error:
                self._connection.refuse(call, error)
            except Exception as fault:  # noqa: BLE001 - a handler's fault is one call's, whatever it is
                self._fault(call, fault)
        elif type(route) is ImmediateStream:
            pass  # it starts when a message has arrived
        elif type(route) is UnaryMethod:
            self._start(call, functools.partial(run_unary, route, call.message or b"", call.info))
        elif type(route) is StreamMethod:
            receive, send = functools.partial(self._receive, call), functools.partial(self._send, call)
            self._start(call, functools.partial(run_stream, route, call.message or b"", call.info, receive, send))
        else:
            assert_never(route)

    # Calls whose answers come later.

    def _defer(self, call: Call, deferred: Deferred) -> None:
        waiting = self._deferred[call.stream_id] = _Waiting(call, deferred, self._on_late)
        deferred.ready = functools.partial(self._on_ready, waiting)
        if call.info.deadline != NEVER:
            self._reactor.timers.expect(waiting, call.info.deadline)

    def _on_ready(self, waiting: _Waiting, make_response: Callable[[], bytes | StreamContinuation]) -> None:
        call, connection = waiting.call, self._connection
        del self._deferred[call.stream_id]
        waiting.due = NEVER
        waiting.deferred.ready = _nobody  # no cycle is left for the garbage collector
        try:
            response = make_response()
            if type(response) is StreamContinuation:
                self._follow(call, response)
            elif type(call.route) is Immediate:
                connection.respond(call, response)
            else:
                connection.send(call, response)
        except GrpcError as error:
            self._refuse(call, error)
        except Exception as fault:  # noqa: BLE001 - a handler's fault is one call's, whatever it is
            self._fault(call, fault)
        self._go_on(call)

    def _on_late(self, waiting: _Waiting) -> None:
        call = waiting.call
        del self._deferred[call.stream_id]
        self._give_up(waiting)
        self._refuse(call, GrpcError(StatusCode.DEADLINE_EXCEEDED, "deadline exceeded"))
        self._go_on(call)

    def _go_on(self, call: Call) -> None:
        if type(call.route) is ImmediateStream:
            if call.messages:  # what came meanwhile has a turn of its own, since others may be answered in this one
                self._put_off([Arrived(call)])
            else:
                self._advance(call, call.route, _WORK_AT_ONCE)
        self._flush()

    def _abort(self, stream_id: int) -> None:
        self._following.pop(stream_id, None)
        if (waiting := self._deferred.pop(stream_id, None)) is not None:
            waiting.due = NEVER
            self._give_up(waiting)
        elif (scope := self._scopes.get(stream_id)) is not None:
            scope.cancel()

    def _give_up(self, waiting: _Waiting) -> None:
        waiting.deferred.ready = _nobody
        try:
            waiting.deferred.leave()
        except Exception as fault:  # noqa: BLE001 - as above
            self._on_fault(fault)

    # Calls that run in tasks.

    def _start(self, call: Call, work: Callable[[], Awaitable[bytes | None]]) -> None:
        scope = self._scopes[call.stream_id] = trio.CancelScope(deadline=call.info.deadline)
        self.nursery.start_soon(self._run, call, scope, work)

    async def _run(self, call: Call, scope: trio.CancelScope, work: Callable[[], Awaitable[bytes | None]]) -> None:
        connection = self._connection
        try:
            if call.open:  # it may have been reset before this task ran
                with scope:
                    message = await work()
                    if message is None:
                        connection.finish(call)
                    else:
                        connection.respond(call, message)
                self._check_deadline(call, scope)
        except GrpcError as error:
            connection.refuse(call, error)
        except Exception as fault:  # noqa: BLE001 - a method's fault is one call's, whatever it is
            self._fault(call, fault)
        finally:
            del self._scopes[call.stream_id]
            self._readers.pop(call.stream_id, None)
            self._senders.pop(call.stream_id, None)
        await self._flush_soon()

    def _check_deadline(self, call: Call, scope: trio.CancelScope) -> None:
        if scope.cancelled_caught:  # by the deadline: otherwise the call has ended, and this does nothing
            self._connection.refuse(call, GrpcError(StatusCode.DEADLINE_EXCEEDED, "deadline exceeded"))

    def _fault(self, call: Call, fault: Exception) -> None:
        self._on_fault(fault)
        route = call.route
        if not isinstance(route, Immediate | ImmediateStream) or route.instead is None:
            self._connection.refuse(call, GrpcError(StatusCode.INTERNAL, "internal error"))
        elif isinstance(route, Immediate):
            self._connection.respond(call, route.instead)
        else:
            self._connection.send(call, route.instead)

    async def _flush_soon(self) -> None:
        """Send once every task that is ready now has run: calls that end together need one send."""
        if not self._flush_due:
            self._flush_due = True
            await trio.lowlevel.cancel_shielded_checkpoint()
            self._flush_due = False
            self._flush()

    # Streams that are answered message by message, in the order in which the messages came.

    def _on_arrived(self, call: Call, most: int) -> int:
        if (reader := self._readers.pop(call.stream_id, None)) is not None:
            reader.set()
        elif type(call.route) is ImmediateStream and call.stream_id not in self._deferred:
            return self._advance(call, call.route, most)
        return 0

    def _advance(self, call: Call, route: ImmediateStream, most: int) -> int:
        """Answer ``most`` messages of what has arrived, up to the first one that must wait; return their number."""
        connection, reactor = self._connection, self._reactor
        count = 0
        while count <= most and reactor.spent < WORK_PER_CHECKPOINT:
            if not call.open:
                return count
            if not self._has_room(call):
                self._stalled.append(call)
                return count
            message = connection.take(call)
            if message is None:
                if call.ended:
                    self._finish(call)
                elif self._draining:
                    self._end_if_idle(call)
                return count
            handler = self._handler(call, route) if self._following else route.handler
            try:
                answer = handler(message, call.info)
                if type(answer) is bytes:
                    connection.send(call, answer)
                elif type(answer) is StreamContinuation:
                    self._follow(call, answer)
                elif answer is not None:
                    self._defer(call, _deferred(answer))
                    return count + 1
            except GrpcError as error:
                self._refuse(call, error)
            except Exception as fault:  # noqa: BLE001 - a handler's fault is one call's, whatever it is
                self._fault(call, fault)
            count += 1
        self._put_off([Arrived(call)])
        return count

    def _handler(self, call: Call, route: ImmediateStream) -> StreamHandler:
        """Return what the next message of ``call`` goes to."""
        following = self._following.get(call.stream_id)
        if following is None:
            return route.handler
        following.idle = False
        return following.handler

    def _follow(self, call: Call, answer: StreamContinuation) -> None:
        """Send ``answer``; ``_advance``, which comes next, ends the call if the server is draining."""
        self._connection.send(call, answer.response)
        following = self._following.get(call.stream_id)
        if following is not None:
            following.handler, following.idle = answer.handler, True
        elif call.open:
            following = self._following[call.stream_id] = _Following(call, answer.handler, self._end_if_idle)
            self._reactor.timers.expect(following, call.info.deadline - MARGIN_S)

    def _end_if_idle(self, call: Call) -> None:
        """End a stream with OK if a ``StreamContinuation`` answer left it idle, and none of its messages has begun to arrive."""
        following = self._following.get(call.stream_id)
        if following is not None and following.idle and not (call.messages or call.partial):
            self._finish(call)
            self._flush()

    def _finish(self, call: Call) -> None:
        self._following.pop(call.stream_id, None)
        self._connection.finish(call)

    def _refuse(self, call: Call, error: GrpcError) -> None:
        self._following.pop(call.stream_id, None)
        self._connection.refuse(call, error)

    # The messages of a call that runs in a task; see ``run_stream``. The call's scope bounds the waits.

    async def _receive(self, call: Call) -> bytes | None:
        await trio.lowlevel.checkpoint()
        while (message := self._connection.take(call)) is None:
            if call.ended or not call.open:
                return None
            await self._readers.setdefault(call.stream_id, trio.Event()).wait()
        self._flush()  # taking a message may have opened the peer's window
        return message

    async def _send(self, call: Call, message: bytes) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()  # the only way to stop a method that waits for nothing else
        self._connection.send(call, message)
        await self._flush_soon()
        while call.open and not self._has_room(call):
            await self._senders.setdefault(call.stream_id, trio.Event()).wait()

    def _has_room(self, call: Call) -> bool:
        return not self.blocked and self._connection.has_room(call)


def _nobody(_make_response: Callable[[], bytes | StreamContinuation]) -> None:
    """Sentinel: no request is waiting for this answer."""


def _deferred(answer: object) -> Deferred:
    if not isinstance(answer, Deferred):
        raise TypeError("a handler returned neither bytes nor Deferred")
    return answer
