"""The connections to one origin: which of them carries a call, when a new one is dialled, and what becomes of it after its exchange.

Calls come in as rows, wait for their turn where there are too many, and get a connection: over HTTP/2 one with room, over HTTP/1.1 one that
has rested (see ``rest``), or else a new one.

**Attempts to connect** belong to the host. Each call that waits for a new connection counts on one of its own, for ``PATIENCE`` seconds. An
attempt that has had no success by then goes on, and others are begun beside it, as RFC 8305 does it for addresses: one lost packet, or one
server behind the address that does not answer, must not cost those who ask in the seconds after it.

Knows nothing of tokens.
"""

import bisect
import operator
import random
from collections import deque
from http import HTTPStatus
from typing import Final, Protocol, final

import attrs
import trio

from exchanger.net.answer import Answer
from exchanger.net.call import Call, NoAnswer, Phase
from exchanger.net.concurrency import ConcurrencyLimit, Entered
from exchanger.net.dial import Attempt, Dialled, DialLimits, Origin, Unreachable
from exchanger.net.http1 import Http1Response
from exchanger.net.http2.client import Http2Client
from exchanger.net.http2.limits import MAX_STREAMS
from exchanger.net.links import Http1Link, Http2Link
from exchanger.net.quarantine import Rest
from exchanger.net.reactor import Reactor
from exchanger.net.timers import NEVER
from exchanger.values.issuer import EndpointProtocol

# Calls under way to one host at a time; further ones wait within their own deadline, and take turns. At 75 ms a call these are 3,400 a
# second, which is more than one process has CPU for, and three such hosts still fit in the usual 1,024 file descriptors.
MAX_BUSY_PER_HOST: Final = 256

# The part of the connections that rest, or have rested and are not idle yet, that one host may have: a quarter is left for others. Beyond
# that a connection is closed after its exchange. 1,536 are enough for 4,000 exchanges a second whose answers take 0.38 s at most.
_SHARE_OF_HOST: Final = 0.75

# Age of an HTTP/2 connection in seconds, at least and at most. An issuer behind a load balancer has more than one server, and connections
# that never end would stay where they are while others are added.
_AGE: Final = (240.0, 360.0)

# Origins of which it is remembered that they want HTTP/1.1; a client certificate that is rotated makes a new one each time.
_MAX_USES_HTTP1: Final = 1024

# Seconds in which a peer that owes an answer over HTTP/2 has to say anything after a PING has asked whether it is still there.
_PATIENCE: Final = 1.0

_patient_until: Final = operator.attrgetter("patient_until")


@final
@attrs.frozen(kw_only=True)
class ConnectionLimits:
    """Durations are in seconds. Without ``reuse`` no connection carries a second call."""

    dial: DialLimits
    response_header: float
    max_idle: int
    max_idle_per_host: int
    idle_timeout: float
    longest_exchange: float
    reuse: bool = True
    max_busy_per_host: int = MAX_BUSY_PER_HOST
    max_resting: int


class Pool(Protocol):
    """All connections, as those to one origin see them; ``open`` and ``resting`` are counted by the hosts."""

    limits: ConnectionLimits
    reactor: Reactor
    open: int
    resting: int
    uses_http1: set[Origin]

    def keeps(self) -> bool:
        """Return whether connections are used again."""

    def dial(self, host: "Host", /) -> None:
        """Begin one more attempt to connect."""


