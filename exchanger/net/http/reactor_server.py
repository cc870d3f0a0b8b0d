"""An HTTP/1.1 server whose connections the reactor serves: for requests that are answered in its turns, at once or ``Deferred``.

It has the bounds of ``HttpServer``, and reads by the same ``ServerConnection``. A connection is no task. All requests of one read are
answered by one send at the end of the turn. Bodies are read and dropped.
"""

import contextlib
import enum
import socket
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar, Final, final

import attrs
import trio

from exchanger.net.deferred import Deferred
from exchanger.net.http.connection import BadMessageError, ServerConnection
from exchanger.net.http.connection_slots import ConnectionSlots, Occupant
from exchanger.net.http.limits import HttpLimits
from exchanger.net.http.message import Request, Response
from exchanger.net.http.server import LINGER_BYTES, LINGER_S, SETTLE_S
from exchanger.net.listening import accepted
from exchanger.net.reactor import READ, WORK_PER_CHECKPOINT, WRITE, Reactor
from exchanger.net.tcp import RECEIVE_BYTES, SocketTransport, StreamEndedError, Transport
from exchanger.net.timers import NEVER
from exchanger.net.tls.listener import TlsListener
from exchanger.net.tls.server import ServerTlsTransport, TlsPhase

# Seconds for a handshake, as for those that Trio's streams make.
HANDSHAKE_S: Final = 10.0
# Work in the reactor's units, of some 10 µs: of a request with its decision, and of a field that h11 reads. A piece of a body is one.
_REQUEST: Final = 4
_OTHER_FIELD: Final = 1
# Bytes of a response that count as one unit, so that a peer that reads nothing keeps little more than 64 KiB of a turn.
_SENT_PER_UNIT: Final = 1024
# Bytes of one read: far more than a usual request.
_READ_BYTES: Final = 16 * 1024
# Lines of a usual request that is answered at once: it has some twenty, and each costs 0.5 µs.
_LINES_AT_ONCE: Final = 64


@final
@attrs.frozen
class ImmediateHandler:
    """Answers a request in the reactor's turn, so it must not block. A fault is answered with ``instead``."""

    handle: Callable[[Request], Response | Deferred]
    instead: Response = attrs.field(repr=False)


# Decides about a request by its head alone; a handler is called once the body has arrived.
ImmediateRoute = Callable[[Request], Response | ImmediateHandler]


