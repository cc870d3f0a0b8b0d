"""Laws of the policy source in a cluster: what is active after, and during, any trouble with its feeds."""

import math
import re
from collections.abc import Callable
from itertools import pairwise
from random import Random
from typing import TypeVar

import attrs
import trio
from hypothesis import event, example, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from exchanger.model.entry import AllowEntry, DenyEntry, Source
from exchanger.model.policy_decision import NoMatch
from exchanger.model.selector import parse_selector
from exchanger.policy.selection import ConfigMap, Namespace, advance, select
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.sources.kube.catch_up import LIST_EVERY_S
from exchanger.sources.kube.list_watch import ApiFailure, FailureKind, Key
from exchanger.sources.kube.settings import COMPARE_S, COMPARE_SPREAD, KubernetesSettings
from exchanger.sources.kube.source import LOOK_S
from tests.examples import examples
from tests.policy.comparing import content
from tests.property.strategies_kube_index import CONFIG_MAP_SELECTOR, NAMES, SELECTORS, config_maps, namespaces
from tests.sources.kube.cluster import REFUSED, Cluster, Record, deny, source
from tests.sources.kube.fake_api_server import FakeApiServer, Objects, Verb

T = TypeVar("T")

# Law: however the feeds lose and regain their connections, what is denied at every moment in the cluster is never open.
#
# That is, from the moment at which the denial is active. And once all feeds have caught up, the policy is that of a fresh start.


FED_NAMES = ("a", "b", "c")
PATHS = ("/x", "/y")
FEEDS = ("namespaces", "configmaps")
# Seconds after which every wait is over, and whatever was held is released.
FEEDS_QUIET_S = 130.0


@attrs.frozen
class Lose:
    feed: str
    kind: FailureKind


@attrs.frozen
class Find:
    feed: str


@attrs.frozen
class Move:
    """The denial of ``path`` appears in one place before it goes from all others."""

    path: str
    to: str


@attrs.frozen
class Label:
    """A Namespace is selected; the others are no longer if ``alone``."""

    name: str
    alone: bool


@attrs.frozen
class Withdraw:
    path: str
    name: str


@attrs.frozen
class Recreate:
    name: str


@attrs.frozen
class Remove:
    """A Namespace goes, with all that is in it."""

    name: str


@attrs.frozen
class Late:
    """The watch of ConfigMaps delivers so many seconds late from now on."""

    seconds: float


FeedStep = Lose | Find | Move | Label | Withdraw | Recreate | Remove | Late | float

kinds = st.sampled_from([FailureKind.UNREACHABLE, FailureKind.SERVER_ERROR, FailureKind.TIMEOUT, FailureKind.GONE, FailureKind.FORBIDDEN])
feed_steps: st.SearchStrategy[FeedStep] = st.one_of(
    st.builds(Lose, st.sampled_from(FEEDS), kinds),
    st.builds(Lose, st.sampled_from(FEEDS), kinds),
    st.builds(Find, st.sampled_from(FEEDS)),
    st.builds(Find, st.sampled_from(FEEDS)),
    st.builds(Move, st.sampled_from(PATHS), st.sampled_from(FED_NAMES)),
    st.builds(Move, st.sampled_from(PATHS), st.sampled_from(FED_NAMES)),
    st.builds(Label, st.sampled_from(FED_NAMES), st.booleans()),
    st.builds(Withdraw, st.sampled_from(PATHS), st.sampled_from(FED_NAMES)),
    st.builds(Recreate, st.sampled_from(FED_NAMES)),
    st.sampled_from([0.0, 0.01, 0.5, 3.0, 40.0]),
)


