import math

import pytest
import trio
from trio.testing import MockClock

from exchanger.kube.informer import missing_right
from exchanger.kube.list_watch import ApiFailure, FailureKind
from exchanger.kube.source import GATHER_S
from exchanger.kube.ungranted import STEP as GRANTS_STEP
from exchanger.policy.grants.allowance import Grants
from exchanger.policy.grants.reader import read_grants
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.values.notice import Notices
from tests.kube.cluster import REFUSED, SELECTED, Cluster, Record, deny, following, source
from tests.steps import MOST_CALLS, counted_steps


@pytest.fixture
def cluster() -> Cluster:
    made = Cluster()
    made.put_namespace("a")
    made.put("a", "p")
    return made


async def test_the_first_version_is_complete_when_it_has_started(cluster: Cluster, autojump_clock: MockClock) -> None:
    cluster.put_namespace("b", {})
    cluster.put("b", "p", deny("/b"))
    cluster.put("a", "unlabelled", deny("/c"), {})
    async with following(cluster) as followed:
        assert followed.record.denies("/a")
        assert followed.record.passes("/b")
        assert followed.record.passes("/c")
        assert len(followed.record.snapshots) == len(followed.record.changes) == 1
        assert (followed.source.is_connected, followed.source.snapshot_age()) == (True, 0.0)
        assert cluster.asked == ["namespaces policy in (enabled)", "configmaps enabled in (true) in all"]


@pytest.mark.parametrize("late", ["namespaces", "configmaps"])
async def test_nothing_is_published_before_every_list_is_complete(cluster: Cluster, autojump_clock: MockClock, late: str) -> None:
    cluster.server.fail(REFUSED, resource=late, times=math.inf)
    record = Record()
    followed = source(cluster, record)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(followed.run)
        await trio.sleep(60)
        cluster.put("a", "q", deny("/q"))
        cluster.put_namespace("b")
        await trio.sleep(60)
        assert any(said.startswith("listed") for said in record.said)
        assert record.snapshots == []
        assert followed.is_connected is False
        assert followed.snapshot_age() is None
        cluster.server.heal()
        await record.until(record.denies, 60)
        assert len(record.snapshots) == 1
        nursery.cancel_scope.cancel()


async def test_every_kind_of_change_takes_effect_within_a_second(cluster: Cluster, autojump_clock: MockClock) -> None:
    async with following(cluster) as followed:
        record = followed.record
        cluster.put("a", "q", deny("/q"))
        await record.until(lambda: record.denies("/q"), 1)
        cluster.put("a", "p", "version: v2")
        await record.until(record.unhealthy, 1)
        cluster.put("a", "p", labels={})
        await record.until(record.passes, 1)
        cluster.put("a", "p")
        await record.until(record.denies, 1)
        cluster.delete("a", "q")
        await record.until(lambda: record.passes("/q"), 1)
        cluster.put_namespace("a", {"policy": "disabled"})
        await record.until(record.passes, 1)
        cluster.put_namespace("a")
        await record.until(record.denies, 1)
        cluster.delete_namespace("a")
        await record.until(record.passes, 2)  # at most one list of versions a second
        cluster.put("b", "p")
        await trio.sleep(1)
        assert record.passes()
        cluster.put_namespace("b")
        await record.until(record.denies, 1)
        assert len(record.changes) == 10


async def test_events_gather_into_one_version(cluster: Cluster, autojump_clock: MockClock) -> None:
    async with following(cluster) as followed:
        for number in range(10):
            cluster.put("a", f"p{number}", deny(f"/{number}"))
            await trio.sleep(GATHER_S / 20)
        await trio.sleep(1)
        assert followed.record.snapshots[-1].document_count == 11
        assert len(followed.record.snapshots) == 2


async def test_nothing_is_published_when_nothing_has_changed_in_the_end(cluster: Cluster, autojump_clock: MockClock) -> None:
    async with following(cluster) as followed:
        cluster.put("a", "p", deny("/q"))
        cluster.delete_namespace("a")
        cluster.put("a", "p")
        cluster.put_namespace("a")
        cluster.put("elsewhere", "p")
        await trio.sleep(1)
        cluster.server.compact()
        cluster.server.cut(ApiFailure(FailureKind.GONE, 410))
        await trio.sleep(1800)
        assert followed.record.said.count("listed 2 configmaps") >= 1
        assert len(followed.record.snapshots) == 1


