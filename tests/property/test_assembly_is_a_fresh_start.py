"""Law: whatever is put in whatever order, and however reading and taking in are interleaved, the end is that of a fresh start.

"The last version of a document wins, and a history of changes equals a fresh start": so lanes, budgets and what is under way do not show in
the policy once everything is read. No version on the way has a document that nobody put, and none is taken before what is required. Grants
change for all documents at once.
"""

from collections.abc import Callable

import attrs
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from exchanger.assembly.assembler import INLINE_BATCH, INLINE_WORK, Assembler
from exchanger.assembly.backlog import LIGHT_WORK, Lane
from exchanger.policy.grants.allowance import Grant, Grants
from exchanger.policy.grants.restriction import again
from exchanger.policy.selection import Document, Text, Unknown, advance
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.values.entry import DenyEntry, MatchScope, Source
from exchanger.values.selector import parse_selector
from tests.examples import examples

# Those that are read on the event loop, in the light lane's thread, and in the heavy one's.
PADDING = (0, INLINE_WORK, INLINE_BATCH, LIGHT_WORK)
ENTRIES = (
    "[]",
    "[{match: {host: h, pathPrefix: /a}, action: deny}]",
    "[{match: {host: h}, action: deny}]",
    "[{match: {host: h, pathPrefix: /a}, action: exchange, exchange: {issuerRef: one, scope: s}}]",
    "[{match: {host: h, pathPrefix: /a}, action: exchange, exchange: {issuerRef: two, scope: s}}, {}]",
)
LABELS = ((("team", "red"),),)
GRANTS = (
    Grants(),
    Grants((Grant(frozenset({"a"}), None, ("h",), ("/a",)),), (DenyEntry(Source("", "baseline"), 0, MatchScope("h", "/")),)),
    Grants((Grant(frozenset({"b"}), None, ("h",), ("",)), Grant(None, parse_selector("team=red"), ("h",), ("/a",)))),
)
SOURCES = [Source(namespace, name) for namespace in "ab" for name in "pq"]
sources = st.sampled_from(SOURCES)
documents: st.SearchStrategy[Document | None] = st.one_of(
    st.builds(
        lambda entries, size, labels: Text(f"version: v1\nentries: {entries}\n{'#' * size}", namespace_labels=labels),
        st.sampled_from(ENTRIES),
        st.sampled_from(PADDING),
        st.sampled_from([(), LABELS]),
    ),
    st.sampled_from([None, None, Unknown("unreadable")]),
)


@attrs.frozen
class Put:
    source: Source
    document: Document | None


@attrs.frozen
class Issuers:
    names: frozenset[str]


@attrs.frozen
class Use:
    grants: Grants


@attrs.frozen
class Finish:
    """A lane's thread ends."""

    lane: Lane


@attrs.frozen
class Pause:
    seconds: float


@attrs.frozen
class Require:
    pass


Step = Put | Issuers | Use | Finish | Pause | Require

steps: st.SearchStrategy[Step] = st.one_of(
    st.builds(Put, sources, documents),
    st.builds(Put, sources, documents),
    st.builds(Issuers, st.frozensets(st.sampled_from(["one", "two"]))),
    st.builds(Use, st.sampled_from(GRANTS)),
    st.builds(Finish, st.sampled_from(Lane)),
    st.builds(Pause, st.sampled_from([0.0, 0.001, 10.0])),
    st.builds(Require),
)


@attrs.define(eq=False)
class Threads:
    """Stands for the worker threads: what is run in one is done when it is let."""

    waiting: dict[trio.CapacityLimiter, trio.Event] = attrs.field(factory=dict)
    free: bool = False

    async def run_sync(
        self, function: Callable[..., object], *args: object, abandon_on_cancel: bool, limiter: trio.CapacityLimiter
    ) -> object:
        assert abandon_on_cancel
        result = function(*args)
        if not self.free:
            self.waiting[limiter] = event = trio.Event()
            await event.wait()
        await trio.lowlevel.checkpoint()
        return result

    def finish(self, limiter: trio.CapacityLimiter) -> None:
        if limiter in self.waiting:
            self.waiting.pop(limiter).set()


def says_one_of(snapshot: PolicySnapshot, source: Source, wanted: list[Document | None]) -> bool:
    """Tell whether the source has one of these documents, or rightly none."""
    document = snapshot.documents.get(source)
    if document is None:
        return None in wanted
    return document.text in [one.text if isinstance(one, Text) else None for one in wanted if one is not None]


def is_under_one(snapshot: PolicySnapshot, used: list[Grants]) -> bool:
    """Tell whether all documents are what the same grants leave of them."""
    return any(
        snapshot.baseline == grants.denials and all(again(document, grants) == document for document in snapshot.documents.values())
        for grants in used
    )


def checked(snapshot: PolicySnapshot, since: dict[Source, list[Document | None]], used: list[Grants]) -> PolicySnapshot:
    assert all(says_one_of(snapshot, source, since.get(source, [None])) for source in SOURCES)
    assert is_under_one(snapshot, used)
    return snapshot


async def finished(threads: Threads, made: Assembler) -> PolicySnapshot | None:
    threads.free = True
    for lane in Lane:
        threads.finish(made._limiters[lane])
    await trio.sleep(1)
    assert made.unread == 0
    change = made.take()
    snapshot = made.refreshed() if change is None else change.snapshot
    assert (made.take(), made.refreshed()) == (None, None)
    assert made.take(anyway=True) is not None
    return snapshot


async def follow(history: list[Step]) -> None:
    threads = Threads()
    made = Assembler(frozenset(), GRANTS[0], run_sync=threads.run_sync)
    wanted: dict[Source, Document] = {}
    since: dict[Source, list[Document | None]] = {}  # what each source was to be when something was last required, and later
    shown, used = PolicySnapshot.EMPTY, [GRANTS[0]]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.run)
        for step in [*history, *(Finish(lane) for lane in Lane)]:
            match step:
                case Put(source, document):
                    wanted.pop(source, None)
                    if document is not None:
                        wanted[source] = document
                    made.put(source, document)
                    since.setdefault(source, [None]).append(document)
                case Issuers(names):
                    made.issuers = names
                    for source, document in wanted.items():
                        made.put(source, document, again=True)
                case Use(grants):
                    used.append(grants)
                    made.use_grants(grants)
                case Finish(lane):
                    threads.finish(made._limiters[lane])
                case Pause(seconds):
                    await trio.sleep(seconds)
                case Require():
                    made.require()
                    since = {source: [document] for source, document in wanted.items()}
            change = made.take()
            if change is not None:
                assert change.documents or change.withdrawn or len(used) > 1
                shown = checked(change.snapshot, since, used)
            if (snapshot := made.refreshed()) is not None:
                assert snapshot.documents == shown.documents
                shown = checked(snapshot, since, used)
        shown = await finished(threads, made) or shown
        assert shown.cut is None
        nursery.cancel_scope.cancel()
    empty = PolicySnapshot.EMPTY.with_baseline(used[-1].denials)
    assert shown == advance(empty, {}, wanted, made.issuers, grants=used[-1]).snapshot
    assert {source: document.text for source, document in shown.documents.items()} == {
        source: document.text if isinstance(document, Text) else None for source, document in wanted.items()
    }


@settings(max_examples=examples(150))
@given(st.lists(steps, max_size=25))
def test_the_end_is_that_of_a_fresh_start(history: list[Step]) -> None:
    trio.run(follow, history, clock=MockClock(autojump_threshold=0))
