import math

import pytest
import trio
from trio.testing import MockClock

from exchanger.kube.list_watch import ApiFailure, FailureKind
from exchanger.kube.source import GATHER_S
from exchanger.policy.snapshot import PolicySnapshot
from tests.kube.cluster import REFUSED, Cluster, Record, deny, following, source

FORBIDDEN = 'configmaps is forbidden: User "u" cannot {} resource "configmaps" in API group "" at the cluster scope'


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


async def test_an_empty_cluster_has_a_first_version_as_well(autojump_clock: MockClock) -> None:
    async with following(Cluster()) as followed:
        assert followed.record.snapshots == [PolicySnapshot.EMPTY]


@pytest.mark.parametrize("late", ["namespaces", "configmaps"])
async def test_nothing_is_published_before_every_list_is_complete(cluster: Cluster, autojump_clock: MockClock, late: str) -> None:
    cluster.server.fail(REFUSED, resource=late, times=math.inf)
    record = Record()
    followed = source(cluster, record)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(followed.run)
        await trio.sleep(3600)
        cluster.put("a", "q", deny("/q"))
        cluster.put_namespace("b")
        await trio.sleep(3600)
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
        await record.until(record.passes, 1)
        cluster.put("b", "p")
        await trio.sleep(1)
        assert record.passes()
        cluster.put_namespace("b")
        await record.until(record.denies, 1)
        assert len(record.snapshots) == len(record.changes) == 10


async def test_events_gather_into_one_version(cluster: Cluster, autojump_clock: MockClock) -> None:
    async with following(cluster) as followed:
        for number in range(10):
            cluster.put("a", f"p{number}", deny(f"/{number}"))
            await trio.sleep(GATHER_S / 20)
        await trio.sleep(1)
        assert len(followed.record.snapshots[-1].documents) == 11
        assert len(followed.record.snapshots) == 2


async def test_what_is_changed_and_changed_back_makes_no_version(cluster: Cluster, autojump_clock: MockClock) -> None:
    async with following(cluster) as followed:
        cluster.put("a", "p", deny("/q"))
        cluster.delete_namespace("a")
        cluster.put("a", "p")
        cluster.put_namespace("a")
        cluster.put("a", "p")
        await trio.sleep(1)
        assert len(followed.record.snapshots) == 1


async def test_a_relist_in_which_nothing_changed_publishes_nothing(cluster: Cluster, autojump_clock: MockClock) -> None:
    async with following(cluster) as followed:
        cluster.put("elsewhere", "p")
        cluster.server.compact()
        cluster.server.cut(ApiFailure(FailureKind.GONE, 410))
        await trio.sleep(1800)
        assert followed.record.said.count("listed 2 configmaps") >= 1
        assert len(followed.record.snapshots) == 1


async def test_what_was_missed_comes_in_one_version(cluster: Cluster, autojump_clock: MockClock) -> None:
    async with following(cluster) as followed:
        record = followed.record
        cluster.server.stop()
        await trio.sleep(100)
        for number in range(10):
            cluster.put("a", f"p{number}", deny(f"/{number}"))
        cluster.delete("a", "p")
        cluster.server.compact()
        assert record.denies()
        cluster.server.heal()
        await record.until(record.passes, 60)
        assert record.denies("/9")
        assert len(record.snapshots) == 2
        assert len(record.changes[-1].documents) == 10


async def test_a_server_that_ignores_selectors_changes_nothing(cluster: Cluster, autojump_clock: MockClock) -> None:
    cluster.obeys = False
    cluster.put_namespace("b", {})
    cluster.put("b", "p", deny("/b"))
    cluster.put("a", "q", deny("/c"), {})
    async with following(cluster) as followed:
        record = followed.record
        assert record.denies()
        assert record.passes("/b")
        assert record.passes("/c")
        cluster.put_namespace("a", {})
        await record.until(record.passes, 1)


async def test_named_namespaces_are_followed_alone_and_namespaces_are_not_asked_for(autojump_clock: MockClock) -> None:
    cluster = Cluster()
    for namespace in "abc":
        cluster.put(namespace, "p", deny(f"/{namespace}"))
    async with following(cluster, namespaces=("a", "b")) as followed:
        record = followed.record
        assert cluster.asked == ["configmaps enabled in (true) in a", "configmaps enabled in (true) in b"]
        assert {request.resource for request in cluster.server.requests} == {"configmaps"}
        assert record.denies("/a")
        assert record.denies("/b")
        assert record.passes("/c")
        cluster.delete("b", "p")
        await record.until(lambda: record.passes("/b"), 1)
        assert record.denies("/a")


async def test_a_server_that_ignores_the_namespace_changes_nothing(autojump_clock: MockClock) -> None:
    cluster = Cluster(obeys=False)
    for namespace in "abc":
        cluster.put(namespace, "p", deny(f"/{namespace}"))
    async with following(cluster, namespaces=("a", "b")) as followed:
        record = followed.record
        cluster.server.cut(ApiFailure(FailureKind.GONE, 410))
        cluster.put("c", "q", deny("/c"))
        cluster.put("b", "q", deny("/q"))
        await record.until(lambda: record.denies("/q"), 60)
        assert record.passes("/c")
        cluster.delete("c", "q")
        cluster.delete("b", "q")
        await record.until(lambda: record.passes("/q"), 1)
        assert len(followed.record.snapshots[-1].documents) == 2


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
        assert "lost configmaps" in record.said
        assert "went back configmaps" in record.said


async def test_a_fault_of_the_sink_is_a_fault_of_the_source(cluster: Cluster, autojump_clock: MockClock) -> None:
    class Broken(Record):
        def publish(self, snapshot: PolicySnapshot, /) -> None:
            raise RuntimeError

    with pytest.RaisesGroup(RuntimeError, flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            await nursery.start(source(cluster, Broken()).run)
    assert cluster.server.watchers == []


@pytest.mark.parametrize("step", range(0, 25, 2))
async def test_cancellation_at_any_moment_leaves_nothing(cluster: Cluster, step: int, autojump_clock: MockClock) -> None:
    """Each step is a moment: 0.01 s apart at first, when lists and versions are made, then minutes, in which watches are made anew."""
    cluster.server.latency = 0.02
    record = Record()
    before = trio.lowlevel.current_statistics().tasks_living
    with trio.move_on_after(step * 0.01 if step < 15 else (step - 14) * 61.0):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(source(cluster, record, max_staleness=20.0).run)
            while True:
                await trio.sleep(0.045 if step < 15 else 1.3)
                cluster.put("a", "p", deny(f"/{len(record.said)}"))
                if step % 3 == 0:
                    cluster.server.cut(REFUSED)
    assert cluster.server.watchers == []
    assert trio.lowlevel.current_statistics().tasks_living == before
    said = len(record.said)
    await trio.sleep(600)
    assert len(record.said) == said
