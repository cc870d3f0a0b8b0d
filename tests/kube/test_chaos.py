"""The source behind a proxy with faults, before a real API server to which worse things happen.

In each test a checker asks the policy in force all the time: one denial is never withdrawn, so nothing may ever pass there. The policy is
changed while the fault lasts, and soon after it the documents in force must be those that the server lists.
"""

import json
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import attrs
import pytest
import trio

from exchanger.kube.backoff import FACTOR, BackOffSettings
from exchanger.kube.client import Origin, connect
from exchanger.kube.connection import ApiConnection, ConnectionBounds
from exchanger.kube.reflector_settings import COMPARE_S, ReflectorSettings
from exchanger.kube.resource import PolicyListWatches
from exchanger.kube.settings import KubernetesSettings
from exchanger.kube.source import KubernetesSource
from exchanger.policy.document import PolicyDocument, parse_document
from exchanger.policy.objects import DOCUMENT_KEY
from exchanger.policy.selector import parse_selector
from exchanger.values.entry import DenyEntry, Source
from tests.kube.admin import NAMESPACE_LABELS, POLICY_LABELS, READ_POLICY, Admin
from tests.kube.cluster import Record, deny
from tests.kube.control_plane import ADMIN_TOKEN, ControlPlane
from tests.kube.fault_proxy import Answer, Cut, Delay, Edit, Editor, Fault, FaultProxy, Kind, Pass, Refuse, Stall, status_object
from tests.kube.leftovers import nothing_left, open_sockets

pytestmark = pytest.mark.kubernetes

FIRST_WAIT_S: Final = 0.05
LONGEST_WAIT_S: Final = 0.5
"""Seconds of the back-off; a sixteenth and a sixtieth of the real ones, so that tests are short."""
BOUNDS: Final = ConnectionBounds(connect=2.0, read=2.0, call=4.0, quiet=0.5, probe=1.0)
LOOK_S: Final = 0.002
"""Seconds between two looks at the policy in force."""
SEEN_S: Final = 45.0
"""Seconds in which something must be noticed; it takes one, a token that was withdrawn ten: for so long an API server remembers it."""
SETTLED_S: Final = 15.0
"""Seconds after a fault in which all that was missed must be in force; it takes one on an idle machine."""
REQUESTS_AT_ONCE: Final = 8
"""Requests of one reflector that may come without much of a wait: the first back-offs, and what follows a success."""
REQUESTS_A_FAILURE: Final = 4
"""Requests for each wait: a look and a watch, and both once more where the server refuses the token."""
NAMESPACES: Final = ("chaos", "joining", "leaving")
TRIES: Final = 6
WAITS_S: Final = sum(min(FIRST_WAIT_S * FACTOR**number, LONGEST_WAIT_S) for number in range(TRIES - 2))
"""Seconds that so many failures take at least: there are one less waits, and none after the first place that is lost in the history."""
MANY: Final = 100
"""Writes: more than a restart and all changes of a test make together."""


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
    looks: int = 0
    lapses: list[float] = attrs.field(factory=list)
    """When something passed that is denied for ever."""

    async def check(self) -> None:
        """Look at the policy in force all the time."""
        while True:
            self.looks += 1
            if not self.record.denies("/always") or not self.record.is_open():
                self.lapses.append(trio.current_time())
            await trio.sleep(LOOK_S)

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

    def in_force(self) -> tuple[str, ...]:
        """Return which of all paths of the tests are denied now; on others nothing is said."""
        paths = sorted({*BEFORE, *AFTER, "/fleeting", "/ghost"})
        assert all(self.record.denies(path) or self.record.passes(path) for path in paths)
        return tuple(path for path in paths if self.record.denies(path))


@pytest.fixture
def cluster(control_plane: ControlPlane) -> Generator[ControlPlane]:
    set_up(control_plane.admin)
    yield control_plane
    for name in NAMESPACES:
        control_plane.admin.delete_namespace(name)


