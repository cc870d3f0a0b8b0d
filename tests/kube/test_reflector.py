"""How the reflector follows a resource. Names in docstrings are those of client-go's cases (tools/cache/reflector_test.go and others)."""

import pytest
import trio
from trio.testing import MockClock

from exchanger.kube.list_watch import ApiFailure, Bookmark, Deleted, FailureKind, Item, Key, Put
from exchanger.kube.listing import ListBounds
from exchanger.kube.recovery import Attempt
from exchanger.kube.reflector import ReflectorSettings
from tests.kube.fake_list_watch import Initial, Verb
from tests.kube.reflecting import HOUR, Scene

GONE = ApiFailure(FailureKind.GONE, 410, "too old resource version")
BUSY = ApiFailure(FailureKind.TOO_MANY_REQUESTS, 429, "too many requests", retry_after=20.0)
REFUSED = ApiFailure(FailureKind.UNREACHABLE, message="connection refused")
BROKEN = ApiFailure(FailureKind.SERVER_ERROR, 500, "etcdserver: no leader")
MALFORMED = ApiFailure(FailureKind.MALFORMED, message="no JSON")


@pytest.fixture(params=[Initial.OFFERED, Initial.REFUSED, Initial.IGNORED], ids=lambda initial: initial.value)
def scene(request: pytest.FixtureRequest) -> Scene:
    """Three kinds of server, on each of which the same holds."""
    found = Scene()
    found.server.initial = request.param
    return found


@pytest.fixture
def paging() -> Scene:
    """A server without initial events, asked for pages of two."""
    found = Scene(ReflectorSettings(list_bounds=ListBounds(page_size=2, max_pages=10, max_objects=15)))
    found.server.initial = Initial.REFUSED
    return found


# The first state


async def test_the_first_state_is_one_replacement(scene: Scene, autojump_clock: MockClock) -> None:
    """TestReflectorListAndWatch; TestWatchList: "prove that the reflector is synced after receiving a bookmark event"."""
    scene.maps.put("a", "1", namespace="n")
    scene.maps.put("b", "2", namespace="m")
    async with scene.running():
        assert scene.sink.calls == [("replaced", "a,b")]
        assert scene.in_sync()
        assert scene.observer.lists == [(2, "102")]
        assert scene.observer.connections == [True]
        scene.maps.put("c", "3", namespace="n")
        scene.maps.put("a", "4", namespace="n")
        scene.maps.delete("b", namespace="m")
        await trio.sleep(0.1)
        assert scene.sink.calls[1:] == [("put", "c"), ("put", "a"), ("deleted", "b")]
        assert scene.in_sync()
        assert scene.statistics.resource_version == "105"
        assert scene.observer.failures == []


async def test_an_empty_resource_is_a_complete_state(scene: Scene, autojump_clock: MockClock) -> None:
    async with scene.running():
        assert scene.sink.calls == [("replaced", "")]


async def test_initial_events_need_one_request(autojump_clock: MockClock) -> None:
    """TestReflectorListAndWatch: "UseWatchList enabled"."""
    scene = Scene()
    scene.maps.put("a", "1")
    async with scene.running():
        await trio.sleep(200.0)
        assert [(request.verb, request.resource_version, request.initial_events) for request in scene.requests()] == [
            (Verb.WATCH, "", True)
        ]


async def test_a_server_without_initial_events_is_listed_at_once(autojump_clock: MockClock) -> None:
    """TestWatchList: "the reflector can fall back to old LIST/WATCH semantics when a server doesn't support streaming"."""
    scene = Scene()
    scene.server.initial = Initial.REFUSED
    async with scene.running():
        await trio.sleep(200.0)
        assert [(request.time, request.verb, request.resource_version) for request in scene.requests()] == [
            (0.0, Verb.WATCH, ""),
            (0.0, Verb.LIST, ""),
            (0.0, Verb.WATCH, "100"),
        ]


