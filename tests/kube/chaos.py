"""The source behind a proxy with faults, before a real API server to which worse things happen.

In each test a checker asks the policy in force all the time: one denial is never withdrawn, so nothing may ever pass there. The policy is
changed while the fault lasts, and soon after it the documents in force must be those that the server lists.
"""

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager
from typing import Final

import attrs
import trio

from exchanger.kube.api.client import Origin, connect
from exchanger.kube.api.connection import ApiConnection, ConnectionBounds
from exchanger.kube.api.resource import PolicyListWatches
from exchanger.kube.settings import COMPARE_S, KubernetesSettings, ReflectorSettings
from exchanger.kube.source import KubernetesSource
from exchanger.policy.documents.document import PolicyDocument, parse_document
from exchanger.policy.selection import DOCUMENT_KEY
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.util.backoff import FACTOR, BackOffSettings
from exchanger.values.entry import DenyEntry, Source
from exchanger.values.selector import parse_selector
from tests.kube.admin import NAMESPACE_LABELS, POLICY_LABELS, Admin
from tests.kube.cluster import Record, deny
from tests.kube.control_plane import ADMIN_TOKEN, ControlPlane
from tests.kube.fault_proxy import Fault, FaultProxy, Kind, Pass
from tests.kube.leftovers import nothing_left, open_sockets

FIRST_WAIT_S: Final = 0.05
# Seconds of the back-off; a sixteenth and a sixtieth of the real ones, so that tests are short.
LONGEST_WAIT_S: Final = 0.5
BOUNDS: Final = ConnectionBounds(connect=2.0, read=2.0, call=4.0, quiet=0.5, probe=1.0)
# Seconds between two looks at the policy in force.
LOOK_S: Final = 0.002
# Seconds in which something must be noticed; it takes one, a token that was withdrawn ten: for so long an API server remembers it.
SEEN_S: Final = 45.0
# Seconds after a fault in which all that was missed must be in force; it takes one on an idle machine, without a fresh look minutes.
SETTLED_S: Final = 45.0
# Requests of one reflector that may come without much of a wait: the first back-offs, and what follows a success.
REQUESTS_AT_ONCE: Final = 8
# Requests for each wait: a look and a watch, and both once more where the server refuses the token.
REQUESTS_A_FAILURE: Final = 4
NAMESPACES: Final = ("chaos", "joining", "leaving")
TRIES: Final = 6
# Seconds that so many failures take at least: there are one less waits, none after the first place that is lost in the history, and those
# after further ones grow by themselves.
WAITS_S: Final = sum(min(FIRST_WAIT_S * FACTOR**number, LONGEST_WAIT_S) for number in range(TRIES - 3))


def label_selector(labels: dict[str, str]) -> str:
    return ",".join(f"{name}={text}" for name, text in labels.items())


def settings(compare: float) -> KubernetesSettings:
    reflector = ReflectorSettings(
        back_off=BackOffSettings(first=FIRST_WAIT_S, cap=LONGEST_WAIT_S), settled=LONGEST_WAIT_S, accepted=0.3, compare=compare
    )
    return KubernetesSettings(
        parse_selector(label_selector(NAMESPACE_LABELS)), parse_selector(label_selector(POLICY_LABELS)), reflector=reflector
    )


def set_up(admin: Admin) -> None:
    admin.put_namespace("chaos")
    admin.put_namespace("leaving")
    admin.put_namespace("joining", {})
    admin.put_config_map("chaos", "always", deny("/always"))
    admin.put_config_map("chaos", "changed", deny("/before"))
    admin.put_config_map("chaos", "withdrawn", deny("/withdrawn"))
    admin.put_config_map("joining", "p", deny("/joining"))
    admin.put_config_map("leaving", "p", deny("/leaving"))


def change(admin: Admin) -> None:
    """Make one of each kind of change."""
    admin.put_config_map("chaos", "fleeting", deny("/fleeting"))
    admin.put_config_map("chaos", "changed", deny("/after"))
    admin.put_config_map("chaos", "new", deny("/new"))
    admin.delete_config_map("chaos", "withdrawn")
    admin.put_namespace("joining")
    admin.put_namespace("leaving", {})
    admin.delete_config_map("chaos", "fleeting")


BEFORE: Final = ("/always", "/before", "/leaving", "/withdrawn")
AFTER: Final = ("/after", "/always", "/joining", "/new")


def listed(admin: Admin) -> dict[Source, PolicyDocument]:
    """Return the documents that should be in force, by a fresh list of everything."""
    namespaces, config_maps = (admin.request("GET", f"/api/v1/{name}")["items"] for name in ("namespaces", "configmaps"))
    by_namespace, by_config_map = (parse_selector(label_selector(labels)) for labels in (NAMESPACE_LABELS, POLICY_LABELS))
    selected = {item["metadata"]["name"] for item in namespaces if by_namespace.matches(item["metadata"].get("labels", {}))}
    found: dict[Source, PolicyDocument] = {}
    for item in config_maps:
        metadata = item["metadata"]
        if metadata["namespace"] in selected and by_config_map.matches(metadata.get("labels", {})):
            source = Source(metadata["namespace"], metadata["name"])
            found[source] = parse_document(source, item["data"][DOCUMENT_KEY], frozenset())
    return found


