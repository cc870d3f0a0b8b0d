"""What the start of ``exchanger serve`` costs beside a real API server with many policies. Needs etcd and kube-apiserver (.ci/tools.py).

Usage: python bench/kube_start.py [--sizes 2500 5000 10000] [--times 3] [--pages]

For each number of ConfigMaps, in a tenth as many Namespaces: seconds from the process's start until the first version is published, its CPU
time and memory by then, and the requests that it made, as the API server's audit log has them. ``--pages``: the server offers no initial
events in watches, so that everything is listed. The median of all times counts; requests must be the same each time.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import Final

import attrs

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.e2e.service import ISSUERS, environment
from tests.kube.admin import READ_POLICY
from tests.kube.cluster import deny
from tests.kube.control_plane import ControlPlane, find_programs, running
from tests.ports import free_port

# Seconds for a start; the largest takes two.
START_S: Final = 120.0
# Seconds in which a request that is not part of the start may still come, and is counted.
AFTERWARDS_S: Final = 3.0
USER: Final = "system:serviceaccount:default:bench"
AUDIT_POLICY: Final = f"""
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [ResponseStarted, ResponseComplete, Panic]
rules:
- {{level: Metadata, users: ["{USER}"]}}
- {{level: None}}
"""


@attrs.frozen
class Start:
    """Seconds, seconds of CPU, memory in MiB (resident, and at its highest), and how many requests of each kind there were."""

    seconds: float
    cpu: float
    resident: float
    highest: float
    requests: tuple[tuple[str, int], ...]


@contextlib.contextmanager
def audited(folder: Path, *flags: str) -> Generator[tuple[ControlPlane, Path]]:
    """Run a control plane that writes down each request of the service."""
    programs = find_programs()
    if programs is None:
        raise SystemExit("etcd and kube-apiserver are not built: python3 .ci/tools.py etcd kube-apiserver")
    policy, log = folder / "audit.yaml", folder / "audit.log"
    policy.write_text(AUDIT_POLICY)
    (folder / "lab").mkdir()
    with running(folder / "lab", f"--audit-policy-file={policy}", f"--audit-log-path={log}", *flags, programs=programs) as plane:
        yield plane, log


def fill(plane: ControlPlane, before: int, size: int) -> None:
    """Add ConfigMaps of one entry until there are ``size``, ten in each Namespace."""
    for number in range(before, size):
        namespace = f"team-{number // 10}"
        if number % 10 == 0:
            plane.admin.put_namespace(namespace)
        plane.admin.put_config_map(namespace, f"policy-{number % 10}", deny(f"/{number}/"))


def start(plane: ControlPlane, audit: Path, folder: Path) -> Start:
    """Start the service once, and end it."""
    written = audit.stat().st_size if audit.exists() else 0
    (folder / "issuers.yaml").write_text(ISSUERS)
    log = folder / "log"
    variables = environment(
        folder, GRPC_PORT=str(free_port()), POLICY_SOURCE="kubernetes", KUBECONFIG=str(plane.folder / "bench"), POD_NAMESPACE="default"
    )
    with log.open("wb") as output:
        began = time.perf_counter()
        process = subprocess.Popen([sys.executable, "-m", "exchanger", "serve"], env=variables, stdout=output, stderr=subprocess.STDOUT)
    try:
        while b'"policy.published"' not in log.read_bytes():
            if process.poll() is not None or time.perf_counter() - began > START_S:
                raise SystemExit(log.read_text())
            time.sleep(0.005)
        took = time.perf_counter() - began
        cpu = _cpu_of(process.pid)
        memory = dict(line.split(":", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
        resident, highest = (int(memory[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))
        time.sleep(AFTERWARDS_S)
    finally:
        process.terminate()
        process.wait()
    return Start(took, cpu, resident, highest, _requests(audit, written))


def _cpu_of(pid: int) -> float:
    # https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html: fields 14 and 15, counted behind the name, which may have spaces
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _requests(audit: Path, written: int) -> tuple[tuple[str, int], ...]:
    with audit.open() as file:
        file.seek(written)
        seen = [json.loads(line) for line in file]
    return tuple(sorted(Counter(f"{one['verb']} {one.get('objectRef', {}).get('resource', one['requestURI'])}" for one in seen).items()))


def report(size: int, starts: list[Start]) -> None:
    """Print the medians."""
    seconds, cpu, resident, highest = (
        statistics.median(getattr(one, name) for one in starts) for name in ("seconds", "cpu", "resident", "highest")
    )
    if len({one.requests for one in starts}) > 1:
        print(f"  requests differ: {[one.requests for one in starts]}")
    requests = ", ".join(f"{count} {kind}" for kind, count in starts[0].requests)
    print(
        f"{size:6} ConfigMaps: first version after {seconds:.2f} s ({min(one.seconds for one in starts):.2f} at best), "
        f"CPU {cpu:.2f} s, memory {resident:.0f} MiB ({highest:.0f} at its highest), requests: {requests}",
        flush=True,
    )


def main() -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[2_500, 5_000, 10_000])
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--pages", action="store_true")
    options = parser.parse_args()
    flags = ("--feature-gates=WatchList=false",) if options.pages else ()
    with tempfile.TemporaryDirectory() as name, audited(Path(name), *flags) as (plane, audit):
        plane.kubeconfig("bench", token=plane.admin.put_service_account("bench", READ_POLICY))
        there = 0
        for size in sorted(options.sizes):
            fill(plane, there, size)
            there = size
            report(size, [start(plane, audit, Path(name)) for _ in range(options.times)])
    return 0


if __name__ == "__main__":
    sys.exit(main())
