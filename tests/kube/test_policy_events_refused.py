"""A server that does not take Events, for want of a right or otherwise, costs nothing else; what can be told later is."""

from typing import Final

import pytest
import trio
import trio.testing

from exchanger.kube.event_writer import TRIES
from exchanger.kube.list_watch import ApiFailure, FailureKind
from exchanger.kube.policy_events import PAUSE_S, RETRY_S
from tests.kube.cluster import deny
from tests.kube.telling import EXISTS, NO_VERSION, REFUSED, FakeEvents, stage

NO_RIGHT: Final = ApiFailure(
    FailureKind.FORBIDDEN, 403, 'events is forbidden: User "x" cannot create resource "events" in API group "" in the namespace "team"'
)
TERMINATING: Final = ApiFailure(
    FailureKind.FORBIDDEN, 403, 'events "p" is forbidden: unable to create new content in namespace team because it is being terminated'
)
QUOTA: Final = ApiFailure(FailureKind.FORBIDDEN, 403, 'events "p" is forbidden: exceeded quota: q, requested: count/events=1')


async def test_a_missing_right_is_said_once_and_left_alone_for_long(autojump_clock: trio.testing.MockClock) -> None:
    async with stage(FakeEvents(lambda _method, _path: NO_RIGHT)) as it:
        it.put(bad=NO_VERSION)
        await trio.sleep(1)
        it.put(bad="version: v3", worse=NO_VERSION)
        await trio.sleep(RETRY_S)
        assert len(it.server.requests) == 2
        await trio.sleep(PAUSE_S - 2)
        assert len(it.server.requests) == 2
        await trio.sleep(PAUSE_S)
        assert len(it.server.requests) == 3
        assert it.missing == ["needs create and patch on events in the namespace team"]
        it.server.failing = lambda _method, _path: None
        await trio.sleep(PAUSE_S)
        assert sorted(it.server.said()) == [("bad", "InvalidPolicy", 1), ("worse", "InvalidPolicy", 1)]


async def test_a_right_that_comes_a_moment_late_is_not_missing(autojump_clock: trio.testing.MockClock) -> None:
    answers = [NO_RIGHT]
    async with stage(FakeEvents(lambda _method, _path: answers.pop() if answers else None)) as it:
        it.put(bad=NO_VERSION)
        await trio.sleep(RETRY_S + 1)
        assert it.server.said() == [("bad", "InvalidPolicy", 1)]
        assert it.missing == []


async def test_a_right_that_is_missing_in_one_namespace_is_no_matter_in_another(autojump_clock: trio.testing.MockClock) -> None:
    async with stage(FakeEvents(lambda _method, path: NO_RIGHT if "/team/" in path else None)) as it:
        it.put(bad=NO_VERSION)
        await it.settle()
        it.put_in("other", bad=NO_VERSION)
        await it.settle()
        assert len(it.server.events) == 1
        await trio.sleep(3 * PAUSE_S)
        assert len(it.missing) == 1


async def test_what_is_newer_than_a_refused_report_takes_its_place(autojump_clock: trio.testing.MockClock) -> None:
    async with stage() as it:

        def refuse(_method: str, _path: str) -> ApiFailure:
            it.server.failing = lambda _method, _path: None
            it.put(bad="version: v1\nentries: {}")
            return NO_RIGHT

        it.server.failing = refuse
        it.put(bad=NO_VERSION)
        await trio.sleep(2 * PAUSE_S)
        (event,) = it.server.events.values()
        assert event["message"] == "line 2: the document has entries that are not a list"


@pytest.mark.parametrize("answer", [NO_RIGHT, QUOTA], ids=["forbidden", "dropped"])
async def test_the_end_of_a_tie_is_not_told_where_its_beginning_could_not_be(
    autojump_clock: trio.testing.MockClock, answer: ApiFailure
) -> None:
    async with stage(FakeEvents(lambda _method, _path: answer)) as it:
        it.put(one=deny(), two=deny())
        await it.settle()
        it.put(two=deny("/elsewhere"))
        await it.settle()
        it.server.failing = lambda _method, _path: None
        await trio.sleep(2 * PAUSE_S)
        assert it.server.said() == []
        assert it.events.statistics().pending == 0


@pytest.mark.parametrize("edited", ["one", "two"])
@pytest.mark.parametrize("after", [deny("/elsewhere"), NO_VERSION, None], ids=["valid", "invalid", "gone"])
async def test_a_tie_that_ends_while_it_is_refused_is_never_told(
    autojump_clock: trio.testing.MockClock, edited: str, after: str | None
) -> None:
    async with stage(FakeEvents(hanging=True)) as it:
        it.put(one=deny())
        await it.settle()
        it.put(two=deny())
        await it.settle()
        assert len(it.server.requests) == 1  # of two, and unanswered
        it.put(**{edited: after})
        await it.settle()
        it.server.failing, it.server.hanging = lambda _method, _path: NO_RIGHT, False
        await trio.sleep(60)
        it.server.failing = lambda _method, _path: None
        await trio.sleep(3 * PAUSE_S)
        assert it.server.said() == ([(edited, "InvalidPolicy", 1)] if after == NO_VERSION else [])
        assert it.events.statistics().pending == 0


