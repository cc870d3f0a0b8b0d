"""The console's HTTP server: who may ask, which path is whose, and one bad client's end being nobody else's.

It serves a page, handlers by method and path, and one path that becomes a WebSocket; the demo's front is made of it, too. Must not know:
decisions, policy, or what handlers answer.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, final

import attrs
import h11
import trio

from exchanger.console.access import Access
from exchanger.console.guard import Refusal, judged
from exchanger.console.handshake import Handshake, read_handshake
from exchanger.console.http import HEAD_LIMITS, has_body, is_chunked, is_longer, read_request, receive_body, send_response
from exchanger.console.message import Handler, Request, Response, error
from exchanger.console.page import Page
from exchanger.console.peer import PeerStream
from exchanger.http.connection import linger, new_connection, receive_head
from exchanger.http.seats import Seat, Seats

MAX_CONNECTIONS: Final = 64
"""Twice the subscribers there may be, each with its page; the requests of a browser are short, and what waits without one gives place."""
MAX_UNSENT: Final = 32 * 1024 * 1024
"""Bytes of large answers that peers have still to take, all together: some of the largest. Slow readers would hold all of the memory."""
LARGE: Final = 64 * 1024
"""Bytes of an answer that counts as large: more than most are, and as much as a socket takes at once."""
MAX_BODY: Final = 16 * 1024
"""Bytes of a request's body: a token of the longest kind, however it is written in JSON."""
HANDLER_S: Final = 30.0
"""Seconds for a handler: the slowest, the view of a policy of 100,000 entries, takes a few on a busy machine."""

STREAM: Final = "/stream"
SESSION: Final = "/session"
OPEN: Final = frozenset({SESSION, "/api/about"})
"""Beside the page, what is answered without a token: how to get in, and what this is."""

_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
_STATUSES: Final = {Refusal.HOST: 421, Refusal.ORIGIN: 403, Refusal.SITE: 403}
_NOT_HTTP: Final = error(400, "this is no HTTP request that is understood here")
_TOO_LARGE_HEAD: Final = error(431, "the request's headers are too large")
_NOT_ORIGIN_FORM: Final = error(400, "the request must name a path")
_NOT_FOUND: Final = error(404, "there is nothing here")
_TOO_LARGE: Final = error(413, "the request's body is too large")
_NOT_JSON: Final = error(415, "the body must be application/json")
_TOO_LATE: Final = error(504, "this took too long")
_NO_LENGTH: Final = error(411, "the request must say how long its body is")
_WITH_STREAM: Final = error(400, "a WebSocket is opened over HTTP/1.1, without a body")
_BUSY: Final = error(503, "too many large answers are under way; try again in a moment", ("Retry-After", "5"))
_FAULT: Final = error(500, "this failed; the service's log says more")

UpgradeHandler = Callable[[Request, Handshake, trio.abc.Stream], Awaitable[Response | None]]
"""Takes over the connection of a WebSocket and returns when it is over, or returns what to answer instead before it has sent anything."""


@final
@attrs.frozen
class ServerSettings:
    """Where to listen (``host`` "": every interface; ``port`` 0: any free one), the names that a request may be for, and limits."""

    host: str
    port: int
    names: frozenset[str] = frozenset()
    max_body: int = MAX_BODY
    handler_timeout: float = HANDLER_S


@final
@attrs.frozen
class ServerStatistics:
    """``connections`` are open now; all else counts since the start: ``refused`` requests and connections, ``displaced`` connections."""

    connections: int
    answered: int
    refused: int
    faults: int
    displaced: int


