"""Traces and metrics of ``exchanger serve`` as a collector gets them, with and without a real Envoy; and collectors that are lost."""

import copy
import secrets
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import grpc
import pytest
import trio

from exchanger._proto.grpc.reflection.v1.reflection_pb2 import ServerReflectionRequest
from exchanger._proto.opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from exchanger.commands.demo.envoy import FilterMode
from exchanger.commands.scenarios.client import fetch
from exchanger.net.http.message import Request
from tests.e2e.collector import Collector, Recorder, collecting, plain, silent, token_endpoint, wait_until, write_issuers
from tests.e2e.gateway import PATIENCE, gateway_before
from tests.e2e.service import DOCUMENT, Service, get, serving
from tests.operations.telemetry.test_metrics import NAMES
from tests.ports import free_port
from tests.tiers import mostly_full

TRACED = f"""{DOCUMENT}
  - match: {{host: api.example.com, pathPrefix: /lost}}
    action: exchange
    exchange: {{issuerRef: lost, scope: read:orders}}
"""
TRACE_ID, CALLER_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE_ID}-{CALLER_ID}-01"
UNSAMPLED = f"00-{TRACE_ID}-{CALLER_ID}-00"
CHECK = "envoy.service.auth.v3.Authorization/Check"
METHODS = {FilterMode.EXT_AUTHZ: CHECK, FilterMode.EXT_PROC: "envoy.service.ext_proc.v3.ExternalProcessor/Process"}
CANARIES = ("canary-subject", "canary-exchanged", "canary-client-secret", "canary-query", "canary-header", "canary-baggage")
# Seconds in which a service ends that has nothing to do, on a busy machine. It takes up to three, for the fade and two bounded flushes.
STOP_S = 20.0
# For an export, where that must not be what a service waits for.
LONG_MS = "60000"


def new_trace() -> str:
    return secrets.token_hex(16)


@attrs.frozen
class Running:
    """A service, its collector and its token endpoint, and where another one is lost."""

    service: Service
    collector: Collector
    tokens: Recorder


@contextmanager
def traced(folder: Path) -> Generator[Running]:
    with collecting() as collector, token_endpoint("canary-exchanged") as tokens:
        lost = (
            f'{{name: lost, tokenEndpoint: "http://127.0.0.1:{free_port()}/token", clientID: client, clientSecret: canary-client-secret}}'
        )
        write_issuers(folder, tokens.url, lost)
        variables = {
            **collector.variables(),
            **PATIENCE,
            "METRICS_ENABLED": "true",
            "OTEL_SERVICE_NAME": "gateway-authz",
            "OTEL_EXPORTER_OTLP_HEADERS": "api-key=key-of-the-collector",
        }
        with serving(folder, TRACED, TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT="true", **variables) as service:
            yield Running(service, collector, tokens)
            assert service.stop() == 0
        assert "key-of-the-collector" not in service.lines()
        # A gateway has no key, and its own spans may name a path.
        told = b"\n".join(repr(got.headers).encode() + got.body for got in collector.recorder.requests if "api-key" in got.headers)
        assert told
        assert [canary for canary in (*CANARIES, "/orders") if canary.encode() in told] == []


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Generator[Running]:
    """For all tests that look at traces of their own. The collector learns no secret."""
    with traced(tmp_path_factory.mktemp("traced")) as started:
        yield started


def of_traces(collector: Collector, *traces: str) -> list[Span]:
    return [span for span in collector.spans() if span.trace_id.hex() in traces]


