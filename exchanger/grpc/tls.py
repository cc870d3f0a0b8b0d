"""The TLS listener's vocabulary: what it is given, and what it tells of certificates and handshakes.

Must not know: OpenSSL, sockets or tasks.
"""

from pathlib import Path
from typing import Final, Protocol, final

import attrs

from exchanger.grpc.x509 import CertificateInfo

POLL_INTERVAL: Final = 1.0
"""Seconds between looks at the files. A look costs 0.3 ms in a thread, so this is no load, and a new certificate is in use before
whoever installed it has looked; certificates are replaced days before they end."""


@final
@attrs.frozen
class TlsSettings:
    """Where to listen with TLS (``port`` 0: any free one), and the PEM files to prove who this is.

    ``cert_file`` has this server's certificate first, then those that lead to its authority; ``key_file`` the key, not encrypted. With
    ``client_ca_file`` every client must show a certificate of an authority in it (mTLS). There are no revocation lists: what a client's
    certificate may no longer do ends with its validity, or with its authority's removal from the file.

    All three are read again every ``poll_interval`` seconds, and what changed counts for new connections.
    """

    port: int = attrs.field(default=3000, kw_only=True)
    cert_file: Path = attrs.field(kw_only=True)
    key_file: Path = attrs.field(kw_only=True)
    client_ca_file: Path | None = attrs.field(default=None, kw_only=True)
    poll_interval: float = attrs.field(default=POLL_INTERVAL, kw_only=True)


class TlsObserver(Protocol):
    """Learns of certificates and handshakes; must neither block nor raise. Nothing that it is told is secret."""

    def certificates_loaded(self, info: CertificateInfo) -> None:
        """From now on new connections get this certificate, and the client authorities that were read with it."""

    def certificates_rejected(self, reason: str) -> None:
        """The files cannot be used as they are now; the certificate before stays. Told once for each content of the files."""

    def handshake_failed(self, peer: str, reason: str) -> None:
        """A connection from ``peer`` (address and port) did not come to be. Told of a few in a minute, and how many others there were."""


@final
@attrs.frozen
class SilentTlsObserver:
    """An observer that keeps everything to itself."""

    def certificates_loaded(self, info: CertificateInfo) -> None:
        """See ``TlsObserver``."""

    def certificates_rejected(self, reason: str) -> None:
        """See ``TlsObserver``."""

    def handshake_failed(self, peer: str, reason: str) -> None:
        """See ``TlsObserver``."""
