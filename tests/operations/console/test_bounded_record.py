import attrs
import pytest

from exchanger.authz.decision.outcome import DecisionRecord
from exchanger.model.secret import Secret
from exchanger.model.trace import TraceContext
from exchanger.operations.console.bounded_record import MAX_REQUEST, bounded
from exchanger.operations.console.decision_json import DecisionJson
from exchanger.operations.telemetry.decision_log import decision_line
from tests.operations.console.records import CANARY, DENIED, SUBJECT, record

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


@pytest.mark.parametrize(
    "name",
    [
        *("method", "host", "path", "origin", "access_control_request_method", "target_authority"),
        *("authorization", "traceparent", "tracestate", "baggage"),
    ],
)
def test_an_enormous_record_becomes_small_and_shows_the_same(name: str) -> None:
    large = enormous(name)
    small = bounded(large)

    assert size(small) < 4096
    assert DecisionJson(decision_line).item((1, 0.0, small, 1)) == DecisionJson(decision_line).item((1, 0.0, large, 1))


@pytest.mark.parametrize("path", ["//user:{canary}{huge}@host/orders", "/orders?{canary}{huge}", "/orders#{canary}{huge}", "/\x00{huge}/é"])
def test_what_the_log_hides_is_not_kept(path: str) -> None:
    large = record(DENIED)
    large = attrs.evolve(large, request=attrs.evolve(large.request, path=path.format(canary=CANARY, huge=HUGE)))
    small = bounded(large)

    assert CANARY not in small.request.path
    assert bounded(attrs.evolve(large, request=attrs.evolve(large.request, path_is_raw=True))).request.path_is_raw
    assert DecisionJson(decision_line).item((1, 0.0, small, 1)) == DecisionJson(decision_line).item((1, 0.0, large, 1))


def test_bounding_keeps_ordinary_records_and_the_token_of_large_ones() -> None:
    ordinary, small = record(DENIED), bounded(enormous("path"))
    shown = DecisionJson(decision_line, show_tokens=True).item((1, 0.0, small, 1))

    assert bounded(ordinary) is ordinary
    assert small.request.trace == TraceContext(ordinary.request.trace.traceparent)
    assert isinstance(shown["tokens"], dict)
    assert shown["tokens"]["subject"]["claims"] == {"sub": "alice"}
    assert SUBJECT not in str(shown)
