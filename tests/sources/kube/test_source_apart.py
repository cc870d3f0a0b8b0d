"""What stays active while a feed is behind, and for how long. The law is in ``tests/property/test_kube_source.py``."""

from collections.abc import Iterator

import pytest
import trio
from trio.testing import MockClock

from exchanger.model.entry import DenyEntry, ExchangeEntry, Source
from exchanger.policy.grants.allowance import Grants
from exchanger.policy.grants.reader import read_grants
from exchanger.sources.kube.index import STEP, PolicyIndex
from exchanger.sources.kube.settings import CAUGHT_UP_S
from exchanger.sources.kube.source import AGREE_S, LOOK_S
from tests.sources.kube.cluster import REFUSED, SELECTED, Cluster, FollowedCluster, Record, deny, following, source

LIMIT_S = 60.0
# Seconds in which what is held is released once every feed follows: the watch counts after one, and is looked at.
RELEASED_S = CAUGHT_UP_S + LOOK_S + 10 * AGREE_S


@pytest.fixture
def cluster() -> Cluster:
    made = Cluster()
    made.put_namespace("a")
    made.put("a", "p")
    return made


def exchange(audience: str, path: str = "/a") -> str:
    target = f"{{issuerRef: i, audiences: [{audience}]}}"
    return f"version: v1\nentries: [{{match: {{host: h, pathPrefix: {path}}}, action: exchange, exchange: {target}}}]"


async def test_an_exchange_stays_as_it_was_until_all_feeds_have_caught_up(cluster: Cluster, autojump_clock: MockClock) -> None:
    cluster.put("a", "p", exchange("old"))
    async with following(cluster) as followed:
        record = followed.record
        followed.source.use_issuers(frozenset({"i"}))
        await record.until(lambda: record.decision() is ExchangeEntry, 1)

        def audience() -> object:
            decision = record.snapshots[-1].match("h", "/a", "GET")
            return decision.target.audiences[0] if isinstance(decision, ExchangeEntry) else None

        cluster.server.lose("namespaces", REFUSED)
        cluster.put("a", "p", exchange("new"))
        await trio.sleep(30)
        assert audience() == "old"
        cluster.put("a", "narrow", deny("/a/b"))
        await record.until(lambda: record.decision("/a/b") is DenyEntry, 1)
        assert audience() == "old"
        cluster.server.find("namespaces")
        await record.until(lambda: audience() == "new", 60 + RELEASED_S)


def granted() -> Grants:
    found = read_grants(
        'version: v1\ngrants: [{namespaceSelector: policy, hosts: ["{label:team}.example.com"], issuers: ["*"], audiences: ["*"]}]',
        has_labels=True,
    )
    assert isinstance(found, Grants)
    return found


def of_team(team: str) -> str:
    return f"version: v1\nentries: [{{match: {{host: {team}.example.com, pathPrefix: /}}, action: deny}}]"


async def test_labels_and_documents_that_swap_hosts_leave_neither_open(autojump_clock: MockClock) -> None:
    cluster, record = Cluster(), Record()
    for name, team in (("a", "x"), ("b", "y")):
        cluster.put_namespace(name, {**SELECTED, "team": team})
        cluster.put(name, "p", of_team(team))
    followed = source(cluster, record, grants=granted())

    def denied() -> list[bool]:
        return [isinstance(record.snapshots[-1].match(f"{team}.example.com", "/", "GET"), DenyEntry) for team in "xy"]

    async with trio.open_nursery() as nursery:
        await nursery.start(followed.run)
        assert denied() == [True, True]
        cluster.server.lose("configmaps", REFUSED)
        for name, team in (("a", "y"), ("b", "x")):
            cluster.put_namespace(name, {**SELECTED, "team": team})
            cluster.put(name, "p", of_team(team))
        for _ in range(100):
            await trio.sleep(0.3)
            assert denied() == [True, True]
        cluster.server.find("configmaps")
        for _ in range(300):
            await trio.sleep(0.3)
            assert denied() == [True, True]
        assert record.snapshots[-1].settled is None
        nursery.cancel_scope.cancel()


async def test_a_denial_that_moves_while_config_maps_are_first_listed_stays(cluster: Cluster, autojump_clock: MockClock) -> None:
    cluster.put_namespace("b")
    cluster.server.late["configmaps"] = 3.0
    record = Record()
    followed = source(cluster, record)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(followed.run)
        await trio.sleep(1.0)
        cluster.put("b", "p")
        cluster.put_namespace("a", {})
        await record.until(lambda: bool(record.snapshots), 60)
        assert record.denies("/a")
        assert record.snapshots[0].document(Source("b", "p")) is not None
        nursery.cancel_scope.cancel()