@attrs.define(eq=False)
class Chaos:
    """All parts of a test, and its checker."""

    control_plane: ControlPlane
    proxy: FaultProxy
    connection: ApiConnection
    record: Record
    # Whether the way is past the proxy.
    direct: bool = False
    # Whether the cluster may have no policy at all, which is in force then.
    emptied: bool = False
    looks: int = 0
    # When something passed that is denied for ever.
    lapses: list[float] = attrs.field(factory=list)

    async def check(self) -> None:
        """Look at the policy in force all the time."""
        while True:
            self.looks += 1
            if not self.keeps(self.record.snapshots[-1]) or not self.record.is_open():
                self.lapses.append(trio.current_time())
            await trio.sleep(LOOK_S)

    def keeps(self, snapshot: PolicySnapshot) -> bool:
        """Tell whether nothing passes by ``snapshot`` that is denied for ever."""
        return isinstance(snapshot.match("h", "/always", "GET"), DenyEntry) or (self.emptied and not snapshot.documents)

    async def do(self, change: Callable[[Admin], object]) -> None:
        """Have the cluster's owner do something, past the proxy."""
        await trio.to_thread.run_sync(change, self.control_plane.admin)

    async def until_failed(self, times: int, what: str = "") -> None:
        """Wait until each resource's requests failed so often since the test began, with a failure of the kind ``what``."""

        def failed(name: str) -> bool:
            return sum(said.startswith(f"failed {name}: {what}") for said in self.record.said) >= times

        await self.record.until(lambda: failed("configmaps") and failed("namespaces"), SEEN_S)

    async def heal_a_failed_start(self) -> None:
        """Wait until a resource could not be had; then end the fault. Nothing may be in force before that."""
        await self.record.until(lambda: sum(said.startswith("failed") for said in self.record.said) >= TRIES, SEEN_S)
        assert self.record.snapshots == []
        self.proxy.become(Pass())

    async def until_fresh(self) -> None:
        """Wait until the documents in force are those of a fresh list."""
        missing: set[Source] = set()
        with trio.move_on_after(SETTLED_S) as scope:
            while True:
                fresh = await trio.to_thread.run_sync(listed, self.control_plane.admin)
                present = dict(self.record.snapshots[-1].documents.items())
                missing = {source for source in fresh.keys() | present.keys() if fresh.get(source) != present.get(source)}
                if not missing:
                    break
                await trio.sleep(0.05)
        assert not scope.cancelled_caught, (missing, self.record.said)
        assert self.in_force() == AFTER

    async def until_seen(self, *starts: str) -> None:
        """Wait until something was said that begins with each of ``starts``."""
        await self.record.until(lambda: all(any(said.startswith(start) for said in self.record.said) for start in starts), SEEN_S)

    def requests(self) -> tuple[int, int]:
        """Return how many lists and watches were asked for so far, and how many other requests there were."""
        if not self.direct:
            return self.proxy.count(Kind.LIST, Kind.WATCH), self.proxy.count(Kind.OTHER)
        return self.connection.requests + self.connection.credentials.renewals, self.connection.probes

    def in_force(self) -> tuple[str, ...]:
        """Return which of all paths of the tests are denied now; on others nothing is said."""
        paths = sorted({*BEFORE, *AFTER, "/fleeting", "/ghost"})
        assert all(self.record.denies(path) or self.record.passes(path) for path in paths)
        return tuple(path for path in paths if self.record.denies(path))


def prepared(control_plane: ControlPlane) -> Generator[ControlPlane]:
    """Give the control plane with what tests begin with; afterwards it is gone. This is what their fixture ``cluster`` does."""
    set_up(control_plane.admin)
    yield control_plane
    for name in NAMESPACES:
        control_plane.admin.delete_namespace(name)


@asynccontextmanager
async def chaos(
    control_plane: ControlPlane,
    *,
    user: str = f"token: {ADMIN_TOKEN}",
    compare: float = COMPARE_S,
    at_first: Fault | None = None,
    direct: bool = False,
    bounds: ConnectionBounds = BOUNDS,
) -> AsyncGenerator[Chaos]:
    """Follow the cluster through a proxy, or ``direct``, with the checker beside it; what must hold in every test is asserted at the end.

    The fault ``at_first`` is there before the source is, and ends when it has tried some times. ``bounds`` are short, for faults that are
    silent: a machine that stalls is one, too.
    """
    sockets = open_sockets()
    proxy, record = FaultProxy(control_plane.port, control_plane.ca_file), Record()
    if direct:
        kubeconfig = control_plane.kubeconfig("direct", token=ADMIN_TOKEN)
    else:
        kubeconfig = proxy.kubeconfig(control_plane.folder / "through-the-proxy", user)
    async with trio.open_nursery() as nursery:
        await nursery.start(proxy.run)
        async with connect(Origin(kubeconfig=str(kubeconfig), environment={}, token_file="/nonexistent"), bounds) as connection:
            source = KubernetesSource(settings(compare), frozenset(), record, record, PolicyListWatches(connection), record.on_stale)
            started = trio.current_time()
            found = Chaos(control_plane, proxy, connection, record, direct)
            async with trio.open_nursery() as followers:
                if at_first is not None:
                    proxy.become(at_first)
                    followers.start_soon(found.heal_a_failed_start)
                with trio.fail_after(SEEN_S):
                    await followers.start(source.run)
                assert found.in_force() == BEFORE
                followers.start_soon(found.check)
                yield found
                followers.cancel_scope.cancel()
            waits = (trio.current_time() - started) / LONGEST_WAIT_S
            lists_and_watches, others = found.requests()
            assert lists_and_watches <= 2 * REQUESTS_A_FAILURE * (REQUESTS_AT_ONCE + waits)
            assert others <= 2 * REQUESTS_A_FAILURE * (1 + waits)
        nursery.cancel_scope.cancel()
    assert found.looks > 10
    assert found.lapses == []
    assert all(map(found.keeps, record.snapshots))
    await nothing_left(sockets)
