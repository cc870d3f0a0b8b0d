"""The pool: leases and their bounds, connections that rest after an answer, and idle ones."""

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from exchanger.oauth.dial import Origin
from exchanger.oauth.http1 import Http1Connection
from exchanger.oauth.pool import (
    LEAST_REST,
    UNKNOWN_REST,
    UNUSED_REST,
    ConnectionCounts,
    ConnectionPool,
    Lease,
    Rest,
)
from tests.oauth.fakes import MemoryEndpoint, answering, response
from tests.oauth.pools import HEAD, LONGEST, ONE, TWO, bounds, counts, exchange, exchange_at_once, expiring, pool_of, use

NOTHING = (0, 0, 0, 0, 0)
# Seconds after which a connection that nobody uses is idle.
IDLE = LONGEST + UNUSED_REST + 0.001


@pytest.fixture
def endpoint(nursery: trio.Nursery) -> MemoryEndpoint:
    return MemoryEndpoint(nursery, [answering(response(b""))])


@pytest.fixture
def pool(endpoint: MemoryEndpoint) -> ConnectionPool:
    return pool_of(endpoint)


async def test_discarding_keeps_the_right_to_another_and_releasing_twice_does_no_harm(pool: ConnectionPool) -> None:
    lease = await pool.lease(ONE)
    await use(lease)
    await lease.discard()
    assert counts(pool) == (0, 0, 0, 1, 0)
    assert lease.connection is None
    await lease.discard()
    await use(lease)
    await lease.release()
    await lease.release()
    assert counts(pool) == (1, 1, 0, 0, 0)


async def test_of_idle_connections_the_last_used_quiet_one_is_taken(
    endpoint: MemoryEndpoint, pool: ConnectionPool, autojump_clock: MockClock
) -> None:
    async with expiring(pool):
        connections = await exchange_at_once(pool, 3)
        await trio.sleep(IDLE)
        assert counts(pool) == (3, 0, 3, 0, 0)
        connections[2]._pending = lambda: True
        assert await exchange(pool) is connections[1]
        assert counts(pool) == (2, 1, 1, 0, 0)
        assert [stream.closed for stream in endpoint.streams] == [False, False, True]


async def test_idle_connections_of_a_host_and_of_all_hosts_are_bounded(endpoint: MemoryEndpoint, autojump_clock: MockClock) -> None:
    pool = pool_of(endpoint, total=3, per_host=2)
    async with expiring(pool):
        await exchange_at_once(pool, 5)
        await trio.sleep(IDLE)
        assert counts(pool) == (2, 0, 2, 0, 0)
        assert [stream.closed for stream in endpoint.streams] == [False] * 2 + [True] * 3
        await exchange(pool, TWO)
        await trio.sleep(1)
        await exchange(pool, Origin(secure=False, host="three.example", port=80))
        await trio.sleep(IDLE)
        assert counts(pool) == (3, 0, 3, 0, 0)
        assert [stream.closed for stream in endpoint.streams] == [True, False, *[True] * 3, False, False]


async def test_idle_connections_expire(endpoint: MemoryEndpoint, pool: ConnectionPool, autojump_clock: MockClock) -> None:
    async with expiring(pool):
        await exchange(pool, ONE)
        await trio.sleep(60)
        await exchange(pool, TWO)
        for seconds, idle in ((29, 2), (2, 1), (58, 1), (2, 0)):
            await trio.sleep(seconds)
            assert counts(pool) == (idle, 0, idle, 0, 0)
            assert [stream.closed for stream in endpoint.streams] == [idle < 2, idle < 1]


async def test_resting_connections_expire_where_that_is_sooner(endpoint: MemoryEndpoint, autojump_clock: MockClock) -> None:
    pool = attrs.evolve(pool_of(endpoint), idle_timeout=0.5)
    async with expiring(pool):
        await exchange(pool)
        await trio.sleep(0.4)
        assert counts(pool) == (1, 1, 0, 0, 0)
        await trio.sleep(0.2)
        assert counts(pool) == NOTHING


