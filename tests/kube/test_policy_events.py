"""Authors are told what became of their policies: once, and in bounded numbers."""

from random import Random

import pytest
import trio
import trio.testing

from exchanger.kube.event_writer import EventWriter
from exchanger.kube.policy_events import BURST, PolicyEvents, PolicyEventsSettings
from exchanger.policy.selection import Text, advance
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.values.entry import Source
from tests.kube.cluster import deny
from tests.kube.telling import NO_VERSION, FakeEvents, stage


async def test_an_invalid_document_and_its_repair_are_told(autojump_clock: trio.testing.MockClock) -> None:
    async with stage() as it:
        it.put(good=deny("/good"), bad=NO_VERSION)
        await it.settle()
        assert it.server.said() == [("bad", "InvalidPolicy", 1)]
        it.put(bad=deny("/bad"))
        await it.settle()
        assert it.server.said() == [("bad", "InvalidPolicy", 1), ("bad", "PolicyAccepted", 1)]
        assert [event["message"] for event in it.server.events.values()] == [
            "line 1: the document has no version v1",
            "the document is valid again; entries in force: 1",
        ]


async def test_what_was_published_before_it_runs_is_told(autojump_clock: trio.testing.MockClock) -> None:
    server = FakeEvents()
    events = PolicyEvents(EventWriter(server, Random(1)), _Silent())
    source = Source("team", "bad")
    events.published(advance(PolicySnapshot.EMPTY, {}, {source: Text(NO_VERSION)}, frozenset()))
    async with trio.open_nursery() as nursery:
        await nursery.start(events.run)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert server.said() == [("bad", "InvalidPolicy", 1)]


class _Silent:
    def event_right_missing(self, text: str, /) -> None:
        raise AssertionError(text)


async def test_the_same_again_is_counted(autojump_clock: trio.testing.MockClock) -> None:
    async with stage() as it:
        for text in (NO_VERSION, deny(), NO_VERSION, deny(), NO_VERSION):
            it.put(bad=text)
            await trio.sleep(5)
        assert it.server.said() == [("bad", "InvalidPolicy", 3), ("bad", "PolicyAccepted", 2)]
        first = next(iter(it.server.events.values()))
        assert (first["firstTimestamp"], first["lastTimestamp"]) == ("1970-01-01T00:00:00Z", "1970-01-01T00:00:20Z")
        assert (it.events.statistics().written, it.events.statistics().counted) == (2, 3)


async def test_what_stays_as_it_is_is_not_told_again(autojump_clock: trio.testing.MockClock) -> None:
    async with stage() as it:
        it.put(bad=NO_VERSION, one=deny(), two=deny())
        await it.settle()
        before = len(it.server.requests)
        assert before == 3
        it.read_all_again()
        it.put(other=deny("/other"))
        await it.settle()
        assert len(it.server.requests) == before


async def test_both_authors_of_a_tie_are_told(autojump_clock: trio.testing.MockClock) -> None:
    async with stage() as it:
        it.put(one=deny())
        it.put(two=deny())
        await it.settle()
        assert sorted(it.server.said()) == [("one", "ConflictingPolicy", 1), ("two", "ConflictingPolicy", 1)]
        it.put(one=None)
        await it.settle()
        assert sorted(it.server.said()) == [
            ("one", "ConflictingPolicy", 1),  # it is gone, and there is nobody to tell
            ("two", "ConflictingPolicy", 1),
            ("two", "PolicyAccepted", 1),
        ]
        (accepted,) = (event for event in it.server.events.values() if event["reason"] == "PolicyAccepted")
        assert (accepted["type"], accepted["message"]) == ("Normal", "no entry ties with another any more; entries in force: 1")
        it.put(one=deny())
        await it.settle()
        assert sorted(it.server.said()) == [
            ("one", "ConflictingPolicy", 2),
            ("two", "ConflictingPolicy", 2),
            ("two", "PolicyAccepted", 1),
        ]
        it.put(one=deny("/elsewhere"))
        await it.settle()
        assert sorted(it.server.said()) == [
            ("one", "ConflictingPolicy", 2),
            ("one", "PolicyAccepted", 1),
            ("two", "ConflictingPolicy", 2),
            ("two", "PolicyAccepted", 2),
        ]


async def test_one_of_two_ties_that_ends_is_not_the_end(autojump_clock: trio.testing.MockClock) -> None:
    async with stage() as it:
        it.put(one=deny(), two=deny(), three=deny())
        await it.settle()
        it.put(three=None)
        await it.settle()
        assert all(reason == "ConflictingPolicy" for _, reason, _ in it.server.said())
        it.put(two=None)
        await it.settle()
        assert [name for name, reason, _ in it.server.said() if reason == "PolicyAccepted"] == ["one"]


async def test_the_end_of_a_tie_is_no_news_where_the_document_is_invalid_now(autojump_clock: trio.testing.MockClock) -> None:
    async with stage() as it:
        it.put(one=deny(), two=deny())
        await it.settle()
        it.put(one=NO_VERSION)
        await it.settle()
        assert [reason for name, reason, _ in it.server.said() if name == "one"] == ["ConflictingPolicy", "InvalidPolicy"]
        it.put(one=deny("/elsewhere"))
        await it.settle()
        (accepted,) = (
            event["message"]
            for event, (name, reason, _) in zip(it.server.events.values(), it.server.said(), strict=True)
            if (name, reason) == ("one", "PolicyAccepted")
        )
        assert accepted == "the document is valid again; entries in force: 1"


