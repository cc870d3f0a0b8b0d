import pytest
import trio
from trio.testing import MockClock

from exchanger.kube.list_watch import ApiFailure, FailureKind
from exchanger.kube.source import LOOK_S
from tests.kube.cluster import REFUSED, Cluster, Followed, deny, following
from tests.kube.fake_api_server import Verb
from tests.policy.comparing import content

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
        await trio.sleep(4 * 3600)
        assert age(followed) == pytest.approx(4 * 3600 + 30)
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
        for _ in range(90):
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


async def test_contact_opens_again_whether_or_not_anything_was_missed(cluster: Cluster, autojump_clock: MockClock) -> None:
    async with following(cluster, max_staleness=LIMIT_S) as followed:
        record = followed.record
        for number in range(1, 4):
            cluster.server.stop()
            await trio.sleep(2 * LIMIT_S)
            assert not record.is_open()
            cluster.server.heal()
            await record.until(lambda: followed.source.is_connected, 60)
            await record.until(record.is_open, 2.1 * LOOK_S)  # what was missed has a second to arrive, unless everything is listed
            assert record.said[-3:] == ["open", "fresh", "publish"]
            assert [*map(content, record.snapshots)] == [content(record.snapshots[0])] * (number + 1)
            assert not record.changes[-1].documents
            assert not record.changes[-1].withdrawn
        cluster.server.stop()
        await trio.sleep(2 * LIMIT_S)
        cluster.put("a", "q", deny("/q"))
        cluster.server.heal()
        await record.until(record.is_open, 60)
        assert len(record.snapshots) == 5
        assert record.denies("/q")


async def test_one_resource_out_of_sight_is_enough_and_nothing_is_published_while_closed(
    cluster: Cluster, autojump_clock: MockClock
) -> None:
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


async def test_it_opens_when_watches_are_taken_and_not_when_they_are_asked_for(cluster: Cluster, autojump_clock: MockClock) -> None:
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
async def test_events_behind_watches_that_end_after_one_each_are_seen_within_the_limit(
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
        assert len([one for one in cluster.server.requests if one.time >= written]) < 100


async def test_watches_that_end_at_once_are_no_sign_of_life(cluster: Cluster, autojump_clock: MockClock) -> None:
    """Lists show the state instead: while these work, the service is open, and changes take effect with the next one."""
    async with following(cluster, max_staleness=20.0) as followed:
        record = followed.record
        await trio.sleep(60)
        cluster.server.ends_after = 0
        cluster.server.cut()
        for number in range(20):
            cluster.put("a", "q", deny(f"/{number}"))
            await record.until(lambda number=number: record.denies(f"/{number}"), 20)  # type: ignore[misc]
            await trio.sleep(10)
            assert record.is_open()


@pytest.mark.parametrize("limit", [10.0, 20.0, 60.0])
async def test_lists_alone_keep_it_open_and_open_it_again(cluster: Cluster, autojump_clock: MockClock, limit: float) -> None:
    async with following(cluster, max_staleness=limit) as followed:
        record, server = followed.record, cluster.server
        server.fail_for_ever(ApiFailure(FailureKind.GONE, 410), verb=Verb.WATCH)
        server.cut()
        for number in range(100):
            await trio.sleep(5)
            assert record.is_open(), number
            assert age(followed) <= limit
        cluster.put("a", "q", deny("/q"))
        await record.until(lambda: record.denies("/q"), limit)
        server.stop()
        await trio.sleep(2 * limit)
        assert not record.is_open()
        server.heal()
        server.fail_for_ever(ApiFailure(FailureKind.GONE, 410), verb=Verb.WATCH)
        await record.until(record.is_open, 20)
        before = len(server.requests)
        await trio.sleep(3600)
        assert record.is_open()
        assert len(server.requests) - before < 2 * 2 * 3600 * 3 / limit * 2
