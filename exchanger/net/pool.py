"""Connections to token endpoints: dialled within bounds, reused, kept while idle, counted so that none is lost.

``Connections`` has all of them, because some limits span all origins. ``OriginPool`` has those to one origin: which of them carries a call,
when a new one is dialled, and whether it is reused. Calls arrive as rows, wait for their turn if there are too many, and get a connection:
over HTTP/2 one with room, over HTTP/1.1 one that has left its quarantine (see ``quarantine``), or else a new one.

**Attempts to connect** belong to the origin. Each call that waits for a new connection relies on one attempt, for ``PATIENCE`` seconds. If
that has not succeeded by then, it continues, and others start beside it, as in RFC 8305 for addresses: one lost packet, or one unresponsive
server behind the address, must not affect the calls of the next seconds.

**Idle.** An HTTP/1.1 connection that is not needed for ``UNUSED`` seconds after its quarantine becomes idle, and only then do the limits on
idle connections apply. Under load the number of connections in use fluctuates: one closed now would be dialled again a moment later.

Knows nothing of tokens.
"""

import bisect
import math
import operator
from collections import deque
from http import HTTPStatus
from typing import Final, final

import attrs
import trio

from exchanger.model.issuer import ClientCertificate, EndpointProtocol
from exchanger.model.proxy import Proxy
from exchanger.net.answer import EndpointResponse
from exchanger.net.call import CallPhase, EndpointCall, NoAnswer
from exchanger.net.concurrency import AdmissionResult, ConcurrencyLimit
from exchanger.net.dial import DialAttempt, Dialled, DialLimits, Origin, Unreachable
from exchanger.net.endpoint import Endpoint, PreparedHead
from exchanger.net.http2.client import Http2Client
from exchanger.net.http2.limits import MAX_STREAMS
from exchanger.net.links import Http1Link, Http2Link
from exchanger.net.quarantine import ReuseQuarantine
from exchanger.net.reactor import Reactor
from exchanger.net.timers import NEVER
from exchanger.net.tls.client_contexts import TlsContexts

# Concurrent calls to one host; further ones wait within their own deadline, and take turns. At 75 ms a call these are 3,400 a second,
# which is more than one process has CPU for, and three such hosts still fit in the usual 1,024 file descriptors.
MAX_BUSY_PER_HOST: Final = 256

# The part of the connections in quarantine, or out of it and not idle yet, that one host may have: a quarter is left for others. Above
# that, a connection is closed after its call. 1,536 are enough for 4,000 calls a second whose answers take 0.38 s at most.
_SHARE_OF_HOST: Final = 0.75

# Age of an HTTP/2 connection in seconds, at least and at most. An issuer behind a load balancer has several servers, and connections
# that never end would stay on the old ones while others are added.
_AGE: Final = (240.0, 360.0)

# Origins that are remembered because they want HTTP/1.1; a client certificate that is rotated makes a new one each time.
_MAX_USES_HTTP1: Final = 1024

# Seconds within which a peer that owes an answer over HTTP/2 must send anything after a PING.
_PATIENCE: Final = 1.0

# Seconds after its quarantine at which an unused connection becomes idle. Connections that the peaks of a steady load need are used more
# often, and the extra connections of a single burst soon become idle.
UNUSED: Final = 5.0

# Members of enums, and the number of one, are looked up once, not for each call.
_REQUEST_TIMEOUT: Final = int(HTTPStatus.REQUEST_TIMEOUT)
_ADMITTED: Final = AdmissionResult.ADMITTED

_patient_until: Final = operator.attrgetter("patient_until")


@final
@attrs.frozen(kw_only=True)
class PoolLimits:
    """Durations are in seconds. Without ``reuse`` no connection carries a second call."""

    dial: DialLimits
    response_header: float
    max_idle: int
    max_idle_per_host: int
    idle_timeout: float
    longest_call: float
    reuse: bool = True
    max_busy_per_host: int = MAX_BUSY_PER_HOST
    max_quarantined: int


@final
@attrs.frozen
class ConnectionCounts:
    """``open`` counts connections, ``busy`` calls that have a connection or get one, ``waiting`` those that wait for their turn.

    ``quarantined`` also counts connections that have left their quarantine and are not idle yet, ``multiplexed`` those over HTTP/2.
    """

    open: int
    quarantined: int
    idle: int
    busy: int
    waiting: int
    multiplexed: int


