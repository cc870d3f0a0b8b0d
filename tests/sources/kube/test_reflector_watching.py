"""What the reflector makes of a watch: of its events and its end, while the server is away or silent, and when its store went back.

Names in docstrings are those of client-go's cases (tools/cache/reflector_test.go and others).
"""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from exchanger.sources.kube.list_watch import ApiFailure, FailureKind
from exchanger.sources.kube.settings import ReflectorSettings
from tests.sources.kube.fake_api_server import Verb
from tests.sources.kube.reflecting import BROKEN, HOUR, REFUSED, Scene


async def test_a_probe_has_its_own_bound(scene: Scene, autojump_clock: MockClock) -> None:
    scene.server.client_timeout = 1e6
    async with scene.running():
        await trio.sleep(10.0)
        scene.server.latency = 1e6
        scene.server.cut(REFUSED)
        await trio.sleep(61.0)
        assert scene.observer.failures[0][0] == ApiFailure(FailureKind.TIMEOUT, message="no answer within 60 s")


@pytest.mark.parametrize(("slow", "seconds"), [("latency", 20.0), ("watch_latency", 7.0)], ids=["probe", "watch"])
async def test_changes_are_not_followed_while_the_server_is_slow_to_answer(
    scene: Scene, autojump_clock: MockClock, slow: str, seconds: float
) -> None:
    scene.server.bookmarks = False
    async with scene.running():
        await trio.sleep(10.0)
        setattr(scene.server, slow, seconds)
        scene.server.cut(REFUSED)
        await trio.sleep(4.9)
        assert scene.observer.connections == [True]
        await trio.sleep(0.2)
        assert scene.observer.connections == [True, False]
        setattr(scene.server, slow, 0.0)
        await trio.sleep(seconds - 4.0)
        assert scene.observer.connections == [True, False, True]
        assert scene.observer.failures == []


async def test_a_refused_watch_is_never_called_connected(scene: Scene, autojump_clock: MockClock) -> None:
    """Each failing watch follows a probe that succeeds, which must not look like a connection."""
    async with scene.running():
        failure = ApiFailure(FailureKind.FORBIDDEN, 403, "cannot watch")
        scene.server.fail_for_ever(failure, verb=Verb.WATCH)
        scene.server.cut(failure)
        contact = scene.last_contact
        await trio.sleep(400.0)
        assert scene.observer.connections == [True, False]
        assert scene.last_contact == contact
        assert scene.probes() > 5


async def test_a_server_that_does_not_end_watches_is_left(scene: Scene, autojump_clock: MockClock) -> None:
    scene.use(ReflectorSettings(min_watch=100.0, max_watch=100.0, compare=1e6))
    async with scene.running():
        scene.server.watchers[0].ends_at = 1e9
        began = scene.server.requests[-1].time
        await trio.sleep(115.5)
        assert [request.time - began for request in scene.requests(since=began + 1.0)] == [pytest.approx(115.0)] * 2


async def test_watches_are_asked_for_five_to_ten_minutes(scene: Scene, autojump_clock: MockClock) -> None:
    """TestWatchTimeout."""
    async with scene.running():
        await trio.sleep(3 * HOUR)
        timeouts = [request.timeout for request in scene.requests(Verb.WATCH)]
        assert all(300.0 <= timeout <= 600.0 for timeout in timeouts)
        assert len(set(timeouts)) == len(timeouts) > 10


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


async def test_the_back_off_begins_anew_after_a_short_watch_with_events(scene: Scene, autojump_clock: MockClock) -> None:
    failure = ApiFailure(FailureKind.UNAUTHORIZED, 401)

    def last_wait() -> float:
        return scene.observer.failures[-1][1]

    async with scene.running():
        for cut in (REFUSED, failure) * 3:  # neither follows an event
            scene.server.cut(cut)
            await wait_all_tasks_blocked()
            await trio.sleep(last_wait() + 0.1)
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


async def test_a_restored_store_is_noticed_although_the_server_is_silent(scene: Scene, autojump_clock: MockClock) -> None:
    """The watch at the old, higher version would be silent for ever."""
    scene.maps.put("a", "1")
    async with scene.running():
        scene.maps.put("a", "2")
        scene.maps.put("a", "3")
        await trio.sleep(1.0)
        scene.server.restore(101)
        scene.maps.put("c", "never told")
        await trio.sleep(76.0)
        assert scene.observer.values() == {"a": "1", "c": "never told"}
        assert scene.observer.connections == [True, False]
        await trio.sleep(40.0)
        assert scene.observer.connections == [True, False, True]


async def test_an_equal_comparison_is_not_reported(scene: Scene, autojump_clock: MockClock) -> None:
    """TestReflectorResync has no counterpart: what is known is not told again."""
    scene.maps.put("a", "1")
    async with scene.running():
        await trio.sleep(HOUR)
        assert 4 <= len(scene.requests(Verb.LIST, since=400.0)) <= 7
        assert scene.observer.calls == [("replaced", "a")]
        assert len(scene.observer.lists) == 1
