import pytest

from exchanger.model.trace import NO_TRACE, TraceContext
from exchanger.operations.telemetry.trace_context import Sampler, SamplingSettings, TraceContexts

TRACE_ID, PARENT_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
# Trace ids that a ratio takes first and last: their low halves count.
LOW, HIGH = f"{'f' * 16}{1:016x}", f"{'0' * 16}{'f' * 16}"


def traceparent(flags: str = "01", trace_id: str = TRACE_ID) -> str:
    return f"00-{trace_id}-{PARENT_ID}-{flags}"


def contexts(sampler: Sampler = Sampler.PARENT_BASED_ALWAYS_ON, ratio: float = 1.0) -> TraceContexts:
    return TraceContexts(SamplingSettings(sampler, ratio))


def test_a_valid_traceparent_is_continued() -> None:
    found = contexts().below(TraceContext(traceparent(), "vendor=state", "key=value"))
    assert (found.trace_id, found.parent_id, found.flags) == (TRACE_ID, PARENT_ID, 1)
    assert found.span_id not in {PARENT_ID, "0" * 16}
    assert found.trace == TraceContext(f"00-{TRACE_ID}-{found.span_id}-01", "vendor=state", "key=value")


@pytest.mark.parametrize("text", ["", f"{traceparent()},{traceparent()}"])
def test_an_invalid_traceparent_begins_a_new_trace_and_keeps_the_baggage(text: str) -> None:
    found = contexts().below(TraceContext(text, "vendor=state", "key=value"))
    assert found.parent_id == ""
    assert found.trace_id not in {TRACE_ID, "0" * 32}
    assert (len(found.trace_id), len(found.span_id)) == (32, 16)
    assert (found.tracestate, found.baggage) == ("", "key=value")


@pytest.mark.parametrize(
    ("sampler", "recorded"),
    [
        # of the caller's that is sampled, the caller's that is not, and one that begins here
        (Sampler.ALWAYS_ON, (True, True, True)),
        (Sampler.ALWAYS_OFF, (False, False, False)),
        (Sampler.PARENT_BASED_ALWAYS_ON, (True, False, True)),
        (Sampler.PARENT_BASED_ALWAYS_OFF, (True, False, False)),
    ],
)
def test_samplers_record_as_their_names_say(sampler: Sampler, recorded: tuple[bool, bool, bool]) -> None:
    traces = (TraceContext(traceparent("01")), TraceContext(traceparent("00")), NO_TRACE)
    tracer = contexts(sampler)
    assert tuple(tracer.below(trace).sampled for trace in traces) == recorded
    assert tuple(tracer.recorded_below(trace) is not None for trace in traces) == recorded


@pytest.mark.parametrize(("ratio", "low", "high"), [(0.0, False, False), (0.5, True, False), (1.0, True, True)])
@pytest.mark.parametrize("flags", ["00", "01"])
def test_a_ratio_goes_by_the_low_half_of_the_trace_id(ratio: float, low: bool, high: bool, flags: str) -> None:
    tracer = contexts(Sampler.TRACE_ID_RATIO, ratio)
    assert tracer.below(TraceContext(traceparent(flags, LOW))).sampled is low
    assert tracer.below(TraceContext(traceparent(flags, HIGH))).sampled is high


def test_a_parent_based_ratio_follows_the_caller_and_is_for_new_traces() -> None:
    tracer = contexts(Sampler.PARENT_BASED_TRACE_ID_RATIO, 0.25)
    assert tracer.below(TraceContext(traceparent("01", HIGH))).sampled
    assert not tracer.below(TraceContext(traceparent("00", LOW))).sampled
    share = sum(tracer.recorded_below(NO_TRACE) is not None for _ in range(4000)) / 4000
    assert 0.2 < share < 0.3


@pytest.mark.parametrize("ratio", [-0.1, 1.1])
def test_a_ratio_is_between_none_and_all(ratio: float) -> None:
    with pytest.raises(ValueError, match="ratio"):
        SamplingSettings(Sampler.TRACE_ID_RATIO, ratio)


@pytest.mark.parametrize(("came", "passed_on"), [("03", "03"), ("02", "02"), ("ff", "03"), ("01", "01")])
def test_trace_flags_keep_the_random_bit_and_drop_unknown_bits(came: str, passed_on: str) -> None:
    assert contexts().below(TraceContext(traceparent(came))).trace.traceparent.endswith(f"-{passed_on}")
