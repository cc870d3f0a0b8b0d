from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from exchanger.oauth.coalescer import Coalescer, CoalescerCounts

LOST = "lost"


class Flights:
    """Makes flights that end when told to, and remembers what became of them."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.cancelled: list[str] = []
        self.landing: dict[str, trio.Event] = {}

    def to(self, result: str) -> Callable[[], Awaitable[str]]:
        landing = self.landing.setdefault(result, trio.Event())

        async def flight() -> str:
            self.started.append(result)
            try:
                await landing.wait()
            except trio.Cancelled:
                self.cancelled.append(result)
                raise
            return result

        return flight

    def landed(self, result: str) -> Callable[[], Awaitable[str]]:
        flight = self.to(result)
        self.landing[result].set()
        return flight


@asynccontextmanager
async def running(coalescer: Coalescer[str, str]) -> AsyncGenerator[None, None]:
    async with trio.open_nursery() as nursery:
        await nursery.start(_run, coalescer)
        yield
        nursery.cancel_scope.cancel()


async def _run(coalescer: Coalescer[str, str], *, task_status: trio.TaskStatus[None]) -> None:
    await coalescer.run(task_status=task_status)


class Waiter:
    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.result: str | None = None

    async def join(self, coalescer: Coalescer[str, str], key: str, flight: Callable[[], Awaitable[str]]) -> None:
        with self.scope:
            self.result = await coalescer.join(key, flight)


def resting(coalescer: Coalescer[str, str]) -> bool:
    statistics = coalescer.counts()
    return (statistics.flights, statistics.waiters) == (0, 0) and not coalescer._flights


@pytest.fixture
def joined() -> list[str]:
    return []


@pytest.fixture
def coalescer(joined: list[str]) -> Coalescer[str, str]:
    return Coalescer(LOST, lambda key, _leader: joined.append(key))


async def test_equal_keys_share_a_flight(coalescer: Coalescer[str, str], joined: list[str]) -> None:
    flights, waiters = Flights(), [Waiter(), Waiter(), Waiter()]
    async with running(coalescer), trio.open_nursery() as nursery:
        for waiter in waiters:
            nursery.start_soon(waiter.join, coalescer, "a", flights.to("one"))
        await wait_all_tasks_blocked()
        assert coalescer.counts() == CoalescerCounts(flights=1, waiters=3, started=1, coalesced=2)
        flights.landing["one"].set()
    assert [waiter.result for waiter in waiters] == ["one"] * 3
    assert flights.started == ["one"]
    assert joined == ["a", "a"]
    assert resting(coalescer)


async def test_nothing_is_kept_after_the_landing(coalescer: Coalescer[str, str]) -> None:
    flights = Flights()
    async with running(coalescer):
        assert await coalescer.join("a", flights.landed("one")) == "one"
        assert await coalescer.join("a", flights.landed("two")) == "two"
    assert coalescer.counts() == CoalescerCounts(flights=0, waiters=0, started=2, coalesced=0)


async def test_the_last_one_out_cancels_the_flight(coalescer: Coalescer[str, str]) -> None:
    flights, leader, follower = Flights(), Waiter(), Waiter()
    async with running(coalescer), trio.open_nursery() as nursery:
        nursery.start_soon(leader.join, coalescer, "a", flights.to("one"))
        nursery.start_soon(follower.join, coalescer, "a", flights.to("one"))
        await wait_all_tasks_blocked()
        leader.scope.cancel()
        await wait_all_tasks_blocked()
        assert flights.cancelled == []
        follower.scope.cancel()
        await wait_all_tasks_blocked()
        assert flights.cancelled == ["one"]
        assert resting(coalescer)


async def test_who_comes_while_a_flight_is_dying_starts_anew(coalescer: Coalescer[str, str], joined: list[str]) -> None:
    unwound = trio.Event()

    async def slow_to_die() -> str:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await unwound.wait()
        raise AssertionError

    flights, first, second, third = Flights(), Waiter(), Waiter(), Waiter()
    async with running(coalescer), trio.open_nursery() as nursery:
        nursery.start_soon(first.join, coalescer, "a", slow_to_die)
        await wait_all_tasks_blocked()
        first.scope.cancel()
        await wait_all_tasks_blocked()
        nursery.start_soon(second.join, coalescer, "a", flights.to("two"))
        await wait_all_tasks_blocked()
        assert coalescer.counts() == CoalescerCounts(flights=2, waiters=1, started=2, coalesced=0)
        unwound.set()
        await wait_all_tasks_blocked()
        nursery.start_soon(third.join, coalescer, "a", flights.to("three"))
        await wait_all_tasks_blocked()
        assert coalescer.counts() == CoalescerCounts(flights=1, waiters=2, started=2, coalesced=1)
        flights.landing["two"].set()
    assert (second.result, third.result) == ("two", "two")
    assert joined == ["a"]


async def test_who_has_already_left_starts_nothing(coalescer: Coalescer[str, str]) -> None:
    flights = Flights()
    async with running(coalescer):
        with trio.CancelScope() as scope:
            scope.cancel()
            await coalescer.join("a", flights.to("one"))
        assert scope.cancelled_caught
    assert flights.started == []
    assert coalescer.counts() == CoalescerCounts(flights=0, waiters=0, started=0, coalesced=0)


async def test_who_leaves_before_the_flight_has_begun_cancels_it_all_the_same(coalescer: Coalescer[str, str]) -> None:
    flights, waiter = Flights(), Waiter()

    async def leave() -> str:  # runs as the flight's first step, before it waits for anything
        waiter.scope.cancel()
        return await flights.to("one")()

    async with running(coalescer):
        await waiter.join(coalescer, "a", leave)
        await wait_all_tasks_blocked()
        assert waiter.scope.cancelled_caught
        assert flights.cancelled == ["one"]
        assert resting(coalescer)


async def test_cancelling_run_gives_waiters_the_lost_value(coalescer: Coalescer[str, str]) -> None:
    flights, waiters = Flights(), [Waiter(), Waiter()]
    async with trio.open_nursery() as nursery, running(coalescer):
        for waiter in waiters:
            nursery.start_soon(waiter.join, coalescer, "a", flights.to("one"))
        await wait_all_tasks_blocked()
    assert [waiter.result for waiter in waiters] == [LOST, LOST]
    assert flights.cancelled == ["one"]
    assert resting(coalescer)


@pytest.mark.parametrize("ran_before", [False, True])
async def test_outside_run_there_is_only_the_lost_value(coalescer: Coalescer[str, str], ran_before: bool) -> None:
    if ran_before:
        async with running(coalescer):
            pass
    flights = Flights()
    assert await coalescer.join("a", flights.to("one")) == LOST
    assert flights.started == []
    assert resting(coalescer)


async def test_a_join_while_run_goes_down_gets_the_lost_value(coalescer: Coalescer[str, str]) -> None:
    flights, results = Flights(), list[str]()

    async def dying() -> str:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                results.append(await coalescer.join("b", flights.to("one")))
        raise AssertionError

    async with trio.open_nursery() as nursery, running(coalescer):
        nursery.start_soon(Waiter().join, coalescer, "a", dying)
        await wait_all_tasks_blocked()
    assert results == [LOST]
    assert resting(coalescer)


async def test_a_fault_in_a_flight_ends_run_and_nobody_hangs(coalescer: Coalescer[str, str]) -> None:
    flights, waiters, other = Flights(), [Waiter(), Waiter()], Waiter()

    async def faulty() -> str:
        await trio.lowlevel.checkpoint()
        raise ZeroDivisionError

    async with trio.open_nursery() as nursery:
        with pytest.RaisesGroup(pytest.RaisesGroup(ZeroDivisionError)):
            async with trio.open_nursery() as infrastructure:
                await infrastructure.start(_run, coalescer)
                nursery.start_soon(other.join, coalescer, "b", flights.to("one"))
                for waiter in waiters:
                    nursery.start_soon(waiter.join, coalescer, "a", faulty)
    assert [waiter.result for waiter in (*waiters, other)] == [LOST] * 3
    assert resting(coalescer)


async def test_flights_belong_to_run_and_not_to_their_callers(coalescer: Coalescer[str, str]) -> None:
    parents: list[trio.Nursery | None] = []

    async def flight() -> str:
        await trio.lowlevel.checkpoint()
        parents.append(trio.lowlevel.current_task().parent_nursery)
        return "one"

    async with running(coalescer):
        await coalescer.join("a", flight)
        assert parents == [coalescer._nursery]
