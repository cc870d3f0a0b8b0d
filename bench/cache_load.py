"""What the cache spares the token endpoint: users with many targets at a fixed rate.

Usage: python bench/cache_load.py [--rate 500] [--seconds 120] [--users 200] [--targets 10] [--lifetime 60] [--delay 0.02]

Prints every ten seconds, and at the end: token endpoint calls for a thousand requests, the hit rate, latency, and the service's memory.
Linux only.
"""

import argparse
import contextlib
import itertools
import json
import os
import random
import select
import socket
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Final

import ngh2
from exchange import ENDPOINT, HEAD, Connection, cpu_seconds, free_port, running  # beside this file

from exchanger._proto.envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse

TOKEN: Final = "eyJhbGciOiJSUzI1NiJ9." + "x" * 850
CONNECTIONS: Final = 4


def message(user: int, target: int) -> bytes:
    """Return the framed CheckRequest of a user for a target."""
    check = CheckRequest()
    http = check.attributes.request.http
    http.method, http.path, http.host, http.scheme = "GET", f"/target-{target}/1", "api.example.com", "https"
    for name, value in {":path": http.path, "authorization": f"Bearer {TOKEN}.{user:08}", "user-agent": "bench"}.items():
        http.headers[name] = value
    data = check.SerializeToString()
    return b"\0" + len(data).to_bytes(4, "big") + data


def policy(targets: int) -> str:
    """Return a policy with an audience for each target."""
    entries = [
        f"  - {{match: {{host: api.example.com, pathPrefix: /target-{number}}}, action: exchange, "
        f"exchange: {{issuerRef: bench, audiences: [target-{number}]}}}}"
        for number in range(targets)
    ]
    return "\n".join(("version: v1", "entries:", *entries, ""))


def calls_so_far(port: int) -> int:
    """Return the token endpoint calls that the service counts."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        text = answer.read().decode()
    lines = [line for line in text.splitlines() if line.startswith("ext_authz_token_exchange_requests_total{")]
    return round(sum(float(line.rpartition(" ")[2]) for line in lines))


def resident_mib(pid: int) -> float:
    """Return the memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def prepare(root: Path, options: argparse.Namespace, token_port: int) -> None:
    """Write policy and issuers into ``root``."""
    (root / "policy").mkdir()
    meta = {"name": "policy", "namespace": "team", "labels": {"ext-authz-token-exchange.magneticflux.net/enabled": "true"}}
    namespace = {"name": "team", "labels": {"ext-authz-token-exchange.magneticflux.net/policy": "enabled"}}
    documents = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": namespace},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"config.yaml": policy(options.targets)}},
    ]
    (root / "policy" / "all.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": documents}))
    (root / "issuers.yaml").write_text(
        f"issuers:\n  - {{name: bench, tokenEndpoint: 'http://127.0.0.1:{token_port}/token', clientID: a, clientSecret: b, "
        f"cache: {{maxTTL: {options.lifetime}s, maxEntries: 10000}}}}\n"
    )


def main() -> None:
    """Load the service, and print what it did."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in {"rate": 500, "seconds": 120, "users": 200, "targets": 10, "lifetime": 60}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--delay", type=float, default=0.02, help="seconds that the token endpoint takes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        root, token_port, port, metrics_port = Path(folder), free_port(), free_port(), free_port()
        prepare(root, options, token_port)
        environment = {
            **os.environ,
            "GRPC_HOST": "127.0.0.1",
            "GRPC_PORT": str(port),
            "POLICY_SOURCE": "directory",
            "POLICY_DIRECTORY": str(root / "policy"),
            "TOKEN_EXCHANGE_ISSUER_PROFILES_FILE": str(root / "issuers.yaml"),
            "TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT": "true",
            "METRICS_ENABLED": "true",
            "METRICS_PORT": str(metrics_port),
            "LOG_DECISIONS": "off",
        }
        stack.enter_context(running([sys.executable, "-c", ENDPOINT, str(token_port), str(options.delay)], token_port))
        service = stack.enter_context(running([sys.executable, "-m", "exchanger", "serve"], port, environment))
        time.sleep(1)
        by_socket: dict[int, Connection] = {}
        poll = select.epoll()
        for _ in range(CONNECTIONS):
            connected = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connected.setblocking(False)
            it = by_socket[connected.fileno()] = Connection(connected)
            it.http.initiate_connection()
            it.flush()
            poll.register(connected.fileno(), select.EPOLLIN)
        turns, took, sent = itertools.cycle(by_socket.values()), list[float](), 0
        begin = shown = time.perf_counter()
        cpu, before = cpu_seconds(service.pid), 0
        while (now := time.perf_counter()) < begin + options.seconds or any(it.open for it in by_socket.values()):
            while sent < (min(now, begin + options.seconds) - begin) * options.rate:
                it = next(turns)
                stream = it.http.send_request(HEAD, end_stream=False)
                data = message(random.randrange(options.users), random.randrange(options.targets))  # noqa: S311 - a load
                it.http.send_data(stream, data, end_stream=True)
                it.open[stream] = (bytearray(), time.perf_counter())
                it.flush()
                sent += 1
            for descriptor, _ in poll.poll(0.002):
                it = by_socket[descriptor]
                it.http.receive_data(it.socket.recv(1 << 18))
                for event in it.http.events():
                    if isinstance(event, ngh2.DataReceived):
                        it.open[event.stream_id][0].extend(event.data)
                    elif isinstance(event, ngh2.StreamClosed):
                        body, asked = it.open.pop(event.stream_id)
                        took.append(time.perf_counter() - asked)
                        if CheckResponse.FromString(bytes(body[5:])).status.code:
                            raise SystemExit("a request was denied")
                it.flush()
            if now >= shown + 10:
                shown, calls = now, calls_so_far(metrics_port)
                print(f"{now - begin:4.0f} s: {calls - before:6} calls, {resident_mib(service.pid):6.1f} MiB", flush=True)
                before = calls
        calls, took = calls_so_far(metrics_port), sorted(took)
        cpu = (cpu_seconds(service.pid) - cpu) / len(took) * 1e6
        print(
            f"{len(took)} requests, {calls / len(took) * 1000:.0f} calls for 1,000 of them ({1 - calls / len(took):.1%} without one); "
            f"p50 {took[len(took) // 2] * 1e3:.2f} ms, p99 {took[len(took) * 99 // 100] * 1e3:.2f} ms; {cpu:.0f} µs CPU each"
        )


if __name__ == "__main__":
    main()