async def test_what_is_gone_when_it_is_refused_does_not_wait(autojump_clock: trio.testing.MockClock) -> None:
    async with stage(FakeEvents(hanging=True)) as it:
        it.put(bad=NO_VERSION)
        await it.settle()
        it.put(bad=None)
        it.server.failing, it.server.hanging = lambda _method, _path: NO_RIGHT, False
        await trio.sleep(60)
        assert it.missing == []
        assert it.events.statistics().pending == 0


async def test_a_right_that_is_withdrawn_again_is_said_again(autojump_clock: trio.testing.MockClock) -> None:
    async with stage(FakeEvents(lambda _method, _path: NO_RIGHT)) as it:
        it.put(bad=NO_VERSION)
        await trio.sleep(RETRY_S + 1)
        assert len(it.missing) == 1
        it.server.failing = lambda _method, _path: None
        await trio.sleep(PAUSE_S + 1)
        it.server.failing = lambda _method, _path: NO_RIGHT
        it.put(bad=deny())
        await trio.sleep(RETRY_S + 1)
        assert len(it.missing) == 2


async def test_counting_needs_the_right_to_patch(autojump_clock: trio.testing.MockClock) -> None:
    async with stage() as it:
        it.put(bad=NO_VERSION)
        await it.settle()
        it.server.failing = lambda method, _path: NO_RIGHT if method == "PATCH" else None
        it.put(bad=deny())
        await it.settle()
        it.put(bad=NO_VERSION)
        await trio.sleep(RETRY_S + 1)
        assert len(it.missing) == 1


@pytest.mark.parametrize("failure", [TERMINATING, QUOTA, ApiFailure(FailureKind.NOT_FOUND, 404), ApiFailure(FailureKind.UNSUPPORTED, 422)])
async def test_what_the_server_does_not_want_is_dropped_at_once(autojump_clock: trio.testing.MockClock, failure: ApiFailure) -> None:
    async with stage(FakeEvents(lambda _method, _path: failure)) as it:
        it.put(bad=NO_VERSION)
        await trio.sleep(PAUSE_S * 2)
        assert (len(it.server.requests), it.missing, it.events.statistics().dropped) == (1, [], 1)


async def test_an_unreachable_server_is_tried_a_few_times(autojump_clock: trio.testing.MockClock) -> None:
    async with stage(FakeEvents(lambda _method, _path: REFUSED)) as it:
        it.put(bad=NO_VERSION)
        await trio.sleep(PAUSE_S)
        assert (len(it.server.requests), it.events.statistics().dropped) == (TRIES, 1)
        it.server.failing = lambda _method, _path: None
        it.put(worse=NO_VERSION)
        await it.settle()
        assert it.server.said() == [("worse", "InvalidPolicy", 1)]


async def test_a_server_that_hangs_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    async with stage(FakeEvents(hanging=True)) as it:
        it.put(bad=NO_VERSION)
        await trio.sleep(PAUSE_S)
        assert (len(it.server.requests), it.events.statistics().dropped) == (TRIES, 1)


async def test_a_server_says_how_long_to_wait(autojump_clock: trio.testing.MockClock) -> None:
    failures = [ApiFailure(FailureKind.TOO_MANY_REQUESTS, 429, retry_after=40.0)]
    async with stage(FakeEvents(lambda _method, _path: failures.pop() if failures else None)) as it:
        it.put(bad=NO_VERSION)
        await trio.sleep(60)
        assert [at for at, _, _ in it.server.requests] == [pytest.approx(0.0), pytest.approx(40.0)]


async def test_an_event_whose_answer_was_lost_is_not_counted_twice(autojump_clock: trio.testing.MockClock) -> None:
    async with stage(FakeEvents(answers_lost=1)) as it:
        it.put(bad=NO_VERSION)
        await trio.sleep(60)
        assert it.server.said() == [("bad", "InvalidPolicy", 1)]
        assert [method for _, method, _ in it.server.requests] == ["POST", "POST"]


async def test_another_instance_that_counts_at_the_same_time_is_no_failure(autojump_clock: trio.testing.MockClock) -> None:
    async with stage() as it:
        it.put(bad=NO_VERSION)
        await it.settle()
        patches = iter([None, EXISTS])
        it.server.failing = lambda method, _path: next(patches) if method == "PATCH" else None
        it.put(bad=deny())
        it.put(bad=NO_VERSION)
        await it.settle()
        assert it.events.statistics().counted == 1
