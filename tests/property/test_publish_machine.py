"""Laws of the machine: histories of sources end as a fresh start does, and are never open on the way."""

import heapq
import itertools
import math
from collections.abc import Callable
from typing import Final
from unittest import mock

import attrs
from hypothesis import event, example, given, settings
from hypothesis import strategies as st
from rpds import HashTrieMap

from exchanger.model.entry import DenyEntry, ExchangeEntry, MatchScope, Source
from exchanger.model.selector import parse_selector
from exchanger.policy.documents.document import Labels
from exchanger.policy.grants.allowance import NO_GRANTS, Grants, NamespaceGrant
from exchanger.policy.revocation import Revocation
from exchanger.policy.selection import DocumentText, Text, UnknownText
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.sources.publish import machine as machines
from exchanger.sources.publish.build import Build
from exchanger.sources.publish.machine import HOLD_S, Machine
from exchanger.sources.publish.pending import LIGHT_WORK
from tests.examples import examples
from tests.sources.publish.world import (
    ALLOW,
    DENY,
    EXCHANGE,
    FREE,
    JOBS,
    PATHS,
    Job,
    World,
    allowing_sources,
    begun,
    check_that_nothing_that_tightens_waits,
    denial,
    fresh,
    is_refused,
    text_of,
    told,
)

SOURCES = [Source(namespace, name) for namespace in "abc" for name in "pq"]
sources = st.sampled_from(SOURCES)


@attrs.frozen
class Put:
    source: Source
    text: DocumentText | None


@attrs.frozen
class Move:
    """The denial of ``path`` comes in one place, and leaves another."""

    path: str
    origin: Source
    goal: Source
    size: int


@attrs.frozen
class Finish:
    """A thread ends."""

    job: str


@attrs.frozen
class Pause:
    seconds: float


@attrs.frozen
class FallBehind:
    feed: str


@attrs.frozen
class CatchUp:
    feed: str


@attrs.frozen
class Pass:
    """A feed that may be behind knows everything up to now."""

    feed: str


# Law: whatever comes and goes, and however long reading takes, what is denied at every moment of the source is never open.
#
# Nor does anything wait that tightens, a removed document that allowed something included. Both hold for as long as a version may be held
# back, and whether feeds are behind or not. Once everything is read, the policy is that of a fresh start.


LONGEST = 30
# Seconds, of which a history has too few for the time of a version to be up.
PAUSES = (0.0, 0.001, 0.04)
FEEDS = "xy"
entries = st.builds(lambda action, path: action % path, st.sampled_from([DENY, DENY, DENY, ALLOW, EXCHANGE]), st.sampled_from(PATHS))
sizes = st.sampled_from([0, 0, LIGHT_WORK])
texts = st.one_of(
    st.builds(lambda one, size: text_of(one, size=size), entries, sizes),
    st.builds(lambda one, other, size: text_of(one, other, size=size), entries, entries, sizes),
    st.builds(lambda entry, size: text_of(entry, size=size), st.sampled_from(["", "{}"]), sizes),
)
MoveStep = Put | Move | Finish | Pause | FallBehind | CatchUp | Pass
moves = st.builds(Move, st.sampled_from(PATHS), sources, sources, sizes)
move_steps: st.SearchStrategy[MoveStep] = st.one_of(
    st.builds(Put, sources, texts | st.none()),
    moves,
    moves,
    st.builds(Finish, st.sampled_from(JOBS)),
    st.builds(Pause, st.sampled_from(PAUSES)),
    st.builds(FallBehind, st.sampled_from(FEEDS)),
    st.builds(CatchUp, st.sampled_from(FEEDS)),
    st.builds(Pass, st.sampled_from(FEEDS)),
)


