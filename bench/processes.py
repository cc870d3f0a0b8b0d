"""What several processes of the service cost, compared with one: CPU time, memory, and token requests with and without a shared cache.

Usage: python bench/processes.py [--processes 1,2] [--calls 5000] [--users 200] [--rounds 3]

Each of the users asks once at each process, as they do over time behind one Envoy cluster; then CPU time of denials and of cached tokens is
measured, a call to each process in turn. Memory is the sum of proportional shares (PSS), so that what processes share counts once. The
shared cache is a Redis or Valkey server started here (Debian: redis-server); without one, that part is left out. Linux only.
"""

import argparse
import base64
import contextlib
import itertools
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Final

from cache_load import calls_so_far  # beside this file
from service_load import Outcome, closed_loop, cpu_seconds, free_port, message, running, service, token_endpoint  # beside this file

POLICY: Final = """
version: v1
entries:
  - {match: {host: api.example.com, pathPrefix: /kept}, action: exchange, exchange: {issuerRef: bench, scope: read}}
  - {match: {host: api.example.com, pathPrefix: /denied}, action: deny}
"""


def shared_mib(pid: int) -> float:
    """Return a process's memory, with its part of what it shares."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def measure(folder: Path, processes: int, store: str | None, options: argparse.Namespace) -> str:
    """Return a line about ``processes``, with the shared cache ``store`` or without one."""
    with contextlib.ExitStack() as stack:
        token_port = free_port()
        stack.enter_context(token_endpoint(token_port, 0.0))
        profile = f"name: bench, tokenEndpoint: 'http://127.0.0.1:{token_port}/token', clientID: a, clientSecret: b"
        issuers = f"issuers:\n- {{{profile}, cache: {{maxTTL: 1h, maxEntries: 1000}}}}\n"
        more = {"METRICS_ENABLED": "true", "METRICS_HOST": "127.0.0.1"}
        if store is not None:
            (folder / "keys").write_bytes(base64.b64encode(bytes(range(32))) + b"\n")
            more |= {"TOKEN_CACHE_URL": store, "TOKEN_CACHE_KEY_FILE": str(folder / "keys"), "TOKEN_CACHE_NAMESPACE": f"of-{processes}"}
        ports = [free_port() for _ in range(processes)]
        metrics = [free_port() for _ in range(processes)]
        pids: list[int] = []
        for port, scraped in zip(ports, metrics, strict=True):
            variables = {**more, "METRICS_PORT": str(scraped)}
            pids.append(stack.enter_context(service(folder / str(port), port, {("team", "policy"): POLICY}, issuers, variables)).pid)
        for port in ports:
            closed_loop(port, 1, 4, (message("/kept", user) for user in range(options.users)), "exchanged")
        calls = sum(map(calls_so_far, metrics))
        taken: dict[Outcome, list[float]] = {"denied": [], "exchanged": []}
        for _, (wanted, figures) in itertools.product(range(options.rounds), taken.items()):
            before = sum(map(cpu_seconds, pids))
            for port in ports:
                path = "/denied" if wanted == "denied" else "/kept"
                closed_loop(port, 4, 4, (message(path, number % options.users) for number in range(options.calls)), wanted)
            figures.append((sum(map(cpu_seconds, pids)) - before) / options.calls / processes * 1e6)
        denied, kept = (statistics.median(figures) for figures in taken.values())
        memory = sum(map(shared_mib, pids))
        cache = "its own memory" if store is None else "a shared cache"
        return (
            f"{processes} with {cache}: {calls} token requests for {options.users} users; CPU a denial {denied:.0f} µs, "
            f"a cached token {kept:.0f} µs; memory {memory:.0f} MiB"
        )


def main() -> None:
    """Print a line for each number of processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", default="1,2")
    parser.add_argument("--calls", type=int, default=5_000)
    parser.add_argument("--users", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    redis = shutil.which("redis-server") or shutil.which("valkey-server")
    for processes in map(int, options.processes.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            print(measure(Path(folder), processes, None, options), flush=True)
        if redis is not None:
            with tempfile.TemporaryDirectory() as folder:
                port = free_port()
                with running((redis, "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", folder), port):
                    print(measure(Path(folder), processes, f"redis://127.0.0.1:{port}", options), flush=True)


if __name__ == "__main__":
    main()
