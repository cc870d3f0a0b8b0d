"""Authorities and certificates in PEM, as profiles and servers have them, and contexts of clients and servers."""

import ssl
from pathlib import Path

import trustme
from cryptography.hazmat.primitives import serialization

from exchanger.model.issuer import ClientCertificate
from exchanger.model.secret import Secret


def pem(authority: trustme.CA) -> str:
    return authority.cert_pem.bytes().decode()


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    """Return a new context of a client that trusts ``authority`` alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    return context


def serving(authority: trustme.CA, name: str) -> ssl.SSLContext:
    """Return the context of a server that has this name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def write_certificate(folder: Path, name: str) -> None:
    """Write what a process serves TLS with, and what its clients trust: cert.pem, key.pem and ca.pem."""
    authority = trustme.CA()
    issued = authority.issue_cert(name)
    authority.cert_pem.write_to_path(folder / "ca.pem")
    issued.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")


def client_certificate(authority: trustme.CA, name: str = "gateway.example.com") -> ClientCertificate:
    issued = authority.issue_cert(name)
    return ClientCertificate(
        "".join(pem.bytes().decode() for pem in issued.cert_chain_pems), Secret(issued.private_key_pem.bytes().decode())
    )


def leaf(certificate: ClientCertificate) -> bytes:
    """Return what a server sees of ``certificate``."""
    return ssl.PEM_cert_to_DER_cert(certificate.chain[: certificate.chain.index("-----END") + len("-----END CERTIFICATE-----")])


def encrypted(key: Secret) -> Secret:
    found = serialization.load_pem_private_key(key.reveal().encode(), None)
    form, kind = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return Secret(found.private_bytes(form, kind, serialization.BestAvailableEncryption(b"canary")).decode())


def asking(server: trustme.CA, clients: trustme.CA, name: str, *, demands: bool = False, protocol: str = "http/1.1") -> ssl.SSLContext:
    """Return the context of a server that asks for a certificate of ``clients``, or ``demands`` one."""
    context = serving(server, name)
    clients.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED if demands else ssl.CERT_OPTIONAL
    context.set_alpn_protocols([protocol])
    return context
