"""A watch that is taken and says nothing, although the server answers everything else; and attempts while somebody waits."""

import pytest
import trio
from trio.testing import MockClock

from exchanger.sources.kube.settings import settings_for
from tests.sources.kube.reflecting import BUSY, HOUR, REFUSED, Scene


def doubted(scene: Scene) -> bool:
    return scene.reflector.health.doubted


async def test_a_stalled_stream_is_not_a_connection(scene: Scene, autojump_clock: MockClock) -> None:
    async with scene.running():
        await trio.sleep(100.0)
        scene.server.frozen = True
        scene.maps.put("a", "1")
        await trio.sleep(76.0)
        assert scene.in_sync()
        assert scene.observer.connections == [True, False]
        assert doubted(scene)
        for number in range(20):
            scene.maps.put("a", str(number))
            await trio.sleep(60.0)
            assert scene.in_sync()
        assert scene.observer.connections == [True, False]
        assert len(scene.observer.silences) == 1
        assert len(scene.requests(since=176.0)) < 60
        scene.server.heal()
        await trio.sleep(80.0)
        assert scene.observer.connections == [True, False, True]


async def test_answers_that_a_proxy_collects_come_half_a_minute_late(scene: Scene, autojump_clock: MockClock) -> None:
    async with scene.running():
        scene.server.buffers = True
        await trio.sleep(120.0)
        for number in range(20):
            scene.maps.put("a", str(number))
            await trio.sleep(37.0)
            assert scene.in_sync()
        assert scene.observer.connections == [True, False, True]
        assert len(scene.observer.silences) == 1
        assert doubted(scene)
        scene.server.heal()
        await trio.sleep(5.0)
        scene.maps.put("a", "live")
        await trio.sleep(40.0)
        assert not doubted(scene)
        await trio.sleep(HOUR)
        assert len(scene.requests(since=trio.current_time() - 1800.0)) < 20
        assert len(scene.observer.silences) == 1


@pytest.mark.parametrize(("limit", "most"), [(10.0, 1450), (30.0, 500), (100.0, 160), (225.0, 30), (0.0, 30)])
async def test_requests_in_a_healthy_hour_with_a_limit(scene: Scene, autojump_clock: MockClock, limit: float, most: int) -> None:
    scene.use(settings_for(limit))
    async with scene.running():
        await trio.sleep(HOUR)
        assert len(scene.requests()) <= most
        assert scene.observer.connections == [True]
        assert scene.observer.silences == []


async def test_hurried_attempts_follow_every_few_seconds(scene: Scene, autojump_clock: MockClock) -> None:
    async with scene.running():
        scene.server.stop()
        await trio.sleep(600.0)
        began = trio.current_time()
        scene.reflector.hurry(True)
        await trio.sleep(HOUR / 4)
        assert HOUR / 12.0 <= len(scene.requests(since=began)) <= HOUR / 6.0
        scene.server.heal()
        await trio.sleep(4.0)
        assert scene.reflector.connected
        scene.reflector.hurry(False)
        scene.server.stop()
        began = trio.current_time()
        await trio.sleep(HOUR)
        assert len(scene.requests(since=began)) <= 126


async def test_hurried_attempts_honour_retry_after(scene: Scene, autojump_clock: MockClock) -> None:
    async with scene.running():
        scene.reflector.hurry(True)
        scene.server.stop(BUSY)
        await trio.sleep(100.0)
        assert {wait for _, wait in scene.observer.failures} == {10.0}


async def test_hurry_abandons_a_lost_request(scene: Scene, autojump_clock: MockClock) -> None:
    """A request into a black hole may be answered a minute later; another one, made after it, at once."""
    scene.server.client_timeout = 1e6
    async with scene.running():
        await trio.sleep(10.0)
        scene.server.latency = 1e6
        scene.server.cut(REFUSED)
        await trio.sleep(20.0)
        scene.server.latency = 0.0
        scene.reflector.hurry(True)
        await trio.sleep(1.0)
        assert scene.reflector.connected


async def test_hurry_does_not_abandon_a_first_list(scene: Scene, autojump_clock: MockClock) -> None:
    scene.server.latency = 20.0
    async with scene.starting() as started:
        await trio.sleep(15.0)
        scene.reflector.hurry(True)
        await trio.sleep(25.0)
        assert started.is_set()
