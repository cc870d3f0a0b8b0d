"""Connections to token endpoints: dialled within bounds, kept while idle, counted so that none is lost.

One pool for all hosts, because one of its limits spans them. It hands out leases: the right to use one connection to one host, given back
whatever happens. Knows nothing of requests, tokens or httpx.
"""

import math
import ssl
from typing import Final, final

import attrs
import trio

from exchanger.oauth.dial import Dial, Origin, connect
from exchanger.oauth.http1 import Bounds, Http1Connection

MAX_BUSY_CONNECTIONS_PER_HOST: Final = 256
"""Connections in use to one host at a time; further exchanges wait for one within their own deadline.

At 75 ms an exchange these carry 3,400 a second, which is more than one process has CPU for, and three such hosts still fit in the usual
1,024 file descriptors.
"""


@final
@attrs.frozen
class ConnectionStatistics:
    """``open`` counts connections, ``busy`` leases that are in use, ``waiting`` exchanges that wait for a lease."""

    open: int
    idle: int
    busy: int
    waiting: int


@final
@attrs.define(eq=False)
class _Host:
    """``idle`` is a stack: the one used last is on top and the one that expires first at the bottom."""

    slots: trio.Semaphore
    users: int = 0
    idle: list[Http1Connection] = attrs.field(factory=list)


@final
@attrs.define(eq=False)
class ConnectionPool:
    """All connections of the token client. Durations are in seconds."""

    max_idle: int
    max_idle_per_host: int
    idle_timeout: float
    tls: ssl.SSLContext
    dial: Dial
    max_busy_per_host: int = MAX_BUSY_CONNECTIONS_PER_HOST
    _hosts: dict[Origin, _Host] = attrs.field(factory=dict, init=False)
    _open: int = attrs.field(default=0, init=False)
    _busy: int = attrs.field(default=0, init=False)
    _waiting: int = attrs.field(default=0, init=False)

    async def expire(self) -> None:
        """Close idle connections when their time is over, until cancelled."""
        due = trio.current_time()
        while True:
            await trio.sleep_until(due)
            due = await self._close_expired(trio.current_time())

    async def aclose(self) -> None:
        """Close what is idle; to be called when no lease is out any more."""
        await self._close_expired(math.inf)

    def statistics(self) -> ConnectionStatistics:
        """Return the present counts; at rest, ``open`` equals ``idle`` and the others are zero."""
        idle = sum(len(host.idle) for host in self._hosts.values())
        return ConnectionStatistics(self._open, idle, self._busy, self._waiting)

    async def lease(self, origin: Origin) -> "Lease":
        """Return the right to use one connection to ``origin``; the wait for it is the caller's to bound."""
        host = self._hosts.get(origin)
        if host is None:
            host = self._hosts[origin] = _Host(trio.Semaphore(self.max_busy_per_host, max_value=self.max_busy_per_host))
        host.users += 1
        granted = False
        try:
            try:
                host.slots.acquire_nowait()
            except trio.WouldBlock:
                self._waiting += 1
                try:
                    await host.slots.acquire()
                finally:
                    self._waiting -= 1
            granted = True
        finally:
            if not granted:
                self._leave(origin, host)
        self._busy += 1
        return Lease(self, origin, host)

    async def connect(self, origin: Origin, bounds: Bounds) -> Http1Connection | None:
        """For leases: return a new connection, ``None`` if there is none to be had."""
        connection = await connect(origin, bounds, tls=self.tls, dial=self.dial)
        if connection is not None:
            self._open += 1
        return connection

    async def close(self, connection: Http1Connection) -> None:
        """For leases: close ``connection``."""
        self._open -= 1
        await connection.close()

    async def put_back(self, origin: Origin, host: _Host, connection: Http1Connection | None) -> None:
        """For leases: give back the right to a connection, and the connection."""
        self._busy -= 1
        host.slots.release()
        surplus = self._keep(host, connection) if connection is not None and connection.settle() else connection
        self._leave(origin, host)
        if surplus is not None:
            await self.close(surplus)

    def _keep(self, host: _Host, connection: Http1Connection) -> Http1Connection | None:
        """Put ``connection`` aside, and return the one that is too many: this one, or the one of all hosts that was idle the longest."""
        if len(host.idle) >= self.max_idle_per_host:
            return connection
        connection.idle_since = trio.current_time()
        host.idle.append(connection)
        stacks = [other.idle for other in self._hosts.values() if other.idle]
        if sum(map(len, stacks)) <= self.max_idle:
            return None
        return min(stacks, key=lambda stack: stack[0].idle_since).pop(0)

    def _leave(self, origin: Origin, host: _Host) -> None:
        host.users -= 1
        self._drop_if_unused(origin, host)

    def _drop_if_unused(self, origin: Origin, host: _Host) -> None:
        if not host.users and not host.idle:
            del self._hosts[origin]

    async def _close_expired(self, now: float) -> float:
        """Close what has been idle too long at ``now``, and return when there may be something to close again."""
        overdue: list[Http1Connection] = []
        due = now + self.idle_timeout  # what is put aside from now on does not expire before that
        for origin, host in list(self._hosts.items()):
            while host.idle and host.idle[0].idle_since + self.idle_timeout <= now:
                overdue.append(host.idle.pop(0))
            if host.idle:
                due = min(due, host.idle[0].idle_since + self.idle_timeout)
            self._drop_if_unused(origin, host)
        for connection in overdue:
            await self.close(connection)
        return due


@final
@attrs.define(eq=False)
class Lease:
    """The right to use one connection to one host at a time, until released."""

    _pool: ConnectionPool
    _origin: Origin
    _host: _Host
    _connection: Http1Connection | None = None
    _released: bool = False

    @property
    def connection(self) -> Http1Connection | None:
        """The connection in use."""
        return self._connection

    async def reuse(self) -> Http1Connection | None:
        """Return an idle connection that still looks alive, if there is one."""
        while self._connection is None and self._host.idle:
            connection = self._host.idle.pop()
            expired = connection.idle_since + self._pool.idle_timeout <= trio.current_time()
            self._connection = connection
            if expired or not connection.is_quiet():
                await self.discard()
        return self._connection

    async def connect(self, bounds: Bounds) -> Http1Connection | None:
        """Return a fresh connection, ``None`` if the host cannot be reached or does not prove who it is."""
        self._connection = await self._pool.connect(self._origin, bounds)
        return self._connection

    async def discard(self) -> None:
        """Close the connection in use, and keep the right to another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._pool.close(connection)

    async def release(self) -> None:
        """Give the right back; the connection is kept if its exchange came to a clean end. Once is enough, more does no harm."""
        if not self._released:
            self._released = True
            connection, self._connection = self._connection, None
            await self._pool.put_back(self._origin, self._host, connection)