async def test_an_expired_connection_is_not_used_even_before_it_is_swept(pool: ConnectionPool, autojump_clock: MockClock) -> None:
    first = await exchange(pool)
    await trio.sleep(90)
    assert await exchange(pool) is not first
    assert counts(pool) == (1, 1, 0, 0, 0)


async def test_a_host_is_forgotten_when_what_was_measured_counts_no_more(endpoint: MemoryEndpoint, autojump_clock: MockClock) -> None:
    pool = attrs.evolve(pool_of(endpoint), idle_timeout=5.0)
    async with expiring(pool):
        await exchange(pool)
        await trio.sleep(110)
        assert counts(pool) == NOTHING
        assert ONE in pool._hosts
        await trio.sleep(20)
        assert pool._hosts == {}


async def test_use_renews_the_time_of_a_connection(pool: ConnectionPool, autojump_clock: MockClock) -> None:
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


async def test_an_exchange_that_gives_up_waiting_takes_no_slot(endpoint: MemoryEndpoint, autojump_clock: MockClock) -> None:
    pool = pool_of(endpoint, busy=1)
    lease = await pool.lease(ONE)
    with trio.move_on_after(0.75) as scope:
        await pool.lease(ONE)
    assert scope.cancelled_caught
    assert counts(pool) == (0, 0, 0, 1, 0)
    await lease.release()
    assert counts(pool) == NOTHING
    assert pool._hosts[ONE].users == 0
    lease = await pool.lease(ONE)
    await lease.release()


async def test_releasing_and_reusing_close_also_while_cancelled(
    endpoint: MemoryEndpoint, pool: ConnectionPool, autojump_clock: MockClock
) -> None:
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
    assert counts(pool) == NOTHING


async def test_closing_the_pool_closes_what_rests_or_is_idle_also_while_cancelled(
    endpoint: MemoryEndpoint, pool: ConnectionPool, autojump_clock: MockClock
) -> None:
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
    assert counts(pool) == NOTHING
    assert pool._hosts == {}


# Answers that are enough to know an endpoint by.
MANY = 100


async def take(pool: ConnectionPool) -> Http1Connection | None:
    """Return the connection that an exchange would be sent on now, if it were not a fresh one."""
    return await (await pool.lease(ONE)).reuse()


async def test_a_connection_is_used_again_after_its_rest(endpoint: MemoryEndpoint, pool: ConnectionPool, autojump_clock: MockClock) -> None:
    first = await exchange(pool)
    assert pool.counts() == ConnectionCounts(open=1, resting=1, idle=0, busy=0, waiting=0)
    await trio.sleep(LONGEST - 0.001)
    second = await exchange(pool)
    assert second is not first
    assert counts(pool) == (2, 2, 0, 0, 0)
    await trio.sleep(0.001)
    assert await exchange(pool) is first
    assert endpoint.dialled == [("one.example", 80)] * 2


@pytest.mark.parametrize("other", [TWO, Origin(secure=False, host="one.example", port=8080)], ids=["host", "port"])
async def test_a_connection_is_not_used_for_another_origin(pool: ConnectionPool, autojump_clock: MockClock, other: Origin) -> None:
    first = await exchange(pool)
    await trio.sleep(LONGEST)
    assert await exchange(pool, other) is not first
    assert counts(pool) == (2, 2, 0, 0, 0)


async def test_of_those_that_have_rested_the_one_used_last_is_taken_first(pool: ConnectionPool, autojump_clock: MockClock) -> None:
    first, second = await exchange_at_once(pool, 2)
    await trio.sleep(0.01)
    (third,) = await exchange_at_once(pool, 1)
    await trio.sleep(LONGEST - 0.005)
    assert [await take(pool) for _ in range(3)] == [second, first, None]
    await trio.sleep(0.005)
    assert await take(pool) is third


async def test_an_endpoint_that_is_known_as_quick_needs_the_least_rest(
    endpoint: MemoryEndpoint, pool: ConnectionPool, autojump_clock: MockClock
) -> None:
    await exchange_at_once(pool, MANY)
    await trio.sleep(LEAST_REST)
    await exchange(pool)
    assert len(endpoint.dialled) == MANY


async def test_a_slow_answer_makes_every_rest_longer(pool: ConnectionPool, autojump_clock: MockClock) -> None:
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