@final
@attrs.define(eq=False)
class Server:
    """Serves until cancelled. ``on_fault`` learns of what a handler should not have raised; it must neither block nor raise."""

    _settings: ServerSettings
    _access: Access
    _page: Page = attrs.field(repr=False)
    _routes: Mapping[tuple[str, str], Handler]
    _upgrade: UpgradeHandler
    _on_fault: Callable[[BaseException], None]
    _seats: Seats = attrs.field(factory=lambda: Seats(MAX_CONNECTIONS), init=False, repr=False)
    _turn: trio.Lock = attrs.field(factory=trio.Lock, init=False, repr=False)
    _unsent: int = attrs.field(default=0, init=False)
    _answered: int = attrs.field(default=0, init=False)
    _refused: int = attrs.field(default=0, init=False)
    _faults: int = attrs.field(default=0, init=False)

    async def bind(self) -> list[trio.SocketListener]:
        """Return what ``run`` takes; for whoever wants to know that the address can be bound before anything else begins.

        Raises:
            OSError: it cannot.
        """
        return await trio.open_tcp_listeners(self._settings.port, host=self._settings.host or None)

    async def run(
        self, listeners: list[trio.SocketListener] | None = None, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve on ``listeners``, without which they are bound here; ``started(port)`` with the port that is bound.

        Raises:
            OSError: the address cannot be bound.
        """
        if listeners is None:
            listeners = await self.bind()
        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, self._serve, listeners)
            task_status.started(listeners[0].socket.getsockname()[1])

    def statistics(self) -> ServerStatistics:
        """Tell how much was served."""
        seats = self._seats.statistics()
        return ServerStatistics(seats.taken, self._answered, self._refused + seats.refused, self._faults, seats.displaced)

    async def _serve(self, stream: trio.SocketStream) -> None:
        """Serve one connection; ``serve_listeners`` closes it."""
        with self._seats.taken() as seat:
            if seat is None:
                return
            try:
                await self._converse(stream, seat)
            except* (trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # the peer left; there is nobody to answer
            except* Exception as fault:  # noqa: BLE001 - one connection's fault must not end the service
                self._fault(fault)

    async def _converse(self, stream: trio.SocketStream, seat: Seat) -> None:
        protocol = new_connection(HEAD_LIMITS)
        while True:
            head_only = False
            try:
                with seat.silent():
                    head = await receive_head(stream, protocol, self._turn, HEAD_LIMITS)
                if head is None:
                    return
                head_only = head.method == b"HEAD"
                response = await self._respond(head, stream, protocol, seat)
            except h11.RemoteProtocolError as problem:
                response = _TOO_LARGE_HEAD if problem.error_status_hint == 431 else _NOT_HTTP  # noqa: PLR2004 - h11's word for it
            with seat.slow():
                if response is not None:  # otherwise it was a WebSocket
                    self._answered += 1
                    await self._send(response, stream, protocol, head_only=head_only)
                if response is None or protocol.our_state is not h11.DONE or protocol.their_state is not h11.DONE:
                    await linger(stream)
                    return
            protocol.start_next_cycle()

    async def _send(self, response: Response, stream: trio.SocketStream, protocol: h11.Connection, *, head_only: bool) -> None:
        """Send ``response`` if it can be sent; in its place that there is no room, where there is none."""
        if protocol.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            return
        size = len(response.body) if len(response.body) > LARGE else 0
        if self._unsent + size > max(MAX_UNSENT, size):  # one answer may be larger
            self._refused += 1
            response, size = _BUSY, 0
        self._unsent += size
        try:
            await send_response(stream, protocol, response, head_only=head_only)
        finally:
            self._unsent -= size

    async def _respond(self, head: h11.Request, stream: trio.SocketStream, protocol: h11.Connection, seat: Seat) -> Response | None:
        """Return the answer, ``None`` when the connection became a WebSocket that is over."""
        request = read_request(head)
        if request is None:
            return _NOT_ORIGIN_FORM
        with_body = has_body(request)
        if not with_body:
            protocol.next_event()  # the end of the message, which is there already
        if is_chunked(request):
            return _NO_LENGTH
        refusal = judged(request, self._settings.names)
        if refusal is not None:
            self._refused += 1
            return error(_STATUSES[refusal], refusal.value)
        if request.path not in self._page and request.path not in OPEN:
            response = await self._access.admit(request)
            if response is not None:
                self._refused += 1
                return response
        if request.path == STREAM:
            if with_body or head.http_version != b"1.1":  # RFC 6455 section 4.2.1; a body would be taken for frames
                return _WITH_STREAM
            return await self._open_stream(request, stream, protocol)
        return await self._handle(request, stream, protocol, seat if with_body else None)

    async def _open_stream(self, request: Request, stream: trio.SocketStream, protocol: h11.Connection) -> Response | None:
        handshake = read_handshake(request)
        if isinstance(handshake, Response):
            return handshake
        return await self._upgrade(request, handshake, PeerStream(stream, protocol.trailing_data[0]))

    async def _handle(self, request: Request, stream: trio.SocketStream, protocol: h11.Connection, seat: Seat | None) -> Response:
        """Answer ``request``; with a ``seat``, a body follows."""
        handler = self._handler(request)
        if isinstance(handler, Response):
            return handler
        if request.method in _WITH_BODY and request.value("content-type").partition(";")[0].strip(" \t").lower() != "application/json":
            return _NOT_JSON
        if seat is not None:
            if is_longer(request, self._settings.max_body):
                return _TOO_LARGE
            with seat.silent():
                body = await receive_body(stream, protocol, self._settings.max_body)
            if body is None:
                return _TOO_LARGE
            request = attrs.evolve(request, body=body)
        try:
            with trio.move_on_after(self._settings.handler_timeout):
                return await handler(request)
        except Exception as fault:  # noqa: BLE001 - a handler's fault is this request's
            self._fault(fault)
            return _FAULT
        return _TOO_LATE

    def _handler(self, request: Request) -> Handler | Response:
        """Return who answers, or the answer when nobody does."""
        method = "GET" if request.method == "HEAD" else request.method
        asset = self._page.get(request.path)
        if asset is not None and method == "GET":

            async def file(request: Request) -> Response:
                await trio.lowlevel.checkpoint()
                return asset.response(request)

            return file
        handler = self._routes.get((method, request.path))
        if handler is not None:
            return handler
        allowed = {known for known, path in self._routes if path == request.path} | ({"GET"} if asset is not None else set())
        if not allowed:
            return _NOT_FOUND
        return error(405, "this is not done here", ("Allow", ", ".join(sorted(allowed | ({"HEAD"} if "GET" in allowed else set())))))

    def _fault(self, fault: BaseException) -> None:
        self._faults += 1
        self._on_fault(fault)