@attrs.define(eq=False)
class Watched:
    """A world, what its source has reported, and which paths were refused at every moment of it."""

    world: World
    grants: Grants
    refuses_unmatched: bool
    state: dict[Source, DocumentText]
    refused: set[str] = attrs.field(factory=set)
    # The sources without a document when each of the last two builds began.
    gone: tuple[set[Source], set[Source]] = attrs.field(factory=lambda: (set(), set()))

    def __attrs_post_init__(self) -> None:
        self.refused = self.refused_now(set(PATHS))
        self.world.check, self.world.began = self.check, self.begun

    def refused_now(self, paths: set[str]) -> set[str]:
        moment = fresh(self.state, grants=self.grants)
        decisions = {path: moment.match("h", path, "GET", refuses_unmatched=self.refuses_unmatched) for path in paths}
        return {path for path, decision in decisions.items() if is_refused(decision, refuses_unmatched=self.refuses_unmatched)}

    def begun(self, job: Job) -> None:
        if isinstance(job, Build):
            self.gone = self.gone[1], {source for source in SOURCES if source not in self.state}

    def check(self, version: PolicySnapshot) -> None:
        check_that_nothing_that_tightens_waits(version, refuses_unmatched=self.refuses_unmatched)
        gone = self.gone[0] if "build" in self.world.jobs else self.gone[1]
        assert not allowing_sources(version) & gone, "what a removed document allows passes still"
        for path in sorted(self.refused):
            decision = version.match("h", path, "GET", refuses_unmatched=self.refuses_unmatched)
            assert is_refused(decision, refuses_unmatched=self.refuses_unmatched), f"{path} is refused at every moment, and open"

    def put(self, source: Source, text: DocumentText | None) -> None:
        self.state.pop(source, None)
        if text is not None:
            self.state[source] = text
        self.refused = self.refused_now(self.refused)
        self.world.apply({source: text})

    def take(self, step: MoveStep) -> None:
        world = self.world
        match step:
            case Put(source, text):
                self.put(source, text)
            case Move(path, origin, goal, size):
                self.put(goal, denial(path, size))
                if origin != goal:
                    self.put(origin, None)
            case Finish(job):
                world.finish(job)
            case Pause(seconds):
                world.pause(seconds)
            case FallBehind(feed):
                world.do(world.machine.fell_behind(feed, world.now, world.now))
            case CatchUp(feed):
                world.catch_up(feed)
            case Pass(feed):
                world.do(world.machine.passed(feed, world.now, world.now))


@settings(max_examples=examples(200))
@example(
    {SOURCES[0]: denial("/x")},
    [Put(SOURCES[2], denial("/x", LIGHT_WORK)), Pause(0.04), Put(SOURCES[0], None), Pause(0.04), Finish("build")],
    FREE,
    False,
)
@given(
    st.dictionaries(sources, st.builds(text_of, entries), min_size=1, max_size=3),
    st.lists(move_steps, min_size=5, max_size=LONGEST),
    st.sampled_from([FREE, NO_GRANTS]),
    st.booleans(),
)
def test_constant_denials_never_open_and_the_end_equals_a_fresh_start(
    before: dict[Source, DocumentText], history: list[MoveStep], grants: Grants, refuses_unmatched: bool
) -> None:
    watched = Watched(begun(before, feeds=FEEDS, grants=grants), grants, refuses_unmatched, dict(before))
    for step in history:
        watched.take(step)
    world = watched.world
    assert world.active is not None
    event(f"settled {world.active.settled is None}, refused throughout {len(watched.refused)}")
    watched.refused.clear()  # from now on, the time of versions may be up
    world.catch_up(*FEEDS)
    world.end()
    assert told(world.active) == told(fresh(watched.state, grants=grants))
    assert world.said.count("held back") == world.said.count("active")


# Law: however late the feed of documents is, a denial that moves between namespaces is never open, while the feeds are connected.
#
# Namespaces are selected and deselected at once, and documents are seen after a delay. A namespace that is deselected keeps what it denies
# until the other feed has passed that moment.


@attrs.frozen
class Write:
    source: Source
    text: DocumentText | None


@attrs.frozen
class Select:
    namespace: str
    is_selected: bool


@attrs.frozen
class Leave:
    """The denial of ``path`` comes in another namespace, which is selected, and the other namespaces are deselected."""

    path: str
    goal: Source


LateStep = Write | Select | Leave | float
late_steps: st.SearchStrategy[LateStep] = st.one_of(
    st.builds(Write, sources, texts | st.none()),
    st.builds(Select, st.sampled_from("abc"), st.booleans()),
    st.builds(Leave, st.sampled_from(PATHS), sources),
    st.builds(Leave, st.sampled_from(PATHS), sources),
    st.sampled_from([0.0, 0.01, 0.3, 2.0]),
)


