"""Chaos in the cluster: a store that forgets or goes back, behind a server that ends and begins again.

In each test a checker asks the policy in force all the time: one denial is never withdrawn, so nothing may ever pass there. The policy is
changed while the fault lasts, and soon after it the documents in force must be those that the server lists. What goes wrong on the way to
the server is scripted in ``tests/attack/test_api_server.py``.
"""

import contextlib
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Final

import attrs
import pytest
import trio

from exchanger.kube.api.client import connect
from exchanger.kube.api.connection import ApiConnection, ConnectionBounds
from exchanger.kube.api.resource import PolicyListWatches
from exchanger.kube.settings import COMPARE_S, KubernetesSettings, ReflectorSettings
from exchanger.policy.documents.document import PolicyDocument, parse_document
from exchanger.policy.selection import DOCUMENT_KEY
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.util.backoff import BackOffSettings
from exchanger.values.entry import DenyEntry, Source
from tests.kube.admin import Admin
from tests.kube.asking import BY_CONFIG_MAP, BY_NAMESPACE
from tests.kube.cluster import Record, deny
from tests.kube.control_plane import ADMIN_TOKEN, ControlPlane
from tests.kube.kubeconfig import origin_of
from tests.kube.leftovers import nothing_left, open_sockets
from tests.kube.scripted_server import joined

pytestmark = pytest.mark.kubernetes

# Seconds of the longest back-off; a sixtieth of the real one, so that tests are short.
LONGEST_WAIT_S: Final = 0.5
BOUNDS: Final = ConnectionBounds(connect=2.0, read=2.0, call=4.0, quiet=0.5, probe=1.0)
# Seconds between two looks at the policy in force.
LOOK_S: Final = 0.002
# Seconds in which something must be noticed; it takes one.
SEEN_S: Final = 45.0
# Seconds after a fault in which all that was missed must be in force; it takes one on an idle machine, without a fresh look minutes.
SETTLED_S: Final = 45.0
# Requests of one reflector that may come without much of a wait: the first back-offs, and what follows a success.
REQUESTS_AT_ONCE: Final = 8
# Requests for each wait: a look and a watch, and both once more where the server refuses the token.
REQUESTS_A_FAILURE: Final = 4
# Writes: more than a restart and all changes of a test make together.
MANY: Final = 100
BEFORE: Final = ("/always", "/before", "/leaving", "/withdrawn")
AFTER: Final = ("/after", "/always", "/joining", "/new")


def set_up(admin: Admin) -> None:
    admin.put_namespace("chaos")
    admin.put_namespace("leaving")
    admin.put_namespace("joining", {})
    for name, path in (("always", "/always"), ("changed", "/before"), ("withdrawn", "/withdrawn")):
        admin.put_config_map("chaos", name, deny(path))
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


def write(admin: Admin, times: int) -> None:
    """Have the version grow by ``times``; what is written last is a policy that no restored store knows."""
    for number in range(times - 1):
        admin.merge("/api/v1/namespaces/chaos/configmaps/always", {"metadata": {"annotations": {"number": str(number)}}})
    admin.put_config_map("chaos", "ghost", deny("/ghost"))


def listed(admin: Admin) -> dict[Source, PolicyDocument]:
    """Return the documents that should be in force, by a fresh list of everything."""
    namespaces, config_maps = (admin.request("GET", f"/api/v1/{name}")["items"] for name in ("namespaces", "configmaps"))
    selected = {item["metadata"]["name"] for item in namespaces if BY_NAMESPACE.matches(item["metadata"].get("labels", {}))}
    found: dict[Source, PolicyDocument] = {}
    for item in config_maps:
        metadata = item["metadata"]
        if metadata["namespace"] in selected and BY_CONFIG_MAP.matches(metadata.get("labels", {})):
            source = Source(metadata["namespace"], metadata["name"])
            found[source] = parse_document(source, item["data"][DOCUMENT_KEY], frozenset())
    return found


@attrs.define(eq=False)
class Gate:
    """A way to the API server that can be shut."""

    port_behind: int
    # Bound but not listening: it keeps the port while connections are refused.
    _holder: socket.socket = attrs.field(factory=lambda: _bound(0), init=False)
    _opened: trio.Event = attrs.field(factory=trio.Event, init=False)
    _passing: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)

    @property
    def port(self) -> int:
        """Its port on 127.0.0.1."""
        return int(self._holder.getsockname()[1])

    def shut(self) -> None:
        """Break off the connections there are, and refuse new ones."""
        self._opened = trio.Event()
        self._passing.cancel()

    def open(self) -> None:
        self._opened.set()

    async def run(self, *, task_status: trio.TaskStatus[list[trio.SocketListener]] = trio.TASK_STATUS_IGNORED) -> None:
        """Pass on until cancelled."""
        self._opened.set()
        with self._holder:
            while True:
                await self._opened.wait()
                with trio.CancelScope() as self._passing:
                    listening = trio.socket.from_stdlib_socket(_bound(self.port))
                    listening.listen(64)
                    await trio.serve_listeners(self._pass_on, [trio.SocketListener(listening)], task_status=task_status)
                task_status = trio.TASK_STATUS_IGNORED

    async def _pass_on(self, stream: trio.SocketStream) -> None:
        with contextlib.suppress(OSError):
            async with stream, await trio.open_tcp_stream("127.0.0.1", self.port_behind) as behind:
                await joined(stream, behind)


