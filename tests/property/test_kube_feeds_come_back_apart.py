"""Law: however the feeds lose and regain their connections, what is denied at every moment in the cluster is never open.

That is, from the moment at which the denial is in force. And once all feeds have caught up, the policy is that of a fresh start.
"""

import attrs
import trio
from hypothesis import event, example, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from exchanger.kube.list_watch import ApiFailure, FailureKind
from exchanger.policy.selection import advance, select
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.values.entry import AllowEntry, DenyEntry
from exchanger.values.selector import parse_selector
from exchanger.values.verdict import NoMatch
from tests.examples import examples
from tests.kube.cluster import Cluster, Record, deny, source
from tests.kube.fake_api_server import Objects

NAMES = ("a", "b", "c")
PATHS = ("/x", "/y")
FEEDS = ("namespaces", "configmaps")
# Seconds after which every wait is over, and whatever was held is released.
QUIET_S = 130.0


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


Step = Lose | Find | Move | Label | Withdraw | Recreate | float

kinds = st.sampled_from([FailureKind.UNREACHABLE, FailureKind.SERVER_ERROR, FailureKind.TIMEOUT, FailureKind.GONE, FailureKind.FORBIDDEN])
steps: st.SearchStrategy[Step] = st.one_of(
    st.builds(Lose, st.sampled_from(FEEDS), kinds),
    st.builds(Lose, st.sampled_from(FEEDS), kinds),
    st.builds(Find, st.sampled_from(FEEDS)),
    st.builds(Find, st.sampled_from(FEEDS)),
    st.builds(Move, st.sampled_from(PATHS), st.sampled_from(NAMES)),
    st.builds(Move, st.sampled_from(PATHS), st.sampled_from(NAMES)),
    st.builds(Label, st.sampled_from(NAMES), st.booleans()),
    st.builds(Withdraw, st.sampled_from(PATHS), st.sampled_from(NAMES)),
    st.builds(Recreate, st.sampled_from(NAMES)),
    st.sampled_from([0.0, 0.01, 0.5, 3.0, 40.0]),
)


@attrs.define(eq=False)
class World:
    """A cluster, what a source makes of it, and which denials have been in force and in the cluster ever since."""

    cluster: Cluster = attrs.field(factory=Cluster)
    record: Record = attrs.field(factory=Record)
    followed: set[str] = attrs.field(factory=set)
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

    def take(self, step: Step) -> None:
        server = self.cluster.server
        match step:
            case Lose(feed, kind):
                server.lose(feed, ApiFailure(kind))
            case Find(feed):
                server.find(feed)
            case Move(path, to):
                self.cluster.put_namespace(to)
                self.cluster.put(to, path[1:], deny(path))
                for name in NAMES:
                    if name != to:
                        self.cluster.delete(name, path[1:])
            case Label(name, alone):
                self.cluster.put_namespace(name)
                for other in NAMES:
                    if alone and other != name:
                        self.cluster.put_namespace(other, {})
            case Withdraw(path, name):
                self.cluster.delete(name, path[1:])
            case Recreate(name):
                for path in PATHS:
                    self.cluster.delete(name, path[1:])
                self.cluster.delete_namespace(name)
                self.cluster.put_namespace(name, uid=f"{name}-{server.version}")

    def check(self) -> None:
        """See whether each denial that was in force before, and has been in the cluster ever since, is in force still."""
        if not self.record.snapshots:
            return
        past = [self.snapshot(objects) for objects in self.cluster.server.past[self.seen :]]
        self.seen = len(self.cluster.server.past)
        now, in_force = self.snapshot(self.cluster.server.objects), self.record.snapshots[-1]
        for path in PATHS:
            if any(is_open(version, path) for version in past):
                self.followed.discard(path)
            if path in self.followed:
                assert not is_open(in_force, path), f"{path} is denied at every moment and open"
            if isinstance(in_force.match("h", path, "GET"), DenyEntry) and not is_open(now, path):
                self.followed.add(path)


def is_open(snapshot: PolicySnapshot, path: str) -> bool:
    return isinstance(snapshot.match("h", path, "GET"), NoMatch | AllowEntry)


async def live(history: list[Step], seed: int) -> None:
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
        for _ in range(int(QUIET_S / 0.5)):
            await trio.sleep(0.5)
            world.check()
        nursery.cancel_scope.cancel()
    event(f"held {min(world.record.said.count('held back'), 3)} times")
    assert world.record.snapshots[-1] == world.snapshot(world.cluster.server.objects)
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
@given(st.lists(steps, max_size=20), st.integers(0, 1000))
def test_what_is_denied_at_every_moment_is_never_open(history: list[Step], seed: int) -> None:
    trio.run(live, history, seed, clock=MockClock(autojump_threshold=0))
