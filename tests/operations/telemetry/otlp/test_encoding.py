from collections.abc import Iterable

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanger._proto.opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from exchanger._proto.opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from exchanger._proto.opentelemetry.proto.common.v1.common_pb2 import KeyValue
from exchanger._proto.opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_CUMULATIVE, Metric
from exchanger._proto.opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from exchanger.model.token import CoalescedRecord, ErrorKind, ExchangeRecord
from exchanger.model.trace import NO_TRACE, TraceContext
from exchanger.operations.telemetry.metrics import CHECK_BUCKETS, Metrics
from exchanger.operations.telemetry.otlp.encoding import MAX_TRACESTATE, ResourceAndScope, encode_span, metrics_request, traces_request
from exchanger.operations.telemetry.spans import SpanKind
from tests.operations.telemetry.gauges import NOTHING, SOMETHING
from tests.operations.telemetry.otlp.examples import CONTEXT, PARENT_ID, SPAN, SPAN_ID, TRACE_ID
from tests.operations.telemetry.records import ALLOWED, DENIED, record
from tests.operations.telemetry.test_metrics import NAMES

IDENTITY = ResourceAndScope((("service.name", "exchanger"), ("k8s.pod.name", "pod-ü")), "exchanger", "1.2.3")
START, NOW = 10**18, 10**18 + 10**9


def decoded(*spans: bytes) -> list[Span]:
    (of_resource,) = ExportTraceServiceRequest.FromString(traces_request(spans, IDENTITY)).resource_spans
    (of_scope,) = of_resource.scope_spans
    assert plain(of_resource.resource.attributes) == dict(IDENTITY.resource)
    assert (of_scope.scope.name, of_scope.scope.version) == ("exchanger", "1.2.3")
    return list(of_scope.spans)


def plain(attributes: Iterable[KeyValue]) -> dict[str, object]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value") or "") for one in attributes}


def test_a_span_has_all_of_its_parts() -> None:
    (span,) = decoded(encode_span(SPAN))
    assert (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()) == (TRACE_ID, SPAN_ID, PARENT_ID)
    assert (span.name, span.kind, span.trace_state) == ("package.Service/Method", Span.SPAN_KIND_SERVER, "vendor=state")
    assert (span.start_time_unix_nano, span.end_time_unix_nano) == (SPAN.start, SPAN.end)
    assert plain(span.attributes) == {"text": "é", "number": 7, "truth": True}
    assert not span.HasField("status")
    assert list(span.links) == []


@pytest.mark.parametrize(
    ("kind", "parent", "flags"),
    [
        (SpanKind.SERVER, PARENT_ID, 0x301),  # the parent is elsewhere
        (SpanKind.SERVER, "", 0x101),
        (SpanKind.CLIENT, PARENT_ID, 0x101),  # the parent is here
    ],
)
def test_flags_tell_where_the_parent_is(kind: SpanKind, parent: str, flags: int) -> None:
    (span,) = decoded(encode_span(attrs.evolve(SPAN, kind=kind, context=attrs.evolve(CONTEXT, parent_id=parent))))
    assert (span.flags, span.parent_span_id.hex()) == (flags, parent)


def test_an_error_is_a_status_and_a_link_another_span() -> None:
    link = TraceContext(f"00-{'4' * 32}-{'5' * 16}-01")
    (span,) = decoded(encode_span(attrs.evolve(SPAN, error="timeout", link=link)))
    assert span.status.code == Status.STATUS_CODE_ERROR
    (found,) = span.links
    assert (found.trace_id.hex(), found.span_id.hex(), found.flags) == ("4" * 32, "5" * 16, 0x101)


def test_a_tracestate_that_is_too_long_is_left_out() -> None:
    for length, kept in (MAX_TRACESTATE, True), (MAX_TRACESTATE + 1, False):
        (span,) = decoded(encode_span(attrs.evolve(SPAN, context=attrs.evolve(CONTEXT, tracestate="x" * length))))
        assert (span.trace_state != "") is kept


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=300), max_size=8), st.integers(0, 700))
def test_any_number_of_spans_of_any_size_is_one_request(texts: list[str], more: int) -> None:
    spans = [attrs.evolve(SPAN, name=text, attributes=(("text", text),)) for text in texts]
    found = decoded(*(encode_span(span) for span in spans), *([encode_span(SPAN)] * more))
    assert [(span.name, plain(span.attributes)) for span in found[: len(texts)]] == [(text, {"text": text}) for text in texts]
    assert len(found) == len(texts) + more


