"""Laws of spans, of trace context, and of the lines about decisions."""

import re

import attrs
import pytest
from hypothesis import event, example, given
from hypothesis import strategies as st

from exchanger._proto.opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans
from exchanger.authz.decision.outcome import Allow, DecisionReason, DecisionRecord, Deny, Exchange, Filter
from exchanger.model.entry import Source, TokenTarget
from exchanger.model.errors import Diagnostic
from exchanger.model.request import HeaderFields, HttpRequest
from exchanger.model.secret import Secret
from exchanger.model.token import ErrorKind, ExchangeRecord, VerificationResult
from exchanger.model.trace import LARGE_MEMBER, MAX_BAGGAGE, MAX_BAGGAGE_MEMBERS, MAX_TRACESTATE, MAX_TRACESTATE_MEMBERS, TraceContext
from exchanger.operations.telemetry.clock import Clock
from exchanger.operations.telemetry.decision_log import decision_line, json_line
from exchanger.operations.telemetry.otlp.encoding import encode_span
from exchanger.operations.telemetry.render import render_json
from exchanger.operations.telemetry.spans import FinishedSpan
from exchanger.operations.telemetry.trace_context import Sampler, SamplingSettings, TraceContexts
from exchanger.operations.telemetry.tracing import SpanQueue, Tracing
from tests.operations.telemetry.clocks import Machine
from tests.operations.telemetry.records import ALLOWED, record

# Spans of one trace lie within each other as what they tell did, whenever they are told and however slowly the clocks are read.


CALLER = TraceContext("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
# Nanoseconds; what follows takes a few at least, which is more than numbers of seconds lose.
STEPS = st.integers(10, 10**10)


@given(STEPS, STEPS, STEPS, st.lists(st.integers(0, 10**9), max_size=12))
def test_an_exchange_lies_within_its_decision(before: int, call: int, after: int, pauses: list[int]) -> None:
    machine = Machine()
    spans: list[FinishedSpan] = []

    def encode(span: FinishedSpan) -> bytes:
        spans.append(span)
        return b""

    tracing = Tracing(TraceContexts(), SpanQueue(10, 10), encode, Clock(machine.wall, machine.steady).at)
    place = tracing.contexts.below(CALLER)
    arrived = machine.now
    called = arrived + before
    answered = called + call
    done = answered + after
    machine.now, machine.pauses = done, iter(pauses)
    tracing.exchanged(ExchangeRecord("h", None, 200, *_interval(called, answered), span=tracing.contexts.below(place.trace)))
    started, duration = _interval(arrived, done)
    tracing.decided(attrs.evolve(_DECIDED, started=started, duration=duration, span=place))
    client, server = spans
    assert server.start <= client.start <= client.end <= server.end


_DECIDED = DecisionRecord(record(ALLOWED).request, ALLOWED, 0.0, 0.0)


def _interval(start: int, end: int) -> tuple[float, float]:
    """Return start and duration in seconds, as they are measured."""
    return start / 1e9, end / 1e9 - start / 1e9


# Law: nothing of a request but its method and host, and nothing of a token endpoint but host and port, gets into what is exported.
#
# Every text that may hold a secret carries a canary, and the bytes that would be sent are searched for it.


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
        Allow,
        st.sampled_from(DecisionReason),
        sources,
        st.builds(Secret, secret),
        removed=st.sampled_from([(), ("x-forwarded-access-token",)]),
    ),
    st.builds(
        Deny,
        st.sampled_from(DecisionReason),
        st.integers(100, 599),
        secret,
        st.lists(st.tuples(secret, secret), max_size=2).map(tuple),
        sources,
        st.none() | st.sampled_from(Diagnostic),
        secret,
    ),
)