@attrs.define(eq=False)
class World:
    """A cluster, what a source makes of it, and which denials have been active and in the cluster ever since."""

    cluster: Cluster = attrs.field(factory=Cluster)
    record: Record = attrs.field(factory=Record)
    followed: set[str] = attrs.field(factory=set)
    # Since when each path has been denied at every moment in the cluster, or at none.
    denied: dict[str, float] = attrs.field(factory=dict)
    gone: dict[str, float] = attrs.field(factory=dict)
    # When a Namespace changed last.
    relabelled_at: float = -math.inf
    seen: int = 0
    # The policy of each state of the store, by its identity: most checks find the state of the one before.
    _made: dict[int, PolicySnapshot] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self.cluster.put_namespace("a")
        for path in PATHS:
            self.cluster.put("a", path[1:], deny(path))

    def snapshot(self, objects: Objects) -> PolicySnapshot:
        if id(objects) not in self._made:
            found = [stored.value for stored in objects.values()]
            documents = select(found, parse_selector("policy=enabled"), parse_selector("enabled=true"))
            self._made[id(objects)] = advance(PolicySnapshot.EMPTY, {}, documents, frozenset()).snapshot
        return self._made[id(objects)]

    def take(self, step: FeedStep) -> None:
        if isinstance(step, Move | Label | Recreate | Remove):
            self.relabelled_at = trio.current_time()
        match step:
            case Move(path, to):
                self.select(to)
                self.cluster.put(to, path[1:], deny(path))
                for name in FED_NAMES:
                    if name != to:
                        self.cluster.delete(name, path[1:])
            case Label(name, alone):
                self.select(name)
                for other in FED_NAMES:
                    if alone and other != name:
                        self.cluster.put_namespace(other, {})
            case Withdraw(path, name):
                self.cluster.delete(name, path[1:])
            case Recreate(name):
                self.take(Remove(name))
                self.select(name)
            case Remove(name):
                for path in PATHS:
                    self.cluster.delete(name, path[1:])
                self.cluster.delete_namespace(name)
            case _:
                self.trouble(step)

    def trouble(self, step: FeedStep) -> None:
        server = self.cluster.server
        match step:
            case Lose(feed, kind):
                server.lose(feed, ApiFailure(kind))
            case Find(feed):
                server.find(feed)
            case Late(seconds):
                server.late["configmaps"] = seconds

    def select(self, name: str) -> None:
        """Make or label a Namespace; no two that are made have the same ``uid``."""
        server = self.cluster.server
        self.cluster.put_namespace(name, uid="" if ("namespaces", Key("", name)) in server.objects else f"{name}-{server.version}")

    def check(self, known_s: float = 0.0, gone_s: float = math.inf) -> None:
        """See whether each denial that was active before, and has been in the cluster ever since, is active still.

        It counts once it has been in the cluster for ``known_s`` seconds: before, what is active may be another one, whose end is still
        on its way. And see whether what has been gone for ``gone_s`` seconds, in which no Namespace changed, is not active.
        """
        if not self.record.snapshots:
            return
        past = [self.snapshot(objects) for objects in self.cluster.server.past[self.seen :]]
        self.seen = len(self.cluster.server.past)
        now, active = self.snapshot(self.cluster.server.objects), self.record.snapshots[-1]
        for path in PATHS:
            if not all(is_open(version, path) for version in (*past, now)):
                self.gone.pop(path, None)
            if is_open(now, path):
                since = max(self.gone.setdefault(path, trio.current_time()), self.relabelled_at)
                assert trio.current_time() < since + gone_s or is_open(active, path), f"{path} is still denied"
            if any(is_open(version, path) for version in past):
                self.followed.discard(path)
                self.denied.pop(path, None)
            since = trio.current_time() if is_open(now, path) else self.denied.setdefault(path, trio.current_time())
            if path in self.followed:
                assert not is_open(active, path), f"{path} is denied at every moment and open"
            is_known = trio.current_time() >= since + known_s
            if isinstance(active.match("h", path, "GET"), DenyEntry) and not is_open(now, path) and is_known:
                self.followed.add(path)


def is_open(snapshot: PolicySnapshot, path: str) -> bool:
    return isinstance(snapshot.match("h", path, "GET"), NoMatch | AllowEntry)


async def live(history: list[FeedStep], seed: int) -> None:
    world = World()
    followed = source(world.cluster, world.record, seed=seed)
    async with trio.open_nursery() as nursery:
        await nursery.start(followed.run)
        for step in history:
            world.check()
            if isinstance(step, float):
                until = trio.current_time() + step
                while trio.current_time() < until:
                    await trio.sleep(min(0.05 if step < 1 else 0.25, until - trio.current_time()))
                    world.check()
            else:
                world.take(step)
        for feed in FEEDS:
            world.cluster.server.find(feed)
        for _ in range(int(FEEDS_QUIET_S / 0.5)):
            await trio.sleep(0.5)
            world.check()
        nursery.cancel_scope.cancel()
    event(f"held {min(world.record.said.count('held back'), 3)} times")
    assert content(world.record.snapshots[-1]) == content(world.snapshot(world.cluster.server.objects))
    assert world.record.said.count("held back") == world.record.said.count("agreed")


