import h11
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from exchanger.oauth.connections import MAX_BUSY_CONNECTIONS_PER_HOST, ConnectionPool, ConnectionStatistics, Lease
from exchanger.oauth.dial import Origin
from exchanger.oauth.http1 import Bounds, Http1Connection, PhaseLimits
from tests.oauth.fakes import NO_TLS, MemoryEndpoint, answering, response

ONE = Origin(secure=False, host="one.example", port=80)
TWO = Origin(secure=False, host="two.example", port=80)
HEAD = h11.Request(method="POST", target="/token", headers=[("Host", "one.example"), ("Content-Length", "0")])


@pytest.fixture
def endpoint(nursery: trio.Nursery) -> MemoryEndpoint:
    return MemoryEndpoint(nursery, [answering(response(b""))])


def pool_of(endpoint: MemoryEndpoint, *, total: int = 100, per_host: int = 10, busy: int = 256) -> ConnectionPool:
    return ConnectionPool(
        max_idle=total, max_idle_per_host=per_host, idle_timeout=90.0, tls=NO_TLS, dial=endpoint.dial, max_busy_per_host=busy
    )


def bounds() -> Bounds:
    return Bounds(trio.current_time() + 0.75, PhaseLimits(3.0, 3.0, 0.5))


async def use(lease: Lease) -> Http1Connection:
    """Carry out one exchange, on an idle connection if there is one."""
    connection = await lease.reuse() or await lease.connect(bounds())
    assert connection is not None
    assert lease.connection is connection
    assert isinstance(await connection.send(HEAD, b"", bounds()), h11.Response)
    assert await connection.next_piece() == b""
    return connection


async def exchange(pool: ConnectionPool, origin: Origin = ONE) -> Http1Connection:
    lease = await pool.lease(origin)
    connection = await use(lease)
    await lease.release()
    return connection


async def exchange_at_once(pool: ConnectionPool, count: int, origin: Origin = ONE) -> None:
    leases = [await pool.lease(origin) for _ in range(count)]
    for lease in leases:
        await use(lease)
    for lease in leases:
        await lease.release()


def counts(pool: ConnectionPool) -> tuple[int, int, int, int]:
    statistics = pool.statistics()
    return (statistics.open, statistics.idle, statistics.busy, statistics.waiting)


async def test_a_connection_is_used_again(endpoint: MemoryEndpoint) -> None:
    pool = pool_of(endpoint)
    first = await exchange(pool)
    assert await exchange(pool) is first
    assert pool.statistics() == ConnectionStatistics(open=1, idle=1, busy=0, waiting=0)
    assert endpoint.dialled == [("one.example", 80)]


@pytest.mark.parametrize("other", [TWO, Origin(secure=False, host="one.example", port=8080)], ids=["host", "port"])
async def test_but_not_for_another_origin(endpoint: MemoryEndpoint, other: Origin) -> None:
    pool = pool_of(endpoint)
    assert await exchange(pool) is not await exchange(pool, other)
    assert counts(pool) == (2, 2, 0, 0)


async def test_the_one_used_last_is_taken_first(endpoint: MemoryEndpoint) -> None:
    pool = pool_of(endpoint)
    leases = [await pool.lease(ONE), await pool.lease(ONE)]
    connections = [await use(lease) for lease in leases]
    for lease in leases:
        await lease.release()
    assert await exchange(pool) is connections[1]


async def test_busy_connections_are_not_shared(endpoint: MemoryEndpoint) -> None:
    pool = pool_of(endpoint)
    lease, other = await pool.lease(ONE), await pool.lease(ONE)
    assert await use(lease) is not await use(other)
    assert counts(pool) == (2, 0, 2, 0)


async def test_a_connection_whose_exchange_did_not_end_is_closed(endpoint: MemoryEndpoint) -> None:
    pool = pool_of(endpoint)
    lease = await pool.lease(ONE)
    await lease.connect(bounds())
    await lease.release()
    assert counts(pool) == (0, 0, 0, 0)
    assert endpoint.open_connections == 0


async def test_releasing_twice_does_no_harm(endpoint: MemoryEndpoint) -> None:
    pool = pool_of(endpoint)
    lease = await pool.lease(ONE)
    await use(lease)
    await lease.release()
    await lease.release()
    assert counts(pool) == (1, 1, 0, 0)


async def test_a_connection_that_is_not_quiet_is_closed_and_not_used(endpoint: MemoryEndpoint) -> None:
    pool = pool_of(endpoint)
    first = await exchange(pool)
    first._pending = lambda: True
    assert await exchange(pool) is not first
    assert counts(pool) == (1, 1, 0, 0)
    assert endpoint.open_connections == 1


async def test_discarding_keeps_the_right_to_another(endpoint: MemoryEndpoint) -> None:
    pool = pool_of(endpoint)
    lease = await pool.lease(ONE)
    await use(lease)
    await lease.discard()
    assert counts(pool) == (0, 0, 1, 0)
    assert lease.connection is None
    await lease.discard()
    await use(lease)
    await lease.release()
    assert counts(pool) == (1, 1, 0, 0)


async def test_a_host_that_cannot_be_reached_costs_nothing() -> None:
    async def dial(host: str, port: int) -> trio.abc.Stream:
        raise ConnectionRefusedError

    pool = ConnectionPool(max_idle=1, max_idle_per_host=1, idle_timeout=90.0, tls=NO_TLS, dial=dial)
    lease = await pool.lease(ONE)
    assert await lease.connect(bounds()) is None
    await lease.release()
    assert counts(pool) == (0, 0, 0, 0)
    assert pool._hosts == {}


