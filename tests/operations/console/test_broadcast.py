import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
import trio
import trio.testing

from exchanger.operations.console.broadcast import (
    GATHER_S,
    HISTORY,
    INTERVAL_S,
    MAX_ITEMS,
    MAX_ITEMS_UNDER_LOAD,
    QUEUE,
    TOTALS_S,
    Broadcast,
    Subscription,
    Totals,
)
from exchanger.operations.console.decision_json import Item
from exchanger.operations.console.feed import KEPT, Entry, Feed
from exchanger.operations.console.message import TimeSlice
from exchanger.operations.console.policy_health import PolicyHealth
from tests.operations.console.records import DENIED, UNMATCHED, record
from tests.operations.console.running import totals
from tests.reachable import text_held

Clock = trio.testing.MockClock


class Counting:
    """Stands in for ``DecisionJson``, and counts what it makes."""

    def __init__(self) -> None:
        self.made: list[int] = []
        self.broken: set[int] = set()
        self.text = ""

    def item(self, entry: Entry) -> Item:
        self.made.append(entry[0])
        if entry[0] in self.broken:
            raise RuntimeError
        return {"seq": entry[0], "text": self.text} if self.text else {"seq": entry[0]}


class Stage:
    def __init__(self) -> None:
        self.feed, self.items, self.faults = Feed(clock=trio.current_time), Counting(), list[BaseException]()
        self.totals: Callable[[], Totals] = totals
        self.clock: Callable[[], float] = lambda: 5.0
        self.broadcast = Broadcast(
            self.feed,
            self.items,  # type: ignore[arg-type]
            self._totals_now,
            "1.2.3",
            self._now,
            self.faults.append,
        )

    def _totals_now(self) -> Totals:
        return self.totals()

    def _now(self) -> float:
        return self.clock()

    def decide(self, count: int = 1, *, denied: bool = False) -> None:
        for _ in range(count):
            self.feed.decided(record(DENIED if denied else UNMATCHED))

    @contextlib.contextmanager
    def subscribed(self) -> Iterator[Subscription]:
        with self.broadcast.subscribed() as subscription:
            assert subscription is not None
            yield subscription


@pytest.fixture
async def stage(autojump_clock: Clock) -> AsyncIterator[Stage]:
    stage = Stage()
    async with trio.open_nursery() as nursery:
        await nursery.start(stage.broadcast.run)
        yield stage
        nursery.cancel_scope.cancel()


async def decisions(subscription: Subscription) -> Any:
    with trio.fail_after(100):
        while True:
            message = json.loads(await subscription.take())
            if message["type"] == "decisions":
                return message


def numbers(message: Any) -> list[int]:
    return [item["seq"] for item in message["items"]]


async def test_a_decision_is_sent_at_once_when_it_is_quiet(autojump_clock: Clock, stage: Stage) -> None:
    with stage.subscribed() as subscription:
        await trio.sleep(10)
        began = trio.current_time()
        stage.decide()
        message = await decisions(subscription)

        assert numbers(message) == [1]
        assert trio.current_time() - began <= GATHER_S + 0.01 <= 0.05


async def test_under_load_there_are_four_messages_a_second_of_bounded_size(autojump_clock: Clock, stage: Stage) -> None:
    with stage.subscribed() as subscription:
        await trio.sleep(10)
        got = []
        until = trio.current_time() + 2.0

        async def load() -> None:
            while True:
                stage.decide(50)
                await trio.sleep(0.01)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(load)
            while trio.current_time() < until:
                got.append(await decisions(subscription))
            nursery.cancel_scope.cancel()

    assert len(got) <= 2.0 / INTERVAL_S + 1
    sizes = [len(message["items"]) for message in got]
    assert max(sizes) <= MAX_ITEMS
    assert max(sizes[2:]) <= MAX_ITEMS_UNDER_LOAD
    seen = [number for message in got for number in numbers(message)]
    assert seen == sorted(set(seen))
    assert seen[-1] <= len(seen) + sum(message["lost"] for message in got) <= stage.feed.sequence


async def test_denials_are_sent_before_allowed_requests(autojump_clock: Clock, stage: Stage) -> None:
    with stage.subscribed() as subscription:
        await trio.sleep(1)
        stage.decide(3, denied=True)
        stage.decide(MAX_ITEMS)
        message = await decisions(subscription)

    assert numbers(message)[:3] == [1, 2, 3]
    assert message["lost"] == 3


async def test_a_message_is_encoded_once_for_all(autojump_clock: Clock, stage: Stage) -> None:
    with stage.subscribed() as first, stage.subscribed() as second:
        await trio.sleep(1)
        stage.decide(2)
        assert await decisions(first) == await decisions(second)
        assert stage.items.made == [1, 2]
        with stage.subscribed() as third:
            assert numbers(json.loads(await stage.broadcast.hello(third))) == [1, 2]
        assert stage.items.made == [1, 2]


async def test_nothing_is_encoded_while_nobody_watches(autojump_clock: Clock, stage: Stage) -> None:
    for _ in range(5):
        stage.decide(100)
        await trio.sleep(1)
    await trio.sleep(60)
    assert stage.items.made == []
    with stage.subscribed() as subscription:
        hello = json.loads(await stage.broadcast.hello(subscription))
        await trio.sleep(5)
        assert numbers(hello) == list(range(301, 501))
        assert hello["time"] == "1970-01-01T00:00:05.000Z"
    made = len(stage.items.made)
    stage.decide(500)
    await trio.sleep(60)
    assert len(stage.items.made) == made