@settings(max_examples=examples(80))
@example(
    [
        Lose("namespaces", FailureKind.UNREACHABLE),
        Lose("configmaps", FailureKind.UNREACHABLE),
        40.0,
        Move("/x", "b"),
        Label("b", alone=True),
        Find("configmaps"),
        40.0,
    ],
    0,
)
@example([Lose("configmaps", FailureKind.UNREACHABLE), 3.0, Move("/x", "b"), Label("b", alone=True), 40.0], 0)
@given(st.lists(feed_steps, max_size=20), st.integers(0, 1000))
def test_what_is_denied_at_every_moment_is_never_open(history: list[FeedStep], seed: int) -> None:
    trio.run(live, history, seed, clock=MockClock(autojump_threshold=0))


# Law: however late the watch of ConfigMaps is, what is denied at every moment in the cluster is never open while both watches are up.
#
# That is, from the moment at which the denial is active and the watch has delivered it. And what is gone from the cluster is open within
# two seconds more than the watch is late, unless Namespaces change meanwhile.

# The most seconds that the watch of ConfigMaps is late.
MOST_LATE_S = 5.0
late_steps: st.SearchStrategy[FeedStep] = st.one_of(
    st.builds(Move, st.sampled_from(PATHS), st.sampled_from(FED_NAMES)),
    st.builds(Move, st.sampled_from(PATHS), st.sampled_from(FED_NAMES)),
    st.builds(Label, st.sampled_from(FED_NAMES), st.booleans()),
    st.builds(Label, st.sampled_from(FED_NAMES), st.just(True)),
    st.builds(Withdraw, st.sampled_from(PATHS), st.sampled_from(FED_NAMES)),
    st.builds(Recreate, st.sampled_from(FED_NAMES)),
    st.builds(Remove, st.sampled_from(FED_NAMES)),
    st.builds(Late, st.sampled_from([0.0, 0.01, 0.1, 0.2, 1.0, 3.0, MOST_LATE_S])),
    st.sampled_from([0.0, 0.01, 0.05, 0.3, 1.0, 3.0]),
)


async def live_late(history: list[FeedStep], latency: float, reading: float, seed: int) -> None:
    async def read(function: Callable[..., T], *args: object, **_options: object) -> T:
        await trio.sleep(reading)
        return function(*args)

    world = World(record=Record(read))
    followed = source(world.cluster, world.record, seed=seed)
    late = max([step.seconds for step in history if isinstance(step, Late)], default=0.0)

    async def wait(seconds: float) -> None:
        until = trio.current_time() + seconds
        world.check(late + 2 * reading, late + 2.0 + 10 * reading)
        while trio.current_time() < until:
            await trio.sleep(min(0.02, until - trio.current_time()))
            world.check(late + 2 * reading, late + 2.0 + 10 * reading)

    async with trio.open_nursery() as nursery:
        await nursery.start(followed.run)
        world.cluster.server.latency = latency
        await wait(2.0 + late)
        for step in history:
            if isinstance(step, float):
                await wait(step)
            else:
                world.take(step)
        await wait(2 * MOST_LATE_S + 10 * reading)
        nursery.cancel_scope.cancel()
    assert content(world.record.snapshots[-1]) == content(world.snapshot(world.cluster.server.objects))
    lists = [request.time for request in world.cluster.server.requests if request.versions]
    event(f"{min(len(lists), 5)} lists of versions")
    assert all(after - before >= LIST_EVERY_S for before, after in pairwise(lists))


@settings(max_examples=examples(100))
@example([Late(3.0), 1.0, Move("/x", "b"), Label("b", alone=True)], 0.0, 0.0, 0)
@example([Late(0.2), 1.0, Move("/x", "b"), Remove("a")], 0.01, 0.0, 0)
@example(
    [Late(1.0), *(step for name in "bcbcbc" for step in (Move("/x", name), Label(name, alone=True), 0.3))],
    0.0,
    0.0,
    0,
)
@example([Move("/x", "b"), 3.0, Late(1.0), Recreate("c"), Move("/x", "c"), Recreate("b"), 0.3, Move("/x", "b")], 0.0, 0.0, 0)
@example([Late(0.1), 1.0, Move("/x", "b"), Label("b", alone=True)], 0.0, 0.1, 0)
@given(
    st.lists(late_steps, min_size=3, max_size=20),
    st.sampled_from([0.0, 0.01, 0.1]),
    st.sampled_from([0.0, 0.0, 0.02, 0.1]),
    st.integers(0, 1000),
)
def test_what_moves_behind_a_late_watch_is_never_open(history: list[FeedStep], latency: float, reading: float, seed: int) -> None:
    """``reading`` is the time in seconds that documents take to read."""
    trio.run(live_late, history, latency, reading, seed, clock=MockClock(autojump_threshold=0))


