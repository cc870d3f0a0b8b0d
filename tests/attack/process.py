"""What a process takes, as the system tells it, and processes that attack."""

import contextlib
import multiprocessing
import os
import resource
from collections.abc import Callable, Generator
from multiprocessing.process import BaseProcess
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
DOCUMENT = """
version: v1
entries:
  - match: {host: api.example.com, pathPrefix: /admin}
    action: deny
"""


def resident_mib(pid: int) -> float:
    """Return the memory in MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


def descriptors(pid: int) -> int:
    """Return how many files and sockets are open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def cpu_seconds(pid: int) -> float:
    """Return the CPU time since the start, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


@contextlib.contextmanager
def spawned(attack: Callable[..., None], *arguments: object) -> Generator[BaseProcess]:
    """Run ``attack`` in a process of its own while the block does."""
    process = multiprocessing.get_context("spawn").Process(target=attack, args=arguments, daemon=True)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()