@asynccontextmanager
async def chaos(
    control_plane: ControlPlane, *, user: str = f"token: {ADMIN_TOKEN}", compare: float = COMPARE_S, at_first: Fault | None = None
) -> AsyncGenerator[Chaos]:
    """Follow the cluster through a proxy, with the checker beside it; what must hold in every test is asserted at the end.

    The fault ``at_first`` is there before the source is, and ends when it has tried some times.
    """
    sockets = open_sockets()
    proxy, record = FaultProxy(control_plane.port, control_plane.ca_file), Record()
    kubeconfig = proxy.kubeconfig(control_plane.folder / "through-the-proxy", user)
    async with trio.open_nursery() as nursery:
        await nursery.start(proxy.run)
        async with connect(Origin(kubeconfig=str(kubeconfig), environment={}, token_file="/nonexistent"), BOUNDS) as connection:
            source = KubernetesSource(settings(compare), frozenset(), record, record, PolicyListWatches(connection), record.on_stale)
            started = trio.current_time()
            found = Chaos(control_plane, proxy, connection, record)
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
            assert proxy.count(Kind.LIST, Kind.WATCH) <= 2 * REQUESTS_A_FAILURE * (REQUESTS_AT_ONCE + waits)
            assert proxy.count(Kind.OTHER) <= 2 * REQUESTS_A_FAILURE * (1 + waits)
        nursery.cancel_scope.cancel()
    assert found.looks > 10
    assert found.lapses == []
    assert all(isinstance(snapshot.match("h", "/always", "GET"), DenyEntry) for snapshot in record.snapshots)
    await nothing_left(sockets)


def is_event(kind: str, line: bytes) -> bool:
    return line.startswith(f'{{"type":"{kind}",'.encode())


def lost_place() -> Editor:
    """An event is replaced by an error of the code 410, as when the server's cache is too slow."""
    error = json.dumps({"type": "ERROR", "object": status_object(410)}).encode() + b"\n"
    return lambda line: (error,)


def added_twice() -> Editor:
    return lambda line: (line, line) if is_event("ADDED", line) else (line,)


def added_again_later() -> Editor:
    """What was added comes once more after each deletion, as out of another history."""
    added: list[bytes] = []

    def edit(line: bytes) -> tuple[bytes, ...]:
        if is_event("ADDED", line):
            added.append(line)
        return (line, *added) if is_event("DELETED", line) else (line,)

    return edit


def without(kind: str) -> Editor:
    return lambda line: () if is_event(kind, line) else (line,)


BLOCKING: Final[dict[str, tuple[Fault, str]]] = {
    "410": (Answer(410), "gone"),
    "500": (Answer(500), "server_error"),
    "401": (Answer(401), "unauthorized"),
    "refused": (Refuse(), "unreachable"),
}
"""Faults that let nothing through, and what they are called."""


@pytest.mark.parametrize(("fault", "failure"), BLOCKING.values(), ids=BLOCKING)
async def test_requests_fail(cluster: ControlPlane, fault: Fault, failure: str) -> None:
    async with chaos(cluster) as test:
        test.proxy.become(fault)
        test.proxy.disconnect()
        began = trio.current_time()
        await test.do(change)
        await test.until_failed(TRIES, failure)
        assert trio.current_time() - began >= WAITS_S
        assert test.in_force() == BEFORE
        test.proxy.become(Pass())
        await test.until_fresh()


async def test_no_watch_can_be_had(cluster: ControlPlane) -> None:
    async with chaos(cluster) as test:
        test.proxy.become(Answer(410, frozenset({Kind.WATCH})))
        test.proxy.disconnect()
        await test.until_failed(3, "gone")
        await test.do(change)
        await test.until_fresh()  # by lists
        test.proxy.become(Pass())
        await test.do(lambda admin: admin.put_config_map("chaos", "more", deny("/more")))
        await test.record.until(lambda: test.record.denies("/more"), SEEN_S)