# Law: whatever became of the list of Namespaces, of the right to read them and of what is in them, the end is that of a fresh start.
#
# And on the way, a Namespace whose policies were read and that has stayed in the list since keeps them, whatever happens to its rights.
#
# A name that leaves the list and comes back counts as new, even if both happen before a version is published: its policies are withdrawn
# until the Namespace is listed again. Until then the last version may still show the policies from before, which is no promise to keep
# them.


LISTED_NAMES = ("a", "b", "c", "d")
# Seconds after which the longest wait of a back-off is over twice.
NAMESPACES_QUIET_S = 200.0


@attrs.frozen
class Use:
    names: tuple[str, ...]


@attrs.frozen
class Forbid:
    name: str


@attrs.frozen
class Permit:
    name: str


@attrs.frozen
class Put:
    namespace: str
    name: str
    path: str


@attrs.frozen
class Delete:
    namespace: str
    name: str


NamespaceStep = Use | Forbid | Permit | Put | Delete | float

names = st.sampled_from(LISTED_NAMES)
lists = st.lists(names, min_size=1, unique=True).map(tuple)
namespace_steps: st.SearchStrategy[NamespaceStep] = st.one_of(
    st.builds(Use, lists),
    st.builds(Use, lists),
    st.builds(Forbid, names),
    st.builds(Permit, names),
    st.builds(Put, names, st.sampled_from("pq"), st.sampled_from(["/x", "/y"])),
    st.builds(Delete, names, st.sampled_from("pq")),
    st.sampled_from([0.0, 0.02, 0.5, 5.0, 70.0]),
)


async def take_in_namespaces(step: NamespaceStep, cluster: Cluster) -> None:
    match step:
        case Forbid(name):
            cluster.server.forbid(name)
        case Permit(name):
            cluster.server.forbidden.discard(name)
        case Put(namespace, name, path):
            cluster.put(namespace, name, deny(path))
        case Delete(namespace, name):
            cluster.delete(namespace, name)
        case float():
            await trio.sleep(step)


def was_read(name: str, said: list[str]) -> bool:
    """Return whether a list of the Namespace arrived; ``said`` is what was reported since it joined."""
    return any(re.fullmatch(rf"listed \d+ configmaps in {name}", line) for line in said)


