"""A server or a network that falls silent is noticed within a minute, with few questions, and slowness is not silence."""

import socket
from pathlib import Path
from typing import Final

import attrs
import pytest
import trio

from exchanger.sources.kube.api.client import KEEPALIVE, connect
from exchanger.sources.kube.api.connection import CALL_S, MAX_CALLS, PROBE_S, QUIET_S, READ_S, SHARED, ApiConnection, ConnectionBounds
from exchanger.sources.kube.list_watch import ApiFailure, FailureKind
from tests.sources.kube.kubeconfig import origin_of, write_kubeconfig
from tests.sources.kube.scripted_server import FAST, WATCH_HEAD, Received, answer, config_maps, connected, repeats, serving

MINUTE_S: Final = 60.0
# Seconds for which lists that nobody answers are surely under way: less than ``FAST`` gives them.
LISTED_S: Final = 15.0
# Signs of life.
MANY: Final = 6


def test_a_silent_connection_is_noticed_within_a_minute() -> None:
    assert QUIET_S + QUIET_S * SHARED + PROBE_S < MINUTE_S  # a server that has stopped
    keepalive = dict(KEEPALIVE)
    assert keepalive["TCP_KEEPIDLE"] + keepalive["TCP_KEEPINTVL"] * keepalive["TCP_KEEPCNT"] < MINUTE_S  # a network that is gone
    assert CALL_S <= MINUTE_S  # either, in the middle of a short request
    bounds = ConnectionBounds()
    assert (bounds.quiet, bounds.shared, bounds.probe, bounds.call) == (QUIET_S, QUIET_S * SHARED, PROBE_S, CALL_S)
    assert bounds.call == 60.0  # kube-apiserver's --request-timeout: a list may begin as late as that
    assert bounds.read == READ_S == CALL_S
    assert bounds.probe < bounds.quiet < bounds.read


async def test_the_network_is_asked_whether_the_peer_is_there(tmp_path: Path) -> None:
    async with serving(repeats(answer({}))) as server:
        kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", server.url, {"token": "t"})
        async with connect(origin_of(kubeconfig)) as connection:
            assert await connection.get("/") == {}
            pool = connection.credentials.present()[0].pools.connection_from_url(server.url)
            assert pool.pool is not None
            kept = pool.pool.queue[-1].sock
            assert kept.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            known = {name: seconds for name, seconds in KEEPALIVE if hasattr(socket, name)}
            assert {name: kept.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in known} == known


async def test_a_list_may_be_slow_where_a_sign_of_life_may_not() -> None:
    async def script(request: Received, stream: trio.abc.Stream) -> None:
        if request.target.startswith("/api"):
            await trio.sleep(0.6)
        await stream.send_all(answer({}))

    async with connected(script, attrs.evolve(FAST, probe=0.3)) as connection:
        assert await connection.get("/api/v1/configmaps") == {}


async def test_a_server_that_is_slow_with_many_lists_is_not_silent() -> None:
    answered = 0

    async def script(request: Received, stream: trio.abc.Stream) -> None:
        nonlocal answered
        if request.target == "/readyz":
            await stream.send_all(answer(b"ok"))
            answered += 1
            return
        if "watch=true" in request.target:
            await stream.send_all(WATCH_HEAD)
        await trio.sleep_forever()

    async with connected(script, attrs.evolve(FAST, quiet=0.1)) as connection, trio.open_nursery() as nursery:
        for _ in range(MAX_CALLS):
            nursery.start_soon(connection.get, "/api/v1/configmaps")
        nursery.start_soon(healthy_watch, connection)
        with trio.fail_after(LISTED_S):
            while answered < MANY:  # noqa: ASYNC110 - the server only counts
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()


async def healthy_watch(connection: ApiConnection) -> None:
    """Follow a watch that has no end."""
    async with config_maps(connection).watch(resource_version="5", timeout=300) as events:
        failures = [event async for event in events if isinstance(event, ApiFailure)]
    raise AssertionError(failures)


@attrs.define(eq=False)
class Questions:
    """A server that is silent in watches, and says when it was asked for a sign of life; ``reply`` is its answer."""

    reply: bytes = answer(b"ok")
    asked: list[float] = attrs.field(factory=list)

    async def __call__(self, request: Received, stream: trio.abc.Stream) -> None:
        if request.target == "/readyz":
            self.asked.append(trio.current_time())
            if self.reply:
                await stream.send_all(self.reply)
                return
        else:
            await stream.send_all(WATCH_HEAD)
        await trio.sleep_forever()


@pytest.mark.parametrize("reply", [b"", answer({}, "500 Internal Server Error")], ids=["silent", "broken"])
async def test_watches_of_a_server_that_stops_end_after_few_requests(reply: bytes) -> None:
    bounds, watches = attrs.evolve(FAST, quiet=1.2, probe=0.6), 30
    questions = Questions(reply)
    late: list[float] = []
    started = trio.current_time()
    async with connected(questions, bounds) as connection, trio.open_nursery() as nursery:

        async def watch(number: int) -> None:
            await trio.sleep(bounds.quiet * number / watches)
            began = trio.current_time()
            async with config_maps(connection).watch(resource_version="5", timeout=300) as events:
                failures = [event async for event in events if isinstance(event, ApiFailure)]
            assert failures == [ApiFailure(FailureKind.TIMEOUT, message="the server sends nothing any more")]
            late.append(trio.current_time() - began)

        for number in range(watches):
            nursery.start_soon(watch, number)
    assert len(late) == watches
    # Less than if they asked one after the other, and with time for a busy machine.
    assert max(late) < bounds.quiet + bounds.shared + bounds.probe + watches * bounds.probe / 2
    assert len(questions.asked) <= 1 + (trio.current_time() - started - bounds.quiet) / bounds.shared
