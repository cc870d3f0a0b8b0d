import attrs
import pytest

from exchanger.console.items import Items
from exchanger.console.trimming import MAX_REQUEST, trimmed
from exchanger.decision.outcome import DecisionRecord
from exchanger.telemetry.decision_log import decision_line
from exchanger.values.secret import Secret
from exchanger.values.trace import TraceContext
from tests.console.records import CANARY, DENIED, SUBJECT, TRACE_ID, record

HUGE = "x" * MAX_REQUEST


def enormous(name: str) -> DecisionRecord:
    """Return a record of a request of which one text is enormous."""
    ordinary = record(DENIED)
    request = ordinary.request
    if name in {"traceparent", "tracestate", "baggage"}:
        changed = attrs.evolve(request, trace=attrs.evolve(request.trace, **{name: getattr(request.trace, name) + HUGE}))
    elif name == "authorization":
        changed = attrs.evolve(request, authorization=Secret(HUGE))
    else:
        changed = attrs.evolve(request, **{name: getattr(request, name) + HUGE})
    return attrs.evolve(ordinary, request=changed)


def size(record: DecisionRecord) -> int:
    request, trace = record.request, record.request.trace
    texts = [request.method, request.host, request.path, request.origin, request.access_control_request_method, request.target_authority]
    credentials = "" if request.authorization is None else request.authorization.reveal()
    return sum(map(len, [*texts, trace.traceparent, trace.tracestate, trace.baggage, credentials]))


def test_an_ordinary_record_stays_the_same() -> None:
    ordinary = record(DENIED)
    assert trimmed(ordinary) is ordinary


@pytest.mark.parametrize(
    "name",
    [
        *("method", "host", "path", "origin", "access_control_request_method", "target_authority"),
        *("authorization", "traceparent", "tracestate", "baggage"),
    ],
)
def test_an_enormous_record_becomes_small_and_shows_the_same(name: str) -> None:
    large = enormous(name)
    small = trimmed(large)

    assert size(small) < 4096
    assert Items(decision_line).item((1, 0.0, small, 1)) == Items(decision_line).item((1, 0.0, large, 1))


@pytest.mark.parametrize("path", ["//user:{canary}{huge}@host/orders", "/orders?{canary}{huge}", "/orders#{canary}{huge}", "/\x00{huge}/é"])
def test_what_the_log_hides_is_not_kept(path: str) -> None:
    large = record(DENIED)
    large = attrs.evolve(large, request=attrs.evolve(large.request, path=path.format(canary=CANARY, huge=HUGE)))
    small = trimmed(large)

    assert CANARY not in small.request.path
    assert trimmed(attrs.evolve(large, request=attrs.evolve(large.request, path_is_raw=True))).request.path_is_raw
    assert Items(decision_line).item((1, 0.0, small, 1)) == Items(decision_line).item((1, 0.0, large, 1))


def test_a_token_that_can_be_one_is_kept_for_those_who_may_look_into_it() -> None:
    shown = Items(decision_line, show_tokens=True).item((1, 0.0, trimmed(enormous("path")), 1))

    assert isinstance(shown["tokens"], dict)
    assert shown["tokens"]["subject"]["claims"] == {"sub": "alice"}
    assert SUBJECT not in str(shown)


@pytest.mark.parametrize(
    ("version", "rest", "known"), [("00", "", True), ("00", "-more", False), ("cc", "-more", True), ("cc", "-\n", False)]
)
def test_what_is_no_trace_is_none_after_it_was_cut_either(version: str, rest: str, known: bool) -> None:
    large = enormous("path")
    trace = TraceContext(f"{version}{large.request.trace.traceparent[2:]}{rest}")
    large = attrs.evolve(large, request=attrs.evolve(large.request, trace=trace))
    shown = [Items(decision_line).item((1, 0.0, of, 1))["trace_id"] for of in (large, trimmed(large))]

    assert shown == [TRACE_ID if known else None] * 2


def test_trace_state_and_baggage_are_not_kept() -> None:
    trace = trimmed(enormous("path")).request.trace
    assert trace == TraceContext(record().request.trace.traceparent)