async def test_a_newcomer_misses_nothing_and_gets_nothing_twice(autojump_clock: Clock, stage: Stage) -> None:
    with stage.subscribed():
        stage.decide(3)
        await trio.sleep(1)
        stage.decide(2)  # not told yet
        with stage.subscribed() as newcomer:
            hello = json.loads(await stage.broadcast.hello(newcomer))
            message = await decisions(newcomer)

    assert numbers(hello) == [1, 2, 3]
    assert numbers(message) == [4, 5]


async def test_a_newcomer_during_encoding_gets_nothing_twice(autojump_clock: Clock, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    newcomers: list[tuple[contextlib.AbstractContextManager[Subscription], Subscription]] = []

    async def step(_self: TimeSlice) -> None:
        if not newcomers:
            opened = stage.subscribed()
            newcomers.append((opened, opened.__enter__()))
        await trio.lowlevel.checkpoint()

    with stage.subscribed() as first:
        await trio.sleep(1)
        monkeypatch.setattr(TimeSlice, "step", step)
        stage.decide(2)
        assert numbers(await decisions(first)) == [1, 2]
        ((opened, newcomer),) = newcomers
        assert numbers(json.loads(await stage.broadcast.hello(newcomer))) == [1, 2]
        stage.decide()
        assert numbers(await decisions(newcomer)) == [3]
        opened.__exit__(None, None, None)


async def test_slow_subscriber_learns_its_losses_and_a_fast_one_has_none(autojump_clock: Clock, stage: Stage) -> None:
    with stage.subscribed() as slow, stage.subscribed() as fast:
        await trio.sleep(1)
        got = 0
        for _ in range(20):
            stage.decide()
            message = await decisions(fast)
            assert message["lost"] == 0
            got += len(message["items"])
        assert got == 20
        behind = [await decisions(slow)]
        while numbers(behind[-1])[-1] < 20:
            behind.append(await decisions(slow))

    assert len(behind) <= QUEUE
    assert behind[0]["lost"] > 0
    assert all(message["lost"] == 0 for message in behind[1:])
    assert sum(message["lost"] + len(message["items"]) for message in behind) == 20


async def test_counters_are_sent_once_a_second_while_somebody_watches(autojump_clock: Clock, stage: Stage) -> None:
    await trio.sleep(10)
    with stage.subscribed() as subscription:
        began = trio.current_time()
        got = [json.loads(await subscription.take()) for _ in range(3)]

        assert trio.current_time() - began == pytest.approx(2 * TOTALS_S, abs=0.1)
    assert (
        got
        == [
            {
                "type": "totals",
                "time": 5000,
                "revision": 0,
                "decisions": {"allow_unmatched": 2},
                "exchanges": 3,
                "coalesced": 1,
                "errors": 0,
                "latency": {"bounds": [0.1, 1.0], "counts": [1, 1, 0]},
                "policy": PolicyHealth().shown(),
                "issuers": {"listed": [], "more": 0},
                "subscribers": 1,
            }
        ]
        * 3
    )


async def test_a_new_page_has_the_counters_of_two_minutes_at_once(autojump_clock: Clock, stage: Stage) -> None:
    stage.clock = trio.current_time
    await trio.sleep(3 * HISTORY)  # nobody watches
    with stage.subscribed() as subscription:
        history = json.loads(await stage.broadcast.hello(subscription))["history"]
    times = [sample["time"] / 1000 for sample in history]
    assert times[-1] == pytest.approx(trio.current_time(), abs=TOTALS_S)
    assert all(later - earlier == pytest.approx(TOTALS_S, abs=0.1) for earlier, later in pairwise(times))
    assert times[-1] - times[0] == pytest.approx(120.0)


async def test_decision_that_cannot_be_encoded_is_counted_and_reported(autojump_clock: Clock, stage: Stage) -> None:
    stage.items.broken = {2, 3}
    with stage.subscribed() as subscription:
        stage.decide(4)
        told = await decisions(subscription)
        stage.decide()
        assert [item["seq"] for item in (await decisions(subscription))["items"]] == [5]
        assert len(stage.faults) == 1
    assert ([item["seq"] for item in told["items"]], told["lost"]) == ([1, 4], 2)
    with stage.subscribed() as newcomer:
        assert [item["seq"] for item in json.loads(await stage.broadcast.hello(newcomer))["items"]] == [1, 4, 5]


async def test_a_fault_in_the_counters_is_reported_and_ends_nothing(autojump_clock: Clock, stage: Stage) -> None:
    def broken() -> Totals:
        stage.totals = totals
        raise RuntimeError

    stage.totals = broken
    with stage.subscribed() as subscription:
        assert json.loads(await subscription.take())["type"] == "totals"
    assert [type(fault) for fault in stage.faults] == [RuntimeError]


async def test_encoded_items_are_bounded_and_freed_with_the_last_subscriber(autojump_clock: Clock, stage: Stage) -> None:
    stage.items.text = "x" * 1000
    with stage.subscribed() as subscription:
        for _ in range(20):
            stage.decide(MAX_ITEMS)
            await decisions(subscription)
        assert 2 * KEPT * 1000 <= text_held(stage.broadcast) < (2 * KEPT + 3 * MAX_ITEMS) * 1000
    assert text_held(stage.broadcast) < KEPT * 1000
