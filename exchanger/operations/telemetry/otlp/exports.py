"""The exports, put together: traces from the observer's queue, metrics from the numbers that a scrape reads.

Metrics are read in the event loop's thread, by the same collector as for Prometheus, so nothing is counted twice and nothing needs a lock.
"""

import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Self, final

import attrs
import structlog
import trio
from google.protobuf.message import DecodeError
from prometheus_client.core import Metric as Family

from exchanger._proto.opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from exchanger._proto.opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from exchanger.net.network import SYSTEM, Network
from exchanger.operations.telemetry.clock import Clock
from exchanger.operations.telemetry.otlp.encoding import ResourceAndScope, encode_span, metrics_request, traces_request
from exchanger.operations.telemetry.otlp.export import Batch, Export
from exchanger.operations.telemetry.otlp.post import Poster
from exchanger.operations.telemetry.otlp.settings import MetricsExportSettings, OtlpSettings, TracesSettings
from exchanger.operations.telemetry.trace_context import TraceContexts
from exchanger.operations.telemetry.tracing import SpanQueue, Tracing

# The name under which spans and metrics are logged.
SCOPE: Final = "exchanger"

Collect = Callable[[], Iterable[Family]]


@final
@attrs.frozen
class SpanSource:
    """The queue of spans, as a source of batches; see ``export.Source``."""

    _queue: SpanQueue
    identity: ResourceAndScope

    async def wait(self) -> None:
        """Return when there is a full batch."""
        await self._queue.full.wait()

    def batches(self) -> Iterator[Batch]:
        """Yield what waits now; what arrives meanwhile is for the next time."""
        waiting = self._queue.waiting
        while waiting > 0 and (spans := self._queue.take()):
            waiting -= len(spans)
            yield Batch(traces_request(spans, self.identity), len(spans), _rejected_spans)

    def dropped(self) -> int:
        """Return how many spans found no room."""
        return self._queue.dropped


@final
@attrs.frozen
class MetricsSource:
    """The current metrics, as a source of one batch each time; see ``export.Source``."""

    _collect: Collect
    identity: ResourceAndScope
    _wall: Callable[[], float]
    _started: int

    async def wait(self) -> None:
        """Wait for the interval: there is never more than one batch."""
        await trio.sleep_forever()

    def batches(self) -> Iterator[Batch]:
        """Yield the current values of all metrics."""
        families = tuple(self._collect())
        yield Batch(metrics_request(families, self.identity, self._started, int(self._wall() * 1e9)), len(families), _rejected_points)

    def dropped(self) -> int:
        """Return 0: the next batch has what was not delivered."""
        return 0


@final
@attrs.define(eq=False)
class Exports:
    """The exports in the settings. ``tracing`` is the observer to bind if traces are exported."""

    tracing: Tracing | None = None
    traces: Export | None = None
    metrics: Export | None = None
    _in_clear: tuple[str, ...] = ()
    _log: structlog.stdlib.BoundLogger = attrs.field(factory=structlog.get_logger)

    @classmethod
    def of(cls, settings: OtlpSettings, version: str, collect: Collect, network: Network = SYSTEM) -> Self:
        """Build them; ``collect`` returns the metrics."""
        instance = str(uuid.UUID(bytes=network.entropy(16), version=4))
        identity = ResourceAndScope(tuple({"service.instance.id": instance, **dict(settings.resource)}.items()), SCOPE, version)
        tracing = None if settings.traces is None else _tracing(settings.traces, network)
        return cls(
            tracing,
            None if tracing is None or settings.traces is None else _traces_export(settings.traces, tracing.queue, identity, network),
            None if settings.metrics is None else _metrics_export(settings.metrics, collect, identity, network),
            settings.in_clear,
        )

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Export until cancelled, and then the rest."""
        for variable in self._in_clear:
            self._log.warning("telemetry.credentials_in_clear", variable=variable, text="credentials are sent to the collector without TLS")
        async with trio.open_nursery() as nursery:
            for export in (self.traces, self.metrics):
                if export is not None:
                    await nursery.start(export.run)
            task_status.started()


def _tracing(settings: TracesSettings, network: Network) -> Tracing:
    queue = SpanQueue(settings.max_queue, min(settings.max_batch, settings.max_queue))
    return Tracing(TraceContexts(settings.sampling, network.random), queue, encode_span, Clock(network.wall, network.steady).at)


def _traces_export(settings: TracesSettings, queue: SpanQueue, identity: ResourceAndScope, network: Network) -> Export:
    target, source = settings.target, SpanSource(queue, identity)
    post = Poster(target, network.connect).post
    return Export("traces", target.address, source, post, settings.delay, target.timeout, network.random)


def _metrics_export(settings: MetricsExportSettings, collect: Collect, identity: ResourceAndScope, network: Network) -> Export:
    target, source = settings.target, MetricsSource(collect, identity, network.wall, int(network.wall() * 1e9))
    post = Poster(target, network.connect).post
    return Export("metrics", target.address, source, post, settings.interval, target.timeout, network.random)


def _rejected_spans(answer: bytes) -> int:
    try:
        return ExportTraceServiceResponse.FromString(answer).partial_success.rejected_spans
    except DecodeError:  # a proxy's page, or an unknown answer: accepted items remain accepted
        return 0


def _rejected_points(answer: bytes) -> int:
    try:
        return ExportMetricsServiceResponse.FromString(answer).partial_success.rejected_data_points
    except DecodeError:
        return 0
