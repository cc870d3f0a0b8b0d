"""A bounded HTTP/1.1 server: every size and every wait has a limit, and connections that keep it waiting make room for others.

A *route* sees the head of a request and returns a response, a handler that needs the body, or an upgrade that takes the connection over.
The server knows no paths, and it neither echoes nor logs anything of a request. A connection is any Trio stream; with ``Tls`` the server
secures it first. Usual requests are read here (``http/usual.py``). From the first other one on, h11 reads the connection.

Source: RFC 9112 (https://www.rfc-editor.org/rfc/rfc9112)
"""

import math
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from http import HTTPStatus
from types import MappingProxyType
from typing import Final, final

import attrs
import h11
import trio

from exchanger.http.bodies import Bodies, Body
from exchanger.http.connection_slots import ConnectionSlots, Slot
from exchanger.http.message import Handler, Headers, Request, Response
from exchanger.http.tls import Tls
from exchanger.http.usual import WITHOUT_LENGTH, read_request, response_head

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
_LOOSE_LINE: Final = re.compile(rb"(?<!\r)\n|\n[ \t]")
_VERSIONS: Final = frozenset({b"1.0", b"1.1"})
_REASONS: Final = {status.value: status.phrase.encode() for status in HTTPStatus}


@final
@attrs.frozen(kw_only=True)
class HttpLimits:
    """What a server accepts and how long it waits; times are in seconds.

    ``head_bytes`` and ``head_lines`` bound the request line with its headers: each line costs time in the event loop. ``idle_s`` is the
    time to the first byte of a request, ``arrival_s`` from there until the head is complete, and again until the body is. ``answer_s`` is
    the time for the peer to take a response. ``unsent_bytes`` bounds large responses that peers have yet to take, all of them together,
    ``bodies_bytes`` the received parts of bodies, until they are handled.
    """

    connections: int
    head_bytes: int
    head_lines: int
    idle_s: float
    arrival_s: float
    answer_s: float
    body_bytes: int = 0
    handler_s: float = math.inf
    unsent_bytes: float = math.inf
    bodies_bytes: float = math.inf


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
    _unsent: int = attrs.field(default=0, init=False)
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
        early = await self._converse_as_usual(stream, slot)
        if early is None:
            return
        protocol = h11.Connection(h11.SERVER, max_incomplete_event_size=self._limits.head_bytes)
        protocol.receive_data(early)
        while True:
            head_only = False
            try:
                with slot.silent():
                    head = await self._receive_head(stream, protocol)
                if head is None:
                    return
                head_only = head.method == b"HEAD"
                response = await self._respond(head, stream, protocol, slot)
            except h11.RemoteProtocolError as error:
                response = self._failure(431 if error.error_status_hint == 431 else 400)  # noqa: PLR2004 - h11's hint
            with slot.slow():
                if response is not None:  # otherwise an upgrade took the connection
                    self.answered += 1
                    await self._send(response, stream, protocol, head_only=head_only)
                if response is None or protocol.our_state is not h11.DONE or protocol.their_state is not h11.DONE:
                    await _linger(stream)
                    return
            protocol.start_next_cycle()

    async def _converse_as_usual(self, stream: trio.abc.Stream, slot: Slot) -> bytes | None:
        """Answer usual requests; return the first bytes of another one, or ``None`` when the connection is over."""
        limits, pending = self._limits, b""
        while True:
            if not pending:
                with slot.silent():
                    # If it passes, the connection ends. A scope of its own would cost three times as much.
                    slot.scope.deadline = trio.current_time() + limits.idle_s
                    pending = bytes(await stream.receive_some(_RECEIVE_BYTES))
                    slot.scope.deadline = math.inf
                if not pending:
                    return None
            found = read_request(pending, limits.head_bytes, limits.head_lines)
            if found is None:
                return pending
            request, size = found
            pending = pending[size:]
            route = await self._route(request)
            if isinstance(route, Upgrade):
                response = await route.run(stream, pending)
            else:
                response = route if isinstance(route, Response) else await self._handle(route, request)
            ends = response is None or self.draining or isinstance(route, Upgrade)
            with slot.slow():
                if response is not None:  # otherwise an upgrade took the connection
                    self.answered += 1
                    await self._send_as_usual(response, stream, head_only=request.method == "HEAD", ends=ends)
                if ends:
                    await _linger(stream)
                    return None

    async def _send_as_usual(self, response: Response, stream: trio.abc.Stream, *, head_only: bool, ends: bool) -> None:
        """Send ``response``, or the response that there is no room for it; see ``_send``."""
        body = b"" if head_only or response.status in WITHOUT_LENGTH else response.body
        large = len(body) if len(body) > LARGE_BODY else 0
        if self._unsent + large > max(self._limits.unsent_bytes, large):
            response = self._failure(503)
            body, large = b"" if head_only else response.body, 0
        head = response_head(response, self._headers, ends=ends)
        self._unsent += large
        try:
            await send_all(stream, *((head, body) if large else (head + body,)), seconds=self._limits.answer_s)
        finally:
            self._unsent -= large

    async def _receive_head(self, stream: trio.abc.Stream, protocol: h11.Connection) -> h11.Request | None:
        """Return the head of the next request, or ``None`` when the peer left or took too long.

        Raises:
            h11.RemoteProtocolError: what arrived is not HTTP, or too large.
            trio.BrokenResourceError: the connection broke.
        """
        silent = not protocol.trailing_data[0]
        with trio.move_on_after(self._limits.idle_s if silent else self._limits.arrival_s) as patience:
            while True:
                async with self._parsing:
                    self._measure(protocol)
                    event = protocol.next_event()
                if event is not h11.NEED_DATA:
                    return event if isinstance(event, h11.Request) else None
                protocol.receive_data(bytes(await stream.receive_some(_RECEIVE_BYTES)))
                if silent:
                    silent = False
                    patience.deadline = trio.current_time() + self._limits.arrival_s
        return None

    def _measure(self, protocol: h11.Connection) -> None:
        """Check the head received so far: h11 itself measures only incomplete heads, and no lines, and it accepts lines that others do not.

        A bare LF, or a line that continues the previous one (RFC 9112 sections 2.2 and 5.2), could hide a field from the peer that relayed
        the message.
        """
        data, _ = protocol.trailing_data
        length = min((at + len(end) for end in (b"\n\r\n", b"\n\n") if (at := data.find(end)) >= 0), default=0)
        if length > self._limits.head_bytes:
            raise h11.RemoteProtocolError("head too long", error_status_hint=431)
        if data.count(b"\n", 0, length - 1 if length else len(data)) > self._limits.head_lines:
            raise h11.RemoteProtocolError("too many header fields", error_status_hint=431)
        if length and _LOOSE_LINE.search(data, 0, length):
            raise h11.RemoteProtocolError("a bare LF or a folded line")

    async def _respond(self, head: h11.Request, stream: trio.abc.Stream, protocol: h11.Connection, slot: Slot) -> Response | None:
        """Return the response, or ``None`` after an upgrade that has ended."""
        if head.http_version not in _VERSIONS:
            raise h11.RemoteProtocolError("not an HTTP/1 version")
        headers = tuple((name.decode("ascii"), value.decode("latin-1")) for name, value in head.headers)
        method, target = head.method.decode("ascii"), head.target.decode("ascii")
        request = Request(method, target, headers, version=head.http_version.decode("ascii"))
        if not request.has_body:
            protocol.next_event()  # the end of the message, which has already arrived
        if method == "CONNECT":  # a 2xx would turn the connection into a tunnel (RFC 9110 section 9.3.6)
            return self._failure(501)
        found = await self._route(request)
        if isinstance(found, Response):
            return found
        if isinstance(found, Upgrade):
            return await found.run(stream, protocol.trailing_data[0])
        if not request.has_body:
            return await self._handle(found, request)
        if int(request.value("content-length") or 0) > self._limits.body_bytes:
            return self._failure(413)
        with self.bodies.hold() as held:
            body: bytes | None = None
            with slot.silent(), held.scope:
                body = await self._receive_body(stream, protocol, held)
            if held.scope.cancel_called:
                return self._failure(503)
            self.bodies.arrived(held)
            return self._failure(413) if body is None else await self._handle(found, attrs.evolve(request, body=body))

    async def _handle(self, handler: Handler, request: Request) -> Response:
        try:
            with trio.move_on_after(self._limits.handler_s):
                return await handler(request)
        except Exception as fault:  # noqa: BLE001 - a handler's fault affects only its request
            self._report(fault)
            return self._failure(500)
        return self._failure(504)

    async def _receive_body(self, stream: trio.abc.Stream, protocol: h11.Connection, held: Body) -> bytes | None:
        """Return the body, or ``None`` when it is too large.

        Raises:
            h11.RemoteProtocolError: what arrived is not HTTP.
            trio.BrokenResourceError: the connection broke, or the peer takes too long.
        """
        body, chunks = bytearray(), 0
        with trio.move_on_after(self._limits.arrival_s):
            while len(body) <= self._limits.body_bytes:
                event = protocol.next_event()
                if isinstance(event, h11.Data):
                    chunks += 1
                    if not chunks % _CHUNKS_PER_CHECKPOINT:  # a read may hold thousands
                        await trio.lowlevel.checkpoint()
                    body += event.data
                    self.bodies.grow(held, len(event.data))
                elif event is h11.NEED_DATA:
                    if protocol.they_are_waiting_for_100_continue:
                        await stream.send_all(
                            protocol.send(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")) or b""
                        )
                    protocol.receive_data(bytes(await stream.receive_some(_RECEIVE_BYTES)))
                else:  # the end: h11 raises when the peer leaves in the middle
                    return bytes(body)
            return None
        raise trio.BrokenResourceError("the body did not arrive in time")

    async def _send(self, response: Response, stream: trio.abc.Stream, protocol: h11.Connection, *, head_only: bool) -> None:
        """Send ``response``, or the response that there is no room for it.

        Raises:
            trio.BrokenResourceError: the connection broke, or the peer does not read.
        """
        if protocol.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            return
        size = len(response.body) if len(response.body) > LARGE_BODY else 0
        if self._unsent + size > max(self._limits.unsent_bytes, size):  # a single response may be larger
            response, size = self._failure(503), 0
        headers = [(name.encode("ascii"), value.encode("latin-1")) for name, value in (*response.headers, *self._headers)]
        if response.status not in WITHOUT_LENGTH:
            headers.append((b"Content-Length", str(len(response.body)).encode()))
        if self.draining or protocol.their_state in {h11.SEND_BODY, h11.ERROR}:
            headers.append((b"Connection", b"close"))  # what else arrives is not another request
        events: list[h11.Event] = [
            h11.Response(status_code=response.status, headers=headers, reason=_REASONS.get(response.status, b"")),
            *([h11.Data(data=response.body)] if response.body and not head_only else []),
            h11.EndOfMessage(),
        ]
        parts = [protocol.send(event) or b"" for event in events]
        self._unsent += size
        try:
            await send_all(stream, *(parts if size else (b"".join(parts),)), seconds=self._limits.answer_s)
        finally:
            self._unsent -= size

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
