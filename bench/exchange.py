"""What an exchange costs the service, and a hit in its cache beside a denial: CPU time a call and latency.

Usage: python bench/exchange.py [--calls 6000] [--delay 0.0] [--cases 1x1,1x8,1x20,8x2] [--issuer 'tokenEndpointProtocol: http2'] [--store redis://127.0.0.1:6379]

Starts the service (`exchanger serve`, on the first core), and a token endpoint and the load on the others. A case is connections x streams.
Every call brings a token of its own ("exchange", and "kept", where the exchanged one is kept), one of 200 ("hit": after the first round all
are kept), or meets a denial ("denial").
``--issuer`` is added to the issuer's profile; ``--store`` shares cached tokens with it. Linux only, for the CPU time of another process.
"""

import argparse
import base64
import contextlib
import itertools
import os
import statistics
import tempfile
from pathlib import Path
from typing import Final

from service_load import OTHER_CORES, Outcome, closed_loop, cpu_seconds, free_port, message, service, token_endpoint  # beside this file

POLICY: Final = """
version: v1
entries:
  - {match: {host: api.example.com, pathPrefix: /exchange}, action: exchange, exchange: {issuerRef: bench, scope: "read"}}
  - {match: {host: api.example.com, pathPrefix: /hit}, action: exchange, exchange: {issuerRef: cached, scope: "read"}}
  - {match: {host: api.example.com, pathPrefix: /kept}, action: exchange, exchange: {issuerRef: keeping, scope: "read"}}
  - {match: {host: api.example.com, pathPrefix: /denial}, action: deny}
"""
USERS: Final = 200
CASES: Final = ("exchange", "kept", "hit", "denial")


def main() -> None:
    """Print a line for each case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=6000)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds that the token endpoint takes")
    parser.add_argument("--cases", default="1x1,1x8,1x20,8x2")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--issuer", default="", help="added to the issuer's profile")
    parser.add_argument("--store", default="", help="TOKEN_CACHE_URL")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        root, token_port, port = Path(folder), free_port(), free_port()
        common = f"tokenEndpoint: 'http://127.0.0.1:{token_port}/token', clientID: a, clientSecret: b"
        more = f", {options.issuer}" if options.issuer else ""
        keeps = f"{common}, cache: {{maxTTL: 1h, maxEntries: 1000}}"
        issuers = f"issuers:\n  - {{name: bench, {common}{more}}}\n  - {{name: cached, {keeps}}}\n  - {{name: keeping, {keeps}}}\n"
        stack.enter_context(token_endpoint(token_port, options.delay))
        shared: dict[str, str] = {}
        if options.store:
            (root / "keys").write_bytes(base64.b64encode(os.urandom(32)))
            shared = {"TOKEN_CACHE_URL": options.store, "TOKEN_CACHE_KEY_FILE": str(root / "keys")}
        pid = stack.enter_context(service(root, port, {("team", "policy"): POLICY}, issuers, shared)).pid
        os.sched_setaffinity(0, OTHER_CORES)
        numbers = itertools.count()

        def load(case: str, connections: int, streams: int, calls: int) -> list[float]:
            users = (number % USERS if case == "hit" else number for number in itertools.islice(numbers, calls))
            wanted: Outcome = "denied" if case == "denial" else "exchanged"
            return closed_loop(port, connections, streams, (message(f"/{case}/1", user) for user in users), wanted)

        for shape in options.cases.split(","):
            connections, streams = map(int, shape.split("x"))
            found: dict[str, list[tuple[float, float, float]]] = {}
            for case in CASES:
                load(case, connections, streams, 2 * USERS)
            for _ in range(options.rounds):
                for case in CASES:
                    before = cpu_seconds(pid)
                    took = sorted(load(case, connections, streams, options.calls))
                    cpu = (cpu_seconds(pid) - before) / options.calls * 1e6
                    found.setdefault(case, []).append((cpu, took[len(took) // 2] * 1e3, took[len(took) * 99 // 100] * 1e3))
            for case, rounds in found.items():
                cpu, p50, p99 = (statistics.median(each[at] for each in rounds) for at in range(3))
                print(f"{shape:>5} {case:8} {cpu:6.1f} µs CPU a call; p50 {p50:6.2f} ms, p99 {p99:6.2f} ms", flush=True)


if __name__ == "__main__":
    main()
