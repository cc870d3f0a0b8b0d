"""One request from question to answer: the decision's two steps around the exchange, and the record for the observers."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Generic, Protocol, TypeVar, final

import attrs
import trio

from exchanger.authz.audit.log import ROW_S, AuditLog
from exchanger.authz.decision.check import DecisionRules, begin, finish
from exchanger.authz.decision.outcome import Allow, DecisionRecord, Deny, Exchange, ExchangePending, Filter, Outcome
from exchanger.exchange.interfaces import Ticket, TokenExchanger, Tracer
from exchanger.model.errors import Diagnostic
from exchanger.model.request import HttpRequest
from exchanger.model.token import ErrorKind, ExchangedToken, ExchangeFailure, TokenOutcome, TokenRequest
from exchanger.model.token_failure import transport_failure
from exchanger.model.trace import SpanContext
from exchanger.net.deferred import Deferred
from exchanger.net.network import SYSTEM
from exchanger.policy.current import CurrentPolicy
from exchanger.util.frozen import constructor_of, evolver_of

# The share of a gateway's time that is reserved for the answer's way back, and its bounds in seconds: a late answer becomes a gateway's own
# error, which ``failure_mode_allow`` would let pass.
_MARGIN: Final = 0.05
_LARGEST_MARGIN: Final = 0.025
_SMALLEST_MARGIN: Final = 0.002

_NOT_AUDITED: Final = transport_failure(
    ErrorKind.AUDIT_UNAVAILABLE, Diagnostic.AUDIT_UNAVAILABLE, detail="the audit log could not be written in time"
)
_CALLER_LEFT: Final = transport_failure(
    ErrorKind.CONTEXT_CANCELED, Diagnostic.REQUEST_FAILED, detail="the gateway, or its client, left before the answer"
)


class DecisionObserver(Protocol):
    """Learns of each answered request."""

    def decided(self, record: DecisionRecord, /) -> None:
        """Take note of ``record``; must neither block nor raise."""


# Of every decision, and of every one with an exchange.
_record: Final = constructor_of(DecisionRecord)
_exchange: Final = constructor_of(Exchange)
_in_trace: Final = evolver_of(TokenRequest, "trace")


def exchange_deadline(deadline: float, now: float) -> float:
    """Return when work for a request must end if the gateway waits until ``deadline`` (seconds, infinite if it does not say)."""
    margin = _MARGIN * (deadline - now)
    if margin > _LARGEST_MARGIN:
        margin = _LARGEST_MARGIN
    elif margin < _SMALLEST_MARGIN:
        margin = _SMALLEST_MARGIN
    return deadline - margin


def _nothing(_work: int) -> None:
    pass


@final
@attrs.define(eq=False)
class Evaluator:
    """Answers HTTP requests from the active policy.

    ``clock`` returns seconds and never jumps; it is read for records only. ``now`` is Trio's clock, by which gateways' deadlines are.

    With a ``tracer`` every record has the place of its span, if there is one, and an exchange continues the trace below it; otherwise it
    continues the caller's. With ``audit``, an exchanged token is handed out once its line of the audit log is written. ``in_flight`` counts
    the requests that wait for an exchange or its line now, ``answered`` all since the start. ``spend`` learns of the look-ups in held
    versions; see ``Reactor.spend``.
    """

    policy: CurrentPolicy
    rules: DecisionRules
    exchanger: TokenExchanger
    observers: tuple[DecisionObserver, ...] = ()
    clock: Callable[[], float] = SYSTEM.steady
    tracer: Tracer | None = None
    now: Callable[[], float] = trio.current_time
    audit: AuditLog | None = None
    spend: Callable[[int], None] = _nothing
    in_flight: int = attrs.field(default=0, init=False)
    answered: int = attrs.field(default=0, init=False)

    def needs_headers(self) -> bool:
        """Return whether requests need all of their header fields, for the policy or for the issuers."""
        snapshot = self.policy.snapshot
        return self.rules.needs_headers or (snapshot is not None and snapshot.needs_headers)

    def begin(self, request: HttpRequest, started: float, asked_by: Filter) -> Outcome | ExchangePending:
        """Answer at once where no exchange is needed; ``started`` is the clock's reading at the request's arrival."""
        snapshot = self.policy.snapshot
        if snapshot is not None and snapshot.settled is not None:
            self.spend(1)
        outcome = begin(request, snapshot, self.rules)
        if type(outcome) is not ExchangePending:
            self.decided(request, outcome, started, asked_by)
        return outcome

    def decided(
        self,
        request: HttpRequest,
        outcome: Allow | Deny,
        started: float,
        asked_by: Filter,
        span: SpanContext | None = None,
        exchange: Exchange | None = None,
    ) -> None:
        """Notify every observer of an answer."""
        self.answered += 1
        if self.tracer is not None and span is None:  # here, so all observers see the same place
            span = self.tracer.recorded_below(request.trace)
        record = _record(request, outcome, started, self.clock() - started, asked_by, span, exchange)
        for observer in self.observers:
            observer.decided(record)


# An answer to a gateway, in the form of its protocol.
Answer = TypeVar("Answer")


def _nobody(_make_response: Callable[[], object]) -> None:
    raise RuntimeError("no request is waiting for this answer yet")


@final
@attrs.define(eq=False)
class WaitingRequest(Deferred, Generic[Answer]):
    """A request that waits for its exchange; ``encode`` turns the decision into the answer.

    A caller that leaves is recorded as a failed exchange.
    """

    evaluator: Evaluator
    request: HttpRequest
    pending: ExchangePending
    started: float
    asked_by: Filter
    encode: Callable[[Outcome], Answer]
    ready: Callable[[Callable[[], Any]], None] = _nobody
    ticket: Ticket | None = None
    span: SpanContext | None = None
    deadline: float = math.inf

    def begin(self, deadline: float) -> "Answer | WaitingRequest[Answer]":
        """Begin the exchange. Return the answer if it is known at once, otherwise this request, which will be ``ready``.

        ``deadline``: until when the gateway waits, in seconds of Trio's clock.
        """
        evaluator, token_request = self.evaluator, self.pending.token_request
        if evaluator.tracer is not None:
            self.span = evaluator.tracer.below(self.request.trace)
            token_request = _in_trace(token_request, self.span.trace)
        due = exchange_deadline(deadline, evaluator.now())
        audit = evaluator.audit
        if audit is not None:
            if audit.is_broken:
                return self.finish(_NOT_AUDITED)
            self.deadline = due if due < math.inf else evaluator.now() + ROW_S
        found = evaluator.exchanger.begin(token_request, due, self.done)
        if type(found) is ExchangedToken or type(found) is ExchangeFailure:
            if audit is None or type(found) is not ExchangedToken:
                return self.finish(found)
            line = self._audit(audit, found)
            if line is None:
                return self.finish(_not_audited(found))
            self.ticket = line
        else:
            self.ticket = found
        evaluator.in_flight += 1
        return self

    def done(self, outcome: TokenOutcome) -> None:
        """The exchange has ended."""
        audit = self.evaluator.audit
        if audit is None or type(outcome) is not ExchangedToken:
            self._is_ready(partial(self.finish, outcome))
            return
        self.ticket = self._audit(audit, outcome)
        if self.ticket is None:
            self._is_ready(partial(self.finish, _not_audited(outcome)))

    def leave(self) -> None:
        """The gateway, or its client, waits no more."""
        self.evaluator.in_flight -= 1
        if self.ticket is not None:
            self.ticket.leave()
            self.ticket = None
        self.finish(_CALLER_LEFT)  # for the record; the answer is not used

    def finish(self, token_outcome: TokenOutcome) -> Answer:
        """Decide by ``token_outcome``, tell the observers, and return the answer."""
        return self._answer(*self._decide(token_outcome))

    def _decide(self, token_outcome: TokenOutcome) -> tuple[Allow | Deny, Exchange]:
        pending, scope = self.pending, token_outcome.scope if type(token_outcome) is ExchangedToken else None
        asked = pending.token_request
        exchange = _exchange(pending.entry.target, asked.issuer.endpoint_host, token_outcome.call, asked.subject_token, scope)
        return finish(pending, token_outcome), exchange

    def _answer(self, outcome: Allow | Deny, exchange: Exchange) -> Answer:
        self.evaluator.decided(self.request, outcome, self.started, self.asked_by, self.span, exchange)
        return self.encode(outcome)

    def _audit(self, audit: AuditLog, token: ExchangedToken) -> Ticket | None:
        """Write the line about the allow; the request is answered when that has ended. ``None`` if it cannot be written."""
        outcome, exchange = self._decide(token)
        record = _record(self.request, outcome, self.started, self.evaluator.clock() - self.started, self.asked_by, self.span, exchange)

        def written(is_written: bool) -> None:  # noqa: FBT001 - the signature that the audit log calls
            self._is_ready(partial(self._answer, outcome, exchange) if is_written else partial(self.finish, _not_audited(token)))

        return audit.write(record, self.deadline, written)

    def _is_ready(self, make_answer: Callable[[], Answer]) -> None:
        self.evaluator.in_flight -= 1
        self.ticket = None  # no cycle is left for the garbage collector
        self.ready(make_answer)


def _not_audited(token: ExchangedToken) -> ExchangeFailure:
    return attrs.evolve(_NOT_AUDITED, call=token.call, cache=token.cache, subject=token.subject)
