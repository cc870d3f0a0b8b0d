"""The TLS listener's settings, and the rate-limited log of failed handshakes."""

from pathlib import Path
from typing import Final, final

import attrs
import structlog
import trio

# Seconds between reads of the files. A read costs 0.3 ms in a thread, which is no load, and a new certificate is in use before an operator
# can check. Certificates are replaced days before they expire.
POLL_INTERVAL: Final = 1.0


@final
@attrs.frozen
class TlsSettings:
    """Where to listen with TLS (``port`` 0: any free one), and the PEM files that prove the server's identity.

    ``cert_file`` has this server's certificate first, then those that lead to its CA; ``key_file`` the key, not encrypted. With
    ``client_ca_file`` every client must show a certificate of a CA in it (mTLS). There are no revocation lists: a client's access ends when
    its certificate expires, or when its CA is removed from the file.

    All three are read again every ``poll_interval`` seconds. Changes apply to new connections. ``protocols`` are those that the server
    offers (ALPN, RFC 7301).
    """

    port: int = attrs.field(default=3000, kw_only=True)
    cert_file: Path = attrs.field(kw_only=True)
    key_file: Path = attrs.field(kw_only=True)
    client_ca_file: Path | None = attrs.field(default=None, kw_only=True)
    poll_interval: float = attrs.field(default=POLL_INTERVAL, kw_only=True)
    protocols: tuple[str, ...] = attrs.field(default=("h2",), kw_only=True)

    @property
    def required_protocol(self) -> str | None:
        """The protocol without which a handshake fails: HTTP/2, if it is offered (RFC 9113 section 3.2)."""
        return "h2" if "h2" in self.protocols else None


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
