"""The client's own connections over HTTP/2, for tests with servers that are not ours."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final, final

import attrs
import trio

from exchanger.model.issuer import EndpointProtocol
from exchanger.net.answer import EndpointResponse
from exchanger.net.call import NoAnswer
from exchanger.net.dial import DialLimits, Origin
from exchanger.net.endpoint import Endpoint
from exchanger.net.network import SYSTEM
from exchanger.net.pool import Connections, PoolLimits
from exchanger.net.reactor import Reactor
from exchanger.net.tls.client import client_tls_context
from exchanger.net.tls.client_contexts import TlsContexts

LIMIT_S: Final = 20.0  # for what takes milliseconds, unless the machine stalls
LIMITS: Final = PoolLimits(
    dial=DialLimits(LIMIT_S, LIMIT_S),
    response_header=LIMIT_S,
    max_idle=100,
    max_idle_per_host=10,
    idle_timeout=90.0,
    longest_call=LIMIT_S,
    max_quarantined=100,
)
HEADERS: Final = (
    ("Accept", "application/json"),
    ("Authorization", "Basic Y2xpZW50OnNlY3JldA=="),
    ("Content-Type", "application/x-www-form-urlencoded"),
)


@final
@attrs.define(eq=False)
class Session:
    """Connections to one server; ``dialled`` is how many there were."""

    origin: Origin
    reactor: Reactor = attrs.field(init=False)
    dialled: int = 0
    connections: Connections = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.reactor = Reactor(attrs.evolve(SYSTEM, connect=self._dial))
        self.connections = Connections(LIMITS, self.reactor, TlsContexts(client_tls_context))

    async def _dial(self, host: str, port: int) -> trio.SocketStream:
        self.dialled += 1
        return await trio.open_tcp_stream(host, port)

    async def ask(self, target: str, body: bytes = b"subject_token=x") -> EndpointResponse | NoAnswer:
        endpoint = Endpoint(self.origin, f"{self.origin.host}:{self.origin.port}", target)
        head = endpoint.head(HEADERS)
        assert head is not None
        found, _ = await self.connections.round_trip(endpoint, head, body, LIMIT_S)
        return found

    async def answer(self, target: str, body: bytes = b"subject_token=x") -> EndpointResponse:
        found = await self.ask(target, body)
        assert isinstance(found, EndpointResponse), found
        return found

    async def ask_all(self, *asked: tuple[str, bytes]) -> list[EndpointResponse | NoAnswer]:
        """Ask at the same time."""
        found: dict[int, EndpointResponse | NoAnswer] = {}

        async def one(number: int, target: str, body: bytes) -> None:
            found[number] = await self.ask(target, body)

        async with trio.open_nursery() as nursery:
            for number, (target, body) in enumerate(asked):
                nursery.start_soon(one, number, target, body)
        return [found[number] for number in range(len(asked))]


@asynccontextmanager
async def session(host: str, port: int, ca_pem: str | None) -> AsyncGenerator[Session]:
    """Connect with TLS if there is a CA, by prior knowledge if there is none (RFC 9113 section 3.3)."""
    it = Session(Origin(ca_pem is not None, host, port, protocol=EndpointProtocol.HTTP2, ca_pem=ca_pem))
    async with trio.open_nursery() as reactor:
        reactor.start_soon(it.reactor.run)
        async with trio.open_nursery() as nursery:
            await nursery.start(it.connections.run)
            yield it
            nursery.cancel_scope.cancel()
        it.reactor.turn(it.connections.close)
        await ended(it)
        reactor.cancel_scope.cancel()
    it.reactor.close()


async def ended(it: Session) -> None:
    """Wait until no connection is open."""
    with trio.fail_after(LIMIT_S):
        while it.connections.open:  # noqa: ASYNC110 - what is waited for sets no event
            await trio.sleep(0.01)
