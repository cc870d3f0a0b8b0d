"""What benchmarks share: the service and other programs as processes, a token endpoint, loads, CPU time and memory. Linux only."""

import base64
import contextlib
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, Literal, final

import attrs
import ngh2
import trio

from exchanger._proto.envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse
from exchanger._proto.grpc.health.v1.health_pb2 import HealthCheckResponse
from exchanger.commands.health.command import ask
from exchanger.commands.health.options import HealthOptions
from exchanger.net.grpc.client import CallAnswered

CHECK: Final = "/envoy.service.auth.v3.Authorization/Check"
HOST: Final = "api.example.com"
# Seconds until a program listens. The slowest, the Go service with 10,000 entries, takes ten, and ten times that on a busy machine.
START_S: Final = 120.0
# Seconds in which a program that was told to end does so.
END_S: Final = 30.0
# The cores of programs that are measured, and of everything around them.
_CORES: Final = sorted(os.sched_getaffinity(0))
SERVER_CORES: Final = frozenset(_CORES[:1])
OTHER_CORES: Final = frozenset(_CORES[1:] or _CORES)
# The labels of namespaces and ConfigMaps with policies.
NAMESPACE_LABELS: Final = {"ext-authz-token-exchange.magneticflux.net/policy": "enabled"}
POLICY_LABELS: Final = {"ext-authz-token-exchange.magneticflux.net/enabled": "true"}
SERVE: Final = (sys.executable, "-m", "exchanger", "serve")
# Without bytecode, each start compiles the service first.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
_HEAD: Final = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":authority", b"localhost"),
    (b":path", CHECK.encode()),
    (b"te", b"trailers"),
    (b"content-type", b"application/grpc"),
    (b"grpc-timeout", b"1S"),
]
_CLAIMS: Final = b'{"iss":"https://issuer.example.com","sub":"user","aud":["gateway"],"exp":4102444800,"more":"%b"}' % (b"x" * 300)
# A JWT of 880 characters, but for the end of its signature.
_TOKEN: Final = f"eyJhbGciOiJSUzI1NiJ9.{base64.urlsafe_b64encode(_CLAIMS).rstrip(b'=').decode()}.{'s' * 334}"
# Over HTTP/1.1, and over HTTP/2 for those who begin with its preface.
_ENDPOINT: Final = """
import asyncio, sys
import ngh2
KIND = b"urn:ietf:params:oauth:token-type:access_token"
BODY = b'{"access_token":"%b","token_type":"Bearer","expires_in":3600,"issued_token_type":"%b"}' % (b"y" * 900, KIND)
ANSWER = b"HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(BODY) + BODY
HEADERS = [(b":status", b"200"), (b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY))]
class Serving(asyncio.Protocol):
    data, http2 = b"", None
    def connection_made(self, transport): self.transport = transport
    def answer(self, stream):
        self.http2.send_response(stream, HEADERS)
        self.http2.send_data(stream, BODY, end_stream=True)
        self.transport.write(self.http2.data_to_send())
    def data_received(self, data):
        if self.http2 is None and not self.data and data.startswith(b"PRI * HTTP/2.0"):
            self.http2 = ngh2.Connection(ngh2.Role.SERVER)
            self.http2.initiate_connection()
        if self.http2 is not None:
            self.http2.receive_data(data)
            for event in self.http2.events():
                if isinstance(event, ngh2.DataReceived) and event.end_stream:
                    asyncio.get_running_loop().call_later(float(sys.argv[2]), self.answer, event.stream_id)
            self.transport.write(self.http2.data_to_send())
            return
        self.data += data
        head, end, body = self.data.partition(b"\\r\\n\\r\\n")
        if end and len(body) >= int(head.lower().split(b"content-length: ")[1].split(b"\\r\\n")[0]):
            self.data = b""
            asyncio.get_running_loop().call_later(float(sys.argv[2]), self.transport.write, ANSWER)
async def main():
    server = await asyncio.get_running_loop().create_server(Serving, "127.0.0.1", int(sys.argv[1]), backlog=1024)
    await server.serve_forever()
asyncio.run(main())
"""


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def message(path: str, user: int | None = None, *, host: str = HOST, headers: Mapping[str, str] | None = None) -> bytes:
    """Return the framed CheckRequest for ``path``; a user brings a bearer token of their own."""
    check = CheckRequest()
    http = check.attributes.request.http
    http.method, http.path, http.host, http.scheme = "GET", path, host, "https"
    token = {} if user is None else {"authorization": f"Bearer {_TOKEN}{user:08}"}
    for name, value in {":path": path, "user-agent": "bench", "accept": "*/*", **token, **(headers or {})}.items():
        http.headers[name] = value
    data = check.SerializeToString()
    return b"\0" + len(data).to_bytes(4, "big") + data


