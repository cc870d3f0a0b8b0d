"""Processes that exist exactly as long as the task that runs them.

A child is ended by its process id: with SIGTERM, then SIGKILL after a bound, and always waited for, so that no interrupt, failure or
cancellation leaves one behind. Each is in its own process group: a terminal's Ctrl-C reaches only the demo, which stops its children
in order.
"""

import os
import subprocess
from pathlib import Path
from typing import BinaryIO

import attrs
import trio

from exchanger.commands.demo import DemoError
from exchanger.util.text import printable

STOP_GRACE = 10.0  # seconds between SIGTERM and SIGKILL: the service's drain of a demo's few requests ends within two
KILL_BOUND = 5.0  # seconds for a killed process to be gone; only a hung kernel or device takes longer
TAIL_BYTES = 4_096  # of a log: the last twenty lines or so


class ChildEndedError(DemoError):
    """A process that must run as long as the demo ended unexpectedly."""


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

    @property
    def pid(self) -> int | None:
        """The process id, once it was started."""
        return None if self._process is None else self._process.pid

    @property
    def exit_status(self) -> int | None:
        """The exit status, once it has ended; negative for the signal that ended it."""
        return None if self._process is None else self._process.returncode

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the process until it ends, ``stop`` is called or this task is cancelled; ``started()`` when it exists.

        Raises:
            ChildEndedError: it ended without being stopped; the message has the end of its log
            DemoError: it cannot be started
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
            raise ChildEndedError(f"{self.name} exited unexpectedly ({describe_exit(self._process.returncode)})\n{self.log_tail()}")

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
    return "\n".join(f"    {printable(line)}" for line in lines)


def _open_log(path: Path) -> BinaryIO:
    return path.open("wb")
