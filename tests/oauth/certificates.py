"""Client certificates in PEM, as profiles have them, and contexts of servers that ask for one."""

import ssl

import trustme
from cryptography.hazmat.primitives import serialization

from exchanger.values.issuer import ClientCertificate
from exchanger.values.secret import Secret


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
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.issue_cert(name).configure_cert(context)
    clients.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED if demands else ssl.CERT_OPTIONAL
    context.set_alpn_protocols([protocol])
    return context
