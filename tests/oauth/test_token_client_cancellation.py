"""Leaving at every wait of an exchange: afterwards nothing is under way, nothing is open that should not be, and one record says so."""

import ssl
from collections.abc import Callable

import attrs
import pytest
import trio
import trustme
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from exchanger.oauth.token_client import TokenClient
from exchanger.values.secret import Secret
from exchanger.values.token import ErrorKind, ExchangedToken, TokenOutcome
from tests.oauth.fakes import (
    HTTP,
    NO_TLS,
    RESTED,
    MemoryEndpoint,
    Observer,
    Peer,
    Script,
    TrackedStream,
    answering,
    at_rest,
    kept,
    response,
    running,
    silent,
    success,
    token_request,
)

ISSUED = ExchangedToken(Secret("issued-token"))


async def kept_then_silent(peer: Peer) -> None:
    await peer.request()
    await peer.send(response(success()))
    await silent(peer)


async def leave_while_waiting(client: TokenClient, observer: Observer) -> None:
    """Start an exchange, leave when it waits for something, and see that it left nothing behind."""
    with trio.CancelScope() as leaving:
        async with trio.open_nursery() as callers:
            callers.start_soon(client.exchange, token_request("leaving"))
            await wait_all_tasks_blocked()
            assert client.in_flight == {"issuer.example.com": 1}
            leaving.cancel()
    await wait_all_tasks_blocked()
    assert at_rest(client)
    record = observer.records[-1]
    assert (record.endpoint_host, record.kind) == ("issuer.example.com", ErrorKind.CONTEXT_CANCELED)


async def test_while_the_request_is_written(nursery: trio.Nursery) -> None:
    streams: list[TrackedStream] = []

    async def dial(host: str, port: int) -> trio.abc.Stream:
        client, _ = memory_stream_pair()
        client.send_stream.send_all_hook = trio.sleep_forever
        streams.append(TrackedStream(client))
        return streams[-1]

    observer = Observer()
    async with running(TokenClient(HTTP, observer, dial=dial, tls=NO_TLS)) as client:
        await leave_while_waiting(client, observer)
        assert streams[0].closed


async def test_while_dialling() -> None:
    async def dial(host: str, port: int) -> trio.abc.Stream:
        async with trio.open_nursery():  # as the real one does: what comes out is a group of Cancelled
            await trio.sleep_forever()
        raise AssertionError

    observer = Observer()
    async with running(TokenClient(HTTP, observer, dial=dial, tls=NO_TLS)) as client:
        await leave_while_waiting(client, observer)


async def test_while_waiting_for_a_connection(nursery: trio.Nursery) -> None:
    endpoint, observer = MemoryEndpoint(nursery, [silent]), Observer()
    async with running(TokenClient(HTTP, observer, dial=endpoint.dial, tls=NO_TLS)) as client:
        client._pool.max_busy_per_host = 1
        with trio.CancelScope() as staying:
            async with trio.open_nursery() as callers:
                callers.start_soon(client.exchange, token_request("staying"))
                await wait_all_tasks_blocked()
                with trio.CancelScope() as leaving:
                    async with trio.open_nursery() as others:
                        others.start_soon(client.exchange, token_request("leaving"))
                        await wait_all_tasks_blocked()
                        assert client.connections.waiting == 1
                        leaving.cancel()
                await wait_all_tasks_blocked()
                assert client.connections.waiting == 0
                assert [record.kind for record in observer.records] == [ErrorKind.CONTEXT_CANCELED]
                staying.cancel()
        await wait_all_tasks_blocked()
        assert at_rest(client)


async def test_a_follower_that_leaves_does_not_disturb_the_call(nursery: trio.Nursery) -> None:
    go_on = trio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await go_on.wait()
        await peer.send(response(success()))
        await silent(peer)

    endpoint, observer, outcomes = MemoryEndpoint(nursery, [script]), Observer(), list[TokenOutcome]()
    async with running(TokenClient(HTTP, observer, dial=endpoint.dial, tls=NO_TLS)) as client:

        async def stay() -> None:
            outcomes.append(await client.exchange(token_request()))

        async with trio.open_nursery() as callers:
            with trio.CancelScope() as leaving:
                async with trio.open_nursery() as leavers:
                    leavers.start_soon(client.exchange, token_request())  # the leader
                    await wait_all_tasks_blocked()
                    callers.start_soon(stay)
                    leavers.start_soon(client.exchange, token_request())
                    await wait_all_tasks_blocked()
                    leaving.cancel()
            await wait_all_tasks_blocked()
            go_on.set()
    assert outcomes == [ISSUED]
    assert [record.kind for record in observer.records] == [None]
    assert observer.coalesced_hosts == ["issuer.example.com"] * 2


