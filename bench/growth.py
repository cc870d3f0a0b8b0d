"""What the service costs as policies grow, from 10 to 100,000 ConfigMaps and from 1 to 1,000 namespaces.

Usage: python bench/growth.py [--times 3] [--sizes 10,100,1000,10000,100000] [--namespaces 1,10,100,1000] [--calls 5000] [--edits 20]
                              [--out FILE] [--write]

Every ConfigMap has one entry. ``--sizes`` are spread over namespaces of a hundred; ``--namespaces`` share ``--spread``. For each, the
service starts ``--times`` times beside a simulated API server (api_server.py): seconds until all decides, its CPU time, and its memory
then and at its highest. The last one is asked by h2load over eight connections: CPU time of a decision that an entry makes, and of one that
none makes. Then one ConfigMap is changed ``--edits`` times: milliseconds from the event until the first answer by it.

Raw data goes to ``--out`` as JSON, the table to standard output; ``--write`` writes both, and the plot, into the documentation. Needs Linux
and h2load (Debian: nghttp2-client).
"""

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs
import report  # beside this file
from api_server import Objects, api_server  # beside this file
from service_load import (  # beside this file
    SERVE,
    SERVER_CORES,
    closed_loop,
    connected,
    cpu_seconds,
    free_port,
    h2load,
    is_serving,
    memory_mib,
    message,
    outcome_of,
    running,
)

# Seconds for a start; the largest takes half a minute.
START_S: Final = 300.0
# Seconds between two questions whether it serves.
LOOK_S: Final = 0.05
# The same as a part of what the start has taken: looking costs the service some milliseconds.
LOOK_AGAIN: Final = 0.01
# Seconds until an edit has to be active.
EDIT_S: Final = 60.0
# Entries that are asked for whether everything is active.
SAMPLE: Final = 50
CONNECTIONS, STREAMS = 8, 2
ISSUERS: Final = "issuers:\n- {name: bench, tokenEndpoint: 'https://issuer.invalid/token', clientID: a, clientSecret: b}\n"


def document(number: int, path: str = "/orders") -> dict[str, str]:
    """Return the data of a ConfigMap: a denial for its host."""
    return {"config.yaml": f"version: v1\nentries:\n- match: {{host: app{number}.example.com, pathPrefix: {path}}}\n  action: deny\n"}


def fill(objects: Objects, entries: int, namespaces: int) -> None:
    """Replace everything by ``entries`` ConfigMaps in ``namespaces``."""
    objects.remove_all()
    for number in range(namespaces):
        objects.put(f"team-{number}")
    for number in range(entries):
        objects.put(f"policy-{number}", f"team-{number % namespaces}", document(number))


@attrs.define(eq=False)
class Point:
    """A number of ConfigMaps in a number of namespaces; each figure is a list of as many as there were measurements."""

    entries: int
    namespaces: int
    start_s: list[float] = attrs.field(factory=list)
    start_cpu_s: list[float] = attrs.field(factory=list)
    memory_mib: list[float] = attrs.field(factory=list)
    highest_mib: list[float] = attrs.field(factory=list)
    hit_us: list[float] = attrs.field(factory=list)
    miss_us: list[float] = attrs.field(factory=list)
    edit_ms: list[float] = attrs.field(factory=list)