async def test_a_server_that_never_ends_the_initial_events_is_listed_after_ten_seconds(autojump_clock: MockClock) -> None:
    """TestInitialEventsEndBookmarkTicker, where client-go only warns."""
    scene = Scene()
    scene.server.initial = Initial.IGNORED
    scene.maps.put("a", "1")
    async with scene.starting() as started:
        await trio.sleep(9.9)
        assert scene.sink.calls == []
        await started.wait()
        assert trio.current_time() == pytest.approx(10.0)
        assert scene.sink.calls == [("replaced", "a")]


@pytest.mark.parametrize("initial", [Initial.REFUSED, Initial.IGNORED])
async def test_the_fall_back_is_remembered(autojump_clock: MockClock, initial: Initial) -> None:
    scene = Scene()
    scene.server.initial = initial
    async with scene.running():
        scene.server.cut(GONE)
        await trio.sleep(1.0)
        assert [request.initial_events for request in scene.requests(Verb.WATCH)] == [True, False, False]
        assert len(scene.sink.replacements) == 2


async def test_a_plain_bookmark_does_not_end_the_initial_events(autojump_clock: MockClock) -> None:
    """TestWatchList: "prove that the reflector is checking the value of the initialEventsEnd annotation"."""
    scene = Scene()
    scene.server.initial = Initial.IGNORED
    async with scene.starting():
        await trio.sleep(1.0)
        scene.maps.inject(Bookmark("100"))
        await trio.sleep(1.0)
        assert scene.sink.calls == []


async def test_changes_between_the_initial_events_count(autojump_clock: MockClock) -> None:
    """TestWatchList: "check if Updates and Deletes events are propagated during streaming (until the bookmark is received)"."""
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
        scene.maps.inject(Bookmark("105", initial_events_end=True))
        await started.wait()
        assert trio.current_time() == pytest.approx(1.0)
        assert scene.sink.calls == [("replaced", "a,b")]
        assert scene.sink.values() == {"a": "3", "b": "2"}
        assert scene.statistics.resource_version == "105"


async def test_a_watch_that_stops_before_its_first_state_gives_none(autojump_clock: MockClock) -> None:
    """TestWatchList: "check if stopping a watcher before sync results in creating a new watch-list request"; here a list."""
    scene = Scene()
    scene.server.initial = Initial.IGNORED
    scene.maps.put("a", "1")
    async with scene.starting() as started:
        await trio.sleep(1.0)
        scene.server.cut()
        await trio.sleep(0.1)
        assert scene.sink.calls == []
        await started.wait()
        assert [request.verb for request in scene.requests()][:2] == [Verb.WATCH, Verb.LIST]
        assert scene.sink.calls == [("replaced", "a")]
        assert scene.observer.failures[0][0].message == "the server ended the watch before the first state was complete"


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
        assert paging.sink.calls == []
        assert {failure.message for failure, _ in paging.observer.failures} == {
            "the watch began with more than 15 objects",
            "the list has more than 15 objects",
        }


async def test_initial_events_without_a_version_are_no_state(autojump_clock: MockClock) -> None:
    scene = Scene()
    scene.server.initial = Initial.IGNORED
    async with scene.starting() as started:
        await trio.sleep(1.0)
        scene.maps.inject(Bookmark("", initial_events_end=True))
        await started.wait()
        assert scene.observer.failures[0][0] == ApiFailure(FailureKind.MALFORMED, message="the initial objects have no version")
        assert scene.statistics.resource_version == "100"


# Pages


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


async def test_a_list_must_end(paging: Scene, autojump_clock: MockClock) -> None:
    for number in range(15):
        paging.maps.put(str(number), "x")
    async with paging.running():
        assert len(paging.sink.state) == 15  # as many as may be
    paging.server.requests.clear()
    paging.maps.put("one too many", "x")
    paging.server.cut(GONE)
    again = Scene(paging.settings, paging.server)
    async with again.starting():
        await trio.sleep(0.1)
        assert again.sink.calls == []
        assert again.observer.failures[0][0].message == "the list has more than 15 objects"


async def test_pages_must_end(autojump_clock: MockClock) -> None:
    scene = Scene(ReflectorSettings(list_bounds=ListBounds(page_size=1, max_pages=3)))
    scene.server.initial = Initial.REFUSED
    for number in range(4):
        scene.maps.put(str(number), "x")
    async with scene.starting():
        await trio.sleep(0.1)
        assert scene.sink.calls == []
        assert scene.observer.failures[0][0] == ApiFailure(FailureKind.MALFORMED, message="the list does not end after 3 pages")


