"""What the reflector makes of the events of a watch, and how it goes on when a watch ends or fails.

Names in docstrings are those of client-go's cases (tools/cache/reflector_test.go and others).
"""

import trio
from trio.testing import MockClock

from exchanger.kube.list_watch import ApiFailure, FailureKind
from tests.kube.fake_api_server import Verb
from tests.kube.reflecting import BROKEN, HOUR, Scene


async def test_watches_are_asked_for_five_to_ten_minutes(scene: Scene, autojump_clock: MockClock) -> None:
    """TestWatchTimeout."""
    async with scene.running():
        await trio.sleep(3 * HOUR)
        timeouts = [request.timeout for request in scene.requests(Verb.WATCH)]
        assert all(300.0 <= timeout <= 600.0 for timeout in timeouts)
        assert len(set(timeouts)) == len(timeouts) > 10


async def test_a_list_after_an_outage_has_its_own_back_off(scene: Scene, autojump_clock: MockClock) -> None:
    """Here client-go has one back-off for both, and is blind for up to a minute more."""
    async with scene.running():
        scene.server.stop()
        scene.maps.put("a", "1")
        scene.maps.put("b", "1")
        scene.server.compact()
        await trio.sleep(300.0)
        scene.server.heal()
        await trio.sleep(60.0)
        assert scene.observer.failures[-1][1] > 30.0  # the comparison after an outage finds what no watch could continue from
        assert scene.in_sync()


async def test_server_errors_in_a_row_lead_to_a_list(scene: Scene, autojump_clock: MockClock) -> None:
    """TestReflectorReplacesStoreOnUnsafeDelete, TestRetryInternalError: a watch that can never go on from this version."""
    scene.maps.put("corrupt", "1")
    async with scene.running():
        scene.server.fail(BROKEN, verb=Verb.WATCH, times=2)
        scene.server.mute = True
        scene.maps.delete("corrupt")
        scene.server.cut(BROKEN)
        await trio.sleep(20.0)
        assert scene.observer.calls == [("replaced", "corrupt"), ("replaced", "")]
        assert len(scene.observer.failures) == 3


async def test_server_errors_with_events_between_them_are_not_in_a_row(scene: Scene, autojump_clock: MockClock) -> None:
    async with scene.running():
        for number in range(6):
            scene.maps.put("a", str(number))
            await trio.sleep(100.0)
            scene.server.cut(BROKEN)
        assert len(scene.observer.replacements) == 1


async def test_the_back_off_begins_anew_after_a_short_watch_with_events(scene: Scene, autojump_clock: MockClock) -> None:
    failure = ApiFailure(FailureKind.UNAUTHORIZED, 401)

    def last_wait() -> float:
        return scene.observer.failures[-1][1]

    async with scene.running():
        for _ in range(6):
            scene.server.cut(failure)
            await trio.sleep(last_wait() + 0.1 if scene.observer.failures else 2.0)
        assert last_wait() > 5.0
        scene.server.ends_after = 1
        for number in range(5):
            scene.maps.put("a", str(number))
        scene.server.cut()
        await trio.sleep(20.0)
        assert scene.in_sync()
        scene.server.cut(failure)
        await trio.sleep(0.1)
        assert 0.8 <= last_wait() <= 1.6
