"""How the reflector comes to its first state: by initial events, or by a list where the server has none. How it ends.

Names in docstrings are those of client-go's cases (tools/cache/reflector_test.go and others).
"""

from itertools import groupby

import pytest
import trio
from trio.testing import MockClock

from exchanger.sources.kube.settings import ReflectorSettings
from exchanger.sources.kube.store import ListBounds
from tests.sources.kube.fake_api_server import Initial, Verb
from tests.sources.kube.reflecting import Scene


async def test_the_first_state_is_one_replacement(scene: Scene, autojump_clock: MockClock) -> None:
    """TestReflectorListAndWatch; TestWatchList: "prove that the reflector is synced after receiving a bookmark event"."""
    scene.maps.put("a", "1", namespace="n")
    scene.maps.put("b", "2", namespace="m")
    async with scene.running():
        assert scene.observer.calls == [("replaced", "a,b")]
        assert scene.in_sync()
        assert scene.observer.lists == [(2, "102")]
        assert scene.observer.connections == [True]
        scene.maps.put("c", "3", namespace="n")
        scene.maps.put("a", "4", namespace="n")
        scene.maps.delete("b", namespace="m")
        await trio.sleep(0.1)
        assert scene.observer.calls[1:] == [("put", "c"), ("put", "a"), ("deleted", "b")]
        assert scene.in_sync()
        assert scene.version == "105"
        assert scene.observer.failures == []


@pytest.mark.parametrize(
    ("initial", "expected"),
    [
        (Initial.OFFERED, [(0.0, Verb.WATCH, "")]),
        (Initial.REFUSED, [(0.0, Verb.WATCH, ""), (0.0, Verb.LIST, ""), (0.0, Verb.WATCH, "100")]),
    ],
)
async def test_a_server_without_initial_events_is_listed_at_once(
    autojump_clock: MockClock, initial: Initial, expected: list[tuple[float, Verb, str]]
) -> None:
    """TestReflectorListAndWatch: "UseWatchList enabled"; TestWatchList: "the reflector can fall back to old LIST/WATCH semantics"."""
    scene = Scene()
    scene.server.initial = initial
    async with scene.running():
        await trio.sleep(200.0)
        assert [(request.time, request.verb, request.resource_version) for request in scene.requests()] == expected
        assert scene.requests()[0].initial_events


async def test_a_server_that_never_ends_initial_events_is_listed_after_ten_seconds(autojump_clock: MockClock) -> None:
    """TestInitialEventsEndBookmarkTicker, where client-go only warns."""
    scene = Scene()
    scene.server.initial = Initial.IGNORED
    scene.maps.put("a", "1")
    async with scene.starting() as started:
        await trio.sleep(9.9)
        assert scene.observer.calls == []
        await started.wait()
        assert trio.current_time() == pytest.approx(10.0)
        assert scene.observer.calls == [("replaced", "a")]


async def test_initial_events_that_never_stop_are_bounded(autojump_clock: MockClock) -> None:
    scene = Scene(ReflectorSettings(list_bounds=ListBounds(timeout=100.0)))
    scene.server.initial = Initial.IGNORED
    async with scene.starting() as started, trio.open_nursery() as nursery:

        async def write() -> None:
            while True:
                await trio.sleep(5.0)
                scene.maps.put("a", "1")

        nursery.start_soon(write)
        await started.wait()
        assert trio.current_time() == pytest.approx(100.0)
        nursery.cancel_scope.cancel()


async def test_initial_objects_are_bounded(autojump_clock: MockClock) -> None:
    scene = Scene(ReflectorSettings(list_bounds=ListBounds(page_size=2, max_objects=15)))
    for number in range(16):
        scene.maps.put(str(number), "x")
    async with scene.starting():
        await trio.sleep(10.0)
        assert scene.observer.calls == []
        assert {failure.message for failure, _ in scene.observer.failures} == {
            "the watch began with more than 15 objects",
            "the list has more than 15 objects",
        }
        assert [verb for verb, _ in groupby(request.verb for request in scene.requests())][:3] == [Verb.WATCH, Verb.LIST, Verb.WATCH]


@pytest.mark.parametrize(
    ("bounds", "latency", "message"),
    [
        (ListBounds(page_size=2, max_objects=4), 0.0, "the list has more than 4 objects"),
        (ListBounds(page_size=1, max_pages=4), 0.0, "the list does not end after 4 pages"),
        (ListBounds(page_size=2, timeout=300.0), 120.0, "the list took longer than 300 s"),
        (ListBounds(page_size=2, max_objects=5, max_pages=3), 0.0, ""),
    ],
)
async def test_a_list_must_end(autojump_clock: MockClock, bounds: ListBounds, latency: float, message: str) -> None:
    scene = Scene(ReflectorSettings(list_bounds=bounds))
    scene.server.initial = Initial.REFUSED
    scene.server.latency, scene.server.client_timeout = latency, 200.0
    for number in range(5):
        scene.maps.put(str(number), "x")
    async with scene.starting():
        await trio.sleep(120.0 + 305.0)
        assert (scene.observer.calls == []) is bool(message)
        assert (message in [failure.message for failure, _ in scene.observer.failures]) is bool(message)