@final
@attrs.define(eq=False)
class ReactorHttpServer:
    """Serves connections in the turns of ``reactor``, which must run for longer. With ``tls``, each begins with a handshake.

    ``failures`` are the server's own responses by status: 400 (not HTTP/1), 413 (body too large), 431 (head too large), 501 (CONNECT) and
    504 (``handler_s`` exceeded); those not given have no body. ``on_fault`` receives exceptions of routes and handlers, and must neither
    block nor raise.
    """

    route: ImmediateRoute
    _limits: HttpLimits
    _reactor: Reactor
    on_fault: Callable[[BaseException], None]
    _failures: Mapping[int, Response] = MappingProxyType({})
    _tls: TlsListener | None = None
    slots: ConnectionSlots = attrs.field(init=False)
    draining: bool = attrs.field(default=False, init=False)
    sessions: dict["_Session", None] = attrs.field(factory=dict, init=False, repr=False)
    _accepting: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False, repr=False)
    _all_ended: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.slots = ConnectionSlots(self._limits.connections)

    async def run(self, listeners: list[trio.SocketListener], *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve on ``listeners`` until cancelled or drained; ``started(port)`` reports the port that is bound.

        Raises:
            OSError: a listener is broken.
        """
        try:
            with self._accepting:
                async with trio.open_nursery() as nursery:
                    for listener in listeners:
                        nursery.start_soon(self._accept, listener)
                    task_status.started(listeners[0].socket.getsockname()[1])
            _close(listeners)
            await self._until_all_ended()
        finally:
            _close(listeners)
            for session in tuple(self.sessions):
                session.close()

    async def drain(self, seconds: float) -> None:
        """Accept no more connections, and answer requests on open ones, for at most ``seconds``; ``run`` then returns.

        Each response says that its connection ends. Connections that are still silent after ``SETTLE_S`` are closed.
        """
        self.draining = True
        self._accepting.cancel()
        with trio.move_on_after(seconds):
            with trio.move_on_after(SETTLE_S):
                await self._until_all_ended()
                return
            self.slots.end_silent()
            await self._until_all_ended()

    def serve(self, transport: Transport) -> None:
        """Serve one more connection, for which ``slots`` has room."""
        session = _Session(self, transport, self._reactor, self._limits)
        self.sessions[session] = None
        self.slots.taken += 1
        session.begin()

    async def _accept(self, listener: trio.SocketListener) -> None:
        secure: Callable[[socket.socket], Transport] = SocketTransport if self._tls is None else self._tls.secure
        transports = accepted(listener, self._reactor.network.detach, self.slots.has_room, secure, self._exhausted)
        async with contextlib.aclosing(transports) as connections:
            async for transport in connections:
                self.serve(transport)

    async def _until_all_ended(self) -> None:
        while self.sessions:
            await self._all_ended.park()

    def _exhausted(self) -> None:
        self.slots.refused += 1

    # For sessions.

    def failure(self, status: int) -> Response:
        """Return the server's own response with ``status``."""
        return self._failures.get(status) or Response(status)

    def ended(self, session: "_Session", transport: Transport, *, timed_out: bool) -> None:
        """``session`` is over."""
        del self.sessions[session]
        self.slots.taken -= 1
        if self._tls is not None:
            self._tls.note(transport, timed_out=timed_out)
        if not self.sessions:
            self._all_ended.unpark_all()


@enum.unique
class _Phase(enum.IntEnum):
    """What a connection waits for."""

    HANDSHAKE = 0
    IDLE = 1  # the next request
    HEAD = 2  # the rest of its head
    BODY = 3
    ANSWER = 4  # of a handler
    READER = 5  # the peer, to read the response
    END = 6  # of what the peer still sends


_HANDSHAKE, _IDLE, _HEAD, _BODY, _ANSWER, _READER, _END = _Phase
_NOT_BEGUN: Final = frozenset({_HANDSHAKE, _IDLE})
_BETWEEN: Final = frozenset({_IDLE, _HEAD})


# Stands for no request and its handler.
_NOBODY: Final = (ImmediateHandler(lambda _request: Response(500), Response(500)), Request("GET", "/"))


@final
@attrs.define(eq=False)
class _Session:
    """One connection. A participant of the reactor, a row of its timers, and the occupant of a slot."""

    first: ClassVar[bool] = False
    _server: ReactorHttpServer
    _transport: Transport
    _reactor: Reactor
    _limits: HttpLimits
    due: float = attrs.field(default=NEVER, init=False)
    _connection: ServerConnection = attrs.field(init=False)
    _phase: _Phase = attrs.field(default=_IDLE, init=False)
    _deadline: float = attrs.field(default=NEVER, init=False)
    _among: dict[Occupant, None] = attrs.field(factory=dict, init=False, repr=False)
    _mask: int = attrs.field(default=0, init=False)
    _unsent: list[bytes] = attrs.field(factory=list, init=False, repr=False)
    _asked: tuple[ImmediateHandler, Request] = attrs.field(default=_NOBODY, init=False)  # whose body or answer is awaited
    _waiting: Deferred | None = attrs.field(default=None, init=False)
    _dropped: int = attrs.field(default=0, init=False)  # bytes of a body, or after the last response
    _work: int = attrs.field(default=0, init=False)  # of this turn
    _early: int = attrs.field(default=0, init=False)  # bytes that arrived while an answer is awaited
    _blocked: bool = attrs.field(default=False, init=False)
    _ends: bool = attrs.field(default=False, init=False)
    _timed_out: bool = attrs.field(default=False, init=False)
    _over: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._connection = ServerConnection(self._limits)

    def begin(self) -> None:
        """Wait for the handshake or the first request."""
        self._enter(_HANDSHAKE if isinstance(self._transport, ServerTlsTransport) else _IDLE, self._reactor.now())
        self._watch(READ)

    def close(self) -> None:
        """End at once. The answer that is awaited is given up."""
        if self._over:
            return
        self._over, self.due = True, NEVER
        self._among.pop(self, None)
        self._watch(0)
        self._transport.close()
        self._server.ended(self, self._transport, timed_out=self._timed_out)
        self._leave()

    def displace(self) -> None:
        """End at once; see ``Occupant``."""
        self.close()

    # The reactor's side.

    def fileno(self) -> int:
        """Return the transport's descriptor."""
        return self._transport.fileno()

    def ready(self, mask: int, now: float) -> int:
        """Serve the transport; see ``Participant``."""
        if self._over:
            return 1
        try:
            return self._on_writable(now) if mask & WRITE else self._on_readable(now)
        except OSError:
            self.close()
        except Exception as fault:  # noqa: BLE001 - a fault of ours affects only this connection
            self._break_down(fault)
        return 1

    def resume(self, now: float) -> int:
        """Continue with what had arrived; see ``Participant``."""
        if self._over:
            return 1
        try:
            return self._serve(now)
        except Exception as fault:  # noqa: BLE001 - as above
            self._break_down(fault)
        return 1

    def flush(self) -> None:
        """Send what there is to send; see ``Participant``."""
        if self._over or self._blocked:
            return
        try:
            data = b"".join(self._unsent)
            self._unsent.clear()
            if (data or self._transport.unsent) and not self._transport.send(data):
                self._blocked = True
                self._watch(WRITE)
                if self._phase in _BETWEEN:
                    self._enter(_READER, self._reactor.now())
            elif self._ends and self._phase is not _END:
                self._finish()
        except OSError:
            self.close()

    def on_due(self, now: float) -> None:
        """Give up what has taken too long; see ``Timed``."""
        if now < self._deadline:
            self._reactor.timers.expect(self, self._deadline)
        elif self._phase is _ANSWER:
            self._leave()
            self._answer(self._server.failure(504), now)
        else:
            self._timed_out = True
            self.close()

    def _on_readable(self, now: float) -> int:
        transport, connection = self._transport, self._connection
        if self._early >= RECEIVE_BYTES:
            self._watch(0)  # until the answer is there
            return 1
        try:
            data = transport.receive(_READ_BYTES)
        except BlockingIOError:
            if self._phase is _HANDSHAKE and isinstance(transport, ServerTlsTransport) and transport.phase is TlsPhase.SECURED:
                self._enter(_IDLE, now)
            if transport.unsent:
                self._reactor.schedule_flush(self)
            return 1 + transport.extra_work
        except StreamEndedError:
            self._leave()
            self._ends = True
            self._reactor.schedule_flush(self)
            return 1 + transport.extra_work
        work = transport.extra_work + len(data) // 512
        if self._phase is _END:
            self._dropped += len(data)
            if not data or self._dropped > LINGER_BYTES:
                self.close()
            return 1 + work
        connection.receive(data)
        if self._phase is _ANSWER:
            self._early += len(data)
            if not data:
                self._watch(0)  # it would be announced again and again
            return 1 + work
        self._work = 1 + work
        if connection.is_brief(_LINES_AT_ONCE) and (request := connection.usual_request()) is not None:
            self._begin(request, now, has_body=False)
        else:
            self._reactor.later(self)
        return self._work

    def _on_writable(self, now: float) -> int:
        if not self._transport.flush():
            return 1
        self._blocked = False
        if self._phase is _READER:
            self._enter(_IDLE, now)
        if self._unsent or self._ends:
            self._reactor.schedule_flush(self)
        self._watch(READ)
        self._reactor.later(self)
        return 1

    # Requests.

    def _serve(self, now: float) -> int:
        """Answer what has arrived, within bounds; return the work."""
        self._work = 1
        try:
            while not (self._ends or self._blocked or self._phase is _ANSWER):
                if self._work > self._reactor.share or self._reactor.spent >= WORK_PER_CHECKPOINT:
                    self._reactor.later(self)
                    break
                if not (self._read_body(now) if self._phase is _BODY else self._read_request(now)):
                    break
        except BadMessageError as error:
            self._respond(self._server.failure(error.status), now, head_only=False, close=True)
        return self._work

    def _read_request(self, now: float) -> bool:
        """Answer the next request, or begin to; return whether it has arrived.

        Raises:
            BadMessageError: it is none that is answered here.
        """
        connection = self._connection
        request, has_body = connection.usual_request(), False
        if request is None:
            request = connection.other_request()
            if request is None:
                if connection.ended:
                    self._ends = True
                    self._reactor.schedule_flush(self)
                elif self._phase in _NOT_BEGUN and not connection.silent:
                    self._enter(_HEAD, now)
                return False
            has_body = request.has_body
            self._work += _OTHER_FIELD * len(request.headers)
        self._begin(request, now, has_body=has_body)
        return True

    def _begin(self, request: Request, now: float, *, has_body: bool) -> None:
        """Answer ``request``, or wait for its body or the answer."""
        server = self._server
        self._work += _REQUEST
        found = server.route(request)
        if isinstance(found, Response):
            self._respond(found, now, head_only=request.method == "HEAD")
        elif not has_body:
            self._handle(found, request, now)
        elif request.has_faulty_framing:
            self._respond(server.failure(400), now, head_only=request.method == "HEAD")
        elif int(request.value("content-length") or 0) > self._limits.body_bytes:
            self._respond(server.failure(413), now, head_only=request.method == "HEAD")
        else:
            self._asked, self._dropped = (found, request), 0
            self._enter(_BODY, now)

    def _read_body(self, now: float) -> bool:
        """Drop the next piece of the body, or answer its request after the last one; return whether that has arrived.

        Raises:
            BadMessageError: what arrived is not HTTP, or the peer has left.
        """
        handler, request = self._asked
        self._work += 1
        piece = self._connection.body_piece()
        if piece is None:
            if leave := self._connection.go_ahead():
                self._unsent.append(leave)
                self._reactor.schedule_flush(self)
            return False
        self._dropped += len(piece)
        if self._dropped > self._limits.body_bytes:
            self._respond(self._server.failure(413), now, head_only=request.method == "HEAD")
        elif not piece:
            self._handle(handler, request, now)
        return True

    def _handle(self, handler: ImmediateHandler, request: Request, now: float) -> None:
        try:
            answer = handler.handle(request)
        except Exception as fault:  # noqa: BLE001 - a handler's fault affects only its request
            self._server.on_fault(fault)
            answer = handler.instead
        if isinstance(answer, Response):
            self._respond(answer, now, head_only=request.method == "HEAD")
            return
        self._asked, self._waiting = (handler, request), answer
        answer.ready = partial(self._on_ready, answer)
        self._enter(_ANSWER, now)

    def _on_ready(self, deferred: Deferred, make_response: Callable[[], Any]) -> None:
        """The awaited answer is there: in any turn, or outside of them."""
        deferred.ready, self._waiting = _nobody, None  # no cycle is left for the garbage collector
        try:
            response: Response = make_response()
        except Exception as fault:  # noqa: BLE001 - as above
            self._server.on_fault(fault)
            response = self._asked[0].instead
        self._answer(response, self._reactor.now())

    def _answer(self, response: Response, now: float) -> None:
        """Send the response that was awaited, and read on."""
        _, request = self._asked
        self._early = 0
        try:
            self._respond(response, now, head_only=request.method == "HEAD")
        except Exception as fault:  # noqa: BLE001 - as above
            self._break_down(fault)
        if not (self._over or self._blocked or self._ends):
            self._watch(READ)
        if not self._connection.waits:  # what has arrived meanwhile is announced no more
            self._reactor.later(self)

    def _respond(self, response: Response, now: float, *, head_only: bool, close: bool = False) -> None:
        """Send ``response`` at the end of the turn.

        Raises:
            UnsendableError, h11.LocalProtocolError: it cannot be sent.
        """
        server = self._server
        self._asked = _NOBODY
        head, body, self._ends = self._connection.respond(response, (), head_only=head_only, close=close or server.draining)
        data = head + body
        self._work += len(data) // _SENT_PER_UNIT
        self._unsent.append(data)
        self._enter(_READER if self._blocked else _IDLE, now)
        self._reactor.schedule_flush(self)

    # The end.

    def _finish(self) -> None:
        """Say that nothing more will be sent, and wait until the peer has read it: closing earlier could destroy bytes on their way.

        See RFC 9112 section 9.6.
        """
        self._transport.finish()
        if self._connection.ended:
            self.close()
            return
        self._watch(READ)
        self._enter(_END, self._reactor.now())

    def _leave(self) -> None:
        """Give up the answer that is awaited, if there is one."""
        waiting, self._waiting = self._waiting, None
        if waiting is None:
            return
        waiting.ready = _nobody
        try:
            waiting.leave()
        except Exception as fault:  # noqa: BLE001 - as above
            self._server.on_fault(fault)

    def _break_down(self, fault: Exception) -> None:
        self._server.on_fault(fault)
        self.close()

    # States.

    def _enter(self, phase: _Phase, now: float) -> None:
        """Wait for the peer, or for an answer, for as long as that may take."""
        self._phase = phase
        limits, slots = self._limits, self._server.slots
        self._among.pop(self, None)
        if phase is _IDLE:
            patience, among = limits.idle_s, slots.silent
        elif phase is _ANSWER:
            patience, among = limits.handler_s, None
        elif phase is _READER:
            patience, among = limits.answer_s, slots.slow
        elif phase is _END:
            patience, among = LINGER_S, slots.slow
        else:
            patience, among = HANDSHAKE_S if phase is _HANDSHAKE else limits.arrival_s, slots.silent
        if among is not None:
            among[self] = None
            self._among = among
        self._deadline = now + patience
        if self._deadline < self.due:  # a later one is looked at when that is due
            self._reactor.timers.expect(self, self._deadline)

    def _watch(self, mask: int) -> None:
        """Be served when the transport is ready for ``mask``; 0: never."""
        before, self._mask = self._mask, mask
        if mask == before:
            return
        if not before:
            self._reactor.watch(self, mask)
        elif not mask:
            self._reactor.forget(self)
        else:
            self._reactor.change(self, mask)


def _nobody(_make_response: Callable[[], Any]) -> None:
    """Sentinel: no request is waiting for this answer."""


def _close(listeners: list[trio.SocketListener]) -> None:
    for listener in listeners:
        listener.socket.close()
