"""Spans and metrics to OTLP's protobuf. Pure; the door to the messages of ``opentelemetry.proto``.

Spans are encoded one by one, from parts that are kept, and joined: messages in wire format that follow each other are one message with all
their fields (https://protobuf.dev/programming-guides/encoding/#last-one-wins). So no batch takes long, whatever its size.
"""

import functools
import math
from collections.abc import Iterable, Mapping
from typing import Final, final

import attrs
from prometheus_client.core import Metric as Family
from prometheus_client.core import Sample

from exchanger._proto.opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from exchanger._proto.opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope, KeyValue
from exchanger._proto.opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AGGREGATION_TEMPORALITY_CUMULATIVE,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
)
from exchanger._proto.opentelemetry.proto.resource.v1.resource_pb2 import Resource
from exchanger._proto.opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status
from exchanger.operations.telemetry.spans import Attribute, FinishedSpan, SpanKind

# Characters of a tracestate that a span keeps: W3C's minimum for everyone (https://www.w3.org/TR/trace-context/#tracestate-limits).
MAX_TRACESTATE: Final = 512

_KINDS: Final = {SpanKind.SERVER: Span.SPAN_KIND_SERVER, SpanKind.CLIENT: Span.SPAN_KIND_CLIENT}
_PARENT_IS_KNOWN: Final = 0x100
_PARENT_IS_REMOTE: Final = 0x200
_SPANS: Final = b"\x12"  # field 2 of ScopeSpans, length-delimited
_RESOURCE_SPANS: Final = b"\x0a"  # field 1 of ExportTraceServiceRequest, length-delimited
_SCOPE_SPANS: Final = b"\x12"  # field 2 of ResourceSpans, length-delimited
_SECONDS_SUFFIX: Final = "_seconds"


@final
@attrs.frozen
class ResourceAndScope:
    """The resource's attributes, and this program's name and version."""

    resource: tuple[tuple[str, str], ...]
    name: str
    version: str


def encode_span(span: FinishedSpan) -> bytes:
    """Return ``span`` as the only one of a ScopeSpans."""
    context = span.context
    remote = span.kind is SpanKind.SERVER and context.parent_id
    message = Span(
        trace_id=bytes.fromhex(context.trace_id),
        span_id=bytes.fromhex(context.span_id),
        parent_span_id=bytes.fromhex(context.parent_id),
        trace_state=context.tracestate if len(context.tracestate) <= MAX_TRACESTATE else "",
        flags=context.flags | (_PARENT_IS_KNOWN | _PARENT_IS_REMOTE if remote else _PARENT_IS_KNOWN),
        name=span.name,
        kind=_KINDS[span.kind],
        start_time_unix_nano=span.start,
        end_time_unix_nano=span.end,
    )
    if span.error:
        message.status.code = Status.STATUS_CODE_ERROR
    if span.link is not None:
        _, trace_id, span_id, flags = span.link.traceparent.split("-")
        link = message.links.add()
        link.trace_id, link.span_id = bytes.fromhex(trace_id), bytes.fromhex(span_id)
        link.flags = int(flags, 16) | _PARENT_IS_KNOWN
    return _SPANS + _delimited(message.SerializeToString() + b"".join([_encoded(attribute) for attribute in span.attributes]))


@functools.lru_cache(maxsize=4096)
def _encoded(attribute: Attribute) -> bytes:
    """Return a Span with only ``attribute``. Values repeat, and encoding them again is the largest part of a span's cost."""
    return Span(attributes=[_key_value(attribute)]).SerializeToString()


def traces_request(spans: Iterable[bytes], identity: ResourceAndScope) -> bytes:
    """Return the ExportTraceServiceRequest with ``spans``, each from ``encode_span``."""
    head = ScopeSpans(scope=_scope(identity)).SerializeToString()
    scope_spans = b"".join((head, *spans))
    resource = ResourceSpans(resource=_resource(identity)).SerializeToString()
    return _RESOURCE_SPANS + _delimited(resource + _SCOPE_SPANS + _delimited(scope_spans))


