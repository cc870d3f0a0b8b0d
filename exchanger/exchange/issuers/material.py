"""The form of keys, certificates and tokens, so that a file that was written by mistake removes nothing. Pure.

No reason quotes a value.
Sources: RFC 7468 (https://www.rfc-editor.org/rfc/rfc7468) for PEM, RFC 7518 section 3 for the sizes of keys.
"""

import hashlib
import json
import re
from typing import Final, assert_never

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256

from exchanger.exchange.issuers.value_sources import Shape
from exchanger.formats.jwt.unverified import claims_of
from exchanger.model.secret import Secret, secret_problem

# Characters of an assertion or an actor's token. ServiceAccount tokens and SVIDs have one or two thousand.
MAX_TOKEN: Final = 64 * 1024
# Certificates in one file: the system's own trust store has some 150.
MAX_CERTIFICATES: Final = 1000
# Bits of an RSA key that signs: the least is from RFC 7518 section 3.3; with more than the most, each signature would block the event loop.
_RSA_BITS: Final = range(2048, 4096 + 1)
# Characters of a private key in PEM: those of 4096 bits, and of 8192 bits for certificates, with CRLF. A longer one would be read in the
# event loop, and used by OpenSSL in each handshake.
MAX_KEY: Final = 3600
MAX_CERTIFICATE_KEY: Final = 6800

_is_token: Final = re.compile(r"[!-~]+").fullmatch
# The text between two PEM boundaries has no five dashes in a row. So it ends in one place, and a text is read once, however many blocks
# begin in it.
_BODY: Final = "[^-]*+(?:-(?!----)[^-]*+)*"
_BEGIN_PRIVATE: Final = re.compile("-----BEGIN ([A-Z ]*PRIVATE KEY)-----")
_PRIVATE: Final = re.compile(rf"{_BEGIN_PRIVATE.pattern}{_BODY}-----END \1-----")
_BEGIN_CERTIFICATE: Final = "-----BEGIN CERTIFICATE-----"
_CERTIFICATE: Final = re.compile(f"{_BEGIN_CERTIFICATE}{_BODY}-----END CERTIFICATE-----")


def problem_with(shape: Shape, text: str) -> str | None:
    """Return why ``text`` is not of ``shape``, in words that follow the place of it; ``None`` if it is."""
    match shape:
        case Shape.TEXT:
            problem = secret_problem(text)
            return None if problem is None else f"its value {problem}"
        case Shape.TOKEN:
            good = len(text) <= MAX_TOKEN and _is_token(text)
            return None if good else f"it must be one token of visible ASCII, at most {MAX_TOKEN} characters"
        case Shape.RSA_KEY | Shape.P256_KEY | Shape.ED25519_KEY:
            key = _private_key(text, MAX_KEY)
            return key if isinstance(key, str) else _problem_with_key(shape, key)
        case Shape.CERTIFICATE:
            return _problem_with_certificate(text)
        case Shape.AUTHORITIES:
            found = _certificates(text)
            return found if isinstance(found, str) else None
        case _:
            assert_never(shape)


def certificate_chain(text: str) -> str:
    """Return the certificates in a text of the shape ``CERTIFICATE``."""
    return "".join(f"{found[0]}\n" for found in _CERTIFICATE.finditer(text))


def certificate_key(text: str) -> Secret:
    """Return the private key in a text of the shape ``CERTIFICATE``."""
    key = _PRIVATE.search(text)
    return Secret("" if key is None else f"{key[0]}\n")


def subject_of(token: str) -> str:
    """Return the identity of ``token``: ``iss`` and ``sub`` of a JWT, not verified, otherwise a digest.

    It shows whether a file holds a newer token for the same subject. The file's writer controls that anyway.
    """
    claims = claims_of(token)
    if claims is None or not isinstance(claims.get("sub"), str) or not isinstance(claims.get("iss"), str | None):
        return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
    return json.dumps([claims.get("iss"), claims["sub"]])


def _private_key(text: str, longest: int) -> PrivateKeyTypes | str:
    found = _PRIVATE.findall(text)
    if len(found) != 1:
        return "it must hold one private key in PEM" if not found else "it holds more than one private key"
    pem = _PRIVATE.search(text)
    if pem is None or "ENCRYPTED" in pem[0]:
        return "its private key is encrypted, and no password can be given"
    if len(pem[0]) > longest:
        return f"its private key is longer than {longest} characters"
    if len(_BEGIN_PRIVATE.findall(text)) > 1:  # one without an end
        return "its private key cannot be read"
    try:
        # Without looking for the factors of its primes, which would block the event loop for 28 ms with 2048 bits, and 200 ms with 4096.
        key = serialization.load_pem_private_key(pem[0].encode(), None, unsafe_skip_rsa_key_validation=True)
        if isinstance(key, RSAPrivateKey) and key.key_size in _RSA_BITS:
            _sign_and_verify(key)
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature):
        return "its private key cannot be read"
    return key


def _sign_and_verify(key: RSAPrivateKey) -> None:
    """Raise an error if the numbers of ``key`` do not fit together."""
    padding, algorithm = PKCS1v15(), SHA256()
    key.public_key().verify(key.sign(b"", padding, algorithm), b"", padding, algorithm)


def _problem_with_key(shape: Shape, key: PrivateKeyTypes) -> str | None:
    match key:
        case RSAPrivateKey():
            found = Shape.RSA_KEY if key.key_size in _RSA_BITS else None
        case EllipticCurvePrivateKey():
            found = Shape.P256_KEY if isinstance(key.curve, SECP256R1) else None
        case Ed25519PrivateKey():
            found = Shape.ED25519_KEY
        case _:
            found = None
    if found is shape:
        return None
    sizes = f" of {_RSA_BITS[0]} to {_RSA_BITS[-1]} bits" if shape is Shape.RSA_KEY else ""
    return f"the algorithm needs {shape.value}{sizes}"


def _certificates(text: str) -> list[x509.Certificate] | str:
    found = _CERTIFICATE.findall(text)
    if not found:
        return "it must hold certificates in PEM"
    if len(found) > MAX_CERTIFICATES:
        return f"it holds more than {MAX_CERTIFICATES} certificates"
    if text.count(_BEGIN_CERTIFICATE) > len(found):  # one without an end
        return "a certificate in it cannot be read"
    try:
        return [x509.load_pem_x509_certificate(pem.encode()) for pem in found]
    except ValueError:
        return "a certificate in it cannot be read"


def _problem_with_certificate(text: str) -> str | None:
    chain = _certificates(text)
    if isinstance(chain, str):
        return chain
    key = _private_key(text, MAX_CERTIFICATE_KEY)
    if isinstance(key, str):
        return key
    forms = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    try:
        fits = chain[0].public_key().public_bytes(*forms) == key.public_key().public_bytes(*forms)
    except (ValueError, UnsupportedAlgorithm):
        return "the key of its certificate is of an unknown kind"
    return None if fits else "the private key is not that of the first certificate"
