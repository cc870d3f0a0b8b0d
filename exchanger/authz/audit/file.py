"""The file of the audit log, which others may move away: it is opened anew then. Blocking code, for one thread at a time."""

import contextlib
import os
import stat
from pathlib import Path
from typing import Final, final

import attrs

from exchanger.util.output import Descriptor

# The group may read: those who collect logs. O_NONBLOCK: opening a pipe that nobody reads fails instead of waiting.
_MODE: Final = 0o640
_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK


@final
@attrs.define(eq=False)
class AuditFile:
    """Implements ``Output``. ``problem`` says why the last lines could not be written, "" if they were."""

    path: Path
    problem: str = attrs.field(default="", init=False)
    _open: Descriptor | None = attrs.field(default=None, init=False)

    def write(self, data: bytes, /, *, patience: float, at_once: int) -> int:
        """Write ``data``; without any, only look whether the file is still in its place."""
        if self._open is not None and self._was_moved(self._open.fd):
            self.close()
        if self._open is None:
            try:
                self._open = self._opened()
            except OSError as error:
                self.problem = f"cannot be opened: {error.strerror or type(error).__name__}"
                return data.count(b"\n")
            self.problem = ""
        if not data:
            return 0
        lost = self._open.write(data, patience=patience, at_once=at_once)
        self.problem = f"cannot be written: {self._open.problem}" if lost else ""
        if lost and not self._is_regular(self._open.fd):  # the reader of this pipe may be gone for good
            self.close()
        return lost

    def close(self) -> None:
        """Close the file; the next write opens it."""
        if self._open is not None:
            with contextlib.suppress(OSError):  # what the close of a file reports was not written is lost in any case
                os.close(self._open.fd)
            self._open = None

    def _opened(self) -> Descriptor:
        """Return the file, open for appending. A line that its last writer tore must not become the beginning of another one."""
        descriptor = os.open(self.path, _FLAGS, _MODE)
        found = os.fstat(descriptor)
        torn = False
        if stat.S_ISREG(found.st_mode) and found.st_size:
            try:
                with open(self.path, "rb") as file:  # noqa: PTH123 - ``path`` has no shorter way to read a part
                    file.seek(-1, os.SEEK_END)
                    torn = file.read() != b"\n"
            except OSError:  # it may not be read: an empty line does no harm
                torn = True
        return Descriptor(descriptor, torn)

    def _was_moved(self, descriptor: int) -> bool:
        try:
            there, here = self.path.stat(), os.fstat(descriptor)
        except OSError:
            return True
        return (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino)

    @staticmethod
    def _is_regular(descriptor: int) -> bool:
        return stat.S_ISREG(os.fstat(descriptor).st_mode)