@attrs.define(eq=False)
class Cluster:
    """Namespaces and documents, a feed of each, and a machine to which they report. Jobs take ``durations``, one after another."""

    delay: float
    durations: "itertools.cycle[float]"
    grants: Grants
    world: World = attrs.field(init=False)
    written: dict[Source, DocumentText] = attrs.field(factory=dict)
    seen: dict[Source, DocumentText] = attrs.field(factory=dict)
    selected: set[str] = attrs.field(factory=lambda: set("abc"))
    refused: set[str] = attrs.field(factory=set)
    deselected: int = 0
    _numbers: "itertools.count[int]" = attrs.field(factory=itertools.count)
    _later: list[tuple[float, int, Callable[[], None]]] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.world = begun({}, feeds=FEEDS, grants=self.grants)
        self.world.check, self.world.began = self.check, self.begun

    def moment(self) -> PolicySnapshot:
        selected = {source: text for source, text in self.written.items() if source.namespace in self.selected}
        return fresh(selected, grants=self.grants)

    def changed(self) -> None:
        moment = self.moment()
        self.refused = {path for path in self.refused if is_refused(moment.match("h", path, "GET"))}

    def check(self, version: PolicySnapshot) -> None:
        check_that_nothing_that_tightens_waits(version)
        for path in sorted(self.refused):
            assert is_refused(version.match("h", path, "GET")), f"{path} is refused at every moment, and open"

    def begun(self, job: Job) -> None:
        name = next(name for name, one in self.world.jobs.items() if one is job)
        self.later(next(self.durations), lambda: self.world.finish(name))

    def later(self, seconds: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._later, (self.world.now + seconds, next(self._numbers), what))

    def take(self, step: LateStep) -> None:
        match step:
            case Write(source, text):
                self.write(source, text)
            case Select(namespace, is_selected):
                self.select(namespace, is_selected=is_selected)
            case Leave(path, goal):
                self.select(goal.namespace, is_selected=True)
                self.write(goal, denial(path))
                for other in "abc":
                    if other != goal.namespace:
                        self.select(other, is_selected=False)
            case seconds:
                self.pause(seconds)

    def write(self, source: Source, text: DocumentText | None) -> None:
        self.written.pop(source, None)
        if text is not None:
            self.written[source] = text
        self.changed()
        self.later(self.delay, lambda: self.see(source, text))

    def see(self, source: Source, text: DocumentText | None) -> None:
        self.seen.pop(source, None)
        if text is not None:
            self.seen[source] = text
        if source.namespace in self.selected:
            self.world.apply({source: text})

    def select(self, namespace: str, *, is_selected: bool) -> None:
        if is_selected is (namespace in self.selected):
            return
        own = {source: text for source, text in self.seen.items() if source.namespace == namespace}
        (self.selected.add if is_selected else self.selected.remove)(namespace)
        self.changed()
        if is_selected:
            self.world.apply(own)
            return
        self.deselected += 1
        asked = self.deselected
        self.world.do(self.world.machine.fell_behind("order", -math.inf, self.world.now))
        self.world.apply(dict.fromkeys(own))
        self.later(self.delay, lambda: self.order(asked))

    def order(self, asked: int) -> None:
        """A list is reached that was asked for when a Namespace was deselected; it says nothing of later ones."""
        if asked == self.deselected:
            self.world.catch_up("order")

    def pause(self, seconds: float) -> None:
        end = self.world.now + seconds
        while self._later and self._later[0][0] <= end:
            at, _, what = heapq.heappop(self._later)
            self.world.pause(max(0.0, at - self.world.now))
            what()
        self.world.pause(end - self.world.now)


# Seconds by which documents are late at most.
LATEST_S: Final = 20.0


@settings(max_examples=examples(150))
@example(3.0, [0.1], [Leave("/x", SOURCES[0]), 2.0, 2.0, Leave("/x", SOURCES[2]), 2.0, 2.0], FREE)
@given(
    st.sampled_from([0.0, 0.5, 3.0, LATEST_S]),
    st.lists(st.sampled_from([0.0, 0.05, 0.2]), min_size=1, max_size=5),
    st.lists(late_steps, max_size=20),
    st.sampled_from([FREE, NO_GRANTS]),
)
def test_what_moves_between_namespaces_is_never_open_however_late_documents_are_seen(
    delay: float, durations: list[float], history: list[LateStep], grants: Grants
) -> None:
    cluster = Cluster(delay, itertools.cycle(durations), grants)
    for number, step in enumerate(history):
        cluster.take(step)
        if number == 1 + len(history) // 3:
            cluster.pause(LATEST_S + 10.0)
            moment = cluster.moment()
            cluster.refused = {path for path in PATHS if is_refused(moment.match("h", path, "GET"))}
    event(f"refused throughout {len(cluster.refused)}")
    cluster.pause(LATEST_S + HOLD_S + 1)
    assert cluster.world.active is not None
    assert told(cluster.world.active) == told(cluster.moment())