@pytest.mark.parametrize("obeys", [True, False], ids=["selected", "unselected"])
@pytest.mark.parametrize("namespaces", [(), ("a", "b")], ids=["by label", "by name"])
async def test_a_server_that_ignores_selectors_changes_nothing(
    cluster: Cluster, autojump_clock: MockClock, obeys: bool, namespaces: tuple[str, ...]
) -> None:
    cluster.obeys = obeys
    cluster.put_namespace("b")
    cluster.put("b", "p", deny("/b"))
    cluster.put("c", "p", deny("/c"))
    cluster.put("a", "unlabelled", deny("/unlabelled"), {})
    async with following(cluster, namespaces=namespaces) as followed:
        record = followed.record
        assert {request.resource for request in cluster.server.requests} == {"configmaps", *(() if namespaces else ("namespaces",))}
        cluster.server.cut(ApiFailure(FailureKind.GONE, 410))
        cluster.put("c", "q", deny("/c"))
        cluster.put("b", "q", deny("/q"))
        await record.until(lambda: record.denies("/q"), 60)
        assert [record.denies(path) for path in ("/a", "/b", "/c", "/unlabelled")] == [True, True, False, False]
        cluster.delete("c", "q")
        cluster.delete("b", "q")
        await record.until(lambda: record.passes("/q"), 1)
        assert record.snapshots[-1].document_count == 2


async def test_the_observer_learns_of_contact_and_of_a_store_that_went_back(cluster: Cluster, autojump_clock: MockClock) -> None:
    async with following(cluster) as followed:
        record = followed.record
        assert sorted(record.said) == [
            "connected configmaps",
            "connected namespaces",
            "listed 1 configmaps",
            "listed 1 namespaces",
            "publish",
        ]
        version = cluster.server.version
        cluster.put("a", "q", deny("/q"))
        await record.until(lambda: record.denies("/q"))
        cluster.server.restore(version)
        cluster.server.cut(REFUSED)
        await record.until(lambda: record.passes("/q"), 60)
        assert "went back configmaps" in record.said