Outcome = Literal["allowed", "exchanged", "denied", "failed", "none"]


def outcome_of(answer: CheckResponse) -> Outcome:
    """Return what an answer, of any server, decides."""
    if not answer.HasField("status"):
        return "none"
    if answer.status.code:
        return "failed" if answer.denied_response.status.code >= 500 else "denied"
    return "exchanged" if answer.ok_response.headers else "allowed"


@final
@attrs.define(eq=False)
class Connection:
    """One connection of the load; ``open`` has the answers that are on their way, and when they were asked for."""

    socket: socket.socket
    http: ngh2.Connection = attrs.field(factory=lambda: ngh2.Connection(ngh2.Role.CLIENT))
    open: dict[int, tuple[bytearray, float]] = attrs.field(factory=dict)

    def ask(self, data: bytes) -> None:
        """Ask with a framed CheckRequest; ``flush`` sends it."""
        stream = self.http.send_request(_HEAD, end_stream=False)
        self.http.send_data(stream, data, end_stream=True)
        self.open[stream] = (bytearray(), time.perf_counter())

    def flush(self) -> None:
        """Send what there is to send."""
        data = memoryview(self.http.data_to_send())
        while data:
            try:
                data = data[self.socket.send(data) :]
            except BlockingIOError:
                select.select([], [self.socket], [])

    def answers(self) -> Iterator[tuple[CheckResponse, float]]:
        """Read what has come, and yield each whole answer, and the seconds that it took. One without a message is an empty one."""
        self.http.receive_data(self.socket.recv(1 << 18))
        for event in self.http.events():
            if isinstance(event, ngh2.DataReceived):
                self.open[event.stream_id][0].extend(event.data)
            elif isinstance(event, ngh2.StreamClosed):
                body, asked = self.open.pop(event.stream_id)
                yield CheckResponse.FromString(bytes(body[5:])), time.perf_counter() - asked


@final
@attrs.frozen(eq=False)
class Connections:
    """Connections to the service."""

    by_socket: Mapping[int, Connection]
    poll: select.epoll

    def ready(self, seconds: float) -> Iterator[Connection]:
        """Wait for up to ``seconds``, and yield the connections on which something came."""
        for descriptor, _ in self.poll.poll(seconds):
            yield self.by_socket[descriptor]


def described(answer: CheckResponse, seconds: float) -> str:
    """Return what an answer that should be another one says, and its age. A denial's body has its code."""
    denied = answer.denied_response
    what = f"{denied.status.code} {denied.body.strip()}" if answer.HasField("denied_response") else str(answer).strip() or "no message"
    return f"after {seconds * 1000:.0f} ms: {what}"


@contextlib.contextmanager
def connected(port: int, count: int) -> Iterator[Connections]:
    """Open ``count`` connections to ``port`` for the block."""
    by_socket: dict[int, Connection] = {}
    with contextlib.ExitStack() as stack:
        poll = stack.enter_context(select.epoll())
        for _ in range(count):
            opened = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            opened.setblocking(False)
            it = by_socket[opened.fileno()] = Connection(opened)
            it.http.initiate_connection()
            it.flush()
            poll.register(opened.fileno(), select.EPOLLIN)
        yield Connections(by_socket, poll)


def closed_loop(port: int, connections: int, streams: int, messages: Iterable[bytes], wanted: Outcome) -> list[float]:
    """Ask with all ``messages``, ``streams`` at a time on each connection; return the seconds that each answer took.

    Raises:
        SystemExit: an answer is not as ``wanted``.
    """
    took: list[float] = []
    left = iter(messages)

    def fill(it: Connection) -> None:
        while len(it.open) < streams and (data := next(left, None)) is not None:
            it.ask(data)
        it.flush()

    with connected(port, connections) as to_service:
        for it in to_service.by_socket.values():
            fill(it)
        while any(it.open for it in to_service.by_socket.values()):
            for it in to_service.ready(10):
                for answer, seconds in it.answers():
                    took.append(seconds)
                    if outcome_of(answer) != wanted:
                        raise SystemExit(f"a wrong answer {described(answer, seconds)}")
                fill(it)
    return took


