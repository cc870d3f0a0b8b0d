"""Equal requests that overlap share one exchange. An exchange is a row, not a task, and belongs to none of those who wait for it."""

from itertools import islice
from typing import Final, Generic, TypeVar, final

import attrs
import trio

from exchanger.exchange.interfaces import ExchangeObserver
from exchanger.exchange.stage import GATEWAY_TIMED_OUT, STOPPING, Done, PendingExchange, Stage
from exchanger.model.errors import Diagnostic
from exchanger.model.token import Cache, CoalescedRecord, ErrorKind, IntrospectionRequest, TokenOutcome, TokenRequest
from exchanger.model.token_failure import transport_failure
from exchanger.net.reactor import WORK_PER_CHECKPOINT, Reactor
from exchanger.net.timers import NEVER

# How many of those who wait for an exchange are answered in one turn: each answer, with its records, takes some 60 calls and 50 µs.
TOLD_AT_ONCE: Final = 64

R = TypeVar("R", TokenRequest, IntrospectionRequest)

_NO_TIME: Final = attrs.evolve(
    transport_failure(ErrorKind.TIMEOUT, Diagnostic.REQUEST_FAILED, detail="the gateway left no time for an exchange"), too_late=True
)


@final
@attrs.define(eq=False)
class ExchangeTicket:
    """One request's place in an exchange; see ``Ticket``. ``joined``: the exchange was already in progress."""

    exchange: "CoalescedExchange[TokenRequest] | CoalescedExchange[IntrospectionRequest]"
    done: Done
    joined: bool
    due: float = NEVER

    def leave(self) -> None:
        """Wait no more."""
        self.due = NEVER
        self.exchange.lose(self)

    def on_due(self, _now: float) -> None:
        """The time of this request is up, while that of the exchange is not; see ``Timed``."""
        exchange = self.exchange
        if exchange.outcome is not None:  # others are told first, and it is in time
            exchange.tell(self)
            return
        self.done(GATEWAY_TIMED_OUT if exchange.pending is None else exchange.pending.late)
        exchange.lose(self)


@final
@attrs.define(eq=False)
class CoalescedExchange(Generic[R]):
    """One exchange in progress. ``request`` is the one that started it: equal ones may differ in parts that do not count.

    ``deadline`` is in seconds of Trio's clock. One that ``renews`` a cached token continues without waiters. ``joined_outcome`` is the
    ``outcome`` for those who joined it.
    """

    owner: "Coalesce[R]"
    request: R
    deadline: float
    renews: bool
    tickets: dict[ExchangeTicket, None] = attrs.field(factory=dict)
    pending: PendingExchange | None = None
    outcome: TokenOutcome | None = None
    joined_outcome: TokenOutcome | None = None

    def lose(self, ticket: ExchangeTicket) -> None:
        """``ticket`` waits no more."""
        self.tickets.pop(ticket, None)
        if not self.tickets and not self.renews and self.pending is not None:
            self.pending.leave()

    def land(self, outcome: TokenOutcome) -> None:
        """End the exchange: all waiters get ``outcome``."""
        if self.outcome is not None:  # the end of the service came first
            return
        del self.owner.under_way[self.request]
        self.outcome, self.pending = outcome, None
        if len(self.tickets) == 1:  # nearly always
            self.tell(next(iter(self.tickets)))
            return
        if self.owner.reactor.spent < WORK_PER_CHECKPOINT:
            self.tell_some()
        if self.tickets:
            self.owner.tell_rest(self)

    def tell_some(self) -> None:
        """Give the outcome to some of those who wait, in their order."""
        told = tuple(islice(self.tickets, TOLD_AT_ONCE))
        self.owner.reactor.spend(len(told))
        for ticket in told:
            if ticket in self.tickets:  # it may leave while others are told
                self.tell(ticket)

    def tell(self, ticket: ExchangeTicket) -> None:
        """Give the outcome, which is known, to ``ticket``, which no longer waits."""
        del self.tickets[ticket]
        ticket.due = NEVER
        outcome = self.outcome
        if outcome is not None and ticket.joined and outcome.cache is Cache.MISS:
            outcome = self.joined_outcome = self.joined_outcome or attrs.evolve(outcome, cache=Cache.COALESCED)
        if outcome is not None:
            ticket.done(outcome)


