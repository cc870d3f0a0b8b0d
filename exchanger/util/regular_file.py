"""Reads a regular file, without waiting if it is something else, or says why it cannot be read.

Must not know: what is in it.
"""

import os
import stat
from pathlib import Path
from typing import BinaryIO, final

import attrs


class NotRegularError(OSError):
    """The path leads to a folder, a pipe or a device."""


def open_regular(path: Path) -> BinaryIO:
    """Return the file at ``path``, open for reading bytes; the caller closes it.

    Opening a pipe waits for its other end, perhaps for ever, except in the mode that is used here; for files it makes no difference.

    Raises:
        NotRegularError: it is not a regular file.
        OSError: it cannot be opened.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        file = os.fdopen(descriptor, "rb")
    except OSError:  # a folder: no other code closes it then
        os.close(descriptor)
        raise
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise NotRegularError(0, "is not a regular file")


def unreadable(error: OSError | ValueError) -> str:
    """Return why a file cannot be read, in words that follow its name. A path with a NUL is a ``ValueError``."""
    return f"cannot be read: {(error.strerror or type(error).__name__) if isinstance(error, OSError) else 'it is not a path'}"


@final
@attrs.frozen
class UnusableFile:
    """Why a file cannot be used, in words for operators that follow its name. They never quote the file."""

    reason: str


def read_regular(path: Path, max_bytes: int) -> bytes | UnusableFile:
    """Return the content of the file, at most ``max_bytes`` and one more: then it is too long. Blocks."""
    try:
        with open_regular(path) as file:
            return file.read(max_bytes + 1)
    except NotRegularError:
        return UnusableFile("must be a file, not a folder or a pipe")
    except OSError as error:
        return UnusableFile(unreadable(error))


def read_text(path: Path, max_bytes: int) -> str | UnusableFile:
    """Return the text in the file, of at most ``max_bytes``. Blocks."""
    data = read_regular(path, max_bytes)
    if isinstance(data, UnusableFile):
        return data
    if len(data) > max_bytes:
        return UnusableFile(f"must have at most {max_bytes} bytes")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return UnusableFile("must be text in UTF-8")
