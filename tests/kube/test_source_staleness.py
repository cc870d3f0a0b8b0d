from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock

from exchanger.kube.list_watch import ApiFailure, FailureKind
from exchanger.kube.reflector import PROGRESS_S
from exchanger.kube.source import LOOK_S
from tests.kube.cluster import REFUSED, Cluster, Followed, deny, following
from tests.kube.fake_api_server import Verb

LIMIT_S = 60.0
LATE_S = LOOK_S + 0.5


@pytest.fixture
def cluster() -> Cluster:
    made = Cluster()
    made.put_namespace("a")
    made.put("a", "p")
    return made


def age(followed: Followed) -> float:
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


@pytest.mark.parametrize("bookmarks", [True, False])
async def test_in_silent_healthy_times_the_policy_is_current_at_every_moment(
    cluster: Cluster, bookmarks: bool, autojump_clock: MockClock
) -> None:
    cluster.server.bookmarks = bookmarks
    async with following(cluster, max_staleness=1.0) as followed:
        for _ in range(30):
            await trio.sleep(10)
            assert age(followed) == 0.0
        assert followed.record.said.count("publish") == 1


async def test_an_outage_closes_at_the_limit_and_not_before(cluster: Cluster, autojump_clock: MockClock) -> None:
    async with following(cluster, max_staleness=LIMIT_S) as followed:
        cluster.server.stop()
        await trio.sleep(LIMIT_S - 0.1)
        assert followed.record.is_open()
        await trio.sleep(LATE_S)
        assert not followed.record.is_open()
        await trio.sleep(600)
        assert followed.record.said.count("close") == 1
        assert [said for said in followed.record.said if said.startswith("stale")] == ["stale 60"]


async def test_one_stale_resource_fails_closed_and_publishes_nothing_until_it_recovers(cluster: Cluster, autojump_clock: MockClock) -> None:
    async with following(cluster, max_staleness=LIMIT_S) as followed:
        record = followed.record
        cluster.server.fail(ApiFailure(FailureKind.FORBIDDEN, 403), resource="namespaces", times=10_000)
        cluster.server.cut(REFUSED, resource="namespaces")
        await trio.sleep(LIMIT_S / 2)
        cluster.put("a", "q", deny("/q"))
        await record.until(lambda: record.denies("/q"), 1)
        await trio.sleep(LIMIT_S / 2 + LATE_S)
        assert not record.is_open()
        for number in range(100):
            cluster.put("a", f"p{number % 3}", deny(f"/{number}"))
            await trio.sleep(1)
        assert len(record.snapshots) == 2
        assert len(followed.source.index.documents()) == 5
        cluster.server.heal()
        await record.until(record.is_open, 60)
        assert len(record.snapshots) == 3
        assert record.denies("/99")
        assert record.passes("/96")


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


@pytest.mark.parametrize("limit", [20.0, 60.0])
async def test_events_on_watches_that_end_after_one_event_arrive_within_the_limit(
    cluster: Cluster, autojump_clock: MockClock, limit: float
) -> None:
    async with following(cluster, max_staleness=limit) as followed:
        await trio.sleep(3 * limit)
        cluster.server.ends_after = 1
        for number in range(60):
            cluster.put("a", "other", deny(f"/{number}"))
        cluster.put("a", "q", deny("/q"))
        written = trio.current_time()
        await followed.record.until(lambda: followed.record.denies("/q"), limit)
        assert trio.current_time() - written < limit / 2
        asked = [one for one in cluster.server.requests if one.time >= written]
        assert len(asked) < 100
        watched = [one.time for one in asked if (one.resource, one.verb) == ("configmaps", Verb.WATCH)]
        assert all(later - earlier > 0.99 * PROGRESS_S for earlier, later in pairwise(watched))
