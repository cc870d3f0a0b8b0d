"""Counting the steps of the event loop: what it finds, and that it ends."""

import sys
from typing import final

import pytest
import trio

from tests.steps import counted_steps


async def test_calls_are_counted_by_task_until_the_block_ends() -> None:
    with counted_steps() as steps:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 0, name="sleeper")
    assert steps.most["sleeper"] > 0
    assert sys.getprofile() is None


async def test_a_failure_ends_the_counting_too() -> None:
    with pytest.raises(ZeroDivisionError), counted_steps():
        raise ZeroDivisionError
    await trio.lowlevel.checkpoint()
    assert sys.getprofile() is None


@final
class Finalized:
    """Garbage that only the collector finds, and whose finalizer calls functions."""

    def __init__(self) -> None:
        self.own = self

    def __del__(self) -> None:
        for number in range(1000):
            abs(number)


async def test_finalizers_of_garbage_are_not_counted() -> None:
    Finalized()
    with counted_steps() as steps:
        await trio.lowlevel.checkpoint()
        made: list[list[int]] = [[] for _ in range(10_000)]  # more than makes the collector run
        await trio.lowlevel.checkpoint()
    assert made
    assert max(steps.most.values()) < 1000