@final
@attrs.define(eq=False)
class OriginPool:
    """The connections to one origin, and the calls for them; ``due`` is when an attempt is no longer relied on.

    ``quarantined`` is a queue. Connections that have left their quarantine move from its head into ``reusable`` when needed. ``reusable``
    and ``idle`` are stacks: the one used last is on top and the one that expires first at the bottom. Calls in ``dialling`` have a permit.
    ``attempts`` are in the order in which they started.
    """

    connections: "Connections"
    origin: Origin
    quarantine: ReuseQuarantine
    header_timeout: float
    permits: ConcurrencyLimit[EndpointCall]
    due: float = NEVER
    dialling: dict[EndpointCall, None] = attrs.field(factory=dict)
    attempts: list[DialAttempt] = attrs.field(factory=list)
    links: dict[EndpointCall, Http1Link | Http2Link] = attrs.field(factory=dict)
    quarantined: deque[Http1Link] = attrs.field(factory=deque)
    reusable: deque[Http1Link] = attrs.field(factory=deque)
    idle: list[Http1Link] = attrs.field(factory=list)
    multiplexed: list[Http2Link] = attrs.field(factory=list)
    speaks_http2: bool = False
    streams: int = MAX_STREAMS

    # Calls.

    def begin(self, call: EndpointCall) -> None:
        """Make ``call``, or let it wait for its turn."""
        call.cancel = self.cancel
        entered = self.permits.enter(call.party, call)
        if entered is _ADMITTED:
            self._serve(call)
        elif entered is AdmissionResult.QUEUED:
            call.queued, call.since = True, self.connections.reactor.now()
            self.connections.reactor.timers.expect(call, call.deadline)
        else:
            call.land(NoAnswer(timed_out=False, why="too many calls are waiting for the host"))

    def cancel(self, call: EndpointCall) -> str:
        """End all work for ``call``; return what it waited for, in the words of ``CallPhase`` or of the oldest attempt to connect."""
        phase: str = call.phase.value
        if call.phase is CallPhase.QUEUED:
            self.permits.cancel(call.party, call)
            return phase
        if call.phase is CallPhase.DIALLING and self.attempts:
            phase = self.attempts[0].phase
        link = self.links.pop(call, None)
        if link is None:
            del self.dialling[call]
        elif isinstance(link, Http1Link):
            link.call = None
            now = trio.current_time()
            self.quarantine.measured(now, now - link.sent_at, answered=False)
            link.close()
        else:
            link.give_up(call)
        self._leave(call)
        return phase

    def _serve(self, call: EndpointCall) -> None:
        """Send ``call``, which is counted as busy, on an existing connection, or wait for a new one."""
        now = self.connections.reactor.now()
        if call.phase is CallPhase.QUEUED:
            call.waited += now - call.since if call.queued else 0.0
            call.since = now
        link = None if call.fresh or call.deadline <= now else self._take(now)
        if link is not None:
            self._send(link, call, now)
            return
        call.phase = CallPhase.DIALLING
        self.dialling[call] = None
        self.connections.reactor.timers.expect(call, call.deadline)
        if call.deadline > now:  # otherwise it is about to end, and the endpoint need not know
            self._dial()

    def _send(self, link: Http1Link | Http2Link, call: EndpointCall, now: float) -> None:
        self.links[call] = link
        if not link.send(call, now):
            self.ended(call, NoAnswer(timed_out=False, why="HTTP/2 cannot carry this request"))

    def _take(self, now: float) -> Http1Link | Http2Link | None:
        for http2 in self.multiplexed:
            if http2.room:
                return http2
        while (link := self._reusable(now)) is not None:
            if link.answered_at + self.connections.limits.idle_timeout <= now:
                link.close()
            elif link.is_quiet():
                return link
        return None

    def _reusable(self, now: float) -> Http1Link | None:
        """Take the most recently used connection that has left its quarantine; it may have ended meanwhile.

        A quarantine has ended once the reactor has looked at the link after its end: then nothing that arrived within it was overlooked.
        Outside a turn, the link looks itself.
        """
        reactor = self.connections.reactor
        since = (reactor.looked_at if reactor.in_turn else now) - self.quarantine.seconds(now)
        while self.quarantined and self.quarantined[0].answered_at <= since:
            self.reusable.append(self.quarantined.popleft())
        # If answers have become slower, those on top must stay longer.
        if self.reusable and self.reusable[0].answered_at <= since:
            self.connections.quarantined -= 1
            return self.reusable.pop() if self.reusable[-1].answered_at <= since else self.reusable.popleft()
        return self.idle.pop() if self.idle and self.idle[-1].answered_at <= since else None

    def _dial(self) -> None:
        """Start as many attempts to connect as the waiting calls can rely on.

        There are no more attempts than there may be calls, except for one that can be relied on.
        """
        if not self.dialling:
            return
        most = self.permits.limit
        wanted = 1 if self._is_shared else min(len(self.dialling), most)  # one connection may serve all who wait
        old = bisect.bisect_right(self.attempts, self.connections.reactor.now(), key=_patient_until)
        young = len(self.attempts) - old
        room = max(most - len(self.attempts), 0 if young else 1)
        for _ in range(min(wanted - young, room)):
            self.connections.dial(self)
        if len(self.attempts) > old and (due := self.attempts[old].patient_until) != self.due:
            self.connections.reactor.timers.expect(self, due)

    @property
    def _is_shared(self) -> bool:
        return self.speaks_http2 and self.connections.keeps

    def on_due(self, _now: float) -> None:
        """An attempt to connect is no longer relied on; see ``Timed``."""
        self._dial()

    def _land(self, call: EndpointCall, outcome: EndpointResponse | NoAnswer) -> None:
        """``call``, which has a permit and is on no link, ends with ``outcome``."""
        call.land(outcome)
        self._leave(call)

    def _leave(self, call: EndpointCall) -> None:
        """``call`` has ended: the next one gets its turn."""
        following = self.permits.release(call.party)
        if following is not None:
            self._serve(following)

    # Connections.

    def connected(self, found: Dialled | Unreachable, attempt: DialAttempt) -> None:
        """An attempt to connect has ended. A success ends those that are no longer relied on."""
        if attempt in self.attempts:
            self.attempts.remove(attempt)
        elif isinstance(found, Unreachable):
            return
        if isinstance(found, Unreachable):
            self._failed(found, is_last=not self.attempts or self.attempts[-1].patient_until <= attempt.patient_until)
            return
        now = trio.current_time()
        while self.attempts and self.attempts[0].patient_until <= min(now, attempt.patient_until):
            self.attempts.pop(0).give_up()
        self.connections.open += 1
        self.speaks_http2 = found.http2
        if found.http2:
            self._connected_http2(found, now)
            return
        link = Http1Link(found.transport, self, self.connections.reactor)
        if self.dialling:
            self._send(link, _pop(self.dialling), now)
            self._dial()
        elif self.connections.keeps:  # it is unused, so nothing can be left over on it
            link.answered_at, link.used = now - self.quarantine.seconds(now), True
            self.reusable.append(link)
            self.connections.quarantined += 1
        else:
            link.close()

    def _failed(self, found: Unreachable, *, is_last: bool) -> None:
        """An attempt to connect failed. If its own time is up, the waiting calls rely on younger attempts, unless it was the last one."""
        fails = 0 if found.timed_out and not is_last else len(self.dialling) if self._is_shared and is_last else 1
        for _ in range(min(fails, len(self.dialling))):
            call = _pop(self.dialling)
            self._land(call, NoAnswer(found.timed_out, found.why))
        self._dial()

    def _connected_http2(self, found: Dialled, now: float) -> None:
        # What an earlier connection learned: requests beyond it would be refused once more.
        age = self.connections.reactor.network.random.uniform(*_AGE)  # so that not all end at once
        http = Http2Client(now + age, _PATIENCE, limit=max(1, self.streams))
        link = Http2Link(found.transport, self, self.connections.reactor, http, now)
        self.multiplexed.insert(0, link)
        link.begin(found.early)
        while self.dialling and link.room:
            self._send(link, _pop(self.dialling), now)
            if not self.connections.keeps:
                break
        if not self.connections.keeps:
            link.retire()
        self._dial()

    def answered(self, link: Http1Link, call: EndpointCall, answer: EndpointResponse | None, *, seen: bool, clean: bool) -> None:
        """Settle ``call`` with its answer, or without one if ``link`` was lost.

        A used connection that ends without a byte of response was closed by the peer before it saw the request (RFC 9112 section 9.3.1,
        https://www.rfc-editor.org/rfc/rfc9112#section-9.3.1), so the request is sent once more, on a fresh connection. The same holds
        after a 408, with which the peer ends an idle connection (RFC 9110 section 15.5.9,
        https://www.rfc-editor.org/rfc/rfc9110#section-15.5.9): it answers no request.
        """
        del self.links[call]
        now, used = self.connections.reactor.now(), link.used
        took = now - link.sent_at
        self.quarantine.measured(now, took, answered=clean)
        if call.header_timeout is not None:  # it may exceed a quarantine, which is how late a surplus answer may be
            clean &= took <= self.quarantine.longest
        if not clean or not self._quarantine(link, now):
            link.close()
        if used and (not seen or (answer is not None and answer.status == _REQUEST_TIMEOUT)):
            self._resend(call)
            return
        if answer is None:
            why = "the response is not valid HTTP, or was cut off" if seen else link.broken or "the connection closed without a response"
            call.land(NoAnswer(timed_out=False, why=why))
        else:
            call.land(answer)
        self._leave(call)

    def unprocessed(self, call: EndpointCall) -> None:
        link = self.links.pop(call, None)
        if isinstance(link, Http2Link):
            self.streams = link.limit
        if call.fresh:
            self._land(call, NoAnswer(timed_out=False, why="the token endpoint refuses requests"))
        else:
            self._resend(call)

    def _resend(self, call: EndpointCall) -> None:
        call.fresh, call.status = True, None
        self._serve(call)

    def ended(self, call: EndpointCall, outcome: EndpointResponse | NoAnswer) -> None:
        self.links.pop(call, None)
        self._land(call, outcome)

    def closed(self, link: Http1Link | Http2Link) -> None:
        self.connections.open -= 1
        if isinstance(link, Http2Link):
            self.streams = link.limit
            self.multiplexed.remove(link)
            if link.requires_http1 and self.origin.protocol is EndpointProtocol.AUTO:
                self.speaks_http2 = False
                if len(self.connections.uses_http1) >= _MAX_USES_HTTP1:
                    self.connections.uses_http1.clear()
                self.connections.uses_http1.add(self.origin)
            return
        for kept in (self.quarantined, self.reusable):
            if link in kept:
                kept.remove(link)
                self.connections.quarantined -= 1
        if link in self.idle:
            self.idle.remove(link)

    def _quarantine(self, link: Http1Link, now: float) -> bool:
        """Put ``link`` into quarantine if there is room; return whether there is."""
        connections = self.connections
        most = connections.limits.max_quarantined
        full = connections.quarantined >= most or len(self.quarantined) + len(self.reusable) >= most * _SHARE_OF_HOST
        if full or not connections.keeps:
            return False
        link.answered_at, link.used = now, True
        self.quarantined.append(link)
        connections.quarantined += 1
        return True

    def is_unused(self, now: float) -> bool:
        """Return whether nothing is here; how slow the host was is remembered for longer than its connections may last."""
        return not (self.permits.in_flight or self.attempts or self.quarantined or self.reusable or self.idle or self.multiplexed) and (
            self.quarantine.is_unknown(now)
        )


