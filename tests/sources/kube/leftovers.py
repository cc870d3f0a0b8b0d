"""What must not be left: threads that still work on a request, and sockets."""

import os
import threading
from pathlib import Path
from typing import Final

import trio

# Seconds in which a thread that was woken ends, on a machine that is busy with other things; it takes a millisecond, and one that was not
# woken has 20 s.
GONE_S: Final = 15.0


def working_threads() -> list[str]:
    """Return the names of threads that are inside a request; idle ones that Trio keeps have another name."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("kube ")]


def open_sockets() -> int:
    """Return how many sockets this process has open."""
    found = 0
    folder = Path("/proc/self/fd")
    for descriptor in folder.iterdir() if folder.exists() else ():  # other systems than Linux are not asked
        try:
            found += os.readlink(descriptor).startswith("socket:")  # noqa: PTH115 - what it leads to is not a path
        except FileNotFoundError:
            continue
    return found


async def nothing_left(sockets: int) -> None:
    """Wait until no thread works and no more than ``sockets`` are open; fail when that takes too long."""
    left: tuple[list[str], int] = [], 0
    with trio.move_on_after(GONE_S):
        # Looked at once for both: a thread whose task left before it began gets its name, works and ends only now.
        while (left := (working_threads(), max(0, open_sockets() - sockets))) != ([], 0):  # noqa: ASYNC110 - threads tell nobody that they end
            await trio.sleep(0.005)
    assert left == ([], 0)
