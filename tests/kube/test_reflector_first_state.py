"""How the reflector comes to its first state: by initial events, or by a list where the server has none. How it ends.

Names in docstrings are those of client-go's cases (tools/cache/reflector_test.go and others).
"""

import pytest
import trio
from trio.testing import MockClock

from exchanger.kube.list_watch import ApiFailure, Bookmark, Deleted, FailureKind, Key
from exchanger.kube.settings import ReflectorSettings
from exchanger.kube.store import ListBounds
from tests.kube.fake_api_server import Initial, Verb
from tests.kube.reflecting import BROKEN, GONE, MALFORMED, Scene


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
async def test_initial_events_need_one_request_and_a_server_without_them_is_listed_at_once(
    autojump_clock: MockClock, initial: Initial, expected: list[tuple[float, Verb, str]]
) -> None:
    """TestReflectorListAndWatch: "UseWatchList enabled"; TestWatchList: "the reflector can fall back to old LIST/WATCH semantics"."""
    scene = Scene()
    scene.server.initial = initial
    async with scene.running():
        await trio.sleep(200.0)
        assert [(request.time, request.verb, request.resource_version) for request in scene.requests()] == expected
        assert scene.requests()[0].initial_events


async def test_a_server_that_never_ends_the_initial_events_is_listed_after_ten_seconds(autojump_clock: MockClock) -> None:
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


@pytest.mark.parametrize("initial", [Initial.REFUSED, Initial.IGNORED])
async def test_the_fall_back_is_remembered(autojump_clock: MockClock, initial: Initial) -> None:
    scene = Scene()
    scene.server.initial = initial
    async with scene.running():
        scene.server.cut(GONE)
        await trio.sleep(1.0)
        assert [request.initial_events for request in scene.requests(Verb.WATCH)] == [True, False, False]
        assert len(scene.observer.replacements) == 2


async def test_changes_between_the_initial_events_count(autojump_clock: MockClock) -> None:
    """TestWatchList: "check if Updates and Deletes events are propagated during streaming (until the bookmark is received)".

    Also "prove that the reflector is checking the value of the initialEventsEnd annotation".
    """
    scene = Scene()
    scene.server.initial = Initial.IGNORED
    scene.maps.put("a", "1")
    scene.maps.put("b", "2")
    async with scene.starting() as started:
        await trio.sleep(1.0)
        scene.maps.put("a", "3")
        scene.maps.put("c", "4")
        scene.maps.delete("c")
        scene.maps.inject(Deleted(Key("", "never there"), "106"))
        scene.maps.inject(Bookmark("105"))
        await trio.sleep(1.0)
        assert scene.observer.calls == []
        scene.maps.inject(Bookmark("105", initial_events_end=True))
        await started.wait()
        assert trio.current_time() == pytest.approx(2.0)
        assert scene.observer.calls == [("replaced", "a,b")]
        assert scene.observer.values() == {"a": "3", "b": "2"}
        assert scene.version == "105"


@pytest.mark.parametrize(
    ("last", "message"),
    [
        (None, "the server ended the watch before the first state was complete"),
        (Bookmark("", initial_events_end=True), "the initial objects have no version"),
    ],
    ids=["an end", "no version"],
)
async def test_incomplete_initial_events_are_followed_by_a_list(autojump_clock: MockClock, last: Bookmark | None, message: str) -> None:
    """TestWatchList: "check if stopping a watcher before sync results in creating a new watch-list request"; here a list."""
    scene = Scene()
    scene.server.initial = Initial.IGNORED
    scene.maps.put("a", "1")
    async with scene.starting() as started:
        await trio.sleep(1.0)
        if last is not None:
            scene.maps.inject(last)
        scene.server.cut()
        await trio.sleep(0.1)
        assert scene.observer.calls == []
        await started.wait()
        assert [request.verb for request in scene.requests()][:2] == [Verb.WATCH, Verb.LIST]
        assert scene.observer.calls == [("replaced", "a")]
        assert scene.observer.failures[0][0].message == message


@pytest.mark.parametrize("failure", [BROKEN, MALFORMED, ApiFailure(FailureKind.FORBIDDEN, 403, "cannot watch")], ids=lambda f: f.kind.value)
async def test_any_other_failure_gives_a_list_its_chance(autojump_clock: MockClock, failure: ApiFailure) -> None:
    """TestWatchList: "returning any other error than apierrors.NewInvalid forces fallback"."""
    scene = Scene()
    scene.maps.put("a", "1")
    scene.server.fail(failure, verb=Verb.WATCH)
    async with scene.running():
        await trio.sleep(1.0)
        assert [request.verb for request in scene.requests()] == [Verb.WATCH, Verb.LIST, Verb.WATCH]
        scene.server.cut(GONE)
        await trio.sleep(60.0)
        assert scene.requests()[-1].initial_events  # it is not remembered


async def test_the_two_ways_of_listing_take_turns_while_both_fail(autojump_clock: MockClock) -> None:
    scene = Scene()
    scene.server.fail(BROKEN, times=5)
    async with scene.running():
        assert [request.verb for request in scene.requests()][:6] == [Verb.WATCH, Verb.LIST] * 3


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


async def test_initial_objects_are_bounded(autojump_clock: MockClock, paging: Scene) -> None:
    paging.server.initial = Initial.OFFERED
    for number in range(16):
        paging.maps.put(str(number), "x")
    async with paging.starting():
        await trio.sleep(10.0)
        assert paging.observer.calls == []
        assert {failure.message for failure, _ in paging.observer.failures} == {
            "the watch began with more than 15 objects",
            "the list has more than 15 objects",
        }


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
        assert paging.observer.calls == [("replaced", "0,1,2,3,4"), ("put", "0"), ("deleted", "4")]
        assert paging.list_watch.ever(paging.observer.replacements[0])
        assert paging.in_sync()


async def test_a_list_that_expires_between_its_pages_begins_anew(paging: Scene, autojump_clock: MockClock) -> None:
    """TestReflectorFullListIfExpired. Every list is consistent, instead of TestReflectorResyncWithResourceVersion and the cases of paging.

    client-go begins with version "0" and relists at the version it knows; that is what those cases are about.
    """
    for number in range(5):
        paging.maps.put(str(number), "x")

    def meanwhile(request: object) -> None:
        if len(paging.requests(Verb.LIST)) == 2:
            paging.server.before = None
            paging.maps.put("5", "x")
            paging.server.compact()

    paging.server.before = meanwhile
    async with paging.running():
        assert paging.observer.calls == [("replaced", "0,1,2,3,4,5")]
        assert trio.current_time() == 0.0  # the first time without a wait
        assert [request.continue_token for request in paging.requests(Verb.LIST)] == ["", "105:2", "", "106:2", "106:4"]
        assert {request.resource_version for request in paging.requests(Verb.LIST)} == {""}


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


async def test_a_fault_of_the_sink_is_a_fault(scene: Scene, autojump_clock: MockClock) -> None:
    async def run() -> None:
        async with scene.running():
            scene.observer.fault = ZeroDivisionError()
            scene.maps.put("b", "1")
            await trio.sleep(1.0)

    with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True):
        await run()
    assert scene.server.watchers == []
