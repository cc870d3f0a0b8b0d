"""Turns certificate files into a TLS context for servers, or into a sentence that says why not.

Blocks while it reads, so it is meant for a thread. No exception, sentence or ``repr`` from here contains any part of a key.

Sources: RFC 9113 section 9.2 (https://www.rfc-editor.org/rfc/rfc9113#section-9.2) for TLS below HTTP/2, RFC 7468
(https://www.rfc-editor.org/rfc/rfc7468) for the files.
"""

import hashlib
import os
import ssl
from collections.abc import Callable, Container
from pathlib import Path
from typing import Final, final

import attrs

from exchanger.model.errors import ExchangerError
from exchanger.net.network import SYSTEM
from exchanger.net.tls.key_pair import load_key_pair
from exchanger.net.tls.settings import TlsSettings
from exchanger.net.tls.x509 import CertificateInfo, read_certificate
from exchanger.util.regular_file import NotRegularError, open_regular, unreadable
from exchanger.util.shown import shown_file

# Bytes of one file at most: a Kubernetes Secret cannot be larger, and all public authorities together are a quarter of it.
_FILE_BYTES: Final = 1024 * 1024

# For TLS 1.2: ephemeral keys and AEAD, as RFC 9113 appendix A requires; all suites of TLS 1.3 are of that kind. The level demands
# 112 bits of security in every key and signature: RSA from 2048 bits, no SHA-1 (NIST SP 800-57 part 1 section 5.6).
_CIPHERS: Final = "@SECLEVEL=2:ECDHE+AESGCM:ECDHE+CHACHA20"

_OPTIONS: Final = (
    ssl.OP_NO_COMPRESSION  # RFC 9113 section 9.2.1, as the next one
    | ssl.OP_NO_RENEGOTIATION
    | ssl.OP_NO_TICKET  # a ticket would let a client in after its authority is gone
)

_BEGIN: Final = "-----BEGIN CERTIFICATE-----"
_END: Final = "-----END CERTIFICATE-----"


class CertificatesError(ExchangerError):
    """The files cannot be used; the message says why, for an operator."""


@final
@attrs.frozen(eq=False)
class ServerIdentity:
    """What this server shows to its clients and requires of them, from one ``version`` of the files. ``context`` is complete."""

    version: bytes
    context: ssl.SSLContext
    info: CertificateInfo


@final
@attrs.frozen
class UnusableCertificates:
    """A ``version`` of the files that cannot be used, and why."""

    version: bytes
    reason: str


@final
@attrs.frozen
class Known:
    """A ``version`` of the files that was seen before."""

    version: bytes


def check_files(settings: TlsSettings) -> str | None:
    """Return why a server cannot start with these files, as a sentence for an operator, or ``None``. Reads them."""
    found = load(settings)
    return found.reason if isinstance(found, UnusableCertificates) else None


def load(
    settings: TlsSettings, known: Container[bytes] = (), wall: Callable[[], float] = SYSTEM.wall
) -> ServerIdentity | UnusableCertificates | Known:
    """Read the files and load them at ``wall`` (seconds since the epoch), unless their version is one of the ``known``.

    An expired certificate is loaded like any other: the client checks it, by the client's clock, and two instances with the same files
    should not show different certificates because one was started later.
    """
    files = _read(settings)
    version = _version(files)
    if version in known:
        return Known(version)
    try:
        certificate, _, authorities = (_content(file) for file in files)
        info = _info(settings.cert_file, certificate, wall())
        context = _context(settings)
        if settings.client_ca_file is not None:
            _demand_client_certificates(context, settings.client_ca_file, authorities)
    except CertificatesError as error:
        return UnusableCertificates(version, str(error))
    if _version(_read(settings)) != version:  # OpenSSL reads the files itself and may have seen another version
        return UnusableCertificates(version, "the files were changed while they were read")
    return ServerIdentity(version, context, info)


@final
@attrs.frozen
class _Unread:
    reason: str


def _read(settings: TlsSettings) -> tuple[bytes | _Unread, ...]:
    return (
        _read_file(settings.cert_file),
        _read_file(settings.key_file),
        b"" if settings.client_ca_file is None else _read_file(settings.client_ca_file),
    )


def _read_file(path: Path) -> bytes | _Unread:
    try:
        with open_regular(path) as file:
            content = file.read(_FILE_BYTES + 1)
    except NotRegularError:
        return _Unread(f"{shown_file(path)} is not a regular file")
    except OSError as error:
        return _Unread(f"{shown_file(path)} {unreadable(error).lower()}")
    return content if len(content) <= _FILE_BYTES else _Unread(f"{shown_file(path)} is larger than {_FILE_BYTES} bytes")


def _version(files: tuple[bytes | _Unread, ...]) -> bytes:
    contents = (b"!" + os.fsencode(file.reason) if isinstance(file, _Unread) else b"=" + file for file in files)
    return b"".join(hashlib.sha256(content).digest() for content in contents)


def _content(file: bytes | _Unread) -> bytes:
    if isinstance(file, _Unread):
        raise CertificatesError(file.reason)
    return file


def _certificates(path: Path, content: bytes) -> list[str]:
    """Return the certificates of a PEM file. Other text, in any encoding, may stand between them (RFC 7468 section 2)."""
    text, found, at = content.decode("latin-1"), [], 0
    while (start := text.find(_BEGIN, at)) >= 0 and (end := text.find(_END, start)) >= 0:
        at = end + len(_END)
        found.append(text[start:at])
    if not found:
        raise CertificatesError(f"no certificate in {path}: it needs PEM, from {_BEGIN!r} to {_END!r}")
    return found


def _info(path: Path, content: bytes, now: float) -> CertificateInfo:
    try:
        return read_certificate(ssl.PEM_cert_to_DER_cert(_certificates(path, content)[0]), now)
    except ValueError:
        raise CertificatesError(f"the first certificate in {path} is not one: its encoding is broken") from None


def _context(settings: TlsSettings) -> ssl.SSLContext:
    """Return a new context. A new one does not resume sessions of the previous one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # not create_default_context, which writes keys where SSLKEYLOGFILE says
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= _OPTIONS
    context.num_tickets = 0  # those of TLS 1.3
    context.set_alpn_protocols(list(settings.protocols))  # for gRPC, RFC 9113 section 3.2
    try:
        problem = load_key_pair(context, settings.cert_file, settings.key_file)
    except OSError as error:
        raise CertificatesError(f"a certificate file {unreadable(error).lower()}") from None
    if problem:
        raise CertificatesError(problem)
    return context


def _demand_client_certificates(context: ssl.SSLContext, path: Path, content: bytes) -> None:
    try:
        context.load_verify_locations(cadata="\n".join(_certificates(path, content)))
    except ssl.SSLError as error:
        raise CertificatesError(f"a certificate in {path} is broken ({error.reason or 'PEM'})") from None
    context.verify_mode = ssl.CERT_REQUIRED  # as a server: a certificate whose extended key usage excludes clients is refused
    context.verify_flags |= (
        ssl.VERIFY_X509_STRICT  # RFC 5280 to the letter
        | ssl.VERIFY_X509_PARTIAL_CHAIN  # everything in the file is trusted, so an intermediate CA can be alone in it
    )
