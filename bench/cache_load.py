"""What the cache spares the token endpoint: users with many targets at a fixed rate.

Usage: python bench/cache_load.py [--rate 500] [--seconds 120] [--users 200] [--targets 10] [--lifetime 60] [--delay 0.02]

Prints every ten seconds, and at the end: token endpoint calls for a thousand requests, the hit rate, latency, and the service's memory.
Linux only.
"""

import argparse
import contextlib
import itertools
import random
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Final

from service_load import connected, cpu_seconds, described, free_port, memory_mib, message, service, token_endpoint  # beside this file

CONNECTIONS: Final = 4


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


def main() -> None:
    """Load the service, and print what it did."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in {"rate": 500, "seconds": 120, "users": 200, "targets": 10, "lifetime": 60}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--delay", type=float, default=0.02, help="seconds that the token endpoint takes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        root, token_port, port, metrics_port = Path(folder), free_port(), free_port(), free_port()
        issuers = (
            f"issuers:\n  - {{name: bench, tokenEndpoint: 'http://127.0.0.1:{token_port}/token', clientID: a, clientSecret: b, "
            f"cache: {{maxTTL: {options.lifetime}s, maxEntries: 10000}}}}\n"
        )
        stack.enter_context(token_endpoint(token_port, options.delay))
        metrics = {"METRICS_ENABLED": "true", "METRICS_PORT": str(metrics_port)}
        pid = stack.enter_context(service(root, port, {("team", "policy"): policy(options.targets)}, issuers, metrics)).pid
        to_service = stack.enter_context(connected(port, CONNECTIONS))
        turns, took, sent = itertools.cycle(to_service.by_socket.values()), list[float](), 0
        begin = shown = time.perf_counter()
        cpu, before = cpu_seconds(pid), 0
        while (now := time.perf_counter()) < begin + options.seconds or any(it.open for it in to_service.by_socket.values()):
            while sent < (min(now, begin + options.seconds) - begin) * options.rate:
                it = next(turns)
                it.ask(message(f"/target-{random.randrange(options.targets)}/1", random.randrange(options.users)))  # noqa: S311 - a load
                it.flush()
                sent += 1
            for it in to_service.ready(0.002):
                for answer, seconds in it.answers():
                    took.append(seconds)
                    if not answer.HasField("ok_response"):
                        raise SystemExit(f"a wrong answer {described(answer, seconds)}")
                it.flush()
            if now >= shown + 10:
                shown, calls = now, calls_so_far(metrics_port)
                print(f"{now - begin:4.0f} s: {calls - before:6} calls, {memory_mib(pid)[0]:6.1f} MiB", flush=True)
                before = calls
        calls, took = calls_so_far(metrics_port), sorted(took)
        cpu = (cpu_seconds(pid) - cpu) / len(took) * 1e6
        print(
            f"{len(took)} requests, {calls / len(took) * 1000:.0f} calls for 1,000 of them ({1 - calls / len(took):.1%} without one); "
            f"p50 {took[len(took) // 2] * 1e3:.2f} ms, p99 {took[len(took) * 99 // 100] * 1e3:.2f} ms; {cpu:.0f} µs CPU each"
        )


if __name__ == "__main__":
    main()
