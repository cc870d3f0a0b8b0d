"""Versions that take long to make: in the worker thread, with everything else going on meanwhile. On the real clock, and without sleeps."""

import pytest
import trio

from exchanger.assembly.assembler import INLINE_WORK
from exchanger.assembly.backlog import LIGHT_WORK, Lane
from tests.kube.cluster import PATIENCE_S, Cluster, Record, deny, following, source
from tests.kube.gate import Gate

LONG = " " * INLINE_WORK


@pytest.fixture
def cluster() -> Cluster:
    made = Cluster()
    made.put_namespace("a")
    return made


async def test_what_happens_while_a_version_is_made_comes_in_the_next_one(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    async with following(cluster) as followed:
        record = followed.record
        gate.shut()
        cluster.put("a", "p", deny("/one") + LONG)
        await gate.reached()
        cluster.put("a", "p", deny("/two"))
        cluster.put("a", "q", deny("/three"))
        await trio.testing.wait_all_tasks_blocked()
        assert len(followed.source._index.documents()) == 2
        assert len(record.snapshots) == 1
        gate.open()
        await record.until(lambda: record.denies("/three"))
        assert [len(snapshot.documents) for snapshot in record.snapshots] == [0, 1, 2]
        assert record.passes("/one")
        assert record.denies("/two")


async def test_cancellation_does_not_wait_for_the_thread_which_ends_with_its_part(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    gate.shut()
    for number in range(10):
        cluster.put("a", f"p{number}", deny(f"/{number}") + " " * LIGHT_WORK)
    record = Record()
    followed = source(cluster, record)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(followed.run)
        await gate.reached()
        nursery.cancel_scope.cancel()
    assert cluster.server.watchers == []
    limiter = followed._assembler._limiters[Lane.HEAVY]
    assert limiter.borrowed_tokens == 1
    gate.open()
    with trio.fail_after(PATIENCE_S):
        await limiter.acquire()  # its turn comes when the thread has ended
    assert record.snapshots == []
    assert len(gate.parsed) == 1


async def test_ten_thousand_config_maps_are_parsed_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    cluster = Cluster()
    for number in range(100):
        cluster.put_namespace(f"n{number}")
    for number in range(10_000):
        cluster.put(f"n{number % 100}", f"p{number}", "version: v1")
    async with following(cluster) as followed:
        record = followed.record
        assert len(record.snapshots[0].documents) == len(gate.parsed) == len(set(gate.parsed)) == 10_000
        assert len(cluster.server.requests) == 2
        cluster.put("n7", "p7", deny())
        await record.until(record.denies)
        assert len(gate.parsed) == 10_001
        cluster.delete_namespace("n7")
        await record.until(record.passes)
        assert len(gate.parsed) == 10_001
        assert len(record.snapshots[-1].documents) == 9_900
