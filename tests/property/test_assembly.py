"""Laws of assembly: histories of documents end as a fresh start does, and are never open on the way."""

from collections.abc import Callable
from typing import Any, Final

import attrs
import pytest
import trio
from hypothesis import event, example, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from exchanger.assembly import assembler, backlog
from exchanger.assembly.assembler import EXPIRY_LOOK_S, HOLD_S, Assembler
from exchanger.assembly.backlog import CHANGE_WORK, LIGHT_WORK, Backlog, Lane
from exchanger.policy.grants.allowance import Grants, NamespaceGrant
from exchanger.policy.selection import DocumentText, Text, UnknownText, advance
from exchanger.policy.snapshot import PolicySnapshot, stricter
from exchanger.values.entry import DenyEntry, MatchScope, Source
from exchanger.values.selector import parse_selector
from exchanger.values.verdict import Verdict
from tests.examples import examples
from tests.policy.comparing import content

# Law: whatever is put in whatever order, and however reading and taking in are interleaved, the end is that of a fresh start.
#
# "The last version of a document wins, and a history of changes equals a fresh start": so lanes, budgets and what is under way do not show
# in the policy once everything is read. No version on the way has a document that nobody put, and none is taken before what is required.
# Grants change for all documents at once.


# Those that are read in the light lane's thread, and in the heavy one's.
PADDING = (0, LIGHT_WORK // 2, LIGHT_WORK)
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
    Grants((NamespaceGrant(frozenset({"a"}), None, ("h",), ("/a",)),), (DenyEntry(Source("", "baseline"), 0, MatchScope("h", "/")),)),
    Grants((NamespaceGrant(frozenset({"b"}), None, ("h",), ("",)), NamespaceGrant(None, parse_selector("team=red"), ("h",), ("/a",)))),
)
SOURCES = [Source(namespace, name) for namespace in "ab" for name in "pq"]
sources = st.sampled_from(SOURCES)
documents: st.SearchStrategy[DocumentText | None] = st.one_of(
    st.builds(
        lambda entries, size, labels: Text(f"version: v1\nentries: {entries}\n{'#' * size}", namespace_labels=labels),
        st.sampled_from(ENTRIES),
        st.sampled_from(PADDING),
        st.sampled_from([(), LABELS]),
    ),
    st.sampled_from([None, None, UnknownText("unreadable")]),
)


@attrs.frozen
class Put:
    source: Source
    document: DocumentText | None


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

    async def run_sync(self, function: Callable[..., object], *args: object, limiter: trio.CapacityLimiter, **_options: object) -> Any:
        result = function(*args)
        if not self.free:
            self.waiting[limiter] = event = trio.Event()
            await event.wait()
        await trio.lowlevel.checkpoint()
        return result

    def finish(self, limiter: trio.CapacityLimiter) -> None:
        if limiter in self.waiting:
            self.waiting.pop(limiter).set()


def says_one_of(snapshot: PolicySnapshot, source: Source, wanted: list[DocumentText | None]) -> bool:
    """Tell whether the source has one of these documents, or rightly none."""
    document = snapshot.document(source)
    if document is None:
        return None in wanted
    return document.text in [one.text if isinstance(one, Text) else None for one in wanted if one is not None]


def is_under_one(snapshot: PolicySnapshot, used: list[Grants]) -> bool:
    """Tell whether all documents are what the same grants leave of them."""
    return any(
        snapshot.baseline == grants.denials
        and all(namespace.allowances == grants.allowances(name, namespace.labels) for name, namespace in snapshot.namespaces.items())
        for grants in used
    )


def checked(snapshot: PolicySnapshot, since: dict[Source, list[DocumentText | None]], used: list[Grants]) -> PolicySnapshot:
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


def put(made: Assembler, wanted: dict[Source, DocumentText], source: Source, document: DocumentText | None) -> None:
    """Put a document; the labels are those of its namespace, so all other documents there get them, too."""
    made.put(source, document)
    if document is None:
        return
    wanted[source] = document
    for other, text in wanted.items():
        if other.namespace == source.namespace and text.namespace_labels != document.namespace_labels:
            wanted[other] = attrs.evolve(text, namespace_labels=document.namespace_labels)
            made.put(other, wanted[other])


