"""Waiting for what threads, files and other machines do, which no event tells."""

from collections.abc import Callable
from typing import Final

import trio

# For whatever is waited for: a busy machine stalls for seconds.
PATIENCE_S: Final = 30.0


async def until(condition: Callable[[], object], patience: float = PATIENCE_S) -> None:
    """Wait until ``condition`` holds, for at most ``patience`` seconds."""
    with trio.fail_after(patience):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await trio.sleep(0.01)