async def test_idle_connections_of_a_host_are_bounded(endpoint: MemoryEndpoint) -> None:
    pool = pool_of(endpoint, per_host=2)
    await exchange_at_once(pool, 5)
    assert counts(pool) == (2, 2, 0, 0)
    assert endpoint.open_connections == 2


async def test_idle_connections_of_all_hosts_are_bounded(endpoint: MemoryEndpoint, autojump_clock: MockClock) -> None:
    pool = pool_of(endpoint, total=2)
    oldest = await exchange(pool, ONE)
    await trio.sleep(1)
    await exchange(pool, TWO)
    await trio.sleep(1)
    await exchange(pool, Origin(secure=False, host="three.example", port=80))
    assert counts(pool) == (2, 2, 0, 0)
    assert endpoint.streams[0].closed
    assert await exchange(pool, ONE) is not oldest


async def test_none_is_kept_if_so_chosen(endpoint: MemoryEndpoint) -> None:
    for pool in (pool_of(endpoint, total=0), pool_of(endpoint, per_host=0)):
        await exchange(pool)
        assert counts(pool) == (0, 0, 0, 0)


async def test_idle_connections_expire(endpoint: MemoryEndpoint, autojump_clock: MockClock) -> None:
    pool = pool_of(endpoint)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pool.expire)
        await exchange(pool, ONE)
        await trio.sleep(60)
        await exchange(pool, TWO)
        await trio.sleep(29)
        assert counts(pool) == (2, 2, 0, 0)
        await trio.sleep(2)
        assert counts(pool) == (1, 1, 0, 0)
        assert [stream.closed for stream in endpoint.streams] == [True, False]
        await trio.sleep(58)
        assert counts(pool) == (1, 1, 0, 0)
        await trio.sleep(2)
        assert counts(pool) == (0, 0, 0, 0)
        assert pool._hosts == {}
        nursery.cancel_scope.cancel()


async def test_an_expired_one_is_not_used_even_before_it_is_swept(endpoint: MemoryEndpoint, autojump_clock: MockClock) -> None:
    pool = pool_of(endpoint)
    first = await exchange(pool)
    await trio.sleep(90)
    assert await exchange(pool) is not first
    assert counts(pool) == (1, 1, 0, 0)


async def test_use_renews_the_time(endpoint: MemoryEndpoint, autojump_clock: MockClock) -> None:
    pool = pool_of(endpoint)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pool.expire)
        first = await exchange(pool)
        for _ in range(4):
            await trio.sleep(60)
            assert await exchange(pool) is first
        nursery.cancel_scope.cancel()


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
        assert counts(pool) == (1, 0, 2, 1)
        other = await pool.lease(TWO)  # other hosts have slots of their own
        await other.release()
        await leases[0].release()
    assert counts(pool) == (1, 1, 2, 0)
    for lease in (leases[1], *granted):
        await lease.release()
    assert counts(pool) == (1, 1, 0, 0)


async def test_who_gives_up_waiting_takes_no_slot(endpoint: MemoryEndpoint, autojump_clock: MockClock) -> None:
    pool = pool_of(endpoint, busy=1)
    lease = await pool.lease(ONE)
    with trio.move_on_after(0.75) as scope:
        await pool.lease(ONE)
    assert scope.cancelled_caught
    assert counts(pool) == (0, 0, 1, 0)
    await lease.release()
    assert counts(pool) == (0, 0, 0, 0)
    assert pool._hosts == {}
    lease = await pool.lease(ONE)
    await lease.release()


async def test_dialling_may_be_cancelled() -> None:
    async def dial(host: str, port: int) -> trio.abc.Stream:
        await trio.sleep_forever()
        raise AssertionError

    pool = ConnectionPool(max_idle=1, max_idle_per_host=1, idle_timeout=90.0, tls=NO_TLS, dial=dial)
    lease = await pool.lease(ONE)
    with trio.CancelScope() as scope:
        scope.cancel()
        await lease.connect(bounds())
    await lease.release()
    assert counts(pool) == (0, 0, 0, 0)


async def test_releasing_and_reusing_close_also_while_cancelled(endpoint: MemoryEndpoint) -> None:
    pool = pool_of(endpoint)
    stale = await exchange(pool)
    stale._pending = lambda: True
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
    assert counts(pool) == (0, 0, 0, 0)


async def test_closing_the_pool_closes_what_is_idle_also_while_cancelled(endpoint: MemoryEndpoint) -> None:
    pool = pool_of(endpoint)
    await exchange_at_once(pool, 3)
    await exchange(pool, TWO)
    with trio.CancelScope() as scope:
        scope.cancel()
        await pool.aclose()
    assert not scope.cancelled_caught
    assert endpoint.open_connections == 0
    assert counts(pool) == (0, 0, 0, 0)
    assert pool._hosts == {}


async def test_the_default_bound_on_busy_connections(endpoint: MemoryEndpoint) -> None:
    pool = ConnectionPool(max_idle=1, max_idle_per_host=1, idle_timeout=90.0, tls=NO_TLS, dial=endpoint.dial)
    for _ in range(MAX_BUSY_CONNECTIONS_PER_HOST):
        await pool.lease(ONE)
    with trio.move_on_after(0) as scope:
        await pool.lease(ONE)
    assert scope.cancelled_caught
