"""The audit log: takes decisions, makes lines, and writes them in a thread of its own, so that no turn of the reactor waits for a disk.

With AUDIT_REQUIRED an allow waits here as a row until the write of its line has returned. Otherwise lines wait in a bounded buffer, and
those without room are lost and counted. Refusals have a queue of their own (``refusals``).
"""

import functools
from collections import deque
from collections.abc import Callable
from typing import Final, NoReturn, final

import attrs
import structlog
import trio

from exchanger.authz.audit.identities import AuditKeys, read_audit_keys
from exchanger.authz.audit.line import LineWriter, is_granted, is_refused
from exchanger.authz.audit.refusals import RefusalLine, Refusals
from exchanger.authz.audit.settings import AuditSettings
from exchanger.authz.decision.outcome import DecisionRecord
from exchanger.net.network import Network
from exchanger.net.reactor import Reactor
from exchanger.net.timers import NEVER
from exchanger.util.follow_file import HANGS, FileFollower
from exchanger.util.output import MANY_BYTES, Output
from exchanger.util.regular_file import UnusableFile

# Lines that wait: a second of what one core answers from the cache, as many bytes as that are, and more than a slow disk needs.
MAX_LINES: Final = 20_000
MAX_BYTES: Final = 16 * 1024 * 1024
# Lines that nothing waits for are collected this long before they are written together.
BATCH_S: Final = 0.05
# Between two looks whether the file is still in its place, and whether counted refusals are due.
LOOK_S: Final = 0.25
# After this time without progress a log counts as broken; gateways wait less. It is counted in looks, of which a process that stands still
# misses all but one: its own pause says nothing about the disk.
PATIENCE_S: Final = 1.0
_LOOKS: Final = 4
# Seconds that a row gets if the process noticed so much too late that its time was up: the write had no time either.
SPARE_S: Final = 0.1
# Between two attempts to write to a broken log.
RETRY_S: Final = 0.5
# A row waits no longer than this, and a request whose gateway does not say how long it waits takes no longer, exchange included. It is the
# default limit of an exchange.
ROW_S: Final = 0.75
# For the rest at the end: a small part of the 30 s that Kubernetes gives a pod to stop.
FLUSH_S: Final = 2.0
# Between two lines about losses in the service's log.
NOTICE_S: Final = 60.0
_REFUSING: Final = "exchanges are refused until it can be written"
_WAITING: Final = "lines wait until it can be written, and are lost when there are too many"
# Rows that are answered in one turn, at some 50 µs each with their records.
_TOLD_AT_ONCE: Final = 64


@final
@attrs.define(eq=False)
class PendingLine:
    """A line that is not written yet. ``done`` gets whether it was, ``None`` if nothing waits for it. See ``Ticket`` and ``Timed``."""

    log: "AuditLog"
    line: bytes
    done: Callable[[bool], None] | None = None
    due: float = NEVER
    until: float = NEVER
    queued: bool = False

    def expect(self, until: float) -> None:
        """Wait until this time (seconds of Trio's clock) at most."""
        self.until = until
        self.log.reactor.timers.expect(self, until)

    def leave(self) -> None:
        """Give up the request. A line that is on its way to the disk is written nevertheless."""
        self.done, self.due = None, NEVER
        self.log.cancel(self)

    def on_due(self, now: float) -> None:
        """The request's time is up."""
        if now - self.until > SPARE_S:
            self.expect(now + SPARE_S)
            return
        done = self.done
        self.leave()
        if done is not None:
            done(False)

    def end(self, *, written: bool) -> None:
        """The write of this line has returned."""
        done, self.done, self.due = self.done, None, NEVER
        if done is not None:
            done(written)


@final
@attrs.frozen
class AuditCounts:
    """Lines written and lost since the start, and whether the log is known not to be written at present."""

    written: int
    lost: int
    broken: bool


