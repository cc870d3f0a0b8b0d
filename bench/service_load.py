"""What benchmarks of exchanges share: the service as a process, a token endpoint, and connections that ask it. Linux only."""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, final

import attrs
import ngh2

from exchanger._proto.envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse

_HEAD: Final = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":authority", b"localhost"),
    (b":path", b"/envoy.service.auth.v3.Authorization/Check"),
    (b"te", b"trailers"),
    (b"content-type", b"application/grpc"),
    (b"grpc-timeout", b"1S"),
]
_TOKEN: Final = "eyJhbGciOiJSUzI1NiJ9." + "x" * 850
_ENDPOINT: Final = """
import asyncio, sys
KIND = b"urn:ietf:params:oauth:token-type:access_token"
BODY = b'{"access_token":"%b","token_type":"Bearer","expires_in":3600,"issued_token_type":"%b"}' % (b"y" * 900, KIND)
ANSWER = b"HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(BODY) + BODY
class Serving(asyncio.Protocol):
    data = b""
    def connection_made(self, transport): self.transport = transport
    def data_received(self, data):
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


def message(path: str, user: int) -> bytes:
    """Return the framed CheckRequest of a user for ``path``."""
    check = CheckRequest()
    http = check.attributes.request.http
    http.method, http.path, http.host, http.scheme = "GET", path, "api.example.com", "https"
    for name, value in {":path": path, "authorization": f"Bearer {_TOKEN}.{user:08}", "user-agent": "bench", "accept": "*/*"}.items():
        http.headers[name] = value
    data = check.SerializeToString()
    return b"\0" + len(data).to_bytes(4, "big") + data


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


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process so far."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


@contextlib.contextmanager
def _running(command: list[str], port: int, environment: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``command`` until the block ends; it listens on ``port`` when the block begins."""
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def token_endpoint(port: int, delay: float) -> contextlib.AbstractContextManager[object]:
    """Run a token endpoint that answers after ``delay`` seconds."""
    return _running([sys.executable, "-c", _ENDPOINT, str(port), str(delay)], port)


def service(
    root: Path, port: int, policy: str, issuers: str, more: Mapping[str, str] | None = None
) -> contextlib.AbstractContextManager["subprocess.Popen[bytes]"]:
    """Run the service with ``policy``, the document ``issuers`` and ``more`` variables; its files go to ``root``."""
    (root / "policy").mkdir()
    meta = {"name": "policy", "namespace": "team", "labels": {"ext-authz-token-exchange.magneticflux.net/enabled": "true"}}
    namespace = {"name": "team", "labels": {"ext-authz-token-exchange.magneticflux.net/policy": "enabled"}}
    documents = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": namespace},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"config.yaml": policy}},
    ]
    (root / "policy" / "all.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": documents}))
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
    return _running([sys.executable, "-m", "exchanger", "serve"], port, environment)
