"""What a namespace may have in ConfigMaps: nothing is kept of those beyond, and they are read once there is room."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from exchanger.model.codes.manifests import MANY_DOCUMENTS
from exchanger.model.entry import DenyEntry, Source
from exchanger.model.policy_decision import Unhealthy
from exchanger.model.selector import parse_selector
from exchanger.policy.grants.allowance import Grants
from exchanger.policy.limits import NamespaceLimits
from exchanger.policy.quota import MAX_LISTED
from exchanger.policy.selection import ConfigMap
from exchanger.sources.kube.list_watch import Deleted, Item, Key, Put
from exchanger.sources.kube.reflector import REREAD_S
from exchanger.sources.kube.settings import KubernetesSettings
from exchanger.sources.kube.store import Complete, ListBounds, ReflectorStore, list_all
from tests.sources.kube.cluster import REFUSED, Cluster, Record, deny
from tests.sources.kube.fake_api_server import Initial, Verb

TWO = NamespaceLimits(documents=2)


def item(name: str, version: int, text: str = "text") -> Item[ConfigMap]:
    return Item(Key("n", name), str(version), ConfigMap("n", name, (("enabled", "true"),), text))


def store(*names: str, limits: NamespaceLimits = TWO) -> ReflectorStore[ConfigMap]:
    made: ReflectorStore[ConfigMap] = ReflectorStore(limits)
    made.replace(Complete(tuple(item(name, number) for number, name in enumerate(names, 1)), "10"))
    return made


def applied(made: ReflectorStore[ConfigMap], event: Put[ConfigMap] | Deleted) -> dict[str, str | None]:
    """Apply an event, and return what is kept of the documents that it changes."""
    changed = made.apply(event)
    assert changed is not None
    return {key.name: made.items[key].value.document if key in made.items else "gone" for key in changed}


def test_nothing_is_kept_of_objects_over_the_limit() -> None:
    made = store("a", "c", "d")
    assert applied(made, Put(item("b", 11))) == {"b": "text", "c": None}
    assert [bool(item.value.over_quota) for item in made.items.values()] == [False, True, True, False]
    assert applied(made, Put(item("d", 3))) == {}
    assert applied(made, Put(item("d", 12, "another"))) == {"d": None}
    assert len(made.items) == 4
    for number in range(100):
        made.apply(Put(item(f"e{number:02}", 20 + number)))
    assert len(made.items) == 2 + MAX_LISTED
    assert applied(made, Put(item("dd", 200))) == {"dd": None, "e13": "gone"}
    assert applied(made, Deleted(Key("n", "a"), "201")) == {"a": "gone", "e13": None}


async def test_a_list_keeps_no_more(autojump_clock: MockClock) -> None:
    cluster = Cluster()
    cluster.server.initial = Initial.REFUSED
    for name in "cab":
        cluster.put("n", name)
    found = await list_all(cluster.config_maps("enabled=true", ""), ListBounds(page_size=1, limits=TWO))
    assert isinstance(found, Complete)
    assert {one.key.name for one in found.items if one.value.document is not None} == {"a", "b"}


@asynccontextmanager
async def running(cluster: Cluster, limits: NamespaceLimits, *namespaces: str) -> AsyncGenerator[Record]:
    told = Record()
    settings = KubernetesSettings(parse_selector("policy=enabled"), parse_selector("enabled=true"), namespaces)
    source = told.source(settings, cluster, grants=Grants(limited=False, limits=limits))
    async with trio.open_nursery() as nursery:
        await nursery.start(source.run)
        yield told
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("namespaces", [(), ("n",)])
@pytest.mark.parametrize("initial", [Initial.OFFERED, Initial.REFUSED])
async def test_objects_over_the_limit_fail_closed_and_count_again_in_two_seconds(
    autojump_clock: MockClock, initial: Initial, namespaces: tuple[str, ...]
) -> None:
    cluster = Cluster()
    cluster.server.initial = initial
    cluster.put_namespace("n")
    for name in "abc":
        cluster.put("n", name, deny(f"/{name}"))
    async with running(cluster, TWO, *namespaces) as told:
        snapshot = told.snapshots[-1]
        over_limit = snapshot.document(Source("n", "c"))
        assert over_limit is not None
        assert [problem.code for problem in over_limit.findings] == [MANY_DOCUMENTS]
        assert isinstance(snapshot.match("h", "/c", "GET"), Unhealthy)
        cluster.delete("n", "a")
        await told.until(lambda: isinstance(told.snapshots[-1].match("h", "/c", "GET"), DenyEntry), 2)
        assert {one.source for one in told.snapshots[-1].documents()} == {Source("n", "b"), Source("n", "c")}


async def test_one_whose_request_fails_counts_again_with_the_next_list(autojump_clock: MockClock) -> None:
    cluster = Cluster()
    cluster.put_namespace("n")
    for name in "abc":
        cluster.put("n", name, deny(f"/{name}"))
    async with running(cluster, TWO) as told:
        await trio.sleep(10)
        cluster.server.fail(REFUSED, verb=Verb.LIST, resource="configmaps")
        cluster.delete("n", "a")
        await trio.sleep(5)
        assert isinstance(told.snapshots[-1].match("h", "/c", "GET"), Unhealthy)
        await told.until(lambda: told.denies("/c"), REREAD_S)


async def test_no_team_can_have_everything_listed_again_and_again(autojump_clock: MockClock) -> None:
    cluster = Cluster()
    cluster.put_namespace("n")
    for name in "abc":
        cluster.put("n", name)
    async with running(cluster, TWO) as told:
        for _ in range(100):
            cluster.delete("n", "a")
            await trio.sleep(1.5)
            cluster.put("n", "a")
            await trio.sleep(1.5)
        lists = [what for what in told.said if what.startswith("listed") and "configmaps" in what]
        assert len(lists) <= 1 + 300 / REREAD_S
