"""Leaving at every wait of an exchange: its call goes on within its own time, and then nothing is under way, nothing is open that should
not be, and one record says so.
"""

import ssl

import attrs
import pytest
import trio
import trustme
from trio.testing import MockClock, wait_all_tasks_blocked

from exchanger.oauth.documents import Fetched
from exchanger.values.token import ErrorKind, ExchangedToken, TokenOutcome
from tests.net.certificates import serving, trusting
from tests.oauth.fakes import (
    CONTRACT,
    ISSUED,
    RESTED,
    CancelAt,
    Connected,
    Peer,
    Script,
    World,
    answering,
    at_rest,
    connected,
    exchange,
    kept,
    response,
    silent,
    success,
    token_request,
    world,
)


@pytest.mark.parametrize("waits_for", ["the connection", "the request to be written"])
async def test_leaving_while_waiting_for_the_network(autojump_clock: MockClock, waits_for: str) -> None:
    streams: list[Connected] = []

    async def dial(host: str, port: int) -> trio.SocketStream:
        if waits_for == "the connection":
            async with trio.open_nursery():  # as the real one does: what comes out is a group of Cancelled
                await trio.sleep_forever()
        client, server = connected()
        client.socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_SNDBUF, 1)
        streams.append(server)
        return client

    async with world(dial=dial, settings=CONTRACT) as it:
        async with trio.open_nursery() as callers:
            callers.start_soon(exchange, it.client, token_request("long" * 10_000))
            await wait_all_tasks_blocked()
            callers.cancel_scope.cancel()
        assert it.client.in_flight == {"issuer.example.com": 1}
        await trio.sleep(CONTRACT.request_timeout + 0.1)
        assert it.client.in_flight == {}
        # An attempt to connect goes on: it may serve the next call.
        assert at_rest(it.client) or waits_for == "the connection"
        assert all(stream.closed for stream in streams)
        for stream in streams:
            stream.stream.socket.close()
    (record,) = it.observer.records
    assert (record.endpoint_host, record.kind) == ("issuer.example.com", ErrorKind.TIMEOUT)


async def test_many_that_leave_give_back_every_connection(autojump_clock: MockClock) -> None:
    """Those whose turn had not come at once, and the others when their own time is up."""
    busy, count = 20, 30
    async with world(silent, settings=CONTRACT) as it:
        it.client._connections.limits = attrs.evolve(it.client._connections.limits, max_busy_per_host=busy)
        async with trio.open_nursery() as callers:
            for number in range(count):
                callers.start_soon(exchange, it.client, token_request(f"subject-{number}"))
            await wait_all_tasks_blocked()
            connections = it.client.connections
            assert (connections.busy, connections.waiting) == (busy, count - busy)
            callers.cancel_scope.cancel()
        assert (it.client.connections.busy, it.client.connections.waiting) == (busy, 0)
        assert it.endpoint.open_connections == busy
        await trio.sleep(CONTRACT.request_timeout + 0.1)
        assert at_rest(it.client)
        assert it.endpoint.open_connections == 0
    assert [record.kind for record in it.observer.records] == [ErrorKind.CONTEXT_CANCELED] * (count - busy) + [ErrorKind.TIMEOUT] * busy


async def test_the_end_of_run_ends_calls_and_answers_their_callers() -> None:
    outcomes = list[TokenOutcome]()

    async def one_answer(peer: Peer) -> None:
        await peer.request()
        await peer.send(response(success()))
        await silent(peer)

    async with trio.open_nursery() as callers, world(one_answer, silent) as it:

        async def call(subject: str) -> None:
            outcomes.append(await exchange(it.client, token_request(subject)))

        for subject in ("first", "second"):
            callers.start_soon(call, subject)
            await wait_all_tasks_blocked()
    assert [isinstance(outcome, ExchangedToken) for outcome in outcomes] == [True, False]
    assert [record.kind for record in it.observer.records] == [None, ErrorKind.CONTEXT_CANCELED]


async def once_with(step: int, act: str, script: Script, tls: ssl.SSLContext) -> bool:
    """Exchange twice or fetch, cancelled at ``step``; return whether it was over by then."""

    async def call(it: World, subject: str) -> None:
        if act == "fetch":
            found = await it.client.documents.fetch("http://issuer.example.com/token", issuer=token_request().issuer)
            assert isinstance(found, Fetched)
        else:
            assert await exchange(it.client, token_request(subject, f"{act}://issuer.example.com/token")) == ISSUED

    async with world(script, tls=tls) as it:
        with trio.CancelScope() as scope:
            instrument = CancelAt(step, scope.cancel)
            trio.lowlevel.add_instrument(instrument)
            for subject in ("first", *(["second"] if act != "fetch" else [])):
                await call(it, subject)
                await trio.sleep(RESTED)
        trio.lowlevel.remove_instrument(instrument)
        await wait_all_tasks_blocked()
        assert at_rest(it.client, connections=kept(it.client))
        assert it.endpoint.open_connections == kept(it.client) <= 1
        assert it.client.exchanges.started == len(it.observer.records)
        await call(it, "third")
    return not scope.cancelled_caught


@pytest.mark.parametrize("act", ["http", "https", "fetch"])
async def test_leaving_at_every_step(autojump_clock: MockClock, authority: trustme.CA, act: str) -> None:
    server, client = serving(authority, "issuer.example.com"), trusting(authority)
    plain = answering(response(success()))

    async def secured(peer: Peer) -> None:
        await plain(Peer(trio.SSLStream(peer.stream, server, server_side=True, https_compatible=True)))

    step = 1
    while not await once_with(step, act, secured if act == "https" else plain, client):
        step += 1
    assert step > (5 if act == "fetch" else 12)  # else the instrument did not see the exchanges at all
