"""An HTTP server whose every byte a test scripts, with or without TLS, and connections to it."""

import contextlib
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from typing import Final
from urllib.parse import parse_qs, urlsplit

import attrs
import orjson
import trio
import trustme
from urllib3 import PoolManager

from exchanger.model.secret import Secret
from exchanger.policy.selection import ConfigMap
from exchanger.sources.kube.api.access import Access, ClusterCredentials, ClusterError, make_wakeable
from exchanger.sources.kube.api.connection import ApiConnection, ConnectionBounds
from exchanger.sources.kube.api.decoding import CONFIG_MAP
from exchanger.sources.kube.api.resource import Resource

# Long enough for a busy machine; tests that wait for a bound replace it by a short one.
FAST: Final = ConnectionBounds(connect=5, read=20, call=30, quiet=20, probe=20, watch_read=60, watch_margin=20)
WATCH_HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST_CHUNK: Final = b"0\r\n\r\n"


@attrs.frozen
class Received:
    """The head of a request."""

    target: str
    headers: dict[str, str]
    body: bytes


Script = Callable[[Received, trio.abc.Stream], Awaitable[None]]


@attrs.define(eq=False)
class Server:
    """Hands each request to ``script``, which writes what it likes; a connection carries requests until the script closes it.

    ``made``: connections to it, whose idle sockets ``serving`` closes at the end.
    """

    script: Script
    port: int = 0
    made: list[ApiConnection] = attrs.field(factory=list)
    requests: list[Received] = attrs.field(factory=list)
    connections: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, stream: trio.abc.Stream) -> None:
        self.connections += 1
        waiting = b""
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while True:
                while b"\r\n\r\n" not in waiting:
                    received = await stream.receive_some()
                    if not received:
                        return
                    waiting += bytes(received)
                head, _, waiting = waiting.partition(b"\r\n\r\n")
                first, *lines = head.decode().split("\r\n")
                headers = {name.lower(): text for name, _, text in (line.partition(": ") for line in lines)}
                length = int(headers.get("content-length", "0"))
                while len(waiting) < length:
                    waiting += bytes(await stream.receive_some())
                body, waiting = waiting[:length], waiting[length:]
                request = Received(first.split(" ")[1], headers, body)
                self.requests.append(request)
                await self.script(request, stream)

    def connection(
        self, bounds: ConnectionBounds = FAST, token: Callable[[], str] = lambda: "token", load: Callable[[], Access] | None = None
    ) -> ApiConnection:
        """Return a connection to this server; ``load`` is what its credentials are read with when they were refused."""

        def nothing_new() -> Access:
            raise ClusterError("nothing new")

        self.made.append(ApiConnection(ClusterCredentials(load or nothing_new, access_to(self.url, token)), bounds))
        return self.made[-1]


def access_to(url: str, token: Callable[[], str] = lambda: "token") -> Access:
    """Return access to ``url`` with a bearer token."""
    pools = PoolManager()
    make_wakeable(pools)
    return Access(url, pools, lambda: Secret(f"Bearer {token()}"))


def connection_to(url: str, bounds: ConnectionBounds = FAST, **tls: str) -> ApiConnection:
    """Return an anonymous connection to ``url`` that finds no other credentials; ``tls`` is for urllib3's pools."""
    pools = PoolManager(**tls)  # type: ignore[arg-type]  # names of TLS settings
    make_wakeable(pools)

    def load() -> Access:
        raise ClusterError("nothing new")

    return ApiConnection(ClusterCredentials(load, Access(url, pools, lambda: None)), bounds)


@contextlib.asynccontextmanager
async def listening(handler: Callable[[trio.SocketStream], Awaitable[None]]) -> AsyncGenerator[int]:
    """Hand streams to ``handler`` until the block ends; give the port."""
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, handler, 0, host="127.0.0.1"))
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def joined(one: trio.SocketStream, other: trio.SocketStream) -> None:
    """Pass on what each of the two says to the other, until either ends."""

    async def pass_on(source: trio.SocketStream, sink: trio.SocketStream) -> None:
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async for piece in source:
                await sink.send_all(piece)
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(pass_on, one, other)
        nursery.start_soon(pass_on, other, one)


@contextlib.asynccontextmanager
async def serving(script: Script) -> AsyncGenerator[Server]:
    """Serve until the block ends."""
    server = Server(script)
    async with listening(server.serve) as server.port:
        try:
            yield server
        finally:
            for connection in server.made:
                connection.credentials.close()


@contextlib.asynccontextmanager
async def connected(script: Script, bounds: ConnectionBounds = FAST) -> AsyncGenerator[ApiConnection]:
    """Serve and connect until the block ends."""
    async with serving(script) as server:
        yield server.connection(bounds)


def over_tls(server: Server, issue: Callable[[], trustme.LeafCert]) -> Callable[[trio.SocketStream], Awaitable[None]]:
    """Return a handler that serves over TLS, each connection with the certificate that ``issue`` returns."""

    async def handler(stream: trio.SocketStream) -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        issue().configure_cert(context)
        with contextlib.suppress(trio.BrokenResourceError):
            await server.serve(trio.SSLStream(stream, context, server_side=True, https_compatible=True))

    return handler


def answer(body: object, status: str = "200 OK", **headers: str) -> bytes:
    """Return a whole response; a ``body`` that is not bytes is written as JSON."""
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    fields = {"Content-Length": str(len(content)), **{name.replace("_", "-"): text for name, text in headers.items()}}
    lines = "".join(f"{name}: {text}\r\n" for name, text in fields.items())
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + content


def chunk(content: bytes) -> bytes:
    """Return a chunk (RFC 9112 section 7.1)."""
    return f"{len(content):x}\r\n".encode() + content + b"\r\n"


def says(*parts: bytes) -> Script:
    """Return a script that says ``parts`` and closes the connection."""

    async def script(_: Received, stream: trio.abc.Stream) -> None:
        for part in parts:
            await stream.send_all(part)
        await stream.aclose()

    return script


def repeats(response: bytes) -> Script:
    """Return a script that answers each request with ``response`` and keeps the connection."""

    async def script(_: Received, stream: trio.abc.Stream) -> None:
        await stream.send_all(response)

    return script


def keeps_saying(*parts: bytes) -> Script:
    """Return a script that says ``parts`` and leaves the connection open for ever."""

    async def script(_: Received, stream: trio.abc.Stream) -> None:
        for part in parts:
            await stream.send_all(part)
        await trio.sleep_forever()

    return script


def event(kind: str, name: str = "policy", version: str = "7", **metadata: object) -> bytes:
    """Return the line of a watch event of a ConfigMap."""
    found = {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {"namespace": "team", "name": name, "resourceVersion": version, **metadata},
        "data": {"config.yaml": "x: 1"},
    }
    return orjson.dumps({"type": kind, "object": found}) + b"\n"


def query(request: Received) -> dict[str, str]:
    return {name: texts[0] for name, texts in parse_qs(urlsplit(request.target).query).items()}


def config_maps(connection: ApiConnection) -> Resource[ConfigMap]:
    return Resource(connection, "/api/v1/configmaps", CONFIG_MAP, "enabled=true")
