"""Namespaces that are followed by their names: what happens when one may not be read, and when the list changes."""

import pytest
import trio
from trio.testing import MockClock

from exchanger.model.notice import Notices
from tests.sources.kube.cluster import Cluster, Record, deny, following, source

RIGHT = "needs list on configmaps in the namespace b"


@pytest.fixture
def cluster() -> Cluster:
    made = Cluster()
    for namespace in "abc":
        made.put(namespace, "p", deny(f"/{namespace}"))
    return made


async def test_a_namespace_that_may_no_longer_be_read_is_named_once(cluster: Cluster, autojump_clock: MockClock) -> None:
    async with following(cluster, namespaces=("a", "b")) as followed:
        record = followed.record
        cluster.server.forbid("b")
        await trio.sleep(0.1)
        cluster.server.forbidden.clear()
        await trio.sleep(60.0)
        assert "failed configmaps in b: forbidden" in record.said  # which may be a server that is starting
        assert not [said for said in record.said if "readable" in said]
        cluster.server.forbid("b")
        await trio.sleep(3600.0)
        assert [said for said in record.said if "readable" in said] == [f"unreadable b: {RIGHT}"]
        assert followed.source.named == (("a", False), ("b", True))
        assert record.denies("/b")
        cluster.put("a", "q", deny("/q"))
        await record.until(lambda: record.denies("/q"), 1)
        cluster.server.forbidden.clear()
        await record.until(lambda: record.said[-1] == "connected configmaps in b", 90)
        assert followed.source.named == (("a", False), ("b", False))
        assert "readable b" in record.said


async def test_an_unreadable_namespace_at_the_start_fails_closed_until_it_is_removed(cluster: Cluster, autojump_clock: MockClock) -> None:
    cluster.server.forbid("b")
    record = Record()
    followed = source(cluster, record, namespaces=("a", "b"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(followed.run)
        await trio.sleep(600.0)
        assert record.snapshots == []
        assert f"unreadable b: {RIGHT}" in record.said
        followed.use_namespaces(("a", "c"))
        await record.until(lambda: record.denies("/a"), 10)
        assert record.denies("/c")
        assert record.passes("/b")
        assert "readable b" in record.said
        assert followed.named == (("a", False), ("c", False))
        nursery.cancel_scope.cancel()


async def test_a_new_namespace_that_may_not_be_read_takes_nothing_away(cluster: Cluster, autojump_clock: MockClock) -> None:
    cluster.server.forbid("b")
    async with following(cluster, namespaces=("a",), max_staleness=60.0) as followed:
        record = followed.record
        followed.source.use_namespaces(("a", "b"))
        await trio.sleep(600.0)
        assert record.is_open()
        assert f"unreadable b: {RIGHT}" in record.said
        assert not followed.source.is_connected
        cluster.put("a", "q", deny("/q"))
        await record.until(lambda: record.denies("/q"), 1)
        cluster.server.stop()
        await trio.sleep(120.0)
        assert not record.is_open()
        cluster.server.failing = None
        await record.until(record.is_open, 20)
        cluster.server.heal()
        await record.until(lambda: record.denies("/b"), 90)
        assert followed.source.is_connected


async def test_names_cannot_take_the_place_of_all_namespaces(cluster: Cluster, autojump_clock: MockClock) -> None:
    followed = source(cluster, Record(), namespaces=("a",))
    with pytest.raises(ValueError, match="only where they are named"):
        followed.use_namespaces(())
    with pytest.raises(ValueError, match="only where they are named"):
        source(cluster, Record()).use_namespaces(("a",))


async def test_events_do_not_pile_up_while_one_list_is_missing(cluster: Cluster, autojump_clock: MockClock) -> None:
    cluster.server.forbid("b")
    record = Record()
    followed = source(cluster, record, namespaces=("a", "b"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(followed.run)
        await trio.sleep(10.0)
        for number in range(100):
            cluster.put("a", "p", deny(f"/{number}"))
            await trio.sleep(0.1)
        assert len(followed.index.changed_documents) <= 2  # memory, which nothing else shows
        assert record.snapshots == []
        nursery.cancel_scope.cancel()


async def test_a_namespace_may_leave_while_its_list_is_taken_in(cluster: Cluster, autojump_clock: MockClock) -> None:
    for number in range(350):
        cluster.put("b", f"q{number}", deny(f"/q{number}"))
    told: list[Notices] = []
    async with following(cluster, namespaces=("a",)) as followed:
        followed.source.on_notices = told.append
        for steps in range(6):
            followed.source.use_namespaces(("a", "b"))
            await followed.record.until(lambda: "listed 351 configmaps in b" in followed.record.said)
            followed.record.said.clear()
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            followed.source.use_namespaces(("a",))
            await trio.sleep(1.0)
            assert (followed.record.snapshots[-1].document_count, len(followed.source.index.waiting)) == (1, 0)
            assert followed.record.passes("/b")
            assert followed.record.denies("/a")
    assert not told or not told[-1].count
