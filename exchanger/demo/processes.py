"""Processes that live exactly as long as the task that runs them.

A child is ended by its process id: asked by SIGTERM, killed after a bound, and waited for in every case, so that none is left behind by an
interrupt, a failure or a cancellation. Each is in a process group of its own: the terminal's Ctrl-C reaches the demo alone, which stops its
children in order.

Must not know: what the processes do.
"""

import os
import subprocess
from pathlib import Path
from typing import BinaryIO, final

import attrs
import trio

from exchanger.demo.faults import ChildEndedError, DemoError
from exchanger.util.text import printable

STOP_GRACE = 10.0  # seconds between SIGTERM and SIGKILL: the service's drain of a demo's few requests ends within two
KILL_BOUND = 5.0  # seconds for a killed process to be gone; only a hung kernel or device takes longer
TAIL_BYTES = 4_096  # of a log: the last twenty lines or so


@final
@attrs.frozen
class ChildStatistics:
    """What became of a child: its process id once started, its exit status once ended (negative: the signal that ended it)."""

    pid: int | None
    exit_status: int | None


@attrs.define(eq=False)
class Child:
    """One process: what to run, with which environment (all of it), and the file that takes its output."""

    name: str
    command: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    log: Path
    grace: float = STOP_GRACE
    _process: trio.Process | None = None
    _wanted: bool = True

    def statistics(self) -> ChildStatistics:
        """Return the process id and the exit status."""
        if self._process is None:
            return ChildStatistics(pid=None, exit_status=None)
        return ChildStatistics(pid=self._process.pid, exit_status=self._process.returncode)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the process until it ends, ``stop`` is called or this task is cancelled; ``started()`` when it exists.

        Raises:
            ChildEndedError: it ended although nobody had stopped it; the message has the end of its log.
            DemoError: it cannot be started.
        """
        try:
            with _open_log(self.log) as log:
                self._process = await trio.lowlevel.open_process(
                    self.command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=dict(self.environment),
                    process_group=0,
                )
        except OSError as error:
            raise DemoError(f"{self.name} cannot be started: {error.strerror}: {self.command[0]}") from error
        try:
            task_status.started()
            await self._process.wait()
        finally:
            # The process must not outlive this task, so even a cancelled task waits; _end is bounded.
            with trio.CancelScope(shield=True):
                await self._end(self._process)
        if self._wanted:
            raise ChildEndedError(f"{self.name} ended by itself ({describe_exit(self._process.returncode)})\n{self.log_tail()}")

    async def stop(self) -> int | None:
        """End the process, which must have been started, and return its exit status."""
        self._wanted = False
        if self._process is None:
            return None
        await self._end(self._process)
        return self._process.returncode

    def log_tail(self) -> str:
        """Return the end of the log, ready to be shown below a message; undecodable bytes and control characters are replaced."""
        return tail_of(self.log)

    async def _end(self, process: trio.Process) -> None:
        if process.returncode is None:
            process.terminate()
            with trio.move_on_after(self.grace):
                await process.wait()
        if process.returncode is None:
            process.kill()
            with trio.move_on_after(KILL_BOUND):
                await process.wait()


def describe_exit(status: int | None) -> str:
    """Return an exit status in words."""
    if status is None:
        return "still running"
    return f"signal {-status}" if status < 0 else f"exit status {status}"


def tail_of(log: Path) -> str:
    """Return the last lines of ``log``, at most ``TAIL_BYTES``, indented; a sentence instead when there is nothing."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    if not lines:
        return f"    (nothing in {log})"
    shown = (printable(line) for line in lines)
    return "\n".join(f"    {line}" for line in shown)


def _open_log(path: Path) -> BinaryIO:
    return path.open("wb")
