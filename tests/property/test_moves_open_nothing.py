"""Law: whatever is put and withdrawn, and however long reading takes, what is denied at every moment of the source is never open.

Nor is anything open that the newest documents deny: what tightens does not wait. Both hold for as long as a version may be held; once
everything is read, or that time is up, the newest documents count alone.
"""

import attrs
import trio
from hypothesis import event, example, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from exchanger.assembly.assembler import EXPIRY_LOOK_S, HOLD_S, INLINE_BATCH, Assembler
from exchanger.assembly.backlog import LIGHT_WORK, Lane
from exchanger.policy.selection import Document, Text, advance
from exchanger.policy.snapshot import PolicySnapshot, stricter
from exchanger.values.entry import Source
from exchanger.values.verdict import Verdict
from tests.examples import examples
from tests.property.test_assembly_is_a_fresh_start import Finish, Pause, Put, Threads

PATHS = ("/x", "/y", "/x/z")
SOURCES = [Source(namespace, name) for namespace in "abc" for name in "pq"]
ISSUERS = frozenset({"one"})
DENY = "{match: {host: h, pathPrefix: %s}, action: deny}"
ALLOW = "{match: {host: h, pathPrefix: %s}, action: allow}"
EXCHANGE = "{match: {host: h, pathPrefix: %s}, action: exchange, exchange: {issuerRef: one, scope: s}}"
# Seconds of a pause, of which a history has too few for a version's time to be up.
PAUSES = (0.0, 0.001, 0.04)
LONGEST = 30


def document_of(entries: str, size: int = 0) -> Text:
    return Text(f"version: v1\nentries: [{entries}]\n{'#' * size}")


entries = st.builds(lambda action, path: action % path, st.sampled_from([DENY, DENY, DENY, ALLOW, EXCHANGE]), st.sampled_from(PATHS))
sizes = st.sampled_from([0, INLINE_BATCH, LIGHT_WORK])
documents: st.SearchStrategy[Document] = st.one_of(
    st.builds(document_of, entries, sizes),
    st.builds(document_of, st.builds("{}, {}".format, entries, entries), sizes),
    st.builds(document_of, st.sampled_from(["", "{}"]), sizes),
)


@attrs.frozen
class Move:
    """The denial of ``path`` comes in one place, and leaves another."""

    path: str
    origin: Source
    goal: Source
    size: int


Step = Put | Move | Finish | Pause
steps: st.SearchStrategy[Step] = st.one_of(
    st.builds(Put, st.sampled_from(SOURCES), documents | st.none()),
    st.builds(Move, st.sampled_from(PATHS), st.sampled_from(SOURCES), st.sampled_from(SOURCES), sizes),
    st.builds(Move, st.sampled_from(PATHS), st.sampled_from(SOURCES), st.sampled_from(SOURCES), sizes),
    st.builds(Finish, st.sampled_from(Lane)),
    st.builds(Pause, st.sampled_from(PAUSES)),
)
X = document_of(DENY % "/x")
LARGE_X = document_of(DENY % "/x", LIGHT_WORK)


def verdict(snapshot: PolicySnapshot, path: str) -> Verdict:
    return snapshot.match("h", path, "GET")


def is_refused(snapshot: PolicySnapshot, path: str) -> bool:
    """Tell whether ``path`` neither passes nor is exchanged."""
    return type(verdict(snapshot, path)).__name__ in {"DenyEntry", "Unhealthy", "Ambiguous"}


@attrs.define(eq=False)
class World:
    """What a source has put, which paths were refused at every moment of it, and the version in force."""

    made: Assembler
    state: dict[Source, Document] = attrs.field(factory=dict)
    refused: set[str] = attrs.field(factory=lambda: set(PATHS))
    in_force: PolicySnapshot | None = None
    held: int = 0

    def put(self, source: Source, document: Document | None) -> None:
        self.state.pop(source, None)
        if document is not None:
            self.state[source] = document
        self.made.put(source, document)
        self.refused = {path for path in self.refused if is_refused(self.moment(), path)}

    def moment(self) -> PolicySnapshot:
        return advance(PolicySnapshot.EMPTY, {}, self.state, ISSUERS).snapshot

    async def follow(self) -> None:
        while True:
            await self.made.news()
            self.look()

    def look(self) -> None:
        """Have a version in force if there is one, and see whether it is as strict as it has to be."""
        change = self.made.take()
        snapshot = self.made.refreshed() if change is None else change.snapshot
        if snapshot is None:
            return
        self.in_force = snapshot
        self.held = max(self.held, len(snapshot.held))
        newest = attrs.evolve(snapshot, held=())
        for path in PATHS:
            found = verdict(snapshot, path)
            assert type(stricter(found, verdict(newest, path))) is type(found), "what tightens waits"
            assert path not in self.refused or is_refused(snapshot, path), f"{path} is refused at every moment, and open"


async def live(before: dict[Source, Document], history: list[Step]) -> None:
    threads = Threads(free=True)
    made = Assembler(ISSUERS, run_sync=threads.run_sync)
    world = World(made)
    async with trio.open_nursery() as nursery:
        for source, first in before.items():
            made.put(source, first)
            world.state[source] = first
        world.refused = {path for path in PATHS if is_refused(world.moment(), path)}
        made.require()
        nursery.start_soon(made.run)
        nursery.start_soon(world.follow)
        await trio.sleep(1)
        threads.free = False
        for step in history:
            match step:
                case Put(source, document):
                    world.put(source, document)
                case Move(path, origin, goal, size):
                    world.put(goal, document_of(DENY % path, size))
                    if origin != goal:
                        world.put(origin, None)
                case Finish(lane):
                    threads.finish(made._limiters[lane])
                case Pause(seconds):
                    await trio.sleep(seconds)
        await trio.sleep(PAUSES[-1])
        event(f"held {world.held}, refused throughout {len(world.refused)}")
        world.refused.clear()  # from now on, the time of versions may be up
        for _ in SOURCES:
            threads.finish(made._limiters[Lane.LIGHT])
            await trio.sleep(PAUSES[-1])
        world.look()  # versions are announced once their lane goes on
        await trio.sleep(HOLD_S + 2 * EXPIRY_LOOK_S)
        assert world.in_force is None or not world.in_force.held
        threads.free = True
        for lane in Lane:
            threads.finish(made._limiters[lane])
        await trio.sleep(1)
        assert (world.in_force or PolicySnapshot.EMPTY) == world.moment()
        nursery.cancel_scope.cancel()


@settings(max_examples=examples(200))
@example({SOURCES[0]: X}, [Put(SOURCES[2], LARGE_X), Pause(0.04), Put(SOURCES[0], None), Pause(0.04)])
@example({SOURCES[0]: X}, [Put(SOURCES[2], LARGE_X), Pause(0.04), Put(SOURCES[0], document_of(DENY % "/y")), Pause(0.04)])
@given(
    st.dictionaries(st.sampled_from(SOURCES), st.builds(document_of, entries), min_size=1, max_size=3),
    st.lists(steps, min_size=5, max_size=LONGEST),
)
def test_what_is_denied_at_every_moment_is_never_open_while_documents_are_read(before: dict[Source, Document], history: list[Step]) -> None:
    trio.run(live, before, history, clock=MockClock(autojump_threshold=0))
