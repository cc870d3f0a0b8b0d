"""TLS of a client: its trust, and a transport over nested layers. Knows nothing of HTTP.

There is one layer to the token endpoint, and another one around it if an https proxy is used.

Source: RFC 9325 section 3.1.1 (https://www.rfc-editor.org/rfc/rfc9325#section-3.1.1).
"""

import socket
import ssl
from pathlib import Path
from typing import final

import attrs

from exchanger.net.tcp import SocketTransport, StreamEndedError
from exchanger.net.tls.layer import TlsLayer


def client_tls_context(ca_pem: str | None = None, *, ca_file: Path | None = None) -> ssl.SSLContext:
    """Return a context for a client that trusts the authorities in ``ca_pem`` or ``ca_file``: by default those of the system.

    These are its trust store, or SSL_CERT_FILE and SSL_CERT_DIR. Reads files, as OpenSSL does. Certificate and name are verified, and
    TLS 1.2 is the lowest version (RFC 9325 section 3.1.1).

    Raises:
        ssl.SSLError: there is no certificate in ``ca_pem`` or ``ca_file``, or a broken one.
        OSError: ``ca_file`` cannot be read.
    """
    # An empty text would mean the system's trust store, and comments between the certificates may be in any language.
    cadata = None if ca_pem is None else ca_pem.encode("ascii", "replace").decode("ascii") or "\n"
    context = ssl.create_default_context(cafile=ca_file, cadata=cadata)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # With SSLKEYLOGFILE in the environment, the keys to all tokens and passwords that are sent would be written to a file.
    # (The stub does not know that it can be unset.)
    context.keylog_filename = None  # type: ignore[assignment]
    return context


def encrypted(layers: list[TlsLayer], data: bytes) -> bytes:
    """Return the bytes for the socket for ``data`` of the innermost layer."""
    for layer in layers:
        data = layer.encrypt(data)
    return data


def decrypted(layers: list[TlsLayer], data: bytes) -> tuple[bytes, bool, bytes]:
    """Return the clear text of ``data`` from the socket, whether the peer ended its side, and what the layers themselves must send.

    ``layers`` start with the innermost.

    Raises:
        ssl.SSLError: see ``TlsLayer.decrypt``
    """
    ended, answer = False, b""
    for number in range(len(layers) - 1, -1, -1):
        layer = layers[number]
        data, over = layer.decrypt(data) if data else (b"", False)
        ended = ended or over
        if own := layer.to_send():
            answer += encrypted(layers[number + 1 :], own)
    return data, ended, answer


@final
@attrs.define(eq=False)
class ClientTlsTransport:
    """Implements ``Transport`` after the handshake, over ``layers``, the innermost first."""

    _below: SocketTransport
    _layers: list[TlsLayer]
    unsent: bool = attrs.field(default=False, init=False)
    extra_work: int = attrs.field(default=0, init=False)
    _ended: bool = attrs.field(default=False, init=False)

    @classmethod
    def over(cls, connected: socket.socket, layers: list[TlsLayer]) -> "SocketTransport | ClientTlsTransport":
        """Return the transport over a socket; without layers a plain one.

        Raises:
            OSError: the socket is already broken.
        """
        below = SocketTransport(connected)
        return cls(below, layers) if layers else below

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._below.fileno()

    @property
    def is_whole(self) -> bool:
        """Whether no half message was received, whose meaning would be unknown until the rest arrives."""
        return all(layer.is_whole for layer in self._layers)

    def receive(self, limit: int) -> bytes:
        """Read once, and decrypt everything. Messages of TLS itself (RFC 8446 section 4.6) are not data.

        Raises:
            BlockingIOError: see ``Transport``
            StreamEndedError: the peer broke TLS, or ended it with an alert. The message says which, in OpenSSL's words
        """
        if self._ended:
            return b""
        data = self._below.receive(limit)
        self.extra_work = len(data) // 512
        if not data:
            return data
        try:
            clear, self._ended, answer = decrypted(self._layers, data)
        except ssl.SSLError as error:
            # With TLS 1.3, this is how a client learns that its certificate is refused.
            raise StreamEndedError(f"TLS ended: {error.reason}" if error.reason else "") from None
        if answer and not self._below.send(answer):
            self.unsent = True
        if not clear and not self._ended:
            raise BlockingIOError
        return clear

    def send(self, data: bytes) -> bool:
        """Encrypt and send what the socket takes, and keep the rest."""
        try:
            data = encrypted(self._layers, data)
        except ssl.SSLError:
            raise StreamEndedError from None
        return self._below.send(data)

    def flush(self) -> bool:
        """Send what the socket takes of the rest."""
        sent = self._below.flush()
        self.unsent = self.unsent and not sent
        return sent

    def finish(self) -> None:
        """Shut down the sending side."""
        self._below.finish()

    def close(self) -> None:
        """Close the socket."""
        self._below.close()
