"""Law: whatever happens to the cluster and to the way to it, after a quiet time the policy in force is that of the cluster's objects.

"The state equals a fresh list": the policy that is published last is the one that a look at all objects makes, and no version was published
twice in a row. With a limit to its age it is in force again, too.
"""

from random import Random

import attrs
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from exchanger.kube.list_watch import ApiFailure, FailureKind
from exchanger.kube.settings import COMPARE_S, COMPARE_SPREAD, KubernetesSettings
from exchanger.policy.selection import ConfigMap, Namespace, advance, select
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.values.selector import parse_selector
from tests.examples import examples
from tests.kube.cluster import Cluster, Record
from tests.property.strategies_kube_index import CONFIG_MAP_SELECTOR, NAMES, SELECTORS, config_maps, namespaces

# Seconds after the last fault: the longest waits that may be under way, and the longest time to the next comparison.
QUIET_S = 2 * 60.0 + COMPARE_S * (1 + COMPARE_SPREAD) + 60.0


@attrs.frozen
class Delete:
    namespace: str
    name: str


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
    assert record.snapshots[-1] == expected
    assert record.is_open()
    reopened = ["fresh" in record.said[max(index - 1, 0) : index] for index, said in enumerate(record.said) if said == "publish"]
    for before, after, again in zip(record.snapshots[:-1], record.snapshots[1:], reopened[1:], strict=True):
        assert before != after or again


@settings(max_examples=examples(60))
@given(st.lists(steps, max_size=25), st.sampled_from(SELECTORS), st.sampled_from([0.0, 30.0]), st.integers(0, 1000))
def test_the_policy_is_that_of_the_objects_in_the_end(history: list[Step], selector: str, max_staleness: float, seed: int) -> None:
    trio.run(follow, history, selector, max_staleness, seed, clock=MockClock(autojump_threshold=0))
