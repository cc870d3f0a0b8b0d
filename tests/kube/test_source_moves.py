"""A denial that moves to a document which takes long to read. The law is in ``tests/property/test_assembly.py``."""

import trio
from trio.testing import MockClock

from exchanger.assembly.assembler import APART_S, EXPIRY_LOOK_S, HOLD_S
from exchanger.assembly.backlog import LIGHT_WORK
from exchanger.kube.source import GATHER_S
from tests.assembly.test_assembler import Gate
from tests.kube.cluster import Cluster, Followed, deny, following

# Seconds until what is withdrawn is gone, whatever else is read: two gathers of events, one of versions, and a look.
GONE_S = HOLD_S + EXPIRY_LOOK_S + 3 * GATHER_S


def large(path: str) -> str:
    return f"{deny(path)}\n#{'#' * LIGHT_WORK}"


def cluster_with(*namespaces: str) -> Cluster:
    made = Cluster()
    for namespace in namespaces:
        made.put_namespace(namespace)
    made.put("a", "p")
    return made


def never_read(followed: Followed) -> Gate:
    """Let threads begin, and not end."""
    gate = Gate()
    followed.source._assembler.run_sync = gate.run_sync
    return gate


async def test_a_deny_that_moves_to_a_large_document_of_another_namespace_is_never_missing(autojump_clock: MockClock) -> None:
    async with following(cluster_with("a", "b")) as followed:
        gate = never_read(followed)
        followed.cluster.put("b", "p", large("/a"))
        await trio.sleep(0.1)
        followed.cluster.delete("a", "p")
        for _ in range(10):
            await trio.sleep(0.1)
            assert followed.record.denies()
        gate.event.set()
        await followed.record.until(lambda: not followed.record.snapshots[-1].held, 1)
        assert {found.namespace for found in followed.record.snapshots[-1].documents} == {"b"}
        assert followed.record.denies()


async def test_documents_that_are_never_read_keep_nothing_in_force_for_two_seconds(autojump_clock: MockClock) -> None:
    async with following(cluster_with("a", "b", "evil")) as followed:
        cluster, record = followed.cluster, followed.record
        cluster.put("b", "p", deny("/b"))
        await record.until(lambda: record.denies("/b"), 1)
        never_read(followed)
        for number in range(5):
            cluster.put("evil", f"p{number}", large(f"/{number}"))
        await trio.sleep(1)
        cluster.delete("a", "p")
        await record.until(record.passes, GONE_S)
        cluster.put_namespace("b", {})
        await record.until(lambda: record.passes("/b"), GONE_S)


async def test_what_tightens_does_not_wait_while_versions_are_held_and_those_are_few(autojump_clock: MockClock) -> None:
    async with following(cluster_with("a", "b")) as followed:
        never_read(followed)
        followed.cluster.put("b", "p", large("/b"))
        await trio.sleep(0.1)
        for number in range(50):
            followed.cluster.put("a", "p", deny(f"/{number:02}"))
            await followed.record.until(lambda number=number: followed.record.denies(f"/{number:02}"), 3 * GATHER_S)  # type: ignore[misc]
            assert len(followed.record.snapshots[-1].held) <= HOLD_S / APART_S + 1


async def test_a_namespace_that_withdraws_what_it_put_holds_nothing(autojump_clock: MockClock) -> None:
    async with following(cluster_with("a", "b")) as followed:
        never_read(followed)
        followed.cluster.put("b", "p", large("/b"))
        await trio.sleep(0.1)
        followed.cluster.delete("b", "p")
        followed.cluster.delete("a", "p")
        await followed.record.until(followed.record.passes, 3 * GATHER_S)
