"""Passes requests on to another console: the demo's console answers for the service's own, on this machine or elsewhere.

Everything that identifies the client is removed (cookies, credentials, origin): the console in front has checked it, and the one behind is
protected by its loopback address or its own token. Must not know: what is asked or answered.
"""

import ssl
from collections.abc import Iterable
from typing import Final, final

import attrs
import h11
import trio

from exchanger.model.secret import Secret
from exchanger.net.http.message import Headers, Request, Response
from exchanger.net.http.server import send_all
from exchanger.net.network import SYSTEM
from exchanger.net.stream import Dial, ask, open_stream
from exchanger.operations.console.message import error
from exchanger.operations.console.websocket import WRITE_S, Handshake
from exchanger.util.address import format_address

LOOPBACK: Final = "127.0.0.1"
# Seconds to connect, TLS included: on loopback it takes well under a millisecond, across the world a few tenths of a second.
CONNECT_S: Final = 2.0
# Seconds for the whole response: what a handler may take.
ANSWER_S: Final = 30.0
# Bytes of a response: a document of a megabyte with its 20,000 entries has some 8 MB.
MAX_ANSWER: Final = 16 * 1024 * 1024
_MAX_HEAD: Final = 32 * 1024
_CHUNK: Final = 64 * 1024

# The request headers that its response depends on, and the response headers that define its meaning. The console in front adds its own
# protection.
_PASSED_ON: Final = frozenset({"accept", "content-type", "if-none-match"})
_PASSED_BACK: Final = frozenset({"content-type", "cache-control", "etag", "allow", "retry-after"})
_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
_UNREACHABLE: Final = error(502, "the service's console cannot be reached")
_TOO_LATE: Final = error(504, "the service's console took too long")
_FAILURES: Final = (OSError, trio.BrokenResourceError, trio.ClosedResourceError, h11.ProtocolError)


@final
@attrs.frozen
class ConsoleProxy:
    """Connects to ``port`` of ``host``, with one connection for each request.

    ``tls`` is how connections are secured, ``None`` for plain text; ``token`` is that console's own, ``None`` if it has none.
    """

    port: int
    host: str = LOOPBACK
    tls: ssl.SSLContext | None = attrs.field(default=None, eq=False)
    token: Secret | None = None
    connect: Dial = attrs.field(default=SYSTEM.connect, eq=False)

    @property
    def url(self) -> str:
        """Its address, for people."""
        return f"{'http' if self.tls is None else 'https'}://{format_address(self.host, self.port)}"

    async def forward(self, request: Request) -> Response:
        """Return the response from there; see ``http.message.Handler``."""
        headers = [("Host", format_address(self.host, self.port)), ("Connection", "close"), *self._access().items()]
        headers += [(name, value) for name, value in request.headers if name in _PASSED_ON]
        if request.body or request.method in _WITH_BODY:
            headers.append(("Content-Length", str(len(request.body))))
        with trio.move_on_after(ANSWER_S):
            try:
                asked = h11.Request(method=request.method, target=request.target, headers=headers)
                async with await self._connect() as stream:
                    head, body = await ask(stream, asked, request.body, MAX_ANSWER)
            except _FAILURES:
                return _UNREACHABLE
            return _UNREACHABLE if len(body) > MAX_ANSWER else Response(head.status_code, _passed_back(head.headers), body)
        return _TOO_LATE

    async def pipe(self, handshake: Handshake, client: trio.abc.Stream) -> Response | None:
        """Open the WebSocket there and pass on what either side sends until one ends; see ``server.UpgradeHandler``."""
        try:
            async with await self._connect() as stream:
                opened: bytes | Response = _TOO_LATE
                with trio.move_on_after(CONNECT_S):
                    opened = await _open(stream, handshake.request("/stream", format_address(self.host, self.port), self._access()))
                if isinstance(opened, Response):
                    return opened
                await _join(client, stream, opened)
        except _FAILURES:
            return _UNREACHABLE
        return None

    def _access(self) -> dict[str, str]:
        return {} if self.token is None else {"Authorization": f"Bearer {self.token.reveal()}"}

    async def _connect(self) -> trio.abc.Stream:
        with trio.move_on_after(CONNECT_S):
            return await open_stream(self.connect, self.host, self.port, self.tls)
        raise OSError("no connection in time")


async def _open(stream: trio.abc.Stream, request: bytes) -> bytes | Response:
    """Return the bytes that the client gets first, with the response to its opening request, or another response to send instead."""
    await stream.send_all(request)
    received = bytearray()
    while b"\r\n\r\n" not in received:
        data = await stream.receive_some(_CHUNK)
        if not data or len(received) > _MAX_HEAD:
            return _UNREACHABLE
        received += data
    if received.startswith(b"HTTP/1.1 101 "):
        return bytes(received)
    protocol = h11.Connection(h11.CLIENT)
    protocol.send(h11.Request(method="GET", target="/stream", headers=[("Host", LOOPBACK)]))
    protocol.send(h11.EndOfMessage())
    protocol.receive_data(bytes(received))
    head = protocol.next_event()
    if not isinstance(head, h11.Response):
        return _UNREACHABLE
    headers = _passed_back(head.headers)
    return error(head.status_code, "the service's console does not open a stream", *(pair for pair in headers if pair[0] == "retry-after"))


async def _join(client: trio.abc.Stream, service: trio.abc.Stream, first: bytes) -> None:
    """Pass bytes both ways until either side ends or stops reading; ``first`` goes to the client before all else."""

    async def copy(source: trio.abc.Stream, sink: trio.abc.Stream, data: bytes) -> None:
        try:
            while True:
                if data:
                    await send_all(sink, data, seconds=WRITE_S)
                data = bytes(await source.receive_some(_CHUNK))
                if not data:
                    break
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(copy, client, service, b"")
        nursery.start_soon(copy, service, client, first)


def _passed_back(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    known = ((name.decode("ascii"), value.decode("latin-1")) for name, value in headers)
    return tuple((name, value) for name, value in known if name in _PASSED_BACK)
