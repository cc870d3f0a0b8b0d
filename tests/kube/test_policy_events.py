"""Authors are told what became of their policies: once, in bounded numbers, and never at the cost of anything else."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Final

import attrs
import pytest
import trio
import trio.testing

from exchanger.kube.event_writer import TRIES, EventWriter
from exchanger.kube.list_watch import ApiFailure, FailureKind
from exchanger.kube.policy_events import BURST, PAUSE_S, PolicyEvents, PolicyEventsSettings
from exchanger.policy.selection import Text, advance
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.values.entry import Source
from tests.kube.cluster import deny

NO_VERSION: Final = "version: v2"
REFUSED: Final = ApiFailure(FailureKind.UNREACHABLE, message="the connection was refused")
NO_RIGHT: Final = ApiFailure(
    FailureKind.FORBIDDEN, 403, 'events is forbidden: User "x" cannot create resource "events" in API group "" in the namespace "team"'
)
TERMINATING: Final = ApiFailure(
    FailureKind.FORBIDDEN, 403, 'events "p" is forbidden: unable to create new content in namespace team because it is being terminated'
)
QUOTA: Final = ApiFailure(FailureKind.FORBIDDEN, 403, 'events "p" is forbidden: exceeded quota: q, requested: count/events=1')
EXISTS: Final = ApiFailure(FailureKind.UNSUPPORTED, 409, "exists")


@attrs.define(eq=False)
class FakeEvents:
    """Implements ``Connection``: keeps Events; ``failing`` is asked first."""

    failing: Callable[[str, str], ApiFailure | None] = lambda _method, _path: None
    hanging: bool = False
    answers_lost: int = 0
    events: dict[str, dict[str, object]] = attrs.field(factory=dict)
    requests: list[tuple[float, str, str]] = attrs.field(factory=list)

    async def send(
        self, method: str, path: str, body: dict[str, object] | None = None, *, content_type: str = "application/json"
    ) -> dict[str, object] | ApiFailure:
        assert body is not None
        self.requests.append((trio.current_time(), method, path))
        if self.hanging:
            await trio.sleep_forever()
        await trio.lowlevel.checkpoint()
        failure = self.failing(method, path)
        if failure is not None:
            return failure
        if method == "POST":
            metadata = body["metadata"]
            assert isinstance(metadata, dict)
            path = f"{path}/{metadata['name']}"
            if path in self.events:
                return EXISTS
            self.events[path] = dict(body)
            if self.answers_lost:
                self.answers_lost -= 1
                return REFUSED
            return body
        assert (method, content_type) == ("PATCH", "application/merge-patch+json")
        if path not in self.events:
            return ApiFailure(FailureKind.NOT_FOUND, 404)
        self.events[path].update({name: value for name, value in body.items() if name != "metadata"})
        return {**self.events[path], "metadata": {"resourceVersion": "7"}}

    def said(self) -> list[tuple[object, object, object]]:
        """Return which ConfigMap was told what, and how often."""
        return [
            (involved["name"], event["reason"], event["count"])
            for event in self.events.values()
            if isinstance(involved := event["involvedObject"], dict)
        ]


@attrs.define(eq=False)
class Stage:
    """A policy that changes, what follows it, and where it writes."""

    server: FakeEvents
    events: PolicyEvents
    missing: list[str]
    issuers: frozenset[str] = frozenset()
    _texts: dict[Source, Text] = attrs.field(factory=dict)
    _snapshot: PolicySnapshot = PolicySnapshot.EMPTY

    def put(self, **documents: str | None) -> None:
        """Change documents of ``team``; ``None`` removes one."""
        self.put_in("team", **documents)

    def put_in(self, namespace: str, **documents: str | None) -> None:
        after = dict(self._texts)
        for name, text in documents.items():
            after.pop(Source(namespace, name), None)
            if text is not None:
                after[Source(namespace, name)] = Text(text)
        change = advance(self._snapshot, self._texts, after, self.issuers)
        self._texts, self._snapshot = after, change.snapshot
        self.events.published(change)

    def read_all_again(self) -> None:
        """Publish every document, as when issuers are others."""
        self.events.published(advance(self._snapshot, self._texts, self._texts, self.issuers, afresh=True))

    async def settle(self) -> None:
        """Wait until there is nothing to do before time passes."""
        await trio.testing.wait_all_tasks_blocked()


@asynccontextmanager
async def stage(server: FakeEvents | None = None, settings: PolicyEventsSettings | None = None) -> AsyncGenerator[Stage]:
    server = server or FakeEvents()
    missing: list[str] = []

    class Observer:
        def event_right_missing(self, text: str, /) -> None:
            missing.append(text)

    writer = EventWriter(server, Random(1), clock=trio.current_time)
    events = PolicyEvents(writer, Observer(), settings or PolicyEventsSettings())
    async with trio.open_nursery() as nursery:
        await nursery.start(events.run)
        yield Stage(server, events, missing)
        nursery.cancel_scope.cancel()


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
        assert len(it.server.events) == 2
        it.put(one=deny())
        await it.settle()
        assert sorted(it.server.said()) == [("one", "ConflictingPolicy", 2), ("two", "ConflictingPolicy", 2)]


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


async def test_a_missing_right_is_said_once_and_left_alone_for_long(autojump_clock: trio.testing.MockClock) -> None:
    async with stage(FakeEvents(lambda _method, _path: NO_RIGHT)) as it:
        it.put(bad=NO_VERSION)
        await trio.sleep(1)
        it.put(bad="version: v3", worse=NO_VERSION)
        await trio.sleep(PAUSE_S - 2)
        assert len(it.server.requests) == 1
        await trio.sleep(PAUSE_S)
        assert len(it.server.requests) == 2
        assert it.missing == ["needs create and patch on events in the namespace team"]
        it.server.failing = lambda _method, _path: None
        await trio.sleep(PAUSE_S)
        assert sorted(it.server.said()) == [("bad", "InvalidPolicy", 1), ("worse", "InvalidPolicy", 1)]


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


async def test_a_right_that_is_withdrawn_again_is_said_again(autojump_clock: trio.testing.MockClock) -> None:
    async with stage(FakeEvents(lambda _method, _path: NO_RIGHT)) as it:
        it.put(bad=NO_VERSION)
        await it.settle()
        it.server.failing = lambda _method, _path: None
        await trio.sleep(PAUSE_S + 1)
        it.server.failing = lambda _method, _path: NO_RIGHT
        it.put(bad=deny())
        await it.settle()
        assert len(it.missing) == 2


async def test_counting_needs_the_right_to_patch(autojump_clock: trio.testing.MockClock) -> None:
    async with stage() as it:
        it.put(bad=NO_VERSION)
        await it.settle()
        it.server.failing = lambda method, _path: NO_RIGHT if method == "PATCH" else None
        it.put(bad=deny())
        await it.settle()
        it.put(bad=NO_VERSION)
        await it.settle()
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
