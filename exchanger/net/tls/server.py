"""TLS of servers in the reactor: a layer above the plain socket, with limits on handshakes and on bytes encrypted ahead.

Bytes that the session sends before the handshake is done are kept until then. They are no more than an HTTP/2 preface: before the
handshake, nothing is received that could be answered.

Sources: RFC 8446 (https://www.rfc-editor.org/rfc/rfc8446) and RFC 9113 sections 3.2 and 9.2
(https://www.rfc-editor.org/rfc/rfc9113#section-9.2).
"""

import contextlib
import enum
import socket
import ssl
from collections.abc import Callable, Mapping
from typing import Final, Never, final

import attrs

from exchanger.net.error_text import describe_handshake_error
from exchanger.net.network import SYSTEM
from exchanger.net.tcp import RECEIVE_BYTES, SocketTransport, StreamEndedError
from exchanger.net.tls.layer import RECORD_BYTES, TlsLayer

# Bytes encrypted ahead of the socket: as many as the kernel keeps unsent, so that it always has some. The rest of a large answer stays
# unencrypted: it is not kept twice, and costs nothing if the peer leaves.
_ENCRYPT_BYTES: Final = 256 * 1024

# Units of work of one handshake step: half a millisecond by the reactor's measure.
_HANDSHAKE_WORK: Final = 64

_EMPTY: Final = memoryview(b"")

EXPIRED: Final = "CERTIFICATE_VERIFY_FAILED: certificate has expired since this session began"

# Input that OpenSSL, and so an operator, would take for a wrong TLS version. It recognises plain HTTP/1 itself.
_ODD_BEGINNINGS: Final = (
    (b"PRI * HTTP/2.0", "plain HTTP/2: the peer does not use TLS"),
    (b"PROXY ", "PROXY protocol, which is not supported"),
    (b"\r\n\r\n\0\r\nQUIT\n", "PROXY protocol, which is not supported"),
)


@enum.unique
class TlsPhase(enum.Enum):
    """``HANDSHAKE``, then ``SECURED``, and ``OVER`` when this side has sent its last byte."""

    HANDSHAKE = "handshake"
    SECURED = "secured"
    OVER = "over"