START: Final[dict[str, Fault]] = {
    "500": Answer(500),
    "410": Answer(410),
    "refused": Refuse(),
    "cut": Cut(700),
    "no ConfigMaps": Answer(500, resource="configmaps"),
    "no Namespaces": Answer(500, resource="namespaces"),
}


@pytest.mark.parametrize("fault", START.values(), ids=START)
async def test_nothing_is_published_before_all_is_known(cluster: ControlPlane, fault: Fault) -> None:
    async with chaos(cluster, at_first=fault) as test:
        await test.do(change)
        await test.until_fresh()


async def test_a_server_that_asks_to_wait_is_given_time(cluster: ControlPlane) -> None:
    async with chaos(cluster) as test:
        before = test.proxy.count(Kind.LIST, Kind.WATCH)
        test.proxy.become(Answer(429, retry_after="2"))
        test.proxy.disconnect()
        began = trio.current_time()
        await test.do(change)
        await test.until_failed(2, "too_many_requests")
        storm = test.proxy.count(Kind.LIST, Kind.WATCH) - before
        # Each of the two asks when the connection broke, and then every two seconds at most.
        assert storm <= 2 * (1 + (trio.current_time() - began) / 2.0)
        test.proxy.become(Pass())
        await test.until_fresh()


@pytest.mark.parametrize("after", [0, 40, 700])
async def test_answers_break_off(cluster: ControlPlane, after: int) -> None:
    async with chaos(cluster) as test:
        test.proxy.become(Cut(after))
        await test.do(change)
        with trio.fail_after(SEEN_S):
            await test.proxy.until_struck(3)
        test.proxy.become(Pass())
        await test.until_fresh()


EDITS: Final = {"410 as event": lost_place, "added twice": added_twice, "added again later": added_again_later}


@pytest.mark.parametrize("editor", EDITS.values(), ids=EDITS)
async def test_watches_say_what_they_should_not(cluster: ControlPlane, editor: Callable[[], Editor]) -> None:
    async with chaos(cluster) as test:
        test.proxy.become(Edit(editor))
        await test.do(change)
        with trio.fail_after(SEEN_S):
            await test.proxy.until_struck(1)
        if editor is not lost_place:
            await test.until_fresh()  # nothing is to be healed
        test.proxy.become(Pass())
        await test.until_fresh()


@pytest.mark.parametrize("kind", ["ADDED", "MODIFIED", "DELETED"])
async def test_watches_leave_something_out(cluster: ControlPlane, kind: str) -> None:
    async with chaos(cluster, compare=2.0) as test:
        lists = test.proxy.count(Kind.LIST)
        test.proxy.become(Edit(lambda: without(kind)))
        await test.do(change)
        with trio.fail_after(SEEN_S):
            await test.proxy.until_struck(1)
        await test.until_fresh()  # though the fault goes on
        assert test.proxy.count(Kind.LIST) > lists


async def test_answers_are_late(cluster: ControlPlane) -> None:
    async with chaos(cluster) as test:
        test.proxy.become(Delay(0.3))
        await test.do(change)
        await test.until_fresh()
        assert test.proxy.strikes > 0


async def test_the_connection_is_silent(cluster: ControlPlane) -> None:
    async with chaos(cluster) as test:
        test.proxy.become(Stall())
        await test.do(change)
        await test.until_failed(1, "timeout")
        assert test.in_force() == BEFORE
        test.proxy.become(Pass())
        await test.until_fresh()


async def test_rights_are_withdrawn_and_given_back(cluster: ControlPlane) -> None:
    admin = cluster.admin
    token = admin.put_service_account("chaos", READ_POLICY, "chaos")
    subject = {"kind": "ServiceAccount", "name": "chaos", "namespace": "chaos"}
    async with chaos(cluster, user=f"token: {token}") as test:
        await test.do(lambda admin: admin.withdraw("chaos"))
        # The server learns of rights by watches of its own, and a watch that is open needs none.
        with trio.fail_after(SEEN_S):
            while not any("forbidden" in said for said in test.record.said):
                test.proxy.disconnect()
                await trio.sleep(0.2)
        test.proxy.disconnect()
        await test.until_failed(2, "forbidden")
        await test.do(change)
        assert test.in_force() == BEFORE
        assert "needs list on configmaps in every namespace" in test.record.rights
        await test.do(lambda admin: admin.grant("chaos", subject, READ_POLICY))
        await test.until_fresh()
    admin.withdraw("chaos")


