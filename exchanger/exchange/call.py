"""One call to a token endpoint: prepared with the client's credentials, sent, read, and recorded however it ends."""

from collections import Counter
from collections.abc import Callable
from typing import Final, Self, final

import attrs
import trio

from exchanger.exchange.breaker import is_oversized
from exchanger.exchange.interfaces import ExchangeObserver, Tracer
from exchanger.exchange.oauth.introspection import decode_introspection
from exchanger.exchange.oauth.preparation import Preparation
from exchanger.exchange.oauth.retry_after import read_retry_after
from exchanger.exchange.oauth.rotation import refuses_client
from exchanger.exchange.oauth.token_response import TokenResponseRules, decode_response, rules_for
from exchanger.exchange.stage import GATEWAY_TIMED_OUT, NO_WAITERS, STOPPING, Done
from exchanger.model.errors import Diagnostic
from exchanger.model.issuer import ActorCredentials, Issuer
from exchanger.model.token import (
    Cache,
    ErrorKind,
    ExchangedToken,
    ExchangeFailure,
    ExchangeRecord,
    IntrospectionRequest,
    TokenCall,
    TokenOutcome,
    TokenRequest,
)
from exchanger.model.token_failure import transport_failure
from exchanger.model.trace import SpanContext
from exchanger.net.answer import EndpointResponse
from exchanger.net.call import CallPhase, EndpointCall, NoAnswer
from exchanger.net.pool import Connections
from exchanger.util.frozen import constructor_of

OVERLOADED: Final = transport_failure(ErrorKind.OVERLOADED, Diagnostic.OVERLOADED, detail="maxInFlight reached for this issuer")
CROWDED: Final = transport_failure(
    ErrorKind.OVERLOADED, Diagnostic.OVERLOADED, detail="too many calls to the token endpoint's host are in progress"
)


# Of every call.
_token_call: Final = constructor_of(TokenCall)
_record: Final = constructor_of(ExchangeRecord)


@final
@attrs.frozen
class ClientTokenRequest:
    """A token for the client itself, with the client credentials grant (RFC 6749 section 4.4)."""

    issuer: Issuer
    actor: ActorCredentials
    namespace: str = ""


OAuthRequest = TokenRequest | ClientTokenRequest | IntrospectionRequest


@final
@attrs.define(eq=False)
class Calls:
    """The calls in progress, over ``connections``.

    Args:
        rules: What counts as a usable response.
        observers: Get a record of each exchange. Requests for the client itself are not exchanges.
        clock: Seconds, for the records.
        now: Seconds since the epoch, from which the lifetimes of tokens count.
        client_refused: Called when an endpoint refuses the client's credentials, of which there may be newer ones.
    """

    connections: Connections
    preparation: Preparation
    rules: TokenResponseRules
    observers: tuple[ExchangeObserver, ...]
    tracer: Tracer | None
    clock: Callable[[], float]
    now: Callable[[], float]
    client_refused: Callable[[], None]
    running: bool = attrs.field(default=False, init=False)
    under_way: "dict[CallExchange, None]" = attrs.field(factory=dict, init=False)

    @property
    def in_flight(self) -> dict[str, int]:
        """The exchanges for which each endpoint host is being called, by host."""
        return Counter(pending.request.issuer.endpoint_host for pending in self.under_way if isinstance(pending.request, TokenRequest))

    def begin(self, request: OAuthRequest, deadline: float, done: Done, waited: float = 0.0, /) -> "TokenOutcome | CallExchange":
        """Call within what is left after ``waited`` seconds in the issuer's queue; see ``Stage``."""
        return CallExchange(self, request, deadline, done, waited).begin() if self.running else STOPPING

    def end(self) -> None:
        """All calls end now."""
        self.running = False
        while self.under_way:
            next(iter(self.under_way)).give_up(STOPPING)


