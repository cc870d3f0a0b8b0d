"""Standard input and output of commands: output shows what the terminal can, and either may be closed.

Must not know: what is read or written.
"""

import errno
import io
import os
import sys
from typing import Final

from exchanger.model.errors import ExchangerError

# Status of a process that wrote to a pipe without a reader, as shells report the signal (128 + SIGPIPE).
BROKEN_PIPE: Final = 141
_PIECE: Final = 65_536  # bytes of one read
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class OutputError(ExchangerError):
    """The output cannot be written: its reader is gone, or there is no room for it."""


def prepare_output() -> None:
    """Make standard output and error accept every character, even if the terminal cannot show it, and exist even if they are closed."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123 - open for as long as the process runs
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def flush_output() -> None:
    """Write what standard output has buffered.

    Raises:
        BrokenPipeError: its reader is gone. The rest is discarded: the interpreter would try again at exit, and complain
        OSError: it cannot be written, for another reason; the same holds
    """
    try:
        sys.stdout.flush()
    except OSError:
        drop_output()
        raise


def no_room(fault: BaseException) -> str:
    """Return the reason if ``fault`` is that there was no room for the output, else ""; of a file opened by name, it is another."""
    return fault.strerror or "" if isinstance(fault, OSError) and fault.errno in _NO_ROOM and fault.filename is None else ""


def read_input(limit: int) -> bytes:
    """Return at most ``limit`` bytes of standard input; blocks until they have arrived or it ends.

    Python's buffer is bypassed: it has a lock, and an interpreter that ends while a thread holds it, waiting for input, aborts.
    """
    if sys.stdin is None:
        return b""
    source = getattr(sys.stdin.buffer, "raw", sys.stdin.buffer)
    pieces: list[bytes] = []
    while limit and (piece := source.read(min(limit, _PIECE))):
        pieces.append(piece)
        limit -= len(piece)
    return b"".join(pieces)


def drop_output() -> None:
    """Discard what standard output has buffered, and what is still written to it."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
