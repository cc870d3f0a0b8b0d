"""A bounded HTTP/1.1 server: every size and every wait has a limit, and connections that keep it waiting make room for others.

A *route* sees the head of a request and returns a response, a handler that needs the body, or an upgrade that takes the connection over.
The server knows no paths, and it neither echoes nor logs anything of a request. A connection is any Trio stream; with ``Tls`` the server
secures it first.

Source: RFC 9112 (https://www.rfc-editor.org/rfc/rfc9112)
"""

import math
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Final, final

import attrs
import trio

from exchanger.net.http.bodies import Bodies, Body
from exchanger.net.http.connection import BadMessageError, ServerConnection
from exchanger.net.http.connection_slots import ConnectionSlots, Slot
from exchanger.net.http.limits import HttpLimits
from exchanger.net.http.message import Handler, Headers, Request, Response
from exchanger.net.http.tls import Tls

# A connection closed while its peer still sends would be reset, and the peer would lose the response (RFC 9112 section 9.6). So further
# bytes of the peer are read and dropped, for this long and up to this many bytes.
LINGER_S: Final = 1.0
LINGER_BYTES: Final = 4 * 1024 * 1024
# Seconds of a drain in which idle connections may still bring a request: clients keep them open, and one may be on its way.
SETTLE_S: Final = 1.0
# Seconds between checks for the end of a drain.
_LOOK_S: Final = 0.05
# Seconds for the closing handshake of TLS; a peer that does not read within them misses it.
_GOODBYE_S: Final = 1.0
# A body up to this size is sent together with its head. A larger one is not copied for that, and counts as unsent until the peer has
# received it.
LARGE_BODY: Final = 64 * 1024
# Bytes of one read.
_RECEIVE_BYTES: Final = 16 * 1024
# Chunks of a body that are read in a row: each takes about 10 µs.
_CHUNKS_PER_CHECKPOINT: Final = 64


@final
@attrs.frozen
class Upgrade:
    """Another protocol takes the connection over.

    ``run`` gets the stream and the bytes that arrived after the request. It returns ``None`` once it is done, or, as long as it has sent
    nothing, a response to send instead.
    """

    run: Callable[[trio.abc.Stream, bytes], Awaitable[Response | None]]


# Decides about a request by its head alone. An unneeded body is not read: the connection ends after the response.
Route = Callable[[Request], Awaitable[Response | Handler | Upgrade]]