@final
@attrs.define(eq=False)
class CallExchange:
    """One call. ``waited``: the seconds that it spent in the issuer's queue. ``cut_off``: it was, between its turn and its request."""

    calls: Calls
    request: OAuthRequest
    deadline: float
    done: Done
    waited: float = 0.0
    cut_off: bool = attrs.field(default=False, init=False)
    _call: EndpointCall | None = attrs.field(default=None, init=False)
    _began: bool = attrs.field(default=False, init=False)
    _outcome: TokenOutcome | None = attrs.field(default=None, init=False)
    _span: SpanContext | None = attrs.field(default=None, init=False)
    _port: int | None = attrs.field(default=None, init=False)
    _started: float = attrs.field(default=0.0, init=False)
    _sent_at: float = attrs.field(default=0.0, init=False)

    @property
    def queued(self) -> bool:
        """Whether it had to wait for a permit of the endpoint's host."""
        return self._call is not None and self._call.queued

    @property
    def late(self) -> ExchangeFailure:
        call, now = self._call, self.calls.connections.reactor.now()
        return self._crowded(call) if call is not None and call.is_crowded_out(now) else GATEWAY_TIMED_OUT

    def _crowded(self, call: EndpointCall) -> ExchangeFailure:
        """Return the failure of a call whose time went to queues, in the words of the longer wait."""
        return OVERLOADED if self.waited and self.waited >= call.waited - self.waited else CROWDED

    def begin(self) -> TokenOutcome | Self:
        """Make the call; a request that cannot be made has its outcome at once."""
        calls, request = self.calls, self.request
        oversized = False
        if not isinstance(request, ClientTokenRequest):
            oversized = is_oversized(request)
            if calls.tracer is not None:
                self._span = calls.tracer.below(request.trace)
                request = attrs.evolve(request, trace=self._span.trace)
        self._started, self._sent_at = calls.clock(), calls.now()
        calls.under_way[self] = None
        prepared = (
            calls.preparation.exchange(request)
            if isinstance(request, TokenRequest)
            else calls.preparation.client_credentials(request.issuer, request.actor)
            if isinstance(request, ClientTokenRequest)
            else calls.preparation.introspection(request)
        )
        if type(prepared) is ExchangeFailure:
            return self._end(prepared)
        self._port = prepared.endpoint.origin.port
        self._call = EndpointCall(
            prepared.endpoint,
            prepared.head,
            prepared.trace,
            prepared.body,
            self.deadline,
            self._landed,
            party=(request.namespace, request.issuer.name),
            apart=oversized,
            waited=self.waited,
        )
        calls.connections.begin(self._call)
        if self._outcome is not None:
            return self._outcome
        self._began = True
        return self

    def leave(self) -> None:
        """Give up the call if it was not sent.

        A call that was sent continues without waiters, until it is answered or its time is up. Its answer may still serve others, shows
        whether the endpoint is alive, and leaves the connection reusable. The endpoint works on it in any case, so it keeps its permit; and
        peers close connections on which many requests are cancelled.
        """
        if self._call is not None and self._call.phase is CallPhase.QUEUED and self in self.calls.under_way:
            self.give_up(NO_WAITERS)

    def give_up(self, failure: ExchangeFailure) -> None:
        """End the call, with ``failure``."""
        if self._call is not None:
            self._call.give_up()
        self._failed(failure)
        self.done(failure)

    def _landed(self, answer: EndpointResponse | NoAnswer) -> None:
        outcome = self._end(self._read(answer))
        if self._began:
            self.done(outcome)
        else:
            self._outcome = outcome

    def _read(self, answer: EndpointResponse | NoAnswer) -> TokenOutcome:
        if isinstance(answer, NoAnswer):
            row, now = self._call, self.calls.connections.reactor.now()
            if row is not None and row.is_crowded_out(now) and (now >= self.deadline or row.phase is CallPhase.QUEUED):
                self.cut_off = row.phase is CallPhase.DIALLING
                return self._crowded(row)
            kind = ErrorKind.TIMEOUT if answer.timed_out else ErrorKind.TRANSPORT_ERROR
            return transport_failure(kind, Diagnostic.REQUEST_FAILED, detail=answer.why)
        if answer.body is None:
            late = trio.current_time() >= self.deadline
            detail = "timed out while reading the response" if late else "the response was cut off"
            return transport_failure(ErrorKind.READ_RESPONSE, Diagnostic.READ_RESPONSE, answer.status, detail=detail)
        call = _token_call(self.calls.clock() - self._started, answer.status)
        if isinstance(self.request, IntrospectionRequest):
            outcome = decode_introspection(answer.status, answer.challenges, answer.body, self.request.issuer, call, self.calls.now())
        else:
            rules = self.calls.rules
            if isinstance(self.request, TokenRequest):
                rules = rules_for(self.request.issuer.grant, rules)
            else:
                rules = attrs.evolve(rules, require_issued_token_type=False)
            outcome = decode_response(answer.status, answer.challenges, answer.body, rules, call, self._sent_at)
        if answer.retry_after and isinstance(outcome, ExchangeFailure):
            return attrs.evolve(outcome, retry_after=read_retry_after(answer.retry_after, self.calls.now()))
        return outcome

    def _end(self, outcome: TokenOutcome) -> TokenOutcome:
        """Record the end; return ``outcome`` with what is known of the call."""
        if isinstance(outcome, ExchangedToken):
            self._record(outcome.call or TokenCall(self.calls.clock() - self._started, None))
            return outcome
        if refuses_client(outcome):
            self.calls.client_refused()
        return attrs.evolve(outcome, call=self._failed(outcome), cache=Cache.MISS)

    def _failed(self, failure: ExchangeFailure) -> TokenCall:
        repeated = self._call is not None and self._call.fresh
        call = TokenCall(self.calls.clock() - self._started, failure.http_status, failure.kind, repeated)
        self._record(call)
        return call

    def _record(self, call: TokenCall) -> None:
        """The call has ended: tell the observers, unless it was for a token of the client itself."""
        del self.calls.under_way[self]
        request = self.request
        if not isinstance(request, ClientTokenRequest):
            issuer, introspects = request.issuer, isinstance(request, IntrospectionRequest)
            host, leg = issuer.endpoint_host, issuer.name if issuer.grant.assertion else ""
            record = _record(host, call.kind, call.http_status, self._started, call.duration, self._port, self._span, introspects, leg)
            for observer in self.calls.observers:
                observer.exchanged(record)
