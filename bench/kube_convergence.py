"""How long an edit in a real cluster takes to be active, and a thousand at once. Needs etcd and kube-apiserver (.ci/tools.py).

Usage: python bench/kube_convergence.py [--edits 300] [--many 1000]

etcd, kube-apiserver and the source run on loopback. An edit counts from the API server's answer to it until the version that has it is
published.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import trio

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from exchanger.sources.kube.api.client import ClusterConfigSource, connect
from exchanger.sources.kube.api.resource import PolicyListWatches
from tests.sources.kube.cluster import Record, deny
from tests.sources.kube.control_plane import ADMIN_TOKEN, ControlPlane, find_programs, running
from tests.sources.kube.test_source_control_plane import settings


async def follow(plane: ControlPlane, edits: int, many: int) -> None:
    """Make the edits one after the other, and print how long each was on its way; then all the others at once."""
    record = Record()
    kubeconfig = str(plane.kubeconfig("kubeconfig", token=ADMIN_TOKEN))
    async with (
        connect(ClusterConfigSource(kubeconfig=kubeconfig, environment={}, token_file="")) as connection,
        trio.open_nursery() as nursery,
    ):
        source = record.source(settings(), PolicyListWatches(connection))
        await nursery.start(source.run)
        took = []
        for number in range(edits):
            path = f"/edit/{number}/"
            await trio.to_thread.run_sync(plane.admin.put_config_map, "team", "edited", deny(path))
            started = time.perf_counter()
            while not record.denies(path):  # noqa: ASYNC110 - looking costs less than telling
                await trio.sleep(0.001)
            took.append((time.perf_counter() - started) * 1000)
        took.sort()
        print(f"{edits} edits: p50 {statistics.median(took):.0f} ms, p99 {took[int(len(took) * 0.99)]:.0f} ms, max {took[-1]:.0f} ms")
        versions, started = len(record.snapshots), time.perf_counter()

        def put_all() -> None:
            for number in range(many):
                plane.admin.put_config_map("team", f"many-{number}", deny(f"/many/{number}/"))

        await trio.to_thread.run_sync(put_all)
        written = time.perf_counter()
        while not all(record.denies(f"/many/{number}/") for number in range(many)):  # noqa: ASYNC110 - as above
            await trio.sleep(0.005)
        late = (time.perf_counter() - written) * 1000
        count = len(record.snapshots) - versions
        print(f"{many} at once: written in {written - started:.1f} s, active {late:.0f} ms after the last one, {count} versions")
        nursery.cancel_scope.cancel()


def main() -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edits", type=int, default=300)
    parser.add_argument("--many", type=int, default=1000)
    options = parser.parse_args()
    programs = find_programs()
    if programs is None:
        print("etcd and kube-apiserver are not built: python3 .ci/tools.py etcd kube-apiserver", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), programs=programs) as plane:
        plane.admin.put_namespace("team")
        trio.run(follow, plane, options.edits, options.many)
    return 0


if __name__ == "__main__":
    sys.exit(main())
