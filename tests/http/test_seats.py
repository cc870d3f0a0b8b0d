import contextlib
import math

import trio
import trio.testing

from exchanger.http.seats import Seat, Seats


async def sit(seats: Seats, ends: list[str], name: str, kind: str, *, task_status: trio.TaskStatus[Seat | None]) -> None:
    with seats.taken() as seat:
        if seat is None:
            task_status.started(None)
            return
        with contextlib.ExitStack() as stack:
            if kind != "busy":
                stack.enter_context(seat.silent() if kind == "silent" else seat.slow())
            task_status.started(seat)
            await trio.sleep(math.inf)
    if seat.lost:
        ends.append(name)


async def ended(seats: Seats, *kinds: str) -> list[str]:
    """Return who gave place when these came one after another, each called by its number."""
    ends: list[str] = []
    async with trio.open_nursery() as nursery:
        for number, kind in enumerate(kinds):
            await nursery.start(sit, seats, ends, str(number), kind)
        await trio.testing.wait_all_tasks_blocked()
        found = list(ends)
        nursery.cancel_scope.cancel()
    assert seats.statistics().taken == 0
    return found


async def test_the_one_that_is_silent_longest_gives_place() -> None:
    assert await ended(Seats(3), "busy", "silent", "silent", "silent", "busy") == ["1", "2"]


async def test_the_slow_give_place_when_nobody_is_silent() -> None:
    assert await ended(Seats(3), "slow", "silent", "busy", "busy", "busy") == ["1", "0"]


async def test_whoever_is_served_stays_and_the_newcomer_is_refused() -> None:
    seats = Seats(2)

    assert await ended(seats, "busy", "busy", "silent") == []
    assert seats.statistics().refused == 1


async def test_whoever_is_served_again_does_not_give_place() -> None:
    seats, asked = Seats(1), trio.Event()

    async def talk(*, task_status: trio.TaskStatus[None]) -> None:
        with seats.taken() as seat:
            assert seat is not None
            with seat.silent():
                await trio.lowlevel.checkpoint()
            task_status.started()
            await asked.wait()
            assert not seat.statistics()

    async with trio.open_nursery() as nursery:
        await nursery.start(talk)
        with seats.taken() as seat:
            assert seat is None
        asked.set()
    with seats.taken() as seat:
        assert seat is not None


async def test_there_are_never_more_than_the_limit() -> None:
    seats, ends = Seats(4), list[str]()
    async with trio.open_nursery() as nursery:
        for number in range(40):
            await nursery.start(sit, seats, ends, str(number), "silent")
            assert seats.statistics().taken <= 4
        await trio.testing.wait_all_tasks_blocked()
        assert len(ends) == 36
        assert seats.statistics().displaced == 36
        nursery.cancel_scope.cancel()
