"""Handshakes, counted, and the failed ones reported: a few in a minute, so that nobody can flood the log from outside.

Must not know: TLS, sockets, or what the observer does.
"""

from typing import Final, final

import attrs
import trio

from exchanger.grpc.tls import TlsObserver

_WINDOW: Final = 60.0
"""Seconds for which lines are counted; the unit in which alerts on logs are usually set."""
LINES_PER_WINDOW: Final = 10
"""Enough to see that several clients fail for the same reason, or one for several."""


@final
@attrs.frozen
class HandshakeStatistics:
    """Handshakes that came to an end, and failures of this minute that were not reported yet."""

    completed: int
    failed: int
    unreported: int


@final
@attrs.define(eq=False)
class HandshakeLog:
    """Counts, and reports to the observer."""

    _observer: TlsObserver
    _completed: int = attrs.field(default=0, init=False)
    _failed: int = attrs.field(default=0, init=False)
    _lines: int = attrs.field(default=0, init=False)
    _unreported: int = attrs.field(default=0, init=False)

    async def run(self) -> None:
        """Report how many were left out, minute by minute, until cancelled."""
        while True:
            await trio.sleep(_WINDOW)
            if self._unreported:
                self._observer.handshake_failed("several peers", f"{self._unreported} more in the last minute, not reported one by one")
            self._lines = self._unreported = 0

    def completed(self) -> None:
        """A connection came to be."""
        self._completed += 1

    def failed(self, peer: str, reason: str) -> None:
        """A connection from ``peer`` did not, for ``reason``."""
        self._failed += 1
        if self._lines < LINES_PER_WINDOW:
            self._lines += 1
            self._observer.handshake_failed(peer, reason)
        else:
            self._unreported += 1

    def statistics(self) -> HandshakeStatistics:
        """Return the counts."""
        return HandshakeStatistics(self._completed, self._failed, self._unreported)
