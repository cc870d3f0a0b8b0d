"""Law: whatever traces a caller and a gateway bring, the console and the spans agree on which trace a request is in."""

import math

import attrs
from hypothesis import event, given
from hypothesis import strategies as st

from exchanger._proto.envoy.service.auth.v3.external_auth_pb2 import CheckRequest
from exchanger.console.bounded_record import MAX_REQUEST, bounded
from exchanger.console.decision_json import DecisionJson
from exchanger.console.feed import Feed
from exchanger.envoy.authorization import Authorization
from exchanger.envoy.evaluator import Evaluator
from exchanger.grpc.routes import CallInfo
from exchanger.policy.snapshot import CurrentPolicy
from exchanger.telemetry.decision_log import decision_line
from exchanger.telemetry.spans import FinishedSpan
from exchanger.telemetry.trace_context import SamplingSettings, TraceContexts
from exchanger.telemetry.tracing import SpanQueue, Tracing
from exchanger.values.trace import TraceContext, parse_traceparent
from tests.console.records import record
from tests.decision.examples import RULES, snapshot
from tests.envoy.exchangers import FakeExchanger
from tests.property.test_trace_context_is_total import settings, traceparents

items = DecisionJson(decision_line)


def asked(path: str, traceparent: str) -> bytes:
    message = CheckRequest()
    http = message.attributes.request.http
    http.method, http.host, http.path = "GET", "api.example.com", path
    http.headers["traceparent"] = traceparent
    return message.SerializeToString()


@given(st.sampled_from(["/admin", "/unmatched", "/orders"]), traceparents, st.none() | traceparents, settings)
def test_with_tracing(path: str, callers: str, gateways: str | None, sampling: SamplingSettings) -> None:
    policy, feed, spans = CurrentPolicy(), Feed(), list[FinishedSpan]()
    policy.publish(snapshot())

    def encode(span: FinishedSpan) -> bytes:
        spans.append(span)
        return b""

    tracing = Tracing(TraceContexts(sampling), SpanQueue(10, 10), encode, lambda _moment: 0)
    # The console's place among the observers must not matter.
    evaluator = Evaluator(policy, RULES, FakeExchanger(), (feed, tracing), tracer=tracing.contexts)
    metadata = () if gateways is None else ((b"traceparent", gateways.encode("latin-1", "replace")),)
    Authorization(evaluator).check(asked(path, callers), CallInfo(b"/x", math.inf, metadata))  # /orders has no token, and no exchange
    (entry,) = feed.latest(1)
    shown = items.item(entry)["trace_id"]
    valid = parse_traceparent(callers) or parse_traceparent(gateways or "")
    event("valid" if valid else "none", "recorded" if spans else "not recorded")
    if valid:
        assert shown == valid[0]
    assert [span.context.trace_id for span in spans] == ([shown] if spans else [])
    assert spans or not shown or valid


@given(traceparents, st.sampled_from(["", "/" + "a" * MAX_REQUEST]))
def test_without_tracing_it_is_the_one_that_would_be_continued(traceparent: str, path: str) -> None:
    of = record()
    of = attrs.evolve(of, request=attrs.evolve(of.request, path=of.request.path + path, trace=TraceContext(traceparent)))
    would = TraceContexts().below(of.request.trace)
    assert items.item((1, 0.0, bounded(of), 1))["trace_id"] == (would.trace_id if would.parent_id else None)
