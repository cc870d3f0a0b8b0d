"""Passes requests on to another console on a loopback port: the demo's front answers for the service's own console.

What says who asks stays behind (cookies, credentials, origin): the front has judged it, and the console behind has loopback for a guard.
Must not know: what is asked or answered.
"""

from typing import Final, final

import attrs
import h11
import trio

from exchanger.console.handshake import Handshake
from exchanger.console.message import Request, Response, error
from exchanger.http.connection import send_bounded

LOOPBACK: Final = "127.0.0.1"
CONNECT_S: Final = 2.0
"""Seconds to connect on loopback, where it takes well under a millisecond."""
ANSWER_S: Final = 30.0
"""Seconds for the whole answer: what a handler may take."""
WRITE_S: Final = 60.0
"""Seconds for one side of a piped connection to take what the other one sent."""
MAX_ANSWER: Final = 16 * 1024 * 1024
"""Bytes of an answer: a document of a megabyte with its 20,000 entries has some 8 MB."""
_MAX_HEAD: Final = 32 * 1024
_CHUNK: Final = 64 * 1024

_PASSED_ON: Final = frozenset({"accept", "content-type", "if-none-match"})
"""Of the request's headers: what the answer depends on."""
_PASSED_BACK: Final = frozenset({"content-type", "cache-control", "etag", "allow", "retry-after"})
"""Of the answer's: what it means. The front adds its own protection."""
_UNREACHABLE: Final = error(502, "the service's console cannot be reached")
_FAILURES: Final = (OSError, trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError, h11.LocalProtocolError)


@final
@attrs.frozen
class LoopbackProxy:
    """Speaks to ``port`` of this machine; each request has a connection of its own."""

    port: int

    async def forward(self, request: Request) -> Response:
        """Return what is answered there; see ``message.Handler``."""
        with trio.move_on_after(ANSWER_S):
            try:
                async with await self._connect() as stream:
                    return await self._ask(stream, request)
            except _FAILURES:
                return _UNREACHABLE
        return error(504, "the service's console took too long")

    async def pipe(self, _request: Request, handshake: Handshake, client: trio.abc.Stream) -> Response | None:
        """Open the WebSocket there and pass on what either side sends until one ends; see ``server.UpgradeHandler``."""
        try:
            stream = await self._connect()
        except _FAILURES:
            return _UNREACHABLE
        async with stream:
            opened: bytes | Response = error(504, "the service's console took too long")
            with trio.move_on_after(CONNECT_S):
                try:
                    opened = await self._open(stream, handshake)
                except _FAILURES:
                    return _UNREACHABLE
            if isinstance(opened, Response):
                return opened
            await _join(client, stream, opened)
        return None

    async def _connect(self) -> trio.SocketStream:
        with trio.move_on_after(CONNECT_S):
            return await trio.open_tcp_stream(LOOPBACK, self.port)
        raise OSError("no connection in time")

    async def _ask(self, stream: trio.SocketStream, request: Request) -> Response:
        protocol = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEAD)
        headers = [(name.encode(), value.encode("latin-1")) for name, value in request.headers if name in _PASSED_ON]
        headers += [(b"Host", f"{LOOPBACK}:{self.port}".encode()), (b"Connection", b"close")]
        if request.body:
            headers.append((b"Content-Length", str(len(request.body)).encode()))
        target = f"{request.path}?{request.query}" if request.query else request.path
        data = protocol.send(h11.Request(method=request.method, target=target, headers=headers)) or b""
        if request.body:
            data += protocol.send(h11.Data(data=request.body)) or b""
        await stream.send_all(data + (protocol.send(h11.EndOfMessage()) or b""))
        return await _receive(stream, protocol)

    async def _open(self, stream: trio.SocketStream, handshake: Handshake) -> bytes | Response:
        """Return what the client is to be sent first, the answer to its opening request included, or another answer instead."""
        opening = handshake.request("/stream", f"{LOOPBACK}:{self.port}")
        await stream.send_all(opening)
        received = bytearray()
        while b"\r\n\r\n" not in received:
            data = await stream.receive_some(_CHUNK)
            if not data or len(received) > _MAX_HEAD:
                return _UNREACHABLE
            received += data
        if received.startswith(b"HTTP/1.1 101 "):
            return bytes(received)
        protocol = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEAD)
        protocol.send(h11.Request(method="GET", target="/stream", headers=[("Host", LOOPBACK)]))
        protocol.send(h11.EndOfMessage())
        protocol.receive_data(bytes(received))
        return await _receive(stream, protocol)


async def _receive(stream: trio.SocketStream, protocol: h11.Connection) -> Response:
    head: h11.Response | None = None
    body = bytearray()
    while True:
        event = protocol.next_event()
        if event is h11.NEED_DATA:
            protocol.receive_data(bytes(await stream.receive_some(_CHUNK)))
        elif isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > MAX_ANSWER:
                return _UNREACHABLE
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            pairs = ((name.decode("ascii"), value.decode("latin-1")) for name, value in head.headers)
            return Response(head.status_code, bytes(body), tuple((name, value) for name, value in pairs if name in _PASSED_BACK))
        elif not isinstance(event, h11.InformationalResponse):
            return _UNREACHABLE


async def _join(client: trio.abc.Stream, service: trio.abc.Stream, first: bytes) -> None:
    """Pass bytes both ways until either side ends or does not take what it is sent; ``first`` goes to the client before all else."""

    async def copy(source: trio.abc.Stream, sink: trio.abc.Stream, data: bytes) -> None:
        try:
            while True:
                if data:
                    await send_bounded(sink, data, seconds=WRITE_S)
                data = bytes(await source.receive_some(_CHUNK))
                if not data:
                    break
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(copy, client, service, b"")
        nursery.start_soon(copy, service, client, first)