async def test_slow_pages_must_end(autojump_clock: MockClock, paging: Scene) -> None:
    for number in range(5):
        paging.maps.put(str(number), "x")
    paging.server.latency, paging.server.client_timeout = 120.0, 200.0
    async with paging.starting():
        await trio.sleep(120.0 + 301.0)
        assert paging.sink.calls == []
        assert paging.observer.failures[0][0] == ApiFailure(FailureKind.TIMEOUT, message="the list took longer than 300 s")


async def test_a_failure_in_the_middle_of_a_list_gives_no_state(paging: Scene, autojump_clock: MockClock) -> None:
    for number in range(5):
        paging.maps.put(str(number), "x")
    paging.server.fail(REFUSED, verb=Verb.LIST, skip=2)
    async with paging.starting() as started:
        await trio.sleep(0.1)
        assert paging.sink.calls == []
        await started.wait()
        assert paging.sink.calls == [("replaced", "0,1,2,3,4")]


# Watching


async def test_a_list_that_fails_and_watches_that_end_leave_the_state_right(scene: Scene, autojump_clock: MockClock) -> None:
    """TestReflectorListAndWatchWithErrors."""
    scene.server.fail(BROKEN, verb=Verb.LIST)
    async with scene.running():
        scene.maps.put("foo", "1")
        scene.maps.put("bar", "1")
        scene.server.cut(GONE)
        scene.server.fail(BROKEN, verb=Verb.LIST)
        await trio.sleep(0.1)
        scene.maps.delete("foo")
        scene.maps.put("qux", "1")
        scene.server.fail(REFUSED, verb=Verb.WATCH)
        await trio.sleep(60.0)
        assert scene.sink.values() == {"bar": "1", "qux": "1"}
        scene.server.cut(REFUSED)
        scene.maps.put("baz", "1")
        await trio.sleep(60.0)
        assert scene.sink.values() == {"bar": "1", "qux": "1", "baz": "1"}
        assert scene.in_sync()


async def test_the_version_advances_with_every_event(scene: Scene, autojump_clock: MockClock) -> None:
    """TestReflectorResourceVersionUpdate; TestReflectorWatchHandler up to its event that goes back."""
    seen = []
    async with scene.running():
        for change in (
            lambda: scene.maps.put("a", "1"),
            lambda: scene.maps.put("a", "2"),
            lambda: scene.maps.inject(Bookmark("103")),
            lambda: scene.maps.inject(Deleted(Key("", "a"), "104")),
        ):
            change()
            await trio.sleep(0.01)
            seen.append(scene.statistics.resource_version)
    assert seen == ["101", "102", "103", "104"]


@pytest.mark.parametrize(
    "event",
    [Put(Item(Key("", "b"), "50", "old")), Deleted(Key("", "a"), "50"), Bookmark("50"), Put(Item(Key("", "b"), "", "none"))],
    ids=["put", "deleted", "bookmark", "without version"],
)
async def test_an_event_that_goes_back_leads_to_a_new_list(
    scene: Scene, autojump_clock: MockClock, event: Put[str] | Deleted | Bookmark
) -> None:
    """TestReflectorWatchHandler, where client-go takes versions in any order."""
    scene.maps.put("a", "1")
    async with scene.running():
        scene.maps.inject(event)
        await trio.sleep(0.1)
        assert scene.sink.calls == [("replaced", "a")] * 2
        assert [(failure.kind, wait) for failure, wait in scene.observer.failures] == [(FailureKind.GONE, 0.0)]
        assert "went back from version 101" in scene.observer.failures[0][0].message
        assert scene.observer.connections == [True]


