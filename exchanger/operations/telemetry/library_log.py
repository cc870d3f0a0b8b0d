"""Messages of libraries through the standard ``logging``, taken into our log or kept out of it.

HTTP clients put URLs and header names into their messages, so only libraries on the list are heard.
"""

import logging
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final, final

import structlog

# Their warnings are about tasks and folders, never about requests.
HEARD: Final = ("trio", "watchfiles")


@final
class LibraryHandler(logging.Handler):
    """Passes on name, message and the type of the exception; arguments and tracebacks are dropped."""

    def __init__(self, logger: structlog.stdlib.BoundLogger) -> None:
        super().__init__(logging.WARNING)
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, object] = {"logger": record.name, "message": record.getMessage()}
        if record.exc_info and record.exc_info[0] is not None:
            fields["error"] = record.exc_info[0].__name__
        if record.levelno >= logging.ERROR:
            self._logger.error("library.message", **fields)
        else:
            self._logger.warning("library.message", **fields)


@contextmanager
def libraries_heard(logger: structlog.stdlib.BoundLogger) -> Generator[None]:
    """While open: pass messages of the libraries in ``HEARD`` at level warning or above to ``logger``, and silence every other library."""
    handler = LibraryHandler(logger)
    silence = logging.NullHandler()
    root = logging.getLogger()
    before = [(heard, heard.level, heard.propagate) for heard in map(logging.getLogger, HEARD)]
    # Without any handler, logging would print warnings to stderr on its own.
    root.addHandler(silence)
    for heard, _, _ in before:
        heard.addHandler(handler)
        heard.setLevel(logging.WARNING)
        heard.propagate = False
    try:
        yield
    finally:
        for heard, level, propagate in before:
            heard.removeHandler(handler)
            heard.setLevel(level)
            heard.propagate = propagate
        root.removeHandler(silence)
