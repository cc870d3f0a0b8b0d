"""What the reflector makes of the events of a watch, and how it goes on when a watch ends or fails.

Names in docstrings are those of client-go's cases (tools/cache/reflector_test.go and others).
"""

import pytest
import trio
from trio.testing import MockClock

from exchanger.kube.list_watch import ApiFailure, Bookmark, Deleted, FailureKind, Item, Key, Put
from tests.kube.fake_api_server import Verb
from tests.kube.reflecting import BROKEN, BUSY, GONE, HOUR, MALFORMED, Scene


@pytest.mark.parametrize(
    ("event", "kind", "message"),
    [
        (Put(Item(Key("", "b"), "50", "old")), FailureKind.GONE, "went back from version 101"),
        (Deleted(Key("", "a"), "50"), FailureKind.GONE, "went back from version 101"),
        (Bookmark("50"), FailureKind.GONE, "went back from version 101"),
        (Put(Item(Key("", "b"), "", "none")), FailureKind.GONE, "went back from version 101"),
        (GONE, FailureKind.GONE, "too old resource version"),
        (MALFORMED, FailureKind.MALFORMED, "no JSON"),
    ],
    ids=["put", "deleted", "bookmark", "without version", "gone", "malformed"],
)
async def test_an_event_that_cannot_follow_leads_to_a_new_list_at_once(
    scene: Scene, autojump_clock: MockClock, event: Put[str] | Deleted | Bookmark | ApiFailure, kind: FailureKind, message: str
) -> None:
    """TestReflectorWatchHandler, where client-go takes versions in any order; TestCloseWatchChannelOnError.

    TestWatchList: "expiring an established watcher results in returning an error from the reflector".
    """
    scene.maps.put("a", "1")
    async with scene.running():
        scene.maps.inject(event)
        scene.maps.inject(Put(Item(Key("", "b"), "102", "not read any more")))
        await trio.sleep(0.1)
        assert scene.observer.calls == [("replaced", "a")] * 2
        ((failure, wait),) = scene.observer.failures
        assert (failure.kind, wait) == (kind, 0.0)
        assert message in failure.message
        assert scene.observer.connections == [True]
        assert len(scene.server.watchers) == 1


async def test_watches_are_asked_for_five_to_ten_minutes(scene: Scene, autojump_clock: MockClock) -> None:
    """TestWatchTimeout."""
    async with scene.running():
        await trio.sleep(3 * HOUR)
        timeouts = [request.timeout for request in scene.requests(Verb.WATCH)]
        assert all(300.0 <= timeout <= 600.0 for timeout in timeouts)
        assert len(set(timeouts)) == len(timeouts) > 10


@pytest.mark.parametrize("failure", [BROKEN, ApiFailure(FailureKind.UNAUTHORIZED, 401)], ids=lambda f: f.kind.value)
async def test_a_watch_that_fails_goes_on_without_a_list(scene: Scene, autojump_clock: MockClock, failure: ApiFailure) -> None:
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
        assert (len(scene.lists()), len(scene.observer.replacements)) == (lists, 1)
        assert scene.observer.connections == [True, False, True]
        assert 0.8 <= scene.observer.failures[0][1] <= 1.6


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


async def test_too_many_requests_wait_for_as_long_as_the_server_says_within_reason(scene: Scene, autojump_clock: MockClock) -> None:
    """TestBackoffOnTooManyRequests, TestNoRelistOnTooManyRequests; TestWatchList: "checks if the reflector retries 429"."""
    async with scene.running():
        await trio.sleep(10.0)
        lists, before = len(scene.lists()), len(scene.requests())
        scene.server.fail(BUSY, times=4)
        scene.server.cut(BUSY)
        await trio.sleep(300.0)
        assert [wait for _, wait in scene.observer.failures][:4] == [10.0] * 4  # after that, the back-off is longer
        assert len(scene.requests()) == before + 4 + 2  # a probe, and the watch
        assert (len(scene.lists()), len(scene.observer.replacements)) == (lists, 1)


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
        assert scene.observer.values() == {"a": "1"}
        assert scene.reflector.connected is (verb is Verb.LIST)  # without a right to list, watching goes on
        scene.server.heal()
        scene.maps.put("b", "1")
        await trio.sleep(66.0)
        assert scene.in_sync()
        assert scene.reflector.connected
