"""One connection in Trio: connects its transport, its protocol machine and the dispatcher of its calls.

Requests are decided in the reactor's turn, with one send at its end for everything that it brought.
"""

import functools
import math
from collections.abc import Callable
from typing import ClassVar, Final, final

import attrs
import trio

from exchanger.net.grpc.connection import Connection
from exchanger.net.grpc.dispatcher import Dispatcher
from exchanger.net.grpc.read_buffer import ReadBuffer
from exchanger.net.reactor import READ, WRITE, Reactor
from exchanger.net.tcp import RECEIVE_BYTES, StreamEndedError, Transport
from exchanger.net.timers import NEVER

# Frames that are parsed for each call that may be decided: an empty one costs 2 µs, the most expensive ones 10 to 20 µs. Clients send the
# headers of all their calls before the data, so there must be room for both: there is, for calls with header blocks of 60 bytes.
_FRAMES_PER_CALL: Final = 5

# Frames that are parsed at once. The cost of their messages and refusals is only known afterwards.
_WORK_PER_PIECE: Final = 128

# A read that causes more work than this is followed by a smaller one, so that little is kept in memory for the next turn. A peer starts
# with small reads, which grow while they are full and cheap.
_WORK_PER_READ: Final = 128

# Bytes of the smallest read: 113 of the smallest frames, which is less than the work of one read.
_SMALLEST_READ: Final = 1024

# Seconds until the peer's connection preface must have arrived, with or without a TLS handshake before it. A peer sends both without
# waiting for anything but the handshake's answers.
_PREFACE_TIMEOUT: Final = 10.0

# Seconds within which a peer must read some of the bytes that wait for it: far longer than any deadline of a check (Envoy's is 0.2 s).
_STALL_TIMEOUT: Final = 20.0

# Seconds for a peer to read the last bytes and to close: closing with unread input would destroy bytes that are on their way to it.
_LINGER_TIMEOUT: Final = 1.0


