"""What the reflector makes of a list that comes in pages.

Names in docstrings are those of client-go's cases (tools/cache/reflector_test.go and others).
"""

import pytest
import trio
from trio.testing import MockClock

from exchanger.kube.settings import ReflectorSettings
from exchanger.kube.store import ListBounds
from tests.kube.fake_api_server import Initial, Verb
from tests.kube.reflecting import GONE, HOUR, REFUSED, Scene


async def test_a_list_is_one_state_over_all_its_pages(paging: Scene, autojump_clock: MockClock) -> None:
    """TestReflectorWatchListPageSize, TestReflectorListExtract."""
    for number in range(5):
        paging.maps.put(str(number), "x")

    def meanwhile(request: object) -> None:
        if len(paging.requests(Verb.LIST)) == 2:
            paging.server.before = None
            paging.maps.put("0", "changed between the pages")
            paging.maps.delete("4")

    paging.server.before = meanwhile
    async with paging.running():
        assert [(request.limit, request.continue_token) for request in paging.requests(Verb.LIST)] == [(2, ""), (2, "105:2"), (2, "105:4")]
        assert paging.sink.calls == [("replaced", "0,1,2,3,4"), ("put", "0"), ("deleted", "4")]
        assert paging.list_watch.ever(paging.sink.replacements[0])
        assert paging.in_sync()


async def test_every_list_is_consistent(paging: Scene, autojump_clock: MockClock) -> None:
    """Instead of TestReflectorResyncWithResourceVersion, ...ExpiredExactResourceVersion, ...FullListIfTooLarge and the cases of paging.

    client-go begins with version "0" and relists at the version it knows; that is what those cases are about.
    """
    for number in range(5):
        paging.maps.put(str(number), "x")
    async with paging.running():
        paging.server.cut(GONE)
        await trio.sleep(10.0)
        assert len(paging.lists()) == 2
        assert {request.resource_version for request in paging.requests(Verb.LIST)} == {""}


async def test_a_list_that_expires_between_its_pages_begins_anew(paging: Scene, autojump_clock: MockClock) -> None:
    """TestReflectorFullListIfExpired."""
    for number in range(5):
        paging.maps.put(str(number), "x")

    def meanwhile(request: object) -> None:
        if len(paging.requests(Verb.LIST)) == 2:
            paging.server.before = None
            paging.maps.put("5", "x")
            paging.server.compact()

    paging.server.before = meanwhile
    async with paging.running():
        assert paging.sink.calls == [("replaced", "0,1,2,3,4,5")]
        assert trio.current_time() == 0.0  # the first time without a wait
        assert [request.continue_token for request in paging.requests(Verb.LIST)] == ["", "105:2", "", "106:2", "106:4"]


async def test_lists_that_always_expire_are_spaced(paging: Scene, autojump_clock: MockClock) -> None:
    for number in range(5):
        paging.maps.put(str(number), "x")

    def meanwhile(request: object) -> None:
        paging.server.touch()
        paging.server.compact()

    paging.server.before = meanwhile
    async with paging.starting():
        await trio.sleep(HOUR)
        assert paging.sink.calls == []
        assert len(paging.lists()) < 130


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
        assert (scene.sink.calls == []) is bool(message)
        assert (message in [failure.message for failure, _ in scene.observer.failures]) is bool(message)


async def test_a_failure_in_the_middle_of_a_list_gives_no_state(paging: Scene, autojump_clock: MockClock) -> None:
    for number in range(5):
        paging.maps.put(str(number), "x")
    paging.server.fail(REFUSED, verb=Verb.LIST, skip=2)
    async with paging.starting() as started:
        await trio.sleep(0.1)
        assert paging.sink.calls == []
        await started.wait()
        assert paging.sink.calls == [("replaced", "0,1,2,3,4")]
