"""The trace that an exchange continues, and the place in it that the record brings along."""

import math

import attrs
import pytest
import trio
import trio.testing

from exchanger.authz.decision.outcome import Deny, Exchange, ExchangePending, Filter, Outcome
from exchanger.authz.evaluation.evaluator import Evaluator, WaitingRequest
from exchanger.model.entry import TokenTarget
from exchanger.model.request import HttpRequest
from exchanger.model.secret import Secret
from exchanger.model.token import Cache, ErrorKind, ExchangedToken, TokenCall
from exchanger.model.trace import NO_TRACE, SpanContext, TraceContext
from exchanger.policy.current import CurrentPolicy
from tests.authz.decision.examples import RULES, snapshot
from tests.authz.envoy.exchangers import FakeExchanger, answered
from tests.authz.envoy.test_authorization import Records

CALLER = TraceContext("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "vendor=state", "key=value")
UNSAMPLED = TraceContext("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")
OWN = SpanContext("0af7651916cd43dd8448eb211c80319c", "00f067aa0ba902b7", "b7ad6b7169203331", 1, "vendor=state", "key=value")
REQUEST = HttpRequest("GET", "api.example.com", "/orders", Secret("Bearer subject"), trace=CALLER)


@attrs.define(eq=False)
class FakeTracer:
    """Has one place to give, and records what is not sampled no more than the others do."""

    asked: list[TraceContext] = attrs.Factory(list)
    asked_for_records: list[TraceContext] = attrs.Factory(list)

    def below(self, trace: TraceContext, /) -> SpanContext:
        self.asked.append(trace)
        return OWN

    def recorded_below(self, trace: TraceContext, /) -> SpanContext | None:
        self.asked_for_records.append(trace)
        return None if trace.traceparent.endswith("-00") else OWN


def evaluator(exchanger: FakeExchanger, records: Records, tracer: FakeTracer | None) -> Evaluator:
    policy = CurrentPolicy()
    policy.publish(snapshot())
    return Evaluator(policy, RULES, exchanger, (records,), tracer=tracer)


async def evaluated(of: Evaluator, request: HttpRequest = REQUEST) -> Outcome:
    outcome = of.begin(request, 0.0, Filter.EXT_PROC)
    if not isinstance(outcome, ExchangePending):
        return outcome
    outcomes: list[Outcome] = []

    def encode(outcome: Outcome) -> bytes:
        outcomes.append(outcome)
        return b""

    await answered(WaitingRequest(of, request, outcome, 0.0, Filter.EXT_PROC, encode).begin(math.inf))
    return outcomes[0]


async def test_without_tracing_the_callers_trace_is_passed_on() -> None:
    exchanger, records = FakeExchanger(), Records()
    await evaluated(evaluator(exchanger, records, None))
    assert [request.trace for request in exchanger.requests] == [CALLER]
    assert [record.span for record in records.records] == [None]


async def test_with_tracing_the_exchange_is_below_the_decision() -> None:
    exchanger, records, tracer = FakeExchanger(), Records(), FakeTracer()
    await evaluated(evaluator(exchanger, records, tracer))
    assert (tracer.asked, tracer.asked_for_records) == ([CALLER], [])
    assert [request.trace for request in exchanger.requests] == [OWN.trace]
    assert [(record.span, record.request.trace) for record in records.records] == [(OWN, CALLER)]


@pytest.mark.parametrize(("trace", "span"), [(CALLER, OWN), (NO_TRACE, OWN), (UNSAMPLED, None)])
async def test_a_recorded_decision_without_an_exchange_has_one_span_for_all_observers(
    trace: TraceContext, span: SpanContext | None
) -> None:
    records, others, tracer = Records(), Records(), FakeTracer()
    of = evaluator(FakeExchanger(), records, tracer)
    of.observers = (records, others)
    await evaluated(of, attrs.evolve(REQUEST, path="/admin", trace=trace))
    assert [record.span for record in (*records.records, *others.records)] == [span, span]
    assert (tracer.asked, tracer.asked_for_records) == ([], [trace])


async def test_the_record_has_the_filter_that_asked_and_the_exchange() -> None:
    records, call = Records(), TokenCall(0.25, 200)
    of = evaluator(FakeExchanger(ExchangedToken(Secret("new"), call)), records, None)
    await evaluated(of)
    of.begin(attrs.evolve(REQUEST, path="/admin"), 0.0, Filter.EXT_AUTHZ)
    assert [(record.asked_by, record.exchange) for record in records.records] == [
        (Filter.EXT_PROC, Exchange(TokenTarget("primary", "read:orders"), "issuer.example.com", call, Secret("subject"))),
        (Filter.EXT_AUTHZ, None),
    ]


async def test_the_record_of_a_cancelled_request_has_its_span_and_no_call(autojump_clock: trio.testing.MockClock) -> None:
    records = Records()
    with trio.move_on_after(1):
        await evaluated(evaluator(FakeExchanger(delay=60), records, FakeTracer()))
    (record,) = records.records
    assert record.span == OWN
    assert record.exchange is not None
    assert record.exchange.call is None
    assert isinstance(record.outcome, Deny)
    told = (record.outcome.issuer, record.outcome.cache, record.outcome.error_kind)
    assert told == ("primary", Cache.NONE, ErrorKind.CONTEXT_CANCELED)
