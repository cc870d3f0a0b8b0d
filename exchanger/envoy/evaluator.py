"""One request from question to answer: the decision's two steps around the exchange, and the record for the observers."""

import time
from collections.abc import Callable
from typing import Final, final

import attrs
import trio

from exchanger.decision.check import DecisionRules, begin, finish
from exchanger.decision.outcome import Allow, DecisionRecord, Deny, Exchange, ExchangePending, Filter, Outcome
from exchanger.decision.token_exchange import transport_failure
from exchanger.errors import Diagnostic
from exchanger.policy.snapshot import CurrentPolicy
from exchanger.typing import DecisionObserver, TokenExchanger, Tracer
from exchanger.values.request import HttpRequest
from exchanger.values.token import ErrorKind
from exchanger.values.trace import SpanContext

_ABANDONED: Final = transport_failure(
    ErrorKind.CONTEXT_CANCELED, Diagnostic.REQUEST_FAILED, detail="the gateway, or its client, left before the answer came"
)


@final
@attrs.define(eq=False)
class Evaluator:
    """Answers HTTP requests from the policy in force. ``clock`` returns seconds and never jumps; it is read for records only.

    With a ``tracer`` every record has the place of its span, if there is one, and an exchange continues the trace below it; otherwise it
    continues the caller's. ``in_flight`` counts the requests that wait for an exchange now, ``answered`` all since the start.
    """

    policy: CurrentPolicy
    rules: DecisionRules
    exchanger: TokenExchanger
    observers: tuple[DecisionObserver, ...] = ()
    clock: Callable[[], float] = time.perf_counter
    tracer: Tracer | None = None
    in_flight: int = attrs.field(default=0, init=False)
    answered: int = attrs.field(default=0, init=False)

    def begin(self, request: HttpRequest, started: float, asked_by: Filter) -> Outcome | ExchangePending:
        """Answer at once where no exchange is needed; ``started`` is the clock's reading at the request's arrival."""
        outcome = begin(request, self.policy.snapshot, self.rules)
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
        """Tell every observer of an answer."""
        self.answered += 1
        if self.tracer is not None and span is None:  # here, so all observers see the same place
            span = self.tracer.recorded_below(request.trace)
        record = DecisionRecord(request, outcome, started, self.clock() - started, asked_by, span, exchange)
        for observer in self.observers:
            observer.decided(record)

    async def finish(self, request: HttpRequest, pending: ExchangePending, started: float, asked_by: Filter) -> Outcome:
        """Make the exchange and answer. A caller that leaves is recorded as a failed exchange; nobody reads that answer."""
        token_request, span, target = pending.token_request, None, pending.entry.target
        endpoint_host = token_request.issuer.endpoint_host
        if self.tracer is not None:
            span = self.tracer.below(request.trace)
            token_request = attrs.evolve(token_request, trace=span.trace)
        self.in_flight += 1
        try:
            token_outcome = await self.exchanger.exchange(token_request)
        except trio.Cancelled:
            self.decided(request, finish(pending.entry, _ABANDONED), started, asked_by, span, Exchange(target, endpoint_host, None))
            raise
        finally:
            self.in_flight -= 1
        outcome = finish(pending.entry, token_outcome)
        self.decided(request, outcome, started, asked_by, span, Exchange(target, endpoint_host, token_outcome.call))
        return outcome
