"""Law of the machine: whatever two feeds report, and however late they are or threads end, no version is more open than what is known.

- What a version refused whose parts were of one moment stays refused while a feed may not know what belongs to a removal, and for
  ``HOLD_S`` while anything is unread. What tightens does not wait.
- Nothing passes by a right that none of the known grants gives to any of the labels that are known, or by a document that is gone.
- The first version, and the first one after an outage, has everything that the feeds knew when they had caught up. No version is older.
- If no thread is busy, everything that is known has been built. What loosens waits for at most ``HOLD_S`` and the build under way then.
- Once the feeds have caught up and threads have ended, the policy is that of a service that starts now.
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from itertools import permutations, product
from typing import Final, TypeAlias

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st
from rpds import HashTrieMap

from exchanger.model.entry import AllowEntry, DenyEntry, ExchangeEntry, MatchScope, Source
from exchanger.model.selector import parse_selector
from exchanger.policy.documents.document import Labels
from exchanger.policy.grants.allowance import NO_GRANTS, Grants, NamespaceGrant
from exchanger.policy.limits import NamespaceLimits
from exchanger.policy.revocation import Revocation
from exchanger.policy.selection import DocumentText, Text, UnknownText, read
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.sources.publish.build import Build, Revoke
from exchanger.sources.publish.machine import GATHER_S, HOLD_S, Machine
from exchanger.sources.publish.pending import LIGHT_WORK
from tests.examples import examples
from tests.sources.publish.world import (
    ALLOW,
    DENY,
    EXCHANGE,
    FREE,
    ISSUERS,
    PATHS,
    Job,
    World,
    allowing_sources,
    check_that_nothing_that_tightens_waits,
    denial,
    is_refused,
    text_of,
    told,
)

# The feed that reports the documents and the labels of each namespace.
FEED_OF: Final = {"a": "x", "b": "y"}
SOURCES: Final = [Source("a", "p"), Source("a", "q"), Source("b", "p")]
RED, BLUE = (((("team", team),),) for team in ("red", "blue"))
DENIERS: Final = NamespaceGrant(None, None, ("*",))
TO_RED, TO_BLUE = (attrs.evolve(FREE.grants[0], selector=parse_selector(f"team={team}")) for team in ("red", "blue"))
GRANTS: Final = (
    NO_GRANTS,
    FREE,
    Grants((DENIERS, TO_RED)),
    Grants((TO_RED, attrs.evolve(TO_BLUE, path_prefixes=("/x",)))),
    Grants((DENIERS, attrs.evolve(FREE.grants[0], namespaces=frozenset("a")))),
    Grants((TO_RED,), enforced=False),
    Grants(FREE.grants, (DenyEntry(Source("", "baseline"), 0, MatchScope("h", "/y")),), limits=NamespaceLimits(fail_closed_scopes=3)),
)
document: Final = lru_cache(maxsize=1_000)(read)
Described: TypeAlias = tuple[Labels, ...]
# What is known: the text of each source, and the labels of each namespace.
State: TypeAlias = tuple[dict[Source, DocumentText], dict[str, Described]]
Kept: TypeAlias = tuple[float, dict[Source, DocumentText | None], dict[str, Described]]


def meaning(version: PolicySnapshot) -> object:
    routes = {(host, route) for host, there in version.hosts.by_name.items() for route in there.routes()}
    return {one.source: one.text for one in version.documents()}, routes


@attrs.define(eq=False)
class History:
    """Two feeds and a machine, and what its versions have to keep."""

    grants: list[Grants]
    max_staleness: float
    refuses_unmatched: bool
    world: World = attrs.field(init=False)
    issuers: frozenset[str] = ISSUERS
    # All that has been known, the newest last, and the places in it of what was known when builds began: of that under way, of the last
    # one that ended, and of the last one that was not for labels alone.
    known: list[State] = attrs.field(factory=lambda: [({}, {})])
    begun: int = 0
    labelled: int = 0
    built: int = 0
    # Of each feed that is behind, until when it knows everything, and what it keeps; and when each feed reported something last.
    behind: dict[str, float] = attrs.field(factory=lambda: dict.fromkeys("xy", -math.inf))
    kept: dict[str, list[Kept]] = attrs.field(factory=lambda: {"x": [], "y": []})
    reported: dict[str, float] = attrs.field(factory=dict)
    # Since when the feeds have caught up with each other, whether all has been read since; and the texts of each source since.
    caught_up_at: float = math.inf
    is_read: bool = False
    since: dict[Source, list[DocumentText | None]] = attrs.field(factory=dict)
    # Grants of which it is not known yet what they revoke, and the last ones of which it is.
    used: list[Grants] = attrs.field(init=False)
    # The last version whose parts were of one moment, or whose time was up, and what it refuses under its grants and all later ones.
    base: PolicySnapshot | None = None
    based: int = 0
    refused: set[str] = attrs.field(factory=set)
    # Since when something is known that it lacks; and when no version had to wait last.
    news_at: float = math.inf
    free_at: float = 0.0
    build_began: float = 0.0

    def __attrs_post_init__(self) -> None:
        self.used = self.grants[:]
        machine = Machine("xy", ISSUERS, PolicySnapshot(self.grants[0]), self.max_staleness)
        self.world = World(machine, self.publish, began=self.began)

    def put(self, source: Source, text: DocumentText | None) -> None:
        self.change(source.namespace, {source: text}, {})

    def move(self, path: str, ends: tuple[Source, Source], size: int) -> None:
        """A denial comes in one place, and leaves another."""
        self.put(ends[1], denial(path, size))
        self.put(ends[0], None)

    def fall_behind(self, feed: str, age: float) -> None:
        """A feed keeps what is new from now on."""
        self.behind[feed] = until = min(self.world.now - age, self.behind.get(feed, math.inf))
        self.look()
        self.world.do(self.world.machine.fell_behind(feed, until, self.world.now))

    def deliver(self, feed: str, count: int) -> None:
        """A feed that is behind reports ``count`` of the changes that it kept, if there are so many."""
        if feed in self.behind:
            self.world.pause(0.001)
            self.report(feed, count)
            until = math.nextafter(self.kept[feed][0][0], -math.inf) if self.kept[feed] else self.world.now
            self.behind[feed] = max(self.behind[feed], until)
            self.look()
            self.world.do(self.world.machine.passed(feed, until, self.world.now))

    def catch_up(self, feeds: str) -> None:
        for feed in feeds:
            self.report(feed, len(self.kept[feed]))
            self.behind.pop(feed, None)
            self.look()
            self.world.catch_up(feed)

    def grant(self, grants: Grants) -> None:
        self.grants.append(attrs.evolve(grants))
        self.used.append(self.grants[-1])
        self.learn()
        self.world.do(self.world.machine.granted(self.grants[-1], self.world.now))

    def use_issuers(self, names: frozenset[str]) -> None:
        self.issuers = names
        self.news_at = min(self.news_at, self.world.now)
        self.world.use_issuers(names)

    def finish(self, number: int) -> None:
        """A thread ends, the one of this number if so many are busy."""
        if self.world.jobs:
            self.world.pause(0.001)
            name, job = list(self.world.jobs.items())[number % len(self.world.jobs)]
            if isinstance(job, Build):
                self.labelled, self.built = self.begun, self.built if job.losing else self.begun
            elif isinstance(job, Revoke) and job.grants is self.grants[-1]:
                self.used = [job.grants]
            self.world.finish(name)
            if self.world.active is not None:
                self.check(self.world.active)

    def pause(self, seconds: float) -> None:
        self.world.pause(seconds)

    def end(self) -> None:
        self.catch_up("xy")
        while self.world.jobs or self.world.timer <= self.world.now + GATHER_S:
            self.finish(0)
            self.world.pause(GATHER_S)
            self.check_now()

    # What is known.

    def change(self, namespace: str, texts: dict[Source, DocumentText | None], labels: dict[str, Described]) -> None:
        feed = FEED_OF[namespace]
        self.kept[feed].append((self.world.now, texts, labels))
        if feed not in self.behind:
            self.report(feed, 1)

    def report(self, feed: str, count: int) -> None:
        (before, described), texts, labels = self.known[-1], dict[Source, DocumentText | None](), dict[str, Described]()
        for _, new, others in self.kept[feed][:count]:
            texts, labels = {**texts, **new}, {**labels, **others}
        del self.kept[feed][:count]
        texts = {source: text for source, text in texts.items() if text != before.get(source)}
        labels = {name: own for name, own in labels.items() if own != described.get(name)}
        if texts or labels:
            self.reported[feed] = self.world.now
            own = {source: text for source, text in {**before, **texts}.items() if text is not None}
            self.known.append((own, {**described, **labels}))
            for source, text in texts.items():
                self.since.setdefault(source, [None]).append(text)
            self.learn()
            self.look()
            self.world.apply(texts, labels, feeds=(feed,))

    def learn(self) -> None:
        """Refuse no longer what labels and grants that are known now may open; labels alone open nothing."""
        self.news_at = min(self.news_at, self.world.now)
        if self.base is not None:
            own = next(number for number, grants in enumerate(self.grants) if grants is self.base.grants)
            for grants, (_, labels) in product(self.grants[own + 1 :], [({}, {}), *self.known[self.based :]]):
                if self.refused:
                    self.refused &= self.refused_by(self.base.changed({}, labels).with_grants(grants))

    def look(self) -> None:
        """See whether each feed knows the moment of what the other has reported."""
        reported = ((until, [at for other, at in self.reported.items() if other != feed]) for feed, until in self.behind.items())
        if self.world.now >= self.expires_at or not all(until > max(at, default=-math.inf) for until, at in reported):
            self.caught_up_at, self.is_read = math.inf, False
        elif self.caught_up_at == math.inf:
            self.caught_up_at = self.world.now
            self.since = {source: [text] for source, text in self.known[-1][0].items()}

    @property
    def expires_at(self) -> float:
        known = [until for until in self.behind.values() if until > -math.inf]
        return min(known, default=math.inf) + (self.max_staleness or math.inf)

    def began(self, job: Job) -> None:
        if isinstance(job, Build):
            self.begun, self.build_began = len(self.known) - 1, self.world.now

    # What must hold.

    def refused_by(self, version: PolicySnapshot) -> set[str]:
        own = self.refuses_unmatched
        return {path for path in PATHS if is_refused(version.match("h", path, "GET", refuses_unmatched=own), refuses_unmatched=own)}

    def expected(self) -> PolicySnapshot:
        texts, labels = self.known[-1]
        documents = {source: document(source, text, self.issuers) for source, text in texts.items()}
        return PolicySnapshot(self.grants[-1]).changed(documents, labels)

    def publish(self, version: PolicySnapshot) -> None:
        if version.settled is None and (self.base is None or meaning(version) != meaning(self.base)):
            self.settle(version)
        self.check(version)

    def settle(self, version: PolicySnapshot) -> None:
        now, is_complete = self.world.now, told(version) == told(self.expected())
        if self.base is None:
            assert self.caught_up_at < math.inf, "a version opens while a feed is behind"
            for source in SOURCES:
                own = self.since.get(source, [None])
                text = None if (found := version.document(source)) is None else found.text
                assert text in [getattr(one, "text", None) for one in own], "the first version lacks what was known"
        elif not (is_complete and self.caught_up_at < math.inf):
            assert now >= self.news_at + HOLD_S, "what loosens does not wait"
            wait = 0 if now >= self.caught_up_at + HOLD_S else self.max_staleness or math.inf
            assert now >= self.news_at + wait, "what a feed may not know takes effect"
        self.base, self.based = attrs.evolve(version, revocation=None), self.labelled
        self.refused = self.refused_by(self.base)
        self.learn()
        self.news_at = math.inf if is_complete and not self.world.jobs else now

    def check(self, version: PolicySnapshot) -> None:
        check_that_nothing_that_tightens_waits(version, refuses_unmatched=self.refuses_unmatched)
        assert self.refused <= self.refused_by(version), "what a settled version refuses is open"
        for path in PATHS:
            decision = version.match("h", path, "GET", refuses_unmatched=self.refuses_unmatched)
            assert not isinstance(decision, ExchangeEntry | AllowEntry) or self.is_permitted(decision, path), "a right that nobody gives"
        there = {source for texts, _ in self.known[self.built :] for source in texts}
        assert allowing_sources(version) <= there, "what a removed document allows passes"

    def is_permitted(self, entry: ExchangeEntry | AllowEntry, path: str) -> bool:
        name = entry.source.namespace
        rights = product(self.used, {labels.get(name, ()) for _, labels in self.known[self.labelled :]})
        revocations = [Revocation(HashTrieMap({name: one.allowances(name, own)}), enforced=one.enforced) for one, own in rights]
        return any(revocation.permits(entry, path) for revocation in revocations)

    def check_now(self) -> None:
        self.look()
        world, version, now = self.world, self.world.active, self.world.now
        has_caught_up = self.caught_up_at < math.inf
        if not world.jobs and world.timer > now and (has_caught_up or version is not None):
            assert told(world.machine.newest) == told(self.expected()), "what is known is not being built"
            assert not has_caught_up or (version is not None and version.settled is None), "what is built does not take effect"
        self.is_read = has_caught_up and (self.is_read or world.machine.pending.is_read)
        self.base = self.base if version is not None else None
        assert version is None or now < self.expires_at, "what is known is too old"
        if version is None or version.settled is None or not self.is_read:
            self.free_at = now
        limit = self.free_at + HOLD_S
        assert now <= limit or ("build" in world.jobs and self.build_began <= limit), "what loosens waits for too long"


Step: TypeAlias = Callable[[History], None]
SIZES: Final = (0, LIGHT_WORK)
ENTRIES: Final = [action % path for action in (DENY, ALLOW, EXCHANGE) for path in PATHS[:2]]
TEXTS: Final = [text_of(*own, size=size) for own in (*product(ENTRIES), *permutations(ENTRIES, 2)) for size in SIZES]
ODD: Final = (None, None, text_of("{}"), text_of("{}", "{}"), Text(None), UnknownText("unreadable"))
PUTS: Final = [partial(History.put, source=source, text=text) for source in SOURCES for text in TEXTS]
KINDS: Final[list[Sequence[Step]]] = [
    PUTS,
    [partial(History.move, path=path, ends=ends, size=size) for path in PATHS for ends in permutations(SOURCES, 2) for size in SIZES],
    [partial(History.put, source=source, text=text) for source in SOURCES for text in ODD],
    [partial(History.change, namespace=name, texts={}, labels={name: labels}) for name in FEED_OF for labels in (RED, BLUE)],
    [partial(History.fall_behind, feed=feed, age=age) for feed in "xy" for age in (0.0, 0.0, math.inf)],
    [partial(History.catch_up, feeds=feeds) for feeds in ("x", "y", "xy", "xy")],
    [partial(History.deliver, feed=feed, count=count) for feed in "xy" for count in (1, 9, 9)],
    *[[partial(History.grant, grants=grants) for grants in GRANTS]] * 2,
    [partial(History.use_issuers, names=names) for names in (ISSUERS, frozenset[str]())],
    [partial(History.pause, seconds=seconds) for seconds in (0.001, 0.5, HOLD_S, 2 * HOLD_S)],
]
FINISHES: Final = [partial(History.finish, number=number) for number in range(5)]


def steps_of(kinds: list[Sequence[Step]]) -> st.SearchStrategy[list[Step]]:
    """Return histories of a few kinds of steps: what happens often in one seldom happens in another."""
    table: list[st.SearchStrategy[Step]] = [st.sampled_from(own) for own in (PUTS, *kinds, *[FINISHES] * (1 + len(kinds) // 2))]
    return st.lists(st.sampled_from(table).flatmap(lambda own: own), min_size=12, max_size=40)


@settings(max_examples=examples(300))
@given(
    st.lists(st.sampled_from(PUTS), max_size=5),
    st.lists(st.sampled_from(KINDS), min_size=4, max_size=8).flatmap(steps_of),
    st.sampled_from(GRANTS),
    st.sampled_from([0.0, 0.0, 5.0]),
    st.booleans(),
    st.sampled_from([True, True, True, False]),
)
def test_no_version_is_more_open_than_what_is_known(
    before: list[Step], steps: list[Step], grants: Grants, max_staleness: float, refuses_unmatched: bool, is_open: bool
) -> None:
    history = History([attrs.evolve(grants)], max_staleness, refuses_unmatched)
    for name in FEED_OF:
        history.change(name, {}, {name: RED})
    for step in [*before, *([History.end] if is_open else ()), *steps]:
        step(history)
        history.check_now()
    history.end()
    world = history.world
    assert world.active is not None
    assert meaning(world.active) == meaning(world.machine.newest), "labels alone publish nothing"
    assert told(world.machine.newest) == told(history.expected())
    assert world.machine.unread == 0
    assert world.said.count("held back") == world.said.count("active")
