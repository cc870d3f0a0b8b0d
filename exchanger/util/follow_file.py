"""Follows a file: reads it repeatedly in a worker thread, and compares its content.

Comparing contents notices every way of replacing a file (a swapped symlink, as in a mounted ConfigMap or Secret, a rename, a rewrite in
place) on every file system. A notification would save a fraction of a second.

Must not know: what is in the file.
"""

from collections.abc import Awaitable, Callable
from typing import Final, Generic, NoReturn, TypeVar, final

import attrs
import trio

# Seconds between two reads. A read takes a fraction of a millisecond.
POLL_S: Final = 1.0

# Seconds between the two reads that must find the same version. Writing a file in place takes milliseconds.
SETTLE_S: Final = 0.3

# Seconds for a read. A file system that takes longer hangs.
READ_S: Final = 10.0
HANGS: Final = f"could not be read within {READ_S:.0f} seconds"

T = TypeVar("T")


@final
@attrs.define(eq=False)
class FileFollower(Generic[T]):
    """Reads one file, or several that belong together, again and again.

    Args:
        read: Returns the current version. It runs in a worker thread and may block.
        hangs: Stands for a version that ``read`` did not return within ``READ_S``.
        run_sync: Runs it.
        interval: Seconds between two reads.
        first_at_once: The first version needs no second read in ``look_settled``.
    """

    _read: Callable[[], T] = attrs.field(repr=False)
    _hangs: T = attrs.field(repr=False)
    _run_sync: Callable[..., Awaitable[T]]
    _interval: float = POLL_S
    _first_at_once: bool = False
    _settled: T | None = attrs.field(default=None, init=False, repr=False)
    # One thread at a time, so at most one hangs.
    _limiter: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1), init=False, repr=False)

    async def run(self, learn: Callable[[T], None]) -> NoReturn:
        """Call ``learn`` with the result of each read, the first one after an interval, until cancelled."""
        while True:
            await trio.sleep(self._interval)
            learn(await self.look())

    async def run_settled(self, learn: Callable[[T], None]) -> NoReturn:
        """Call ``learn`` with each version that ``look_settled`` returns, looking at once and then after each interval, until cancelled."""
        while True:
            found = await self.look_settled()
            if found is not None:
                learn(found)
            await trio.sleep(self._interval)

    async def look(self) -> T:
        """Return the current version."""
        with trio.move_on_after(READ_S):
            # Abandoned when cancelled: it only reads, and its result is dropped.
            return await self._run_sync(self._read, abandon_on_cancel=True, limiter=self._limiter)
        return self._hangs

    async def look_settled(self) -> T | None:
        """Return a new version, which two reads with ``SETTLE_S`` between them found; ``None`` if there is none.

        Half of a file that is being written may well be a valid file that lacks something.
        """
        found = await self.look()
        if found == self._settled:
            return None
        if self._settled is not None or not self._first_at_once:
            await trio.sleep(SETTLE_S)
            if await self.look() != found:
                return None
        self._settled = found
        return found
