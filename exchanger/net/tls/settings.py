"""The TLS listener's settings. It imports little, since ``exchanger health`` reads them at every probe."""

from pathlib import Path
from typing import Final, final

import attrs

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
