"""Per-issuer overload protection: a breaker that callers cannot open, and a limit on concurrent calls that is fair to namespaces."""

from collections import deque
from collections.abc import Hashable, Iterator, Mapping
from typing import Final, Self, final

import attrs
import structlog

from exchanger.exchange.breaker import Breaker, BreakerAdmission, caller_of, health_of, is_oversized
from exchanger.exchange.call import OVERLOADED, CallExchange, Calls, ClientTokenRequest, OAuthRequest
from exchanger.exchange.stage import GATEWAY_TIMED_OUT, NO_WAITERS, Done, PassThrough, PendingExchange
from exchanger.model.errors import Diagnostic
from exchanger.model.issuer import Issuer
from exchanger.model.token import ErrorKind, ExchangeFailure, IntrospectionRequest, TokenHistory, TokenOutcome
from exchanger.model.token_failure import transport_failure
from exchanger.net.concurrency import AdmissionResult, ConcurrencyLimit
from exchanger.net.reactor import Reactor
from exchanger.net.timers import NEVER

BREAKER_OPEN: Final = transport_failure(ErrorKind.BREAKER_OPEN, Diagnostic.BREAKER_OPEN, detail="the token endpoint failed too often")

# Part of the free places in the queue for tokens that may be made up: a quarter of all places if they come first. So what waits there has
# its turn after six rounds of calls, and tokens that are known to be active always find places.
_PART_OF_UNKNOWN: Final = 3
# The caller of requests that this client makes for itself.
_ITSELF: Final = 0


@final
@attrs.define(eq=False)
class IssuerLimits:
    """The limits of one issuer; ``breaker`` and ``permits`` are ``None`` where its profile has none.

    An introspection of a caller's token needs a permit of ``introspections``, and then one of ``permits``: however many tokens are made up,
    half of the calls remain for exchanges. Tokens take turns by their history: active ones, those turned away before, and unknown ones.
    """

    name: str
    endpoint_host: str
    breaker: Breaker | None
    permits: "ConcurrencyLimit[LimitedCall] | None"
    introspections: "ConcurrencyLimit[LimitedCall] | None" = None
    # What a call of each kind needs, in this order.
    for_calls: "tuple[ConcurrencyLimit[LimitedCall], ...]" = attrs.field(init=False, repr=False)
    for_introspections: "tuple[ConcurrencyLimit[LimitedCall], ...]" = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.for_calls = () if self.permits is None else (self.permits,)
        self.for_introspections = self.for_calls if self.introspections is None else (self.introspections, *self.for_calls)

    @property
    def is_open(self) -> bool:
        """Whether the issuer is not called because it fails."""
        return self.breaker is not None and self.breaker.is_open

    @property
    def queued(self) -> int:
        """Calls that wait for a permit."""
        return sum(permits.queued for permits in self.for_introspections)


