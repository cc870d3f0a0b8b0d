"""Whether there is room for one more connection, and word of it when there is none: once a minute, so that nobody floods the log.

Must not know: sockets, or what is done with a connection.
"""

import math
from collections.abc import Callable
from typing import Final, final

import attrs
import trio

QUIET_S: Final = 60.0
"""Seconds between two reports; the unit in which alerts on logs are usually set."""
NO_DESCRIPTORS: Final = "the process has no file descriptors left"


@final
@attrs.frozen
class AdmissionStatistics:
    """Connections that were ``accepted``, and ``refused``, that is closed at once or not taken from the queue, since the start."""

    accepted: int
    refused: int


@final
@attrs.define(eq=False)
class Admission:
    """Room for ``limit`` connections. ``on_refused`` learns why one was refused; it must neither block nor raise."""

    _limit: int
    _on_refused: Callable[[str], None]
    _accepted: int = attrs.field(default=0, init=False)
    _refused: int = attrs.field(default=0, init=False)
    _told: float = attrs.field(default=-math.inf, init=False)

    def admit(self, connections: int) -> bool:
        """Tell whether there is room beside ``connections``, and count the answer."""
        if connections < self._limit:
            self._accepted += 1
            return True
        self._refuse(f"there are {self._limit} connections already")
        return False

    def exhausted(self) -> None:
        """A connection waits and cannot be taken, as no file descriptor is left for it. Counts each try."""
        self._refuse(NO_DESCRIPTORS)

    def statistics(self) -> AdmissionStatistics:
        """Return the counts."""
        return AdmissionStatistics(self._accepted, self._refused)

    def _refuse(self, reason: str) -> None:
        self._refused += 1
        now = trio.current_time()
        if now >= self._told + QUIET_S:
            self._told = now
            self._on_refused(reason)
