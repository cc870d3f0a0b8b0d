import socket
from uuid import UUID

import attrs
import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from exchanger._proto.opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsPartialSuccess,
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from exchanger._proto.opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from exchanger.model.trace import NO_TRACE
from exchanger.operations.telemetry.otlp.encoding import ResourceAndScope, encode_span
from exchanger.operations.telemetry.otlp.exports import Exports, MetricsSource, SpanSource
from exchanger.operations.telemetry.otlp.settings import MetricsExportSettings, OtlpSettings, TracesSettings
from exchanger.operations.telemetry.tracing import SpanQueue
from tests.operations.telemetry.otlp.examples import SPAN, TARGET
from tests.operations.telemetry.otlp.test_encoding import counted
from tests.operations.telemetry.records import DENIED, record
from tests.waiting import until

IDENTITY = ResourceAndScope((), "exchanger", "1")


def test_spans_leave_in_batches_and_what_comes_meanwhile_waits() -> None:
    queue = SpanQueue(100, 2)
    source = SpanSource(queue, IDENTITY)
    for _ in range(5):
        queue.put(encode_span(SPAN))
    sizes = []
    for batch in source.batches():
        queue.put(encode_span(SPAN))  # without an end, if it counted
        (of_resource,) = ExportTraceServiceRequest.FromString(batch.body).resource_spans
        assert len(of_resource.scope_spans[0].spans) == batch.items
        sizes.append(batch.items)
    assert sizes == [2, 2, 2]
    assert queue.waiting == 2
    assert list(SpanSource(SpanQueue(1, 1), IDENTITY).batches()) == []


async def test_a_full_batch_of_spans_is_worth_waking_up_for(autojump_clock: MockClock) -> None:
    queue = SpanQueue(100, 1)
    queue.put(b"")
    with trio.fail_after(1):
        await SpanSource(queue, IDENTITY).wait()
    with trio.move_on_after(1000) as waited:
        await MetricsSource(counted().collect, IDENTITY, lambda: 2, 1).wait()
    assert waited.cancelled_caught


@pytest.mark.parametrize(
    ("traces", "metrics", "rejected"),
    [
        (b"", b"", (0, 0)),
        (b"\xff<html>", b"\xff<html>", (0, 0)),
        (ExportTraceServiceResponse().SerializeToString(), ExportMetricsServiceResponse().SerializeToString(), (0, 0)),
        (
            ExportTraceServiceResponse(partial_success=ExportTracePartialSuccess(rejected_spans=3)).SerializeToString(),
            ExportMetricsServiceResponse(partial_success=ExportMetricsPartialSuccess(rejected_data_points=4)).SerializeToString(),
            (3, 4),
        ),
    ],
    ids=["nothing", "something else", "success", "partial success"],
)
def test_what_an_answer_rejects_is_read(traces: bytes, metrics: bytes, rejected: tuple[int, int]) -> None:
    queue = SpanQueue(10, 10)
    queue.put(encode_span(SPAN))
    (spans,) = SpanSource(queue, IDENTITY).batches()
    (all_metrics,) = MetricsSource(counted().collect, IDENTITY, lambda: 2, 1).batches()
    (of_resource,) = ExportMetricsServiceRequest.FromString(all_metrics.body).resource_metrics
    assert len(of_resource.scope_metrics[0].metrics) == all_metrics.items
    assert (spans.rejected(traces), all_metrics.rejected(metrics)) == rejected


async def test_what_is_not_asked_for_is_not_there(autojump_clock: MockClock) -> None:
    exports = Exports.of(OtlpSettings(), "1", tuple)
    assert exports.tracing is None
    assert (exports.traces, exports.metrics) == (None, None)
    with trio.fail_after(1):
        await exports.run()


def test_each_process_has_its_own_instance_id_unless_one_is_configured() -> None:
    def instance(resource: tuple[tuple[str, str], ...]) -> str:
        exports = Exports.of(OtlpSettings(resource=resource, metrics=MetricsExportSettings(target=TARGET)), "1", tuple)
        assert exports.metrics is not None
        assert isinstance(exports.metrics.source, MetricsSource)
        return dict(exports.metrics.source.identity.resource)["service.instance.id"]

    assert UUID(instance(())) != UUID(instance(()))
    assert instance((("service.instance.id", "pod-1"),)) == "pod-1"


async def test_both_signals_end_soon_where_nobody_listens() -> None:
    with socket.socket() as taken:  # bound, so that nobody else comes to listen there
        taken.bind(("127.0.0.1", 0))
        target = attrs.evolve(TARGET, host="127.0.0.1", port=taken.getsockname()[1], timeout=0.2)
        settings = OtlpSettings(
            traces=TracesSettings(target=target, delay=0.01), metrics=MetricsExportSettings(target=target, interval=0.01)
        )
        exports = Exports.of(settings, "1", counted().collect)
        tracing = exports.tracing
        assert tracing is not None
        spans, metrics = exports.traces, exports.metrics
        assert spans is not None
        assert metrics is not None
        async with trio.open_nursery() as nursery:
            await nursery.start(exports.run)
            tracing.decided(attrs.evolve(record(DENIED), span=tracing.contexts.below(NO_TRACE)))
            await until(lambda: not (spans.healthy or metrics.healthy))
            nursery.cancel_scope.cancel()
    assert spans.lost == 1


async def test_credentials_that_leave_without_tls_are_told_once_at_the_start(autojump_clock: MockClock) -> None:
    settings = OtlpSettings(in_clear=("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_METRICS_HEADERS"))
    with capture_logs() as logged:
        await Exports.of(settings, "1", tuple).run()
    assert [(line["event"], line["log_level"], line["variable"]) for line in logged] == [
        ("telemetry.credentials_in_clear", "warning", name) for name in settings.in_clear
    ]
