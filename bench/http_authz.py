"""What a decision costs the service over HTTP, beside gRPC: CPU time of the process, in turns, with h2load on connections kept open.

    python bench/http_authz.py [--connections 8] [--calls 4000] [--turns 5]

Needs Linux and h2load (Debian: nghttp2-client). With fewer than three cores the load takes time from the service; CPU time then says more
than a rate.
"""

import argparse
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from service_load import HOST, OTHER_CORES, cpu_seconds, free_port, h2load, placed, service, token_endpoint  # beside this file

from exchanger._proto.envoy.service.auth.v3.external_auth_pb2 import CheckRequest

_POLICY: Final = f"""
version: v1
entries:
- match: {{host: {HOST}, pathPrefix: /exchanged}}
  action: exchange
  exchange: {{issuerRef: bench, scope: read}}
- match: {{host: {HOST}, pathPrefix: /denied}}
  action: deny
"""
_PATHS: Final = ("/denied", "/unmatched", "/exchanged")
_HEADERS: Final = {
    "accept": "*/*",
    "x-request-id": "7f6f1c6e-5f0e-4d1e-8d0a-1d7d6d7a2f10",
    "x-forwarded-proto": "https",
    "authorization": "Bearer eyJhbGciOiJSUzI1NiJ9." + "x" * 850,
}


def check(path: str) -> bytes:
    """Return the message of gRPC that asks about ``path``."""
    request = CheckRequest()
    http = request.attributes.request.http
    http.method, http.path, http.host, http.scheme = "GET", path, HOST, "https"
    for name, value in _HEADERS.items():
        http.headers[name] = value
    data = request.SerializeToString()
    return b"\0" + len(data).to_bytes(4, "big") + data


def ask_by_http(port: int, path: str, calls: int, connections: int) -> None:
    """Ask about ``path`` as Traefik does."""
    stating = {"x-forwarded-method": "GET", "x-forwarded-host": HOST, "x-forwarded-uri": path}
    headers = [part for name, value in (_HEADERS | stating).items() for part in ("-H", f"{name}: {value}")]
    command = ("h2load", "--h1", "-n", str(calls), "-c", str(connections), *headers, f"http://127.0.0.1:{port}/forward-auth")
    with placed(OTHER_CORES):
        done = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    wanted = f"{calls} 4xx" if path == "/denied" else f"{calls} 2xx"
    if f" {wanted}" not in done:
        raise SystemExit(f"wrong answers:\n{done}")


def main() -> None:
    """Measure, and print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=8, help="each with one request at a time (default: 8)")
    parser.add_argument("--calls", type=int, default=4000, help="in one turn (default: 4000)")
    parser.add_argument("--turns", type=int, default=5, help="of each protocol (default: 5)")
    options = parser.parse_args()
    grpc_port, http_port, token_port = free_port(), free_port(), free_port()
    endpoint = f"http://127.0.0.1:{token_port}/token"
    issuers = f"issuers:\n- {{name: bench, tokenEndpoint: '{endpoint}', clientID: a, clientSecret: b}}\n"
    more = {"HTTP_AUTHZ_PORT": str(http_port)}
    with (
        tempfile.TemporaryDirectory() as folder,
        token_endpoint(token_port, 0.0),
        service(Path(folder) / "service", grpc_port, {("team", "policy"): _POLICY}, issuers, more) as process,
    ):
        for path in _PATHS:
            message = Path(folder) / "message"
            message.write_bytes(check(path))
            asking: dict[str, Callable[[], object]] = {
                "gRPC": partial(h2load, grpc_port, message, options.calls, options.connections, 1),
                "HTTP": partial(ask_by_http, http_port, path, options.calls, options.connections),
            }
            took: dict[str, list[float]] = {protocol: [] for protocol in asking}
            for turn in range(options.turns + 1):
                for protocol, ask in asking.items():
                    before = cpu_seconds(process.pid)
                    ask()
                    if turn:  # the first one warms up
                        took[protocol].append((cpu_seconds(process.pid) - before) / options.calls * 1e6)
            grpc, http = (statistics.median(took[protocol]) for protocol in asking)
            print(f"{path}: {grpc:.0f} µs over gRPC, {http:.0f} µs over HTTP, {http / grpc:.2f} times as much", flush=True)


if __name__ == "__main__":
    main()
