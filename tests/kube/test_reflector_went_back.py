"""How the reflector notices a store that went back, and what regular comparisons find.

Names in docstrings are those of client-go's cases (tools/cache/reflector_test.go and others).
"""

import trio
from trio.testing import MockClock

from exchanger.kube.list_watch import ApiFailure, Bookmark, FailureKind
from tests.kube.fake_api_server import Verb
from tests.kube.reflecting import HOUR, Scene


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


async def test_a_restored_store_that_ran_ahead_is_found_by_comparing(scene: Scene, autojump_clock: MockClock) -> None:
    """Its version is higher than the one known, so no version shows what happened."""
    scene.maps.put("a", "1")
    async with scene.running():
        scene.maps.put("b", "1")
        await trio.sleep(1.0)
        scene.server.restore(101)
        scene.server.mute = True
        for _ in range(10):
            scene.maps.put("c", "x")
        scene.server.mute = False
        await trio.sleep(480.0)
        assert set(scene.observer.values()) == {"a", "b"}
        await trio.sleep(240.0)
        assert set(scene.observer.values()) == {"a", "c"}
        assert len(scene.requests(Verb.LIST, since=400.0)) == 1
        assert scene.in_sync()


async def test_an_equal_comparison_is_not_reported(scene: Scene, autojump_clock: MockClock) -> None:
    """TestReflectorResync has no counterpart: what is known is not told again."""
    scene.maps.put("a", "1")
    async with scene.running():
        await trio.sleep(HOUR)
        assert 4 <= len(scene.requests(Verb.LIST, since=400.0)) <= 7
        assert scene.observer.calls == [("replaced", "a")]
        assert len(scene.observer.lists) == 1


async def test_a_restored_store_with_equal_objects_still_counts_as_new(scene: Scene, autojump_clock: MockClock) -> None:
    """Or the watch would stay at a version that the server reaches in days."""
    scene.maps.put("a", "1")
    scene.server.bookmarks = False
    async with scene.running():
        for _ in range(50):
            scene.server.touch()
        scene.maps.inject(Bookmark("150"))
        await trio.sleep(1.0)
        # Only the comparison is late enough to see it: bookmarks of another kind keep the watch from being silent.
        scene.server.restore(101)
        async with trio.open_nursery() as nursery:

            async def distract() -> None:
                while True:
                    scene.maps.inject(Bookmark("150"))
                    await trio.sleep(30.0)

            nursery.start_soon(distract)
            await trio.sleep(720.0)
            nursery.cancel_scope.cancel()
        assert scene.observer.steps_back == [("150", "101")]
        scene.maps.put("b", "1")
        await trio.sleep(0.1)
        assert scene.in_sync()


async def test_a_comparison_that_fails_does_not_keep_the_watch_back(scene: Scene, autojump_clock: MockClock) -> None:
    async with scene.running():
        scene.server.fail_for_ever(ApiFailure(FailureKind.FORBIDDEN, 403, "cannot list"), verb=Verb.LIST)
        await trio.sleep(800.0)
        scene.maps.put("a", "1")
        await trio.sleep(66.0)
        assert scene.in_sync()
        assert len(scene.observer.failures) == 1
        assert len(scene.observer.lists) == 1
