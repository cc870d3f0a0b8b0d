"""Versions that take long to make: in the worker thread, with everything else going on meanwhile."""

import threading

import pytest
import trio
from trio.testing import MockClock

from exchanger.kube.source import LOOK_S
from exchanger.policy import selection
from exchanger.policy.documents.document import PolicyDocument, parse_document
from exchanger.publish.pending import LIGHT_WORK, Lane
from exchanger.values.entry import Source
from tests.kube.cluster import PATIENCE_S, Cluster, Record, deny, following, source
from tests.waiting import Gate

THREAD_S = 60.0
LIMIT_S = 60.0
LATE_S = LOOK_S + 0.5


async def _happens(event: threading.Event) -> None:
    assert await trio.to_thread.run_sync(event.wait, THREAD_S)


@pytest.fixture
def cluster() -> Cluster:
    made = Cluster()
    made.put_namespace("a")
    return made


async def test_cancellation_does_not_wait_for_the_thread_which_ends_with_its_part(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed, reached, opened = list[Source](), threading.Event(), threading.Event()

    def parse(source: Source, text: str | None, issuers: frozenset[str]) -> PolicyDocument:
        parsed.append(source)
        reached.set()
        assert opened.wait(THREAD_S)
        return parse_document(source, text, issuers)

    monkeypatch.setattr(selection, "parse_document", parse)
    for number in range(10):
        cluster.put("a", f"p{number}", deny(f"/{number}") + " " * LIGHT_WORK)
    record = Record(trio.to_thread.run_sync)
    followed = source(cluster, record)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(followed.run)
        await _happens(reached)
        nursery.cancel_scope.cancel()
    assert cluster.server.watchers == []
    limiter = followed.runner.limiters[Lane.HEAVY.value]
    assert limiter.borrowed_tokens == 1
    opened.set()
    with trio.fail_after(PATIENCE_S):
        await limiter.acquire()  # its turn comes when the thread has ended
    assert (record.snapshots, len(parsed)) == ([], 1)


async def test_thousands_of_config_maps_are_parsed_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = list[Source]()

    def parse(source: Source, text: str | None, issuers: frozenset[str]) -> PolicyDocument:
        parsed.append(source)
        return parse_document(source, text, issuers)

    monkeypatch.setattr(selection, "parse_document", parse)
    cluster = Cluster()
    for number in range(20):
        cluster.put_namespace(f"n{number}")
    for number in range(2_000):
        cluster.put(f"n{number % 20}", f"p{number}", "version: v1")
    async with following(cluster) as followed:
        record = followed.record
        assert record.snapshots[0].document_count == len(parsed) == len(set(parsed)) == 2_000
        assert len(cluster.server.requests) == 2
        cluster.put("n7", "p7", deny())
        await record.until(record.denies)
        assert len(parsed) == 2_001
        cluster.delete_namespace("n7")
        await record.until(record.passes)
        assert len(parsed) == 2_001
        assert record.snapshots[-1].document_count == 1_900


async def test_contact_that_is_lost_again_before_it_was_of_use_opens_nothing(cluster: Cluster, autojump_clock: MockClock) -> None:
    async with following(cluster, max_staleness=LIMIT_S) as followed:
        record, gate = followed.record, Gate()
        cluster.server.stop()
        await trio.sleep(LIMIT_S + LATE_S)
        followed.source.runner.run_sync = gate.run_sync
        cluster.put("a", "q", deny("/q") + " " * LIGHT_WORK)
        cluster.server.heal()
        with trio.fail_after(LIMIT_S):
            while not gate.reached:  # noqa: ASYNC110 - the gate only counts
                await trio.sleep(0.1)
        cluster.server.stop()
        await trio.sleep(LIMIT_S + LATE_S)
        gate.event.set()
        await trio.sleep(600)
        assert not record.is_open()
        assert len(record.snapshots) == 1
        cluster.server.heal()
        await record.until(record.is_open, float("inf"))
        assert record.denies("/q")
        assert [said for said in record.said if said in {"open", "close"}] == ["close", "open"]
