from collections.abc import AsyncGenerator

import attrs
import pytest
import trio
import trio.testing
from prometheus_client import ProcessCollector
from prometheus_client.core import Metric

from exchanger.telemetry.metrics import Metrics, MetricsSettings
from exchanger.telemetry.metrics_server import LIMITS, MetricsServer
from tests.telemetry.gauges import NOTHING
from tests.telemetry.records import CANARY, DENIED, record

PATIENCE_S = 10.0
GET = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Running:
    """A server on a free port and the means to talk to it."""

    def __init__(self, server: MetricsServer, port: int) -> None:
        self.server, self.port = server, port

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.port)

    async def ask(self, request: bytes) -> tuple[bytes, bytes]:
        """Return head and body of the answer to a request on a connection of its own that is closed after it."""
        async with await self.connect() as stream:
            await stream.send_all(request)
            await stream.send_eof()
            return split(await everything(stream))


async def everything(stream: trio.SocketStream) -> bytes:
    with trio.fail_after(PATIENCE_S):
        return b"".join([chunk async for chunk in stream])


async def one_answer(stream: trio.SocketStream) -> tuple[bytes, bytes]:
    """Receive one answer of a connection that stays open."""
    data = b""
    with trio.fail_after(PATIENCE_S):
        while b"\r\n\r\n" not in data:
            data += await stream.receive_some()
        head, body = split(data)
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        while len(body) < length:
            body += await stream.receive_some()
    return head, body


def split(answer: bytes) -> tuple[bytes, bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return head, body


@pytest.fixture
async def running() -> AsyncGenerator[Running]:
    metrics = Metrics("1.2.3", NOTHING)
    metrics.decided(record(DENIED))
    server = MetricsServer(MetricsSettings(enabled=True, host="127.0.0.1", port=0), metrics)
    async with trio.open_nursery() as nursery:
        port: int = await nursery.start(_run, server)
        yield Running(server, port)
        nursery.cancel_scope.cancel()


async def _run(server: MetricsServer, *, task_status: trio.TaskStatus[int]) -> None:
    await server.run(task_status=task_status)


async def test_metrics_are_served_as_prometheus_text(running: Running) -> None:
    head, body = await running.ask(GET)

    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"Content-Type: text/plain; version=0.0.4; charset=utf-8" in head
    assert b'ext_authz_check_requests_total{decision="deny_explicit_policy",result="auth_denied"} 1.0\n' in body
    assert f"content-length: {len(body)}".encode() in head.lower()


async def test_the_process_is_among_them(running: Running) -> None:
    _, body = await running.ask(GET)

    assert b"# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total " in body
    assert b"# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes " in body


async def test_a_process_that_cannot_be_measured_costs_nothing_else(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_self: object) -> list[Metric]:
        raise ValueError("could not convert string to float: b'unlimited'")

    monkeypatch.setattr(ProcessCollector, "collect", broken)
    head, body = await running.ask(GET)

    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"process_" not in body
    assert b"exchanger_build_info" in body


async def test_a_query_is_not_read(running: Running) -> None:
    head, body = await running.ask(f"GET /metrics?name={CANARY} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())

    assert head.startswith(b"HTTP/1.1 200 ")
    assert CANARY.encode() not in body


async def test_head_has_no_body(running: Running) -> None:
    head, body = await running.ask(GET.replace(b"GET", b"HEAD"))

    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"Content-Length: 0" not in head
    assert body == b""


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET / HTTP/1.1", b"404"),
        (b"GET /metrics/ HTTP/1.1", b"404"),
        (b"GET /%6detrics HTTP/1.1", b"404"),
        (b"GET http://localhost/metrics HTTP/1.1", b"404"),
        (b"POST /metrics HTTP/1.1", b"405"),
        (b"DELETE /metrics HTTP/1.1", b"405"),
        (b"OPTIONS * HTTP/1.1", b"404"),
        (b"GET /metrics HTTP/1.0", b"200"),
    ],
)
async def test_one_resource_and_two_methods(running: Running, request_line: bytes, status: bytes) -> None:
    head, body = await running.ask(request_line + b"\r\nHost: localhost\r\n\r\n")

    assert head.split()[1] == status
    assert (b"Allow: GET, HEAD" in head) == (status == b"405")
    assert bool(body) == (status == b"200")


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /metrics\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: " + CANARY.encode() + b"\x00\r\n\r\n",
        b"GET /" + b"a" * (2 * LIMITS.head_bytes) + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * LIMITS.head_bytes,
    ],
)
async def test_what_is_no_http_is_refused_and_the_connection_ends(running: Running, data: bytes) -> None:
    async with await running.connect() as stream:
        try:
            await stream.send_all(data)
            answer = await everything(stream)
        except trio.BrokenResourceError:
            answer = b""  # it was closed while we were still sending

    assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")
    assert CANARY.encode() not in answer
    assert (await running.ask(GET))[0].startswith(b"HTTP/1.1 200 ")