@pytest.mark.envoy
@pytest.mark.parametrize("mode", mostly_full(FilterMode, [FilterMode.EXT_AUTHZ]))
async def test_a_trace_goes_from_the_caller_through_envoy_to_the_token_endpoint(running: Running, mode: FilterMode, tmp_path: Path) -> None:
    trace = new_trace()
    headers = (
        ("Host", "api.example.com"),
        ("Authorization", "Bearer canary-subject"),
        ("X-Secret", "canary-header"),
        ("traceparent", f"00-{trace}-{CALLER_ID}-01"),
        ("tracestate", "vendor=state"),
        ("baggage", "key=canary-baggage"),
    )
    async with gateway_before(running.service.port, tmp_path, mode) as envoy:
        response = await fetch(envoy, Request("GET", "/orders/1?token=canary-query", headers), timeout=10)
        assert response.status == 200
        assert b"canary-exchanged" in response.body

    running.collector.until(lambda: len(of_traces(running.collector, trace)) == 2)
    server, client = sorted(of_traces(running.collector, trace), key=lambda span: span.kind)
    assert (server.kind, server.name, server.parent_span_id.hex()) == (Span.SPAN_KIND_SERVER, METHODS[mode], CALLER_ID)
    assert (client.kind, client.parent_span_id) == (Span.SPAN_KIND_CLIENT, server.span_id)
    assert {server.trace_state, client.trace_state} == {"vendor=state"}
    assert server.start_time_unix_nano <= client.start_time_unix_nano <= client.end_time_unix_nano <= server.end_time_unix_nano
    got = running.tokens.requests[-1]
    assert got.headers["traceparent"] == f"00-{trace}-{client.span_id.hex()}-01"
    assert (got.headers["tracestate"], got.headers["baggage"]) == ("vendor=state", "key=canary-baggage")
    assert plain(server) == {
        "rpc.system.name": "grpc",
        "rpc.method": METHODS[mode],
        "exchanger.decision": "allow_exchange",
        "exchanger.result": "allowed",
        "exchanger.request.method": "GET",
        "exchanger.request.host": "api.example.com",
        "exchanger.policy": "team/policy",
        "exchanger.response.status_code": 200,
    }
    assert plain(client) == {
        "http.request.method": "POST",
        "server.address": "127.0.0.1",
        "server.port": running.tokens.port,
        "http.response.status_code": 200,
    }


@pytest.mark.full
@pytest.mark.envoy
@pytest.mark.parametrize("mode", list(FilterMode))
async def test_a_trace_that_the_gateway_began_is_continued(running: Running, mode: FilterMode, tmp_path: Path) -> None:
    headers = (("Host", "api.example.com"), ("Authorization", "Bearer canary-subject"), ("baggage", "a=b"))
    change = partial(with_tracing, collector=running.collector.recorder)
    async with gateway_before(running.service.port, tmp_path, mode, change) as envoy:
        response = await fetch(envoy, Request("GET", "/orders", headers), timeout=10)
        assert response.status == 200
        got = running.tokens.requests[-1]
        _, trace, parent, _ = got.headers["traceparent"].split("-")
        assert got.headers["baggage"] == "a=b"

        def whole() -> bool:
            spans = of_traces(running.collector, trace)
            ids = {span.span_id for span in spans}
            return len(spans) > 2 and [span.kind for span in spans if span.parent_span_id not in ids] == [Span.SPAN_KIND_SERVER]

        await trio.to_thread.run_sync(running.collector.until, whole)  # with the gateway's own spans, one root and no gap
        (client,) = (span for span in of_traces(running.collector, trace) if span.name == "POST")
        assert client.span_id.hex() == parent


