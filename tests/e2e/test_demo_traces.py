"""One request through the demo as one trace in a collector: client, gateway, service, issuer and upstream, as the tutorial shows it."""

import json
import os
import re
from pathlib import Path

import pytest
import trio

from exchanger._proto.opentelemetry.proto.trace.v1.trace_pb2 import Span
from exchanger.commands.demo.envoy import FilterMode
from exchanger.commands.scenarios.client import fetch
from exchanger.net.http.message import Request
from tests.e2e.collector import Collector, collecting, plain
from tests.e2e.test_demo import Demo, demo
from tests.tiers import mostly_full

pytestmark = pytest.mark.envoy

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorials" / "trace.md"
TRACE_ID, CLIENT_SPAN = re.findall(r"traceparent: 00-([0-9a-f]{32})-([0-9a-f]{16})-01", TUTORIAL.read_text())[0]
SERVICES = {"gateway", "exchanger", "fake-token-endpoint", "echo"}


def spans_of(collector: Collector) -> dict[str, list[Span]]:
    """Return the spans of the trace by the service that made them."""
    found: dict[str, list[Span]] = {}
    for of in collector.resource_spans():
        name = next(one.value.string_value for one in of.resource.attributes if one.key == "service.name")
        found.setdefault(name, []).extend(span for scope in of.scope_spans for span in scope.spans if span.trace_id.hex() == TRACE_ID)
    return {name: spans for name, spans in found.items() if spans}


def is_whole(spans: dict[str, list[Span]]) -> bool:
    """Whether all parts are there and none begins a trace of its own: each span is below another, or below the client's."""
    known = {span.span_id.hex() for of in spans.values() for span in of} | {CLIENT_SPAN}
    return spans.keys() >= SERVICES and {span.parent_span_id.hex() for of in spans.values() for span in of} <= known


def export_to(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.recorder.url)


async def ask(running: Demo, host: str = "yellow.example.com", path: str = "/orders/1", status: int = 200) -> None:
    """Send a request of the tutorial."""
    gateway = int(running.text.partition("export GATEWAY=http://127.0.0.1:")[2].split()[0])
    token = running.text.partition("export TOKEN=")[2].split()[0]
    headers = (("Host", host), ("Authorization", f"Bearer {token}"), ("traceparent", f"00-{TRACE_ID}-{CLIENT_SPAN}-01"))
    assert (await fetch(gateway, Request("GET", path, headers), timeout=30)).status == status


@pytest.mark.parametrize("mode", mostly_full(FilterMode, [FilterMode.EXT_AUTHZ]))
async def test_all_parts_are_in_the_clients_trace(mode: FilterMode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with collecting() as collector:
        export_to(collector, monkeypatch)
        async with demo(tmp_path, "--mode", mode.value) as running:
            await running.until("Ctrl-C stops everything")
            await ask(running)
            await trio.to_thread.run_sync(collector.until, lambda: is_whole(spans_of(collector)))
            os.kill(running.process.pid, 2)
            assert await running.end(60) == 0
        spans = spans_of(collector)
    (issuer,), service = spans["fake-token-endpoint"], {span.span_id: span for span in spans["exchanger"]}
    # The issuer's span is below the service's call, which is below the decision.
    assert service[service[issuer.parent_span_id].parent_span_id].kind == Span.SPAN_KIND_SERVER
    # Nothing of a request but its method and host is in a span of ours; Envoy's have the path.
    for name in SERVICES - {"gateway"}:
        assert not any(b"/orders/1" in span.SerializeToString() or b"eyJ" in span.SerializeToString() for span in spans[name])


async def test_chained_issuers_have_a_span_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with collecting() as collector:
        export_to(collector, monkeypatch)
        async with demo(tmp_path) as running:
            await running.until("Ctrl-C stops everything")
            await ask(running, "violet.example.com", "/chat")
            wanted = SERVICES | {"fake-second-issuer"}
            await trio.to_thread.run_sync(collector.until, lambda: is_whole(found := spans_of(collector)) and found.keys() >= wanted)
            os.kill(running.process.pid, 2)
            assert await running.end(60) == 0
        spans = spans_of(collector)
    service = {span.span_id: span for span in spans["exchanger"]}
    (first,), (second,) = spans["fake-token-endpoint"], spans["fake-second-issuer"]
    legs = [service[span.parent_span_id] for span in (first, second)]
    assert [plain(span).get("exchanger.leg") for span in legs] == ["demo-login", None]
    assert legs[0].parent_span_id == legs[1].parent_span_id
    assert legs[0].end_time_unix_nano <= legs[1].start_time_unix_nano


@pytest.mark.full
async def test_a_request_that_times_out_has_its_error_in_the_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with collecting() as collector:
        export_to(collector, monkeypatch)
        async with demo(tmp_path) as running:
            await running.until("Ctrl-C stops everything")
            await ask(running, "red.example.com", "/slow", 500)
            await trio.to_thread.run_sync(collector.until, lambda: spans_of(collector).keys() >= SERVICES - {"echo"})
            os.kill(running.process.pid, 2)
            assert await running.end(60) == 0
        failed = spans_of(collector)["exchanger"]  # the rest was sent at the end
    assert {plain(span)["error.type"] for span in failed} == {"timeout", "TXE-1003"}


def test_the_tutorials_client_span_is_the_one_its_request_names() -> None:
    (span,) = re.findall(r"/v1/traces -d '(\{.*?\})'\n", TUTORIAL.read_text(), re.DOTALL)
    (of,) = json.loads(span.replace("'$BEGIN'", "1").replace("'$END'", "2"))["resourceSpans"]
    (client,) = of["scopeSpans"][0]["spans"]
    assert (client["traceId"], client["spanId"]) == (TRACE_ID, CLIENT_SPAN)
