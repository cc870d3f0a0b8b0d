"""A Namespace's event that overtakes ConfigMaps opens nothing. The law is in ``tests/property/test_kube_source.py``."""

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from random import Random

import attrs
import pytest
import trio
from trio.testing import MockClock

from exchanger.model.entry import DenyEntry
from exchanger.policy.limits import NamespaceLimits
from exchanger.policy.selection import ConfigMap
from exchanger.sources.kube.catch_up import COLLECT_S, COMPARED, LIST_AGAIN_S, LIST_EVERY_S, CatchUp
from exchanger.sources.kube.list_watch import ApiFailure, Deleted, FailureKind, Item, Key, Page, Put
from exchanger.sources.kube.settings import ReflectorSettings
from exchanger.sources.kube.source import UNSAID_S
from exchanger.sources.kube.store import Complete, ReflectorStore
from tests.sources.kube.cluster import REFUSED, SELECTED, Cluster, Record, deny, following, source
from tests.sources.kube.fake_api_server import Request, Verb
from tests.sources.kube.test_source_apart import granted, of_team

FORBIDDEN = ApiFailure(FailureKind.FORBIDDEN, 403, 'configmaps is forbidden: User "x" cannot list resource "configmaps"')


@pytest.fixture
def cluster() -> Cluster:
    made = Cluster()
    made.put_namespace("a")
    made.put("a", "p")
    return made


def lists_of(cluster: Cluster) -> list[Request]:
    return [request for request in cluster.server.requests if request.versions]


def unlabel(cluster: Cluster) -> None:
    cluster.put_namespace("a", {})


async def test_a_denial_whose_host_another_namespace_is_granted_now_is_never_open(autojump_clock: MockClock) -> None:
    cluster, record = Cluster(), Record()
    cluster.put_namespace("a", {**SELECTED, "team": "x"})
    cluster.put_namespace("b", {**SELECTED, "team": "x"})
    cluster.put("a", "p", of_team("x"))
    async with trio.open_nursery() as nursery:
        await nursery.start(source(cluster, record, grants=granted()).run)
        await trio.sleep(2)
        cluster.server.late["configmaps"] = 3.0
        cluster.put("b", "p", of_team("x"))
        cluster.put_namespace("a", {**SELECTED, "team": "y"})
        for _ in range(1000):
            await trio.sleep(0.01)
            assert isinstance(record.snapshots[-1].match("x.example.com", "/", "GET"), DenyEntry)
        assert record.snapshots[-1].settled is None
        nursery.cancel_scope.cancel()


async def test_withdrawals_that_wait_are_reported_only_after_a_while(cluster: Cluster, autojump_clock: MockClock) -> None:
    async with following(cluster) as followed:
        cluster.server.late["configmaps"] = 2 * UNSAID_S
        cluster.put("b", "p")
        unlabel(cluster)
        await trio.sleep(UNSAID_S - 0.5)
        assert "held back" not in followed.record.said
        await followed.record.until(lambda: "held back" in followed.record.said, 1)
        await followed.record.until(lambda: "agreed" in followed.record.said, UNSAID_S + 1)
        assert followed.record.passes()


async def test_a_denial_that_moves_twice_behind_a_late_watch_is_never_open(cluster: Cluster, autojump_clock: MockClock) -> None:
    cluster.put_namespace("b")
    cluster.put_namespace("c")
    async with following(cluster) as followed:
        cluster.server.late["configmaps"] = 3.0
        cluster.put("b", "p")
        cluster.delete("a", "p")
        await trio.sleep(0.5)
        cluster.put("c", "p")
        cluster.put_namespace("b", {})
        for _ in range(1000):
            await trio.sleep(0.01)
            assert followed.record.denies()
        assert followed.record.snapshots[-1].settled is None


async def test_nothing_is_listed_at_the_start_or_for_new_namespaces(cluster: Cluster, autojump_clock: MockClock) -> None:
    async with following(cluster) as followed:
        await trio.sleep(2)
        cluster.put_namespace("c")
        cluster.put("c", "p", deny("/c"))
        await followed.record.until(lambda: followed.record.denies("/c"), 1)
        cluster.put_namespace("a", {**SELECTED, "other": "label"})
        await trio.sleep(100)
        assert not lists_of(cluster)