def with_tracing(config: dict[str, Any], collector: Recorder) -> None:
    """Let the gateway trace every request, to ``collector``."""
    resources = config["static_resources"]
    cluster = copy.deepcopy(resources["clusters"][1])
    cluster["name"] = cluster["load_assignment"]["cluster_name"] = "collector"
    endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    endpoint["address"]["socket_address"]["port_value"] = collector.port
    resources["clusters"].append(cluster)
    uri = {"uri": f"{collector.url}/v1/traces", "cluster": "collector", "timeout": "10s"}
    provider = {
        "@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig",
        "http_service": {"http_uri": uri},
        "service_name": "gateway",
    }
    manager = resources["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    manager["tracing"] = {"provider": {"name": "envoy.tracers.opentelemetry", "typed_config": provider}}


def test_every_kind_of_decision_is_a_span_and_nothing_else_is(tmp_path: Path) -> None:
    with traced(tmp_path) as running:
        service, collector = running.service, running.collector
        for path, headers in (("/open", {}), ("/admin", {}), ("/orders", {}), ("/x/../orders", {"authorization": "Bearer canary-subject"})):
            service.check(path, traceparent=TRACEPARENT, **headers)
        service.check("/open", traceparent=UNSAMPLED)
        service.check("/admin", traceparent="garbage", tracestate="vendor=lost")
        for _ in range(5):
            service.health()
        reflected: grpc.StreamStreamMultiCallable[bytes, bytes] = service.channel.stream_stream(
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
        )
        list(reflected(iter([ServerReflectionRequest(list_services="").SerializeToString()]), timeout=10))
        collector.until(lambda: len(collector.spans()) >= 5)  # what is sent at the end has bounded time

    decisions = [(plain(span)["exchanger.decision"], plain(span)["exchanger.response.status_code"]) for span in collector.spans()]
    assert decisions == [
        ("allow_unmatched", 200),
        ("deny_explicit_policy", 403),
        ("deny_missing_bearer", 401),
        ("deny_ambiguous_request", 400),
        ("deny_explicit_policy", 403),
    ]
    assert collector.resources()[0]["service.name"] == "gateway-authz"
    assert {got.headers["api-key"] for got in collector.recorder.requests} == {"key-of-the-collector"}
    assert len(of_traces(collector, TRACE_ID)) == 4
    begun = collector.spans()[-1]
    assert (begun.parent_span_id, begun.trace_state) == (b"", "")
    assert {span.status.code for span in collector.spans()} == {Status.STATUS_CODE_UNSET}


def test_spans_of_coalesced_callers_link_to_the_leaders_span(running: Running) -> None:
    traces = [new_trace() for _ in range(5)]
    collector, before = running.collector, len(running.tokens.requests)

    def ask(trace: str) -> None:
        running.service.check("/orders", authorization="Bearer canary-subject", traceparent=f"00-{trace}-{CALLER_ID}-01")

    running.tokens.answering.clear()
    with ThreadPoolExecutor(5) as pool:
        asked = pool.map(ask, traces)
        try:
            wait_until(lambda: running.service.metric("ext_authz_check_in_flight") == 5)
        finally:
            running.tokens.answering.set()
        list(asked)
    collector.until(lambda: len(of_traces(collector, *traces)) == 6)
    (client,) = (span for span in of_traces(collector, *traces) if span.name == "POST")
    checks = [span for span in of_traces(collector, *traces) if span.name == CHECK]
    (leader,) = (span for span in checks if span.span_id == client.parent_span_id)
    followers = [span for span in checks if span is not leader]
    assert len(running.tokens.requests) == before + 1
    assert [(link.trace_id, link.span_id) for span in followers for link in span.links] == [(leader.trace_id, leader.span_id)] * 4
    assert all(plain(span)["exchanger.exchange.coalesced"] is True for span in followers)
    assert "exchanger.exchange.coalesced" not in plain(leader)

    def counted() -> bool:
        found = collector.metrics().get("ext_authz_token_exchange_coalesced_total")
        return found is not None and [point.as_int for point in found.sum.data_points] == [4]

    collector.until(counted)


def test_a_failed_exchange_is_an_error_in_both_spans(running: Running) -> None:
    trace = new_trace()
    running.service.check("/lost", authorization="Bearer canary-subject", traceparent=f"00-{trace}-{CALLER_ID}-01")
    running.collector.until(lambda: len(of_traces(running.collector, trace)) == 2)
    client, server = sorted(of_traces(running.collector, trace), key=lambda span: span.name)
    assert {client.status.code, server.status.code} == {Status.STATUS_CODE_ERROR}
    assert (plain(client)["error.type"], plain(server)["error.type"]) == ("transport_error", "TXE-1003")


def test_metrics_are_those_of_the_scrape(running: Running) -> None:
    running.service.check("/admin")
    running.service.check("/orders", authorization="Bearer canary-subject")
    collector = running.collector
    text = get(f"http://127.0.0.1:{running.service.metrics_port}/metrics").decode()
    samples = [line for line in text.splitlines() if not line.startswith("#")]
    decisions = sum(line.startswith("ext_authz_check_requests_total{") for line in samples)
    assert decisions >= 2

    def counted() -> bool:
        found = collector.metrics().get("ext_authz_check_requests_total")
        return found is not None and len(found.sum.data_points) == decisions

    collector.until(counted)
    scraped = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    of_the_process = {name for name in scraped if name.startswith("process_")}
    assert "process_cpu_seconds_total" in of_the_process
    scraped -= of_the_process
    assert scraped == set(NAMES)
    with_samples = {name for name in scraped if any(line.startswith(name) for line in samples)}
    assert set(collector.metrics()) == with_samples
    assert with_samples >= {"policy_entries", "policy_invalid_documents", "policy_snapshot_age_seconds", "exchanger_build_info"}
    assert collector.metrics()["policy_entries"].gauge.data_points[0].as_int == 3


@pytest.mark.full
def test_the_rest_is_sent_at_the_end(tmp_path: Path) -> None:
    with collecting() as collector:
        variables = {**collector.variables(), "OTEL_BSP_SCHEDULE_DELAY": "3600000", "OTEL_METRIC_EXPORT_INTERVAL": "3600000"}
        with serving(tmp_path, DOCUMENT, **variables) as service:
            service.check("/admin")
            assert collector.recorder.requests == []
            assert service.stop() == 0
        assert len(collector.spans()) == 1
        assert "ext_authz_check_requests_total" in collector.metrics()


@pytest.mark.full
def test_without_an_exporter_no_span_is_sent_and_the_trace_context_passes(tmp_path: Path) -> None:
    with collecting() as collector, token_endpoint("canary-exchanged") as tokens:
        write_issuers(tmp_path, tokens.url)
        variables = {"TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": collector.recorder.url, **PATIENCE}
        with serving(tmp_path, DOCUMENT, **variables) as service:
            service.check("/orders", authorization="Bearer s", traceparent=TRACEPARENT, tracestate="vendor=state", baggage="a=b")
            assert service.stop() == 0
        (got,) = tokens.requests
        assert (got.headers["traceparent"], got.headers["tracestate"], got.headers["baggage"]) == (TRACEPARENT, "vendor=state", "a=b")
        assert collector.recorder.requests == []


@pytest.mark.full
@pytest.mark.parametrize(
    ("answers", "timeout", "said"), [("refuses", "2000", "Connection refused"), ("silent", "500", "no answer within 0.5 s")]
)
def test_a_lost_collector_is_one_warning_for_each_signal_and_costs_nothing(answers: str, timeout: str, said: str, tmp_path: Path) -> None:
    with silent() as silent_port:
        recorder = Recorder(silent_port if answers == "silent" else free_port())
        with serving(tmp_path, DOCUMENT, **{**Collector(recorder).variables(), "OTEL_EXPORTER_OTLP_TIMEOUT": timeout}) as service:
            times = []
            for _ in range(50):
                started = time.monotonic()
                assert service.check("/admin").denied_response.status.code == 403
                times.append(time.monotonic() - started)
            assert sorted(times)[25] < 0.25  # half of what an export waits; the machine may have been busy, but not each time
            wait_until(lambda: service.lines().count("telemetry.export_failed") >= 2, service.lines)
            time.sleep(1)
            assert service.lines().count("telemetry.export_failed") == 2
            assert said in service.lines()
            started = time.monotonic()
            assert service.stop() == 0
            assert time.monotonic() - started < STOP_S
            assert "service.stopped" in service.lines()


@pytest.mark.full
def test_a_silent_collector_delays_the_shutdown_only_briefly(tmp_path: Path) -> None:
    with silent() as port:
        variables = {**Collector(Recorder(port)).variables(), "OTEL_BSP_SCHEDULE_DELAY": "3600000", "OTEL_EXPORTER_OTLP_TIMEOUT": LONG_MS}
        with serving(tmp_path, DOCUMENT, **variables) as service:
            service.check("/admin")
            started = time.monotonic()
            assert service.stop() == 0
            assert time.monotonic() - started < STOP_S


@pytest.mark.full
def test_an_unknown_protocol_is_reported_and_the_service_runs(tmp_path: Path) -> None:
    with serving(tmp_path, DOCUMENT, OTEL_TRACES_EXPORTER="otlp", OTEL_EXPORTER_OTLP_PROTOCOL="http/json") as service:
        assert service.check("/admin").denied_response.status.code == 403
        assert service.stop() == 0
        (line,) = (line for line in service.lines().splitlines() if "config.without_effect" in line)
        assert "must be grpc or http/protobuf" in line
