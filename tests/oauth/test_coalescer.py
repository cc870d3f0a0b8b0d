from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from exchanger.oauth.coalescer import Coalescer, CoalescerCounts

LOST = "lost"
Flight = Callable[[], Awaitable[str]]


@attrs.define(eq=False)
class Waiter:
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    result: str | None = None

    async def join(self, coalescer: Coalescer[str, str], key: str, flight: Flight) -> None:
        with self.scope:
            self.result = await coalescer.join(key, flight)


@attrs.define(eq=False)
class Place:
    """A coalescer with flights that end when their event is set, and what became of them."""

    joined: list[str] = attrs.field(factory=list)
    started: list[str] = attrs.field(factory=list)
    cancelled: list[str] = attrs.field(factory=list)
    landing: dict[str, trio.Event] = attrs.field(factory=dict)
    coalescer: Coalescer[str, str] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.coalescer = Coalescer(LOST, lambda key, _leader: self.joined.append(key))

    def flight_to(self, result: str) -> Flight:
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

    async def enter(self, nursery: trio.Nursery, key: str, flight: Flight | str) -> Waiter:
        """Let somebody join, and wait until it waits."""
        waiter = Waiter()
        nursery.start_soon(waiter.join, self.coalescer, key, self.flight_to(flight) if isinstance(flight, str) else flight)
        await wait_all_tasks_blocked()
        return waiter

    async def leave(self, waiter: Waiter) -> None:
        waiter.scope.cancel()
        await wait_all_tasks_blocked()

    def is_at_rest(self) -> bool:
        counts = self.coalescer.counts()
        return (counts.flights, counts.waiters) == (0, 0) and not self.coalescer._flights

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[trio.Nursery]:
        """Run the coalescer, with a nursery for callers that outlasts it."""
        async with trio.open_nursery() as callers, trio.open_nursery() as nursery:
            await nursery.start(self.run)
            yield callers
            nursery.cancel_scope.cancel()
        assert self.is_at_rest()

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        await self.coalescer.run(task_status=task_status)


@pytest.fixture
def it() -> Place:
    return Place()


async def unwinding(until: Callable[[], Awaitable[object]]) -> str:
    """Fly until cancelled, and then take as long as ``until``."""
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await until()
    raise AssertionError


async def test_equal_keys_share_a_flight_until_it_lands(it: Place) -> None:
    async with it.running() as callers:
        waiters = [await it.enter(callers, "a", "one") for _ in range(3)]
        assert it.coalescer.counts() == CoalescerCounts(flights=1, waiters=3, started=1, coalesced=2)
        it.landing["one"].set()
        await wait_all_tasks_blocked()
        assert [waiter.result for waiter in waiters] == ["one"] * 3
        assert it.is_at_rest()
        last = await it.enter(callers, "a", "two")
        assert it.coalescer.counts() == CoalescerCounts(flights=1, waiters=1, started=2, coalesced=2)
        it.landing["two"].set()
        await wait_all_tasks_blocked()
    assert last.result == "two"
    assert (it.started, it.joined) == (["one", "two"], ["a", "a"])


async def test_a_caller_that_comes_while_a_flight_is_dying_starts_another(it: Place) -> None:
    unwound = trio.Event()
    async with it.running() as callers:
        await it.leave(await it.enter(callers, "a", lambda: unwinding(unwound.wait)))
        second = await it.enter(callers, "a", "two")
        assert it.coalescer.counts() == CoalescerCounts(flights=2, waiters=1, started=2, coalesced=0)
        unwound.set()
        await wait_all_tasks_blocked()
        third = await it.enter(callers, "a", "three")
        assert it.coalescer.counts() == CoalescerCounts(flights=1, waiters=2, started=2, coalesced=1)
        it.landing["two"].set()
        await wait_all_tasks_blocked()
    assert (second.result, third.result) == ("two", "two")
    assert it.joined == ["a"]


async def test_a_caller_that_has_already_left_starts_nothing(it: Place) -> None:
    async with it.running():
        with trio.CancelScope() as scope:
            scope.cancel()
            await it.coalescer.join("a", it.flight_to("one"))
        assert scope.cancelled_caught
    assert it.started == []
    assert it.coalescer.counts() == CoalescerCounts(flights=0, waiters=0, started=0, coalesced=0)


async def test_a_caller_that_leaves_before_its_flight_has_begun_cancels_it_all_the_same(it: Place) -> None:
    waiter = Waiter()

    async def leave() -> str:  # runs as the flight's first step, before it waits for anything
        waiter.scope.cancel()
        return await it.flight_to("one")()

    async with it.running():
        await waiter.join(it.coalescer, "a", leave)
        await wait_all_tasks_blocked()
        assert waiter.scope.cancelled_caught
        assert it.cancelled == ["one"]
        assert it.is_at_rest()


@pytest.mark.parametrize("ran_before", [False, True])
async def test_outside_run_there_is_only_the_lost_value(it: Place, ran_before: bool) -> None:
    if ran_before:
        async with it.running():
            pass
    assert await it.coalescer.join("a", it.flight_to("one")) == LOST
    assert it.started == []
    assert it.is_at_rest()


async def test_cancelling_run_gives_those_who_wait_and_those_who_join_meanwhile_the_lost_value(it: Place) -> None:
    results = list[str]()

    async def join_another() -> None:
        results.append(await it.coalescer.join("c", it.flight_to("two")))

    async with it.running() as callers:
        waiters = [await it.enter(callers, "a", "one") for _ in range(2)]
        waiters.append(await it.enter(callers, "b", lambda: unwinding(join_another)))
    assert [waiter.result for waiter in waiters] == [LOST] * 3
    assert results == [LOST]
    assert sorted(it.cancelled) == sorted(it.started)


async def test_a_fault_in_a_flight_ends_run_and_nobody_hangs(it: Place) -> None:
    async def faulty() -> str:
        await trio.lowlevel.checkpoint()
        raise ZeroDivisionError

    waiters = [Waiter(), Waiter(), Waiter()]
    async with trio.open_nursery() as callers:
        with pytest.RaisesGroup(pytest.RaisesGroup(ZeroDivisionError)):
            async with trio.open_nursery() as infrastructure:
                await infrastructure.start(it.run)
                callers.start_soon(waiters[0].join, it.coalescer, "b", it.flight_to("one"))
                for waiter in waiters[1:]:
                    callers.start_soon(waiter.join, it.coalescer, "a", faulty)
    assert [waiter.result for waiter in waiters] == [LOST] * 3
    assert it.is_at_rest()


async def test_flights_belong_to_run_and_not_to_their_callers(it: Place) -> None:
    parents: list[trio.Nursery | None] = []

    async def flight() -> str:
        await trio.lowlevel.checkpoint()
        parents.append(trio.lowlevel.current_task().parent_nursery)
        return "one"

    async with it.running():
        await it.coalescer.join("a", flight)
        assert parents == [it.coalescer._nursery]
