"""Law: the documents of a namespace that are withdrawn together leave in one version, however many they are and whatever else comes.

Making that version takes many steps. What else comes and goes in between, in both lanes and also of the same documents, is lost in none of
them, and the end is that of a fresh start.
"""

from typing import Final

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from exchanger.assembly import assembler, backlog
from exchanger.assembly.assembler import Assembler
from exchanger.assembly.backlog import LIGHT_WORK, Lane
from exchanger.policy.selection import Document, Text, advance
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.values.entry import Source
from tests.examples import examples
from tests.property.test_assembly_is_a_fresh_start import GRANTS, Finish, Pause, Put, Threads, Use, finished

EMPTY: Final = Text("version: v1\nentries: []\n")
SLICE: Final = 3
TOGETHER: Final = tuple(Source("a", f"p{number}") for number in range(3 * SLICE))
documents: st.SearchStrategy[Document | None] = st.builds(
    lambda path, size: Text(f"version: v1\nentries: [{{match: {{host: h, pathPrefix: /{path}}}, action: deny}}]\n{'#' * size}"),
    st.sampled_from("xyz"),
    st.sampled_from([0, LIGHT_WORK]),
)
# Two others of the namespace, one that is withdrawn with the rest and may come back, and one of another namespace.
others = st.sampled_from([Source("a", "x"), Source("a", "y"), TOGETHER[0], Source("b", "x")])
Step = Put | Finish | Pause | Use
steps: st.SearchStrategy[Step] = st.one_of(
    st.builds(Put, others, st.none() | documents | documents),
    st.builds(Put, others, st.none() | documents | documents),
    st.builds(Finish, st.sampled_from(Lane)),
    st.builds(Pause, st.sampled_from([0.0, 0.0, 0.001, 10.0])),
    st.builds(Use, st.sampled_from(GRANTS)),
)


def present(snapshot: PolicySnapshot) -> int:
    return sum(source in snapshot.documents for source in TOGETHER[1:])


async def follow(before: list[Step], after: list[Step]) -> None:  # noqa: C901 - one line a step
    threads = Threads(free=True)
    made = Assembler(frozenset(), GRANTS[0], run_sync=threads.run_sync)
    wanted: dict[Source, Document] = dict.fromkeys(TOGETHER, EMPTY)
    for source in TOGETHER:
        made.put(source, EMPTY)
    made.require()
    grants = GRANTS[0]
    shown: list[PolicySnapshot] = []
    passed_on = trio.Event()

    async def withdraw() -> None:
        await made.withdraw(TOGETHER)
        passed_on.set()

    def take() -> None:
        change = made.take()
        snapshot = made.refreshed() if change is None else change.snapshot
        if snapshot is not None:
            shown.append(snapshot)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.run)
        await trio.sleep(1)
        take()
        threads.free = False
        for number, step in enumerate([*before, *after]):
            if number == len(before):
                for source in TOGETHER:
                    wanted.pop(source, None)
                nursery.start_soon(withdraw)
                await trio.lowlevel.checkpoint()  # it is under way
            match step:
                case Put(source, document):
                    if source in TOGETHER and number >= len(before):
                        await passed_on.wait()  # a source puts one thing after the other
                    wanted.pop(source, None)
                    if document is not None:
                        wanted[source] = document
                    made.put(source, document)
                case Use(grants):
                    made.use_grants(grants)
                case Finish(lane):
                    threads.finish(made._limiters[lane])
                case Pause(0.0):
                    await trio.lowlevel.checkpoint()
                case Pause(seconds):
                    await trio.sleep(seconds)
            take()
        last = await finished(threads, made)
        nursery.cancel_scope.cancel()
    assert {present(snapshot) for snapshot in shown} <= {0, len(TOGETHER) - 1}
    fresh = advance(PolicySnapshot.EMPTY.with_baseline(grants.denials), {}, wanted, frozenset(), grants=grants).snapshot
    assert (last or shown[-1]) == fresh


@settings(max_examples=examples(150))
@given(st.lists(steps, max_size=6), st.lists(steps, min_size=1, max_size=20))
def test_a_namespace_leaves_in_one_version(before: list[Step], after: list[Step]) -> None:
    with pytest.MonkeyPatch.context() as patched:
        for module in (assembler, backlog):
            patched.setattr(module, "WITHDRAWN_SLICE", SLICE)
        trio.run(follow, before, after, clock=MockClock(autojump_threshold=0))
