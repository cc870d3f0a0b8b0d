"""A token endpoint in memory, an observer that remembers, and the examples that the tests of this room share."""

import contextlib
import json
import math
import select
import socket
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import final

import attrs
import trio
from trio.testing import wait_all_tasks_blocked

from exchanger.exchange.interfaces import ExchangeObserver, TokenExchanger, Tracer
from exchanger.exchange.oauth.settings import TokenClientSettings
from exchanger.exchange.pipeline import ExchangePipeline
from exchanger.model.entry import TokenTarget
from exchanger.model.issuer import AuthMethod, Credentials, Issuer
from exchanger.model.secret import Secret
from exchanger.model.token import (
    ACCESS_TOKEN_TYPE,
    CoalescedRecord,
    ExchangedToken,
    ExchangeFailure,
    ExchangeRecord,
    TokenOutcome,
    TokenRequest,
)
from exchanger.net.call import EndpointCall
from exchanger.net.concurrency import ConcurrencyLimit
from exchanger.net.network import SYSTEM, Connect
from exchanger.net.reactor import Reactor
from exchanger.net.tls.client import client_tls_context
from tests.held import held, machines

GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
# The times that the contract has, for tests whose clock stands still or jumps; on a slow machine real time would use them up.
CONTRACT = TokenClientSettings(allow_http=True)
# Seconds after which a connection has rested, and is not idle yet, if answers come at once or almost.
RESTED = 1.5
HTTP = attrs.evolve(CONTRACT, request_timeout=30.0, dial_timeout=30.0, tls_handshake_timeout=30.0, response_header_timeout=30.0)
# Trusts nobody, and takes no time to make.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
ISSUED = ExchangedToken(Secret("issued-token"))


def token_request(
    subject_token: str = "subject-token",
    endpoint: str = "http://issuer.example.com/token",
    *,
    scope: str = "read:orders",
    client_secret: str = "client-secret",
    generation: int = 0,
) -> TokenRequest:
    credentials = Credentials("client", Secret(client_secret), generation)
    issuer = Issuer("primary", endpoint, "issuer.example.com", AuthMethod.CLIENT_SECRET_POST, credentials)
    return TokenRequest(issuer, Secret(subject_token), TokenTarget("primary", scope), GRANT, ACCESS_TOKEN_TYPE)


def success(access_token: str = "issued-token") -> bytes:
    return json.dumps({"access_token": access_token, "token_type": "Bearer", "issued_token_type": ACCESS_TOKEN_TYPE}).encode()