@final
@attrs.define(eq=False)
class AuditLog:
    """Observes decisions; with ``required`` it also keeps allows back until their lines are written.

    ``written`` and ``lost`` count lines from the start.
    """

    settings: AuditSettings
    output: Output
    reactor: Reactor
    stamp: Callable[[], str]
    network: Network
    required: bool = attrs.field(init=False)
    written: int = attrs.field(default=0, init=False)
    lost: int = attrs.field(default=0, init=False)
    _lines: LineWriter = attrs.field(init=False)
    _keys: "_KeysLearnt" = attrs.field(init=False)
    _refusals: Refusals = attrs.field(init=False)
    _queue: deque[PendingLine] = attrs.field(factory=deque, init=False)
    _bytes: int = attrs.field(default=0, init=False)
    _running: bool = attrs.field(default=False, init=False)
    _failed: bool = attrs.field(default=False, init=False)
    # The looks since the write began that has not returned, ``None`` without one.
    _looks: int | None = attrs.field(default=None, init=False)
    # What a thread is writing at present.
    _on_its_way: tuple[list[PendingLine], list[RefusalLine]] = attrs.field(factory=lambda: ([], []), init=False)
    _told_broken: bool = attrs.field(default=False, init=False)
    _told_lost: int = attrs.field(default=0, init=False)
    _wake: trio.Event = attrs.field(factory=trio.Event, init=False)
    _end: trio.Event = attrs.field(factory=trio.Event, init=False)
    _limiter: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1), init=False)
    _log: structlog.stdlib.BoundLogger = attrs.field(factory=structlog.get_logger, init=False)

    def __attrs_post_init__(self) -> None:
        self.required = self.settings.required
        self._lines = LineWriter(self.stamp, self.settings.keys[0] if self.settings.keys else None)
        self._keys = _KeysLearnt(self._lines, self.settings.keys)
        self._refusals = Refusals(self._lines, self.network.steady)

    @property
    def is_broken(self) -> bool:
        """Whether the log is known not to be written at present."""
        return self._failed or (self._looks is not None and self._looks > _LOOKS)

    @property
    def counts(self) -> AuditCounts:
        """What the metrics say."""
        return AuditCounts(self.written, self.lost, self.is_broken)

    @property
    def unreadable(self) -> tuple[str, ...]:
        """The variable that names the file of keys, if the file cannot be used as it is now."""
        return ("AUDIT_KEY_FILE",) if self._keys.unreadable else ()

    def decided(self, record: DecisionRecord, /) -> None:
        if is_granted(record):
            if not self.required:
                self._put(PendingLine(self, self._lines.line(record)))
        elif is_refused(record):
            if not self._running:
                self.lost += 1
                return
            self._refusals.add(record)
            if self._refusals.has_lines:
                self._wake.set()

    def write(self, record: DecisionRecord, deadline: float, done: Callable[[bool], None]) -> PendingLine | None:
        """Write the line about an allow, and tell ``done`` later, and by ``deadline``, whether that was possible.

        ``None`` if it is not possible.
        """
        if self.is_broken:
            return None
        row = PendingLine(self, self._lines.line(record), done)
        if not self._put(row):
            return None
        row.expect(min(deadline, self.reactor.now() + ROW_S))
        return row

    def cancel(self, row: PendingLine) -> None:
        """Cancel ``row``: if it is still in the queue, it is not written."""
        if row.queued:
            self._bytes -= len(row.line)
            row.line = b""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write lines until cancelled; then write what is left, for at most ``FLUSH_S`` seconds. Runs once."""
        last_words = trio.CancelScope(shield=True)
        async with trio.open_nursery() as nursery:
            self._running = True
            nursery.start_soon(self._write_batches, last_words)
            nursery.start_soon(self._watch)
            if self.settings.key_file is not None:
                read = functools.partial(read_audit_keys, self.settings.key_file)
                follower: FileFollower[AuditKeys | UnusableFile] = FileFollower(read, UnusableFile(HANGS), self.network.run_sync)
                nursery.start_soon(follower.run_settled, self._keys.learn)
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self._running = False
                self._end.set()
                self._wake.set()
                last_words.deadline = trio.current_time() + FLUSH_S

    def _put(self, line: PendingLine) -> bool:
        if not self._running or len(self._queue) >= MAX_LINES or self._bytes + len(line.line) > MAX_BYTES:
            self.lost += line.done is None
            return False
        line.queued = True
        self._queue.append(line)
        self._bytes += len(line.line)
        self._wake.set()
        return True

    async def _write_batches(self, last_words: trio.CancelScope) -> None:
        with last_words:
            while not self._end.is_set():
                await self._write_batch()
                if self._failed:
                    with trio.move_on_after(RETRY_S):
                        await self._end.wait()
                    continue
                with trio.move_on_after(LOOK_S):
                    await self._wake.wait()
                if not self.required:
                    with trio.move_on_after(BATCH_S):
                        await self._end.wait()
            await self._write_batch()
        self._refusals.put_back(self._on_its_way[1])
        left = [*self._on_its_way[0], *self._take()]
        self.lost += self._refusals.unwritten + sum(row.done is None for row in left)
        self._tell_lost()
        await self._tell_rows(left, written=False)

    def _take(self) -> list[PendingLine]:
        rows = [row for row in self._queue if row.line]
        self._queue.clear()
        self._bytes = 0
        for row in rows:
            row.queued = False
        return rows

    async def _write_batch(self) -> None:
        """Write what is waiting, once."""
        self._wake = trio.Event()
        rows = self._take()
        refused = self._refusals.take(counted=not self._failed, last=self._end.is_set())
        if self._end.is_set():
            self._wake.set()
        self._looks, self._on_its_way = 0, (rows, refused)
        # Abandoned only at the end, when FLUSH_S is over and the output takes nothing: such a thread dies with the process.
        granted_text, refused_text = b"".join([row.line for row in rows]), b"".join([line.text for line in refused])
        granted_lost, refused_lost = await self.network.run_sync(
            self._write, granted_text, refused_text, abandon_on_cancel=True, limiter=self._limiter
        )
        self._looks, self._on_its_way = None, ([], [])
        self._failed = bool(granted_lost or refused_lost or self.output.problem)
        self._refusals.put_back(refused[len(refused) - refused_lost :])
        self.written += len(rows) + len(refused) - granted_lost - refused_lost
        self._tell_state()
        at = len(rows) - granted_lost
        await self._tell_rows(rows[:at], written=True)
        if self.required:
            await self._tell_rows([*rows[at:], *(self._take() if self._failed else ())], written=False)
        else:  # in front of those that came meanwhile
            self._queue.extendleft(reversed(rows[at:]))
            self._bytes += sum(len(row.line) for row in rows[at:])

    def _write(self, granted: bytes, refused: bytes) -> tuple[int, int]:
        """Write both, and return how many lines of each were not written. Refusals come last, so they delay no one."""
        lost = self.output.write(granted, patience=PATIENCE_S, at_once=MANY_BYTES)
        if lost or not refused:
            return lost, refused.count(b"\n")
        return 0, self.output.write(refused, patience=PATIENCE_S, at_once=MANY_BYTES)

    async def _tell_rows(self, rows: list[PendingLine], *, written: bool) -> None:
        """Answer the requests that wait for ``rows``, some in each turn."""
        for start in range(0, len(rows), _TOLD_AT_ONCE):
            some = rows[start : start + _TOLD_AT_ONCE]
            self.reactor.turn(functools.partial(_end_all, some, written=written))
            await trio.lowlevel.checkpoint()

    def _tell_state(self) -> None:
        broken = self.is_broken
        if broken != self._told_broken:
            self._told_broken = broken
            if broken:
                text = _REFUSING if self.required else _WAITING
                self._log.error("audit.unwritable", reason=self.output.problem or "a write does not return", text=text)
            else:
                self._log.info("audit.writable")

    async def _watch(self) -> NoReturn:
        """Say in the service's log when a write hangs, and how many lines were lost."""
        due = -NEVER
        while True:
            await trio.sleep(PATIENCE_S / _LOOKS)
            if self._looks is not None:
                self._looks += 1
            self._tell_state()
            if self.lost > self._told_lost and trio.current_time() >= due:
                due = trio.current_time() + NOTICE_S
                self._tell_lost()

    def _tell_lost(self) -> None:
        if lost := self.lost - self._told_lost:
            self._told_lost = self.lost
            self._log.warning("audit.lines_lost", lines=lost)


def _end_all(rows: list[PendingLine], *, written: bool) -> None:
    for row in rows:
        row.end(written=written)


@final
@attrs.define(eq=False)
class _KeysLearnt:
    """Uses the keys of each version of the file; an unusable one changes nothing, and is ``unreadable``."""

    lines: LineWriter
    _seen: AuditKeys | UnusableFile
    _log: structlog.stdlib.BoundLogger = attrs.field(factory=structlog.get_logger, init=False)
    unreadable: bool = attrs.field(default=False, init=False)

    def learn(self, found: AuditKeys | UnusableFile) -> None:
        """Take note of what the file holds now."""
        if found == self._seen:
            return
        self._seen = found
        self.unreadable = isinstance(found, UnusableFile)
        if isinstance(found, UnusableFile):
            self._log.error("audit.keys_unusable", reason=found.reason, text="identities are written with the previous key")
        else:
            self.lines.use_key(found[0])
            self._log.info("audit.keys_loaded", keys=len(found), key=found[0].id)
