"""Passes requests on to another console: the demo's console answers for the service's own, on this machine or elsewhere.

What identifies the client stays behind (cookies, credentials, origin): the console in front has judged it, and the one behind has
loopback or its own token for a guard. Must not know: what is asked or answered.
"""

import ssl
from collections.abc import Iterable
from typing import Final, final

import attrs
import h11
import httpx
import trio

from exchanger.console.message import error
from exchanger.console.websocket import WRITE_S, Handshake
from exchanger.http.message import Headers, Request, Response
from exchanger.http.server import send_all
from exchanger.util.address import format_address, tls_server_name
from exchanger.values.secret import Secret

LOOPBACK: Final = "127.0.0.1"
# Seconds to connect, TLS included: on loopback it takes well under a millisecond, across the world a few tenths of a second.
CONNECT_S: Final = 2.0
# Seconds for the whole response: what a handler may take.
ANSWER_S: Final = 30.0
# Bytes of a response: a document of a megabyte with its 20,000 entries has some 8 MB.
MAX_ANSWER: Final = 16 * 1024 * 1024
_MAX_HEAD: Final = 32 * 1024
_CHUNK: Final = 64 * 1024

# The headers of a request that its response depends on, and those of a response that say what it means. The console in front adds its own
# protection.
_PASSED_ON: Final = frozenset({"accept", "content-type", "if-none-match"})
_PASSED_BACK: Final = frozenset({"content-type", "cache-control", "etag", "allow", "retry-after"})
# ``ANSWER_S`` bounds everything but the connection's own establishment.
_TIMEOUT: Final = httpx.Timeout(None, connect=CONNECT_S)
_WITHOUT_BODY: Final = frozenset({204, 304})
_UNREACHABLE: Final = error(502, "the service's console cannot be reached")
_TOO_LATE: Final = error(504, "the service's console took too long")
_FAILURES: Final = (OSError, trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError)


@final
@attrs.frozen
class ConsoleProxy:
    """Speaks to ``port`` of ``host``; each request has a connection of its own.

    ``tls`` is how connections are secured, ``None`` for plain text; ``token`` is that console's own, ``None`` if it has none.
    """

    port: int
    host: str = LOOPBACK
    tls: ssl.SSLContext | None = attrs.field(default=None, eq=False)
    token: Secret | None = None

    @property
    def url(self) -> str:
        """Its address, for people."""
        return f"{'http' if self.tls is None else 'https'}://{format_address(self.host, self.port)}"

    async def forward(self, request: Request) -> Response:
        """Return the response from there; see ``http.message.Handler``."""
        headers = {name: value for name, value in request.headers if name in _PASSED_ON} | {"Accept-Encoding": "identity", **self._access()}
        with trio.move_on_after(ANSWER_S):
            try:
                # With plain HTTP, the context only spares httpx from reading the trust store.
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if self.tls is None else self.tls
                async with (
                    httpx.AsyncClient(trust_env=False, timeout=_TIMEOUT, verify=context) as client,
                    client.stream(
                        request.method,
                        f"{self.url}/",
                        headers=headers,
                        content=request.body or None,
                        extensions={"target": request.target.encode()},  # byte for byte: httpx would normalise it
                    ) as response,
                ):
                    # A console announces each length. A body that is left unread would leave httpx's generators unfinished under Trio.
                    length = response.headers.get("content-length", "" if response.status_code not in _WITHOUT_BODY else "0")
                    if not length.isdecimal() or int(length) > MAX_ANSWER:
                        return _UNREACHABLE
                    return Response(response.status_code, _passed_back(response.headers.items()), await response.aread())
            except httpx.HTTPError:
                return _UNREACHABLE
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
            stream = await trio.open_tcp_stream(self.host, self.port)
            if self.tls is None:
                return stream
            return trio.SSLStream(stream, self.tls, server_hostname=tls_server_name(self.host), https_compatible=True)
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
    headers = _passed_back((name.decode("ascii"), value.decode("latin-1")) for name, value in head.headers)
    return error(head.status_code, "the service's console does not open a stream", *(pair for pair in headers if pair[0] == "retry-after"))


async def _join(client: trio.abc.Stream, service: trio.abc.Stream, first: bytes) -> None:
    """Pass bytes both ways until either side ends or does not take what it is sent; ``first`` goes to the client before all else."""

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


def _passed_back(headers: Iterable[tuple[str, str]]) -> Headers:
    return tuple((name, value) for name, value in headers if name.lower() in _PASSED_BACK)
