"""The content of a certificate, for the log: names, validity, serial number and fingerprint. By ``cryptography``.

OpenSSL checks certificates. This only reads what people compare, which Python's ``ssl`` offers only for verified peers.
Source: RFC 5280 section 4 (https://www.rfc-editor.org/rfc/rfc5280#section-4).
"""

import datetime as dt
import enum
from typing import Final, final

import attrs
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import SHA256

from exchanger.util.text import printable

# Characters of one text: a DNS name has at most 253, and a longer text does not help an operator.
_TEXT_LIMIT: Final = 256

# Names of one certificate in a log line; public authorities allow as many.
_NAMES_LIMIT: Final = 100


@enum.unique
class Validity(enum.Enum):
    """A certificate's validity by the clock of this machine."""

    VALID = "valid"
    EXPIRED = "expired"
    NOT_YET_VALID = "not yet valid"


@final
@attrs.frozen
class CertificateInfo:
    """A certificate, ready for a log.

    ``names`` are those of the subjectAltName extension, as ``DNS:…``, ``IP:…``, ``URI:…`` or ``email:…``. ``serial`` and ``fingerprint``
    (SHA-256 of the encoding) are hexadecimal; times are ISO 8601 in UTC. ``validity`` is as of the moment when it was read.
    """

    subject: str
    names: tuple[str, ...]
    serial: str
    not_before: str
    not_after: str
    fingerprint: str
    validity: Validity

    @property
    def expiry(self) -> int:
        """``not_after`` in seconds since 1970."""
        return int(dt.datetime.fromisoformat(self.not_after).timestamp())


def read_certificate(der: bytes, now: float) -> CertificateInfo:
    """Read the certificate ``der`` at ``now`` (seconds since 1970).

    Raises:
        ValueError: it is not a certificate.
    """
    try:
        certificate = x509.load_der_x509_certificate(der)
        not_before, not_after = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        return CertificateInfo(
            subject=_bounded(",".join(part.rfc4514_string() for part in certificate.subject.rdns)),
            names=_alternative_names(certificate.extensions),
            serial=f"{certificate.serial_number:x}",
            not_before=_iso(not_before),
            not_after=_iso(not_after),
            fingerprint=certificate.fingerprint(SHA256()).hex(),
            validity=_validity(not_before, not_after, now),
        )
    except (TypeError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.InvalidVersion, x509.UnsupportedGeneralNameType):
        raise ValueError("not a certificate that can be read") from None


def _validity(not_before: dt.datetime, not_after: dt.datetime, now: float) -> Validity:
    if now < not_before.timestamp():
        return Validity.NOT_YET_VALID
    return Validity.EXPIRED if now > not_after.timestamp() else Validity.VALID


def _iso(time: dt.datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")


def _alternative_names(extensions: x509.Extensions) -> tuple[str, ...]:
    try:
        found = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(text for name in list(found)[:_NAMES_LIMIT] if (text := _general_name(name)))


def _general_name(name: x509.GeneralName) -> str:
    match name:
        case x509.DNSName():
            return _bounded(f"DNS:{name.value}")
        case x509.IPAddress():
            return f"IP:{name.value}"
        case x509.UniformResourceIdentifier():
            return _bounded(f"URI:{name.value}")
        case x509.RFC822Name():
            return _bounded(f"email:{name.value}")
        case _:
            return ""


def _bounded(text: str) -> str:
    return printable(text, _TEXT_LIMIT)
