"""Laws of conflicts that are followed from version to version: they are those of the newest one, and each difference is told once."""

import attrs
import trio
from hypothesis import event, example, given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from exchanger.model.entry import Source
from exchanger.policy.conflicts import STEP, Conflict, conflicts_of
from exchanger.policy.selection import Change, Text, advance
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.sources.publish.conflict_watch import SLICE, ConflictIndex, Conflicts, ConflictWatch
from tests.sources.publish.world import DENY, text_of

SOURCES = [Source(namespace, name) for namespace in "ab" for name in "pq"]
# A document of nothing, of entries of its own, or of entries that others may have too, in any order.
texts = st.lists(st.sampled_from(["/x", "/y", "/z"]), unique=True, max_size=3).map(lambda paths: text_of(*(DENY % path for path in paths)))
states = st.dictionaries(st.sampled_from(SOURCES), texts)


def changes_of(history: list[dict[Source, Text]]) -> list[Change]:
    """Return the version that each state makes."""
    snapshot, before, changes = PolicySnapshot.EMPTY, dict[Source, Text](), list[Change]()
    for after in history:
        changes.append(advance(snapshot, before, after, frozenset()))
        snapshot, before = changes[-1].snapshot, after
    return changes


def conflicts_in(snapshot: PolicySnapshot) -> dict[Source, Conflicts]:
    """Return the conflicts of each document that has any, looked for from the start."""
    found = {one.source: tuple(conflict for conflict in conflicts_of(one, snapshot) if conflict) for one in snapshot.documents()}
    return {source: conflicts for source, conflicts in found.items() if conflicts}


@example([{SOURCES[0]: text_of(DENY % "/x")}, dict.fromkeys(SOURCES[:2], text_of(DENY % "/x"))])
@given(st.lists(states, min_size=1, max_size=6))
def test_the_index_has_the_newest_conflicts_and_reports_what_differs(history: list[dict[Source, Text]]) -> None:
    index, before = ConflictIndex(), dict[Source, Conflicts]()
    for change in changes_of(history):
        changed = {*change.removed, *(document.source for document in change.documents)}
        told = [found for found in index.look(change.snapshot, changed) if found is not None]
        now = conflicts_in(change.snapshot)
        assert index.known == now
        differing = {source for source in {*before, *now} if before.get(source) != now.get(source)}
        assert sorted(told) == [(source, before.get(source, ())) for source in sorted(differing)]
        before = now
    event(f"documents in conflict {len(before)}")


def test_a_look_pauses_after_each_step_of_known_conflicts() -> None:
    count = 4 * STEP - 1
    (change,) = changes_of([{Source("a", f"p{number}"): text_of(DENY % f"/{number % (count // 2)}") for number in range(count)}])
    index = ConflictIndex()
    list(index.look(change.snapshot, [document.source for document in change.documents]))
    assert len(index.known) == count
    assert list(index.look(change.snapshot, [])) == [None] * 3


@attrs.define(eq=False)
class Observer:
    """What a watch tells: who has conflicts, and how often it has looked."""

    conflicts: dict[Source, Conflicts] = attrs.field(factory=dict)
    looks: int = 0

    def conflicts_changed(self, source: Source, before: tuple[Conflict, ...], after: tuple[Conflict, ...]) -> None:
        assert self.conflicts.pop(source, ()) == before
        if after:
            self.conflicts[source] = after

    def looked(self) -> None:
        self.looks += 1


@given(st.lists(states, min_size=1, max_size=6), st.integers(0, 6), st.lists(st.booleans(), min_size=6, max_size=6))
def test_observers_know_the_conflicts_of_the_newest_version(history: list[dict[Source, Text]], early: int, waits: list[bool]) -> None:
    async def watch() -> None:
        first, second = Observer(), Observer()
        conflicts, changes = ConflictWatch((first, second)), changes_of(history)
        for change in changes[:early]:
            conflicts.published(change)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(conflicts.run)
            for change, is_awaited in zip(changes[early:], waits, strict=False):
                conflicts.published(change)
                if is_awaited:
                    await wait_all_tasks_blocked()
                    assert first.conflicts == conflicts_in(change.snapshot)
            await wait_all_tasks_blocked()
            assert first.conflicts == second.conflicts == conflicts_in(changes[-1].snapshot)
            assert 1 <= first.looks == second.looks <= 1 + len(changes)
            nursery.cancel_scope.cancel()

    trio.run(watch, clock=MockClock())


async def test_a_version_of_many_documents_is_taken_and_looked_at_with_pauses() -> None:
    (change,) = changes_of([{Source("a", f"p{number}"): text_of() for number in range(3 * SLICE)}])
    observer, turns = Observer(), 0
    watch = ConflictWatch((observer,))
    watch.published(change)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        while not observer.looks:
            await trio.lowlevel.checkpoint()
            turns += 1
        nursery.cancel_scope.cancel()
    assert turns >= 3 + 3 * SLICE  # of the slices, and of looking at each document