@final
@attrs.define(eq=False)
class Connections:
    """All connections to token endpoints, in the turns of ``reactor``. ``keeps``: they are used again."""

    limits: PoolLimits
    reactor: Reactor
    tls: TlsContexts
    keeps: bool = attrs.field(init=False)
    open: int = attrs.field(default=0, init=False)
    quarantined: int = attrs.field(default=0, init=False)
    uses_http1: set[Origin] = attrs.field(factory=set, init=False)
    pools: dict[Origin, OriginPool] = attrs.field(factory=dict, init=False)
    _nursery: trio.Nursery | None = attrs.field(default=None, init=False)
    # Certificates and proxies of the active issuers, ``None`` until the first ones are.
    _active: frozenset[ClientCertificate | Proxy] | None = attrs.field(default=None, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        limits = self.limits
        self.keeps = bool(limits.reuse and limits.max_idle and limits.max_idle_per_host)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Own the attempts to connect until cancelled. Afterwards nothing new begins, and ``close`` must be called."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                task_status.started()
                await self._expire()
        finally:
            self._nursery = None

    def begin(self, call: EndpointCall) -> None:
        """Make ``call``; it lands by ``call.deadline``."""
        if self._nursery is None:
            call.land(NoAnswer(timed_out=False, why="the service is stopping"))
            return
        origin = call.endpoint.origin
        if call.apart:
            origin = attrs.evolve(origin, apart=True)
        pool = self.pools.get(origin)
        if pool is None:
            limits = self.limits
            permits = ConcurrencyLimit[EndpointCall](limits.max_busy_per_host)
            pool = self.pools[origin] = OriginPool(self, origin, ReuseQuarantine(limits.longest_call), limits.response_header, permits)
        pool.begin(call)

    async def round_trip(
        self, endpoint: Endpoint, head: PreparedHead, body: bytes, seconds: float, *, header_timeout: float | None = None
    ) -> tuple[EndpointResponse | NoAnswer, bool]:
        """Make a call for a task, which waits for it: return the answer, or why there is none, and whether the ``seconds`` were up."""
        answers: list[EndpointResponse | NoAnswer] = []
        landed = trio.Event()

        def land(answer: EndpointResponse | NoAnswer) -> None:
            answers.append(answer)
            landed.set()

        call = EndpointCall(endpoint, head, (), body, trio.current_time() + seconds, land, header_timeout=header_timeout)
        self.reactor.turn(lambda: self.begin(call))
        try:
            await landed.wait()  # the call's own time is its bound
        finally:
            self.reactor.turn(call.give_up)  # nothing, once it has landed
        (answer,) = answers
        return answer, trio.current_time() >= call.deadline

    def use(self, active: frozenset[ClientCertificate | Proxy]) -> None:
        """Take over the active certificates and proxies. Connections with others, which hold secrets, end once they carry no call."""
        self._active = active
        self.tls.use(active)
        self._sweep(trio.current_time())

    def _is_outdated(self, origin: Origin) -> bool:
        parts = (origin.proxy, origin.certificate)
        return self._active is not None and any(part is not None and part not in self._active for part in parts)

    def counts(self) -> ConnectionCounts:
        """Return the present counts; without calls, ``open`` is the sum of ``quarantined``, ``idle`` and ``multiplexed``, the others 0."""
        pools = self.pools.values()
        return ConnectionCounts(
            open=self.open,
            quarantined=self.quarantined,
            idle=sum(len(pool.idle) for pool in pools),
            busy=sum(pool.permits.in_flight for pool in pools),
            waiting=sum(pool.permits.queued for pool in pools),
            multiplexed=sum(len(pool.multiplexed) for pool in pools),
        )

    def close(self) -> None:
        """Close every connection. Calls in progress end without an answer."""
        for pool in self.pools.values():
            for call in [*pool.links, *pool.dialling, *pool.permits]:
                call.land(NoAnswer(timed_out=False, why="the service is stopping"))
            for link in dict.fromkeys([*pool.links.values(), *pool.quarantined, *pool.reusable, *pool.idle, *pool.multiplexed]):
                link.close()
        self.pools.clear()

    # For pools of origins.

    def dial(self, pool: OriginPool) -> None:
        """Begin one more attempt to connect."""
        if self._nursery is not None:
            origin = pool.origin
            if origin in self.uses_http1:
                origin = attrs.evolve(origin, protocol=EndpointProtocol.HTTP1)
            attempt = DialAttempt(origin, self.limits.dial, self.tls, self.reactor.network)
            pool.attempts.append(attempt)
            self._nursery.start_soon(self._attempt, pool, attempt)

    async def _attempt(self, pool: OriginPool, attempt: DialAttempt) -> None:
        found = await attempt.run()
        self.reactor.turn(lambda: pool.connected(found, attempt))

    async def _expire(self) -> None:
        """Make connections idle that were not used after their quarantine, and close expired idle ones, until cancelled."""
        due = trio.current_time()
        while True:
            await trio.sleep_until(due)
            due = self._sweep(trio.current_time())

    def _sweep(self, now: float) -> float:
        """Do what is due at ``now``, and return when something may be due again."""
        due = now + min(UNUSED, self.limits.idle_timeout)  # what is returned from now on has time until then
        self.uses_http1 -= {origin for origin in self.uses_http1 if self._is_outdated(origin)}
        for origin, pool in list(self.pools.items()):
            outdated = self._is_outdated(origin)
            idle_timeout = 0.0 if outdated else self.limits.idle_timeout
            unused = min(pool.quarantine.seconds(now) + UNUSED, idle_timeout)
            while (waiting := pool.reusable or pool.quarantined) and waiting[0].answered_at + unused <= now:
                self.quarantined -= 1
                self._keep(pool, waiting.popleft())
            while pool.idle and pool.idle[0].answered_at + idle_timeout <= now:
                pool.idle[0].close()
            for link in list(pool.multiplexed):
                if not link.calls and link.used_at + idle_timeout <= now:
                    link.close()
            if waiting:
                due = min(due, waiting[0].answered_at + unused)
            if pool.idle:
                due = min(due, pool.idle[0].answered_at + idle_timeout)
            if pool.is_unused(math.inf if outdated else now):
                del self.pools[origin]
        return due

    def _keep(self, pool: OriginPool, link: Http1Link) -> None:
        """Make ``link`` idle, and close the one that is too many: this one, or of all origins the one whose last use is the oldest."""
        if len(pool.idle) >= self.limits.max_idle_per_host:
            link.close()
            return
        pool.idle.append(link)
        stacks = [other.idle for other in self.pools.values() if other.idle]
        if sum(map(len, stacks)) > self.limits.max_idle:
            min(stacks, key=lambda stack: stack[0].answered_at)[0].close()


def _pop(calls: dict[EndpointCall, None]) -> EndpointCall:
    """Take the call that waits longest."""
    call = next(iter(calls))
    del calls[call]
    return call
