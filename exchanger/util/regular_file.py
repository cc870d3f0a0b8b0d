"""Opens a regular file, without waiting if it is something else, and says why a file cannot be read.

Must not know: what is in it.
"""

import os
import stat
from pathlib import Path
from typing import BinaryIO


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
