"""Per-issuer overload protection: a breaker that callers cannot open, and a limit on concurrent calls that is fair to namespaces."""

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Final, Self, final

import attrs

from exchanger.decision.token_failure import transport_failure
from exchanger.errors import Diagnostic
from exchanger.exchange.breaker import Breaker, BreakerAdmission, caller_of, health_of, is_oversized
from exchanger.exchange.call import CallPassage, Calls, OAuthRequest
from exchanger.exchange.stage import NOBODY_WAITS, Done, Passage, Relay
from exchanger.net.concurrency import ConcurrencyLimit, Entered
from exchanger.net.reactor import Reactor
from exchanger.net.timers import NEVER
from exchanger.values.issuer import Issuer
from exchanger.values.token import ErrorKind, ExchangeFailure, TokenOutcome, TokenRequest

OVERLOADED: Final = transport_failure(ErrorKind.OVERLOADED, Diagnostic.OVERLOADED, detail="maxInFlight reached for this issuer")
BREAKER_OPEN: Final = transport_failure(ErrorKind.BREAKER_OPEN, Diagnostic.BREAKER_OPEN, detail="the token endpoint failed too often")

# The caller of requests that this client makes for itself.
_ITSELF: Final = 0


@final
@attrs.define(eq=False)
class IssuerLimits:
    """The limits of one issuer; ``breaker`` and ``permits`` are ``None`` where its profile has none."""

    name: str
    endpoint_host: str
    breaker: Breaker | None
    permits: "ConcurrencyLimit[LimitedCall] | None"

    @property
    def is_open(self) -> bool:
        """Whether the issuer is not called because it fails."""
        return self.breaker is not None and self.breaker.is_open

    @property
    def queued(self) -> int:
        """Calls that wait for a permit."""
        return 0 if self.permits is None else self.permits.queued


@final
@attrs.define(eq=False)
class Limit:
    """Admits calls within the limits of their issuers. What is known of an endpoint stays while a profile names it."""

    behind: Calls
    reactor: Reactor
    # By the issuer's name, with the address of its endpoint.
    _limits: dict[str, tuple[str, IssuerLimits]] = attrs.field(factory=dict, init=False)
    _admitted: "deque[LimitedCall]" = attrs.field(factory=deque, init=False)
    _admitting: bool = attrs.field(default=False, init=False)

    def __iter__(self) -> Iterator[IssuerLimits]:
        return (limits for _, limits in self._limits.values())

    def use_issuers(self, issuers: Mapping[str, Issuer]) -> None:
        """Take over the issuers in force; changed limits apply at once."""
        before, self._limits = self._limits, {}
        for name, issuer in issuers.items():
            wanted = issuer.limits
            if wanted.max_in_flight is None and not wanted.breaker:
                continue
            endpoint, old = before.get(name, ("", None))
            if old is None or endpoint != issuer.address:
                old = IssuerLimits(name, issuer.endpoint_host, None, None)
            breaker = (old.breaker or Breaker()) if wanted.breaker else None
            permits = old.permits
            if wanted.max_in_flight is None:
                permits = None
            elif permits is None:
                permits = ConcurrencyLimit(wanted.max_in_flight)
            elif permits.limit != wanted.max_in_flight:
                self._admitted.extend(permits.resize(wanted.max_in_flight))
            self._limits[name] = issuer.address, IssuerLimits(name, issuer.endpoint_host, breaker, permits)
        self.reactor.turn(self._admit)

    def begin(self, request: OAuthRequest, deadline: float, done: Done, /) -> TokenOutcome | Passage:
        """See ``Stage``."""
        found = self._limits.get(request.issuer.name)
        if found is None:
            return self.behind.begin(request, deadline, done)
        return LimitedCall(done, self, found[1], request, deadline).begin()

    def admit(self, call: "LimitedCall") -> None:
        """Let ``call``, which has a permit now, begin."""
        self._admitted.append(call)
        self._admit()

    def _admit(self) -> None:
        # In a loop: one that is refused at once passes its permit to the next.
        if not self._admitting:
            self._admitting = True
            while self._admitted:
                self._admitted.popleft().admitted()
            self._admitting = False


@final
@attrs.define(eq=False)
class LimitedCall(Relay):
    """One call to an issuer with limits. ``due`` is set while it waits for its permit; ``queued`` says that it had to."""

    stage: Limit
    limits: IssuerLimits
    request: OAuthRequest
    deadline: float
    due: float = attrs.field(default=NEVER, init=False)
    queued: bool = attrs.field(default=False, init=False)
    _waits: bool = attrs.field(default=False, init=False)
    _admission: BreakerAdmission | None = attrs.field(default=None, init=False)

    @property
    def late(self) -> ExchangeFailure:
        """See ``Passage``."""
        return OVERLOADED if self._waits else super().late

    def begin(self) -> TokenOutcome | Self:
        """Call, or wait for a permit."""
        limits, permits = self.limits, self.limits.permits
        if permits is None:
            return self._call()
        entered = permits.enter(self.request.namespace, self)
        if entered is Entered.ADMITTED:
            return self._call()
        if entered is Entered.FULL:
            return BREAKER_OPEN if limits.is_open else OVERLOADED
        if limits.is_open:  # it would wait for nothing
            permits.withdraw(self.request.namespace, self)
            return BREAKER_OPEN
        self._waits = self.queued = True
        self.stage.reactor.timers.expect(self, self.deadline)
        return self

    def admitted(self) -> None:
        """Its turn has come."""
        self._waits, self.due = False, NEVER
        begun = self._call()
        if isinstance(begun, TokenOutcome):
            self._finish(begun)

    def leave(self) -> None:
        """See ``Passage``. A probe continues: it decides for all other callers."""
        if self._waits:
            self._withdraw(NOBODY_WAITS)
        elif self._admission is None or not self._admission.is_probe:
            super().leave()

    def on_due(self, _now: float) -> None:
        """It got no permit in time; see ``Timed``."""
        if self._waits:
            self._withdraw(OVERLOADED)

    def _withdraw(self, failure: ExchangeFailure) -> None:
        self._waits, self.due = False, NEVER
        if self.limits.permits is not None:
            self.limits.permits.withdraw(self.request.namespace, self)
        self._finish(failure)

    def _call(self) -> TokenOutcome | Self:
        request, breaker = self.request, self.limits.breaker
        if breaker is not None:
            caller, oversized = _ITSELF, False
            if isinstance(request, TokenRequest):
                caller, oversized = caller_of(request), is_oversized(request)
            self._admission = breaker.admit(self.stage.reactor.now(), caller, oversized=oversized)
            if self._admission is None:
                self._ended(BREAKER_OPEN)
                return BREAKER_OPEN
        begun = self._goes_on(self.stage.behind.begin(request, self.deadline, self._landed))
        if isinstance(begun, TokenOutcome):
            self._ended(begun)
        return begun

    def _landed(self, outcome: TokenOutcome) -> None:
        self._ended(outcome)
        self._finish(outcome)

    def _ended(self, outcome: TokenOutcome) -> None:
        if self._admission is not None and self.limits.breaker is not None:
            retry_after = outcome.retry_after if isinstance(outcome, ExchangeFailure) else None
            hurried = self.queued or (isinstance(self._behind, CallPassage) and self._behind.queued)
            health = health_of(outcome, self.request if isinstance(self.request, TokenRequest) else None)
            self.limits.breaker.ended(self._admission, health, self.stage.reactor.now(), retry_after, hurried=hurried)
        if self.limits.permits is not None and (following := self.limits.permits.release(self.request.namespace)) is not None:
            self.stage.admit(following)
