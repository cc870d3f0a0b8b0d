"""The metrics port: one path, two methods, and the process's own metrics held against what Python knows of it."""

import gc
import os
import resource
import time
from pathlib import Path
from typing import Final

import pytest
import trio
import trio.testing
from prometheus_client import ProcessCollector
from prometheus_client.core import Metric

from exchanger.operations.telemetry import metrics_server
from exchanger.operations.telemetry.metrics import Metrics, MetricsSettings
from exchanger.operations.telemetry.metrics_server import LIMITS, MetricsServer, process_metrics
from tests.operations.telemetry.gauges import NOTHING
from tests.operations.telemetry.records import CANARY, DENIED, record

GET = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def ask(request: bytes, bound: str | None = "127.0.0.1") -> tuple[int, bytes, bytes]:
    """Return status, head and body of the response from a server on the address ``bound``."""
    metrics = Metrics("1.2.3", NOTHING)
    metrics.decided(record(DENIED))
    server = MetricsServer(MetricsSettings(host=bound), metrics)
    client, served = trio.testing.memory_stream_pair()
    await client.send_all(request)
    await client.send_eof()
    await server.http.serve(served)
    await served.aclose()
    head, _, body = b"".join([chunk async for chunk in client]).partition(b"\r\n\r\n")
    return int(head.split()[1]), head, body


async def test_metrics_are_served_as_prometheus_text() -> None:
    status, head, body = await ask(GET.replace(b"/metrics", b"/metrics?name=" + CANARY.encode()))

    assert status == 200
    assert b"Content-Type: text/plain; version=0.0.4; charset=utf-8" in head
    assert b'ext_authz_check_requests_total{decision="deny_explicit_policy",result="auth_denied"} 1.0\n' in body
    assert b"# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total " in body
    assert f"content-length: {len(body)}".encode() in head.lower()
    assert CANARY.encode() not in head + body


async def test_a_process_that_cannot_be_measured_costs_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_self: object) -> list[Metric]:
        raise ValueError("could not convert string to float: b'unlimited'")

    monkeypatch.setattr(ProcessCollector, "collect", broken)
    status, _, body = await ask(GET)

    assert (status, b"process_" in body, b"exchanger_build_info" in body) == (200, False, True)


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET / HTTP/1.1", 404),
        (b"GET /metrics/ HTTP/1.1", 404),
        (b"GET /%6detrics HTTP/1.1", 404),
        (b"GET http://localhost/metrics HTTP/1.1", 404),
        (b"POST /metrics HTTP/1.1", 405),
        (b"DELETE /metrics HTTP/1.1", 405),
        (b"OPTIONS * HTTP/1.1", 404),
        (b"GET /metrics HTTP/1.0", 200),
        (b"HEAD /metrics HTTP/1.1", 200),
    ],
)
async def test_one_resource_and_two_methods(request_line: bytes, status: int) -> None:
    found, head, body = await ask(request_line + b"\r\nHost: localhost\r\n\r\n")

    assert found == status
    assert (b"Allow: GET, HEAD" in head) == (status == 405)
    assert bool(body) == (status == 200 and not request_line.startswith(b"HEAD"))
    assert (b"Content-Length: 0" in head) == (status != 200)


@pytest.mark.parametrize(
    ("bound", "host", "status"),
    [
        ("127.0.0.1", "localhost:3002", 200),
        ("127.0.0.1", "127.0.0.1:3002", 200),
        ("127.0.0.1", "evil.example", 421),
        ("::1", "[::1]:3002", 200),
        ("::1", "evil.example", 421),
        ("localhost", "evil.example", 421),
        ("localhost", "localhost", 200),
        ("Metrics.example.com", "metrics.example.com:3002", 200),
        ("metrics.example.com", "evil.example", 421),
        ("metrics.example.com", "10.0.0.7:3002", 200),
        (None, "anything", 200),
        ("0.0.0.0", "metrics.monitoring", 200),
        ("10.0.0.7", "metrics.monitoring", 200),
        ("127.0.0.1", "localhost\r\nHost: localhost", 400),
    ],
)
async def test_a_metrics_server_on_loopback_or_a_name_rejects_foreign_hosts(bound: str | None, host: str, status: int) -> None:
    assert (await ask(f"GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n".encode(), bound))[0] == status


