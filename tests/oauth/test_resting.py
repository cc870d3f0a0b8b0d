"""After an answer, a connection carries nothing for a while, and what comes meanwhile ends it."""

import attrs
import pytest
import trio
from trio.testing import MockClock

from exchanger.oauth.dial import Origin
from exchanger.oauth.http1 import Http1Connection
from exchanger.oauth.pool import LEAST_REST, UNUSED_REST, ConnectionCounts, ConnectionPool
from tests.oauth.fakes import MemoryEndpoint, answering, response
from tests.oauth.pools import HEAD, LONGEST, ONE, TWO, bounds, counts, exchange, exchange_at_once, expiring, pool_of, use

MANY = 100
"""Answers that are enough to know an endpoint by."""


@pytest.fixture
def endpoint(nursery: trio.Nursery) -> MemoryEndpoint:
    return MemoryEndpoint(nursery, [answering(response(b""))])


async def take(pool: ConnectionPool) -> Http1Connection | None:
    """Return the connection that an exchange would be sent on now, if it were not a fresh one."""
    return await (await pool.lease(ONE)).reuse()


async def test_a_connection_is_used_again_after_its_rest(endpoint: MemoryEndpoint, autojump_clock: MockClock) -> None:
    pool = pool_of(endpoint)
    first = await exchange(pool)
    assert pool.counts() == ConnectionCounts(open=1, resting=1, idle=0, busy=0, waiting=0)
    await trio.sleep(LONGEST)
    assert await exchange(pool) is first
    assert endpoint.dialled == [("one.example", 80)]


async def test_and_not_before(endpoint: MemoryEndpoint, autojump_clock: MockClock) -> None:
    pool = pool_of(endpoint)
    first = await exchange(pool)
    await trio.sleep(LONGEST - 0.001)
    assert await exchange(pool) is not first
    assert counts(pool) == (2, 2, 0, 0, 0)


@pytest.mark.parametrize("other", [TWO, Origin(secure=False, host="one.example", port=8080)], ids=["host", "port"])
async def test_nor_for_another_origin(endpoint: MemoryEndpoint, autojump_clock: MockClock, other: Origin) -> None:
    pool = pool_of(endpoint)
    first = await exchange(pool)
    await trio.sleep(LONGEST)
    assert await exchange(pool, other) is not first
    assert counts(pool) == (2, 2, 0, 0, 0)


async def test_of_those_that_have_rested_the_one_used_last_is_taken_first(endpoint: MemoryEndpoint, autojump_clock: MockClock) -> None:
    pool = pool_of(endpoint)
    first, second = await exchange_at_once(pool, 2)
    await trio.sleep(0.01)
    (third,) = await exchange_at_once(pool, 1)
    await trio.sleep(LONGEST - 0.005)
    assert [await take(pool) for _ in range(3)] == [second, first, None]
    await trio.sleep(0.005)
    assert await take(pool) is third


async def test_an_endpoint_that_is_known_as_quick_needs_the_least_rest(endpoint: MemoryEndpoint, autojump_clock: MockClock) -> None:
    pool = pool_of(endpoint)
    await exchange_at_once(pool, MANY)
    await trio.sleep(LEAST_REST)
    await exchange(pool)
    assert len(endpoint.dialled) == MANY


async def test_a_slow_answer_makes_every_rest_longer(endpoint: MemoryEndpoint, autojump_clock: MockClock) -> None:
    pool = pool_of(endpoint)
    slow = await pool.lease(ONE)
    await use(slow)
    await exchange_at_once(pool, MANY)
    await trio.sleep(0.35)
    young = await exchange(pool)
    young_too = await exchange(pool)
    await trio.sleep(LEAST_REST)
    assert await take(pool) is young_too  # that made all of them rested
    await slow.release()  # after 0.45 s
    for _ in range(MANY - 2):
        assert await take(pool) not in {young, None}  # the old ones below it
        await trio.sleep(0.0001)
    assert await take(pool) is None
    await trio.sleep(0.4)
    assert await take(pool) is young


async def test_an_idle_one_needs_the_longer_rest_too(endpoint: MemoryEndpoint, autojump_clock: MockClock) -> None:
    pool = pool_of(endpoint, longest=10.0)
    async with expiring(pool):
        slow = await pool.lease(ONE)
        await use(slow)
        await trio.sleep(0.5)
        quick = await exchange(pool)
        await trio.sleep(UNUSED_REST + 1.5)
        assert pool.counts().idle == 1
        await slow.release()  # 7 s after its request
        assert await take(pool) is None
        await trio.sleep(0.501)
        assert await take(pool) is quick


