"""Connections to token endpoints: dialled within bounds, used again after a rest, kept while idle, counted so that none is lost.

One pool for all hosts, because some of its limits span them. It hands out leases: the right to use one connection to one host, given back
whatever happens.

**Rest.** HTTP/1.1 answers carry no mark of the request that they belong to (RFC 9112 section 9.3,
https://www.rfc-editor.org/rfc/rfc9112#section-9.3). A surplus answer, from a proxy that sent a request twice or a thread that was late,
would be taken for the answer to the next request, which is another caller's. The second copy of a request takes about as long as requests
take, so a connection rests after an answer for the longest time that an answer took lately, and a byte that arrives meanwhile ends it.

**Idle.** A connection that nobody needs for ``UNUSED_REST`` after its rest becomes idle, and only then do the limits on idle connections
apply. Under load the number of connections in use goes up and down all the time: one closed now would be dialled anew a moment later.

Knows nothing of requests or tokens.
"""

import ssl
from collections import deque
from typing import Final, final

import attrs
import trio

from exchanger.oauth.dial import Dial, Origin, connect
from exchanger.oauth.http1 import Bounds, Http1Connection

# Connections in use to one host at a time; further exchanges wait for one within their own deadline. At 75 ms an exchange these carry 3,400
# a second, which is more than one process has CPU for, and three such hosts still fit in the usual 1,024 file descriptors.
MAX_BUSY_CONNECTIONS_PER_HOST: Final = 256

# Connections that rest, or have rested and are not idle yet. Beyond that a connection is closed after its exchange. Beside those in use and
# those that are idle they fit in the usual 1,024 file descriptors.
MAX_RESTING_CONNECTIONS: Final = 512

# The same for one host: enough for 1,000 exchanges a second whose answers take 0.38 s at most, and a quarter is left for other hosts.
MAX_RESTING_CONNECTIONS_PER_HOST: Final = 384

# Seconds after its rest at which a connection that nobody used becomes idle. Those that the peaks of a steady load need are used more
# often, and what a single burst has opened is soon no more than may be idle.
UNUSED_REST: Final = 5.0

# Seconds. However quick an endpoint is, a garbage collection, a busy scheduler or a delayed acknowledgement (40 ms on Linux) holds an
# answer up by tens of milliseconds. At 1,000 exchanges a second this rest costs 100 open connections.
LEAST_REST: Final = 0.1

# Seconds, while few answers were measured: the longest of a few says little about what is still to come. Where exchanges are rare, so are
# connections, and a longer rest costs nothing.
UNKNOWN_REST: Final = 1.0

# Answers after which the longest of them is believed: it is then longer than all but one in a hundred.
_ENOUGH_ANSWERS: Final = 100

# Seconds that a measurement counts at least, and twice as long at most: long enough to contain an endpoint's slow moments, and short enough
# that the pool does not stay large for one of them.
_SPAN: Final = 60.0


@final
@attrs.define(eq=False)
class Rest:
    """The rest that one host's connections need, in seconds; ``now`` never goes back.

    ``longest`` is the longest that an exchange may take. No answer that is waited for takes longer, so no rest does either, unless that is
    less than ``LEAST_REST``.
    """

    longest: float
    _ends: float = attrs.field(default=0.0, init=False)
    _slowest: float = attrs.field(default=0.0, init=False)
    _slowest_before: float = attrs.field(default=0.0, init=False)
    _answers: int = attrs.field(default=0, init=False)
    _answers_before: int = attrs.field(default=0, init=False)

    def measured(self, now: float, took: float, *, answered: bool) -> None:
        """Count an exchange that took ``took`` until ``now``; one that was given up would have taken at least as long."""
        self._turn(now)
        self._answers += answered
        self._slowest = max(self._slowest, took)

    def seconds(self, now: float) -> float:
        """Return how long a connection has to have rested by ``now``."""
        self._turn(now)
        few = self._answers + self._answers_before < _ENOUGH_ANSWERS
        measured = max(self._slowest, self._slowest_before, UNKNOWN_REST if few else LEAST_REST)
        return max(LEAST_REST, min(measured, self.longest))

    def is_unknown(self, now: float) -> bool:
        """Return whether nothing that was measured counts any more."""
        self._turn(now)
        return not (self._answers or self._answers_before or self._slowest or self._slowest_before)

    def _turn(self, now: float) -> None:
        if now < self._ends:
            return
        follows = now < self._ends + _SPAN
        self._slowest_before, self._slowest = (self._slowest if follows else 0.0), 0.0
        self._answers_before, self._answers = (self._answers if follows else 0), 0
        self._ends = now + _SPAN


@final
@attrs.frozen
class ConnectionCounts:
    """``open`` counts connections, ``busy`` leases that are in use, ``waiting`` exchanges that wait for a lease.

    ``resting`` also counts those whose rest is over and that are not idle yet.
    """

    open: int
    resting: int
    idle: int
    busy: int
    waiting: int


@final
@attrs.define(eq=False)
class _Host:
    """``resting`` is a queue. Those that have rested are taken from its head into ``rested`` as they are needed.

    ``rested`` and ``idle`` are stacks: the one used last is on top and the one that expires first at the bottom.
    """

    slots: trio.Semaphore
    rest: Rest
    users: int = 0
    resting: deque[Http1Connection] = attrs.field(factory=deque)
    rested: deque[Http1Connection] = attrs.field(factory=deque)
    idle: list[Http1Connection] = attrs.field(factory=list)


