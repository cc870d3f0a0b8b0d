"""One connection in Trio: joins its transport, its protocol machine and the tasks of its calls.

What arrives is decided in the reactor's turn, with one send for everything that a batch brought. A task exists only for a call that has
to wait, and its cancel scope sits in a table under the call's stream, so that a reset, a lost connection, the deadline and the drain all
end it.

Must not know: HTTP/2 frames, listeners, or what a method does.
"""

import functools
import math
from collections.abc import Awaitable, Callable
from typing import Final, assert_never, final

import attrs
import trio

from exchanger.grpc.call import Arrived, Call, Event
from exchanger.grpc.connection import Connection
from exchanger.grpc.methods import run_stream, run_unary
from exchanger.grpc.reactor import READ, WRITE, Reactor
from exchanger.grpc.routes import Immediate, Pending, StreamMethod, UnaryMethod
from exchanger.grpc.statistics import SessionStatistics
from exchanger.grpc.status import GrpcError, StatusCode
from exchanger.grpc.transport import StreamEndedError, Transport

_PREFACE_TIMEOUT: Final = 10.0
"""Seconds until the peer's connection preface must be there, with a TLS handshake before it or without; a peer sends both without waiting
for anything but the handshake's answers."""

_STALL_TIMEOUT: Final = 20.0
"""Seconds in which a peer must have read something of what is there for it: far beyond any deadline of a check (Envoy's is 0.2 s)."""

_LINGER_TIMEOUT: Final = 1.0
"""Seconds for a peer to read the last bytes and to close; closing with unread input would destroy what is still on its way to it."""

_EVENTS_PER_TURN: Final = 64
"""Calls decided for one connection before the others have their turn: about 1 ms."""