@final
@attrs.define(eq=False)
class Host:
    """The connections to one origin, and the calls for them; see ``links.Host``. ``due`` is when an attempt is not counted on any more.

    ``resting`` is a queue. Those that have rested are taken from its head into ``rested`` as they are needed. ``rested`` and ``idle`` are
    stacks: the one used last is on top and the one that expires first at the bottom. Calls in ``dialling`` have a place. ``attempts`` are
    in the order in which they began.
    """

    pool: Pool
    origin: Origin
    rest: Rest
    header_timeout: float
    permits: ConcurrencyLimit[Call]
    due: float = NEVER
    dialling: dict[Call, None] = attrs.field(factory=dict)
    attempts: list[Attempt] = attrs.field(factory=list)
    links: dict[Call, Http1Link | Http2Link] = attrs.field(factory=dict)
    resting: deque[Http1Link] = attrs.field(factory=deque)
    rested: deque[Http1Link] = attrs.field(factory=deque)
    idle: list[Http1Link] = attrs.field(factory=list)
    multiplexed: list[Http2Link] = attrs.field(factory=list)
    speaks_http2: bool = False
    streams: int = MAX_STREAMS

    # Calls.

    def begin(self, call: Call) -> None:
        """Make ``call``, or let it wait for its turn."""
        call.host = self
        entered = self.permits.enter(call.party, call)
        if entered is Entered.ADMITTED:
            self._serve(call)
        elif entered is Entered.QUEUED:
            call.queued = True
            self.pool.reactor.timers.expect(call, call.ends)
        else:
            call.land(NoAnswer(timed_out=False, why="too many calls to the host wait"))

    def give_up(self, call: Call) -> None:
        """See ``call.Host``."""
        if call.phase is Phase.QUEUED:
            self.permits.withdraw(call.party, call)
            return
        link = self.links.pop(call, None)
        if link is None:
            del self.dialling[call]
        elif isinstance(link, Http1Link):
            link.call = None
            now = trio.current_time()
            self.rest.measured(now, now - link.sent_at, answered=False)
            link.close()
        else:
            link.give_up(call)
        self._leave(call)

    def phase(self) -> str:
        """See ``call.Host``: that of the oldest attempt to connect."""
        return self.attempts[0].phase if self.attempts else Phase.DIALLING.value

    def _serve(self, call: Call) -> None:
        """Send ``call``, which is counted as busy, on a connection that is there, or wait for a new one."""
        now = self.pool.reactor.now()
        link = self._take(call, now)
        if link is not None:
            self._send(link, call, now)
            return
        call.phase = Phase.DIALLING
        self.dialling[call] = None
        self.pool.reactor.timers.expect(call, call.ends)
        self._dial()

    def _send(self, link: Http1Link | Http2Link, call: Call, now: float) -> None:
        self.links[call] = link
        if not link.send(call, now):
            self.ended(call, NoAnswer(timed_out=False, why="HTTP/2 cannot carry this request"))

    def _take(self, call: Call, now: float) -> Http1Link | Http2Link | None:
        if call.fresh:
            return None
        for http2 in self.multiplexed:
            if http2.room:
                return http2
        while (link := self._rested(now)) is not None:
            if link.answered_at + self.pool.limits.idle_timeout <= now:
                link.close()
            elif link.is_quiet():
                return link
        return None

    def _rested(self, now: float) -> Http1Link | None:
        """Take the connection that was used last of those that have rested; it may have ended meanwhile.

        A rest is over once the reactor has looked after it: nothing that came within it was overlooked then. Outside a
        turn, the link looks.
        """
        reactor = self.pool.reactor
        since = (reactor.looked_at if reactor.in_turn else now) - self.rest.seconds(now)
        while self.resting and self.resting[0].answered_at <= since:
            self.rested.append(self.resting.popleft())
        # Where answers have become slower, those on top have to rest on.
        if self.rested and self.rested[0].answered_at <= since:
            self.pool.resting -= 1
            return self.rested.pop() if self.rested[-1].answered_at <= since else self.rested.popleft()
        return self.idle.pop() if self.idle and self.idle[-1].answered_at <= since else None

    def _dial(self) -> None:
        """Begin as many attempts to connect as those who wait can count on.

        All attempts together are no more than there may be calls, but for one that can be counted on.
        """
        if not self.dialling:
            return
        most = self.permits.limit
        wanted = 1 if self.speaks_http2 else min(len(self.dialling), most)  # one connection over HTTP/2 may serve all who wait
        old = bisect.bisect_right(self.attempts, self.pool.reactor.now(), key=_patient_until)
        young = len(self.attempts) - old
        room = max(most - len(self.attempts), 0 if young else 1)
        for _ in range(min(wanted - young, room)):
            self.pool.dial(self)
        if len(self.attempts) > old and (due := self.attempts[old].patient_until) != self.due:
            self.pool.reactor.timers.expect(self, due)

    def on_due(self, _now: float) -> None:
        """An attempt to connect is not counted on any more; see ``Timed``."""
        self._dial()

    def _leave(self, call: Call) -> None:
        """``call`` is over: the next one has its turn."""
        following = self.permits.leave(call.party)
        if following is not None:
            self._serve(following)

    # Connections.

    def connected(self, found: Dialled | Unreachable, attempt: Attempt) -> None:
        """An attempt to connect is over. One that succeeds ends those on which nobody counts any more."""
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
        self.pool.open += 1
        self.speaks_http2 = found.http2
        if found.http2:
            self._connected_http2(found, now)
            return
        link = Http1Link(found.transport, self, self.pool.reactor)
        if self.dialling:
            self._send(link, _pop(self.dialling), now)
            self._dial()
        elif self.pool.keeps():  # nobody has used it, so nothing can be left over on it
            link.answered_at, link.used = now - self.rest.seconds(now), True
            self.rested.append(link)
            self.pool.resting += 1
        else:
            link.close()

    def _failed(self, found: Unreachable, *, is_last: bool) -> None:
        """An attempt to connect failed. Its time is its own: if that is up, those who wait count on younger attempts, but for the last."""
        fails = 0 if found.timed_out and not is_last else len(self.dialling) if self.speaks_http2 and is_last else 1
        for _ in range(min(fails, len(self.dialling))):
            call = _pop(self.dialling)
            call.land(NoAnswer(found.timed_out, found.why))
            self._leave(call)
        self._dial()

    def _connected_http2(self, found: Dialled, now: float) -> None:
        # What an earlier connection knew: requests beyond it would be refused once more.
        http = Http2Client(now + random.uniform(*_AGE), _PATIENCE, limit=max(1, self.streams))  # noqa: S311 - so that not all end at once
        link = Http2Link(found.transport, self, self.pool.reactor, http, now)
        self.multiplexed.insert(0, link)
        link.begin(found.early)
        while self.dialling and link.room:
            self._send(link, _pop(self.dialling), now)
        self._dial()

    def answered(self, link: Http1Link, call: Call, response: Http1Response, *, written: bool) -> None:
        """See ``links.Host``.

        A used connection that ends without a byte of response was closed by the peer before it saw the request (RFC 9112 section 9.3.1,
        https://www.rfc-editor.org/rfc/rfc9112#section-9.3.1), so the request goes out once more, on a fresh connection. The same holds
        after a 408, with which the peer ends an idle connection (RFC 9110 section 15.5.9,
        https://www.rfc-editor.org/rfc/rfc9110#section-15.5.9): it answers no request.
        """
        del self.links[call]
        now, used = self.pool.reactor.now(), link.used
        took = now - link.sent_at
        clean = response.clean and written
        self.rest.measured(now, took, answered=clean)
        if call.header_timeout is not None:  # it may take longer than a rest, which is how late a surplus answer may come
            clean &= took <= self.rest.longest
        if not clean or not self._rests(link, now):
            link.close()
        if used and (not response.seen or response.status == HTTPStatus.REQUEST_TIMEOUT):
            self._resend(call)
        elif response.answer is not None:
            self.ended(call, response.answer)
        else:
            why = link.broken or "the connection ended without an answer"
            if response.seen:
                why = "the answer is not valid HTTP, or broke off"
            self.ended(call, NoAnswer(timed_out=False, why=why))

    def again(self, call: Call) -> None:
        """See ``links.Host``."""
        link = self.links.pop(call, None)
        if isinstance(link, Http2Link):
            self.streams = link.limit
        if call.fresh:
            self.ended(call, NoAnswer(timed_out=False, why="the token endpoint refuses requests"))
        else:
            self._resend(call)

    def _resend(self, call: Call) -> None:
        call.fresh, call.status = True, None
        self._serve(call)

    def ended(self, call: Call, outcome: Answer | NoAnswer) -> None:
        """See ``links.Host``."""
        link = self.links.pop(call, None)
        if isinstance(link, Http2Link) and not self.pool.keeps():
            link.retire()
        call.land(outcome)
        self._leave(call)

    def closed(self, link: Http1Link | Http2Link) -> None:
        """See ``links.Host``."""
        self.pool.open -= 1
        if isinstance(link, Http2Link):
            self.streams = link.limit
            self.multiplexed.remove(link)
            if link.requires_http1 and self.origin.protocol is EndpointProtocol.AUTO:
                self.speaks_http2 = False
                if len(self.pool.uses_http1) >= _MAX_USES_HTTP1:
                    self.pool.uses_http1.clear()
                self.pool.uses_http1.add(self.origin)
            return
        for kept in (self.resting, self.rested):
            if link in kept:
                kept.remove(link)
                self.pool.resting -= 1
        if link in self.idle:
            self.idle.remove(link)

    def _rests(self, link: Http1Link, now: float) -> bool:
        """Let ``link`` rest if there is room; return whether it does."""
        limits = self.pool.limits
        full = self.pool.resting >= limits.max_resting or len(self.resting) + len(self.rested) >= limits.max_resting * _SHARE_OF_HOST
        if not self.pool.keeps() or full:
            return False
        link.answered_at, link.used = now, True
        self.resting.append(link)
        self.pool.resting += 1
        return True

    def is_unused(self, now: float) -> bool:
        """Return whether nothing is here; how slow the host was counts for longer than its connections may last."""
        return not (self.permits.in_flight or self.attempts or self.resting or self.rested or self.idle or self.multiplexed) and (
            self.rest.is_unknown(now)
        )


def _pop(calls: dict[Call, None]) -> Call:
    """Take the call that waits longest."""
    call = next(iter(calls))
    del calls[call]
    return call