def response(body: bytes, status: int = 200, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


@final
@attrs.define(eq=False)
class Observer:
    records: list[ExchangeRecord] = attrs.field(factory=list)
    joined: list[CoalescedRecord] = attrs.field(factory=list)

    def exchanged(self, record: ExchangeRecord, /) -> None:
        self.records.append(record)

    def coalesced(self, record: CoalescedRecord, /) -> None:
        self.joined.append(record)

    @property
    def coalesced_hosts(self) -> list[str]:
        return [record.endpoint_host for record in self.joined]


class ClientGoneError(Exception):
    """The client closed its end."""


@final
@attrs.define(eq=False)
class Peer:
    """The server's end of one connection."""

    stream: trio.abc.Stream
    buffer: bytes = b""

    async def request(self) -> tuple[bytes, bytes]:
        """Return head and body of the next request; ends the script when the client is gone."""
        while b"\r\n\r\n" not in self.buffer:
            await self._more()
        head, _, rest = self.buffer.partition(b"\r\n\r\n")
        headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        length = int(headers.get(b"content-length", b"0"))  # CONNECT has none
        self.buffer = rest
        while len(self.buffer) < length:
            await self._more()
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        return head, body

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def close(self) -> None:
        await trio.lowlevel.checkpoint()
        end(self.stream)

    async def _more(self) -> None:
        data = await self.stream.receive_some(65_536)
        if not data:
            raise ClientGoneError
        self.buffer += data


Script = Callable[[Peer], Awaitable[None]]


def answering(*answers: bytes) -> Script:
    """Answer each request with the next of ``answers``; the last one is repeated."""

    async def script(peer: Peer) -> None:
        remaining = list(answers)
        while True:
            await peer.request()
            await peer.send(remaining[0])
            if len(remaining) > 1:
                remaining.pop(0)

    return script


def closing(answer: bytes) -> Script:
    """Answer one request and close."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer)
        await peer.close()

    return script


async def silent(peer: Peer) -> None:
    """Take requests and say nothing."""
    while True:
        await peer.request()


def end(stream: trio.abc.Stream) -> None:
    """Say that nothing more comes. The socket stays, so that it shows what the client does."""
    while not isinstance(stream, trio.SocketStream):
        assert isinstance(stream, trio.SSLStream)
        stream = stream.transport_stream
    with contextlib.suppress(OSError):
        stream.socket.shutdown(socket.SHUT_WR)


@final
@attrs.define(eq=False)
class Connected:
    """The server's end of a pair of sockets."""

    stream: trio.SocketStream

    @property
    def closed(self) -> bool:
        """Whether the client has closed its end."""
        if self.stream.socket.fileno() < 0:
            return True
        poll = select.poll()
        poll.register(self.stream.socket.fileno(), 0)
        return bool(poll.poll(0))


def connected() -> tuple[trio.SocketStream, Connected]:
    """Return both ends of a connection without a network, on which nothing takes time."""
    client, server = socket.socketpair()
    return _stream(client), Connected(_stream(server))


def _stream(end_: socket.socket) -> trio.SocketStream:
    return trio.SocketStream(trio.socket.from_stdlib_socket(end_))


@final
@attrs.define(eq=False)
class MemoryEndpoint:
    """Token endpoints reached through ``dial``: connection n runs script n, and the last script serves all further ones."""

    nursery: trio.Nursery
    scripts: Sequence[Script]
    dialled: list[tuple[str, int]] = attrs.field(factory=list)
    streams: list[Connected] = attrs.field(factory=list)

    async def dial(self, host: str, port: int) -> trio.SocketStream:
        await trio.lowlevel.checkpoint()
        client, server = connected()
        script = self.scripts[min(len(self.dialled), len(self.scripts) - 1)]
        self.dialled.append((host, port))
        self.streams.append(server)
        self.nursery.start_soon(serve, script, server.stream)
        return client

    @property
    def open_connections(self) -> int:
        return sum(not stream.closed for stream in self.streams)

    def close(self) -> None:
        for stream in self.streams:
            stream.stream.socket.close()


async def serve(script: Script, stream: trio.abc.Stream) -> None:
    """Run ``script`` until it ends or the client goes, and end the connection."""
    with contextlib.suppress(ClientGoneError, trio.BrokenResourceError):
        await script(Peer(stream))
    end(stream)


def client_of(
    settings: TokenClientSettings,
    observer: ExchangeObserver,
    *,
    clock: Callable[[], float] = trio.current_time,
    wall: Callable[[], float] = SYSTEM.wall,
    dial: Connect = SYSTEM.connect,
    tls: ssl.SSLContext | Callable[[], ssl.SSLContext] = client_tls_context,
    tracer: Tracer | None = None,
    random: Random = SYSTEM.random,
) -> ExchangePipeline:
    """Return a client with a reactor of its own, which ``running`` runs."""
    make = (lambda: tls) if isinstance(tls, ssl.SSLContext) else tls
    network = attrs.evolve(SYSTEM, steady=clock, wall=wall, connect=dial, random=random)
    return ExchangePipeline(settings, (observer,), Reactor(network), tls=make, tracer=tracer)


async def exchange(client: TokenExchanger, request: TokenRequest, deadline: float = math.inf) -> TokenOutcome:
    """Exchange as one caller, who leaves when cancelled."""
    await trio.lowlevel.checkpoint()
    outcomes: list[TokenOutcome] = []
    landed = trio.Event()

    def done(outcome: TokenOutcome) -> None:
        outcomes.append(outcome)
        landed.set()

    found = client.begin(request, deadline, done)
    if isinstance(found, ExchangedToken | ExchangeFailure):
        return found
    try:
        await landed.wait()
    except trio.Cancelled:
        if not outcomes:
            found.leave()
        raise
    (outcome,) = outcomes
    return outcome


@asynccontextmanager
async def running(client: ExchangePipeline) -> AsyncGenerator[ExchangePipeline, None]:
    """Run a client. At the end it holds nothing for requests, or else calls to endpoints in progress; and after it, nothing."""
    async with trio.open_nursery() as reactor:
        reactor.start_soon(client.reactor.run)
        async with trio.open_nursery() as nursery:
            await nursery.start(client.run)
            yield client
            await wait_all_tasks_blocked()
            present = machines(client)
            at_end = held(present)
            assert at_end == {} or EndpointCall.__name__ in at_end
            nursery.cancel_scope.cancel()
        reactor.cancel_scope.cancel()
    client.reactor.close()
    assert held(machines(client)) == held(it for it in present if isinstance(it, ConcurrencyLimit)) == {}


def kept(client: ExchangePipeline) -> int:
    """Return how many connections rest or are idle, or carry no call now."""
    return client.connections.quarantined + client.connections.idle + client.connections.multiplexed


def at_rest(client: ExchangePipeline, *, connections: int = 0) -> bool:
    """Whether nothing is under way, and the only connections are ``connections`` that rest or are idle."""
    present = client.connections
    return (
        client.in_flight == {}
        and (client.exchanges.under_way, client.exchanges.waiting) == (0, 0)
        and (present.open, kept(client), present.busy, present.waiting) == (connections, connections, 0, 0)
    )


@final
@attrs.define(eq=False)
class World:
    """A client, its observer, and the endpoints that it talks to."""

    client: ExchangePipeline
    observer: Observer
    endpoint: MemoryEndpoint

    async def exchange_all(self, *requests: TokenRequest) -> list[TokenOutcome]:
        """Exchange at the same time."""
        outcomes: dict[int, TokenOutcome] = {}

        async def one(number: int, request: TokenRequest) -> None:
            outcomes[number] = await exchange(self.client, request)

        async with trio.open_nursery() as callers:
            for number, request in enumerate(requests):
                callers.start_soon(one, number, request)
        return [outcomes[number] for number in range(len(requests))]


@asynccontextmanager
async def world(
    *scripts: Script,
    settings: TokenClientSettings = HTTP,
    observer: ExchangeObserver | None = None,
    dial: Connect | None = None,
    tls: ssl.SSLContext | Callable[[], ssl.SSLContext] = NO_TLS,
    tracer: Tracer | None = None,
    wall: Callable[[], float] = SYSTEM.wall,
    random: Random = SYSTEM.random,
    issuers: Sequence[Issuer] = (),
) -> AsyncGenerator[World]:
    """Run a client, by default with an endpoint that issues a token each time; at the end nothing is open or under way.

    If there are ``issuers``, they are active before it runs.
    """
    seen = Observer()
    async with trio.open_nursery() as servers:
        endpoint = MemoryEndpoint(servers, scripts or [answering(response(success()))])
        client = client_of(settings, observer or seen, dial=dial or endpoint.dial, tls=tls, tracer=tracer, wall=wall, random=random)
        if issuers:
            client.use_issuers({issuer.name: issuer for issuer in issuers})
        try:
            async with running(client):
                yield World(client, seen, endpoint)
        finally:
            servers.cancel_scope.cancel()
            try:
                assert at_rest(client)
                assert endpoint.open_connections == 0
            finally:
                endpoint.close()