@final
@attrs.define(eq=False)
class Session:
    """Serves one connection from its accepted transport to the end. ``on_fault`` learns of exceptions that methods should not raise."""

    _transport: Transport
    _connection: Connection
    _reactor: Reactor
    _on_fault: Callable[[BaseException], None]
    _nursery: trio.Nursery = attrs.field(init=False)
    _watchdog: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    _preface_deadline: float = attrs.field(default=math.inf, init=False)
    _ended: trio.Event = attrs.field(factory=trio.Event, init=False)
    _scopes: dict[int, trio.CancelScope] = attrs.field(factory=dict, init=False)
    _readers: dict[int, trio.Event] = attrs.field(factory=dict, init=False)
    _senders: dict[int, trio.Event] = attrs.field(factory=dict, init=False)
    _todo: list[Event] = attrs.field(factory=list, init=False)
    _over: bool = attrs.field(default=False, init=False)
    _established: bool = attrs.field(default=False, init=False)
    _blocked: bool = attrs.field(default=False, init=False)
    _lingering: bool = attrs.field(default=False, init=False)
    _flush_due: bool = attrs.field(default=False, init=False)

    async def run(self) -> None:
        """Serve until the connection has ended, and every task of it."""
        if self._over:  # a drain was faster than this task, and found the connection broken
            return
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                self._watchdog.deadline = self._preface_deadline = trio.current_time() + _PREFACE_TIMEOUT
                self._reactor.watch(self, READ)
                self._flush()
                with self._watchdog:
                    await self._ended.wait()
                nursery.cancel_scope.cancel()
        finally:
            self._lose()

    def begin_drain(self) -> None:
        """Let running calls finish, and then close; the peer is told."""
        self._connection.begin_drain()
        self._flush()

    @property
    def timed_out(self) -> bool:
        """Whether the peer's time was up, so that ``run`` ended the connection."""
        return self._watchdog.cancelled_caught

    def terminate(self) -> None:
        """Refuse what still runs, and close."""
        self._connection.terminate()
        self._decide(self._connection.events())
        self._flush()
        self._watchdog.deadline = trio.current_time() + _LINGER_TIMEOUT

    def statistics(self) -> SessionStatistics:
        """Return what is going on now."""
        return SessionStatistics(self._connection.statistics(), len(self._scopes), self._blocked)

    # The reactor's side.

    def fileno(self) -> int:
        """Return the transport's descriptor."""
        return self._transport.fileno()

    def ready(self, mask: int, now: float) -> int:
        """Serve the transport; see ``Participant``."""
        if self._over:
            return 1
        try:
            if mask & WRITE:
                self._on_writable()
            elif not self._todo:  # what came before goes first
                return self._on_readable(now)
        except OSError:
            self._lose()
        except Exception as fault:  # noqa: BLE001 - a fault of ours costs this connection, not all the others
            self._break_down(fault)
        return 1

    def resume(self, now: float) -> int:
        """Decide more of the calls that came in one batch; see ``Participant``."""
        del now
        try:
            todo, self._todo = self._todo, []
            work = self._decide(todo)
            self._flush()
        except Exception as fault:  # noqa: BLE001 - as above
            self._break_down(fault)
            return 1
        return 1 + work

    def _on_readable(self, now: float) -> int:
        try:
            data = self._transport.receive()
        except BlockingIOError:
            if self._transport.unsent:
                self._flush()
            return 1 + self._transport.surcharge
        except StreamEndedError:
            self._connection.lose()
            self._flush()
            return 1 + self._transport.surcharge
        connection = self._connection
        if not data:
            self._lose()
        elif not self._lingering:
            connection.receive(data, now)
            if not self._established and connection.established:
                self._established = True
                self._watchdog.deadline = self._preface_deadline = math.inf
            work = self._decide(connection.events())
            self._flush()
            return 1 + work + len(data) // 512 + self._transport.surcharge
        return 1

    def _on_writable(self) -> None:
        self._await_reader()
        if self._transport.flush():
            self._blocked = False
            self._reactor.change(self, READ)
            self._watchdog.deadline = self._preface_deadline
            self._flush()

    def _flush(self) -> None:
        """Send what there is to send, unless earlier bytes are still waiting: order is kept, and nothing is read meanwhile."""
        if self._blocked or self._over:
            return
        connection = self._connection
        data = connection.data_to_send()
        try:
            if (data or self._transport.unsent) and not self._transport.send(data):
                self._blocked = True
                self._reactor.change(self, WRITE)
                self._await_reader()
            if events := connection.events():  # not new calls, but the end of old ones
                self._decide(events)
            if connection.closed and not self._blocked and not self._lingering:
                self._lingering = True
                self._watchdog.deadline = trio.current_time() + _LINGER_TIMEOUT
                self._transport.finish()
        except OSError:
            self._lose()
        if self._senders:
            self._wake_senders()

    def _await_reader(self) -> None:
        self._watchdog.deadline = min(trio.current_time() + _STALL_TIMEOUT, self._preface_deadline)

    def _lose(self) -> None:
        """The end: nothing more is read or sent, and every task is cancelled."""
        if self._over:
            return
        self._over = True
        self._ended.set()
        self._connection.lose()
        self._decide(self._connection.events())
        self._reactor.forget(self)
        self._transport.close()

    def _break_down(self, fault: Exception) -> None:
        self._on_fault(fault)
        self._lose()

    # The calls.

    def _decide(self, events: list[Event]) -> int:
        if len(events) > _EVENTS_PER_TURN:
            self._todo += events[_EVENTS_PER_TURN:]
            events = events[:_EVENTS_PER_TURN]
            self._reactor.later(self)
        for event in events:
            if type(event) is Call:
                if event.open:
                    self._begin(event)
            elif type(event) is Arrived:
                if (reader := self._readers.pop(event.call.stream_id, None)) is not None:
                    reader.set()
            elif (scope := self._scopes.get(event.call.stream_id)) is not None:
                scope.cancel()
        return len(events)

    def _begin(self, call: Call) -> None:
        route = call.route
        if type(route) is Immediate:
            try:
                answer = route.handler(call.message or b"", call.info)
                if type(answer) is bytes:
                    self._connection.respond(call, answer)
                else:
                    self._wait_for(call, answer)
            except GrpcError as error:
                self._connection.refuse(call, error)
            except Exception as fault:  # noqa: BLE001 - a handler's fault is one call's, whatever it is
                self._fault(call, fault)
        elif type(route) is UnaryMethod:
            self._start(call, functools.partial(run_unary, route, call))
        elif type(route) is StreamMethod:
            self._start(call, functools.partial(run_stream, route, call, self))
        else:
            assert_never(route)

    def _wait_for(self, call: Call, answer: object) -> None:
        if not isinstance(answer, Pending):
            raise TypeError("a handler returned neither bytes nor Pending")
        self._start(call, answer.run)

    def _start(self, call: Call, work: Callable[[], Awaitable[bytes | None]]) -> None:
        scope = self._scopes[call.stream_id] = trio.CancelScope(deadline=call.info.deadline)
        self._nursery.start_soon(self._run_call, call, scope, work)

    async def _run_call(self, call: Call, scope: trio.CancelScope, work: Callable[[], Awaitable[bytes | None]]) -> None:
        connection = self._connection
        try:
            if call.open:  # it may have been reset before this task came to run
                with scope:
                    message = await work()
                    if message is None:
                        connection.finish(call)
                    else:
                        connection.respond(call, message)
                if scope.cancelled_caught:  # by the deadline: in any other case the call is over, and this does nothing
                    connection.refuse(call, GrpcError(StatusCode.DEADLINE_EXCEEDED, "deadline exceeded"))
        except GrpcError as error:
            connection.refuse(call, error)
        except Exception as fault:  # noqa: BLE001 - a method's fault is one call's, whatever it is
            self._fault(call, fault)
        finally:
            del self._scopes[call.stream_id]
        await self._flush_soon()

    def _fault(self, call: Call, fault: Exception) -> None:
        self._on_fault(fault)
        self._connection.refuse(call, GrpcError(StatusCode.INTERNAL, "internal error"))

    async def _flush_soon(self) -> None:
        """Send after every task that is ready now has run: calls that shared an exchange end together, and need one send."""
        if not self._flush_due:
            self._flush_due = True
            await trio.lowlevel.cancel_shielded_checkpoint()
            self._flush_due = False
            self._flush()

    # The line of a streaming call; see ``Line``.

    async def receive_message(self, call: Call) -> bytes | None:
        """Return the next request message, or ``None`` after the last one. The call's scope bounds the wait."""
        await trio.lowlevel.checkpoint()
        while (message := self._connection.take(call)) is None:
            if call.ended or not call.open:
                return None
            await self._readers.setdefault(call.stream_id, trio.Event()).wait()
        self._flush()  # taking a message may have opened the peer's window
        return message

    async def send_message(self, call: Call, message: bytes) -> None:
        """Send a response message, and wait while too much is unsent. The call's scope bounds the wait."""
        await trio.lowlevel.checkpoint_if_cancelled()  # the only way out of a method that waits for nothing else
        self._connection.send(call, message)
        await self._flush_soon()
        while call.open and not self._has_room(call):
            await self._senders.setdefault(call.stream_id, trio.Event()).wait()

    def _has_room(self, call: Call) -> bool:
        return not self._blocked and self._connection.has_room(call)

    def _wake_senders(self) -> None:
        if not self._blocked:
            senders, self._senders = self._senders, {}
            for sender in senders.values():
                sender.set()
