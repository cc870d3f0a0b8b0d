"""Traces and metrics of ``exchanger serve`` as a collector gets them, with and without a real Envoy; and collectors that are none."""

import copy
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs
import grpc
import pytest
import trio

from exchanger._proto.grpc.reflection.v1.reflection_pb2 import ServerReflectionRequest
from exchanger._proto.opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from exchanger.demo.envoy import Mode, bootstrap
from exchanger.demo.servers import run_echo
from exchanger.http.message import Request, Response
from exchanger.scenarios.client import LOOPBACK, fetch
from tests.e2e.collector import Collector, Recorder, collecting, plain, silent, token_endpoint, wait_until
from tests.e2e.gateway import PATIENCE, READY_S, patient_gateways, start_gateway
from tests.e2e.service import Service, free_port, get, serving
from tests.telemetry.test_metrics import NAMES

DOCUMENT = """
version: v1
entries:
  - match: {host: api.example.com, pathPrefix: /orders}
    action: exchange
    exchange: {issuerRef: primary, scope: read:orders}
  - match: {host: api.example.com, pathPrefix: /admin}
    action: deny
"""
TRACE_ID, CALLER_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE_ID}-{CALLER_ID}-01"
UNSAMPLED = f"00-{TRACE_ID}-{CALLER_ID}-00"
CHECK = "envoy.service.auth.v3.Authorization/Check"
METHODS = {Mode.EXT_AUTHZ: CHECK, Mode.EXT_PROC: "envoy.service.ext_proc.v3.ExternalProcessor/Process"}
CANARIES = ("canary-subject", "canary-exchanged", "canary-client-secret", "canary-query", "canary-header", "canary-baggage")
STOP_S = 20.0
"""Seconds in which a service ends that has nothing to do, on a busy machine. It takes up to three, for the fade and two bounded flushes."""
LONG_MS = "60000"
"""For an export, where that must not be what a service waits for."""


def issuers(folder: Path, endpoint: str) -> None:
    profile = f'{{name: primary, tokenEndpoint: "{endpoint}/token", clientID: client, clientSecret: canary-client-secret}}'
    (folder / "issuers.yaml").write_text(f"issuers: [{profile}]")


@attrs.frozen
class Running:
    service: Service
    collector: Collector
    tokens: Recorder


@pytest.fixture
def running(tmp_path: Path) -> Generator[Running]:
    with collecting() as collector, token_endpoint("canary-exchanged") as tokens:
        issuers(tmp_path, tokens.url)
        variables = {**collector.variables(), **PATIENCE, "METRICS_ENABLED": "true"}
        with serving(
            tmp_path,
            DOCUMENT,
            TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT="true",
            OTEL_SERVICE_NAME="gateway-authz",
            OTEL_EXPORTER_OTLP_HEADERS="api-key=key-of-the-collector",
            **variables,
        ) as service:
            yield Running(service, collector, tokens)


def named(collector: Collector, name: str) -> list[Span]:
    return [span for span in collector.spans() if span.name == name]


@pytest.mark.envoy
@pytest.mark.parametrize("mode", list(Mode))
async def test_a_trace_goes_from_the_caller_through_envoy_to_the_token_endpoint(running: Running, mode: Mode, tmp_path: Path) -> None:
    headers = (
        ("Host", "api.example.com"),
        ("Authorization", "Bearer canary-subject"),
        ("X-Secret", "canary-header"),
        ("traceparent", TRACEPARENT),
        ("tracestate", "vendor=state"),
        ("baggage", "key=canary-baggage"),
    )
    async with trio.open_nursery() as nursery:
        upstream = await nursery.start(run_echo, LOOPBACK, 0)
        config = gateway_of(running, upstream, mode)
        envoy = await start_gateway(nursery, tmp_path, config)
        await _until_open(envoy)
        response = await fetch(envoy, Request("GET", "/orders/1?token=canary-query", headers), timeout=10)
        assert response.status == 200
        assert b"canary-exchanged" in response.body
        nursery.cancel_scope.cancel()

    running.collector.until(lambda: len(of_trace(running.collector)) == 2)
    server, client = sorted(of_trace(running.collector), key=lambda span: span.kind)
    assert (server.kind, server.name, server.parent_span_id.hex()) == (Span.SPAN_KIND_SERVER, METHODS[mode], CALLER_ID)
    assert (client.kind, client.parent_span_id) == (Span.SPAN_KIND_CLIENT, server.span_id)
    assert {server.trace_state, client.trace_state} == {"vendor=state"}
    assert server.start_time_unix_nano <= client.start_time_unix_nano <= client.end_time_unix_nano <= server.end_time_unix_nano
    (got,) = running.tokens.requests
    assert got.headers["traceparent"] == f"00-{TRACE_ID}-{client.span_id.hex()}-01"
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
    assert_nothing_secret(running.collector)