@final
@attrs.define(eq=False)
class Coalesce(Generic[R]):
    """Lets equal requests share one exchange through ``behind``; an exchange takes ``seconds`` at most.

    ``started`` and ``joined`` count exchanges and requests that shared one.
    """

    behind: Stage[R]
    reactor: Reactor
    observers: tuple[ExchangeObserver, ...]
    seconds: float
    under_way: dict[R, CoalescedExchange[R]] = attrs.field(factory=dict, init=False)
    started: int = attrs.field(default=0, init=False)
    joined: int = attrs.field(default=0, init=False)
    # Exchanges that have ended, while their waiters are being told; and the nursery for that, ``None`` at the end.
    _telling: dict[CoalescedExchange[R], None] = attrs.field(factory=dict, init=False)
    nursery: trio.Nursery | None = attrs.field(default=None, init=False)

    @property
    def waiting(self) -> int:
        """The requests that wait for exchanges."""
        return sum(len(exchange.tickets) for exchange in self.under_way.values())

    def begin(self, request: R, deadline: float, done: Done, /) -> TokenOutcome | ExchangeTicket:
        """Join the exchange of an equal request, or begin one. Outside ``run`` the outcome is a failure."""
        now = self.reactor.now()
        if deadline <= now:
            return _NO_TIME
        exchange = self.under_way.get(request)
        joined = exchange is not None
        if exchange is None:
            if self.nursery is None:
                return STOPPING
            exchange = self._start(request, now, renews=False)
            if exchange.outcome is not None:
                return exchange.outcome
        else:
            self.joined += 1
            record = CoalescedRecord(request.issuer.endpoint_host, request.trace, exchange.request.trace)
            for observer in self.observers:
                observer.coalesced(record)
        ticket = ExchangeTicket(exchange, done, joined)
        exchange.tickets[ticket] = None
        if deadline < exchange.deadline:
            self.reactor.timers.expect(ticket, deadline)
        return ticket

    def renew(self, request: R) -> None:
        """Exchange ``request`` without a waiter, since its cached token expires soon. A request that does not find it meanwhile joins."""
        if self.nursery is not None and request not in self.under_way:
            self._start(request, self.reactor.now(), renews=True)

    def _start(self, request: R, now: float, *, renews: bool) -> CoalescedExchange[R]:
        exchange = CoalescedExchange(self, request, now + self.seconds, renews)
        self.under_way[request] = exchange
        self.started += 1
        begun = self.behind.begin(request, exchange.deadline, exchange.land)
        if isinstance(begun, TokenOutcome):
            exchange.land(begun)
        else:
            exchange.pending = begun
        return exchange

    def end(self) -> None:
        """End everything in progress."""
        self.nursery = None
        while self.under_way:
            next(iter(self.under_way.values())).land(STOPPING)
        for exchange in self._telling:
            while exchange.tickets:
                exchange.tell_some()
        self._telling.clear()

    def tell_rest(self, exchange: CoalescedExchange[R]) -> None:
        """Notify the waiters of ``exchange``, which has ended. Others get their turns in between."""
        self._telling[exchange] = None
        if self.nursery is not None:  # otherwise the end tells them
            self.nursery.start_soon(self._tell_rest, exchange)

    async def _tell_rest(self, exchange: CoalescedExchange[R]) -> None:
        while exchange.tickets:
            await trio.lowlevel.checkpoint()
            self.reactor.turn(exchange.tell_some)
        self._telling.pop(exchange, None)