async def follow_namespaces(first: tuple[str, ...], history: list[NamespaceStep], latency: float, seed: int) -> None:
    cluster, record = Cluster(), Record()
    cluster.server.latency = latency
    for name in LISTED_NAMES:
        cluster.put(name, "always", deny(f"/{name}"))
    followed = source(cluster, record, namespaces=first, seed=seed)
    named = first
    # For each name, how much had been reported when it last came into the list.
    joined = dict.fromkeys(first, 0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(followed.run)
        kept: frozenset[str] = frozenset()
        for step in history:
            if isinstance(step, Use):
                followed.use_namespaces(step.names)
                joined |= dict.fromkeys(frozenset(step.names) - frozenset(named), len(record.said))
                named = step.names
                kept &= frozenset(named)
            else:
                await take_in_namespaces(step, cluster)
            active = {one.source.namespace for one in record.snapshots[-1].documents()} if record.snapshots else set()
            assert kept <= active
            kept |= {name for name in active & frozenset(named) if was_read(name, record.said[joined[name] :])}
        cluster.server.heal()
        await trio.sleep(NAMESPACES_QUIET_S)
        assert (followed.is_connected, followed.named) == (True, tuple((name, False) for name in named))
        nursery.cancel_scope.cancel()
    objects = [stored.value for stored in cluster.server.objects.values() if stored.key.namespace in named]
    texts = {Source(found.namespace, found.name): found for found in objects}
    fresh = Record()
    anew = source(cluster, fresh, namespaces=named)
    async with trio.open_nursery() as nursery:
        await nursery.start(anew.run)
        nursery.cancel_scope.cancel()
    assert content(record.snapshots[-1]) == content(fresh.snapshots[-1])
    assert record.snapshots[-1].document_count == len(texts)
    assert cluster.server.watchers == []


@example(("b",), [0.02, Use(("a",)), Forbid("b"), Use(("b",)), 0.5], 0.0, 0)  # away and back within one version
@settings(max_examples=examples(100))
@given(lists, st.lists(namespace_steps, max_size=25), st.sampled_from([0.0, 0.3]), st.integers(0, 1000))
def test_the_end_is_that_of_a_fresh_start(first: tuple[str, ...], history: list[NamespaceStep], latency: float, seed: int) -> None:
    trio.run(follow_namespaces, first, history, latency, seed, clock=MockClock(autojump_threshold=0))


# Law: whatever happens to the cluster and to the way to it, after a quiet time the active policy is that of the cluster's objects.
#
# "The state equals a fresh list": the policy that is published last is the one that a look at all objects makes, and no version was
# published twice in a row. With a limit to its age it is active again, too.


# Seconds after the last fault: the longest waits that may be under way, and the longest time to the next comparison.
QUIET_S = 2 * 60.0 + COMPARE_S * (1 + COMPARE_SPREAD) + 60.0


@attrs.frozen
class Fault:
    what: str


Step = Namespace | ConfigMap | Delete | Fault | float

faults = st.sampled_from(["compact", "cut", "cut gone", "stop", "forbid", "pause", "mute", "heal", "heal", "restore", "touch"])
steps: st.SearchStrategy[Step] = st.one_of(
    namespaces,
    config_maps,
    config_maps,
    st.builds(Delete, st.sampled_from(["", *NAMES]), st.sampled_from([*NAMES, "p", "q"])),
    st.builds(Fault, faults),
    st.sampled_from([0.0, 0.01, 1.0, 10.0, 100.0, 1000.0]),
)


def take(step: Step, cluster: Cluster) -> None:
    match step:
        case Namespace(name, labels):
            cluster.put_namespace(name, dict(labels))
        case ConfigMap(namespace, name, labels, document):
            cluster.put(namespace, name, document or "", dict(labels))
        case Delete("", name):
            cluster.delete_namespace(name)
        case Delete(namespace, name):
            cluster.delete(namespace, name)
        case Fault(what):
            break_(what, cluster)


def break_(what: str, cluster: Cluster) -> None:
    server = cluster.server
    match what:
        case "compact":
            server.compact()
        case "cut":
            server.cut(ApiFailure(FailureKind.UNREACHABLE, message="reset"))
        case "cut gone":
            server.cut(ApiFailure(FailureKind.GONE, 410))
        case "stop":
            server.stop()
        case "forbid":
            server.stop(ApiFailure(FailureKind.FORBIDDEN, 403))
        case "pause":
            server.pause()
        case "mute":
            server.mute = True
        case "heal":
            server.heal()
        case "restore":
            server.restore(max(min(server.states), server.version - 3))
        case "touch":
            server.touch()


async def follow(history: list[Step], selector: str, max_staleness: float, seed: int) -> None:
    cluster, record = Cluster(), Record()
    chosen = KubernetesSettings(parse_selector(selector), parse_selector(CONFIG_MAP_SELECTOR), max_staleness=max_staleness)
    source = record.source(chosen, cluster, Random(seed))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(source.run)
        for step in history:
            if isinstance(step, float):
                await trio.sleep(step)
            else:
                take(step, cluster)
        cluster.server.heal()
        await trio.sleep(QUIET_S)
        age = source.snapshot_age()
        assert age is not None
        assert age <= chosen.reflector.short_silence  # a watch that was silent once gives its signs of life by its ends, until it speaks
        nursery.cancel_scope.cancel()
    objects = [stored.value for stored in cluster.server.objects.values()]
    expected = advance(
        PolicySnapshot.EMPTY, {}, select(objects, chosen.namespace_selector, chosen.configmap_selector), frozenset()
    ).snapshot
    assert content(record.snapshots[-1]) == content(expected)
    assert record.is_open()
    reopened = ["fresh" in record.said[max(index - 1, 0) : index] for index, said in enumerate(record.said) if said == "publish"]
    for before, after, again in zip(record.snapshots[:-1], record.snapshots[1:], reopened[1:], strict=True):
        assert content(before) != content(after) or before.settled is not after.settled or again


@settings(max_examples=examples(60))
@given(st.lists(steps, max_size=25), st.sampled_from(SELECTORS), st.sampled_from([0.0, 30.0]), st.integers(0, 1000))
def test_the_policy_is_that_of_the_objects_in_the_end(history: list[Step], selector: str, max_staleness: float, seed: int) -> None:
    trio.run(follow, history, selector, max_staleness, seed, clock=MockClock(autojump_threshold=0))


# Law: whatever keeps the news away, nothing is active that was last known to be right longer ago than the limit and a moment.
#
# And once it is over, the service is open again within seconds, whether or not anything was missed. A sign of life is an event, a bookmark,
# the end of a watch in good order or a complete list, never the answer to another request. While lists alone work, they keep the service
# open, and changes take effect within the limit.


LIMITS = st.sampled_from([10.0, 15.0, 30.0, 60.0, 100.0, 200.0, 225.0, 300.0])
# What each request gets where the server refuses all.
REFUSALS = {
    "refused": REFUSED,
    "error": ApiFailure(FailureKind.SERVER_ERROR, 503),
    "busy": ApiFailure(FailureKind.TOO_MANY_REQUESTS, 429, retry_after=3600.0),
    "forbidden": ApiFailure(FailureKind.FORBIDDEN, 403),
    "gone": ApiFailure(FailureKind.GONE, 410),
    "malformed": ApiFailure(FailureKind.MALFORMED),
}
# Faults that only watches have.
LISTS_WORK = frozenset({"watches fail", "watches end"})
FAULTS = (*REFUSALS, *sorted(LISTS_WORK), "black hole", "black hole, and cut", "frozen", "buffered", "lists fail")
# Seconds after the limit: the age is looked at every second.
BOUND_S = LOOK_S + 0.5
# Seconds until it is open again: a wait of three or a probe of ten, a watch of three that ends, and two looks.
OPEN_S = 20.0


def befall(fault: str, server: FakeApiServer) -> None:
    match fault:
        case _ if fault in REFUSALS:
            server.stop(REFUSALS[fault])
        case "black hole":
            server.pause()
        case "black hole, and cut":
            server.cut(ApiFailure(FailureKind.UNREACHABLE))
            server.pause()
        case "frozen":
            server.frozen = True
        case "buffered":
            server.buffers = True
        case "lists fail":
            server.frozen = True
            server.fail_for_ever(ApiFailure(FailureKind.SERVER_ERROR, 500), verb=Verb.LIST)
        case "watches fail":
            server.fail_for_ever(ApiFailure(FailureKind.GONE, 410), verb=Verb.WATCH)
            server.cut()
        case "watches end":
            server.ends_after = 0
            server.cut()


async def suffer(fault: str, limit: float, calm: float, misses: bool, seed: int) -> None:
    cluster, record = Cluster(), Record()
    cluster.put_namespace("a")
    cluster.put("a", "p")
    followed = source(cluster, record, max_staleness=limit, seed=seed)
    async with trio.open_nursery() as nursery:
        await nursery.start(followed.run)
        await trio.sleep(calm)
        assert record.is_open()
        befall(fault, cluster.server)
        began = trio.current_time()
        if misses:
            cluster.put("a", "q", deny("/new"))
        await trio.sleep(limit + BOUND_S)
        while trio.current_time() < began + 2 * limit + 60:
            assert not record.is_open() or not misses or record.denies("/new"), "an old policy is active"
            assert record.is_open() or fault not in LISTS_WORK, "the service closed although lists work"
            await trio.sleep(LOOK_S / 2)
        event(f"{fault}: {'open' if record.is_open() else 'closed'}")
        cluster.server.heal()
        await record.until(record.is_open, OPEN_S)
        await record.until(lambda: record.denies("/new") is misses, OPEN_S)
        await trio.sleep(2 * limit)
        assert record.is_open()
        closed = record.said.count("close")
        assert closed == record.said.count("open") <= 1
        assert closed == (fault in REFUSALS) or fault not in {*REFUSALS, *LISTS_WORK}
        assert followed.snapshot_age() is not None
        nursery.cancel_scope.cancel()


@settings(max_examples=examples(60))
@example(fault="frozen", limit=30.0, calm=20.0, misses=True, seed=0)
@example(fault="watches fail", limit=10.0, calm=20.0, misses=True, seed=0)
@given(st.sampled_from(FAULTS), LIMITS, st.floats(0.0, 400.0), st.booleans(), st.integers(0, 1000))
def test_nothing_is_active_for_longer_than_the_limit(fault: str, limit: float, calm: float, misses: bool, seed: int) -> None:
    trio.run(suffer, fault, limit, calm, misses, seed, clock=MockClock(autojump_threshold=0))