def _bound(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    return bound


@attrs.define(eq=False)
class Chaos:
    """All parts of a test, and its checker."""

    control_plane: ControlPlane
    gate: Gate
    connection: ApiConnection
    record: Record
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
        """Have the cluster's owner do something, past the gate."""
        await trio.to_thread.run_sync(change, self.control_plane.admin)

    async def until_failed(self, times: int) -> None:
        """Wait until each resource's requests failed so often since the test began."""

        def failed(name: str) -> bool:
            return sum(said.startswith(f"failed {name}: ") for said in self.record.said) >= times

        await self.record.until(lambda: failed("configmaps") and failed("namespaces"), SEEN_S)

    async def until_fresh(self) -> None:
        """Wait until all changes are in force."""
        await self.until_listed()
        assert self.in_force() == AFTER

    async def until_listed(self) -> None:
        """Wait until the documents in force are those of a fresh list, and nothing is held back any more."""
        missing: set[Source] = set()
        with trio.move_on_after(SETTLED_S) as scope:
            while True:
                fresh = await trio.to_thread.run_sync(listed, self.control_plane.admin)
                newest = self.record.snapshots[-1]
                present = dict(newest.documents.items())
                missing = {source for source in fresh.keys() | present.keys() if fresh.get(source) != present.get(source)}
                if not missing and not newest.held:
                    break
                await trio.sleep(0.05)
        assert not scope.cancelled_caught, (missing, self.record.said)

    async def until_denied(self, path: str) -> None:
        await self.record.until(lambda: self.record.denies(path), SEEN_S)

    async def until_seen(self, *starts: str) -> None:
        """Wait until something was said that begins with each of ``starts``."""
        await self.record.until(lambda: all(any(said.startswith(start) for said in self.record.said) for start in starts), SEEN_S)

    def in_force(self) -> tuple[str, ...]:
        """Return which of all paths of the tests are denied now; on others nothing is said."""
        paths = sorted({*BEFORE, *AFTER, "/fleeting", "/ghost"})
        assert all(self.record.denies(path) or self.record.passes(path) for path in paths)
        return tuple(path for path in paths if self.record.denies(path))


@pytest.fixture
def cluster(control_plane: ControlPlane) -> ControlPlane:
    control_plane.tidy()
    set_up(control_plane.admin)
    return control_plane


@asynccontextmanager
async def chaos(control_plane: ControlPlane, *, compare: float = COMPARE_S) -> AsyncGenerator[Chaos]:
    """Follow the cluster through a gate, with the checker beside it; what must hold in every test is asserted at the end."""
    sockets = open_sockets()
    gate, record = Gate(control_plane.port), Record()
    kubeconfig = control_plane.kubeconfig("through-the-gate", token=ADMIN_TOKEN, port=gate.port)
    reflector = ReflectorSettings(
        back_off=BackOffSettings(first=0.05, cap=LONGEST_WAIT_S), settled=LONGEST_WAIT_S, accepted=0.3, compare=compare
    )
    settings = KubernetesSettings(BY_NAMESPACE, BY_CONFIG_MAP, reflector=reflector)
    async with trio.open_nursery() as nursery:
        await nursery.start(gate.run)
        async with connect(origin_of(kubeconfig), BOUNDS) as connection:
            source = record.source(settings, PolicyListWatches(connection))
            started = trio.current_time()
            found = Chaos(control_plane, gate, connection, record)
            async with trio.open_nursery() as followers:
                with trio.fail_after(SEEN_S):
                    await followers.start(source.run)
                assert found.in_force() == BEFORE
                followers.start_soon(found.check)
                yield found
                followers.cancel_scope.cancel()
            waits = (trio.current_time() - started) / LONGEST_WAIT_S
            lists_and_watches = connection.requests + connection.credentials.renewals
            assert lists_and_watches <= 2 * REQUESTS_A_FAILURE * (REQUESTS_AT_ONCE + waits)
            assert connection.probes <= 2 * REQUESTS_A_FAILURE * (1 + waits)
        nursery.cancel_scope.cancel()
    assert found.looks > 10
    assert found.lapses == []
    assert all(map(found.keeps, record.snapshots))
    await nothing_left(sockets)


async def test_the_store_is_emptied(cluster: ControlPlane) -> None:
    """It says then that there is no policy, and nothing is in force; until it has said so all of it is."""
    async with chaos(cluster) as test:
        await test.do(lambda admin: write(admin, MANY))
        await test.until_denied("/ghost")
        await trio.to_thread.run_sync(cluster.kill_apiserver)
        await test.until_failed(2)
        assert test.in_force() == (*BEFORE[:2], "/ghost", *BEFORE[2:])
        test.emptied = True
        await trio.to_thread.run_sync(cluster.wipe)
        await test.record.until(lambda: not test.record.snapshots[-1].documents, SEEN_S)
        await test.do(set_up)
        await test.do(change)
        await test.until_fresh()
        await test.until_seen("went back configmaps", "went back namespaces")


@pytest.mark.parametrize(("seen", "compare"), [(MANY, COMPARE_S), (1, 2.0)], ids=["lower version", "higher version"])
async def test_the_store_is_restored(cluster: ControlPlane, seen: int, compare: float) -> None:
    """A lower version is noticed at once, and one that has become higher again by the comparison."""

    def restore() -> None:
        cluster.restore(snapshot)
        change(cluster.admin)

    async with chaos(cluster, compare=compare) as test:
        snapshot = await trio.to_thread.run_sync(cluster.snapshot, f"snapshot-{seen}")
        await test.do(lambda admin: write(admin, seen))
        await test.until_denied("/ghost")
        test.gate.shut()
        await trio.to_thread.run_sync(restore)
        assert test.record.denies("/ghost")
        test.gate.open()
        await test.until_fresh()
        assert any(said.startswith("went back") for said in test.record.said) is (seen == MANY)