async def test_repeated_and_unknown_events_do_no_harm(scene: Scene, autojump_clock: MockClock) -> None:
    scene.maps.put("a", "1")
    async with scene.running():
        scene.maps.inject(Put(Item(Key("", "a"), "101", "1")))  # ADDED again
        scene.maps.inject(Put(Item(Key("", "b"), "102", "2")))  # MODIFIED, and never added
        scene.maps.inject(Deleted(Key("", "c"), "103"))  # never there
        scene.maps.inject(Deleted(Key("", "c"), "50"))
        await trio.sleep(0.1)
        assert scene.sink.calls == [("replaced", "a"), ("put", "b")]
        assert scene.observer.failures == []


async def test_an_object_that_loses_its_label_is_deleted(scene: Scene, autojump_clock: MockClock) -> None:
    scene.list_watch.selects = lambda labels: labels.get("policy") == "on"
    scene.maps.put("a", "1", labels={"policy": "on"})
    scene.maps.put("b", "1")
    async with scene.running():
        scene.maps.put("a", "1", labels={"policy": "off"})
        scene.maps.put("b", "1", labels={"policy": "on"})
        await trio.sleep(0.1)
        assert scene.sink.calls == [("replaced", "a"), ("deleted", "a"), ("put", "b")]


async def test_watches_are_asked_for_five_to_ten_minutes(scene: Scene, autojump_clock: MockClock) -> None:
    """TestWatchTimeout."""
    async with scene.running():
        await trio.sleep(3 * HOUR)
        timeouts = [request.timeout for request in scene.requests(Verb.WATCH)]
        assert all(300.0 <= timeout <= 600.0 for timeout in timeouts)
        assert len(set(timeouts)) == len(timeouts) > 10


async def test_a_watch_that_ended_goes_on_from_the_last_version_at_once(scene: Scene, autojump_clock: MockClock) -> None:
    """TestWatchList: "stopping a watcher after synchronization results in creating a new watch request"."""
    async with scene.running():
        scene.maps.put("a", "1")
        await trio.sleep(31.0)
        scene.server.cut()
        scene.maps.put("b", "1")
        await trio.sleep(0.01)
        assert scene.requests()[-1].resource_version == "101"
        assert scene.sink.calls == [("replaced", ""), ("put", "a"), ("put", "b")]
        assert scene.observer.failures == []
        assert scene.observer.connections == [True]


async def test_very_short_watches_are_spaced(scene: Scene, autojump_clock: MockClock) -> None:
    """TestReflectorHandleWatchResultChanClosedBefore, ...ClosedAfter: the "very short watch"; nothing is listed anew."""
    async with scene.running(), trio.open_nursery() as nursery:

        async def end_watches() -> None:
            while True:
                await trio.sleep(0.5)
                scene.server.cut()

        nursery.start_soon(end_watches)
        await trio.sleep(0.7)
        assert scene.observer.failures[0][1] == 0.0
        assert scene.observer.failures[0][0].message == "very short watch: the server ended it after 0.5 s"
        await trio.sleep(HOUR)
        assert len(scene.requests()) < 150
        assert len(scene.sink.replacements) < 8  # the comparisons find nothing
        assert not scene.statistics.connected
        nursery.cancel_scope.cancel()
    assert scene.in_sync()


@pytest.mark.parametrize(
    "failure", [REFUSED, BROKEN, ApiFailure(FailureKind.TIMEOUT), ApiFailure(FailureKind.UNAUTHORIZED, 401)], ids=lambda f: f.kind.value
)
async def test_a_watch_that_breaks_goes_on_without_a_list(scene: Scene, autojump_clock: MockClock, failure: ApiFailure) -> None:
    async with scene.running():
        scene.maps.put("a", "1")
        await trio.sleep(10.0)
        lists = len(scene.lists())
        scene.server.cut(failure)
        await trio.sleep(0.01)
        assert scene.observer.connections == [True, False]
        scene.maps.put("b", "1")
        await trio.sleep(2.0)
        assert scene.in_sync()
        assert (len(scene.lists()), len(scene.sink.replacements)) == (lists, 1)
        assert scene.observer.connections == [True, False, True]
        assert 0.8 <= scene.observer.failures[0][1] <= 1.6


