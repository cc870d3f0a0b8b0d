"""Our OTLP messages against official ones, by number: what stands on the wire.

The official classes that are installed come with xds-protos and are of OTLP 0.9, when scopes were called instrumentation libraries and had
the same numbers. What came later is listed here; it was compared with opentelemetry-proto 1.45.2 when it was written.
"""

import base64
from typing import Any, Final

import pytest

from exchanger._proto.opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from exchanger._proto.opentelemetry.proto.resource.v1.resource_pb2 import Resource
from exchanger._proto.opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span
from exchanger.operations.telemetry.otlp.encoding import ResourceAndScope, encode_span, metrics_request, traces_request
from tests.operations.telemetry.otlp.examples import PARENT_ID, SPAN, SPAN_ID, TRACE_ID
from tests.operations.telemetry.otlp.test_encoding import counted
from tests.proto.ours import MESSAGES, ask, needs_witness
from tests.proto.tree import describe

pytestmark = [pytest.mark.protoc, needs_witness]

OURS: Final = tuple(message for message in MESSAGES if message.full_name.startswith("opentelemetry."))
EARLIER: Final = {
    "ScopeSpans": "InstrumentationLibrarySpans",
    "ScopeMetrics": "InstrumentationLibraryMetrics",
    "InstrumentationScope": "InstrumentationLibrary",
}
LATER_MESSAGES: Final = frozenset({"ExportTracePartialSuccess", "ExportMetricsPartialSuccess"})
LATER_FIELDS: Final = {
    ("Span", "flags"): 16,
    ("Link", "flags"): 6,
    ("ExportTraceServiceResponse", "partial_success"): 1,
    ("ExportMetricsServiceResponse", "partial_success"): 1,
}
LATER_PRESENCE: Final = frozenset({("HistogramDataPoint", "sum")})


def earlier(full_name: str) -> str:
    package, _, name = full_name.rpartition(".")
    return f"{package}.{EARLIER.get(name, name)}"


def on_the_wire(field: dict[str, Any]) -> tuple[Any, ...]:
    kind = field["message"] and earlier(field["message"])
    return field["number"], field["type"], field["repeated"], field["packed"], kind, field["enum"]


def test_every_field_has_the_number_and_type_of_the_original() -> None:
    known = [message for message in OURS if message.name not in LATER_MESSAGES]
    answers = ask({"kind": "describe", "name": earlier(message.full_name)} for message in known)
    compared = 0
    for message, official in zip(known, answers, strict=True):
        by_number = {field["number"]: field for field in official["fields"].values()}
        for name, field in describe(message)["fields"].items():
            if (message.name, name) in LATER_FIELDS:
                assert field["number"] == LATER_FIELDS[message.name, name]
                assert field["number"] not in by_number
                continue
            theirs = by_number[field["number"]]
            assert on_the_wire(field) == on_the_wire(theirs), f"{message.full_name}.{name}"
            assert (field["presence"], field["oneof"]) == (theirs["presence"], theirs["oneof"]) or (message.name, name) in LATER_PRESENCE
            compared += 1
        for enum, numbers in describe(message)["enums"].items():
            assert numbers.items() <= official["enums"][enum].items(), enum
    assert compared > 45


def test_official_classes_read_the_spans_that_are_sent() -> None:
    body = traces_request([encode_span(SPAN)] * 2, ResourceAndScope((("service.name", "é"),), "exchanger", "1"))
    (tree,) = ask([{"kind": "parse", "name": "opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest", "bytes": _text(body)}])
    ((of_resource,),) = tree.values()
    assert of_resource["1:resource"]["1:attributes"] == [{"1:key": "service.name", "2:value": {"1:string_value": "é"}}]
    first, second = next(value for key, value in of_resource.items() if key.startswith("2:"))[0]["2:spans"]
    assert first == second
    ids = (first["1:trace_id"], first["2:span_id"], first["4:parent_span_id"])
    assert tuple(base64.b64decode(text).hex() for text in ids) == (TRACE_ID, SPAN_ID, PARENT_ID)
    assert (first["7:start_time_unix_nano"], first["8:end_time_unix_nano"]) == (SPAN.start, SPAN.end)


def test_official_classes_read_the_metrics_that_are_sent() -> None:
    body = metrics_request(counted().collect(), ResourceAndScope((), "exchanger", "1"), 1, 2)
    name = "opentelemetry.proto.collector.metrics.v1.ExportMetricsServiceRequest"
    (tree,) = ask([{"kind": "parse", "name": name, "bytes": _text(body)}])
    ((of_resource,),) = tree.values()
    metrics = next(value for key, value in of_resource.items() if key.startswith("2:"))[0]["2:metrics"]
    found = {metric["1:name"]: metric for metric in metrics}
    (gauge,) = found["policy_entries"]["5:gauge"]["1:data_points"]
    assert gauge == {"3:time_unix_nano": 2, "6:as_int": 10}
    assert found["ext_authz_check_requests_total"]["7:sum"]["3:is_monotonic"]
    histogram = found["ext_authz_check_duration_seconds"]["9:histogram"]["1:data_points"][0]
    assert sum(histogram["6:bucket_counts"]) == histogram["4:count"]


def test_the_hand_made_frames_are_those_of_the_library() -> None:
    identity = ResourceAndScope((), "exchanger", "1")
    built = ExportTraceServiceRequest(resource_spans=[ResourceSpans(resource=Resource(), scope_spans=[ScopeSpans(spans=[Span(name="x")])])])
    built.resource_spans[0].scope_spans[0].scope.name, built.resource_spans[0].scope_spans[0].scope.version = "exchanger", "1"
    assert traces_request([ScopeSpans(spans=[Span(name="x")]).SerializeToString()], identity) == built.SerializeToString()


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
