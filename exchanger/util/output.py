"""The output of log lines: a file descriptor that may be an unread pipe, or a full disk.

Blocking code, for a thread or for the time when no event loop runs.
"""

import os
import select
import threading
from typing import Final, Protocol, final

import attrs

STDOUT: Final = 1
# A ready pipe accepts this many without blocking (pipe(7)), so a write that offers no more at once keeps to its time limit exactly.
SURE_BYTES: Final = select.PIPE_BUF
# For a thread beside a busy event loop: each write releases the interpreter lock and must get it back, so there must be few of them.
MANY_BYTES: Final = 256 * 1024

_UNREAD: Final = "nobody reads it, or too slowly"


class Output(Protocol):
    """Takes finished lines. ``problem`` says why the last ones were not written, "" if they were."""

    problem: str

    def write(self, data: bytes, /, *, patience: float, at_once: int) -> int:
        """Write ``data``, whole lines each ended by a newline; give up when the output has accepted nothing for ``patience`` seconds.

        ``at_once`` bounds the bytes of a single write, SURE_BYTES or MANY_BYTES; with MANY_BYTES, a reader who stops in the middle blocks
        the calling thread until it continues or closes. Returns how many lines were not written. Must not raise: there is nowhere left to
        report it.
        """


@final
@attrs.define(eq=False)
class Descriptor:
    """An open file descriptor, left in the mode that it is in: others may share it.

    ``_torn``: the last write ended within a line, so the next one starts a new line. Threads take turns, so that no line splits another.
    """

    fd: int = STDOUT
    _torn: bool = False
    problem: str = attrs.field(default="", init=False)
    _turn: threading.Lock = attrs.field(factory=threading.Lock, init=False)

    def write(self, data: bytes, /, *, patience: float, at_once: int) -> int:
        if not self._turn.acquire(timeout=patience):
            self.problem = _UNREAD
            return data.count(b"\n")
        try:
            torn = self._torn
            if torn:
                data = b"\n" + data
            written = self._write(memoryview(data), patience, at_once)
            if written:
                self._torn = data[written - 1 : written] != b"\n"
            return data.count(b"\n", written) - (torn and not written)  # the end of the torn line is not one of them
        finally:
            self._turn.release()

    def _write(self, data: memoryview, patience: float, at_once: int) -> int:
        """Return how many bytes went out."""
        poll = select.poll()
        poll.register(self.fd, select.POLLOUT)
        self.problem = ""
        written = 0
        while written < len(data):
            if not poll.poll(patience * 1000):
                self.problem = _UNREAD
                break
            try:
                written += os.write(self.fd, data[written : written + at_once])
            except BlockingIOError:
                continue  # the descriptor is in non-blocking mode and another writer was faster
            except OSError as error:
                self.problem = error.strerror or type(error).__name__
                break  # the reader is gone, the disk is full: the lines are lost, the service continues
        return written
