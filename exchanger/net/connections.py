"""Connections to token endpoints: dialled within bounds, used again, kept while idle, counted so that none is lost.

One object for all hosts, because some of its limits span them.

**Idle.** An HTTP/1.1 connection that nobody needs for ``UNUSED_REST`` after its rest becomes idle, and only then do the limits on idle
connections apply. Under load the number of connections in use goes up and down all the time: one closed now would be dialled anew a moment
later.

Knows nothing of tokens.
"""

import math
from typing import Final, final

import attrs
import trio

from exchanger.net.call import Call, NoAnswer
from exchanger.net.concurrency import ConcurrencyLimit
from exchanger.net.dial import Attempt, Dial, Origin
from exchanger.net.host import ConnectionLimits, Host
from exchanger.net.links import Http1Link
from exchanger.net.quarantine import Rest
from exchanger.net.reactor import Reactor
from exchanger.net.resolver import Resolver
from exchanger.net.tls.client_contexts import TlsContexts
from exchanger.values.issuer import ClientCertificate, EndpointProtocol
from exchanger.values.proxy import Proxy

# Seconds after its rest at which a connection that nobody used becomes idle. Those that the peaks of a steady load need are used more
# often, and what a single burst has opened is soon no more than may be idle.
UNUSED_REST: Final = 5.0


@final
@attrs.frozen
class ConnectionCounts:
    """``open`` counts connections, ``busy`` calls that have a connection or get one, ``waiting`` those that wait for their turn.

    ``resting`` also counts connections whose rest is over and that are not idle yet, ``multiplexed`` those over HTTP/2.
    """

    open: int
    resting: int
    idle: int
    busy: int
    waiting: int
    multiplexed: int


@final
@attrs.define(eq=False)
class Connections:
    """All connections of the token client, in the turns of ``reactor``."""

    limits: ConnectionLimits
    reactor: Reactor
    tls: TlsContexts
    connect: Dial
    open: int = attrs.field(default=0, init=False)
    resting: int = attrs.field(default=0, init=False)
    uses_http1: set[Origin] = attrs.field(factory=set, init=False)
    _hosts: dict[Origin, Host] = attrs.field(factory=dict, init=False)
    _nursery: trio.Nursery | None = attrs.field(default=None, init=False)
    # Certificates and proxies of the issuers in force, ``None`` until the first ones are.
    _in_force: frozenset[ClientCertificate | Proxy] | None = attrs.field(default=None, init=False, repr=False)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Own the attempts to connect until cancelled. Then nothing new is begun, and ``close`` is to be called."""
        before = trio.socket.set_custom_hostname_resolver(Resolver())  # that of the whole process
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                task_status.started()
                await self._expire()
        finally:
            trio.socket.set_custom_hostname_resolver(before)
            self._nursery = None

    def begin(self, call: Call) -> None:
        """Make ``call``; it lands by ``call.ends``."""
        if self._nursery is None:
            call.land(NoAnswer(timed_out=False, why="the service ends"))
            return
        origin = call.endpoint.origin
        if call.apart:
            origin = attrs.evolve(origin, apart=True)
        host = self._hosts.get(origin)
        if host is None:
            limits = self.limits
            permits = ConcurrencyLimit[Call](limits.max_busy_per_host)
            host = self._hosts[origin] = Host(self, origin, Rest(limits.longest_exchange), limits.response_header, permits)
        host.begin(call)

    def use(self, in_force: frozenset[ClientCertificate | Proxy]) -> None:
        """Take over the certificates and proxies in force. Connections with others, which hold secrets, end once they carry no call."""
        self._in_force = in_force
        self.tls.use(in_force)
        self._sweep(trio.current_time())

    def _is_withdrawn(self, origin: Origin) -> bool:
        parts = (origin.proxy, origin.certificate)
        return self._in_force is not None and any(part is not None and part not in self._in_force for part in parts)

    def counts(self) -> ConnectionCounts:
        """Return the present counts; at rest, ``open`` is the sum of ``resting``, ``idle`` and ``multiplexed``, and the others are zero."""
        hosts = self._hosts.values()
        return ConnectionCounts(
            open=self.open,
            resting=self.resting,
            idle=sum(len(host.idle) for host in hosts),
            busy=sum(host.permits.in_flight for host in hosts),
            waiting=sum(host.permits.queued for host in hosts),
            multiplexed=sum(len(host.multiplexed) for host in hosts),
        )

    def close(self) -> None:
        """Close every connection. Calls that are under way land without an answer."""
        for host in self._hosts.values():
            for call in [*host.links, *host.dialling, *host.permits]:
                call.land(NoAnswer(timed_out=False, why="the service ends"))
            for link in {*host.links.values(), *host.resting, *host.rested, *host.idle, *host.multiplexed}:
                link.close()
        self._hosts.clear()

    # For hosts.

    def keeps(self) -> bool:
        """Whether connections are used again."""
        limits = self.limits
        return bool(limits.reuse and limits.max_idle and limits.max_idle_per_host)

    def dial(self, host: Host) -> None:
        """Begin one more attempt to connect."""
        if self._nursery is not None:
            origin = host.origin
            if origin in self.uses_http1:
                origin = attrs.evolve(origin, protocol=EndpointProtocol.HTTP1)
            attempt = Attempt(origin, self.limits.dial, self.tls, self.connect)
            host.attempts.append(attempt)
            self._nursery.start_soon(self._attempt, host, attempt)

    async def _attempt(self, host: Host, attempt: Attempt) -> None:
        found = await attempt.run()
        self.reactor.turn(lambda: host.connected(found, attempt))

    async def _expire(self) -> None:
        """Make idle what nobody used after its rest, and close idle connections when their time is over, until cancelled."""
        due = trio.current_time()
        while True:
            await trio.sleep_until(due)
            due = self._sweep(trio.current_time())

    def _sweep(self, now: float) -> float:
        """Do what is due at ``now``, and return when there may be something to do again."""
        due = now + min(UNUSED_REST, self.limits.idle_timeout)  # what comes back from now on has time until then
        self.uses_http1 -= {origin for origin in self.uses_http1 if self._is_withdrawn(origin)}
        for origin, host in list(self._hosts.items()):
            withdrawn = self._is_withdrawn(origin)
            idle_timeout = 0.0 if withdrawn else self.limits.idle_timeout
            unused = min(host.rest.seconds(now) + UNUSED_REST, idle_timeout)
            while (waiting := host.rested or host.resting) and waiting[0].answered_at + unused <= now:
                self.resting -= 1
                self._keep(host, waiting.popleft())
            while host.idle and host.idle[0].answered_at + idle_timeout <= now:
                host.idle[0].close()
            for link in list(host.multiplexed):
                if not link.calls and link.used_at + idle_timeout <= now:
                    link.close()
            if waiting:
                due = min(due, waiting[0].answered_at + unused)
            if host.idle:
                due = min(due, host.idle[0].answered_at + idle_timeout)
            if host.is_unused(math.inf if withdrawn else now):
                del self._hosts[origin]
        return due

    def _keep(self, host: Host, link: Http1Link) -> None:
        """Make ``link`` idle, and close the one that is too many: this one, or of all hosts the one whose last use is the oldest."""
        if len(host.idle) >= self.limits.max_idle_per_host:
            link.close()
            return
        host.idle.append(link)
        stacks = [other.idle for other in self._hosts.values() if other.idle]
        if sum(map(len, stacks)) > self.limits.max_idle:
            min(stacks, key=lambda stack: stack[0].answered_at)[0].close()
