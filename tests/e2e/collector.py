"""An OpenTelemetry collector and a token endpoint for tests: plain HTTP servers on loopback, in threads, that keep what they get."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from pathlib import Path
from typing import Final

import attrs

from exchanger._proto.opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from exchanger._proto.opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from exchanger._proto.opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from exchanger._proto.opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span

# For something to arrive, on a machine that does much else.
WAIT_S: Final = 30.0


@attrs.frozen
class Got:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes


@attrs.define(eq=False)
class Recorder:
    """A server: ``url``, and the requests it got, in order. It answers while ``answering`` is set."""

    port: int
    requests: list[Got] = attrs.Factory(list)
    answering: threading.Event = attrs.Factory(threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def recording(respond: Callable[[Got], tuple[int, str, bytes]]) -> Generator[Recorder]:
    """Run a server that answers as ``respond`` says: status, content type, body."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = self.headers["content-length"]
            body = self.rfile.read(int(length)) if length is not None else _chunks(self.rfile)
            got = Got(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            recorder.requests.append(got)
            recorder.answering.wait(WAIT_S)
            status, content_type, answer = respond(got)
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    recorder = Recorder(server.server_address[1])
    recorder.answering.set()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield recorder
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _chunks(stream: BufferedIOBase) -> bytes:
    """Read a body in chunks (RFC 9112 section 7.1), as Envoy sends them."""
    body = b""
    while size := int(stream.readline().split(b";")[0], 16):
        body += stream.read(size)
        stream.readline()
    stream.readline()
    return body


@attrs.define(eq=False)
class Collector:
    """What a collector was sent, decoded."""

    recorder: Recorder

    def variables(self) -> dict[str, str]:
        """Return what a service needs to export to it, soon."""
        return {
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_METRICS_EXPORTER": "otlp",
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.recorder.url,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "OTEL_METRIC_EXPORT_INTERVAL": "300",
        }

    def resource_spans(self) -> list[ResourceSpans]:
        bodies = (got.body for got in self.recorder.requests if got.path == "/v1/traces")
        return [of for body in bodies for of in ExportTraceServiceRequest.FromString(body).resource_spans]

    def spans(self) -> list[Span]:
        return [span for of in self.resource_spans() for scope in of.scope_spans for span in scope.spans]

    def metrics(self) -> dict[str, Metric]:
        """Return each metric as it was last."""
        found = (ExportMetricsServiceRequest.FromString(got.body) for got in self.recorder.requests if got.path == "/v1/metrics")
        all_of = (metric for one in found for of in one.resource_metrics for scope in of.scope_metrics for metric in scope.metrics)
        return {metric.name: metric for metric in all_of}

    def resources(self) -> list[dict[str, str]]:
        return [{one.key: one.value.string_value for one in of.resource.attributes} for of in self.resource_spans()]

    def until(self, enough: Callable[[], bool]) -> None:
        wait_until(enough, lambda: f"{len(self.spans())} spans, {sorted(self.metrics())}")


def wait_until(enough: Callable[[], bool], describe: Callable[[], str] = lambda: "") -> None:
    deadline = time.monotonic() + WAIT_S
    while not enough():
        assert time.monotonic() < deadline, describe()
        time.sleep(0.05)


@contextlib.contextmanager
def collecting() -> Generator[Collector]:
    with recording(lambda _got: (200, "application/x-protobuf", b"")) as recorder:
        yield Collector(recorder)


@contextlib.contextmanager
def token_endpoint(token: str) -> Generator[Recorder]:
    """Issue ``token`` to whoever asks."""
    answer = {"access_token": token, "token_type": "Bearer", "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"}
    with recording(lambda _got: (200, "application/json", json.dumps(answer).encode())) as recorder:
        yield recorder


def write_issuers(folder: Path, endpoint: str, *more: str) -> None:
    """Write the profile ``primary``, whose token endpoint is at ``endpoint``, and ``more``."""
    profile = f'{{name: primary, tokenEndpoint: "{endpoint}/token", clientID: client, clientSecret: canary-client-secret}}'
    (folder / "issuers.yaml").write_text(f"issuers: [{', '.join((profile, *more))}]")


@contextlib.contextmanager
def silent() -> Generator[int]:
    """Accept connections on the port that is yielded, and never say anything."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        port: int = listener.getsockname()[1]
        yield port


def plain(span: Span) -> dict[str, object]:
    """Return a span's attributes."""
    return {one.key: getattr(one.value, one.value.WhichOneof("value") or "") for one in span.attributes}
