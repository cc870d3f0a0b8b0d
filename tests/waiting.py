"""Waiting for what threads, files and other machines do, which no event tells."""

from collections.abc import Callable
from typing import Final

import trio

# For whatever is waited for: a busy machine stalls for seconds.
PATIENCE_S: Final = 30.0


async def until(condition: Callable[[], object]) -> None:
    """Wait until ``condition`` holds."""
    with trio.fail_after(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await trio.sleep(0.01)