@given(requests, outcomes, st.floats(0, 100), st.sampled_from(Filter), st.booleans())
def test_spans_of_decisions_tell_no_secrets(
    request: HttpRequest, outcome: Allow | Deny, duration: float, asked_by: Filter, exchanged: bool
) -> None:
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
def test_spans_of_exchanges_tell_no_secrets(host: str, kind: ErrorKind | None, status: int | None, port: int | None) -> None:
    queue = SpanQueue(10, 10)
    tracing = Tracing(TraceContexts(), queue, encode_span, Clock().at)
    span = attrs.evolve(tracing.contexts.below(TraceContext()), baggage=CANARY)
    tracing.exchanged(ExchangeRecord(host, kind, status, 0.0, 0.1, port, span))
    (data,) = queue.take()
    assert CANARY.encode() not in data
    assert len(ScopeSpans.FromString(data).spans) == 1


# Law: the quick way to a line in JSON and the one by its fields lead to the same bytes.


USUAL = HttpRequest("GET", "api.example.com", "/orders/1?x=%22", request_id="4f1c-2", trace=CALLER)
REFUSED = Deny(DecisionReason.DENY_POLICY_UNHEALTHY, 500, "", source=Source("team", "orders"), detail='100 % "sure", %s')
# Nearly usual: any of these differs in one field from a request whose line is made of kept parts.
nearly_usual = st.builds(
    lambda name, value: attrs.evolve(USUAL, **{name: value}),
    st.sampled_from(["method", "host", "path", "request_id"]),
    text | st.sampled_from(["", "u:p@h", 'a"b', "%s", "a\\b", "/a;b"]),
)


@given(request=nearly_usual | requests, outcome=outcomes, duration=st.floats(0, 1e6), traced=st.booleans())
@example(request=attrs.evolve(USUAL, method='"'), outcome=REFUSED, duration=0.1, traced=False)
@example(request=attrs.evolve(USUAL, host='a"b'), outcome=REFUSED, duration=0.1, traced=False)
@example(request=attrs.evolve(USUAL, path='/"'), outcome=REFUSED, duration=0.1, traced=False)
@example(request=attrs.evolve(USUAL, request_id='"'), outcome=REFUSED, duration=0.1, traced=False)
@example(request=USUAL, outcome=REFUSED, duration=0.1, traced=True)
@example(
    request=USUAL,
    outcome=attrs.evolve(REFUSED, diagnostic=Diagnostic.REQUEST_FAILED, oauth_error="invalid_grant"),
    duration=0.1,
    traced=True,
)
@example(request=USUAL, outcome=attrs.evolve(ALLOWED, subject=VerificationResult('"')), duration=0.1, traced=True)
def test_a_line_made_of_kept_parts_is_that_of_its_fields(
    request: HttpRequest, outcome: Allow | Deny, duration: float, traced: bool
) -> None:
    span = TraceContexts().below(request.trace) if traced else None
    exchange = Exchange(TokenTarget("plain", "read"), "issuer.example", None)
    decision = DecisionRecord(request, outcome, 0.0, duration, span=span, exchange=exchange)
    line = json_line(decision, "2026-01-31T12:00:00.123Z")
    assert line == render_json(decision_line(decision, "2026-01-31T12:00:00.123Z"))


# Laws: whatever a caller sends as trace context, there is a valid place for a span; and all spans of a trace are recorded, or none.


VALID = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-0[0-3]")
hexadecimal = st.sampled_from("0123456789abcdefAF")
traceparents = st.one_of(
    st.text(max_size=60),
    st.builds(
        lambda version, trace_id, span_id, flags, rest: f"{version}-{trace_id}-{span_id}-{flags}{rest}",
        st.sampled_from(["00", "01", "cc", "ff", "0"]),
        st.one_of(st.just("0" * 32), st.text(hexadecimal, min_size=32, max_size=32), st.text("0123456789abcdef", min_size=32, max_size=32)),
        st.one_of(st.just("0" * 16), st.text("0123456789abcdef", min_size=16, max_size=16)),
        st.sampled_from(["00", "01", "02", "03", "ff", "g0"]),
        st.sampled_from(["", "-", "-more", "more", "\n"]),
    ),
)
traces = st.builds(TraceContext, traceparents, st.text(max_size=10), st.text(max_size=10))
samplings = st.builds(SamplingSettings, st.sampled_from(Sampler), st.floats(0, 1))


