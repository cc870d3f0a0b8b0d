import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from exchanger.oauth.dial import Origin
from exchanger.oauth.pool import MAX_BUSY_CONNECTIONS_PER_HOST, UNUSED_REST, Lease
from tests.oauth.fakes import MemoryEndpoint, answering, response
from tests.oauth.pools import LONGEST, ONE, TWO, bounds, counts, exchange, exchange_at_once, expiring, pool_of, pool_over, use

IDLE = LONGEST + UNUSED_REST + 0.001
"""Seconds after which a connection that nobody uses is idle."""


@pytest.fixture
def endpoint(nursery: trio.Nursery) -> MemoryEndpoint:
    return MemoryEndpoint(nursery, [answering(response(b""))])


async def test_a_connection_whose_exchange_did_not_end_is_closed(endpoint: MemoryEndpoint) -> None:
    pool = pool_of(endpoint)
    lease = await pool.lease(ONE)
    await lease.connect(bounds())
    await lease.release()
    assert counts(pool) == (0, 0, 0, 0, 0)
    assert endpoint.open_connections == 0


async def test_releasing_twice_does_no_harm(endpoint: MemoryEndpoint) -> None:
    pool = pool_of(endpoint)
    lease = await pool.lease(ONE)
    await use(lease)
    await lease.release()
    await lease.release()
    assert counts(pool) == (1, 1, 0, 0, 0)


async def test_discarding_keeps_the_right_to_another(endpoint: MemoryEndpoint) -> None:
    pool = pool_of(endpoint)
    lease = await pool.lease(ONE)
    await use(lease)
    await lease.discard()
    assert counts(pool) == (0, 0, 0, 1, 0)
    assert lease.connection is None
    await lease.discard()
    await use(lease)
    await lease.release()
    assert counts(pool) == (1, 1, 0, 0, 0)


async def test_a_host_that_cannot_be_reached_costs_nothing() -> None:
    async def dial(host: str, port: int) -> trio.abc.Stream:
        raise ConnectionRefusedError

    pool = pool_over(dial)
    lease = await pool.lease(ONE)
    assert await lease.connect(bounds()) is None
    await lease.release()
    assert counts(pool) == (0, 0, 0, 0, 0)


async def test_the_idle_one_used_last_is_taken_first(endpoint: MemoryEndpoint, autojump_clock: MockClock) -> None:
    pool = pool_of(endpoint)
    async with expiring(pool):
        connections = await exchange_at_once(pool, 3)
        await trio.sleep(IDLE)
        assert await exchange(pool) is connections[2]


async def test_an_idle_one_on_which_something_came_is_closed_and_not_used(endpoint: MemoryEndpoint, autojump_clock: MockClock) -> None:
    pool = pool_of(endpoint)
    async with expiring(pool):
        idle = await exchange(pool)
        await trio.sleep(IDLE)
        assert counts(pool) == (1, 0, 1, 0, 0)
        idle._pending = lambda: True
        assert await exchange(pool) is not idle
        assert counts(pool) == (1, 1, 0, 0, 0)
        assert endpoint.streams[0].closed


async def test_idle_connections_of_a_host_are_bounded(endpoint: MemoryEndpoint, autojump_clock: MockClock) -> None:
    pool = pool_of(endpoint, per_host=2)
    async with expiring(pool):
        await exchange_at_once(pool, 5)
        await trio.sleep(IDLE)
        assert counts(pool) == (2, 0, 2, 0, 0)
        assert endpoint.open_connections == 2


async def test_idle_connections_of_all_hosts_are_bounded(endpoint: MemoryEndpoint, autojump_clock: MockClock) -> None:
    pool = pool_of(endpoint, total=2)
    async with expiring(pool):
        oldest = await exchange(pool, ONE)
        await trio.sleep(1)
        await exchange(pool, TWO)
        await trio.sleep(1)
        await exchange(pool, Origin(secure=False, host="three.example", port=80))
        await trio.sleep(IDLE)
        assert counts(pool) == (2, 0, 2, 0, 0)
        assert endpoint.streams[0].closed
        assert await exchange(pool, ONE) is not oldest


async def test_idle_connections_expire(endpoint: MemoryEndpoint, autojump_clock: MockClock) -> None:
    pool = pool_of(endpoint)
    async with expiring(pool):
        await exchange(pool, ONE)
        await trio.sleep(60)
        await exchange(pool, TWO)
        await trio.sleep(29)
        assert counts(pool) == (2, 0, 2, 0, 0)
        await trio.sleep(2)
        assert counts(pool) == (1, 0, 1, 0, 0)
        assert [stream.closed for stream in endpoint.streams] == [True, False]
        await trio.sleep(58)
        assert counts(pool) == (1, 0, 1, 0, 0)
        await trio.sleep(2)
        assert counts(pool) == (0, 0, 0, 0, 0)