@final
@attrs.define(eq=False)
class ConnectionPool:
    """All connections of the token client. Durations are in seconds."""

    max_idle: int
    max_idle_per_host: int
    idle_timeout: float
    longest_exchange: float
    tls: ssl.SSLContext
    dial: Dial
    reuse: bool = True
    max_busy_per_host: int = MAX_BUSY_CONNECTIONS_PER_HOST
    max_resting: int = MAX_RESTING_CONNECTIONS
    max_resting_per_host: int = MAX_RESTING_CONNECTIONS_PER_HOST
    _hosts: dict[Origin, _Host] = attrs.field(factory=dict, init=False)
    _open: int = attrs.field(default=0, init=False)
    _resting: int = attrs.field(default=0, init=False)
    _busy: int = attrs.field(default=0, init=False)
    _waiting: int = attrs.field(default=0, init=False)

    async def expire(self) -> None:
        """Make idle what nobody used after its rest, and close idle connections when their time is over, until cancelled."""
        due = trio.current_time()
        while True:
            await trio.sleep_until(due)
            due = await self._sweep(trio.current_time())

    async def aclose(self) -> None:
        """Close what rests or is idle; to be called when no lease is out any more."""
        kept = [connection for host in self._hosts.values() for connection in (*host.resting, *host.rested, *host.idle)]
        self._hosts.clear()
        self._resting = 0
        for connection in kept:
            await self.close(connection)

    def counts(self) -> ConnectionCounts:
        """Return the present counts; at rest, ``open`` equals ``resting`` and ``idle`` together, and the others are zero."""
        idle = sum(len(host.idle) for host in self._hosts.values())
        return ConnectionCounts(self._open, self._resting, idle, self._busy, self._waiting)

    async def lease(self, origin: Origin) -> "Lease":
        """Return the right to use one connection to ``origin``; the wait for it is the caller's to bound."""
        host = self._hosts.get(origin)
        if host is None:
            slots = trio.Semaphore(self.max_busy_per_host, max_value=self.max_busy_per_host)
            host = self._hosts[origin] = _Host(slots, Rest(self.longest_exchange))
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
                host.users -= 1
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

    def take(self, host: _Host) -> Http1Connection | None:
        """For leases: return the connection that was used last of those that have rested; it may have ended meanwhile."""
        now = trio.current_time()
        rested_since = now - host.rest.seconds(now)
        while host.resting and host.resting[0].answered_at <= rested_since:
            host.rested.append(host.resting.popleft())
        # Where answers have become slower, those on top have to rest on.
        if host.rested and host.rested[0].answered_at <= rested_since:
            self._resting -= 1
            return host.rested.pop() if host.rested[-1].answered_at <= rested_since else host.rested.popleft()
        return host.idle.pop() if host.idle and host.idle[-1].answered_at <= rested_since else None

    async def put_back(self, host: _Host, connection: Http1Connection | None) -> None:
        """For leases: give back the right to a connection, and the connection."""
        self._busy -= 1
        host.slots.release()
        if connection is not None and self._rests(host, connection):
            connection = None
        host.users -= 1
        if connection is not None:
            await self.close(connection)

    def _rests(self, host: _Host, connection: Http1Connection) -> bool:
        """Let ``connection`` rest if its exchange came to a clean end and there is room; return whether it does."""
        if connection.sent_at is None:
            return False
        now = trio.current_time()
        clean = connection.settle()
        host.rest.measured(now, now - connection.sent_at, answered=clean)
        kept = self.reuse and self.max_idle and self.max_idle_per_host
        full = self._resting >= self.max_resting or len(host.resting) + len(host.rested) >= self.max_resting_per_host
        if not kept or not clean or full:
            return False
        connection.sent_at, connection.answered_at = None, now
        host.resting.append(connection)
        self._resting += 1
        return True

    def _keep(self, host: _Host, connection: Http1Connection) -> Http1Connection | None:
        """Make ``connection`` idle, and return the one that is too many: this one, or of all hosts the one whose last use is the oldest."""
        if len(host.idle) >= self.max_idle_per_host:
            return connection
        host.idle.append(connection)
        stacks = [other.idle for other in self._hosts.values() if other.idle]
        if sum(map(len, stacks)) <= self.max_idle:
            return None
        return min(stacks, key=lambda stack: stack[0].answered_at).pop(0)

    async def _sweep(self, now: float) -> float:
        """Do what is due at ``now``, and return when there may be something to do again."""
        closing: list[Http1Connection] = []
        due = now + min(UNUSED_REST, self.idle_timeout)  # what comes back from now on has time until then
        for origin, host in list(self._hosts.items()):
            unused = min(host.rest.seconds(now) + UNUSED_REST, self.idle_timeout)
            while (waiting := host.rested or host.resting) and waiting[0].answered_at + unused <= now:
                self._resting -= 1
                connection = waiting.popleft()
                surplus = self._keep(host, connection) if connection.is_quiet() else connection
                if surplus is not None:
                    closing.append(surplus)
            while host.idle and host.idle[0].answered_at + self.idle_timeout <= now:
                closing.append(host.idle.pop(0))
            if waiting:
                due = min(due, waiting[0].answered_at + unused)
            if host.idle:
                due = min(due, host.idle[0].answered_at + self.idle_timeout)
            # How slow it was counts for longer than its connections may last.
            if not host.users and not waiting and not host.idle and host.rest.is_unknown(now):
                del self._hosts[origin]
        for connection in closing:
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
        """Return a connection that has rested and on which nothing has come since its last answer, if there is one.

        Nothing else reads from a connection that rests, so whatever came during its rest is seen here.
        """
        while self._connection is None and (connection := self._pool.take(self._host)) is not None:
            self._connection = connection
            expired = connection.answered_at + self._pool.idle_timeout <= trio.current_time()
            if expired or not await connection.is_reusable():
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
            await self._pool.put_back(self._host, connection)
