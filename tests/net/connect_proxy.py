"""A CONNECT proxy on loopback, with whatever fault a test wants, and a token endpoint with TLS behind it."""

import base64
import contextlib
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import final

import attrs
import trio

from tests.exchange.oauth.fakes import Peer, Script, serve

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
# Answers CONNECT, and returns whether the tunnel is open.
Answer = Callable[[trio.abc.Stream], Awaitable[bool]]


def saying(*pieces: bytes, opens: bool = False) -> Answer:
    """Say ``pieces``, each by itself."""

    async def answer(stream: trio.abc.Stream) -> bool:
        for piece in pieces:
            await stream.send_all(piece)
        return opens

    return answer


@final
@attrs.define(eq=False)
class ConnectProxy:
    """Opens tunnels to ``ways``, or to the port that is asked for; ``received`` has the clients' first bytes, ``carried`` what followed."""

    answer: Answer = attrs.field(factory=lambda: saying(ESTABLISHED, opens=True))
    credentials: str = ""
    ways: dict[str, int] = attrs.field(factory=dict)
    tls: ssl.SSLContext | None = None
    port: int = 0
    asked: list[str] = attrs.field(factory=list)
    received: bytearray = attrs.field(factory=bytearray)
    carried: bytearray = attrs.field(factory=bytearray)

    async def serve(self, plain: trio.SocketStream) -> None:
        stream: trio.abc.Stream = plain if self.tls is None else trio.SSLStream(plain, self.tls, server_side=True, https_compatible=True)
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self._serve(stream)
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(stream)

    async def _serve(self, stream: trio.abc.Stream) -> None:
        head = bytearray()
        while b"\r\n\r\n" not in head:
            data = await stream.receive_some(4096)
            if not data:
                return
            head += data
        self.received += head
        method, target, _ = head.decode().split("\r\n")[0].split(" ")
        assert method == "CONNECT"
        assert head.endswith(b"\r\n\r\n"), "a client says nothing more until it is answered"
        self.asked.append(target)
        expected = base64.b64encode(self.credentials.encode()).decode()
        if self.credentials and f"\r\nProxy-Authorization: Basic {expected}\r\n" not in head.decode():
            await stream.send_all(b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n")
            return
        if not await self.answer(stream):
            await stream.receive_some(1)
            return
        host, _, port = target.rpartition(":")
        onward = await trio.open_tcp_stream("127.0.0.1", self.ways.get(target) or self.ways.get(host) or int(port))
        async with onward, trio.open_nursery() as nursery:
            nursery.start_soon(self._carry, stream, onward, nursery)
            await self._carry(onward, stream, nursery)

    async def _carry(self, source: trio.abc.Stream, target: trio.abc.Stream, nursery: trio.Nursery) -> None:
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while data := await source.receive_some(4096):
                self.carried += data
                await target.send_all(data)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def proxying(proxy: ConnectProxy) -> AsyncGenerator[ConnectProxy]:
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, proxy.serve, 0, host="127.0.0.1"))
        proxy.port = listeners[0].socket.getsockname()[1]
        yield proxy
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def token_endpoint(script: Script, tls: ssl.SSLContext | None) -> AsyncGenerator[int]:
    """Run a token endpoint on loopback until the block ends; its port."""

    async def handle(plain: trio.SocketStream) -> None:
        await serve(script, plain if tls is None else trio.SSLStream(plain, tls, server_side=True, https_compatible=True))

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, handle, 0, host="127.0.0.1"))
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


def remembering(seen: list[bytes], answer: bytes) -> Script:
    """Answer each request with ``answer``, and keep head and body."""

    async def script(peer: Peer) -> None:
        while True:
            seen.append(b"\r\n\r\n".join(await peer.request()))
            await peer.send(answer)

    return script
