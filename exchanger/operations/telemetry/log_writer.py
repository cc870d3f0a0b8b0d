"""A bounded buffer of log lines, written in batches by a separate task, so that no request ever waits for a log.

Lines without room are dropped and counted, and a line says so once there is room again. Before the task runs and after it has ended, lines
are written directly.
"""

import contextlib
import enum
import threading
from collections import deque
from collections.abc import Callable
from typing import Final, final

import attrs
import trio

from exchanger.net.network import SYSTEM, RunSync
from exchanger.util.output import MANY_BYTES, SURE_BYTES, Output

# A quarter of a second of decisions at 40,000 a second, more than one core answers.
MAX_LINES: Final = 10_000
# MAX_LINES of 400 bytes, a long decision line.
MAX_BYTES: Final = 4 * 1024 * 1024
# Lines are collected this long before they are written together: short for someone who watches, long enough for one write of many.
BATCH_S: Final = 0.05
# A batch is given up if it is not read for this long; a collector that restarts is back sooner.
PATIENCE_S: Final = 5.0
# The same for a line that is written without the task: a start or an exit must not hang on it.
DIRECT_PATIENCE_S: Final = 1.0
# For the rest of the buffer at the end; a small part of the 30 s that Kubernetes gives a pod to stop.
FLUSH_S: Final = 2.0
# At most one line about dropped lines in this time: it must not displace other lines.
NOTICE_S: Final = 1.0


@enum.unique
class Mode(enum.Enum):
    """Where a line goes: out at once, into the buffer, or nowhere because the last flush was not read."""

    DIRECT = "direct"
    BUFFERED = "buffered"
    STUCK = "stuck"


# Looked up once, not for each line.
_BUFFERED: Final = Mode.BUFFERED


@final
@attrs.define(eq=False)
class LogWriter:
    """Takes lines from any thread and never blocks the event loop's.

    ``notice`` makes the line that says how many were dropped. ``accepted`` and ``dropped`` count lines from the start.
    """

    _output: Output
    _notice: Callable[[int], bytes]
    _run_sync: RunSync = SYSTEM.run_sync
    _max_lines: int = MAX_LINES
    _max_bytes: int = MAX_BYTES
    _mode: Mode = attrs.field(default=Mode.DIRECT, init=False)
    _lines: deque[bytes] = attrs.field(factory=deque, init=False)
    _bytes: int = attrs.field(default=0, init=False)
    accepted: int = attrs.field(default=0, init=False)
    dropped: int = attrs.field(default=0, init=False)
    _noticed: int = attrs.field(default=0, init=False)
    _notice_after: float = attrs.field(default=0.0, init=False)
    _awake: bool = attrs.field(default=False, init=False)
    _end: trio.Event = attrs.field(factory=trio.Event, init=False)
    _wake: trio.Event = attrs.field(factory=trio.Event, init=False)
    _loop: trio.lowlevel.TrioToken | None = attrs.field(default=None, init=False)
    _loop_thread: int = attrs.field(default=0, init=False)
    # Held for a few instructions. Reentrant, because a finalizer that runs in the middle of them may log too.
    _lock: threading.RLock = attrs.field(factory=threading.RLock, init=False)
    _limiter: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1), init=False)

    def put(self, *lines: bytes) -> None:
        """Add lines, without their newlines; drop those for which there is no room. Callable from any thread."""
        with self._lock:
            mode = self._mode
            if mode is _BUFFERED:
                size = self._bytes + sum(map(len, lines)) + len(lines)
                if len(self._lines) + len(lines) > self._max_lines or size > self._max_bytes:
                    if len(lines) > 1:
                        for line in lines:  # some may have room
                            self.put(line)
                    else:
                        self.dropped += len(lines)
                    return
                self.accepted += len(lines)
                self._lines.extend(lines)
                self._bytes = size
                if self._awake:
                    return
                self._awake = True
            elif mode is Mode.STUCK:
                self.dropped += len(lines)
                return
            else:
                self.accepted += len(lines)
        if mode is _BUFFERED:
            self._wake_up()
        else:
            self._lost(self._output.write(b"\n".join(lines) + b"\n", patience=DIRECT_PATIENCE_S, at_once=SURE_BYTES))

    def lose(self) -> None:
        """Count a line that could not be made."""
        with self._lock:
            self.dropped += 1

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write lines in batches until cancelled; then write what is left, for at most ``FLUSH_S`` seconds. Runs once."""
        self._loop = trio.lowlevel.current_trio_token()
        self._loop_thread = threading.get_ident()
        last_words = trio.CancelScope(shield=True)
        async with trio.open_nursery() as nursery:
            self._mode = Mode.BUFFERED
            nursery.start_soon(self._write_batches, last_words)
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self._end.set()
                self._wake.set()
                last_words.deadline = trio.current_time() + FLUSH_S

    async def _write_batches(self, last_words: trio.CancelScope) -> None:
        with last_words:
            last = False
            while not self._end.is_set():
                await self._wake.wait()
                with trio.move_on_after(BATCH_S):
                    await self._end.wait()
                last = self._end.is_set()
                await self._write_batch()
            while self._lines or not last:  # what arrived, or was dropped, while the previous batch was being written
                last = True
                await self._write_batch()
        with self._lock:
            self._mode = Mode.STUCK if last_words.cancelled_caught else Mode.DIRECT
            self._lost(len(self._lines))
            self._lines.clear()
            self._bytes = 0

    async def _write_batch(self) -> None:
        with self._lock:
            lines = [*self._lines]
            self._lines.clear()
            self._bytes = 0
            self._awake = False
            self._wake = trio.Event()
        now, told = trio.current_time(), self._noticed
        if self.dropped > told and (self._end.is_set() or now >= self._notice_after):
            lines.append(self._notice(self.dropped - told))
            self._noticed = self.dropped
            self._notice_after = now + NOTICE_S
        if lines:
            # Abandoned only at the end, when FLUSH_S is over and the output takes nothing: such a thread dies with the process.
            lost = await self._run_sync(self._write, lines, abandon_on_cancel=True, limiter=self._limiter)
            if lost and self._noticed > told:  # the notice is the last line, so it is lost too: the next one must repeat its number
                lost, self._noticed = lost - 1, told
            self._lost(lost)

    def _write(self, lines: list[bytes]) -> int:
        return self._output.write(b"\n".join(lines) + b"\n", patience=PATIENCE_S, at_once=MANY_BYTES)

    def _lost(self, lines: int) -> None:
        if lines:
            with self._lock:
                self.accepted -= lines
                self.dropped += lines

    def _wake_up(self) -> None:
        if threading.get_ident() == self._loop_thread:
            self._wake.set()
        elif self._loop is not None:
            # The loop may be over before the mode has changed; the line is then dropped with the buffer.
            with contextlib.suppress(trio.RunFinishedError):
                self._loop.run_sync_soon(lambda: self._wake.set())  # noqa: PLW0108 - the event of that moment, not of this
