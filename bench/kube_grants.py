"""How long changes of who may do what take to be active in a real cluster. Needs etcd and kube-apiserver (.ci/tools.py).

Usage: python bench/kube_grants.py [--namespaces 1000] [--times 20]

etcd, kube-apiserver and the source run on loopback. Every Namespace has one document, and its hosts by a placeholder for its label. An
edit counts from the API server's answer, or from the moment when the file is replaced, until the version that has it is published. Of the
grants file's time, the two looks that have to agree take up to two seconds.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import attrs
import trio

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from exchanger.app.grants_file import GrantsFile, GrantsSettings
from exchanger.policy.grants.allowance import Grants
from exchanger.policy.grants.reader import read_grants
from exchanger.sources.kube.api.client import ClusterConfigSource, connect
from exchanger.sources.kube.api.resource import PolicyListWatches
from tests.sources.kube.admin import NAMESPACE_LABELS
from tests.sources.kube.cluster import Record
from tests.sources.kube.control_plane import ADMIN_TOKEN, ControlPlane, find_programs, running
from tests.sources.kube.test_source_control_plane import settings

GRANTS: Final = "version: v1\ngrants: [{{namespaceSelector: team, hosts: ['{{label:team}}.example.com'{more}]}}]\n"
NARROW: Final = GRANTS.format(more="")
WIDE: Final = GRANTS.format(more=", '{namespace}.example.com'")


def document(number: int) -> str:
    """Return an entry that its label grants, and one that only its name would."""
    hosts = (f"label-{number}", f"team-{number}")
    entries = ", ".join(f"{{match: {{host: {host}.example.com, pathPrefix: /}}, action: deny}}" for host in hosts)
    return f"version: v1\nentries: [{entries}]"


@attrs.define(eq=False)
class Trial:
    """A source under grants; ``record`` has its versions."""

    plane: ControlPlane
    record: Record
    count: int

    def label(self, number: int, label: str) -> None:
        """Give a Namespace its label."""
        self.plane.admin.put_namespace(f"team-{number}", {**NAMESPACE_LABELS, "team": label})

    def put(self, number: int, text: str) -> None:
        """Write the document of a Namespace."""
        self.plane.admin.put_config_map(f"team-{number}", "policy", text)

    def fill(self) -> None:
        """Make all Namespaces and documents."""
        for number in range(self.count):
            self.label(number, f"label-{number}")
            self.put(number, document(number))

    async def took(self, change: Callable[[], object], refused: int, invalid: int = 0) -> tuple[float, int]:
        """Make a change; return the milliseconds until a version refuses so much, and the number of versions that it took."""
        versions = len(self.record.snapshots)
        await trio.to_thread.run_sync(change)
        started = time.perf_counter()
        while (self.record.snapshots[-1].refused_count, self.record.snapshots[-1].invalid_documents) != (refused, invalid):  # noqa: ASYNC110
            await trio.sleep(0.001)  # looking costs less than telling
        return (time.perf_counter() - started) * 1000, len(self.record.snapshots) - versions


def report(what: str, taken: list[tuple[float, int]]) -> None:
    """Print the times, and the most versions that a change took."""
    times = sorted(time for time, _ in taken)
    versions = max(versions for _, versions in taken)
    print(f"{what:36} p50 {statistics.median(times):5.0f} ms, max {times[-1]:5.0f} ms, {versions} version(s) each", flush=True)


async def follow(plane: ControlPlane, folder: Path, count: int, times: int) -> None:
    """Make the changes one after the other."""
    record, file = Record(), folder / "grants.yaml"
    file.write_text(NARROW)
    grants = read_grants(NARROW, has_labels=True)
    if not isinstance(grants, Grants):
        raise TypeError(grants)
    trial = Trial(plane, record, count)
    await trio.to_thread.run_sync(trial.fill)
    kubeconfig = str(plane.kubeconfig("kubeconfig", token=ADMIN_TOKEN))
    async with (
        connect(ClusterConfigSource(kubeconfig=kubeconfig, environment={}, token_file="")) as connection,
        trio.open_nursery() as nursery,
    ):
        source = record.source(settings(), PolicyListWatches(connection), grants=grants)
        started = time.perf_counter()
        await nursery.start(source.run)
        print(f"{count} Namespaces: first version after {(time.perf_counter() - started) * 1000:.0f} ms")
        followed = GrantsFile(GrantsSettings(file, grants=grants), file, source.use_grants)
        nursery.start_soon(followed.run)

        def edit(text: str) -> None:
            new = file.with_suffix(".new")
            new.write_text(text)
            new.replace(file)

        def use(text: str) -> None:
            found = read_grants(text, has_labels=True)
            if isinstance(found, Grants):
                trio.from_thread.run_sync(source.use_grants, found)

        taken: dict[str, list[tuple[float, int]]] = {}
        for _ in range(times):
            for what, change, refused, invalid in (
                ("grants changed for all, once read", lambda: use(WIDE), 0, 0),
                ("grants changed back", lambda: use(NARROW), count, 0),
                ("a Namespace relabelled", lambda: trial.label(0, "other"), count + 1, 0),
                ("a Namespace labelled as before", lambda: trial.label(0, "label-0"), count, 0),
                ("a document broken", lambda: trial.put(1, "version: v1\nentries: {"), count - 1, 1),
                ("a document mended", lambda: trial.put(1, document(1)), count, 0),
            ):
                taken.setdefault(what, []).append(await trial.took(change, refused, invalid))
        for what, found in taken.items():
            report(what, found)
        for text, refused in ((WIDE, 0), (NARROW, count)) * 2:
            taken.setdefault("the grants file replaced", []).append(await trial.took(lambda text=text: edit(text), refused))  # type: ignore[misc]
        report("the grants file replaced", taken["the grants file replaced"])
        nursery.cancel_scope.cancel()


def main() -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--namespaces", type=int, default=1000)
    parser.add_argument("--times", type=int, default=20)
    options = parser.parse_args()
    programs = find_programs()
    if programs is None:
        print("etcd and kube-apiserver are not built: python3 .ci/tools.py etcd kube-apiserver", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), programs=programs) as plane:
        trio.run(follow, plane, Path(folder), options.namespaces, options.times)
    return 0


if __name__ == "__main__":
    sys.exit(main())