async def follow(history: list[Step]) -> None:
    threads = Threads()
    made = Assembler(frozenset(), GRANTS[0], run_sync=threads.run_sync)
    wanted: dict[Source, DocumentText] = {}
    since: dict[Source, list[DocumentText | None]] = {}  # what each source was to be when something was last required, and later
    shown, used = PolicySnapshot.EMPTY, [GRANTS[0]]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.run)
        for step in [*history, *(Finish(lane) for lane in Lane)]:
            match step:
                case Put(source, document):
                    wanted.pop(source, None)
                    put(made, wanted, source, document)
                    since.setdefault(source, [None]).append(document)
                case Issuers(names):
                    made.issuers = names
                    for source, document in wanted.items():
                        made.put(source, document, reread=True)
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
                assert {one.source: one.text for one in snapshot.documents()} == {one.source: one.text for one in shown.documents()}
                shown = checked(snapshot, since, used)
        shown = await finished(threads, made) or shown
        assert shown.revocation is None
        nursery.cancel_scope.cancel()
    fresh = advance(PolicySnapshot.EMPTY, {}, wanted, made.issuers, grants=used[-1]).snapshot
    assert content(shown) == content(fresh)


@settings(max_examples=examples(150))
@given(st.lists(steps, max_size=25))
def test_the_end_is_that_of_a_fresh_start(history: list[Step]) -> None:
    trio.run(follow, history, clock=MockClock(autojump_threshold=0))


# Law: a document waits for no more characters of another namespace than it has itself, and one document on top.
#
# Whatever that namespace has waiting, and puts meanwhile, and however much the document's own namespace had read before. Its own documents
# that still wait, and the last one that was taken, count as its own characters.


works = st.integers(CHANGE_WORK, 20 * LIGHT_WORK)


@settings(max_examples=examples(200))
@given(st.lists(st.none() | st.tuples(st.sampled_from("abg"), works), min_size=10, max_size=80), works, st.data())
def test_a_document_waits_for_as_many_characters_of_another_namespace_as_it_has(
    history: list[tuple[str, int] | None], work: int, data: st.DataObject
) -> None:
    made, good = Backlog(lambda _source: 0), Source("g", "p")
    lane, most = (Lane.LIGHT, LIGHT_WORK) if work <= LIGHT_WORK else (Lane.HEAVY, 20 * LIGHT_WORK)
    began = data.draw(st.integers(0, len(history) - 1))
    read, own, allowed = {"a": 0, "b": 0, "g": 0}, dict[Source, int](), 0
    for number, step in enumerate([*history, *[None] * len(history)]):
        if number == began:
            made.put(good, Text("x" * (work - CHANGE_WORK)))
            read, allowed = dict.fromkeys(read, 0), work + sum(own.values()) + 2 * most
        if step is not None and not (step[0] == "g" and number >= began):
            source = Source(step[0], f"p{number}")
            made.put(source, Text("x" * (step[1] - CHANGE_WORK)))
            own.update({source: step[1]} if step[0] == "g" else {})
            continue
        taken = made.take(lane)
        if good in [pending.source for pending in taken]:
            break
        for pending in taken:
            read[pending.source.namespace] += pending.work
            own.pop(pending.source, None)
        made.done([pending.source for pending in taken])
    assert made.is_under_way(good)
    assert max(read["a"], read["b"]) <= allowed


# Law: whatever is put and withdrawn, and however long reading takes, what is denied at every moment of the source is never open.
#
# Nor is anything open that the newest documents deny: what tightens does not wait. Both hold for as long as a version may be held; once
# everything is read, or that time is up, the newest documents count alone.