async def test_a_fault_of_the_sink_is_a_fault_of_the_source(cluster: Cluster, autojump_clock: MockClock) -> None:
    class Broken(Record):
        def publish(self, snapshot: PolicySnapshot, /) -> None:
            raise RuntimeError

    with pytest.RaisesGroup(RuntimeError, flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            await nursery.start(source(cluster, Broken()).run)
    assert cluster.server.watchers == []


CLUSTER = '{0} is forbidden: User "system:serviceaccount:x:y" cannot {1} resource "{0}" in API group "" at the cluster scope'


@pytest.mark.parametrize(
    ("resource", "namespace", "message", "right"),
    [
        ("namespaces", "", CLUSTER.format("namespaces", "list"), "needs list on namespaces"),
        ("configmaps", "", CLUSTER.format("configmaps", "watch"), "needs watch on configmaps in every namespace"),
        (
            "configmaps",
            "a",
            'User "u" cannot list resource "configmaps" in the namespace "a"',
            "needs list on configmaps in the namespace a",
        ),
        ("configmaps", "a", "", "needs list and watch on configmaps in the namespace a"),
        ("namespaces", "", "User cannot escalate resource", "needs list and watch on namespaces"),
    ],
)
def test_a_forbidden_request_names_the_right(resource: str, namespace: str, message: str, right: str) -> None:
    assert missing_right(resource, namespace, ApiFailure(FailureKind.FORBIDDEN, 403, message)) == right


@pytest.mark.parametrize("kind", [kind for kind in FailureKind if kind is not FailureKind.FORBIDDEN])
def test_no_other_failure_is_about_rights(kind: FailureKind) -> None:
    assert missing_right("configmaps", "", ApiFailure(kind, 401, CLUSTER.format("configmaps", "list"))) == ""


@pytest.mark.parametrize("steps", range(0, 14, 4))
async def test_documents_that_start_to_wait_meanwhile_are_noticed(steps: int, autojump_clock: MockClock) -> None:
    cluster, told = Cluster(), list[Notices]()
    cluster.put_namespace("a")
    for number in range(1000):
        cluster.put("a", f"p{number}", deny(f"/{number}"))
    async with following(cluster) as followed:
        followed.source.on_notices = told.append
        followed.source.use_issuers(frozenset({"another"}))
        await trio.sleep(GATHER_S)
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
        cluster.put("b", "q")
        await trio.sleep(10.0)
        assert [notice.subject for notice in told[-1].listed] == ["ConfigMap b/q"]


async def test_documents_that_go_one_by_one_are_counted_together(autojump_clock: MockClock) -> None:
    cluster, told = Cluster(), list[Notices]()
    cluster.put_namespace("a")
    for number in range(3):
        cluster.put("a", f"p{number}", deny(f"/{number}"))
    async with following(cluster) as followed:
        followed.source.on_notices = told.append
        for number in range(3):
            cluster.delete("a", f"p{number}")
            await trio.sleep(10.0)
        (nothing,) = told[-1].listed
        assert "3 that were in force are gone" in nothing.text
        cluster.put("a", "p", deny())
        await trio.sleep(10.0)
        assert not told[-1].count
        cluster.delete("a", "p")
        await trio.sleep(10.0)
        (nothing,) = told[-1].listed
        assert "1 that were in force are gone" in nothing.text


def granting(hosts: str) -> Grants:
    found = read_grants(f"version: v1\ngrants: [{{namespaceSelector: policy, hosts: [h, {hosts}]}}]", has_labels=True)
    assert isinstance(found, Grants)
    return found


async def test_grants_that_give_nothing_are_noticed_and_notices_follow_labels_and_grants(autojump_clock: MockClock) -> None:
    cluster, record, told = Cluster(), Record(), list[Notices]()
    cluster.put_namespace("a", {**SELECTED, "team": "x"})
    names = [f"b{number:02}" for number in range(2 * GRANTS_STEP + 1)]
    for name in names:
        cluster.put_namespace(name)
    cluster.put("a", "p")
    followed = source(cluster, record, grants=granting('"{label:team}.example.com"'))
    followed.on_notices = told.append

    def counted() -> int:
        return sum(notice.subject.startswith("Namespace") for notice in told[-1].listed) + told[-1].more

    async with trio.open_nursery() as nursery:
        await nursery.start(followed.run)
        await trio.sleep(10.0)
        assert counted() == len(names)
        assert "host {label:team}.example.com" in told[-1].listed[0].text
        cluster.put_namespace("b00", {**SELECTED, "team": "x"})
        await trio.sleep(10.0)
        assert counted() == len(names) - 1
        cluster.delete_namespace("b01")
        await trio.sleep(10.0)
        assert counted() == len(names) - 2
        followed.use_grants(granting("'{namespace}.example.com'"))
        await trio.sleep(10.0)
        assert counted() == 0
        nursery.cancel_scope.cancel()


async def test_a_namespace_with_many_documents_goes_in_one_version(cluster: Cluster, autojump_clock: MockClock) -> None:
    count = 2000
    for number in range(count):
        cluster.put("a", f"p{number}", deny(f"/{number}") if number < 100 else "version: v1\nentries: []\n")
    cluster.put_namespace("b")
    cluster.put("b", "p", deny("/b"))
    async with following(cluster) as followed:
        record = followed.record
        await trio.sleep(10)
        before = len(record.snapshots)
        with counted_steps() as steps:
            cluster.put_namespace("a", {"policy": "disabled"})
            await record.until(record.passes, 2)
            await trio.sleep(60)
        assert {snapshot.document_count for snapshot in record.snapshots[before:]} == {1}
        assert len(record.changes[-1].withdrawn) == count + 1
        assert record.denies("/b")
        assert max(steps.most.values()) < MOST_CALLS, steps.most