@pytest.mark.envoy
@pytest.mark.parametrize("mode", list(Mode))
async def test_a_trace_that_the_gateway_began_is_continued(running: Running, mode: Mode, tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        upstream = await nursery.start(run_echo, LOOPBACK, 0)
        config = gateway_of(running, upstream, mode)
        with_tracing(config, running.collector.recorder)
        envoy = await start_gateway(nursery, tmp_path, config)
        await _until_open(envoy)
        headers = (("Host", "api.example.com"), ("Authorization", "Bearer canary-subject"), ("baggage", "a=b"))
        response = await fetch(envoy, Request("GET", "/orders", headers), timeout=10)
        assert response.status == 200
        await trio.to_thread.run_sync(running.collector.until, lambda: bool(named(running.collector, "POST")))
        (client,) = named(running.collector, "POST")
        (got,) = running.tokens.requests
        assert got.headers["traceparent"] == f"00-{client.trace_id.hex()}-{client.span_id.hex()}-01"
        assert got.headers["baggage"] == "a=b"

        def whole() -> bool:
            spans = [span for span in running.collector.spans() if span.trace_id == client.trace_id]
            ids = {span.span_id for span in spans}
            return len(spans) > 2 and [span.kind for span in spans if span.parent_span_id not in ids] == [Span.SPAN_KIND_SERVER]

        await trio.to_thread.run_sync(running.collector.until, whole)  # with the gateway's own spans, one root and no gap
        nursery.cancel_scope.cancel()


def gateway_of(running: Running, upstream: int, mode: Mode) -> dict[str, Any]:
    with patient_gateways():
        return bootstrap(listen=free_port(), service=running.service.port, upstream=upstream, mode=mode)


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


def of_trace(collector: Collector) -> list[Span]:
    return [span for span in collector.spans() if span.trace_id.hex() == TRACE_ID]


async def _until_open(envoy: int) -> Response:
    """Wait until Envoy answers what no policy is about."""
    with trio.fail_after(READY_S):
        while True:
            try:
                response = await fetch(envoy, Request("GET", "/", (("Host", "open.example.com"), ("traceparent", UNSAMPLED))), timeout=2)
            except Exception:  # noqa: BLE001 - whatever it is, it is not ready
                response = Response(0, (), b"")
            if response.status == 200:
                return response
            await trio.sleep(0.1)


def assert_nothing_secret(collector: Collector) -> None:
    told = collector.all_of_it()
    assert [canary for canary in CANARIES if canary.encode() in told] == []
    assert b"/orders" not in told


def test_every_kind_of_decision_is_a_span_and_nothing_else_is(running: Running) -> None:
    service = running.service
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
    collector = running.collector
    collector.until(lambda: len(collector.spans()) >= 5)  # what is sent at the end has bounded time
    assert service.stop() == 0

    decisions = [(plain(span)["exchanger.decision"], plain(span)["exchanger.response.status_code"]) for span in collector.spans()]
    assert decisions == [
        ("allow_unmatched", 200),
        ("deny_explicit_policy", 403),
        ("deny_missing_bearer", 401),
        ("deny_ambiguous_request", 400),
        ("deny_explicit_policy", 403),
    ]
    assert len(of_trace(collector)) == 4
    begun = collector.spans()[-1]
    assert (begun.parent_span_id, begun.trace_state) == (b"", "")
    assert {span.status.code for span in collector.spans()} == {Status.STATUS_CODE_UNSET}
    assert_nothing_secret(collector)


def test_the_resource_and_the_headers_are_the_operators(running: Running) -> None:
    running.service.check("/admin")
    running.collector.until(lambda: bool(running.collector.spans()))
    assert running.collector.resources()[0]["service.name"] == "gateway-authz"
    assert {got.headers["api-key"] for got in running.collector.recorder.requests} == {"key-of-the-collector"}
    assert running.service.stop() == 0
    assert "key-of-the-collector" not in running.service.lines()


def test_who_shares_an_exchange_is_linked_to_who_made_it(running: Running) -> None:
    def ask(number: int) -> None:
        running.service.check("/orders", authorization="Bearer canary-subject", traceparent=f"00-{number:032x}-{CALLER_ID}-01")

    running.tokens.answering.clear()
    with ThreadPoolExecutor(5) as pool:
        asked = pool.map(ask, range(1, 6))
        try:
            wait_until(lambda: running.service.metric("ext_authz_check_in_flight") == 5)
        finally:
            running.tokens.answering.set()
        list(asked)
    running.collector.until(lambda: len(running.collector.spans()) == 6)
    (client,) = named(running.collector, "POST")
    checks = named(running.collector, CHECK)
    (leader,) = (span for span in checks if span.span_id == client.parent_span_id)
    followers = [span for span in checks if span is not leader]
    assert len(running.tokens.requests) == 1
    assert [(link.trace_id, link.span_id) for span in followers for link in span.links] == [(leader.trace_id, leader.span_id)] * 4
    assert all(plain(span)["exchanger.exchange.coalesced"] is True for span in followers)
    assert "exchanger.exchange.coalesced" not in plain(leader)

    def counted() -> bool:
        found = running.collector.metrics().get("ext_authz_token_exchange_coalesced_total")
        return found is not None and [point.as_int for point in found.sum.data_points] == [4]

    running.collector.until(counted)


def test_a_failed_exchange_is_an_error_in_both_spans(tmp_path: Path) -> None:
    with collecting() as collector:
        issuers(tmp_path, f"http://127.0.0.1:{free_port()}")
        variables = {**collector.variables(), **PATIENCE}
        with serving(tmp_path, DOCUMENT, TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT="true", **variables) as service:
            service.check("/orders", authorization="Bearer canary-subject")
            collector.until(lambda: len(collector.spans()) == 2)
    client, server = sorted(collector.spans(), key=lambda span: span.name)
    assert {client.status.code, server.status.code} == {Status.STATUS_CODE_ERROR}
    assert (plain(client)["error.type"], plain(server)["error.type"]) == ("transport_error", "TXE-1003")
    assert_nothing_secret(collector)


def test_metrics_are_those_of_the_scrape(running: Running) -> None:
    running.service.check("/admin")
    running.service.check("/orders", authorization="Bearer canary-subject")
    collector = running.collector

    def counted() -> bool:
        found = collector.metrics().get("ext_authz_check_requests_total")
        return found is not None and len(found.sum.data_points) == 2

    collector.until(counted)
    text = get(f"http://127.0.0.1:{running.service.metrics_port}/metrics").decode()
    scraped = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    of_the_process = {name for name in scraped if name.startswith("process_")}
    assert "process_cpu_seconds_total" in of_the_process
    scraped -= of_the_process
    assert scraped == set(NAMES)
    with_samples = {name for name in scraped if any(line.startswith(name) for line in text.splitlines() if not line.startswith("#"))}
    assert set(collector.metrics()) == with_samples
    assert with_samples >= {"policy_entries", "policy_invalid_documents", "policy_snapshot_age_seconds", "exchanger_build_info"}
    assert collector.metrics()["policy_entries"].gauge.data_points[0].as_int == 2
    assert_nothing_secret(collector)


def test_what_is_left_is_sent_at_the_end(tmp_path: Path) -> None:
    with collecting() as collector:
        variables = {**collector.variables(), "OTEL_BSP_SCHEDULE_DELAY": "3600000", "OTEL_METRIC_EXPORT_INTERVAL": "3600000"}
        with serving(tmp_path, DOCUMENT, **variables) as service:
            service.check("/admin")
            assert collector.recorder.requests == []
            assert service.stop() == 0
        assert len(collector.spans()) == 1
        assert "ext_authz_check_requests_total" in collector.metrics()


def test_without_an_exporter_nothing_is_sent_and_the_callers_trace_passes_through(tmp_path: Path) -> None:
    with collecting() as collector, token_endpoint("canary-exchanged") as tokens:
        issuers(tmp_path, tokens.url)
        variables = {"TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": collector.recorder.url, **PATIENCE}
        with serving(tmp_path, DOCUMENT, **variables) as service:
            service.check("/orders", authorization="Bearer s", traceparent=TRACEPARENT, tracestate="vendor=state", baggage="a=b")
            assert service.stop() == 0
        (got,) = tokens.requests
        assert (got.headers["traceparent"], got.headers["tracestate"], got.headers["baggage"]) == (TRACEPARENT, "vendor=state", "a=b")
        assert collector.recorder.requests == []


def asked_and_stopped(service: Service, warnings: int) -> float:
    """Use a service whose collector takes nothing, wait for its warnings, and return how long it took to end."""
    times = []
    for _ in range(50):
        started = time.monotonic()
        assert service.check("/admin").denied_response.status.code == 403
        times.append(time.monotonic() - started)
    assert sorted(times)[25] < 0.25  # half of what an export waits for the collector; the machine may have been busy, but not each time
    wait_until(lambda: service.lines().count("telemetry.export_failed") >= warnings, service.lines)
    time.sleep(1)
    assert service.lines().count("telemetry.export_failed") == warnings
    started = time.monotonic()
    assert service.stop() == 0
    took = time.monotonic() - started
    assert "service.stopped" in service.lines()
    return took


def test_a_dead_collector_is_a_warning_a_signal_and_costs_nothing(tmp_path: Path) -> None:
    variables = {**Collector(Recorder(free_port())).variables(), "OTEL_EXPORTER_OTLP_TIMEOUT": "2000"}  # or it is slow, and not dead
    with serving(tmp_path, DOCUMENT, **variables) as service:
        assert asked_and_stopped(service, warnings=2) < STOP_S
        assert "Connection refused" in service.lines()


def test_a_collector_that_never_answers_is_one_too(tmp_path: Path) -> None:
    with silent() as port:
        variables = {**Collector(Recorder(port)).variables(), "OTEL_EXPORTER_OTLP_TIMEOUT": "500"}
        with serving(tmp_path, DOCUMENT, **variables) as service:
            assert asked_and_stopped(service, warnings=2) < STOP_S
            assert "no answer within 0.5 s" in service.lines()


def test_one_that_is_silent_for_the_first_time_at_the_end_holds_it_up_for_a_moment(tmp_path: Path) -> None:
    with silent() as port:
        variables = {**Collector(Recorder(port)).variables(), "OTEL_BSP_SCHEDULE_DELAY": "3600000", "OTEL_EXPORTER_OTLP_TIMEOUT": LONG_MS}
        with serving(tmp_path, DOCUMENT, **variables) as service:
            service.check("/admin")
            started = time.monotonic()
            assert service.stop() == 0
            assert time.monotonic() - started < STOP_S


def test_what_cannot_be_exported_is_said_and_the_service_runs(tmp_path: Path) -> None:
    with serving(tmp_path, DOCUMENT, OTEL_TRACES_EXPORTER="otlp", OTEL_EXPORTER_OTLP_PROTOCOL="http/json") as service:
        assert service.check("/admin").denied_response.status.code == 403
        assert service.stop() == 0
        (line,) = (line for line in service.lines().splitlines() if "config.without_effect" in line)
        assert "must be grpc or http/protobuf" in line