@final
@attrs.define(eq=False)
class ServerTlsTransport:
    """Implements ``Transport``. ``failure`` is why the handshake failed, if it did.

    ``admit`` returns whether a handshake step may be made now rather than when the socket is served next. ``on_secured`` is called once,
    when the handshake is done; ``wall`` returns seconds since the epoch. ``required`` is the protocol that the peer must agree to (ALPN).
    """

    _socket: socket.socket
    _context: ssl.SSLContext
    admit: Callable[[], bool]
    _on_secured: Callable[[], None]
    _wall: Callable[[], float] = SYSTEM.wall
    _required: str | None = "h2"
    peer: str = attrs.field(init=False)
    unsent: bool = attrs.field(default=False, init=False)
    extra_work: int = attrs.field(default=0, init=False)
    failure: str | None = attrs.field(default=None, init=False)
    phase: TlsPhase = attrs.field(default=TlsPhase.HANDSHAKE, init=False)
    _below: SocketTransport = attrs.field(init=False, repr=False)
    layer: TlsLayer = attrs.field(init=False, repr=False)
    _clear: memoryview = attrs.field(default=_EMPTY, init=False, repr=False)
    _early: bytes = attrs.field(default=b"", init=False, repr=False)
    _heard: bytes = attrs.field(default=b"", init=False, repr=False)
    _closed_by_peer: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        """Set up.

        Raises:
            OSError: the socket broke already.
        """
        self.peer = peer_name(self._socket.getpeername())
        self._below = SocketTransport(self._socket)
        self.layer = TlsLayer.server(self._context)

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._below.fileno()

    def receive(self, limit: int = RECEIVE_BYTES) -> bytes:
        """Read once, and decrypt everything: the selector does not announce bytes that OpenSSL already has."""
        if self.phase is TlsPhase.HANDSHAKE:
            return self._receive_in_handshake()
        if self._closed_by_peer:
            return b""
        data = self._below.receive(limit)
        self.extra_work = len(data) // 512  # not of the clear text: records of one byte cost as much as their ciphertext
        if not data or self.phase is TlsPhase.OVER:
            return data
        return self._decrypt(data)

    def send(self, data: bytes) -> bool:
        """Encrypt and send what the socket takes, and keep the rest."""
        if self.phase is TlsPhase.SECURED:
            if not self.unsent and len(data) <= RECORD_BYTES:  # one record, as nearly always
                self.unsent = not self._below.send(self.layer.encrypt(data))
                return not self.unsent
            self._clear = memoryview(bytes(self._clear) + data) if self._clear else memoryview(data)
        elif self.phase is TlsPhase.HANDSHAKE:
            self._early += data
        return self.flush()

    def flush(self) -> bool:
        """Send what the socket takes of the rest."""
        if self.unsent and not self._below.flush():
            return False
        while True:
            piece, self._clear = self._clear[:_ENCRYPT_BYTES], self._clear[_ENCRYPT_BYTES:]
            records = self.layer.encrypt(piece) if piece else self.layer.to_send()
            if not records:
                self.unsent = False
                return True
            if not self._below.send(records):
                self.unsent = True
                return False

    def finish(self) -> None:
        """Send close_notify (RFC 8446 section 6.1), and shut down the sending side.

        Called when nothing is left to flush. If the socket is too full even for that, the end of the stream must suffice: the last
        messages of HTTP/2 come before it.
        """
        if self.phase is TlsPhase.SECURED:
            self._close_notify()
            self.flush()
        self.phase = TlsPhase.OVER
        self._below.finish()

    def close(self) -> None:
        """Close the socket."""
        self._below.close()

    # The handshake.

    def _receive_in_handshake(self) -> bytes:
        # One read takes the whole flight, whatever the pace of the connection: each costs an admission, and has no frames of HTTP/2 yet.
        self.extra_work = 0
        if not self.admit():
            raise BlockingIOError
        try:
            data = self._below.receive(RECEIVE_BYTES)
        except BlockingIOError:
            raise
        except OSError:
            self._left("connection reset by the peer")
            raise
        if not data:
            self._left("closed by the peer")
            return b""
        self.extra_work = _HANDSHAKE_WORK
        self._heard = (self._heard + data)[:32]
        self._shake(data)
        return self._decrypt(b"")

    def _left(self, how: str) -> None:
        if self._heard:  # a probe that only connects is not a failed handshake
            self.failure = how

    def _shake(self, data: bytes) -> None:
        try:
            done = self.layer.handshake(data)
        except ssl.SSLError as error:
            self._end(self._reason(error))
        if not done:
            self.flush()
            raise BlockingIOError
        if (objection := self._objection()) is not None:
            self._close_notify()
            self._end(objection)
        self.phase = TlsPhase.SECURED
        self._on_secured()
        self._clear, self._early = memoryview(self._early), b""
        self.flush()

    def _objection(self) -> str | None:
        """Return what is wrong with a handshake that OpenSSL accepts."""
        if self._required is not None and self.layer.protocol != self._required:
            return f"no {self._required} in ALPN"
        tls = self.layer.tls
        reused, certificate = bool(tls.session_reused), tls.getpeercert()
        return EXPIRED if has_expired_since(self._context, certificate, self._wall(), reused=reused) else None

    def _reason(self, error: ssl.SSLError) -> str:
        """Return what the peer did wrong, in words for operators."""
        for beginning, meaning in _ODD_BEGINNINGS:
            if self._heard.startswith(beginning):
                return meaning
        if error.reason == "HTTP_REQUEST":
            return "plain HTTP request"
        return describe_handshake_error(error)

    # Records.

    def _decrypt(self, data: bytes) -> bytes:
        try:
            clear, self._closed_by_peer = self.layer.decrypt(data)
        except ssl.SSLError:
            self._end(None)
        if words := self.layer.to_send():  # such as the warning that renegotiation is refused
            self.unsent = not self._below.send(words)
        if clear:
            if self._closed_by_peer:
                # Data before its close_notify is valid; then the end must be announced, even if the peer leaves its socket open.
                self._socket.shutdown(socket.SHUT_RD)
        elif not self._closed_by_peer:
            raise BlockingIOError
        return clear

    def _close_notify(self) -> None:
        with contextlib.suppress(ssl.SSLError):  # it wants to read the peer's close_notify, which nothing waits for
            self.layer.tls.unwrap()

    def _end(self, failure: str | None) -> Never:
        """End reading and encryption; OpenSSL's alert is still to be sent (RFC 8446 section 6.2)."""
        self.phase, self.failure = TlsPhase.OVER, failure
        self._clear, self._early = _EMPTY, b""
        self.flush()
        raise StreamEndedError


def has_expired_since(context: ssl.SSLContext, certificate: Mapping[str, object] | None, now: float, *, reused: bool) -> bool:
    """Return whether a client whose session was resumed (``reused``) showed a ``certificate`` that has expired since, ``now`` in seconds.

    Sessions of TLS 1.2 can be resumed while they last, and Python's ssl cannot switch that off. They end with their context, so also when
    the authorities change; but OpenSSL does not check the certificate's validity again.
    """
    if not reused or context.verify_mode is not ssl.CERT_REQUIRED:
        return False
    end = (certificate or {}).get("notAfter")
    return not isinstance(end, str) or ssl.cert_time_to_seconds(end) < now


def peer_name(address: tuple[str, int, *tuple[int, ...]]) -> str:
    """Return the ``address`` of an IPv4 or IPv6 socket as it is written in logs."""
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