async def test_an_exchange_that_was_given_up_counts_with_its_time(endpoint: MemoryEndpoint, autojump_clock: MockClock) -> None:
    pool = pool_of(endpoint)
    await exchange_at_once(pool, MANY)
    await trio.sleep(LEAST_REST)
    lease = await pool.lease(ONE)
    connection = await lease.reuse()
    assert connection is not None
    await connection.send(HEAD, b"", bounds())
    await trio.sleep(0.6)
    await lease.release()  # without its body
    assert counts(pool) == (MANY - 1, MANY - 1, 0, 0, 0)
    assert pool._hosts[ONE].rest.seconds(trio.current_time()) == pytest.approx(0.6)


async def test_a_lease_that_sent_nothing_measures_nothing(endpoint: MemoryEndpoint, autojump_clock: MockClock) -> None:
    pool = pool_of(endpoint)
    await exchange_at_once(pool, MANY)
    await trio.sleep(LONGEST)
    lease = await pool.lease(ONE)
    assert await lease.reuse() is not None
    await lease.release()
    assert counts(pool) == (MANY - 1, MANY - 1, 0, 0, 0)
    assert pool._hosts[ONE].rest.seconds(trio.current_time()) == LEAST_REST


async def test_what_came_during_the_rest_closes_it(endpoint: MemoryEndpoint, autojump_clock: MockClock) -> None:
    pool = pool_of(endpoint)
    first = await exchange(pool)
    first._pending = lambda: True
    await trio.sleep(LONGEST)
    assert await exchange(pool) is not first
    assert counts(pool) == (1, 1, 0, 0, 0)
    assert endpoint.open_connections == 1


async def test_those_of_a_host_are_bounded(endpoint: MemoryEndpoint) -> None:
    pool = pool_of(endpoint, resting_per_host=3)
    await exchange_at_once(pool, 5)
    assert counts(pool) == (3, 3, 0, 0, 0)
    assert [stream.closed for stream in endpoint.streams] == [False] * 3 + [True] * 2


async def test_those_of_all_hosts_are_bounded(endpoint: MemoryEndpoint) -> None:
    pool = pool_of(endpoint, resting=3)
    await exchange_at_once(pool, 2, ONE)
    await exchange_at_once(pool, 2, TWO)
    assert counts(pool) == (3, 3, 0, 0, 0)
    assert [stream.closed for stream in endpoint.streams] == [False] * 3 + [True]


async def test_unused_ones_become_idle(endpoint: MemoryEndpoint, autojump_clock: MockClock) -> None:
    pool = pool_of(endpoint)
    async with expiring(pool):
        await exchange_at_once(pool, 3)
        await trio.sleep(LONGEST + UNUSED_REST - 0.001)
        assert counts(pool) == (3, 3, 0, 0, 0)
        await trio.sleep(0.002)
        assert counts(pool) == (3, 0, 3, 0, 0)


async def test_unless_something_came(endpoint: MemoryEndpoint, autojump_clock: MockClock) -> None:
    pool = pool_of(endpoint)
    async with expiring(pool):
        connections = await exchange_at_once(pool, 3)
        connections[1]._pending = lambda: True
        await trio.sleep(LONGEST + UNUSED_REST + 0.001)
        assert counts(pool) == (2, 0, 2, 0, 0)
        assert [stream.closed for stream in endpoint.streams] == [False, True, False]


async def test_connections_that_are_in_turn_used_never_become_idle(endpoint: MemoryEndpoint, autojump_clock: MockClock) -> None:
    """More connections rest than may be idle, and none is closed while each has its turn."""
    pool = pool_of(endpoint, per_host=1)
    async with expiring(pool):
        await exchange_at_once(pool, 20)
        for _ in range(20):
            await trio.sleep(LONGEST)
            await exchange_at_once(pool, 20)
        assert counts(pool) == (20, 20, 0, 0, 0)
        assert len(endpoint.dialled) == 20


async def test_nothing_rests_where_connections_are_not_used_again(endpoint: MemoryEndpoint) -> None:
    for pool in (attrs.evolve(pool_of(endpoint), reuse=False), pool_of(endpoint, total=0), pool_of(endpoint, per_host=0)):
        await exchange_at_once(pool, 3)
        assert counts(pool) == (0, 0, 0, 0, 0)


async def test_that_an_endpoint_was_slow_outlives_its_connections(endpoint: MemoryEndpoint, autojump_clock: MockClock) -> None:
    pool = attrs.evolve(pool_of(endpoint), idle_timeout=5.0)
    async with expiring(pool):
        await exchange_at_once(pool, MANY, seconds=0.5)
        await trio.sleep(10)
        assert counts(pool) == (0, 0, 0, 0, 0)
        first = await exchange(pool)
        await trio.sleep(0.49)
        assert await exchange(pool) is not first