async def test_a_watch_that_fails_as_gone_is_listed_anew(scene: Scene, autojump_clock: MockClock) -> None:
    """TestWatchList: "expiring an established watcher results in returning an error from the reflector"."""
    async with scene.running():
        await trio.sleep(10.0)
        scene.maps.put("a", "1")
        scene.server.mute = True
        scene.maps.put("b", "1")
        scene.server.mute = False
        scene.server.cut(GONE)
        await trio.sleep(0.01)
        assert scene.sink.calls == [("replaced", ""), ("put", "a"), ("replaced", "a,b")]
        assert scene.observer.connections == [True]


async def test_a_version_that_was_compacted_during_an_outage_is_listed_anew(scene: Scene, autojump_clock: MockClock) -> None:
    async with scene.running():
        scene.server.stop()
        scene.maps.put("a", "1")
        scene.server.compact()
        await trio.sleep(5.0)
        scene.server.heal()
        await trio.sleep(60.0)
        assert scene.sink.calls == [("replaced", ""), ("replaced", "a")]
        assert scene.observer.failures[-1][0].kind is FailureKind.GONE


async def test_a_list_after_an_outage_does_not_wait_for_as_long_as_the_outage_did(scene: Scene, autojump_clock: MockClock) -> None:
    """Here client-go has one back-off for both, and is blind for up to a minute more."""
    async with scene.running():
        scene.server.stop()
        scene.maps.put("a", "1")
        scene.maps.put("b", "1")
        scene.server.compact()
        await trio.sleep(300.0)
        scene.server.heal()
        await trio.sleep(60.0)
        assert [(failure.kind, wait) for failure, wait in scene.observer.failures[-1:]] == [(FailureKind.GONE, 0.0)]
        assert scene.observer.failures[-2][1] > 30.0
        assert scene.in_sync()


async def test_what_was_malformed_is_listed_anew(scene: Scene, autojump_clock: MockClock) -> None:
    """TestCloseWatchChannelOnError: the watch is left, and what follows the failure is not read."""
    scene.maps.put("a", "1")
    async with scene.running():
        scene.maps.inject(MALFORMED)
        scene.maps.inject(Put(Item(Key("", "b"), "102", "after the failure")))
        await trio.sleep(0.1)
        assert scene.sink.calls == [("replaced", "a"), ("replaced", "a")]
        assert len(scene.server.watchers) == 1


async def test_server_errors_in_a_row_lead_to_a_list(scene: Scene, autojump_clock: MockClock) -> None:
    """TestReflectorReplacesStoreOnUnsafeDelete, TestRetryInternalError: a watch that can never go on from this version."""
    scene.maps.put("corrupt", "1")
    async with scene.running():
        scene.server.fail(BROKEN, verb=Verb.WATCH, times=2)
        scene.server.mute = True
        scene.maps.delete("corrupt")
        scene.server.cut(BROKEN)
        await trio.sleep(20.0)
        assert scene.sink.calls == [("replaced", "corrupt"), ("replaced", "")]
        assert len(scene.observer.failures) == 3


async def test_server_errors_with_events_between_them_are_not_in_a_row(scene: Scene, autojump_clock: MockClock) -> None:
    async with scene.running():
        for number in range(6):
            scene.maps.put("a", str(number))
            await trio.sleep(100.0)
            scene.server.cut(BROKEN)
        assert len(scene.sink.replacements) == 1


async def test_too_many_requests_wait_for_as_long_as_the_server_says(scene: Scene, autojump_clock: MockClock) -> None:
    """TestBackoffOnTooManyRequests, TestNoRelistOnTooManyRequests; TestWatchList: "checks if the reflector retries 429"."""
    async with scene.running():
        await trio.sleep(10.0)
        lists, before = len(scene.lists()), len(scene.requests())
        scene.server.fail(BUSY, times=4)
        scene.server.cut(BUSY)
        await trio.sleep(300.0)
        assert [wait for _, wait in scene.observer.failures] == [20.0] * 5
        assert len(scene.requests()) == before + 4 + 2  # a probe, and the watch
        assert (len(scene.lists()), len(scene.sink.replacements)) == (lists, 1)


