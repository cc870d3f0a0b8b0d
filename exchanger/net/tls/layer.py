"""One session of TLS between two memory buffers of OpenSSL, for clients and servers. It never waits, and knows neither sockets nor HTTP.

Everything happens in the turn that moves the bytes. Source: RFC 8446 (https://www.rfc-editor.org/rfc/rfc8446).
"""

import ssl
from typing import Final, final

import attrs

# Largest record (RFC 8446 section 5.1), so also the largest result of one read of OpenSSL.
RECORD_BYTES: Final = 16 * 1024

# Type, version and length of a record; the length is in the last two bytes (RFC 8446 section 5.1).
_HEADER_BYTES: Final = 5


@final
@attrs.define(eq=False)
class TlsLayer:
    """One session. Call ``handshake`` again for all that arrives until it returns that it is done.

    A client's session follows the boundaries of records, since OpenSSL does not tell whether it holds half of one. A server does not need
    that.
    """

    tls: ssl.SSLObject = attrs.field(repr=False)
    _incoming: ssl.MemoryBIO = attrs.field(repr=False)
    outgoing: ssl.MemoryBIO = attrs.field(repr=False)
    _follows: bool
    _header: bytes = attrs.field(default=b"", init=False, repr=False)
    _missing: int = attrs.field(default=0, init=False)

    @classmethod
    def client(cls, context: ssl.SSLContext, server_name: str) -> "TlsLayer":
        """Return a client's layer whose handshake has not begun."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        return cls(context.wrap_bio(incoming, outgoing, server_hostname=server_name), incoming, outgoing, follows=True)

    @classmethod
    def server(cls, context: ssl.SSLContext) -> "TlsLayer":
        """Return a server's layer whose handshake has not begun."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        return cls(context.wrap_bio(incoming, outgoing, server_side=True), incoming, outgoing, follows=False)

    @property
    def is_whole(self) -> bool:
        """Whether the last record that has begun to arrive is complete, if this is a client."""
        return not self._header and not self._missing

    @property
    def protocol(self) -> str | None:
        """The protocol that both sides agreed on (ALPN, RFC 7301)."""
        return self.tls.selected_alpn_protocol()

    def handshake(self, data: bytes) -> bool:
        """Add ``data`` from the peer (empty at a client's beginning); return whether the handshake is done.

        ``to_send`` has this side's messages, including the alert of a handshake that failed.

        Raises:
            ssl.SSLError: it failed.
        """
        self._take(data)
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def to_send(self) -> bytes:
        """Return what TLS itself has for the peer."""
        return self.outgoing.read() if self.outgoing.pending else b""

    def encrypt(self, data: bytes | memoryview) -> bytes:
        """Return the records of ``data``, after anything else that is to be sent."""
        self.tls.write(data)
        return self.outgoing.read()

    def decrypt(self, data: bytes) -> tuple[bytes, bool]:
        """Return the clear text of all records that are complete with ``data``, and whether the peer has ended its side.

        Raises:
            ssl.SSLError: the bytes are not TLS, or a message of it that ends the session.
        """
        self._take(data)
        tls, incoming, parts, ended = self.tls, self._incoming, [], False
        try:
            while part := tls.read(RECORD_BYTES):
                parts.append(part)
                if not incoming.pending:  # nor in OpenSSL: a read takes a whole record. Avoids the exception after nearly each of them.
                    break
            else:
                ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            ended = True
        return parts[0] if len(parts) == 1 else b"".join(parts), ended

    def _take(self, data: bytes) -> None:
        if self._follows:
            self._follow(data)
        self._incoming.write(data)

    def _follow(self, data: bytes) -> None:
        at, size = 0, len(data)
        while at < size:
            if self._missing:
                step = min(self._missing, size - at)
                self._missing -= step
                at += step
                continue
            taken = data[at : at + _HEADER_BYTES - len(self._header)]
            self._header += taken
            at += len(taken)
            if len(self._header) == _HEADER_BYTES:
                self._missing, self._header = int.from_bytes(self._header[3:], "big"), b""
