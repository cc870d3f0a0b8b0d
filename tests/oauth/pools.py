"""Pools over endpoints in memory, and exchanges on them without a client."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import attrs
import h11
import trio

from exchanger.oauth.dial import Origin
from exchanger.oauth.http1 import Bounds, Http1Connection, PhaseLimits
from exchanger.oauth.pool import ConnectionPool, Lease
from tests.oauth.fakes import NO_TLS, MemoryEndpoint

# Seconds that an exchange may take here, and with few answers the rest of a connection.
LONGEST = 0.75
ONE = Origin(secure=False, host="one.example", port=80)
TWO = Origin(secure=False, host="two.example", port=80)
HEAD = h11.Request(method="POST", target="/token", headers=[("Host", "one.example"), ("Content-Length", "0")])


def pool_of(
    endpoint: MemoryEndpoint,
    *,
    total: int = 100,
    per_host: int = 10,
    busy: int = 256,
    resting: int = 512,
    resting_per_host: int = 256,
    longest: float = LONGEST,
) -> ConnectionPool:
    return ConnectionPool(
        max_idle=total,
        max_idle_per_host=per_host,
        idle_timeout=90.0,
        longest_exchange=longest,
        tls=NO_TLS,
        dial=endpoint.dial,
        max_busy_per_host=busy,
        max_resting=resting,
        max_resting_per_host=resting_per_host,
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


async def exchange(pool: ConnectionPool, origin: Origin = ONE, *, seconds: float = 0.0) -> Http1Connection:
    """Carry out one exchange whose answer takes ``seconds``."""
    lease = await pool.lease(origin)
    connection = await use(lease)
    await trio.sleep(seconds)
    await lease.release()
    return connection


async def exchange_at_once(pool: ConnectionPool, count: int, origin: Origin = ONE, *, seconds: float = 0.0) -> list[Http1Connection]:
    leases = [await pool.lease(origin) for _ in range(count)]
    connections = [await use(lease) for lease in leases]
    await trio.sleep(seconds)
    for lease in leases:
        await lease.release()
    return connections


@asynccontextmanager
async def expiring(pool: ConnectionPool) -> AsyncGenerator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pool.expire)
        yield
        nursery.cancel_scope.cancel()


def counts(pool: ConnectionPool) -> tuple[int, int, int, int, int]:
    """Return how many are open, rest, are idle, busy and waited for."""
    return attrs.astuple(pool.counts())
