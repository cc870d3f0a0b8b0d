"""What an exchange costs the service, and a hit in its cache beside a denial: CPU time a call and latency.

Usage: python bench/exchange.py [--calls 6000] [--delay 0.0] [--cases 1x1,1x8,1x20,8x2] [--issuer 'tokenEndpointProtocol: http2']

Starts the service (`exchanger serve`, on the first core), and a token endpoint and the load on the others. A case is connections x streams.
Every call brings a token of its own ("exchange"), one of 200 ("hit": after the first round all are kept), or meets a denial ("denial").
``--issuer`` is added to the issuer's profile. Linux only, for the CPU time of another process.
"""

import argparse
import contextlib
import json
import os
import select
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, final

import attrs
import ngh2

from exchanger._proto.envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse

HEAD: Final = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":authority", b"localhost"),
    (b":path", b"/envoy.service.auth.v3.Authorization/Check"),
    (b"te", b"trailers"),
    (b"content-type", b"application/grpc"),
    (b"grpc-timeout", b"1S"),
]
POLICY: Final = """
version: v1
entries:
  - {match: {host: api.example.com, pathPrefix: /exchange}, action: exchange, exchange: {issuerRef: bench, scope: "read"}}
  - {match: {host: api.example.com, pathPrefix: /hit}, action: exchange, exchange: {issuerRef: cached, scope: "read"}}
  - {match: {host: api.example.com, pathPrefix: /denial}, action: deny}
"""
USERS: Final = 200
TOKEN: Final = "eyJhbGciOiJSUzI1NiJ9." + "x" * 850
ENDPOINT: Final = """
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


def message(case: str, number: int) -> bytes:
    """Return the framed CheckRequest of a call."""
    check = CheckRequest()
    http = check.attributes.request.http
    http.method, http.path, http.host, http.scheme = "GET", f"/{case}/1", "api.example.com", "https"
    token = f"{TOKEN}.{number % USERS if case == 'hit' else number:08}"
    for name, value in {":path": http.path, "authorization": f"Bearer {token}", "user-agent": "bench", "accept": "*/*"}.items():
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

    def flush(self) -> None:
        """Send what there is to send."""
        data = memoryview(self.http.data_to_send())
        while data:
            try:
                data = data[self.socket.send(data) :]
            except BlockingIOError:
                select.select([], [self.socket], [])


def load(port: int, case: str, connections: int, streams: int, numbers: Iterator[int], calls: int) -> list[float]:
    """Make ``calls`` calls, and return the seconds that each took."""
    took: list[float] = []
    left = calls
    by_socket: dict[int, Connection] = {}
    poll = select.epoll()

    def fill(it: Connection) -> None:
        nonlocal left
        while left and len(it.open) < streams:
            left -= 1
            stream = it.http.send_request(HEAD, end_stream=False)
            it.http.send_data(stream, message(case, next(numbers)), end_stream=True)
            it.open[stream] = (bytearray(), time.perf_counter())
        it.flush()

    with contextlib.ExitStack() as stack:
        for _ in range(connections):
            connected = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connected.setblocking(False)
            it = by_socket[connected.fileno()] = Connection(connected)
            it.http.initiate_connection()
            poll.register(connected.fileno(), select.EPOLLIN)
            fill(it)
        while len(took) < calls:
            for descriptor, _ in poll.poll(10):
                it = by_socket[descriptor]
                it.http.receive_data(it.socket.recv(1 << 18))
                for event in it.http.events():
                    if isinstance(event, ngh2.DataReceived):
                        it.open[event.stream_id][0].extend(event.data)
                    elif isinstance(event, ngh2.StreamClosed):
                        body, asked = it.open.pop(event.stream_id)
                        took.append(time.perf_counter() - asked)
                        if (CheckResponse.FromString(bytes(body[5:])).status.code == 0) == (case == "denial"):
                            raise SystemExit(f"{case}: a wrong answer")
                fill(it)
    return took


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process so far."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


@contextlib.contextmanager
def running(command: list[str], port: int, environment: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
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


def main() -> None:
    """Print a line for each case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=6000)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds that the token endpoint takes")
    parser.add_argument("--cases", default="1x1,1x8,1x20,8x2")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--issuer", default="", help="added to the issuer's profile")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        root, token_port, port = Path(folder), free_port(), free_port()
        (root / "policy").mkdir()
        meta = {"name": "policy", "namespace": "team", "labels": {"ext-authz-token-exchange.magneticflux.net/enabled": "true"}}
        namespace = {"name": "team", "labels": {"ext-authz-token-exchange.magneticflux.net/policy": "enabled"}}
        documents = [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": namespace},
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"config.yaml": POLICY}},
        ]
        (root / "policy" / "all.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": documents}))
        common = f"tokenEndpoint: 'http://127.0.0.1:{token_port}/token', clientID: a, clientSecret: b"
        more = f", {options.issuer}" if options.issuer else ""
        (root / "issuers.yaml").write_text(
            f"issuers:\n  - {{name: bench, {common}{more}}}\n  - {{name: cached, {common}, cache: {{maxTTL: 1h, maxEntries: 1000}}}}\n"
        )
        environment = {
            **os.environ,
            "GRPC_HOST": "127.0.0.1",
            "GRPC_PORT": str(port),
            "POLICY_SOURCE": "directory",
            "POLICY_DIRECTORY": str(root / "policy"),
            "TOKEN_EXCHANGE_ISSUER_PROFILES_FILE": str(root / "issuers.yaml"),
            "TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT": "true",
            "LOG_DECISIONS": "off",
        }
        stack.enter_context(running([sys.executable, "-c", ENDPOINT, str(token_port), str(options.delay)], token_port))
        service = stack.enter_context(running([sys.executable, "-m", "exchanger", "serve"], port, environment))
        os.sched_setaffinity(service.pid, {cores[0]})
        os.sched_setaffinity(0, set(cores[1:]) or {cores[0]})
        time.sleep(1)
        numbers = iter(range(1 << 30))
        for shape in options.cases.split(","):
            connections, streams = map(int, shape.split("x"))
            found: dict[str, list[tuple[float, float, float]]] = {}
            for case in ("exchange", "hit", "denial"):
                load(port, case, connections, streams, numbers, 2 * USERS)
            for _ in range(options.rounds):
                for case in ("exchange", "hit", "denial"):
                    before = cpu_seconds(service.pid)
                    took = sorted(load(port, case, connections, streams, numbers, options.calls))
                    cpu = (cpu_seconds(service.pid) - before) / options.calls * 1e6
                    found.setdefault(case, []).append((cpu, took[len(took) // 2] * 1e3, took[len(took) * 99 // 100] * 1e3))
            for case, rounds in found.items():
                cpu, p50, p99 = (statistics.median(each[at] for each in rounds) for at in range(3))
                print(f"{shape:>5} {case:8} {cpu:6.1f} µs CPU a call; p50 {p50:6.2f} ms, p99 {p99:6.2f} ms", flush=True)


if __name__ == "__main__":
    main()
