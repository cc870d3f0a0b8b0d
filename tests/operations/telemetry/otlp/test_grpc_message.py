"""OTLP over gRPC against grpcio's server: a peer that shares no code with us."""

import contextlib
from collections.abc import Generator
from concurrent import futures
from pathlib import Path

import attrs
import grpc
import pytest
import trio
import trustme

from exchanger.model.secret import Secret
from exchanger.operations.telemetry.otlp.export import ExportAccepted, ExportRefused, ExportResult
from exchanger.operations.telemetry.otlp.post import Poster
from exchanger.operations.telemetry.otlp.settings import Protocol, Target

METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
PATIENCE_S = 30.0


@attrs.define(eq=False)
class GrpcioCollector(grpc.GenericRpcHandler):
    """Keeps what it is sent, and answers with ``answer`` or ends with ``status``."""

    answer: bytes = b"taken"
    status: grpc.StatusCode = grpc.StatusCode.OK
    port: int = 0
    messages: list[bytes] = attrs.field(factory=list)
    metadata: list[tuple[str, str]] = attrs.field(factory=list)
    method: str = ""

    def service(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes]":
        self.method = details.method
        return grpc.unary_unary_rpc_method_handler(self._export)

    def _export(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        self.messages.append(message)
        self.metadata += [(str(name), str(value)) for name, value in context.invocation_metadata()]
        if self.status is not grpc.StatusCode.OK:
            context.abort(self.status, "canary: the collector's own words")
        return self.answer


@contextlib.contextmanager
def collecting(collector: GrpcioCollector, credentials: grpc.ServerCredentials | None = None) -> Generator[GrpcioCollector]:
    server = grpc.server(futures.ThreadPoolExecutor(2), handlers=[collector], options=[("grpc.so_reuseport", 0)])
    if credentials is None:
        collector.port = server.add_insecure_port("127.0.0.1:0")
    else:
        collector.port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    try:
        yield collector
    finally:
        server.stop(None).wait(PATIENCE_S)


def target(port: int) -> Target:
    return Target(
        secure=False, host="127.0.0.1", port=port, path=METHOD, headers=(("Api-Key", Secret("key")),), protocol=Protocol.GRPC, timeout=20.0
    )


async def sent(to: Target, body: bytes) -> ExportResult:
    with trio.fail_after(PATIENCE_S):
        return await Poster(to).post(body)


@pytest.mark.parametrize("size", [0, 5, 1_000_000], ids=["empty", "small", "beyond the window"])
@pytest.mark.parametrize("compressed", [False, True])
async def test_a_message_arrives_whole(size: int, compressed: bool) -> None:
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    with collecting(GrpcioCollector()) as collector:
        assert await sent(attrs.evolve(target(collector.port), gzip=compressed), body) == ExportAccepted(b"taken")
    assert collector.messages == [body]
    assert collector.method == METHOD
    assert ("api-key", "key") in collector.metadata
    (agent,) = [value for name, value in collector.metadata if name == "user-agent"]
    assert agent.startswith("exchanger/")


@pytest.mark.parametrize(
    ("status", "retryable"),
    [("UNAVAILABLE", True), ("ABORTED", True), ("INVALID_ARGUMENT", False), ("UNAUTHENTICATED", False), ("RESOURCE_EXHAUSTED", False)],
)
async def test_what_a_status_means(status: str, retryable: bool) -> None:
    with collecting(GrpcioCollector(status=grpc.StatusCode[status])) as collector:
        answer = await sent(target(collector.port), b"body")
    assert answer == ExportRefused(f"gRPC status {status}", retryable)


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


async def test_over_tls_with_a_client_certificate(tmp_path: Path, authority: trustme.CA) -> None:
    server, client = authority.issue_cert("127.0.0.1"), authority.issue_cert("client")
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    client.cert_chain_pems[0].write_to_path(str(certificate))
    client.private_key_pem.write_to_path(str(key))
    credentials = grpc.ssl_server_credentials(
        [(server.private_key_pem.bytes(), server.cert_chain_pems[0].bytes())], authority.cert_pem.bytes(), require_client_auth=True
    )
    with collecting(GrpcioCollector(), credentials) as collector:
        secured = attrs.evolve(target(collector.port), secure=True, ca_file=ca, client_cert_file=certificate, client_key_file=key)
        assert await sent(secured, b"body") == ExportAccepted(b"taken")
        stranger = await sent(attrs.evolve(secured, client_cert_file=None, client_key_file=None), b"canary")
        assert isinstance(stranger, ExportRefused)
    assert collector.messages == [b"body"]


async def test_a_server_of_something_else_is_no_collector() -> None:
    async def speak(stream: trio.SocketStream) -> None:
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, speak, [listener])
        answer = await sent(target(listener.socket.getsockname()[1]), b"body")
        nursery.cancel_scope.cancel()
    assert isinstance(answer, ExportRefused)