def is_active(point: Point, port: int) -> bool:
    """Return whether entries from all over the policy decide. A namespace that takes long is read after the others, beside decisions."""
    with connected(port, 1) as to_service:
        (it,) = to_service.by_socket.values()
        for number in range(0, point.entries, max(1, point.entries // SAMPLE)):
            it.ask(message("/orders/1", host=f"app{number}.example.com"))
        it.flush()
        outcomes: list[str] = []
        while it.open:
            for ready in to_service.ready(EDIT_S):
                outcomes += [outcome_of(answer) for answer, _ in ready.answers()]
        return set(outcomes) == {"denied"}


@contextlib.contextmanager
def started(point: Point, kubeconfig: Path, port: int) -> Iterator[int]:
    """Start the service, note what that took, and give its process."""
    (kubeconfig.parent / "issuers.yaml").write_text(ISSUERS)
    environment = {
        **os.environ,
        "GRPC_HOST": "127.0.0.1",
        "GRPC_PORT": str(port),
        "KUBECONFIG": str(kubeconfig),
        "POD_NAMESPACE": "bench",
        "TOKEN_EXCHANGE_ISSUER_PROFILES_FILE": str(kubeconfig.parent / "issuers.yaml"),
        "LOG_DECISIONS": "off",
    }
    began = time.perf_counter()
    with running(SERVE, port, environment, SERVER_CORES) as process:
        while not (is_serving(port) and is_active(point, port)):
            if process.poll() is not None or time.perf_counter() - began > START_S:
                raise SystemExit("the service did not start")
            time.sleep(max(LOOK_S, (time.perf_counter() - began) * LOOK_AGAIN))
        point.start_s.append(round(time.perf_counter() - began, 3))
        point.start_cpu_s.append(round(cpu_seconds(process.pid), 3))
        for figures, size in zip((point.memory_mib, point.highest_mib), memory_mib(process.pid), strict=True):
            figures.append(round(size, 1))
        yield process.pid


def decide(port: int, pid: int, request: Path, calls: int, host: str, *, denied: bool) -> float:
    """Return the CPU time of a decision in µs."""
    data = message("/orders/1", host=host)
    closed_loop(port, 1, 1, [data], "denied" if denied else "allowed")
    request.write_bytes(data)
    before = cpu_seconds(pid)
    h2load(port, request, calls, CONNECTIONS, STREAMS)
    return round((cpu_seconds(pid) - before) / calls * 1e6, 2)


def edit(objects: Objects, port: int, number: int, namespaces: int, edits: int) -> Iterator[float]:
    """Change a ConfigMap again and again; yield the milliseconds until each change decides."""
    with connected(port, 1) as to_service:
        (it,) = to_service.by_socket.values()
        for edition in range(edits):
            path = f"/edition-{edition}-"
            data = message(path, host=f"app{number}.example.com")
            began = time.perf_counter()
            objects.put(f"policy-{number}", f"team-{number % namespaces}", document(number, path))
            outcome = ""
            while outcome != "denied":
                if time.perf_counter() - began > EDIT_S:
                    raise SystemExit("an edit is not active")
                it.ask(data)
                it.flush()
                while it.open:
                    for ready in to_service.ready(EDIT_S):
                        outcome = next((outcome_of(answer) for answer, _ in ready.answers()), outcome)
            yield round((time.perf_counter() - began) * 1000, 2)


def measure(point: Point, objects: Objects, kubeconfig: Path, options: argparse.Namespace) -> None:
    """Measure one point."""
    fill(objects, point.entries, point.namespaces)
    port, middle = free_port(), point.entries // 2
    for number in range(options.times):
        with started(point, kubeconfig, port) as pid:
            if number + 1 < options.times:
                continue
            for _ in range(options.times):
                request = kubeconfig.with_name("request")
                point.hit_us.append(decide(port, pid, request, options.calls, f"app{middle}.example.com", denied=True))
                point.miss_us.append(decide(port, pid, request, options.calls, "other.example.com", denied=False))
            point.edit_ms.extend(edit(objects, port, middle, point.namespaces, options.edits))


def main() -> None:
    """Measure, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--sizes", default="10,100,1000,10000,100000")
    parser.add_argument("--namespaces", default="1,10,100,1000")
    parser.add_argument("--spread", type=int, default=10_000, help="the ConfigMaps that --namespaces share")
    parser.add_argument("--calls", type=int, default=5_000)
    parser.add_argument("--edits", type=int, default=20)
    parser.add_argument("--out", type=Path, help="where the raw data goes")
    parser.add_argument("--write", action="store_true", help="write data, table and plot into the documentation")
    options = parser.parse_args()
    sizes, namespaces = ([int(number) for number in text.split(",") if number] for text in (options.sizes, options.namespaces))
    places = {(size, report.namespaces_for(size)) for size in sizes} | {(options.spread, number) for number in namespaces}
    points = [Point(*place) for place in sorted(places)]
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, api_server(Path(folder)) as (objects, kubeconfig):
        for point in points:
            measure(point, objects, kubeconfig, options)
            print(f"{point.entries} ConfigMaps in {point.namespaces} namespaces: {point.start_s} s", file=sys.stderr, flush=True)
    data = report.growth(map(attrs.asdict, points), report.own_versions(), {"times": options.times, "calls": options.calls})
    report.keep(data, report.GROWTH, options.out, in_page=options.write)
    print(report.growth_table(data))
    print(f"{(time.perf_counter() - began) / 60:.1f} minutes", file=sys.stderr)


if __name__ == "__main__":
    main()