async def test_who_was_never_told_of_a_tie_is_not_told_that_it_is_over(autojump_clock: trio.testing.MockClock) -> None:
    async with stage(settings=PolicyEventsSettings(burst=1)) as it:
        it.put(bad=NO_VERSION)
        await it.settle()
        it.put(one=deny(), two=deny())
        await it.settle()
        assert it.events.statistics().pending == 2
        it.put(one=deny("/elsewhere"))
        await trio.sleep(200)
        assert it.server.said() == [("bad", "InvalidPolicy", 1)]


@pytest.mark.parametrize("meanwhile", [deny("/elsewhere"), None], ids=["the tie had ended", "the document had gone"])
async def test_what_was_told_of_an_earlier_tie_does_not_count(autojump_clock: trio.testing.MockClock, meanwhile: str | None) -> None:
    async with stage(settings=PolicyEventsSettings(burst=1, object_interval=1)) as it:
        it.put(one=deny(), two=deny())
        await trio.sleep(100)
        it.put(one=meanwhile)
        await trio.sleep(100)
        said = it.server.said()
        it.put(bad=NO_VERSION)
        await it.settle()
        it.put(one=deny())
        await it.settle()
        assert it.events.statistics().pending == 2
        it.put(one=deny("/elsewhere"))
        await trio.sleep(200)
        assert it.server.said() == [*said, ("bad", "InvalidPolicy", 1)]


async def test_a_new_document_of_the_name_knows_nothing_of_the_old_ones_tie(autojump_clock: trio.testing.MockClock) -> None:
    async with stage() as it:
        it.put(one=deny(), two=deny())
        await it.settle()
        it.put(one=None)
        it.put(one=deny("/elsewhere"))
        await it.settle()
        assert [name for name, reason, _ in it.server.said() if reason == "PolicyAccepted"] == ["two"]


async def test_a_tie_that_comes_and_goes_faster_than_it_can_be_told_ends_with_the_truth(autojump_clock: trio.testing.MockClock) -> None:
    async with stage(settings=PolicyEventsSettings(burst=2)) as it:
        for one in (deny(), deny("/elsewhere"), deny(), deny("/elsewhere")):
            it.put(one=one, two=deny())
            await it.settle()
        await trio.sleep(200)
        assert sorted(it.server.said()) == [
            ("one", "ConflictingPolicy", 1),
            ("one", "PolicyAccepted", 1),
            ("two", "ConflictingPolicy", 1),
            ("two", "PolicyAccepted", 1),
        ]


async def test_a_tie_that_ends_while_it_is_told_is_told_to_be_over(autojump_clock: trio.testing.MockClock) -> None:
    async with stage(FakeEvents(hanging=True)) as it:
        it.put(one=deny())
        await it.settle()
        it.put(two=deny())
        await it.settle()
        assert len(it.server.requests) == 1  # of two, and unanswered
        it.put(one=deny("/elsewhere"))
        await it.settle()
        it.server.hanging = False
        await trio.sleep(60)
        assert it.server.said() == [("two", "ConflictingPolicy", 1), ("two", "PolicyAccepted", 1)]


async def test_a_document_can_be_invalid_and_tie(autojump_clock: trio.testing.MockClock) -> None:
    async with stage(settings=PolicyEventsSettings(burst=1)) as it:
        both = deny()[:-1] + ", {action: deny}]"
        it.put(first=NO_VERSION)
        await it.settle()
        it.put(one=both, two=deny())
        await trio.sleep(200)
        assert {reason for name, reason, _ in it.server.said() if name == "one"} == {"InvalidPolicy", "ConflictingPolicy"}


async def test_one_object_gets_a_burst_and_then_little_but_its_last_state(autojump_clock: trio.testing.MockClock) -> None:
    async with stage() as it:
        for _ in range(40):
            it.put(bad=NO_VERSION)
            await trio.sleep(1)
            it.put(bad=deny())
            await trio.sleep(1)
        posts = it.events.statistics()
        assert BURST <= posts.written + posts.counted <= BURST + 3
        await trio.sleep(100)
        assert it.events.statistics().pending == 0
        accepted = next(event for event in it.server.events.values() if event["reason"] == "PolicyAccepted")
        latest = max(str(event["lastTimestamp"]) for event in it.server.events.values())
        assert accepted["lastTimestamp"] == latest


async def test_all_together_get_a_burst_and_then_one_a_second(autojump_clock: trio.testing.MockClock) -> None:
    async with stage() as it:
        it.put(**{f"p{number:03}": NO_VERSION for number in range(100)})
        await it.settle()
        assert len(it.server.events) == BURST
        await trio.sleep(10.5)
        assert len(it.server.events) == BURST + 10
        await trio.sleep(100)
        assert len(it.server.events) == 100


async def test_the_oldest_are_dropped_and_counted(autojump_clock: trio.testing.MockClock) -> None:
    async with stage(settings=PolicyEventsSettings(max_pending=10)) as it:
        it.put(**{f"p{number:02}": NO_VERSION for number in range(15)})
        assert (it.events.statistics().pending, it.events.statistics().dropped) == (10, 5)
        await it.settle()
        assert [name for name, _, _ in it.server.said()] == [f"p{number:02}" for number in range(5, 15)]


async def test_memory_of_rates_is_bounded(autojump_clock: trio.testing.MockClock) -> None:
    async with stage(settings=PolicyEventsSettings(max_pending=10)) as it:
        for number in range(100):
            it.put(**{f"p{number}": NO_VERSION})
            await trio.sleep(10)
        assert len(it.events._buckets) <= 11
        assert len(it.server.events) == 100


async def test_what_is_gone_is_not_told(autojump_clock: trio.testing.MockClock) -> None:
    async with stage() as it:
        it.put(bad=NO_VERSION)
        it.put(bad=None)
        await it.settle()
        assert it.server.requests == []
        it.put(bad=deny())
        await it.settle()
        assert it.server.requests == []  # a new ConfigMap of the name, which was always fine
