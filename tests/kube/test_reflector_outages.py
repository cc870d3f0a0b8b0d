"""What the reflector does while the server is away or silent, and how seldom it asks.

Names in docstrings are those of client-go's cases (tools/cache/reflector_test.go and others).
"""

import pytest
import trio
from trio.testing import MockClock

from exchanger.kube.list_watch import ApiFailure, FailureKind
from exchanger.kube.settings import ReflectorSettings
from tests.kube.fake_api_server import Verb
from tests.kube.reflecting import HOUR, REFUSED, Scene


async def test_a_server_without_bookmarks_is_followed_by_short_watches(scene: Scene, autojump_clock: MockClock) -> None:
    """A server without bookmarks: after the first silence, the ends of short watches take their place."""
    scene.server.bookmarks = False
    scene.maps.put("a", "1")
    async with scene.running():
        await trio.sleep(HOUR)
        assert scene.observer.calls == [("replaced", "a")]
        assert scene.observer.failures == []
        assert scene.observer.silences == [pytest.approx(75.0)]
        assert scene.observer.connections == [True, False, True]
        assert scene.last_contact is not None
        assert scene.last_contact >= trio.current_time() - 45.0
        assert len(scene.requests()) <= 125
        scene.maps.put("b", "1")
        await trio.sleep(0.1)
        assert scene.in_sync()


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