@pytest.mark.parametrize("failure", [REFUSED, FORBIDDEN])
async def test_nothing_loosens_before_a_list_succeeds(cluster: Cluster, failure: ApiFailure, autojump_clock: MockClock) -> None:
    async with following(cluster) as followed:
        record = followed.record
        cluster.server.fail_for_ever(failure, verb=Verb.LIST)
        unlabel(cluster)
        await trio.sleep(60)
        assert record.denies()
        assert 3 <= len(lists_of(cluster)) <= 10
        assert f"failed configmaps: {failure.kind.value}" in record.said
        assert followed.source.snapshot_age() == 0.0
        cluster.server.heal()
        await record.until(record.passes, 70)


# The machine alone.


@attrs.define(eq=False)
class Versions:
    """Implements ``Lister``: answers with ``page`` after ``seconds``."""

    page: Page[bool] | ApiFailure
    name: str = "configmaps"
    seconds: float = 0.0
    asked: list[float] = attrs.field(factory=list)

    async def list_page(self, *, limit: int, continue_token: str = "", resource_version: str = "") -> Page[bool] | ApiFailure:
        self.asked.append(trio.current_time())
        if self.seconds:
            await trio.sleep(self.seconds)
        return self.page


def versions(version: int, **names: int) -> Page[bool]:
    return Page(tuple(Item(Key("n", name), str(number), True) for name, number in names.items()), str(version))


def config_map(name: str, version: int) -> Item[ConfigMap]:
    return Item(Key("n", name), str(version), ConfigMap("n", name, (), "text"))


@attrs.frozen
class Behind:
    store: ReflectorStore[ConfigMap]
    lister: Versions
    catch_up: CatchUp

    def is_behind(self) -> bool:
        return self.catch_up.caught_up_until(trio.current_time()) < trio.current_time()

    def apply(self, event: Put[ConfigMap] | Deleted) -> None:
        self.catch_up.store_changed(self.store.apply(event))


@asynccontextmanager
async def behind(page: Page[bool], *known: Item[ConfigMap], replaced: Iterable[str] = ()) -> AsyncGenerator[Behind]:
    """A store that has fallen behind, and a list that was answered with ``page``."""
    store: ReflectorStore[ConfigMap] = ReflectorStore(NamespaceLimits(documents=1))
    store.replace(Complete(known, "10"))
    lister = Versions(page)
    catch_up = CatchUp(lister, store, ReflectorSettings(), Random(1), lambda *_: None, lambda: None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(catch_up.run)
        catch_up.fall_behind(replaced)
        await trio.sleep(COLLECT_S + 0.01)
        yield Behind(store, lister, catch_up)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("page", "is_behind"),
    [
        (versions(20, a=3), False),
        (versions(20), False),
        (versions(20, a=4), True),
        (versions(20, a=3, b=15), True),
        (versions(10, a=3, b=9), False),  # the store is as new as the list
        (versions(20, a=2), False),
    ],
)
async def test_a_store_has_caught_up_when_it_has_each_listed_version(page: Page[bool], is_behind: bool, autojump_clock: MockClock) -> None:
    async with behind(page, config_map("a", 3)) as made:
        assert made.is_behind() is is_behind


async def test_each_missing_object_is_waited_for_even_beyond_its_namespaces_quota(autojump_clock: MockClock) -> None:
    async with behind(versions(40, a=3, b=20, c=30), config_map("a", 3)) as made:
        made.apply(Put(config_map("c", 20)))
        made.apply(Put(config_map("c", 30)))
        assert made.is_behind()
        made.apply(Put(config_map("b", 35)))
        assert not made.is_behind()


@attrs.define(eq=False)
class Turns(trio.abc.Instrument):
    """How many objects were compared in one turn at most."""

    compared: int = 0
    most: int = 0

    def before_task_step(self, _task: trio.lowlevel.Task) -> None:
        self.compared = 0

    def count(self) -> None:
        self.compared += 1
        self.most = max(self.most, self.compared)


async def test_a_list_of_many_objects_is_compared_in_bounded_turns(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock) -> None:
    turns, version_of = Turns(), ReflectorStore.version_of

    def counted(store: ReflectorStore[ConfigMap], key: Key) -> str | None:
        turns.count()
        return version_of(store, key)

    monkeypatch.setattr(ReflectorStore, "version_of", counted)
    trio.lowlevel.add_instrument(turns)
    names = [f"c{number}" for number in range(3 * COMPARED)]
    async with behind(versions(20, **dict.fromkeys(names, 15)), *(config_map(name, 3) for name in names), replaced=["n"]) as made:
        assert made.is_behind()
        assert turns.most <= COMPARED
    trio.lowlevel.remove_instrument(turns)