async def test_an_exchange_that_was_given_up_counts_with_its_time(pool: ConnectionPool, autojump_clock: MockClock) -> None:
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


async def test_a_lease_that_sent_nothing_measures_nothing(pool: ConnectionPool, autojump_clock: MockClock) -> None:
    await exchange_at_once(pool, MANY)
    await trio.sleep(LONGEST)
    lease = await pool.lease(ONE)
    assert await lease.reuse() is not None
    await lease.release()
    assert counts(pool) == (MANY - 1, MANY - 1, 0, 0, 0)
    assert pool._hosts[ONE].rest.seconds(trio.current_time()) == LEAST_REST


async def test_resting_connections_of_a_host_and_of_all_hosts_are_bounded(endpoint: MemoryEndpoint) -> None:
    pool = pool_of(endpoint, resting=4, resting_per_host=3)
    await exchange_at_once(pool, 5)
    assert counts(pool) == (3, 3, 0, 0, 0)
    await exchange_at_once(pool, 2, TWO)
    assert counts(pool) == (4, 4, 0, 0, 0)
    assert [stream.closed for stream in endpoint.streams] == [*[False] * 3, *[True] * 2, False, True]


async def test_unused_connections_become_idle_unless_something_came(
    endpoint: MemoryEndpoint, pool: ConnectionPool, autojump_clock: MockClock
) -> None:
    async with expiring(pool):
        connections = await exchange_at_once(pool, 3)
        connections[1]._pending = lambda: True
        await trio.sleep(LONGEST + UNUSED_REST - 0.001)
        assert counts(pool) == (3, 3, 0, 0, 0)
        await trio.sleep(0.002)
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
        assert counts(pool) == NOTHING


async def test_that_an_endpoint_was_slow_outlives_its_connections(endpoint: MemoryEndpoint, autojump_clock: MockClock) -> None:
    pool = attrs.evolve(pool_of(endpoint), idle_timeout=5.0)
    async with expiring(pool):
        await exchange_at_once(pool, MANY, seconds=0.5)
        await trio.sleep(10)
        assert counts(pool) == NOTHING
        first = await exchange(pool)
        await trio.sleep(0.49)
        assert await exchange(pool) is not first


def known(*, longest: float = 10.0, now: float = 0.0) -> Rest:
    """Return the rest of an endpoint that answers at once."""
    rest = Rest(longest)
    for _ in range(MANY):
        rest.measured(now, 0.0, answered=True)
    return rest


@pytest.mark.parametrize(("answers", "refusals", "seconds"), [(0, 0, UNKNOWN_REST), (MANY - 1, MANY, UNKNOWN_REST), (MANY, 0, LEAST_REST)])
def test_an_endpoint_is_known_after_enough_answers(answers: int, refusals: int, seconds: float) -> None:
    rest = Rest(10.0)
    for number in range(answers + refusals):
        rest.measured(0.0, 0.03, answered=number < answers)
    assert rest.seconds(0.0) == seconds


@pytest.mark.parametrize("answered", [True, False])
def test_the_longest_exchange_counts_whatever_became_of_it(answered: bool) -> None:
    rest = known()
    rest.measured(0.0, 3.0, answered=answered)
    rest.measured(0.0, 2.0, answered=True)
    assert rest.seconds(0.0) == 3.0


def test_a_rest_is_bounded_by_the_longest_exchange_and_never_less_than_the_least() -> None:
    rest = known(longest=0.75)
    assert rest.seconds(0.0) == LEAST_REST
    rest.measured(0.0, 0.8, answered=True)
    assert rest.seconds(0.0) == 0.75
    assert Rest(0.75).seconds(0.0) == 0.75
    assert Rest(0.001).seconds(0.0) == LEAST_REST


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
    assert rest.seconds(at + 120.0) == LEAST_REST


def test_an_endpoint_that_was_not_asked_for_long_is_unknown_again() -> None:
    assert not known().is_unknown(119.0)
    assert known().is_unknown(120.0)
    assert known().seconds(60.0) == LEAST_REST
    assert known().seconds(120.0) == UNKNOWN_REST
