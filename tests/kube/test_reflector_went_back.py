"""How the reflector notices a store that went back, and what regular comparisons find.

Names in docstrings are those of client-go's cases (tools/cache/reflector_test.go and others).
"""

import trio
from trio.testing import MockClock

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


async def test_an_equal_comparison_is_not_reported(scene: Scene, autojump_clock: MockClock) -> None:
    """TestReflectorResync has no counterpart: what is known is not told again."""
    scene.maps.put("a", "1")
    async with scene.running():
        await trio.sleep(HOUR)
        assert 4 <= len(scene.requests(Verb.LIST, since=400.0)) <= 7
        assert scene.observer.calls == [("replaced", "a")]
        assert len(scene.observer.lists) == 1