@final
@attrs.define(eq=False)
class HttpServer:
    """Serves connections. Every response carries ``headers`` in addition to its own.

    ``failures`` are the server's own responses by status: 400 (not HTTP/1), 413 (body too large), 431 (head too large), 500 (a fault), 503
    (``unsent_bytes`` exceeded, or ``bodies_bytes`` and this body is the slowest) and 504 (``handler_s`` exceeded); those not given have no
    body. ``on_fault`` receives exceptions of routes, handlers and upgrades, and must neither block nor raise. Without it they leave
    ``serve``. With ``tls``, each connection begins with a handshake.
    """

    _route: Route
    _limits: HttpLimits
    _headers: Headers = ()
    _failures: Mapping[int, Response] = MappingProxyType({})
    _on_fault: Callable[[BaseException], None] | None = None
    _tls: Tls | None = attrs.field(default=None, kw_only=True)
    slots: ConnectionSlots = attrs.field(init=False)
    answered: int = attrs.field(default=0, init=False)
    faults: int = attrs.field(default=0, init=False)
    draining: bool = attrs.field(default=False, init=False)
    unsent: int = attrs.field(default=0, init=False)
    bodies: Bodies = attrs.field(init=False)
    _accepting: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False, repr=False)
    # Heads are parsed one per round of the event loop: many at once would delay everything else that runs in it.
    _parsing: trio.Lock = attrs.field(factory=trio.Lock, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.slots = ConnectionSlots(self._limits.connections)
        self.bodies = Bodies(self._limits.bodies_bytes)

    async def run(self, listeners: list[trio.SocketListener], *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve on ``listeners`` until cancelled or drained; ``started(port)`` reports the port that is bound."""
        async with trio.open_nursery() as connections:
            with self._accepting:
                async with trio.open_nursery() as nursery:
                    await nursery.start(partial(trio.serve_listeners, self.serve, listeners, handler_nursery=connections))
                    task_status.started(listeners[0].socket.getsockname()[1])

    async def drain(self, seconds: float) -> None:
        """Accept no more connections, and answer requests on open ones, for at most ``seconds``; ``run`` then returns.

        Each response says that its connection ends. Connections that are still silent after ``SETTLE_S`` are closed.
        """
        self.draining = True
        self._accepting.cancel()
        with trio.move_on_after(seconds):
            settled = trio.current_time() + SETTLE_S
            while self.slots.taken:
                if trio.current_time() >= settled:
                    self.slots.end_silent()
                await trio.sleep(_LOOK_S)

    async def serve(self, stream: trio.abc.Stream) -> None:
        """Serve one connection until it ends. The caller closes it."""
        with self.slots.take() as slot:
            if slot is None:
                return
            try:
                if self._tls is None:
                    await self._converse(stream, slot)
                else:
                    await self._converse_securely(stream, slot, self._tls)
            except* (trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # the peer left or does not read: there is nobody to answer
            except* Exception as fault:  # noqa: BLE001 - one connection's fault must not end the service
                self._report(fault)

    async def _converse_securely(self, stream: trio.abc.Stream, slot: Slot, tls: Tls) -> None:
        with slot.silent():
            secured = await tls.secure(stream)
        if secured is None:
            return
        try:
            await self._converse(secured, slot)
        finally:
            with trio.move_on_after(_GOODBYE_S):
                await secured.aclose()

    async def _converse(self, stream: trio.abc.Stream, slot: Slot) -> None:
        connection = ServerConnection(self._limits)
        while True:
            head_only = False
            try:
                with slot.silent():
                    request = await self._receive_head(stream, connection, slot)
                if request is None:
                    return
                head_only = request.method == "HEAD"
                response, ends = await self._respond(request, stream, connection, slot)
            except BadMessageError as error:
                response, ends = self._failure(error.status), True
            with slot.slow():
                if response is not None:  # otherwise an upgrade took the connection
                    self.answered += 1
                    ends = await self._send(response, stream, connection, head_only=head_only, close=ends or self.draining)
                if ends:
                    await _linger(stream)
                    return

    async def _receive_head(self, stream: trio.abc.Stream, connection: ServerConnection, slot: Slot) -> Request | None:
        """Return the next request, its head only, or ``None`` when the peer left. The connection ends if it takes too long.

        Raises:
            BadMessageError: what arrived is no request that is answered here.
            trio.BrokenResourceError: the connection broke.
        """
        scope, was_silent = slot.scope, True
        while True:
            found = connection.usual_request()
            if found is None and not connection.silent:
                async with self._parsing:
                    found = connection.other_request()
            if found is not None or connection.ended:
                scope.deadline = math.inf
                return found
            if was_silent:
                # If it passes, the connection ends. A scope of its own would cost three times as much.
                was_silent = connection.silent
                scope.deadline = trio.current_time() + (self._limits.idle_s if was_silent else self._limits.arrival_s)
            connection.receive(bytes(await stream.receive_some(_RECEIVE_BYTES)))

    async def _respond(
        self, request: Request, stream: trio.abc.Stream, connection: ServerConnection, slot: Slot
    ) -> tuple[Response | None, bool]:
        """Return the response, or ``None`` after an upgrade that has ended; and whether the connection ends in any case."""
        found = await self._route(request)
        if isinstance(found, Response):
            return found, False
        if isinstance(found, Upgrade):
            return await found.run(stream, connection.early), True
        if not request.has_body:
            return await self._handle(found, request), False
        if request.has_faulty_framing:
            return self._failure(400), False
        if int(request.value("content-length") or 0) > self._limits.body_bytes:
            return self._failure(413), False
        with self.bodies.hold() as held:
            body: bytes | None = None
            with slot.silent(), held.scope:
                body = await self._receive_body(stream, connection, held)
            if held.scope.cancel_called:
                return self._failure(503), False
            self.bodies.arrived(held)
            return self._failure(413) if body is None else await self._handle(found, attrs.evolve(request, body=body)), False

    async def _handle(self, handler: Handler, request: Request) -> Response:
        try:
            with trio.move_on_after(self._limits.handler_s):
                return await handler(request)
        except Exception as fault:  # noqa: BLE001 - a handler's fault affects only its request
            self._report(fault)
            return self._failure(500)
        return self._failure(504)

    async def _receive_body(self, stream: trio.abc.Stream, connection: ServerConnection, held: Body) -> bytes | None:
        """Return the body, or ``None`` when it is too large.

        Raises:
            BadMessageError: what arrived is not HTTP.
            trio.BrokenResourceError: the connection broke, or the peer takes too long.
        """
        body, chunks = bytearray(), 0
        with trio.move_on_after(self._limits.arrival_s):
            while len(body) <= self._limits.body_bytes:
                piece = connection.body_piece()
                if piece:
                    chunks += 1
                    if not chunks % _CHUNKS_PER_CHECKPOINT:  # a read may hold thousands
                        await trio.lowlevel.checkpoint()
                    body += piece
                    self.bodies.grow(held, len(piece))
                elif piece is None:
                    if leave := connection.go_ahead():
                        await stream.send_all(leave)
                    connection.receive(bytes(await stream.receive_some(_RECEIVE_BYTES)))
                else:
                    return bytes(body)
            return None
        raise trio.BrokenResourceError("the body did not arrive in time")

    async def _send(
        self, response: Response, stream: trio.abc.Stream, connection: ServerConnection, *, head_only: bool, close: bool
    ) -> bool:
        """Send ``response``, or the response that there is no room for it; return whether the connection ends.

        Raises:
            trio.BrokenResourceError: the connection broke, or the peer does not read.
        """
        size = len(response.body) if len(response.body) > LARGE_BODY and not head_only else 0
        if self.unsent + size > max(self._limits.unsent_bytes, size):  # a single response may be larger
            response, size = self._failure(503), 0
        head, body, ends = connection.respond(response, self._headers, head_only=head_only, close=close)
        self.unsent += size
        try:
            await send_all(stream, *((head, body) if size else (head + body,)), seconds=self._limits.answer_s)
        finally:
            self.unsent -= size
        return ends

    def _failure(self, status: int) -> Response:
        return self._failures.get(status) or Response(status)

    def _report(self, fault: Exception) -> None:
        if self._on_fault is None:
            raise fault
        self.faults += 1
        self._on_fault(fault)


async def send_all(stream: trio.abc.SendStream, *parts: bytes, seconds: float) -> None:
    """Send ``parts``.

    Raises:
        trio.BrokenResourceError: the connection broke, or the peer has not received them within ``seconds``.
    """
    with trio.move_on_after(seconds):
        for data in parts:
            await stream.send_all(data)
        return
    raise trio.BrokenResourceError("the peer does not read")


async def _linger(stream: trio.abc.Stream) -> None:
    """Half-close the connection if possible, and drop what the peer still sends, for a while."""
    with trio.move_on_after(LINGER_S):
        try:
            if isinstance(stream, trio.abc.HalfCloseableStream):
                await stream.send_eof()
            taken = 0
            while taken < LINGER_BYTES and (data := await stream.receive_some(_RECEIVE_BYTES)):
                taken += len(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return
