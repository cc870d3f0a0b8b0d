"""Connections over HTTP/1.1: which of them carries a call, how long they rest and idle, and how many there are."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, final

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from exchanger.net.answer import EndpointResponse
from exchanger.net.call import EndpointCall, NoAnswer
from exchanger.net.dial import DialLimits, Origin
from exchanger.net.endpoint import Endpoint
from exchanger.net.network import SYSTEM
from exchanger.net.pool import ConnectionCounts, Connections, PoolLimits
from exchanger.net.quarantine import LEAST_QUARANTINE, UNKNOWN_QUARANTINE, ReuseQuarantine
from exchanger.net.reactor import Reactor
from exchanger.net.tls.client_contexts import TlsContexts
from tests.exchange.oauth.fakes import NO_TLS, MemoryEndpoint, Peer, response

# Seconds that a call may take here, and with few answers the rest of a connection.
LONGEST = 0.75
ONE = Origin(secure=False, host="one.example", port=80)
TWO = Origin(secure=False, host="two.example", port=80)
# Answers that are enough to know an endpoint by.
MANY = 100
LIMITS = PoolLimits(
    dial=DialLimits(3.0, 3.0),
    response_header=30.0,
    max_idle=100,
    max_idle_per_host=10,
    idle_timeout=90.0,
    longest_call=LONGEST,
    max_quarantined=512,
)


@final
@attrs.define(eq=False)
class World:
    """Endpoints that answer after as many seconds as the body says. ``served``: the connection of each request, by number."""

    pool: Connections
    endpoint: MemoryEndpoint
    served: list[int] = attrs.field(factory=list)
    landed: list[object] = attrs.field(factory=list)
    numbers: int = 0

    async def serve(self, peer: Peer) -> None:
        number, self.numbers = self.numbers, self.numbers + 1
        while True:
            _, body = await peer.request()
            self.served.append(number)
            await trio.sleep(float(body))
            await peer.send(response(b""))

    def call(self, origin: Origin = ONE, *, seconds: float = 0.0, deadline: float = 30.0) -> EndpointCall:
        """Begin a call."""
        endpoint = Endpoint(origin, origin.host, "/token")
        head = endpoint.head(())
        assert head is not None
        call = EndpointCall(endpoint, head, (), b"%f" % seconds, trio.current_time() + deadline, self.landed.append)
        self.pool.begin(call)
        return call

    async def use(self, origin: Origin = ONE, *, count: int = 1, seconds: float = 0.0) -> list[int]:
        """Make calls at the same time, and return the connections that carried them."""
        before = len(self.served)
        calls = [self.call(origin, seconds=seconds) for _ in range(count)]
        while not all(call.over for call in calls):
            if seconds:
                await trio.sleep(seconds)
            await wait_all_tasks_blocked()
        return self.served[before:]

    @property
    def closed(self) -> list[bool]:
        return [stream.closed for stream in self.endpoint.streams]

    @property
    def counts(self) -> tuple[int, int, int, int, int]:
        it = self.pool.counts()
        return it.open, it.quarantined, it.idle, it.busy, it.waiting


@asynccontextmanager
async def connections(**limits: Any) -> AsyncGenerator[World]:
    async with trio.open_nursery() as servers, trio.open_nursery() as running:
        endpoint = MemoryEndpoint(servers, [])
        reactor = Reactor(attrs.evolve(SYSTEM, connect=endpoint.dial))
        pool = Connections(attrs.evolve(LIMITS, **limits), reactor, TlsContexts(lambda: NO_TLS))
        world = World(pool, endpoint)
        endpoint.scripts = [world.serve]
        running.start_soon(reactor.run)
        await running.start(pool.run)
        try:
            yield world
        finally:
            reactor.turn(pool.close)
            await wait_all_tasks_blocked()
            assert all(world.closed)
            assert pool.counts() == ConnectionCounts(open=0, quarantined=0, idle=0, busy=0, waiting=0, multiplexed=0)
            running.cancel_scope.cancel()
            servers.cancel_scope.cancel()
            endpoint.close()
    reactor.close()


async def test_a_connection_is_used_again_after_its_rest(autojump_clock: MockClock) -> None:
    async with connections() as it:
        assert await it.use() == [0]
        assert it.pool.counts() == ConnectionCounts(open=1, quarantined=1, idle=0, busy=0, waiting=0, multiplexed=0)
        await trio.sleep(LONGEST - 0.001)
        assert await it.use() == [1]
        await trio.sleep(0.001)
        assert await it.use() == [0]
        assert it.endpoint.dialled == [("one.example", 80)] * 2


@pytest.mark.parametrize("other", [TWO, attrs.evolve(ONE, port=8080)], ids=["host", "port"])
async def test_a_connection_is_not_used_for_another_origin(autojump_clock: MockClock, other: Origin) -> None:
    async with connections() as it:
        await it.use()
        await trio.sleep(LONGEST)
        assert await it.use(other) == [1]
        assert it.counts == (2, 2, 0, 0, 0)


async def test_idle_connections_expire(autojump_clock: MockClock) -> None:
    async with connections() as it:
        await it.use(ONE)
        await trio.sleep(60)
        await it.use(TWO)
        for seconds, idle in ((29, 2), (2, 1), (58, 1), (2, 0)):
            await trio.sleep(seconds)
            assert (it.counts, it.closed) == ((idle, 0, idle, 0, 0), [idle < 2, idle < 1])


async def test_connections_that_are_in_turn_used_never_become_idle(autojump_clock: MockClock) -> None:
    """More connections rest than may be idle, and none is closed while each has its turn."""
    async with connections(max_idle_per_host=1) as it:
        for _ in range(20):
            await it.use(count=20)
            await trio.sleep(LONGEST)
        assert (it.counts, len(it.endpoint.dialled)) == ((20, 20, 0, 0, 0), 20)


async def test_a_host_is_forgotten_when_what_was_measured_counts_no_more(autojump_clock: MockClock) -> None:
    async with connections(idle_timeout=5.0) as it:
        await it.use()
        await trio.sleep(110)
        assert (it.counts, list(it.pool.pools)) == ((0, 0, 0, 0, 0), [ONE])
        await trio.sleep(20)
        assert it.pool.pools == {}


async def test_an_attempt_outlives_its_call_and_its_connection_serves_the_next_one(autojump_clock: MockClock) -> None:
    async with connections() as it:
        plain = it.endpoint.dial

        async def slow(host: str, port: int) -> trio.SocketStream:
            await trio.sleep(1.0)
            return await plain(host, port)

        it.pool.reactor.network = attrs.evolve(SYSTEM, connect=slow)
        it.call(deadline=0.5)
        await trio.sleep(0.6)
        assert it.landed == [NoAnswer(timed_out=True, why="timed out while connecting")]
        assert it.counts == (0, 0, 0, 0, 0)
        await trio.sleep(0.6)
        assert it.counts == (1, 1, 0, 0, 0)
        assert await it.use() == [0]


async def test_hanging_attempts_keep_no_later_call_from_connecting(autojump_clock: MockClock) -> None:
    """There are as many of them as there may be calls."""
    async with connections(max_busy_per_host=2) as it:
        plain, attempts = it.endpoint.dial, count()

        async def first_two_hang(host: str, port: int) -> trio.SocketStream:
            if next(attempts) < 2:
                await trio.sleep_forever()
            return await plain(host, port)

        it.pool.reactor.network = attrs.evolve(SYSTEM, connect=first_two_hang)
        for _ in range(2):
            it.call(deadline=0.2)
        await trio.sleep(1.0)
        it.call(deadline=0.5)
        await trio.sleep(0.5)
        assert [type(outcome) for outcome in it.landed] == [NoAnswer, NoAnswer, EndpointResponse]


async def test_a_failed_attempt_to_connect_ends_one_call_alone(autojump_clock: MockClock) -> None:
    async with connections() as it:
        plain, attempts = it.endpoint.dial, count()

        async def first_fails(host: str, port: int) -> trio.SocketStream:
            number = next(attempts)
            await trio.sleep(1.0 + number)
            if number == 0:
                raise ConnectionRefusedError
            return await plain(host, port)

        it.pool.reactor.network = attrs.evolve(SYSTEM, connect=first_fails)
        for _ in range(2):
            it.call()
        await trio.sleep(1.5)
        assert [type(outcome) for outcome in it.landed] == [NoAnswer]
        await trio.sleep(1.0)
        assert [type(outcome) for outcome in it.landed] == [NoAnswer, EndpointResponse]


def known(*, longest: float = 10.0, now: float = 0.0) -> ReuseQuarantine:
    """Return the rest of an endpoint that answers at once."""
    rest = ReuseQuarantine(longest)
    for _ in range(MANY):
        rest.measured(now, 0.0, answered=True)
    return rest


@pytest.mark.parametrize(
    ("answers", "refusals", "seconds"), [(0, 0, UNKNOWN_QUARANTINE), (MANY - 1, MANY, UNKNOWN_QUARANTINE), (MANY, 0, LEAST_QUARANTINE)]
)
def test_an_endpoint_is_known_after_enough_answers(answers: int, refusals: int, seconds: float) -> None:
    rest = ReuseQuarantine(10.0)
    for number in range(answers + refusals):
        rest.measured(0.0, 0.03, answered=number < answers)
    assert rest.seconds(0.0) == seconds


@pytest.mark.parametrize("answered", [True, False])
def test_the_longest_call_counts_whatever_became_of_it(answered: bool) -> None:
    rest = known()
    rest.measured(0.0, 3.0, answered=answered)
    rest.measured(0.0, 2.0, answered=True)
    assert rest.seconds(0.0) == 3.0


def test_a_quarantine_is_between_its_least_and_the_longest_call() -> None:
    rest = known(longest=0.75)
    assert rest.seconds(0.0) == LEAST_QUARANTINE
    rest.measured(0.0, 0.8, answered=True)
    assert rest.seconds(0.0) == 0.75
    assert ReuseQuarantine(0.75).seconds(0.0) == 0.75
    assert ReuseQuarantine(0.001).seconds(0.0) == LEAST_QUARANTINE


@pytest.mark.parametrize("at", [0.0, 1.0, 59.0])
def test_a_slow_answer_counts_for_a_minute_and_two_at_most(at: float) -> None:
    rest = known()
    rest.measured(at, 3.0, answered=True)
    for now in range(int(at) + 1, int(at) + 61):
        for _ in range(MANY):
            rest.measured(float(now), 0.03, answered=True)
        assert rest.seconds(float(now)) == 3.0
    for now in range(int(at) + 61, int(at) + 121):
        rest.measured(float(now), 0.03, answered=True)
    assert rest.seconds(at + 120.0) == LEAST_QUARANTINE


def test_an_endpoint_that_was_not_asked_for_long_is_unknown_again() -> None:
    assert not known().is_unknown(119.0)
    assert known().is_unknown(120.0)
    assert known().seconds(60.0) == LEAST_QUARANTINE
    assert known().seconds(120.0) == UNKNOWN_QUARANTINE
