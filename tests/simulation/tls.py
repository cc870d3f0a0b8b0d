"""TLS of token endpoints and gateways: OpenSSL between two buffers in memory, below a conversation that knows nothing of it.

A certificate has the same bytes in every process, since its key follows from its name and Ed25519 signs without chance.
"""

import datetime as dt
import hashlib
import ssl
from functools import cache
from pathlib import Path
from typing import Final, final

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.simulation.network import Peer, Remote

# The authority that everybody trusts, unless a part of the world says otherwise, and whose own certificate all issuers have.
AUTHORITY: Final = "issuers of a simulation"
_HOSTS: Final = 8


def _key(name: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())


@cache
def certificate(name: str, by: str = "") -> bytes:
    """Return the certificate ``name`` as PEM, for all issuers' hosts. The authority ``by`` has signed it, or it is one itself."""
    key, signer = _key(name).public_key(), _key(by or name)
    names = [x509.DNSName(f"issuer-{number}.example.com") for number in range(_HOSTS)]
    start = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    builder = x509.CertificateBuilder().subject_name(_named(name)).issuer_name(_named(by or name)).public_key(key)
    builder = builder.not_valid_before(start).not_valid_after(start + dt.timedelta(days=36_500))
    builder = builder.serial_number(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") + 1)
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.SubjectAlternativeName(names), False),
        (x509.BasicConstraints(ca=not by, path_length=None), True),
        (x509.SubjectKeyIdentifier.from_public_key(key), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False),
    ]
    if not by:
        usage = dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign"), False)
        signs = x509.KeyUsage(**usage, digital_signature=True, key_cert_sign=True, encipher_only=False, decipher_only=False)
        extensions.append((signs, True))
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(signer, None).public_bytes(serialization.Encoding.PEM)


def private_key(name: str) -> bytes:
    """Return the key of the certificate ``name``, as PEM."""
    return _key(name).private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def has_signed(name: str, data: bytes, signature: bytes) -> bool:
    """Tell whether ``signature`` is that of the key of the certificate ``name``."""
    return _key(name).sign(data) == signature


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


def _certificate(path: Path) -> Path:
    """Write the certificate with its key."""
    path.write_bytes(certificate(AUTHORITY) + private_key(AUTHORITY))
    return path


def server_context(folder: Path, protocol: str) -> ssl.SSLContext:
    """Return what a server has that speaks ``protocol``; ``folder`` gets its certificate."""
    path = _certificate(folder / "issuer.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    context.set_alpn_protocols([protocol])
    context.num_tickets = 0  # a ticket has the time in it, by a clock that is not simulated
    return context


def client_context(identity: Path | None = None) -> ssl.SSLContext:
    """Return what a gateway has, which shows the certificate in the file ``identity``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # its address is no name
    context.load_verify_locations(cadata=certificate(AUTHORITY).decode())
    context.set_alpn_protocols(["h2"])
    if identity is not None:
        context.load_cert_chain(identity)
    return context


def listening(folder: Path) -> dict[str, str]:
    """Return the settings by which the service listens with TLS, too."""
    path = str(_certificate(folder / "service.pem"))
    return {"GRPC_TLS_CERT_FILE": path, "GRPC_TLS_KEY_FILE": path}


@final
@attrs.define(eq=False)
class Secured:
    """A ``Remote`` whose bytes are encrypted. The peer's end is the server, unless it is the ``client``.

    ``shown`` is the other end's certificate (DER), if the handshake is over and there was one.
    """

    remote: Remote
    context: ssl.SSLContext
    peer: Peer | None = None
    client: bool = False
    shown: bytes = attrs.field(default=b"", init=False)
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
                self._ready, self.shown = True, self._tls.getpeercert(binary_form=True) or b""
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
