"""Versions that take long to make: in the worker thread, with everything else going on meanwhile."""

import threading

import pytest
import trio
from trio.testing import MockClock

from exchanger.assembly.backlog import LIGHT_WORK, Lane
from exchanger.kube import source as source_module
from exchanger.kube.source import LOOK_S
from exchanger.policy import selection
from exchanger.policy.documents.document import PolicyDocument, parse_document
from exchanger.policy.grants.allowance import Grants, NamespaceGrant
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.values.entry import Source
from tests.assembly.test_assembler import Gate
from tests.kube.cluster import PATIENCE_S, REFUSED, Cluster, Record, deny, following, source

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
    limiter = followed._assembler._limiters[Lane.HEAVY]
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
        followed.source._assembler.run_sync = gate.run_sync
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


async def test_versions_follow_while_held_ones_are_held_against_new_grants(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    reached, opened, passed, against = threading.Event(), threading.Event(), threading.Event(), source_module._against

    def hold(versions: tuple[PolicySnapshot, ...], grants: Grants) -> list[PolicySnapshot]:
        reached.set()
        assert opened.wait(THREAD_S)
        made = against(versions, grants)
        if len(grants.grants) > 1:
            passed.set()
        return made

    monkeypatch.setattr(source_module, "_against", hold)
    of_a, of_b = (NamespaceGrant(frozenset({name}), None, ("h",), (f"/{name}",)) for name in "ab")
    record = Record(trio.to_thread.run_sync)
    cluster.put("a", "p")
    cluster.put_namespace("b")
    followed = source(cluster, record, grants=Grants((of_a, of_b)))
    async with trio.open_nursery() as nursery:
        await nursery.start(followed.run)
        cluster.server.lose("namespaces", REFUSED)
        cluster.delete("a", "p")
        # The clock jumps while threads work, so patience is for slow machines.
        await record.until(lambda: (record.denies(), len(record.snapshots[-1].held)) == (True, 1), 60)  # the denial is held back
        followed.use_grants(Grants((of_b,)))
        await _happens(reached)
        await record.until(record.unhealthy, 60)  # it is taken away, and closed until it is known what is left
        cluster.put("b", "p", deny("/b"))
        await record.until(lambda: record.denies("/b"), 60)
        followed.use_grants(Grants((of_b, NamespaceGrant(frozenset({"c"}), None, ("h",), ("/c",)))))
        await trio.sleep(1)
        assert record.unhealthy()
        opened.set()
        await _happens(passed)
        # The cut goes once the held version is held against the grants in force, which may be a version later.
        await record.until(lambda: record.passes() and all(version.revocation is None for version in record.snapshots[-1].held), 60)
        assert record.denies("/b")
        nursery.cancel_scope.cancel()