# Law: whatever is put in whatever order, and however threads end, the end is that of a fresh start.
#
# So lanes, budgets and what is under way do not show in the policy once everything is read. No version on the way has a document that
# nobody put, all documents of a version are held against the same grants, and no entry decides that the newest grants do not permit once
# it is known what they revoke, to labels that were known when the last version began to be built. No version comes before all that was
# there when the feeds had caught up.


RED = (("team", "red"),)
LABELS: tuple[tuple[Labels, ...], ...] = ((), (RED,), ((("team", "blue"),), RED))
GRANTS = (
    Grants(),
    Grants((NamespaceGrant(frozenset({"a"}), None, ("h",), ("/a",)),), (DenyEntry(Source("", "baseline"), 0, MatchScope("h", "/")),)),
    Grants(
        (
            NamespaceGrant(frozenset({"b"}), None, ("h",), ("",), issuers=("*",), scopes=("*",)),
            NamespaceGrant(None, parse_selector("team=red"), ("h",), ("/a",), issuers=("one",), scopes=("s",)),
        )
    ),
)
FEW = [Source(namespace, name) for namespace in "ab" for name in "pq"]
ENTRIES = (
    "",
    DENY % "/a",
    DENY % "/",
    EXCHANGE % "/a",
    "{match: {host: h, pathPrefix: /a}, action: exchange, exchange: {issuerRef: two, scope: s}}, {}",
)


@attrs.frozen
class Label:
    namespace: str
    labels: tuple[Labels, ...]


@attrs.frozen
class Issuers:
    names: frozenset[str]


@attrs.frozen
class Use:
    grants: Grants


Step = Put | Label | Issuers | Use | Finish | Pause | FallBehind | CatchUp
some_texts: st.SearchStrategy[DocumentText | None] = st.one_of(
    st.builds(lambda own, size: text_of(own, size=size), st.sampled_from(ENTRIES), st.sampled_from([0, 0, LIGHT_WORK])),
    st.sampled_from([None, None, UnknownText("unreadable"), Text(None)]),
)
steps: st.SearchStrategy[Step] = st.one_of(
    st.builds(Put, st.sampled_from(FEW), some_texts),
    st.builds(Put, st.sampled_from(FEW), some_texts),
    st.builds(Label, st.sampled_from("ab"), st.sampled_from(LABELS)),
    st.builds(Issuers, st.frozensets(st.sampled_from(["one", "two"]))),
    st.builds(Use, st.sampled_from(GRANTS)),
    st.builds(Finish, st.sampled_from(JOBS)),
    st.builds(Finish, st.sampled_from(JOBS)),
    st.builds(Pause, st.sampled_from([0.0, 0.001, 10.0])),
    st.builds(FallBehind, st.just("x")),
    st.builds(CatchUp, st.just("x")),
)


@attrs.define(eq=False)
class History:
    """What feeds have reported; what each source was to be since all was known last; and the grants that have been used."""

    world: World
    state: dict[Source, DocumentText] = attrs.field(factory=dict)
    labels: dict[str, tuple[Labels, ...]] = attrs.field(factory=dict)
    since: dict[Source, list[DocumentText | None]] = attrs.field(factory=dict)
    used: list[Grants] = attrs.field(factory=lambda: [GRANTS[0]])
    is_behind: bool = True
    # The labels at the beginning of each build.
    described: list[dict[str, tuple[Labels, ...]]] = attrs.field(factory=lambda: [{}])

    def begun(self, job: Job) -> None:
        if isinstance(job, Build):
            self.described.append(dict(self.labels))

    def take(self, step: Step) -> None:
        world = self.world
        match step:
            case Put(source, text):
                self.state.pop(source, None)
                if text is not None:
                    self.state[source] = text
                self.since.setdefault(source, [None]).append(text)
                world.apply({source: text})
            case Label(namespace, labels):
                self.labels[namespace] = labels
                world.apply({}, {namespace: labels})
            case Issuers(names):
                world.use_issuers(names)
            case Use(grants):
                self.used.append(grants)
                world.do(world.machine.granted(grants, world.now))
            case Finish(job):
                world.finish(job)
            case Pause(seconds):
                world.pause(seconds)
            case FallBehind(feed):
                self.is_behind = True
                world.do(world.machine.fell_behind(feed, world.now, world.now))
            case CatchUp(feed):
                if world.active is None and self.is_behind:
                    self.since = {source: [text] for source, text in self.state.items()}
                self.is_behind = False
                world.catch_up(feed)

    def check(self, version: PolicySnapshot) -> None:
        for source in FEW:
            document = version.document(source)
            wanted = self.since.get(source, [None])
            if document is None:
                assert None in wanted, f"{source} is missing"
            else:
                assert document.text in [one.text if isinstance(one, Text) else None for one in wanted if one is not None]
        assert version.grants in self.used
        for name, own in version.namespaces.items():
            assert own.allowances == version.grants.allowances(name, own.labels)
        coming = self.world.machine.next_grants
        if version.grants is self.used[-1] or (coming is not None and coming.grants is self.used[-1] and coming.is_revoked):
            for path in ("/a", "/"):
                decision = version.match("h", path, "GET")
                assert not isinstance(decision, ExchangeEntry) or self.is_permitted(decision, path, version), "a revoked right"

    def is_permitted(self, entry: ExchangeEntry, path: str, version: PolicySnapshot) -> bool:
        name = entry.source.namespace
        labels = self.described[-2 if "build" in self.world.jobs else -1].get(name, ())
        return Revocation(HashTrieMap({name: self.used[-1].allowances(name, labels)})).permits(entry, path)


