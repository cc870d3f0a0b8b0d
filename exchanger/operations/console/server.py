"""The console's HTTP server: the page, handlers by method and path, and one path that becomes a WebSocket, behind guard and token.

The demo's console uses it as well. Must not know: decisions, policy, or what handlers answer.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, final

import attrs
import trio

from exchanger.net.http.limits import HttpLimits
from exchanger.net.http.message import Handler, Request, Response
from exchanger.net.http.server import HttpServer, Upgrade
from exchanger.net.network import SYSTEM, Listen
from exchanger.operations.console.access import ConsoleAccess
from exchanger.operations.console.guard import GuardRefusal, checked
from exchanger.operations.console.message import PROTECTION, error
from exchanger.operations.console.page.assets import Page
from exchanger.operations.console.websocket import Handshake, read_handshake

LIMITS: Final = HttpLimits(
    # Twice the number of subscribers, each with its page. Requests of a browser are short, and connections without one make room.
    connections=64,
    # A browser on localhost sends the cookies of every other program there.
    head_bytes=32 * 1024,
    # Browsers send some twenty lines, and proxies add some.
    head_lines=128,
    # A token of the longest kind, however it is written in JSON.
    body_bytes=16 * 1024,
    # Browsers open connections ahead of use and keep them, and there is room for some dozens.
    idle_s=30.0,
    arrival_s=10.0,
    # The largest response, some megabytes of a policy with its entries, through a forwarded port.
    answer_s=60.0,
    # The slowest handler, the view of a policy of 100,000 entries, takes a few seconds on a busy machine.
    handler_s=30.0,
    # Some of the largest responses: slow readers would otherwise hold all of the memory.
    unsent_bytes=32 * 1024 * 1024,
)

STREAM: Final = "/stream"
SESSION: Final = "/session"
# What is answered without a token, besides the page: how to sign in, and what this is.
OPEN: Final = frozenset({SESSION, "/api/about"})

_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
_STATUSES: Final = {GuardRefusal.HOST: 421, GuardRefusal.ORIGIN: 403, GuardRefusal.SITE: 403}
_FAILURES: Final = {
    400: error(400, "this is not an HTTP/1 request"),
    413: error(413, "the request's body is too large"),
    431: error(431, "the request's headers are too large"),
    500: error(500, "the request failed; see the service's log"),
    503: error(503, "too many large responses are in progress; try again in a moment", ("Retry-After", "5")),
    504: error(504, "the request took too long"),
}
_NOT_ORIGIN_FORM: Final = error(400, "the request must name a path")
_NOT_FOUND: Final = error(404, "there is nothing here")
_NO_LENGTH: Final = error(411, "the request must declare the length of its body")
_NOT_JSON: Final = error(415, "the body must be application/json")
_WITH_STREAM: Final = error(400, "a WebSocket is opened over HTTP/1.1, without a body")

# Serves a WebSocket until it ends, or returns a response to send instead, before it has sent anything.
UpgradeHandler = Callable[[Handshake, trio.abc.Stream], Awaitable[Response | None]]


@final
@attrs.frozen
class ConsoleServerSettings:
    """Where to listen (``host`` "": all interfaces; ``port`` 0: any free one), the names it may be addressed by, and limits."""

    host: str
    port: int
    names: frozenset[str] = frozenset()
    max_body: int = LIMITS.body_bytes
    handler_timeout: float = LIMITS.handler_s


@final
@attrs.define(eq=False)
class Server:
    """Serves until cancelled. ``on_fault`` receives exceptions that a handler should not have raised; it must neither block nor raise."""

    _settings: ConsoleServerSettings
    _access: ConsoleAccess
    _page: Page = attrs.field(repr=False)
    _routes: Mapping[tuple[str, str], Handler]
    _upgrade: UpgradeHandler
    _on_fault: Callable[[BaseException], None]
    _listen: Listen = SYSTEM.listen
    http: HttpServer = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        limits = attrs.evolve(LIMITS, body_bytes=self._settings.max_body, handler_s=self._settings.handler_timeout)
        self.http = HttpServer(self._route, limits, PROTECTION, _FAILURES, self._on_fault)

    async def bind(self) -> list[trio.SocketListener]:
        """Return listeners for ``run``, so that an address that cannot be bound is known before anything else begins.

        Raises:
            OSError: the address cannot be bound.
        """
        return await self._listen(self._settings.host or None, self._settings.port)

    async def run(
        self, listeners: list[trio.SocketListener] | None = None, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve on ``listeners``, or bind them first; ``started(port)`` reports the port that is bound.

        Raises:
            OSError: the address cannot be bound.
        """
        await self.http.run(await self.bind() if listeners is None else listeners, task_status=task_status)

    async def _route(self, request: Request) -> Response | Handler | Upgrade:
        if not request.target.startswith("/"):  # origin form (RFC 9112 section 3.2.1)
            return _NOT_ORIGIN_FORM
        if request.values("transfer-encoding"):
            # No client needs this, and a proxy in front may see another end of such a request than we do (RFC 9112 sections 6.1 and 11.2).
            return _NO_LENGTH
        refusal = checked(request, self._settings.names)
        if refusal is not None:
            return error(_STATUSES[refusal], refusal.value)
        if request.path not in self._page and request.path not in OPEN:
            response = await self._access.admit(request)
            if response is not None:
                return response
        if request.path == STREAM:
            return self._open_stream(request)
        handler = self._handler(request)
        if request.method in _WITH_BODY and not isinstance(handler, Response) and not _is_json(request):
            return _NOT_JSON
        return handler

    def _open_stream(self, request: Request) -> Response | Upgrade:
        if request.has_body or request.version != "1.1":  # RFC 6455 section 4.2.1; a body would be taken for frames
            return _WITH_STREAM
        handshake = read_handshake(request)
        if isinstance(handshake, Response):
            return handshake

        async def run(stream: trio.abc.Stream, early: bytes) -> Response | None:
            if early:  # frames, before the client knows whether there is a WebSocket
                await trio.lowlevel.checkpoint()
                return _WITH_STREAM
            return await self._upgrade(handshake, stream)

        return Upgrade(run)

    def _handler(self, request: Request) -> Handler | Response:
        """Return the handler, or the response if there is none."""
        method = "GET" if request.method == "HEAD" else request.method
        asset = self._page.get(request.path)
        if asset is not None and method == "GET":
            return asset.response(request)
        handler = self._routes.get((method, request.path))
        if handler is not None:
            return handler
        allowed = {known for known, path in self._routes if path == request.path} | ({"GET"} if asset is not None else set())
        if not allowed:
            return _NOT_FOUND
        return error(405, "this is not done here", ("Allow", ", ".join(sorted(allowed | ({"HEAD"} if "GET" in allowed else set())))))


def _is_json(request: Request) -> bool:
    return request.value("content-type").partition(";")[0].strip(" \t").lower() == "application/json"