def counted() -> Metrics:
    metrics = Metrics("1.2.3", SOMETHING)
    for outcome in (DENIED, DENIED, ALLOWED):
        metrics.decided(record(outcome))
    metrics.exchanged(ExchangeRecord("h", None, 200, 0.0, 0.02))
    metrics.exchanged(ExchangeRecord("h", ErrorKind.TIMEOUT, None, 0.0, 7.0))
    metrics.exchanged(ExchangeRecord("h", ErrorKind.CONTEXT_CANCELED, None, 0.0, 0.02))
    metrics.exchanged(ExchangeRecord("h", None, 200, 0.0, 0.02, introspects=True))
    metrics.coalesced(CoalescedRecord("h", NO_TRACE, NO_TRACE))
    return metrics


def exported(metrics: Metrics) -> dict[str, Metric]:
    (of_resource,) = ExportMetricsServiceRequest.FromString(metrics_request(metrics.collect(), IDENTITY, START, NOW)).resource_metrics
    (of_scope,) = of_resource.scope_metrics
    assert plain(of_resource.resource.attributes) == dict(IDENTITY.resource)
    return {metric.name: metric for metric in of_scope.metrics}


def test_names_and_kinds_are_those_of_prometheus() -> None:
    kinds = {"sum": "counter", "gauge": "gauge", "histogram": "histogram"}
    found = exported(counted())
    assert {name: kinds[metric.WhichOneof("data") or ""] for name, metric in found.items()} == NAMES
    assert {name: metric.unit for name, metric in found.items()} == {name: "s" if name.endswith("_seconds") else "" for name in NAMES}
    assert all(metric.description for metric in found.values())


def test_numbers_and_labels_are_those_of_prometheus() -> None:
    metrics = counted()
    found = exported(metrics)
    for family in metrics.collect():
        if family.type == "histogram":
            continue
        name = f"{family.name}_total" if family.type == "counter" else family.name
        points = found[name].sum.data_points if family.type == "counter" else found[name].gauge.data_points
        values = {tuple(plain(point.attributes).items()): point.as_double or point.as_int for point in points}
        assert values == {tuple(sample.labels.items()): sample.value for sample in family.samples}, name
    assert found["ext_authz_check_requests_total"].sum.is_monotonic


def test_histograms_count_between_their_bounds() -> None:
    metric = exported(counted())["ext_authz_check_duration_seconds"].histogram
    assert metric.aggregation_temporality == AGGREGATION_TEMPORALITY_CUMULATIVE
    denied = next(point for point in metric.data_points if plain(point.attributes)["result"] == "auth_denied")
    assert denied.count == 2
    assert denied.sum == pytest.approx(2 * 0.0123456)
    assert tuple(denied.explicit_bounds) == CHECK_BUCKETS
    assert list(denied.bucket_counts) == [0, 0, 0, 0, 2, *[0] * (len(CHECK_BUCKETS) - 4)]
    slow = exported(counted())["ext_authz_token_exchange_latency_seconds"].histogram
    timed_out = next(point for point in slow.data_points if plain(point.attributes)["error_kind"] == "timeout")
    assert timed_out.bucket_counts[-1] == 1


def test_counters_have_the_start_time_and_every_metric_the_current_time() -> None:
    found = exported(counted())
    assert {point.start_time_unix_nano for point in found["ext_authz_check_requests_total"].sum.data_points} == {START}
    assert {point.start_time_unix_nano for point in found["ext_authz_check_duration_seconds"].histogram.data_points} == {START}
    assert {point.start_time_unix_nano for point in found["policy_entries"].gauge.data_points} == {0}
    assert {point.time_unix_nano for metric in found.values() for point in metric.gauge.data_points} == {NOW}


def test_what_nobody_has_counted_yet_is_left_out() -> None:
    nothing = Metrics("1", NOTHING)
    found = exported(nothing)
    assert "policy_snapshot_age_seconds" not in found
    assert "ext_authz_tls_certificate_expiry_timestamp_seconds" not in found
    assert "ext_authz_check_requests_total" not in found
    assert found["policy_entries"].gauge.data_points[0].as_int == 0