@pytest.mark.parametrize("verb", [Verb.LIST, Verb.WATCH])
async def test_missing_rights_are_waited_for(scene: Scene, autojump_clock: MockClock, verb: Verb) -> None:
    failure = ApiFailure(FailureKind.FORBIDDEN, 403, "cannot")
    scene.maps.put("a", "1")
    async with scene.running():
        scene.server.fail_for_ever(failure, verb=verb)
        if verb is Verb.WATCH:
            scene.server.cut(failure)
        await trio.sleep(2 * HOUR)
        assert {found for found, _ in scene.observer.failures} == {failure}
        assert scene.sink.values() == {"a": "1"}
        assert scene.statistics.connected is (verb is Verb.LIST)  # without a right to list, watching goes on
        scene.server.heal()
        scene.maps.put("b", "1")
        await trio.sleep(66.0)
        assert scene.in_sync()
        assert scene.statistics.connected


# Outages and silence


async def test_an_outage_keeps_the_last_state_and_the_rate_of_the_back_off(scene: Scene, autojump_clock: MockClock) -> None:
    """TestReflectorListAndWatchInitConnBackoff."""
    scene.maps.put("a", "1")
    async with scene.running():
        contact = scene.statistics.last_contact
        scene.server.stop()
        began = trio.current_time()
        await trio.sleep(HOUR)
        assert len(scene.requests(since=began + 0.1)) <= 126
        assert (scene.statistics.connected, scene.statistics.last_contact, scene.statistics.waiting) == (False, contact, True)
        assert scene.sink.calls == [("replaced", "a")]
        scene.server.heal()
        await trio.sleep(66.0)
        assert scene.observer.connections == [True, False, True]


@pytest.mark.parametrize("kind", FailureKind)
async def test_no_failure_makes_more_requests_than_the_back_off(scene: Scene, autojump_clock: MockClock, kind: FailureKind) -> None:
    async with scene.running():
        scene.server.failing = ApiFailure(kind)
        scene.server.cut(scene.server.failing)
        before = len(scene.requests())
        await trio.sleep(HOUR)
        assert 60 <= len(scene.requests()) - before <= 130
        assert len(scene.sink.replacements) == 1


@pytest.mark.parametrize("kind", FailureKind)
async def test_no_failing_watch_makes_more_requests_than_twice_the_back_off(
    scene: Scene, autojump_clock: MockClock, kind: FailureKind
) -> None:
    """Where only watches fail, each is preceded by a probe or a list."""
    async with scene.running():
        scene.server.fail_for_ever(ApiFailure(kind), verb=Verb.WATCH)
        scene.server.cut(ApiFailure(kind))
        before = len(scene.requests())
        await trio.sleep(HOUR)
        assert len(scene.requests()) - before <= 2 * 126 + 10
        assert scene.in_sync()


async def test_a_bookmark_only_hour(scene: Scene, autojump_clock: MockClock) -> None:
    scene.maps.put("a", "1")
    async with scene.running():
        for _ in range(60):
            await trio.sleep(60.0)
            scene.server.touch()
        assert scene.sink.calls == [("replaced", "a")]
        assert scene.statistics.connected
        assert scene.statistics.last_contact is not None
        assert scene.statistics.last_contact >= trio.current_time() - 75.0
        assert int(scene.statistics.resource_version) >= scene.server.version - 2
        assert scene.observer.failures == []
        assert scene.statistics.probes == 0
        assert len(scene.requests()) <= 30


async def test_a_silent_hour(scene: Scene, autojump_clock: MockClock) -> None:
    """A server without bookmarks: each watch that was silent for 75 s is followed by a look and another one, and that is no failure."""
    scene.server.bookmarks = False
    scene.maps.put("a", "1")
    async with scene.running():
        await trio.sleep(HOUR)
        assert scene.sink.calls == [("replaced", "a")]
        assert scene.observer.failures == []
        assert scene.observer.connections == [True]
        assert scene.statistics.last_contact is not None
        assert scene.statistics.last_contact >= trio.current_time() - 75.0
        assert len(scene.requests()) <= 110
        scene.maps.put("b", "1")
        await trio.sleep(0.1)
        assert scene.in_sync()