PATHS = ("/x", "/y", "/x/z")
MOVING_SOURCES = [Source(namespace, name) for namespace in "abc" for name in "pq"]
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
sizes = st.sampled_from([0, LIGHT_WORK // 2, LIGHT_WORK])
moving_documents: st.SearchStrategy[DocumentText] = st.one_of(
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


MoveStep = Put | Move | Finish | Pause
move_steps: st.SearchStrategy[MoveStep] = st.one_of(
    st.builds(Put, st.sampled_from(MOVING_SOURCES), moving_documents | st.none()),
    st.builds(Move, st.sampled_from(PATHS), st.sampled_from(MOVING_SOURCES), st.sampled_from(MOVING_SOURCES), sizes),
    st.builds(Move, st.sampled_from(PATHS), st.sampled_from(MOVING_SOURCES), st.sampled_from(MOVING_SOURCES), sizes),
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
    state: dict[Source, DocumentText] = attrs.field(factory=dict)
    refused: set[str] = attrs.field(factory=lambda: set(PATHS))
    in_force: PolicySnapshot | None = None
    held: int = 0

    def put(self, source: Source, document: DocumentText | None) -> None:
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


async def live(before: dict[Source, DocumentText], history: list[MoveStep]) -> None:
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
        for _ in MOVING_SOURCES:
            threads.finish(made._limiters[Lane.LIGHT])
            await trio.sleep(PAUSES[-1])
        world.look()  # versions are announced once their lane goes on
        await trio.sleep(HOLD_S + 2 * EXPIRY_LOOK_S)
        assert world.in_force is None or not world.in_force.held
        threads.free = True
        for lane in Lane:
            threads.finish(made._limiters[lane])
        await trio.sleep(1)
        assert content(world.in_force or PolicySnapshot.EMPTY) == content(world.moment())
        nursery.cancel_scope.cancel()


@settings(max_examples=examples(80))
@example({MOVING_SOURCES[0]: X}, [Put(MOVING_SOURCES[2], LARGE_X), Pause(0.04), Put(MOVING_SOURCES[0], None), Pause(0.04)])
@example(
    {MOVING_SOURCES[0]: X}, [Put(MOVING_SOURCES[2], LARGE_X), Pause(0.04), Put(MOVING_SOURCES[0], document_of(DENY % "/y")), Pause(0.04)]
)
@given(
    st.dictionaries(st.sampled_from(MOVING_SOURCES), st.builds(document_of, entries), min_size=1, max_size=3),
    st.lists(move_steps, min_size=5, max_size=LONGEST),
)
def test_what_is_denied_at_every_moment_is_never_open_while_documents_are_read(
    before: dict[Source, DocumentText], history: list[MoveStep]
) -> None:
    trio.run(live, before, history, clock=MockClock(autojump_threshold=0))


# Law: the documents of a namespace that are withdrawn together leave in one version, however many they are and whatever else comes.
#
# Making that version takes many steps. What else comes and goes in between, in both lanes and also of the same documents, is lost in none
# of them, and the end is that of a fresh start.


EMPTY: Final = Text("version: v1\nentries: []\n")
SLICE: Final = 3
TOGETHER: Final = tuple(Source("a", f"p{number}") for number in range(3 * SLICE))
some_documents: st.SearchStrategy[DocumentText | None] = st.builds(
    lambda path, size: Text(f"version: v1\nentries: [{{match: {{host: h, pathPrefix: /{path}}}, action: deny}}]\n{'#' * size}"),
    st.sampled_from("xyz"),
    st.sampled_from([0, LIGHT_WORK]),
)
# Two others of the namespace, one that is withdrawn with the rest and may come back, and one of another namespace.
others = st.sampled_from([Source("a", "x"), Source("a", "y"), TOGETHER[0], Source("b", "x")])
LeaveStep = Put | Finish | Pause | Use
leave_steps: st.SearchStrategy[LeaveStep] = st.one_of(
    st.builds(Put, others, st.none() | some_documents | some_documents),
    st.builds(Put, others, st.none() | some_documents | some_documents),
    st.builds(Finish, st.sampled_from(Lane)),
    st.builds(Pause, st.sampled_from([0.0, 0.0, 0.001, 10.0])),
    st.builds(Use, st.sampled_from(GRANTS)),
)


def present(snapshot: PolicySnapshot) -> int:
    return sum(snapshot.document(source) is not None for source in TOGETHER[1:])


async def leave(before: list[LeaveStep], after: list[LeaveStep]) -> None:  # noqa: C901 - one line a step
    threads = Threads(free=True)
    made = Assembler(frozenset(), GRANTS[0], run_sync=threads.run_sync)
    wanted: dict[Source, DocumentText] = dict.fromkeys(TOGETHER, EMPTY)
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
    fresh = advance(PolicySnapshot.EMPTY, {}, wanted, frozenset(), grants=grants).snapshot
    assert content(last or shown[-1]) == content(fresh)


@settings(max_examples=examples(150))
@given(st.lists(leave_steps, max_size=6), st.lists(leave_steps, min_size=1, max_size=20))
def test_a_namespace_leaves_in_one_version(before: list[LeaveStep], after: list[LeaveStep]) -> None:
    with pytest.MonkeyPatch.context() as patched:
        for module in (assembler, backlog):
            patched.setattr(module, "WITHDRAWN_SLICE", SLICE)
        trio.run(leave, before, after, clock=MockClock(autojump_threshold=0))