async def test_a_host_is_forgotten_when_what_was_measured_counts_no_more(endpoint: MemoryEndpoint, autojump_clock: MockClock) -> None:
    pool = attrs.evolve(pool_of(endpoint), idle_timeout=5.0)
    async with expiring(pool):
        await exchange(pool)
        await trio.sleep(110)
        assert counts(pool) == (0, 0, 0, 0, 0)
        assert ONE in pool._hosts
        await trio.sleep(20)
        assert pool._hosts == {}


async def test_resting_ones_expire_where_that_is_sooner(endpoint: MemoryEndpoint, autojump_clock: MockClock) -> None:
    pool = attrs.evolve(pool_of(endpoint), idle_timeout=0.5)
    async with expiring(pool):
        await exchange(pool)
        await trio.sleep(0.4)
        assert counts(pool) == (1, 1, 0, 0, 0)
        await trio.sleep(0.2)
        assert counts(pool) == (0, 0, 0, 0, 0)


async def test_an_expired_one_is_not_used_even_before_it_is_swept(endpoint: MemoryEndpoint, autojump_clock: MockClock) -> None:
    pool = pool_of(endpoint)
    first = await exchange(pool)
    await trio.sleep(90)
    assert await exchange(pool) is not first
    assert counts(pool) == (1, 1, 0, 0, 0)


async def test_use_renews_the_time(endpoint: MemoryEndpoint, autojump_clock: MockClock) -> None:
    pool = pool_of(endpoint)
    async with expiring(pool):
        first = await exchange(pool)
        for _ in range(4):
            await trio.sleep(60)
            assert await exchange(pool) is first


async def test_busy_connections_of_a_host_are_bounded(endpoint: MemoryEndpoint) -> None:
    pool = pool_of(endpoint, busy=2)
    leases = [await pool.lease(ONE), await pool.lease(ONE)]
    await use(leases[0])
    granted: list[Lease] = []

    async def wait() -> None:
        granted.append(await pool.lease(ONE))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        assert counts(pool) == (1, 0, 0, 2, 1)
        other = await pool.lease(TWO)  # other hosts have slots of their own
        await other.release()
        await leases[0].release()
    assert counts(pool) == (1, 1, 0, 2, 0)
    for lease in (leases[1], *granted):
        await lease.release()
    assert counts(pool) == (1, 1, 0, 0, 0)


async def test_who_gives_up_waiting_takes_no_slot(endpoint: MemoryEndpoint, autojump_clock: MockClock) -> None:
    pool = pool_of(endpoint, busy=1)
    lease = await pool.lease(ONE)
    with trio.move_on_after(0.75) as scope:
        await pool.lease(ONE)
    assert scope.cancelled_caught
    assert counts(pool) == (0, 0, 0, 1, 0)
    await lease.release()
    assert counts(pool) == (0, 0, 0, 0, 0)
    lease = await pool.lease(ONE)
    await lease.release()


async def test_dialling_may_be_cancelled() -> None:
    async def dial(host: str, port: int) -> trio.abc.Stream:
        await trio.sleep_forever()
        raise AssertionError

    pool = pool_over(dial)
    lease = await pool.lease(ONE)
    with trio.CancelScope() as scope:
        scope.cancel()
        await lease.connect(bounds())
    await lease.release()
    assert counts(pool) == (0, 0, 0, 0, 0)


async def test_releasing_and_reusing_close_also_while_cancelled(endpoint: MemoryEndpoint, autojump_clock: MockClock) -> None:
    pool = pool_of(endpoint)
    stale = await exchange(pool)
    stale._pending = lambda: True
    await trio.sleep(LONGEST)
    lease = await pool.lease(ONE)
    with trio.CancelScope() as scope:
        scope.cancel()
        assert await lease.reuse() is None
    assert not scope.cancelled_caught
    await lease.connect(bounds())
    with trio.CancelScope() as scope:
        scope.cancel()
        await lease.release()
    assert not scope.cancelled_caught
    assert endpoint.open_connections == 0
    assert counts(pool) == (0, 0, 0, 0, 0)


async def test_closing_the_pool_closes_what_rests_or_is_idle_also_while_cancelled(
    endpoint: MemoryEndpoint, autojump_clock: MockClock
) -> None:
    pool = pool_of(endpoint)
    async with expiring(pool):
        await exchange_at_once(pool, 3)
        await trio.sleep(IDLE)
    await exchange(pool, TWO)
    assert counts(pool) == (4, 1, 3, 0, 0)
    with trio.CancelScope() as scope:
        scope.cancel()
        await pool.aclose()
    assert not scope.cancelled_caught
    assert endpoint.open_connections == 0
    assert counts(pool) == (0, 0, 0, 0, 0)
    assert pool._hosts == {}


async def test_the_default_bound_on_busy_connections(endpoint: MemoryEndpoint) -> None:
    pool = pool_over(endpoint.dial)
    for _ in range(MAX_BUSY_CONNECTIONS_PER_HOST):
        await pool.lease(ONE)
    with trio.move_on_after(0) as scope:
        await pool.lease(ONE)
    assert scope.cancelled_caught