async def test_a_request_with_a_body_is_answered_once(running: Running) -> None:
    answer = await running.ask(b"POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 36\r\n\r\n" + GET)

    assert answer[0].startswith(b"HTTP/1.1 405 ")
    assert answer[1] == b""


async def test_a_connection_serves_many_requests(running: Running) -> None:
    async with await running.connect() as stream:
        for _ in range(3):
            await stream.send_all(GET)
            head, body = await one_answer(stream)
            assert head.startswith(b"HTTP/1.1 200 ")
            assert body.endswith(b"\n")
        assert running.server.http.slots.taken == 1
    with trio.fail_after(PATIENCE_S):
        while running.server.http.answered < 3:
            await trio.lowlevel.checkpoint()


async def test_requests_sent_ahead_are_answered_in_order(running: Running) -> None:
    async with await running.connect() as stream:
        await stream.send_all(GET.replace(b"/metrics", b"/nothing") + GET)
        await stream.send_eof()
        answers = await everything(stream)
    assert [line.split()[1] for line in answers.splitlines() if line.startswith(b"HTTP/1.1 ")] == [b"404", b"200"]


async def test_who_is_silent_longest_gives_place_to_who_comes(running: Running) -> None:
    streams = []
    for _ in range(LIMITS.connections):
        stream = await running.connect()
        await stream.send_all(GET)
        await one_answer(stream)
        streams.append(stream)

    assert (await running.ask(GET))[0].startswith(b"HTTP/1.1 200 ")
    assert await everything(streams[0]) == b""
    assert running.server.http.slots.displaced == 1
    assert running.server.http.slots.refused == 0
    await streams[1].send_all(GET)
    await one_answer(streams[1])
    for stream in streams:
        await stream.aclose()
    with trio.fail_after(PATIENCE_S):
        while running.server.http.slots.taken:
            await trio.lowlevel.checkpoint()


@pytest.mark.parametrize(
    ("bound", "host", "status"),
    [
        ("127.0.0.1", "localhost:3002", b"200"),
        ("127.0.0.1", "127.0.0.1:3002", b"200"),
        ("127.0.0.1", "evil.example", b"421"),
        ("::1", "[::1]:3002", b"200"),
        ("::1", "evil.example", b"421"),
        ("localhost", "evil.example", b"421"),
        ("localhost", "localhost", b"200"),
        ("Metrics.example.com", "metrics.example.com:3002", b"200"),
        ("metrics.example.com", "evil.example", b"421"),
        ("metrics.example.com", "10.0.0.7:3002", b"200"),
        (None, "anything", b"200"),
        ("0.0.0.0", "metrics.monitoring", b"200"),
        ("10.0.0.7", "metrics.monitoring", b"200"),
        ("127.0.0.1", "localhost\r\nHost: localhost", b"400"),
    ],
)
async def test_only_its_own_name_leads_to_a_server_on_loopback_or_a_name(bound: str | None, host: str, status: bytes) -> None:
    server = MetricsServer(MetricsSettings(host=bound), Metrics("1.2.3", NOTHING))
    client, served = pair()
    async with client, served, trio.open_nursery() as nursery:
        nursery.start_soon(server.http.serve, served)
        await client.send_all(f"GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        await client.send_eof()
        assert (await one_answer(client))[0].split()[1] == status


async def test_without_a_host_nothing_is_answered_on_loopback(running: Running) -> None:
    assert (await running.ask(b"GET /metrics HTTP/1.0\r\n\r\n"))[0].startswith(b"HTTP/1.1 421 ")


@pytest.mark.parametrize(("sent", "after"), [(b"", LIMITS.idle_s), (b"GET /metrics HTTP/1.1\r\n", LIMITS.arrival_s)])
async def test_a_silent_connection_is_closed(sent: bytes, after: float, mock_clock: trio.testing.MockClock) -> None:
    server = MetricsServer(MetricsSettings(), Metrics("1.2.3", NOTHING))
    client, served = pair()
    async with client, served, trio.open_nursery() as nursery:
        nursery.start_soon(server.http.serve, served)
        if sent:
            await client.send_all(sent)
        await trio.testing.wait_all_tasks_blocked(0.05)
        mock_clock.jump(after - 0.1)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert server.http.slots.taken == 1
        mock_clock.jump(0.2)
    assert server.http.slots.taken == 0
    assert server.http.answered == 0


async def test_a_peer_that_does_not_read_is_left(mock_clock: trio.testing.MockClock) -> None:
    hosts = {f"h{number}.example.com": 1 for number in range(20_000)}  # far more than a socket holds
    server = MetricsServer(MetricsSettings(), Metrics("1.2.3", attrs.evolve(NOTHING, exchanges_in_flight=lambda: hosts)))
    client, served = pair()
    async with client, served, trio.open_nursery() as nursery:
        await client.send_all(GET)
        nursery.start_soon(server.http.serve, served)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert server.http.slots.taken == 1
        mock_clock.jump(LIMITS.answer_s)
    assert server.http.slots.taken == 0


def pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    """Return the two ends of a connection."""
    left, right = trio.socket.socketpair()
    return trio.SocketStream(left), trio.SocketStream(right)