@pytest.mark.parametrize("event", [lambda name: Put(config_map(name, 15)), lambda name: Deleted(Key("n", name), "16")])
async def test_what_changes_while_a_list_is_compared_is_waited_for_no_longer(
    monkeypatch: pytest.MonkeyPatch, event: Callable[[str], Put[ConfigMap] | Deleted], autojump_clock: MockClock
) -> None:
    monkeypatch.setattr("exchanger.sources.kube.catch_up.COMPARED", 1)
    is_put = isinstance(event("a"), Put)
    listed = versions(20, a=15, b=15, c=15) if is_put else versions(20)
    store: ReflectorStore[ConfigMap] = ReflectorStore()
    store.replace(Complete(tuple(config_map(name, 3) for name in "abc"), "10"))
    catch_up = CatchUp(Versions(listed), store, ReflectorSettings(), Random(1), lambda *_: None, lambda: None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(catch_up.run)
        catch_up.fall_behind(["n"])
        await trio.sleep(COLLECT_S)
        for name in "cab":
            await trio.lowlevel.checkpoint()
            catch_up.store_changed(store.apply(event(name)))
        await trio.sleep(COLLECT_S)

        assert not catch_up.is_behind
        nursery.cancel_scope.cancel()


async def test_an_object_that_is_gone_again_is_waited_for_no_longer(autojump_clock: MockClock) -> None:
    async with behind(versions(40, b=30)) as made:
        made.apply(Put(config_map("c", 35)))
        assert made.is_behind()
        made.apply(Deleted(Key("n", "b"), "41"))
        assert not made.is_behind()


async def test_a_replaced_namespace_is_current_once_its_old_objects_are_gone(autojump_clock: MockClock) -> None:
    async with behind(versions(40, b=30), config_map("a", 3), replaced=["n"]) as made:
        made.apply(Put(config_map("b", 30)))
        assert made.catch_up.is_replaced("n")
        made.apply(Deleted(Key("n", "a"), "31"))
        assert not made.catch_up.is_replaced("n")
        assert not made.is_behind()


async def test_an_object_that_stays_missing_leads_to_another_list(autojump_clock: MockClock) -> None:
    async with behind(versions(20, b=15)) as made:
        await trio.sleep(LIST_AGAIN_S + 1)
        assert len(made.lister.asked) == 2
        assert made.is_behind()
        made.lister.page = versions(50)
        await trio.sleep(LIST_AGAIN_S + 1)
        assert not made.is_behind()


@pytest.mark.parametrize("takes", [0.0, LIST_EVERY_S])
async def test_an_event_during_or_after_a_list_needs_another_one(takes: float, autojump_clock: MockClock) -> None:
    async with behind(versions(20, b=15)) as made:
        made.lister.seconds = takes
        made.catch_up.fall_behind()
        await trio.sleep(LIST_EVERY_S + COLLECT_S)
        assert len(made.lister.asked) == 2
        made.catch_up.fall_behind()
        made.apply(Put(config_map("b", 15)))
        await trio.sleep(takes)  # the second list is answered now
        assert made.is_behind()
        await trio.sleep(LIST_EVERY_S + takes + 2 * COLLECT_S)
        assert not made.is_behind()
        assert len(made.lister.asked) == 3


async def test_a_store_that_another_event_overtakes_is_behind_of_the_first_one(autojump_clock: MockClock) -> None:
    async with behind(versions(20, b=15)) as made:
        began = made.catch_up.fell_behind_at
        for number in range(5):
            await trio.sleep(LIST_EVERY_S)
            made.catch_up.fall_behind()
            made.lister.page = versions(30 + number, b=15 + number)
            await trio.sleep(LIST_EVERY_S + COLLECT_S)
            assert made.catch_up.caught_up_until(trio.current_time()) < began
        made.apply(Put(config_map("b", 15)))
        assert made.is_behind()
        made.apply(Put(config_map("b", 19)))
        assert not made.is_behind()
