"""Client certificates in PEM, as profiles have them, and contexts of servers that ask for one."""

import ssl
from datetime import UTC, datetime, timedelta

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from exchanger.values.issuer import ClientCertificate
from exchanger.values.secret import Secret


def client_certificate(authority: trustme.CA, name: str = "gateway.example.com") -> ClientCertificate:
    issued = authority.issue_cert(name)
    return ClientCertificate(
        "".join(pem.bytes().decode() for pem in issued.cert_chain_pems), Secret(issued.private_key_pem.bytes().decode())
    )


def self_signed(name: str = "gateway.example.com") -> ClientCertificate:
    """Return a certificate that no authority has signed (RFC 8705 section 2.2)."""
    key, subject = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number(), now, now + timedelta(hours=1))
    forms = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    chain = builder.sign(key, SHA256()).public_bytes(serialization.Encoding.PEM).decode()
    return ClientCertificate(chain, Secret(key.private_bytes(*forms).decode()))


def leaf(certificate: ClientCertificate) -> bytes:
    """Return what a server sees of ``certificate``."""
    return ssl.PEM_cert_to_DER_cert(certificate.chain[: certificate.chain.index("-----END") + len("-----END CERTIFICATE-----")])


def encrypted(key: Secret) -> Secret:
    found = serialization.load_pem_private_key(key.reveal().encode(), None)
    form, kind = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return Secret(found.private_bytes(form, kind, serialization.BestAvailableEncryption(b"canary")).decode())


def asking(server: trustme.CA, clients: trustme.CA, name: str, *, demands: bool = False, protocol: str = "http/1.1") -> ssl.SSLContext:
    """Return the context of a server that asks for a certificate of ``clients``, or ``demands`` one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.issue_cert(name).configure_cert(context)
    clients.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED if demands else ssl.CERT_OPTIONAL
    context.set_alpn_protocols([protocol])
    return context
