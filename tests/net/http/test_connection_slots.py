import contextlib
import math

import pytest
import trio
import trio.testing

from exchanger.net.http.connection_slots import ConnectionSlots, Slot


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
    """Return which connections were displaced when these came one after another, each called by its number."""
    ends: list[str] = []
    async with trio.open_nursery() as nursery:
        for number, kind in enumerate(kinds):
            await nursery.start(sit, slots, ends, str(number), kind)
            assert slots.taken <= slots.limit
        await trio.testing.wait_all_tasks_blocked()
        found = list(ends)
        nursery.cancel_scope.cancel()
    assert slots.taken == 0
    return found


@pytest.mark.parametrize(
    ("limit", "kinds", "displaced", "refused"),
    [
        (3, ["busy", "silent", "silent", "silent", "busy"], ["1", "2"], 0),  # the one that is silent longest
        (3, ["slow", "silent", "busy", "busy", "busy"], ["1", "0"], 0),  # the slow when nobody is silent
        (2, ["busy", "busy", "silent"], [], 1),  # nobody who is served
        (4, ["silent"] * 40, [str(number) for number in range(36)], 0),
    ],
    ids=["silent", "slow", "served", "many"],
)
async def test_of_more_than_the_limit_silent_and_then_slow_ones_make_room(
    limit: int, kinds: list[str], displaced: list[str], refused: int
) -> None:
    slots = ConnectionSlots(limit)

    assert await ended(slots, *kinds) == displaced
    assert (slots.displaced, slots.refused) == (len(displaced), refused)


async def test_a_connection_that_is_served_again_is_not_displaced() -> None:
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