async def test_a_client_that_gives_up_a_silent_watch_is_no_failure(scene: Scene, autojump_clock: MockClock) -> None:
    async with scene.running():
        await trio.sleep(50.0)
        scene.server.cut(ApiFailure(FailureKind.TIMEOUT, message="nothing for 45 s"))
        await trio.sleep(0.1)
        assert scene.observer.failures == []
        assert [request.limit for request in scene.requests()[-2:]] == [1, 0]


async def test_a_paused_server_is_noticed(scene: Scene, autojump_clock: MockClock) -> None:
    async with scene.running():
        await trio.sleep(10.0)
        scene.server.pause()
        await trio.sleep(75.0 + 31.0)
        assert scene.observer.connections == [True, False]
        assert scene.observer.failures[0][0].kind is FailureKind.TIMEOUT
        await trio.sleep(HOUR)
        assert scene.observer.connections == [True, False]  # not connected for a moment now and then
        scene.server.resume()
        scene.maps.put("a", "1")
        await trio.sleep(66.0)
        assert scene.statistics.connected
        assert scene.in_sync()


async def test_a_probe_has_its_own_bound(scene: Scene, autojump_clock: MockClock) -> None:
    scene.server.client_timeout = 1e6
    async with scene.running():
        scene.server.pause()
        await trio.sleep(75.0 + 31.0)
        assert scene.observer.failures[0][0] == ApiFailure(FailureKind.TIMEOUT, message="no answer within 30 s")


async def test_a_refused_watch_is_never_called_connected(scene: Scene, autojump_clock: MockClock) -> None:
    """Each failing watch follows a probe that succeeds, which must not look like a connection."""
    async with scene.running():
        failure = ApiFailure(FailureKind.FORBIDDEN, 403, "cannot watch")
        scene.server.fail_for_ever(failure, verb=Verb.WATCH)
        scene.server.cut(failure)
        contact = scene.statistics.last_contact
        await trio.sleep(400.0)
        assert scene.observer.connections == [True, False]
        assert scene.statistics.last_contact == contact
        assert scene.statistics.probes > 5


async def test_a_watch_without_events_is_accepted_after_five_seconds(scene: Scene, autojump_clock: MockClock) -> None:
    scene.server.bookmarks = False
    async with scene.running():
        await trio.sleep(10.0)
        scene.server.cut(REFUSED)
        await trio.sleep(2.0)
        began = scene.requests()[-1].time
        await trio.sleep_until(began + 4.9)
        assert scene.observer.connections == [True, False]
        await trio.sleep(0.2)
        assert scene.observer.connections == [True, False, True]


# A store that went back


async def test_a_restored_store_is_noticed_after_the_outage(scene: Scene, autojump_clock: MockClock) -> None:
    scene.maps.put("a", "1")
    async with scene.running():
        scene.maps.put("a", "2")
        scene.maps.put("b", "1")
        await trio.sleep(1.0)
        scene.server.stop()
        scene.server.restore(101)
        await trio.sleep(20.0)
        assert scene.sink.values() == {"a": "2", "b": "1"}
        scene.server.heal()
        await trio.sleep(60.0)
        assert scene.sink.values() == {"a": "1"}
        assert scene.observer.steps_back == [("103", "101")]
        scene.maps.put("c", "1")
        await trio.sleep(0.1)
        assert scene.in_sync()


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
        assert scene.sink.values() == {"a": "1", "c": "never told"}
        assert scene.observer.connections == [True]


async def test_a_wiped_store_is_noticed(scene: Scene, autojump_clock: MockClock) -> None:
    scene.maps.put("a", "1")
    async with scene.running():
        scene.server.stop(ApiFailure(FailureKind.SERVER_ERROR, 503))
        scene.server.wipe()
        scene.server.heal()
        await trio.sleep(60.0)
        assert scene.sink.calls == [("replaced", "a"), ("replaced", "")]
        assert scene.statistics.resource_version == "1"


