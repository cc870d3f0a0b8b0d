"""Waiting for what threads, files and other machines do, which no event tells, and doing without threads."""

import sys
from collections.abc import Callable
from typing import Any, Final, TypeVar

import trio

# For whatever is waited for: a busy machine stalls for seconds.
PATIENCE_S: Final = 30.0

T = TypeVar("T")


async def until(condition: Callable[[], object], patience: float = PATIENCE_S) -> None:
    """Wait until ``condition`` holds, for at most ``patience`` seconds."""
    with trio.fail_after(patience):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await trio.sleep(0.01)


async def at_once(function: Callable[..., T], *args: object, **_options: object) -> T:
    """Stand for a thread (``Network.run_sync``): a clock that jumps does not wait for those. It is no part of a step of the loop."""
    await trio.lowlevel.checkpoint()
    counted = sys.getprofile()
    sys.setprofile(None)
    try:
        return function(*args)
    finally:
        sys.setprofile(counted)


class Gate:
    """Stands for threads as ``at_once`` does, and holds what is run until it is opened; ``reached`` counts what waits."""

    def __init__(self) -> None:
        self.event = trio.Event()
        self.reached = 0

    async def run_sync(self, function: Callable[..., object], *args: object, **_options: object) -> Any:
        self.reached += 1
        await self.event.wait()
        return function(*args)

    def close(self) -> None:
        self.event = trio.Event()