@final
@attrs.define(eq=False)
class Limit:
    """Admits calls within the limits of their issuers.

    What a breaker knows of an endpoint stays while a profile names it. Permits stay with the issuer: calls to its previous endpoint count.
    """

    behind: Calls
    reactor: Reactor
    _log: structlog.stdlib.BoundLogger = attrs.field(factory=structlog.get_logger)
    # By the issuer's name, with the address of its endpoint.
    _limits: dict[str, tuple[str, IssuerLimits]] = attrs.field(factory=dict, init=False)
    _admitted: "deque[LimitedCall]" = attrs.field(factory=deque, init=False)
    _admitting: bool = attrs.field(default=False, init=False)

    def __iter__(self) -> Iterator[IssuerLimits]:
        return (limits for _, limits in self._limits.values())

    def use_issuers(self, issuers: Mapping[str, Issuer]) -> None:
        """Take over the active issuers; changed limits apply at once."""
        before, self._limits = self._limits, {}
        for name, issuer in issuers.items():
            wanted = issuer.limits
            if wanted.max_in_flight is None and not wanted.breaker:
                continue
            endpoint, old = before.get(name) or ("", IssuerLimits(name, issuer.endpoint_host, None, None))
            known = old.breaker if endpoint == issuer.address else None
            breaker = (known or Breaker()) if wanted.breaker else None
            most = wanted.max_in_flight
            half = None if most is None or issuer.subject.introspection is None else max(most // 2, 1)
            permits, introspections = self._resized(old.permits, most), self._resized(old.introspections, half)
            self._limits[name] = issuer.address, IssuerLimits(name, issuer.endpoint_host, breaker, permits, introspections)
        for name, (_, old) in before.items():
            if old.is_open and (name not in self._limits or self._limits[name][1].breaker is not old.breaker):
                self._log.info("issuer.breaker_closed", issuer=name, endpoint=old.endpoint_host, text="the profile was changed or removed")
        self.reactor.turn(self._admit)

    def _resized(self, permits: "ConcurrencyLimit[LimitedCall] | None", most: int | None) -> "ConcurrencyLimit[LimitedCall] | None":
        if most is None or permits is None:
            return None if most is None else ConcurrencyLimit(most)
        if permits.limit != most:
            self._admitted.extend(permits.resize(most))
        return permits

    def begin(self, request: OAuthRequest, deadline: float, done: Done, /) -> TokenOutcome | PendingExchange:
        found = self._limits.get(request.issuer.name)
        if found is None:
            return self.behind.begin(request, deadline, done)
        return LimitedCall(done, self, found[1], request, deadline).begin()

    def breaker_changed(self, limits: IssuerLimits, outcome: TokenOutcome) -> None:
        """Log that the breaker of an issuer has opened or closed, because of the ``outcome`` of a call."""
        issuer, endpoint = limits.name, limits.endpoint_host
        if issuer not in self._limits or self._limits[issuer][1].breaker is not limits.breaker:
            return  # of an earlier profile of this name
        if not limits.is_open:
            self._log.info(
                "issuer.breaker_closed", issuer=issuer, endpoint=endpoint, text="a probe succeeded, and the issuer is called again"
            )
            return
        kind, detail = (outcome.kind.value, outcome.detail) if isinstance(outcome, ExchangeFailure) else ("none", "")
        text = "nearly all calls failed; until a probe succeeds, exchanges there are denied with TXE-1006"
        self._log.warning("issuer.breaker_opened", issuer=issuer, endpoint=endpoint, error_kind=kind, reason=detail, text=text)

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
class LimitedCall(PassThrough):
    """One call to an issuer with limits. ``due`` is set while it waits for a permit; ``queued`` says that it had to.

    ``_held`` are its permits, and ``_waits`` where it waits for the next one, ``_since`` when. ``waited`` is in seconds.
    """

    stage: Limit
    limits: IssuerLimits
    request: OAuthRequest
    deadline: float
    due: float = attrs.field(default=NEVER, init=False)
    queued: bool = attrs.field(default=False, init=False)
    waited: float = attrs.field(default=0.0, init=False)
    _since: float = attrs.field(default=0.0, init=False)
    _held: "list[ConcurrencyLimit[LimitedCall]]" = attrs.field(factory=list, init=False)
    _waits: "ConcurrencyLimit[LimitedCall] | None" = attrs.field(default=None, init=False)
    _admission: BreakerAdmission | None = attrs.field(default=None, init=False)

    @property
    def late(self) -> ExchangeFailure:
        return super().late if self._waits is None else OVERLOADED

    @property
    def _party(self) -> Hashable:
        request = self.request
        return (request.namespace, request.history) if isinstance(request, IntrospectionRequest) else request.namespace

    def begin(self) -> TokenOutcome | Self:
        """Call, or wait for a permit."""
        limits, request = self.limits, self.request
        needed, part = limits.for_calls, 1
        if isinstance(request, IntrospectionRequest):
            needed, part = limits.for_introspections, 1 if request.history is TokenHistory.ACTIVE else _PART_OF_UNKNOWN
        for permits in needed:
            if permits in self._held:
                continue
            entered = permits.enter(self._party, self, part)
            if entered is AdmissionResult.ADMITTED:
                self._held.append(permits)
                continue
            if entered is AdmissionResult.QUEUED and not limits.is_open:
                self._waits, self.queued, self._since = permits, True, self.stage.reactor.now()
                self.stage.reactor.timers.expect(self, self.deadline)
                return self
            if entered is AdmissionResult.QUEUED:  # it would wait for nothing
                permits.cancel(self._party, self)
            self._release()
            return BREAKER_OPEN if limits.is_open else OVERLOADED
        return self._call()

    def admitted(self) -> None:
        """Begin the call: a permit is granted."""
        if self._waits is not None:
            self._held.append(self._waits)
            self.waited += self.stage.reactor.now() - self._since
        self._waits, self.due = None, NEVER
        begun = self.begin()
        if isinstance(begun, TokenOutcome):
            self._finish(begun)

    def leave(self) -> None:
        """Give up the request, unless it is a probe, which decides for all other callers."""
        if self._waits is not None:
            self._cancel(NO_WAITERS)
        elif self._admission is None or not self._admission.is_probe:
            super().leave()

    def on_due(self, _now: float) -> None:
        """End the request, which got no permit in time; see ``Timed``."""
        if self._waits is not None:
            self._cancel(OVERLOADED)

    def _cancel(self, failure: ExchangeFailure) -> None:
        if self._waits is not None:
            self._waits.cancel(self._party, self)
        self._waits, self.due = None, NEVER
        self._release()
        self._finish(failure)

    def _release(self) -> None:
        """Give back its permits. Those who get them begin in a loop, so that one that is refused at once passes on its own."""
        held, self._held = self._held, []
        for permits in held:
            if (following := permits.release(self._party)) is not None:
                self.stage.admit(following)

    def _call(self) -> TokenOutcome | Self:
        request, breaker = self.request, self.limits.breaker
        if breaker is not None:
            caller, oversized = _ITSELF, False
            if not isinstance(request, ClientTokenRequest):
                caller, oversized = caller_of(request), is_oversized(request)
            self._admission = breaker.admit(self.stage.reactor.now(), caller, oversized=oversized)
            if self._admission is None:
                self._ended(BREAKER_OPEN)
                return BREAKER_OPEN
        begun = self._wait_for(self.stage.behind.begin(request, self.deadline, self._landed, self.waited))
        if isinstance(begun, TokenOutcome):
            self._ended(begun)
        return begun

    def _landed(self, outcome: TokenOutcome) -> None:
        self._ended(outcome)
        self._finish(outcome)

    def _ended(self, outcome: TokenOutcome) -> None:
        if self._admission is not None and self.limits.breaker is not None:
            retry_after = outcome.retry_after if isinstance(outcome, ExchangeFailure) else None
            call = self._behind if isinstance(self._behind, CallExchange) else None
            hurried = self.queued or (call is not None and call.queued)
            if call is not None and call.cut_off:
                outcome = GATEWAY_TIMED_OUT  # the queue took its time, and yet the endpoint did not accept a connection in the rest
            health = health_of(outcome, None if isinstance(self.request, ClientTokenRequest) else self.request)
            was_open = self.limits.is_open
            self.limits.breaker.ended(self._admission, health, self.stage.reactor.now(), retry_after, hurried=hurried)
            if self.limits.is_open is not was_open:
                self.stage.breaker_changed(self.limits, outcome)
        self._release()
