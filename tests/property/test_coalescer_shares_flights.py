"""Law: whoever comes, waits and leaves in whatever order, flights are shared as promised.

At any time there is at most one flight a key that can be joined; nobody waits beyond the flight or the own patience; a flight is cancelled
when, and only when, its last waiter leaves before it lands; each waiter gets the result of a flight that overlapped the wait, so that no
result, failures included, outlives its flight; and at the end nothing is left over.
"""

import attrs
import trio
from hypothesis import given, settings
from trio.testing import MockClock

from exchanger.oauth.coalescer import Coalescer, CoalescerCounts
from tests.examples import examples
from tests.property.strategies_oauth import Visit, visits


@attrs.frozen
class Result:
    flight: int
    fails: bool


@attrs.define(eq=False)
class Flight:
    key: str
    started: float
    due: float
    ended: float | None = None
    cancelled: bool = False


@attrs.define(eq=False)
class Wait:
    visit: Visit
    left: float
    result: Result | None


@attrs.define(eq=False)
class World:
    """Carries out visits and remembers everything that happened."""

    flights: list[Flight] = attrs.field(factory=list)
    waits: list[Wait] = attrs.field(factory=list)
    joins: int = 0
    coalescer: Coalescer[str, Result] = attrs.field(init=False)
    final: CoalescerCounts | None = None

    def __attrs_post_init__(self) -> None:
        self.coalescer = Coalescer(Result(-1, fails=True), self.joined)

    def joined(self, key: str, leader: str) -> None:
        self.joins += 1

    async def fly(self, visit: Visit) -> Result:
        now = trio.current_time()
        flight = Flight(visit.key, now, now + visit.flight)
        self.flights.append(flight)
        number = len(self.flights) - 1
        try:
            await trio.sleep_until(flight.due)
        except trio.Cancelled:
            flight.cancelled = True
            raise
        finally:
            flight.ended = trio.current_time()
        return Result(number, visit.fails)

    async def visit(self, visit: Visit) -> None:
        await trio.sleep_until(visit.arrival)
        result: Result | None = None
        with trio.move_on_after(visit.patience):
            result = await self.coalescer.join(visit.key, lambda: self.fly(visit))
        self.waits.append(Wait(visit, trio.current_time(), result))

    async def run(self, planned: list[Visit]) -> None:
        async with trio.open_nursery() as infrastructure:
            await infrastructure.start(self._serve)
            async with trio.open_nursery() as nursery:
                for visit in planned:
                    nursery.start_soon(self.visit, visit)
            await trio.testing.wait_all_tasks_blocked()
            self.final = self.coalescer.counts()
            infrastructure.cancel_scope.cancel()

    async def _serve(self, *, task_status: trio.TaskStatus[None]) -> None:
        await self.coalescer.run(task_status=task_status)


@settings(max_examples=examples(200))
@given(visits)
def test_flights_are_shared_as_promised(planned: list[Visit]) -> None:
    world = World()
    trio.run(world.run, planned, clock=MockClock(autojump_threshold=0))

    assert len(world.waits) == len(planned)
    for wait in world.waits:
        assert wait.left <= wait.visit.arrival + wait.visit.patience
        if wait.result is not None:
            flight = world.flights[wait.result.flight]
            assert flight.key == wait.visit.key
            assert not flight.cancelled
            assert flight.ended == flight.due == wait.left
            assert flight.ended >= wait.visit.arrival
    for number, flight in enumerate(world.flights):
        assert flight.ended is not None
        # A flight that was cancelled unwinds within the same instant, so a new one may begin at the time at which it ends, not before.
        assert not any(other.key == flight.key and flight.started < other.started < flight.ended for other in world.flights)
        served = any(wait.result is not None and wait.result.flight == number for wait in world.waits)
        departures = {wait.left for wait in world.waits if wait.visit.key == flight.key and wait.result is None}
        if flight.cancelled:
            assert not served
            assert flight.ended in departures
        else:
            assert served or flight.ended in departures
    assert world.final == CoalescerCounts(flights=0, waiters=0, started=len(world.flights), coalesced=world.joins)