async def test_a_lower_version_after_gone_is_accepted(scene: Scene, autojump_clock: MockClock) -> None:
    scene.maps.put("a", "1")
    async with scene.running():
        scene.maps.put("b", "1")
        await trio.sleep(1.0)
        scene.server.restore(101)
        scene.server.cut(GONE)
        await trio.sleep(0.1)
        assert scene.sink.values() == {"a": "1"}
        assert scene.statistics.resource_version == "101"


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
        assert set(scene.sink.values()) == {"a", "b"}
        await trio.sleep(240.0)
        assert set(scene.sink.values()) == {"a", "c"}
        assert scene.statistics.comparisons == 1
        assert scene.in_sync()


async def test_a_missed_delete_is_found_by_comparing(scene: Scene, autojump_clock: MockClock) -> None:
    scene.maps.put("a", "1")
    async with scene.running():
        scene.server.mute = True
        scene.maps.delete("a")
        scene.server.mute = False
        await trio.sleep(720.0)
        assert scene.sink.calls == [("replaced", "a"), ("replaced", "")]


async def test_comparing_what_is_equal_tells_nobody(scene: Scene, autojump_clock: MockClock) -> None:
    """TestReflectorResync has no counterpart: what is known is not told again."""
    scene.maps.put("a", "1")
    async with scene.running():
        await trio.sleep(HOUR)
        assert 4 <= scene.statistics.comparisons <= 7
        assert scene.sink.calls == [("replaced", "a")]
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
        assert scene.statistics.comparisons == 0


async def test_a_server_that_does_not_end_watches_is_left(scene: Scene, autojump_clock: MockClock) -> None:
    scene.reflector.settings = ReflectorSettings(min_watch=100.0, max_watch=100.0, compare=1e6)
    async with scene.running():
        scene.server.watchers[0]._ends_at = 1e9
        began = scene.server.requests[-1].time
        await trio.sleep(115.5)
        assert [request.time - began for request in scene.requests(since=began + 1.0)] == [pytest.approx(115.0)] * 2


# Ends


async def test_who_is_cancelled_before_asks_nothing(autojump_clock: MockClock) -> None:
    """TestReflectorWatchStoppedBefore, TestReflectorHandleWatchStoppedBefore, TestReflectorStopWatch."""
    scene = Scene()
    with trio.CancelScope() as scope:
        scope.cancel()
        await scene.reflector.run()
    assert scene.requests() == []


async def test_cancellation_ends_the_watch(scene: Scene, autojump_clock: MockClock) -> None:
    """TestRunUntil, TestReflectorWatchStoppedAfter, TestReflectorHandleWatchStoppedAfter; ``running`` looks for what is left."""
    async with scene.running():
        scene.maps.put("a", "1")
        await trio.sleep(1.0)
        assert len(scene.server.watchers) == 1


@pytest.mark.parametrize("moment", [0.0, 0.01, 0.5, 1.0, 3.0, 7.0, 9.9, 10.5, 11.0, 90.0, 200.0, 500.0, 777.0])
async def test_cancellation_at_any_moment_leaves_nothing(scene: Scene, autojump_clock: MockClock, moment: float) -> None:
    scene.server.latency = 0.4
    scene.server.bookmarks = False
    for number in range(3):
        scene.server.fail(BROKEN, skip=number)
    async with scene.starting():
        await trio.sleep(moment)
    assert not scene.statistics.waiting


async def test_a_fault_of_the_sink_is_a_fault(scene: Scene, autojump_clock: MockClock) -> None:
    async def run() -> None:
        async with scene.running():
            scene.sink.fault = ZeroDivisionError()
            scene.maps.put("b", "1")
            await trio.sleep(1.0)

    with pytest.RaisesGroup(ZeroDivisionError):
        await run()
    assert scene.server.watchers == []


async def test_statistics(scene: Scene, autojump_clock: MockClock) -> None:
    before = scene.statistics
    assert (before.state, before.resource_version, before.lists, before.last_contact) == (Attempt.LIST, "", 0, None)
    scene.maps.put("a", "1")
    async with scene.running():
        began = trio.current_time()
        scene.maps.put("b", "1")
        await trio.sleep(30.0)
        now = scene.statistics
        assert (now.objects, now.lists, now.events, now.failures, now.connected) == (2, 1, 1, 0, True)
        assert (now.resource_version, now.last_contact) == ("102", began)
        assert now.watches == len(scene.requests(Verb.WATCH))
