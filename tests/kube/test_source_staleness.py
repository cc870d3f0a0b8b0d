import pytest
import trio
from trio.testing import MockClock

from exchanger.kube.source import LOOK_S
from tests.kube.cluster import Cluster, Followed, deny, following

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