async def test_many_who_leave_give_back_every_connection(nursery: trio.Nursery) -> None:
    endpoint, observer = MemoryEndpoint(nursery, [silent]), Observer()
    busy, count = 20, 30
    async with running(TokenClient(HTTP, observer, dial=endpoint.dial, tls=NO_TLS)) as client:
        client._pool.max_busy_per_host = busy
        with trio.CancelScope() as leaving:
            async with trio.open_nursery() as callers:
                for number in range(count):
                    callers.start_soon(client.exchange, token_request(f"subject-{number}"))
                await wait_all_tasks_blocked()
                connections = client.connections
                assert (connections.busy, connections.waiting) == (busy, count - busy)
                leaving.cancel()
        await wait_all_tasks_blocked()
        assert at_rest(client)
    assert endpoint.open_connections == 0
    assert len(observer.records) == count


async def test_the_way_out_of_run_ends_calls_and_answers_their_callers(nursery: trio.Nursery) -> None:
    endpoint, observer, outcomes = MemoryEndpoint(nursery, [kept_then_silent, silent]), Observer(), list[TokenOutcome]()
    client = TokenClient(HTTP, observer, dial=endpoint.dial, tls=NO_TLS)

    async def call(subject: str) -> None:
        outcomes.append(await client.exchange(token_request(subject)))

    async with trio.open_nursery() as callers, running(client):
        callers.start_soon(call, "first")
        await wait_all_tasks_blocked()
        callers.start_soon(call, "second")
        await wait_all_tasks_blocked()
    assert [isinstance(outcome, ExchangedToken) for outcome in outcomes] == [True, False]
    assert [record.kind for record in observer.records] == [None, ErrorKind.CONTEXT_CANCELED]
    assert at_rest(client)
    assert endpoint.open_connections == 0


@attrs.define(eq=False)
class CancelAt(trio.abc.Instrument):
    """Calls ``cancel`` at the given step of the whole run: before any task, at any of its waits, is resumed the n-th time."""

    step: int
    cancel: Callable[[], None]
    steps: int = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.steps += 1
        if self.steps == self.step:
            self.cancel()


async def once_with(step: int, *, over_tls: bool, contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> bool:
    """Exchange twice, cancelled at ``step``; return whether it was over by then."""
    async with trio.open_nursery() as servers:
        endpoint, observer = (
            MemoryEndpoint(servers, [over(contexts[0], answering(response(success()))) if over_tls else answering(response(success()))]),
            Observer(),
        )
        async with running(TokenClient(HTTP, observer, dial=endpoint.dial, tls=contexts[1])) as client:
            scheme = "https" if over_tls else "http"
            with trio.CancelScope() as scope:
                instrument = CancelAt(step, scope.cancel)
                trio.lowlevel.add_instrument(instrument)
                for subject in ("first", "second"):
                    assert await client.exchange(token_request(subject, f"{scheme}://issuer.example.com/token")) == ISSUED
                    await trio.sleep(RESTED)
            trio.lowlevel.remove_instrument(instrument)
            await wait_all_tasks_blocked()
            assert at_rest(client, connections=kept(client))
            assert endpoint.open_connections == kept(client) <= 1
            assert client.flights.started == len(observer.records)
            assert await client.exchange(token_request("third", f"{scheme}://issuer.example.com/token")) == ISSUED
        assert endpoint.open_connections == 0
        assert at_rest(client)
        servers.cancel_scope.cancel()
    return not scope.cancelled_caught


def over(context: ssl.SSLContext, script: Script) -> Script:
    async def secured(peer: Peer) -> None:
        await script(Peer(trio.SSLStream(peer.stream, context, server_side=True, https_compatible=True)))

    return secured


@pytest.mark.parametrize("over_tls", [False, True])
async def test_at_every_step(autojump_clock: MockClock, over_tls: bool) -> None:
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.issue_cert("issuer.example.com").configure_cert(server)
    authority.configure_trust(client)
    step = 1
    while not await once_with(step, over_tls=over_tls, contexts=(server, client)):
        step += 1
    assert step > 20  # else the instrument did not see the exchanges at all
