"""TLS of token endpoints and gateways: OpenSSL between two buffers in memory, below a conversation that knows nothing of it.

The certificate has the same bytes in every process, since its key is fixed and Ed25519 signs without chance.
"""

import datetime as dt
import ssl
from functools import cache
from pathlib import Path
from typing import Final, final

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.simulation.network import Peer, Remote

_KEY: Final = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
_HOSTS: Final = 8


@cache
def authority() -> bytes:
    """Return the certificate of all issuers, which signs itself, as PEM."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "issuers of a simulation")])
    names = [x509.DNSName(f"issuer-{number}.example.com") for number in range(_HOSTS)]
    start = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(_KEY.public_key()).serial_number(7)
    builder = builder.not_valid_before(start).not_valid_after(start + dt.timedelta(days=36_500))
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.sign(_KEY, None).public_bytes(serialization.Encoding.PEM)


def _certificate(path: Path) -> Path:
    """Write the certificate with its key."""
    key = _KEY.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(authority() + key)
    return path


def server_context(folder: Path, protocol: str) -> ssl.SSLContext:
    """Return what a server has that speaks ``protocol``; ``folder`` gets its certificate."""
    path = _certificate(folder / "issuer.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    context.set_alpn_protocols([protocol])
    context.num_tickets = 0  # a ticket has the time in it, by a clock that is not simulated
    return context


def client_context() -> ssl.SSLContext:
    """Return what a gateway has."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # its address is no name
    context.load_verify_locations(cadata=authority().decode())
    context.set_alpn_protocols(["h2"])
    return context


def listening(folder: Path) -> dict[str, str]:
    """Return the settings by which the service listens with TLS, too."""
    path = str(_certificate(folder / "service.pem"))
    return {"GRPC_TLS_CERT_FILE": path, "GRPC_TLS_KEY_FILE": path}


@final
@attrs.define(eq=False)
class Secured:
    """A ``Remote`` whose bytes are encrypted. The peer's end is the server, unless it is the ``client``."""

    remote: Remote
    context: ssl.SSLContext
    peer: Peer | None = None
    client: bool = False
    _ready: bool = attrs.field(default=False, init=False)
    _incoming: ssl.MemoryBIO = attrs.field(factory=ssl.MemoryBIO, init=False)
    _outgoing: ssl.MemoryBIO = attrs.field(factory=ssl.MemoryBIO, init=False)
    _tls: ssl.SSLObject = attrs.field(init=False)
    _early: bytes = attrs.field(default=b"", init=False)

    def __attrs_post_init__(self) -> None:
        self._tls = self.context.wrap_bio(self._incoming, self._outgoing, server_side=not self.client)
        if self.client:
            self.received(b"")

    def received(self, data: bytes) -> None:
        self._incoming.write(data)
        clear = b""
        try:
            if not self._ready:
                self._tls.do_handshake()
                self._ready = True
                early, self._early = self._early, b""
                self.write(early)
            while part := self._tls.read(65_536):
                clear += part
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            self._flush()
            self.remote.abort()
            self.lost()
            return
        self._flush()
        if clear and self.peer is not None:
            self.peer.received(clear)

    def _flush(self) -> None:
        if data := self._outgoing.read():
            self.remote.write(data)

    def write(self, data: bytes) -> None:
        """Send bytes, after the handshake."""
        if not self._ready:
            self._early += data
        elif data:
            self._tls.write(data)
            self._flush()

    def close(self) -> None:
        """End the connection without a word, as most servers do."""
        self.remote.close()

    def abort(self) -> None:
        """Reset it."""
        self.remote.abort()

    def ended(self) -> None:
        if self.peer is not None:
            self.peer.ended()

    def lost(self) -> None:
        if self.peer is not None:
            self.peer.lost()
