"""One exchange under way as a row, and the places of those who wait for it.

Knows nothing of connections, caches or limits: what is to be done when a flight ends is its owner's.
"""

import enum
from collections.abc import Callable
from itertools import islice
from typing import Final, Protocol, final

import attrs

from exchanger.decision.token_failure import transport_failure
from exchanger.errors import Diagnostic
from exchanger.exchange.breaker import Admission
from exchanger.exchange.guards import Guard
from exchanger.net.call import Call, Phase
from exchanger.net.timers import NEVER
from exchanger.values.secret import Secret
from exchanger.values.token import Cache, ErrorKind, ExchangeFailure, TokenOutcome, TokenRequest
from exchanger.values.trace import SpanContext

# Of those who wait for an exchange, how many are told in a row: each answer takes some 7 µs.
TOLD_AT_ONCE: Final = 256

GATEWAY_LEAVES: Final = attrs.evolve(
    transport_failure(ErrorKind.TIMEOUT, Diagnostic.REQUEST_FAILED, detail="timed out: the gateway does not wait any longer"),
    too_late=True,
)
OVERLOADED: Final = transport_failure(ErrorKind.OVERLOADED, Diagnostic.OVERLOADED, detail="the issuer's maxInFlight calls are under way")
CROWDED: Final = transport_failure(
    ErrorKind.OVERLOADED, Diagnostic.OVERLOADED, detail="too many calls to the token endpoint's host are under way"
)


@enum.unique
class Stage(enum.Enum):
    """How far a flight has come."""

    ASKING = "the shared cache is asked"
    QUEUED = "it waits for a place among the issuer's calls"
    CALLING = "its call is under way"
    PAUSED = "its call was refused, and a token for another one is asked for"
    OVER = "it has landed"


class Owner(Protocol):
    """Whoever makes flights."""

    def abandoned(self, flight: "Flight", /) -> None:
        """Nobody waits for ``flight`` any more."""

    def late(self, flight: "Flight", /) -> None:
        """The time of ``flight`` was up before its call began."""

    def pause(self, flight: "Flight", outcome: TokenOutcome, /) -> None:
        """Give back the place of ``flight``, whose call had this ``outcome``, until it enters again. If nobody waits, this is its end."""

    def enter(self, flight: "Flight", /) -> None:
        """Make the next call of ``flight``, once it has a place."""

    def refuse(self, flight: "Flight", failure: ExchangeFailure, /) -> None:
        """End ``flight``, whose call is not made because of ``failure``."""

    def called(self, flight: "Flight", outcome: TokenOutcome, /) -> None:
        """The calls of ``flight`` are over, with ``outcome``."""


@final
@attrs.define(eq=False)
class Waiter:
    """One request's place in a flight; see ``Ticket``. ``joined``: the flight was under way already."""

    flight: "Flight"
    done: Callable[[TokenOutcome], None]
    joined: bool
    due: float = NEVER

    def leave(self) -> None:
        """Wait no more."""
        self.due = NEVER
        self.flight.lose(self)

    def on_due(self, _now: float) -> None:
        """The time of this request is up, while that of the call is not; see ``Timed``."""
        flight = self.flight
        if flight.outcome is not None:  # others are told first, and it is in time
            flight.tell(self)
            return
        self.done(OVERLOADED if flight.stage is Stage.QUEUED else CROWDED if flight.is_crowded_out else GATEWAY_LEAVES)
        flight.lose(self)


@final
@attrs.define(eq=False)
class Flight:
    """One exchange under way: one call, or several; see ``FlightCalls``.

    Attributes:
        key: The request that started it: equal ones may differ in parts that do not count.
        request: That of the present call.
        ends: When it must be over (seconds of Trio's clock).
        renews: It renews a kept token, and nobody waits for it.
        guard: How its issuer is spared, if it is.
        queued: It had to wait for its place.
        outcome: Set when it has landed.
        shared: The same for those who joined it.
        first: The outcome of the first call, while another one with other credentials is under way.
        has_other_actor_token: Its call may have been refused for the actor's token, and goes out once more with another one.
        actor_token: The actor's token for the next call, where it was asked for during a pause.
    """

    owner: Owner
    key: TokenRequest
    request: TokenRequest
    ends: float
    renews: bool = False
    guard: "Guard[Flight] | None" = None
    admission: Admission | None = None
    stage: Stage = Stage.ASKING
    waiters: dict[Waiter, None] = attrs.field(factory=dict)
    outlives_waiters: bool = False
    queued: bool = False
    outcome: TokenOutcome | None = None
    shared: TokenOutcome | None = None
    first: TokenOutcome | None = None
    has_other_actor_token: bool = False
    actor_token: Secret | None = None
    call: Call | None = None
    due: float = NEVER
    recorded: bool = True
    port: int | None = None
    span: SpanContext | None = None
    started: float = 0.0
    sent_at: float = 0.0

    @property
    def is_crowded_out(self) -> bool:
        """Whether the call waits for its turn at the endpoint's host."""
        return self.call is not None and self.call.phase is Phase.QUEUED

    def tell_some(self) -> None:
        """Give the outcome to some of those who wait, in their order."""
        for waiter in tuple(islice(self.waiters, TOLD_AT_ONCE)):
            if waiter in self.waiters:  # it may leave while others are told
                self.tell(waiter)

    def tell(self, waiter: Waiter) -> None:
        """Give the outcome, which there is, to ``waiter``, who waits no more."""
        del self.waiters[waiter]
        waiter.due = NEVER
        outcome = self.outcome
        if outcome is not None and waiter.joined and outcome.cache is Cache.MISS:
            outcome = self.shared = self.shared or attrs.evolve(outcome, cache=Cache.SHARED)
        if outcome is not None:
            waiter.done(outcome)

    def lose(self, waiter: Waiter) -> None:
        """``waiter`` waits no more.

        A call that is under way, and in no queue, goes on without anybody, until it is answered or its time is up. Its answer may still
        serve others, tells whether the endpoint lives, and leaves the connection in a state to be used again. The endpoint works on it in
        any case, so it keeps its place; and peers end connections on which many requests are taken back.
        """
        self.waiters.pop(waiter, None)
        goes_on = self.outlives_waiters or not (self.call is None or self.call.over or self.is_crowded_out)
        if not self.waiters and not goes_on and self.stage is not Stage.OVER:
            self.owner.abandoned(self)

    def on_due(self, _now: float) -> None:
        """It got no place in time; see ``Timed``. A call has a time of its own, and so has the shared cache."""
        if self.stage is Stage.QUEUED:
            self.owner.late(self)
