"""Certificates for the tests of TLS: an authority, what it issues, and the files and contexts made of it."""

import datetime as dt
import ssl
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from exchanger.net.tls.settings import TlsSettings

# A poll interval, in seconds, for tests whose files do not change.
NEVER: Final = 1_000_000.0


@attrs.define(eq=False)
class Files:
    """The three files of a server, in ``folder``."""

    folder: Path

    @property
    def cert(self) -> Path:
        return self.folder / "tls.crt"

    @property
    def key(self) -> Path:
        return self.folder / "tls.key"

    @property
    def client_ca(self) -> Path:
        return self.folder / "ca.crt"

    def write(self, issued: trustme.LeafCert) -> None:
        self.cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        self.key.write_bytes(issued.private_key_pem.bytes())

    def settings(self, *, mutual: bool = False, poll_interval: float = NEVER) -> TlsSettings:
        return TlsSettings(
            port=0,
            cert_file=self.cert,
            key_file=self.key,
            client_ca_file=self.client_ca if mutual else None,
            poll_interval=poll_interval,
        )


@attrs.define(eq=False)
class Site:
    """A server's authority and files; ``settings`` are for a server that does not look at the files again."""

    authority: trustme.CA
    files: Files

    @classmethod
    def at(cls, folder: Path) -> "Site":
        site = cls(trustme.CA(), Files(folder))
        site.files.write(site.authority.issue_cert("localhost", "127.0.0.1"))
        site.files.client_ca.write_bytes(site.authority.cert_pem.bytes())
        return site

    def client(self, *, protocols: Sequence[str] = ("h2",), version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        """Return a context for clients that trust the authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.authority.configure_trust(context)
        if protocols:
            context.set_alpn_protocols(list(protocols))
        if version is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of versions that are out of use, which is the point of trying them
                context.minimum_version = context.maximum_version = version
        return context

    def client_with(self, issued: trustme.LeafCert, *, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        """Return a context for clients that show a certificate."""
        context = self.client(version=version)
        issued.configure_cert(context)
        return context


def days(number: float) -> dt.datetime:
    return dt.datetime.now(dt.UTC) + dt.timedelta(days=number)


def server_only(authority: trustme.CA) -> trustme.LeafCert:
    """Return a certificate whose extended key usage leaves out clients, which trustme does not make."""
    issuer = x509.load_pem_x509_certificate(authority.cert_pem.bytes())
    signer = serialization.load_pem_private_key(authority.private_key_pem.bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server only")]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(days(-1))
        .not_valid_after(days(1))
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("gateway.example")]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=True)
        .sign(signer, hashes.SHA256())
    )
    return trustme.LeafCert(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        certificate.public_bytes(serialization.Encoding.PEM),
        [],
    )