@settings(max_examples=examples(200))
@example(
    [
        *(Put(FEW[0], text_of(DENY % "/a")), CatchUp("x"), Finish("light"), FallBehind("x")),
        *(Put(FEW[2], text_of(DENY % "/")), CatchUp("x"), Finish("light"), Finish("build")),
    ]
)
@given(st.lists(steps, max_size=30))
def test_the_end_is_that_of_a_fresh_start(history: list[Step]) -> None:
    world = World(Machine("x", frozenset(), PolicySnapshot(GRANTS[0])))
    followed = History(world)
    world.check, world.began = followed.check, followed.begun
    for step in history:
        followed.take(step)
    world.catch_up("x")
    world.end()
    assert world.active is not None
    expected = fresh(followed.state, world.machine.issuers, followed.used[-1], followed.labels)
    assert told(world.active) == told(expected)
    event(f"versions {min(len(world.changes), 5)}")
    assert world.machine.unread == 0
    texts: dict[Source, object] = {}
    for change in world.changes:
        texts |= {document.source: document.text for document in change.documents}
        for source in change.removed:
            texts.pop(source, None)
    assert texts == {one.source: one.text for one in expected.documents()}


# Law: the documents of a namespace that are removed together leave in one version, however many they are and whatever else comes.


STEP = 3
TOGETHER = tuple(Source("a", f"p{number}") for number in range(3 * STEP))
others = st.sampled_from([Source("a", "x"), Source("a", "y"), TOGETHER[0], Source("b", "x")])
LeaveStep = Put | Finish | Pause | Use
leave_texts = st.none() | st.builds(denial, st.sampled_from(["/x", "/y", "/z"]), st.sampled_from([0, LIGHT_WORK]))
leave_steps: st.SearchStrategy[LeaveStep] = st.one_of(
    st.builds(Put, others, leave_texts),
    st.builds(Put, others, leave_texts),
    st.builds(Finish, st.sampled_from(JOBS)),
    st.builds(Pause, st.sampled_from([0.0, 0.001, 10.0])),
    st.builds(Use, st.sampled_from(GRANTS)),
)


@settings(max_examples=examples(100))
@given(st.lists(leave_steps, max_size=6), st.lists(leave_steps, min_size=1, max_size=20), st.booleans())
def test_a_namespace_leaves_in_one_version(before: list[LeaveStep], after: list[LeaveStep], is_late: bool) -> None:
    with mock.patch.object(machines, "STEP", STEP):
        state: dict[Source, DocumentText] = dict.fromkeys(TOGETHER, text_of(ALLOW % "/"))
        world, grants = begun(state, grants=GRANTS[0]), GRANTS[0]
        for number, step in enumerate([*before, *after]):
            if number == len(before):
                state = {source: text for source, text in state.items() if source not in TOGETHER}
                if is_late:
                    world.do(world.machine.fell_behind("x", world.now, world.now))
                world.apply(dict.fromkeys(TOGETHER))
            match step:
                case Put(source, text):
                    state.pop(source, None)
                    if text is not None:
                        state[source] = text
                    world.apply({source: text})
                case Finish(job):
                    world.finish(job)
                case Pause(seconds):
                    world.pause(seconds)
                case Use(grants):
                    world.do(world.machine.granted(grants, world.now))
        world.catch_up("x")
        world.end()
        present = {sum(change.snapshot.document(source) is not None for source in TOGETHER[1:]) for change in world.changes}
        assert present <= {0, len(TOGETHER) - 1}
        assert world.active is not None
        assert told(world.active) == told(fresh(state, grants=grants))
