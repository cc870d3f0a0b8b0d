"""The exchange pipeline over HTTP/2: many calls on one connection, and what a peer may do to it."""

from collections.abc import Awaitable, Callable

import attrs
import ngh2
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from exchanger.model.errors import Diagnostic
from exchanger.model.issuer import EndpointProtocol
from exchanger.model.secret import Secret
from exchanger.model.token import ErrorKind, ExchangedToken, TokenOutcome, TokenRequest
from exchanger.model.token_failure import transport_failure
from exchanger.model.trace import NO_TRACE, TraceContext
from tests.exchange.oauth.fakes import CONTRACT, World, at_rest, exchange, kept, token_request, world
from tests.net.http2_endpoint import Endpoint, own, silent
from tests.net.http2_peer import Server


def request(subject: str = "subject", trace: TraceContext = NO_TRACE) -> TokenRequest:
    """Return a request to an endpoint of which it is known that it speaks HTTP/2."""
    plain = token_request(subject)
    return attrs.evolve(plain, issuer=attrs.evolve(plain.issuer, protocol=EndpointProtocol.HTTP2), trace=trace)


async def outcomes_of(it: World, count: int) -> list[TokenOutcome]:
    return await it.exchange_all(*(request(f"s{number}") for number in range(count)))


async def test_many_calls_share_one_connection_and_each_gets_its_own_answer() -> None:
    endpoint = Endpoint(own)
    async with world(endpoint.serve) as it:
        assert await exchange(it.client, request("first", trace=TraceContext(baggage="user=a"))) == ExchangedToken(Secret("token-of-first"))
        outcomes = await outcomes_of(it, 60)
        assert outcomes == [ExchangedToken(Secret(f"token-of-s{number}")) for number in range(60)]
        assert at_rest(it.client, connections=1)
    assert len(it.endpoint.dialled) == 1
    (server,) = endpoint.servers
    headers = server.requests[1].headers
    assert (headers[b":path"], headers[b":authority"], headers[b"baggage"]) == (b"/token", b"issuer.example.com", b"user=a")
    assert server.closed or server.goaways == [0]


async def test_a_connection_that_the_endpoint_gives_up_as_a_call_begins() -> None:
    async def close_at_second(endpoint: Endpoint, server: Server, streams: list[int]) -> None:
        if server is endpoint.servers[0] and streams and len(server.requests) == 2:
            await endpoint.peers[0].close()
            await trio.sleep_forever()
        await own(endpoint, server, streams)

    endpoint = Endpoint(close_at_second)
    async with world(endpoint.serve) as it:
        for number in range(3):
            assert await exchange(it.client, request(f"s{number}")) == ExchangedToken(Secret(f"token-of-s{number}"))
    assert len(it.endpoint.dialled) == 2


async def test_calls_beyond_what_an_endpoint_takes_are_not_refused_twice() -> None:
    """A new connection is used before the endpoint has said how many requests it takes; the next one knows."""
    endpoint = Endpoint(own, {3: 3})
    async with world(endpoint.serve) as it:
        assert await outcomes_of(it, 25) == [ExchangedToken(Secret(f"token-of-s{number}")) for number in range(25)]
    assert any(len(server.requests) == 3 for server in endpoint.servers)


FAILED = transport_failure(ErrorKind.TRANSPORT_ERROR, Diagnostic.REQUEST_FAILED)


@pytest.mark.parametrize(
    ("codes", "outcome", "dialled"),
    [
        ([ngh2.ErrorCode.REFUSED_STREAM], ExchangedToken(Secret("token-of-a")), 2),
        ([ngh2.ErrorCode.REFUSED_STREAM] * 2, FAILED, 2),
        *(([code], FAILED, 1) for code in (ngh2.ErrorCode.INTERNAL_ERROR, ngh2.ErrorCode.CANCEL, ngh2.ErrorCode.NO_ERROR)),
    ],
)
async def test_a_request_that_was_not_processed_is_sent_once_more(codes: list[ngh2.ErrorCode], outcome: TokenOutcome, dialled: int) -> None:
    async def resets(endpoint: Endpoint, server: Server, streams: list[int]) -> None:
        number = endpoint.servers.index(server)
        if number < len(codes):
            for stream in streams:
                server.http.reset_stream(stream, codes[number])
        else:
            await own(endpoint, server, streams)

    async with world(Endpoint(resets).serve) as it:
        assert await exchange(it.client, request("a")) == outcome
    assert len(it.endpoint.dialled) == dialled


async def test_a_stream_is_reset_at_its_own_deadline_alone(autojump_clock: MockClock) -> None:
    endpoint = Endpoint(silent)
    async with world(endpoint.serve, settings=CONTRACT) as it:
        async with trio.open_nursery() as callers:
            callers.start_soon(exchange, it.client, request("a"))
            await wait_all_tasks_blocked()
            callers.cancel_scope.cancel()
        await wait_all_tasks_blocked()
        (server,) = endpoint.servers
        assert (server.requests[1].reset, it.client.in_flight) == (None, {"issuer.example.com": 1})
        await trio.sleep(CONTRACT.request_timeout + 0.1)
        assert at_rest(it.client, connections=kept(it.client))
        assert server.requests[1].reset == ngh2.ErrorCode.CANCEL
        endpoint.act = own
        assert await exchange(it.client, request("b")) == ExchangedToken(Secret("token-of-b"))
    assert len(it.endpoint.dialled) == 1


async def refused(_endpoint: Endpoint, server: Server, streams: list[int]) -> None:
    for stream in streams:
        server.http.reset_stream(stream, ngh2.ErrorCode.REFUSED_STREAM)


@pytest.mark.parametrize(("act", "connections"), [(own, 5), (refused, 10), (silent, 5)])
async def test_without_connection_reuse_each_call_opens_and_closes_its_own_connection(
    act: Callable[[Endpoint, Server, list[int]], Awaitable[None]], connections: int, autojump_clock: MockClock
) -> None:
    """A request that was refused goes out once more, also on a connection of its own."""
    endpoint = Endpoint(act)
    async with world(endpoint.serve, settings=attrs.evolve(CONTRACT, connection_reuse=False)) as it:
        for number in range(2):
            await exchange(it.client, request(f"a{number}"))
            await wait_all_tasks_blocked()
            assert it.client.connections.open == 0
        await outcomes_of(it, 3)
        await wait_all_tasks_blocked()
        assert it.client.connections.open == 0
    assert [len(server.requests) for server in endpoint.servers] == [1] * connections
