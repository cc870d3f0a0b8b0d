"""Law: nothing of a request but its method and host, and nothing of a token endpoint but host and port, gets into what is exported.

Every text that may hold a secret carries a canary, and the bytes that would be sent are searched for it.
"""

import attrs
from hypothesis import given
from hypothesis import strategies as st

from exchanger._proto.opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans
from exchanger.decision.outcome import Allow, DecisionRecord, Deny, Filter, Reason
from exchanger.errors import Diagnostic
from exchanger.telemetry.clock import Clock
from exchanger.telemetry.otlp.encoding import encode_span
from exchanger.telemetry.trace_context import TraceContexts
from exchanger.telemetry.tracing import SpanQueue, Tracing
from exchanger.values.entry import Source
from exchanger.values.headers import HeaderFields
from exchanger.values.request import HttpRequest
from exchanger.values.secret import Secret
from exchanger.values.token import ErrorKind, ExchangeRecord
from exchanger.values.trace import TraceContext

CANARY = "canary-7f3d"
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
secret = st.builds(lambda before, after: f"{before}{CANARY}{after}", text, text)
hosts = st.one_of(st.just("api.example.com"), text, st.builds(lambda user: f"{user}@api.example.com", secret))
sources = st.none() | st.builds(Source, text, text)
requests = st.builds(
    HttpRequest,
    text,
    hosts,
    secret,
    st.builds(Secret, secret),
    secret,
    secret,
    st.builds(TraceContext, secret, secret, secret),
    secret,
    fields=st.builds(HeaderFields, st.tuples(st.tuples(st.sampled_from(["x-forwarded-access-token", "cookie"]), secret)), st.booleans()),
)
outcomes = st.one_of(
    st.builds(
        Allow, st.sampled_from(Reason), sources, st.builds(Secret, secret), removed=st.sampled_from([(), ("x-forwarded-access-token",)])
    ),
    st.builds(
        Deny,
        st.sampled_from(Reason),
        st.integers(100, 599),
        secret,
        st.lists(st.tuples(secret, secret), max_size=2).map(tuple),
        sources,
        st.none() | st.sampled_from(Diagnostic),
        secret,
    ),
)


@given(requests, outcomes, st.floats(0, 100), st.sampled_from(Filter), st.booleans())
def test_decisions(request: HttpRequest, outcome: Allow | Deny, duration: float, asked_by: Filter, exchanged: bool) -> None:
    queue = SpanQueue(10, 10)
    tracing = Tracing(TraceContexts(), queue, encode_span, Clock().at)
    place = tracing.contexts.below if exchanged else tracing.contexts.recorded_below
    tracing.decided(DecisionRecord(request, outcome, 0.0, duration, asked_by, place(request.trace)))
    (data,) = queue.take()
    assert CANARY.encode() not in data
    (told,) = ScopeSpans.FromString(data).spans
    assert told.start_time_unix_nano <= told.end_time_unix_nano
    assert "exchanger.decision" in {attribute.key for attribute in told.attributes}


@given(text, st.none() | st.sampled_from(ErrorKind), st.none() | st.integers(100, 999), st.none() | st.integers(1, 65535))
def test_exchanges(host: str, kind: ErrorKind | None, status: int | None, port: int | None) -> None:
    queue = SpanQueue(10, 10)
    tracing = Tracing(TraceContexts(), queue, encode_span, Clock().at)
    span = attrs.evolve(tracing.contexts.below(TraceContext()), baggage=CANARY)
    tracing.exchanged(ExchangeRecord(host, kind, status, 0.0, 0.1, port, span))
    (data,) = queue.take()
    assert CANARY.encode() not in data
    assert len(ScopeSpans.FromString(data).spans) == 1
