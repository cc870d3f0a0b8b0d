"""Child processes that never outlive the test run, each known by its process id."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final

import attrs

LEASH: Final = Path(__file__).with_name("leash.py")
# Seconds: an API server that is told to end takes about two.
STOP_S: Final = 30.0
# For programs in Go: a fifth less CPU to start an API server with. It collects garbage when its heap has grown by so many per cent.
FRUGAL: Final = {"GOMAXPROCS": "1", "GOGC": "400", "GOMEMLIMIT": "768MiB"}


class ProcessError(Exception):
    """A child process is not what it should be; the message has the end of its log."""


@attrs.define(eq=False)
class Leash:
    """Holds processes; those that are not let go are killed when this process ends in whatever way."""

    _process: subprocess.Popen[str] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        # A session of its own: an interrupt from the keyboard is for the tests, and they end what they started.
        self._process = subprocess.Popen([sys.executable, str(LEASH)], stdin=subprocess.PIPE, text=True, start_new_session=True)

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def hold(self, pid: int) -> None:
        """Kill ``pid`` at the end."""
        self._tell(f"+ {pid}")

    def let_go(self, pid: int) -> None:
        """Leave ``pid`` alone: it has ended, and the number may come to mean another process."""
        self._tell(f"- {pid}")

    def close(self) -> None:
        """End it, and with it whatever is still held."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(STOP_S)


@attrs.define(eq=False)
class Child:
    """One program that may be started, stopped, killed and started again; its output goes to ``log``."""

    program: Path
    log: Path
    leash: Leash
    _process: subprocess.Popen[bytes] | None = attrs.field(default=None, init=False)
    _output: IO[bytes] | None = attrs.field(default=None, init=False)

    @property
    def pid(self) -> int:
        """The process id; the program must have been started."""
        assert self._process is not None
        return self._process.pid

    def running(self) -> bool:
        """Return whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self, arguments: tuple[str, ...]) -> None:
        """Start it; it must not be running."""
        assert not self.running()
        self._output = self.log.open("ab")
        self._process = subprocess.Popen(
            [self.program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **FRUGAL},
        )
        self.leash.hold(self._process.pid)

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it by ``number``, and by SIGKILL when that does not help; nothing happens when it is not running."""
        process, output = self._process, self._output
        if process is None or output is None:
            return
        process.send_signal(number)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self.leash.let_go(process.pid)
        output.close()
        self._process = self._output = None

    def tail(self) -> str:
        """Return the end of its log."""
        return self.log.read_text("utf-8", "replace")[-4000:] if self.log.exists() else ""


def wait_until(ready: Callable[[], bool], child: Child, seconds: float) -> None:
    """Wait until ``ready()``; raise ``ProcessError`` when ``child`` ends before, or ``seconds`` pass."""
    deadline = time.monotonic() + seconds
    while not ready():
        if not child.running() or time.monotonic() > deadline:
            raise ProcessError(f"{child.program.name} is not ready\n{child.tail()}")
        time.sleep(0.05)
