"""Law: whatever became of the list of Namespaces, of the right to read them and of what is in them, the end is that of a fresh start.

And on the way, a Namespace whose policies were read and that has stayed in the list since keeps them, whatever happens to its rights.

A name that leaves the list and comes back counts as new, even if both happen before a version is published: its policies are withdrawn
until the Namespace is listed again. Until then the last version may still show the policies from before, which is no promise to keep them.
"""

import re

import attrs
import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from exchanger.values.entry import Source
from tests.examples import examples
from tests.kube.cluster import Cluster, Record, deny, source

NAMES = ("a", "b", "c", "d")
# Seconds after which the longest wait of a back-off is over twice.
QUIET_S = 200.0


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


Step = Use | Forbid | Permit | Put | Delete | float

names = st.sampled_from(NAMES)
lists = st.lists(names, min_size=1, unique=True).map(tuple)
steps: st.SearchStrategy[Step] = st.one_of(
    st.builds(Use, lists),
    st.builds(Use, lists),
    st.builds(Forbid, names),
    st.builds(Permit, names),
    st.builds(Put, names, st.sampled_from("pq"), st.sampled_from(["/x", "/y"])),
    st.builds(Delete, names, st.sampled_from("pq")),
    st.sampled_from([0.0, 0.02, 0.5, 5.0, 70.0]),
)


async def take(step: Step, cluster: Cluster) -> None:
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


async def follow(first: tuple[str, ...], history: list[Step], latency: float, seed: int) -> None:
    cluster, record = Cluster(), Record()
    cluster.server.latency = latency
    for name in NAMES:
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
                await take(step, cluster)
            in_force = {source.namespace for source in record.snapshots[-1].documents} if record.snapshots else set()
            assert kept <= in_force
            kept |= {name for name in in_force & frozenset(named) if was_read(name, record.said[joined[name] :])}
        cluster.server.heal()
        await trio.sleep(QUIET_S)
        assert (followed.is_connected, followed.named) == (True, tuple((name, False) for name in named))
        nursery.cancel_scope.cancel()
    objects = [stored.value for stored in cluster.server.objects.values() if stored.key.namespace in named]
    texts = {Source(found.namespace, found.name): found for found in objects}
    fresh = Record()
    anew = source(cluster, fresh, namespaces=named)
    async with trio.open_nursery() as nursery:
        await nursery.start(anew.run)
        nursery.cancel_scope.cancel()
    assert record.snapshots[-1] == fresh.snapshots[-1]
    assert len(record.snapshots[-1].documents) == len(texts)
    assert cluster.server.watchers == []


@example(("b",), [0.02, Use(("a",)), Forbid("b"), Use(("b",)), 0.5], 0.0, 0)  # away and back within one version
@settings(max_examples=examples(100))
@given(lists, st.lists(steps, max_size=25), st.sampled_from([0.0, 0.3]), st.integers(0, 1000))
def test_the_end_is_that_of_a_fresh_start(first: tuple[str, ...], history: list[Step], latency: float, seed: int) -> None:
    trio.run(follow, first, history, latency, seed, clock=MockClock(autojump_threshold=0))