@final
@attrs.define(eq=False)
class Session:
    """Serves one connection from its accepted transport to the end. ``on_fault`` learns of exceptions that methods should not raise."""

    first: ClassVar[bool] = False
    _transport: Transport
    connection: Connection
    _reactor: Reactor
    _on_fault: Callable[[BaseException], None]
    calls: Dispatcher = attrs.field(init=False)
    _watchdog: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    _preface_deadline: float = attrs.field(default=math.inf, init=False)
    due: float = attrs.field(default=NEVER, init=False)
    _ended: trio.Event = attrs.field(factory=trio.Event, init=False)
    _over: bool = attrs.field(default=False, init=False)
    _established: bool = attrs.field(default=False, init=False)
    _lingering: bool = attrs.field(default=False, init=False)
    _blocked_at: float = attrs.field(default=math.inf, init=False)
    unparsed: ReadBuffer = attrs.field(factory=ReadBuffer, init=False)
    read_bytes: int = attrs.field(default=_SMALLEST_READ, init=False)
    _to_decide: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        reactor = self._reactor
        flush, later = functools.partial(reactor.schedule_flush, self), functools.partial(reactor.later, self)
        self.calls = Dispatcher(self.connection, self._on_fault, flush, later, reactor)

    async def run(self) -> None:
        """Serve until the connection and all its tasks have ended."""
        if self._over:  # a drain came first and found the connection broken
            return
        try:
            async with trio.open_nursery() as nursery:
                self.calls.nursery = nursery
                self._watchdog.deadline = self._preface_deadline = trio.current_time() + _PREFACE_TIMEOUT
                self._reactor.watch(self, READ)
                self._reactor.schedule_flush(self)
                with self._watchdog:
                    await self._ended.wait()
                nursery.cancel_scope.cancel()
        finally:
            self._lose()

    def begin_drain(self) -> None:
        """Announce the end to the peer, let running calls finish, then close."""
        self.connection.begin_drain()
        self.calls.drain()
        self._reactor.schedule_flush(self)

    def finish_drain(self) -> None:
        """Accept no more streams: the peer had time for a round trip."""
        self.connection.finish_drain()
        self._reactor.schedule_flush(self)

    @property
    def timed_out(self) -> bool:
        """Whether ``run`` ended the connection because the peer's time was up."""
        return self._watchdog.cancelled_caught

    def terminate(self) -> None:
        """Refuse calls that still run, and close."""
        self.connection.terminate()
        self._decide_new()
        self._reactor.schedule_flush(self)
        self._watchdog.deadline = trio.current_time() + _LINGER_TIMEOUT

    @property
    def tasks(self) -> int:
        """Calls that wait now, in a task or for an answer that comes later."""
        return self.calls.waiting_calls

    @property
    def blocked(self) -> bool:
        """Whether nothing is read until the peer reads."""
        return self.calls.blocked

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
            else:
                return self._on_readable(now)
        except OSError:
            self._lose()
        except Exception as fault:  # noqa: BLE001 - a fault of ours affects only this connection
            self._break_down(fault)
        return 1

    def resume(self, now: float) -> int:
        """Continue with the data of one read; see ``Participant``."""
        try:
            return self._serve(now)
        except Exception as fault:  # noqa: BLE001 - as above
            self._break_down(fault)
        return 1

    def _on_readable(self, now: float) -> int:
        try:
            data = self._transport.receive(self.read_bytes)
        except BlockingIOError:
            if self._transport.unsent:
                self._reactor.schedule_flush(self)
            return 1 + self._transport.extra_work
        except StreamEndedError:
            self.connection.lose()
            self._reactor.schedule_flush(self)
            return 1 + self._transport.extra_work
        if not data:
            self._lose()
        elif not self._lingering:
            self.unparsed.feed(data)
            work = len(data) // 512 + self._transport.extra_work
            call = self.unparsed.take_call()
            if call is None:
                self._reactor.later(self)
                return 1 + work
            connection = self.connection
            connection.receive(call, now)
            return work + self._received(len(call), self.unparsed.cost + connection.extra_work, 0)
        return 1

    def _serve(self, now: float) -> int:
        """Decide the calls that are left, then parse more, to be decided in this turn; return the work of both, a share of the turn's."""
        connection, calls, unparsed, share = self.connection, self.calls, self.unparsed, self._reactor.share
        parsed = size = decided = 0
        if calls.unfinished:
            decided = calls.resume(share)
        if not (calls.unfinished or calls.blocked):
            most = share * _FRAMES_PER_CALL
            while unparsed.pending and parsed < most and not connection.closed:
                piece = unparsed.take(min(most - parsed, _WORK_PER_PIECE))
                connection.receive(piece, now)
                size += len(piece)
                parsed += unparsed.cost + connection.extra_work
        return self._received(size, parsed, decided)

    def _received(self, size: int, parsed: int, decided: int) -> int:
        """Go on after ``size`` bytes, of the cost ``parsed``, in a turn that has ``decided`` so many calls; return all work."""
        connection, calls, unparsed = self.connection, self.calls, self.unparsed
        if connection.closed:
            unparsed.clear()
        if not self._established and connection.established:
            self._established = True
            self._watchdog.deadline = self._preface_deadline = math.inf
        if connection.next_due < self.due:  # later ones are looked at when the earliest is due
            self._reactor.timers.expect(self, connection.next_due)
        self._pace(size, parsed)
        if unparsed.pending and not calls.blocked:
            self._reactor.later(self)
        if events := connection.events():
            calls.unfinished += events
            self._to_decide = self._reactor.share - decided
            decided += len(events)
            self._reactor.afterwards(self._decide)
        self._reactor.schedule_flush(self)
        parsed //= 2
        return 1 + (decided if decided > parsed else parsed)

    def _decide(self) -> None:
        try:
            self.calls.resume(self._to_decide)
        except Exception as fault:  # noqa: BLE001 - as above
            self._break_down(fault)

    def _pace(self, size: int, work: int) -> None:
        """Choose the size of the next read by the ``work`` that ``size`` bytes caused in this turn."""
        if work > _WORK_PER_READ:
            self.read_bytes = max(_SMALLEST_READ, size * _WORK_PER_READ // work)
        elif self.read_bytes < RECEIVE_BYTES and 2 * size >= self.read_bytes:
            self.read_bytes = min(RECEIVE_BYTES, 2 * self.read_bytes)

    def _on_writable(self) -> None:
        self._await_reader()
        if self._transport.flush():
            self.calls.blocked = False
            self._reactor.change(self, READ)
            self._watchdog.deadline = self._preface_deadline
            self.connection.postpone(trio.current_time() - self._blocked_at)
            self._reactor.timers.expect(self, self.connection.next_due)
            if self.unparsed.pending:
                self._reactor.later(self)
            self._reactor.schedule_flush(self)

    def on_due(self, now: float) -> None:
        """End calls whose requests did not arrive in time; see ``Timed``."""
        if self._over or self.calls.blocked:  # nothing is read, so requests cannot arrive
            return
        self.connection.expire(now)
        self._decide_new()
        self._reactor.timers.expect(self, self.connection.next_due)
        self._reactor.schedule_flush(self)

    def flush(self) -> None:
        """Send what there is to send; see ``Participant``. Nothing more, while earlier bytes still wait: that keeps the order."""
        calls, connection, transport = self.calls, self.connection, self._transport
        if calls.blocked or self._over:
            return
        try:
            data = connection.data_to_send()
            try:
                if (data or transport.unsent) and not transport.send(data):
                    calls.blocked = True
                    self._blocked_at = trio.current_time()
                    self._reactor.change(self, WRITE)
                    self._await_reader()
                if events := connection.events():  # never new calls, only the end of old ones
                    calls.decide(events)
                if connection.closed and not calls.blocked and not self._lingering:
                    self._lingering = True
                    self._watchdog.deadline = trio.current_time() + _LINGER_TIMEOUT
                    transport.finish()
            except OSError:
                self._lose()
            calls.wake_senders()
        except Exception as fault:  # noqa: BLE001 - as above
            self._break_down(fault)

    def _await_reader(self) -> None:
        self._watchdog.deadline = min(trio.current_time() + _STALL_TIMEOUT, self._preface_deadline)

    def _lose(self) -> None:
        """The end: nothing more is read or sent, and every task is cancelled."""
        if self._over:
            return
        self._over = True
        self.due = NEVER
        self.unparsed.clear()
        self._ended.set()
        self.connection.lose()
        self._decide_new()
        self._reactor.forget(self)
        self._transport.close()

    def _decide_new(self) -> None:
        self.calls.decide(self.connection.events())

    def _break_down(self, fault: Exception) -> None:
        self._on_fault(fault)
        self._lose()