def metrics_request(families: Iterable[Family], identity: ResourceAndScope, start: int, now: int) -> bytes:
    """Return the ExportMetricsServiceRequest for a collector of ``prometheus_client``, with the same names and labels.

    Counts are cumulative since ``start``; both times are nanoseconds since the epoch. Only seconds have a unit: Prometheus would change the
    name for any other.
    """
    request = ExportMetricsServiceRequest()
    of_resource = request.resource_metrics.add(resource=_resource(identity))
    metrics = of_resource.scope_metrics.add(scope=_scope(identity)).metrics
    for family in families:
        if family.samples:
            _add_family(metrics.add(), family, start, now)
    return request.SerializeToString()


def _add_family(metric: Metric, family: Family, start: int, now: int) -> None:
    metric.description = family.documentation
    metric.unit = "s" if family.name.endswith(_SECONDS_SUFFIX) else ""
    metric.name = family.name
    if family.type == "histogram":
        metric.histogram.aggregation_temporality = AGGREGATION_TEMPORALITY_CUMULATIVE
        metric.histogram.data_points.extend(_histogram_points(family.samples, start, now))
    elif family.type == "counter":
        metric.name = f"{family.name}_total"  # which prometheus_client keeps in the samples' names only
        metric.sum.aggregation_temporality = AGGREGATION_TEMPORALITY_CUMULATIVE
        metric.sum.is_monotonic = True
        metric.sum.data_points.extend(_number(sample, start, now) for sample in family.samples)
    else:
        metric.gauge.data_points.extend(_number(sample, 0, now) for sample in family.samples)


def _number(sample: Sample, start: int, now: int) -> NumberDataPoint:
    point = NumberDataPoint(start_time_unix_nano=start, time_unix_nano=now, attributes=_labels(sample.labels))
    if isinstance(sample.value, int):
        point.as_int = sample.value
    else:
        point.as_double = sample.value
    return point


def _histogram_points(samples: Iterable[Sample], start: int, now: int) -> Iterable[HistogramDataPoint]:
    """Prometheus counts values up to a bound; OTLP those between two."""
    points: dict[tuple[tuple[str, str], ...], HistogramDataPoint] = {}
    for sample in samples:
        labels = {name: value for name, value in sample.labels.items() if name != "le"}
        key = tuple(labels.items())
        if key not in points:
            points[key] = HistogramDataPoint(start_time_unix_nano=start, time_unix_nano=now, attributes=_labels(labels))
        point = points[key]
        if sample.name.endswith("_bucket"):
            bound = float(sample.labels["le"])
            point.bucket_counts.append(int(sample.value) - sum(point.bucket_counts))
            if bound != math.inf:
                point.explicit_bounds.append(bound)
        elif sample.name.endswith("_count"):
            point.count = int(sample.value)
        elif sample.name.endswith("_sum"):
            point.sum = sample.value
    return points.values()


def _labels(labels: Mapping[str, str]) -> list[KeyValue]:
    return [_key_value((name, value)) for name, value in labels.items()]


def _resource(identity: ResourceAndScope) -> Resource:
    return Resource(attributes=[_key_value(attribute) for attribute in identity.resource])


def _scope(identity: ResourceAndScope) -> InstrumentationScope:
    return InstrumentationScope(name=identity.name, version=identity.version)


def _key_value(attribute: Attribute) -> KeyValue:
    key, value = attribute
    message = KeyValue(key=key)
    if isinstance(value, str):
        message.value.string_value = value
    elif isinstance(value, bool):
        message.value.bool_value = value
    else:
        message.value.int_value = value
    return message


def _delimited(data: bytes) -> bytes:
    """Return ``data`` with its length before it, as a varint (https://protobuf.dev/programming-guides/encoding/#varints)."""
    length, digits = len(data), bytearray()
    while length > 0x7F:  # noqa: PLR2004 - seven bits a byte, the eighth says that more follow
        digits.append(length & 0x7F | 0x80)
        length >>= 7
    digits.append(length)
    return bytes(digits) + data