@pytest.mark.parametrize(
    ("data", "status"), [(b"GET /metrics HTTP/1.0\r\n\r\n", 421), (GET[:-2] + b"X: y\r\n" * LIMITS.head_lines + b"\r\n", 400)]
)
async def test_what_is_not_a_scrape_is_refused_without_a_body(data: bytes, status: int) -> None:
    assert (await ask(data))[::2] == (status, b"")


async def test_it_listens_where_it_is_set() -> None:
    server = MetricsServer(MetricsSettings(enabled=True, host="127.0.0.1", port=0), Metrics("1.2.3", NOTHING))
    async with trio.open_nursery() as nursery:
        port: int = await nursery.start(_run, server)
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(GET)
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 200 ")
        nursery.cancel_scope.cancel()


async def _run(server: MetricsServer, *, task_status: trio.TaskStatus[int]) -> None:
    await server.run(task_status=task_status)


# Those that Prometheus' client libraries have in common, as far as there is something to measure here.
NAMES: Final = {
    "process_cpu_seconds_total": "counter",
    "process_resident_memory_bytes": "gauge",
    "process_virtual_memory_bytes": "gauge",
    "process_start_time_seconds": "gauge",
    "process_open_fds": "gauge",
    "process_max_fds": "gauge",
}
# Twice the resolution of processor times in /proc.
TICK_S: Final = 0.02


def values() -> dict[str, float]:
    return {sample.name: sample.value for metric in process_metrics() for sample in metric.samples}


def test_processor_time_is_that_of_this_process() -> None:
    before = time.process_time()
    found = values()["process_cpu_seconds_total"]

    assert before - TICK_S <= found <= time.process_time() + TICK_S


def test_process_metrics_count_open_files_under_the_usual_names_and_types() -> None:
    assert {sample.name: metric.type for metric in process_metrics() for sample in metric.samples} == NAMES
    assert all(not sample.labels for metric in process_metrics() for sample in metric.samples)
    gc.collect()  # or files that other tests have forgotten are closed in between
    before = values()["process_open_fds"]
    ends = os.pipe()
    after = values()["process_open_fds"]
    for end in ends:
        os.close(end)

    assert after == before + 2
    assert values()["process_max_fds"] == resource.getrlimit(resource.RLIMIT_NOFILE)[0]


STAT: Final = "1 (python) S " + " ".join(str(number) for number in range(1, 50))
LIMIT: Final = "Max open files            1024                 4096                 files\n"


@pytest.mark.parametrize(
    ("stat", "limits", "told"),
    [
        (STAT, LIMIT, 6),
        (STAT, LIMIT.replace("1024     ", "unlimited"), 0),
        (STAT, "", 0),
        ("1 (python) S", LIMIT, 0),
        ("", LIMIT, 0),
        (STAT, None, 4),
        (None, None, 0),
    ],
    ids=["all is well", "no limit", "no such line", "a short line", "nothing", "no such file", "no process"],
)
def test_an_unexpected_format_of_proc_is_no_fault(
    stat: str | None, limits: str | None, told: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stat").write_text("cpu 1\nbtime 1700000000\n")
    if stat is not None:
        (tmp_path / "self" / "fd").mkdir(parents=True)
        (tmp_path / "self" / "stat").write_text(stat)
    if limits is not None:
        (tmp_path / "self" / "limits").write_text(limits)
    monkeypatch.setattr(metrics_server, "_PROCESS", ProcessCollector(proc=str(tmp_path), registry=None))

    assert len(process_metrics()) == told