@given(traces, samplings)
def test_every_context_leads_to_a_valid_one(trace: TraceContext, sampling: SamplingSettings) -> None:
    found = TraceContexts(sampling).below(trace)
    assert VALID.fullmatch(found.trace.traceparent)
    assert found.baggage == trace.baggage
    event("continued" if found.parent_id else "begun")
    if found.parent_id:
        assert trace.traceparent.split("-")[1:3] == [found.trace_id, found.parent_id]
        assert found.tracestate == trace.tracestate
    else:
        assert found.tracestate == ""


@given(traces, samplings)
def test_a_trace_is_recorded_as_a_whole(trace: TraceContext, sampling: SamplingSettings) -> None:
    tracer = TraceContexts(sampling)
    first = tracer.below(trace)
    second = tracer.below(first.trace)
    third = TraceContexts(sampling).below(second.trace)  # another process, set up alike
    assert first.sampled is second.sampled is third.sampled
    assert (second.trace_id, second.parent_id, third.parent_id) == (first.trace_id, first.span_id, second.span_id)


@given(traces, samplings)
def test_what_is_not_recorded_is_known_without_making_it(trace: TraceContext, sampling: SamplingSettings) -> None:
    tracer = TraceContexts(sampling)
    recorded = tracer.recorded_below(trace)
    if recorded is not None:
        assert recorded.sampled
    if tracer.below(trace).parent_id:  # a trace that begins here may be chosen by an id that is made then
        assert (recorded is not None) is tracer.below(trace).sampled


# Laws: a list that travels with a trace is cut to whole members, the first ones, and one within the bounds stays as it is.


members = st.lists(
    st.text("ab=", min_size=1, max_size=8).flatmap(lambda text: st.integers(1, 40).map(lambda times: text * times)), max_size=300
)
lists = st.tuples(members, st.sampled_from([",", ", ", ",\t", ",,"])).map(lambda drawn: drawn[1].join(drawn[0])) | st.text(
    ",a \t", max_size=3000
)
BOUNDS = {"tracestate": (MAX_TRACESTATE, MAX_TRACESTATE_MEMBERS), "baggage": (MAX_BAGGAGE, MAX_BAGGAGE_MEMBERS)}


def passed_on(name: str, text: str) -> str:
    value = getattr(TraceContext(**{name: text}), name)
    assert isinstance(value, str)
    return value


@pytest.mark.parametrize("name", BOUNDS)
@given(lists, st.integers(1, 40))
@example("," * 10_000, 100)
@example("a" * 10_000, 1)
def test_what_is_passed_on_is_whole_members_in_order_within_the_bounds(name: str, text: str, times: int) -> None:
    text = ",".join([text] * times)
    most, count = BOUNDS[name]
    kept = passed_on(name, text)
    if len(text) <= most and text.count(",") < count:
        assert kept == text
        return
    assert len(kept) <= most
    assert kept.count(",") < count
    rest = iter(member.strip(" \t") for member in text.split(","))
    assert all(member in rest for member in kept.split(",") if kept)
    assert passed_on(name, kept) == kept


@given(st.lists(st.integers(1, 300), max_size=60))
def test_tracestate_drops_large_members_first_and_then_the_last_ones(lengths: list[int]) -> None:
    given = ["m" * length for length in lengths][:5]  # so few that all are looked at
    kept = passed_on("tracestate", ",".join(given)).split(",")
    small = [member for member in given if len(member) <= LARGE_MEMBER]
    if len(",".join(small)) <= MAX_TRACESTATE:
        assert [member for member in kept if member and len(member) <= LARGE_MEMBER] == small
    else:
        assert kept == small[: len(kept)]


def test_a_large_member_stays_where_there_is_room() -> None:
    large = "v=" + "x" * 300
    assert passed_on("tracestate", f"{large},{large},a=b") == f"{large},a=b"
    assert passed_on("baggage", "a=b," + "x" * MAX_BAGGAGE + ",c=d") == "a=b,c=d"
