import contextlib
import math

import trio
import trio.testing

from exchanger.http.connection_slots import ConnectionSlots, Slot


async def sit(slots: ConnectionSlots, ends: list[str], name: str, kind: str, *, task_status: trio.TaskStatus[Slot | None]) -> None:
    with slots.take() as slot:
        if slot is None:
            task_status.started(None)
            return
        with contextlib.ExitStack() as stack:
            if kind != "busy":
                stack.enter_context(slot.silent() if kind == "silent" else slot.slow())
            task_status.started(slot)
            await trio.sleep(math.inf)
    if slot.lost:
        ends.append(name)


async def ended(slots: ConnectionSlots, *kinds: str) -> list[str]:
    """Return who gave place when these came one after another, each called by its number."""
    ends: list[str] = []
    async with trio.open_nursery() as nursery:
        for number, kind in enumerate(kinds):
            await nursery.start(sit, slots, ends, str(number), kind)
        await trio.testing.wait_all_tasks_blocked()
        found = list(ends)
        nursery.cancel_scope.cancel()
    assert slots.taken == 0
    return found


async def test_the_one_that_is_silent_longest_gives_place() -> None:
    assert await ended(ConnectionSlots(3), "busy", "silent", "silent", "silent", "busy") == ["1", "2"]


async def test_the_slow_give_place_when_nobody_is_silent() -> None:
    assert await ended(ConnectionSlots(3), "slow", "silent", "busy", "busy", "busy") == ["1", "0"]


async def test_whoever_is_served_stays_and_the_newcomer_is_refused() -> None:
    slots = ConnectionSlots(2)

    assert await ended(slots, "busy", "busy", "silent") == []
    assert slots.refused == 1


async def test_whoever_is_served_again_does_not_give_place() -> None:
    slots, asked = ConnectionSlots(1), trio.Event()

    async def talk(*, task_status: trio.TaskStatus[None]) -> None:
        with slots.take() as slot:
            assert slot is not None
            with slot.silent():
                await trio.lowlevel.checkpoint()
            task_status.started()
            await asked.wait()
            assert not slot.lost

    async with trio.open_nursery() as nursery:
        await nursery.start(talk)
        with slots.take() as slot:
            assert slot is None
        asked.set()
    with slots.take() as slot:
        assert slot is not None


async def test_there_are_never_more_than_the_limit() -> None:
    slots, ends = ConnectionSlots(4), list[str]()
    async with trio.open_nursery() as nursery:
        for number in range(40):
            await nursery.start(sit, slots, ends, str(number), "silent")
            assert slots.taken <= 4
        await trio.testing.wait_all_tasks_blocked()
        assert len(ends) == 36
        assert slots.displaced == 36
        nursery.cancel_scope.cancel()