def h2load(port: int, request: Path, calls: int, connections: int, streams: int) -> float:
    """Ask ``calls`` times with one and the same message, which the file has; return the calls a second."""
    program = shutil.which("h2load")
    if program is None:
        raise SystemExit("h2load is missing; Debian has it in nghttp2-client, Homebrew in nghttp2")
    options = ("-n", str(calls), "-c", str(connections), "-m", str(streams), "-d", str(request))
    headers = ("-H", "content-type: application/grpc", "-H", "te: trailers")
    with placed(OTHER_CORES):
        done = subprocess.run(
            [program, *options, *headers, f"http://127.0.0.1:{port}{CHECK}"], capture_output=True, text=True, check=True
        ).stdout
    rate = re.search(r"finished in [^,]+, ([\d.]+) req/s", done)
    if rate is None or f" {calls} succeeded" not in done:
        raise SystemExit(f"not all calls succeeded:\n{done}")
    return float(rate[1])


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process so far, of all its threads."""
    # Of another process, by what clock_getcpuclockid(3) makes of its id: to the nanosecond, where /proc/PID/stat has ticks of 10 ms.
    return time.clock_gettime(~pid << 3 | 2)


def memory_mib(pid: int) -> tuple[float, float]:
    """Return the memory of a process: now, and at its highest."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(status["VmRSS"].split()[0]) / 1024, int(status["VmHWM"].split()[0]) / 1024


@contextlib.contextmanager
def placed(cores: Iterable[int]) -> Iterator[None]:
    """Start the programs of the block on ``cores``."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def running(
    command: Iterable[object], port: int, environment: Mapping[str, str] | None = None, cores: Iterable[int] = OTHER_CORES
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run ``command`` until the block ends; it listens on ``port`` when the block begins."""
    arguments = [str(part) for part in command]
    with placed(cores):
        process = subprocess.Popen(arguments, env=environment, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + START_S
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"does not listen: {' '.join(arguments)}")
            time.sleep(0.05)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def token_endpoint(port: int, delay: float) -> contextlib.AbstractContextManager[object]:
    """Run a token endpoint that answers after ``delay`` seconds."""
    return running([sys.executable, "-c", _ENDPOINT, port, delay], port)


def is_serving(port: int) -> bool:
    """Return whether a service is ready, as gRPC probes ask it."""
    reply = trio.run(ask, HealthOptions(("127.0.0.1", port)), None)
    return isinstance(reply, CallAnswered) and HealthCheckResponse.FromString(reply.message).status == HealthCheckResponse.SERVING


def manifest(kind: str, name: str, namespace: str = "", data: Mapping[str, str] | None = None) -> dict[str, object]:
    """Return a Namespace, or a ConfigMap in one, that is selected."""
    labels = NAMESPACE_LABELS if kind == "Namespace" else POLICY_LABELS
    metadata = {"name": name, "labels": labels, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **({} if data is None else {"data": dict(data)})}


@contextlib.contextmanager
def service(
    root: Path, port: int, policies: Mapping[tuple[str, str], str], issuers: str, more: Mapping[str, str] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run the service with documents by namespace and name, issuer profiles and ``more`` variables; its files go to ``root``.

    It is ready when the block begins.
    """
    (root / "policy").mkdir(parents=True)
    for namespace in {namespace for namespace, _ in policies} or {"team"}:
        inside = [manifest("ConfigMap", name, namespace, {"config.yaml": text}) for (of, name), text in policies.items() if of == namespace]
        content = {"apiVersion": "v1", "kind": "List", "items": [manifest("Namespace", namespace), *inside]}
        (root / "policy" / f"{namespace}.json").write_text(json.dumps(content))
    (root / "issuers.yaml").write_text(issuers)
    environment = {
        **os.environ,
        "GRPC_HOST": "127.0.0.1",
        "GRPC_PORT": str(port),
        "POLICY_SOURCE": "directory",
        "POLICY_DIRECTORY": str(root / "policy"),
        "TOKEN_EXCHANGE_ISSUER_PROFILES_FILE": str(root / "issuers.yaml"),
        "TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT": "true",
        "LOG_DECISIONS": "off",
        **(more or {}),
    }
    with running(SERVE, port, environment, SERVER_CORES) as process:
        while not is_serving(port):
            if process.poll() is not None:
                raise SystemExit("the service ended")
            time.sleep(0.05)
        yield process
