"""Laws: whatever a caller sends as trace context, there is a valid place for a span; and all spans of a trace are recorded, or none."""

import re

from hypothesis import event, given
from hypothesis import strategies as st

from exchanger.telemetry.trace_context import Sampler, SamplingSettings, TraceContexts
from exchanger.values.trace import TraceContext

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
settings = st.builds(SamplingSettings, st.sampled_from(Sampler), st.floats(0, 1))


@given(traces, settings)
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


@given(traces, settings)
def test_a_trace_is_recorded_as_a_whole(trace: TraceContext, sampling: SamplingSettings) -> None:
    tracer = TraceContexts(sampling)
    first = tracer.below(trace)
    second = tracer.below(first.trace)
    third = TraceContexts(sampling).below(second.trace)  # another process, set up alike
    assert first.sampled is second.sampled is third.sampled
    assert (second.trace_id, second.parent_id, third.parent_id) == (first.trace_id, first.span_id, second.span_id)


@given(traces, settings)
def test_what_is_not_recorded_is_known_without_making_it(trace: TraceContext, sampling: SamplingSettings) -> None:
    tracer = TraceContexts(sampling)
    recorded = tracer.recorded_below(trace)
    if recorded is not None:
        assert recorded.sampled
    if tracer.below(trace).parent_id:  # a trace that begins here may be chosen by an id that is made then
        assert (recorded is not None) is tracer.below(trace).sampled