async def test_a_name_that_replaces_another_opens_nothing(cluster: Cluster, autojump_clock: MockClock) -> None:
    async with following(cluster, namespaces=("a",)) as followed:
        cluster.put("b", "p")
        cluster.server.latency = 5.0
        followed.source.use_namespaces(("b",))
        for _ in range(200):
            await trio.sleep(0.1)
            assert followed.record.denies()
        assert {found.source.namespace for found in followed.record.snapshots[-1].documents()} == {"b"}


async def test_a_feed_that_connects_ends_the_waits_of_the_others(cluster: Cluster, autojump_clock: MockClock) -> None:
    async with following(cluster) as followed:
        cluster.server.stop()
        await trio.sleep(600)
        cluster.server.heal()
        await followed.record.until(lambda: any(said.startswith("connected") for said in followed.record.said[-1:]), 60)
        await followed.record.until(lambda: followed.source.is_connected, 1)


async def test_a_service_without_a_first_version_asks_every_few_seconds(cluster: Cluster, autojump_clock: MockClock) -> None:
    cluster.server.stop()
    record = Record()
    followed = source(cluster, record)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(followed.run)
        await trio.sleep(600)
        requests = len(cluster.server.requests)
        assert 2 * 600 / 3.0 <= requests <= 2 * 600 / 1.5 + 10
        cluster.server.heal()
        await record.until(record.denies, 4)
        cluster.server.stop()
        await trio.sleep(600)
        assert len(cluster.server.requests) < requests + 60
        nursery.cancel_scope.cancel()


async def test_events_received_while_a_recreated_namespace_settles_are_not_lost(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster()
    cluster.put_namespace("a")
    for number in range(STEP + 10):
        cluster.put("a", f"m{number}", deny(f"/{number}"))
    async with following(cluster) as followed:
        settle = PolicyIndex.settle

        def with_an_event(self: PolicyIndex) -> Iterator[None]:
            for step in settle(self):
                cluster.put("a", "late", deny("/late"))  # what the reflector's task does meanwhile
                yield step

        monkeypatch.setattr(PolicyIndex, "settle", with_an_event)
        cluster.put_namespace("a", uid="another")
        await trio.sleep(0.5)
        await followed.record.until(lambda: followed.record.denies("/1"), 20)
        await followed.record.until(lambda: followed.record.denies("/late"), 20)


def age(followed: FollowedCluster) -> float:
    found = followed.source.snapshot_age()
    assert found is not None
    return found


async def test_without_a_limit_an_outage_keeps_the_policy_for_ever(cluster: Cluster, autojump_clock: MockClock) -> None:
    async with following(cluster) as followed:
        cluster.server.stop()
        await trio.sleep(30)
        assert age(followed) == pytest.approx(30)
        assert not followed.source.is_connected
        await trio.sleep(600)
        assert age(followed) == pytest.approx(600 + 30)
        assert followed.record.denies()
        assert len(followed.record.snapshots) == 1
        cluster.server.heal()
        await trio.sleep(60)
        assert age(followed) == 0.0
        assert "lost" not in followed.record.said[-1]
        assert "close" not in followed.record.said


async def test_an_outage_closes_at_the_limit_and_not_before(cluster: Cluster, autojump_clock: MockClock) -> None:
    async with following(cluster, max_staleness=LIMIT_S) as followed:
        cluster.server.stop()
        await trio.sleep(LIMIT_S - 0.1)
        assert followed.record.is_open()
        await trio.sleep(LOOK_S + 0.5)
        assert not followed.record.is_open()
        await trio.sleep(600)
        assert followed.record.said.count("close") == 1
        assert [said for said in followed.record.said if said.startswith("stale")] == ["stale 60"]


async def test_stale_policy_reopens_when_watches_are_accepted_not_when_requested(cluster: Cluster, autojump_clock: MockClock) -> None:
    """As after a restart of the server, which answers lists at once and watches when its caches are filled."""
    async with following(cluster, max_staleness=LIMIT_S) as followed:
        await trio.sleep(40)
        cluster.server.stop()
        await trio.sleep(10)
        cluster.put("a", "q", deny("/new"))
        await trio.sleep(290)
        assert not followed.record.is_open()
        cluster.server.watch_latency = 25.0
        cluster.server.heal()
        await followed.record.until(followed.record.is_open, float("inf"))
        assert followed.record.denies("/new")
