"""The rate-limited log of failed TLS handshakes."""

from typing import Final, final

import attrs
import structlog
import trio

# Seconds for which lines are counted; alerts on logs usually count per minute.
_WINDOW: Final = 60.0

# Lines in that time, so that the log cannot be flooded from outside. Enough to see that several clients fail for the same reason, or one
# for several.
LINES_PER_WINDOW: Final = 10


@final
@attrs.define(eq=False)
class HandshakeLog:
    """Counts handshakes, and logs failed ones."""

    _log: structlog.stdlib.BoundLogger = attrs.field(factory=structlog.get_logger)
    completed: int = attrs.field(default=0, init=False)
    failed: int = attrs.field(default=0, init=False)
    _lines: int = attrs.field(default=0, init=False)
    _unreported: int = attrs.field(default=0, init=False)

    async def run(self) -> None:
        """Report how many lines were left out, each minute, until cancelled."""
        while True:
            await trio.sleep(_WINDOW)
            if self._unreported:
                self._write("several peers", f"{self._unreported} more in the last minute, not reported one by one")
            self._lines = self._unreported = 0

    def on_completed(self) -> None:
        """A handshake succeeded."""
        self.completed += 1

    def on_failed(self, peer: str, reason: str) -> None:
        """The handshake with ``peer`` failed for ``reason``."""
        self.failed += 1
        if self._lines < LINES_PER_WINDOW:
            self._lines += 1
            self._write(peer, reason)
        else:
            self._unreported += 1

    def _write(self, peer: str, reason: str) -> None:
        self._log.warning("tls.handshake_failed", peer=peer, reason=reason)