async def test_a_token_is_withdrawn_and_replaced(cluster: ControlPlane, tmp_path: Path) -> None:
    admin, file = cluster.admin, tmp_path / "token"
    file.write_text(admin.put_service_account("chaos", READ_POLICY, "chaos"))
    async with chaos(cluster, user=f"tokenFile: {file}") as test:
        tokens: list[str] = []
        await test.do(lambda admin: tokens.append(admin.replace_service_account("chaos", "chaos")))
        with trio.fail_after(SEEN_S):
            while not any("unauthorized" in said for said in test.record.said):
                test.proxy.disconnect()
                await trio.sleep(0.5)
        test.proxy.disconnect()
        await test.until_failed(2, "unauthorized")
        await test.do(change)
        assert test.in_force() == BEFORE
        file.write_text(tokens[0])
        await test.until_fresh()
        assert test.connection.statistics().renewals > 0
        assert not any(token in said for said in test.record.said for token in tokens)
    admin.withdraw("chaos")


def write(admin: Admin, times: int) -> None:
    """Have the version grow by ``times``; what is written last is a policy that no restored store knows."""
    for number in range(times - 1):
        admin.merge("/api/v1/namespaces/chaos/configmaps/always", {"metadata": {"annotations": {"number": str(number)}}})
    admin.put_config_map("chaos", "ghost", deny("/ghost"))


async def test_history_is_compacted(cluster: ControlPlane) -> None:
    def compact() -> None:
        change(cluster.admin)
        cluster.compact()
        cluster.restart_apiserver()  # its cache knows no more than the store does now

    async with chaos(cluster) as test:
        test.proxy.become(Refuse())
        await trio.to_thread.run_sync(compact)
        assert test.in_force() == BEFORE
        test.proxy.become(Pass())
        await test.until_fresh()
        assert any(said.endswith("gone") for said in test.record.said)


async def test_the_store_is_emptied_and_filled_again(cluster: ControlPlane) -> None:
    def refill() -> None:
        cluster.wipe()
        set_up(cluster.admin)
        change(cluster.admin)

    async with chaos(cluster) as test:
        await test.do(lambda admin: write(admin, MANY))
        await test.record.until(lambda: test.record.denies("/ghost"), SEEN_S)
        test.proxy.become(Refuse())  # the denial is away for a moment, which nobody is to see
        await trio.to_thread.run_sync(refill)
        assert test.record.denies("/ghost")
        test.proxy.become(Pass())
        await test.until_fresh()
        assert any(said.startswith("went back") for said in test.record.said)


@pytest.mark.parametrize(("seen", "compare"), [(MANY, COMPARE_S), (1, 2.0)], ids=["lower version", "higher version"])
async def test_the_store_is_restored(cluster: ControlPlane, seen: int, compare: float) -> None:
    """A lower version is noticed at once, and one that has become higher again by the comparison."""

    def restore() -> None:
        cluster.restore(snapshot)
        change(cluster.admin)

    async with chaos(cluster, compare=compare) as test:
        snapshot = await trio.to_thread.run_sync(cluster.snapshot, f"snapshot-{seen}")
        await test.do(lambda admin: write(admin, seen))
        await test.record.until(lambda: test.record.denies("/ghost"), SEEN_S)
        test.proxy.become(Refuse())
        await trio.to_thread.run_sync(restore)
        assert test.record.denies("/ghost")
        test.proxy.become(Pass())
        await test.until_fresh()
        assert any(said.startswith("went back") for said in test.record.said) is (seen == MANY)
