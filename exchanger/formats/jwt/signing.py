"""Assertions by which this client authenticates (private_key_jwt), and the private keys that sign them.

Sources: RFC 7523 section 3 (https://www.rfc-editor.org/rfc/rfc7523#section-3), RFC 7515 section 7.1, RFC 7518 section 3.

Must not know: where keys are stored, the time, or where random numbers come from.
"""

import json
import re
from collections.abc import Mapping
from typing import Final, assert_never, final

import attrs
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from joserfc.jwk import ECKey, OKPKey, RSAKey

from exchanger.formats.jwt import base64url
from exchanger.formats.jwt.algorithms import algorithm as algorithm_named
from exchanger.model.issuer import SigningAlgorithm
from exchanger.model.secret import Secret

# Seconds: an assertion is used at once, and token endpoints refuse long ones.
LIFETIME: Final = 60
# RFC 7518 section 3.3 forbids fewer. A signature blocks the event loop: 0.2 ms with 2048 bits, 1.3 ms with 4096, and 20 ms with 8192.
RSA_BITS: Final = range(2048, 4097)
# Characters of a PEM block: an RSA key of 4096 bits has 3272, and about 50 more with CRLF. Longer ones are too slow to sign with.
MAX_BLOCK: Final = 3600

_PRIVATE: Final = re.compile("-----BEGIN (?:RSA |EC )?PRIVATE KEY-----")
_END: Final = re.compile("-----END [A-Z ]+-----")


@final
@attrs.frozen(eq=False)
class LoadedKey:
    """A private key that can sign."""

    _key: RSAKey | ECKey | OKPKey = attrs.field(repr=False)

    def sign(self, algorithm: SigningAlgorithm, data: bytes) -> bytes:
        """Return the signature (RFC 7518 section 3) by the algorithm that the key was loaded for."""
        return algorithm_named(algorithm.value).sign(data, self._key)


@final
@attrs.frozen
class KeyProblem:
    """Why a text is not a key for an algorithm. ``reason`` follows "the key" and never quotes it."""

    reason: str


def load_key(pem: str, algorithm: SigningAlgorithm) -> LoadedKey | KeyProblem:
    """Return the private key in ``pem`` (PKCS#8, PKCS#1 or SEC 1, unencrypted). Never raises."""
    found = _PRIVATE.search(pem)
    if found is None:
        return KeyProblem(_instead_of_private_key(pem))
    end = _END.search(pem, found.end())
    block = pem[found.start() : end.end() if end else None]
    if len(block) > MAX_BLOCK:
        return KeyProblem(f"is too long: an RSA key has at most {RSA_BITS[-1]} bits")
    try:
        # Without looking for the factors of its primes, which takes 28 ms for 2048 bits and 200 ms for 4096: see ``issuers.material``.
        return _fitting(load_pem_private_key(block.encode(), None, unsafe_skip_rsa_key_validation=True), algorithm)
    except TypeError:  # it wants a password
        return KeyProblem("must not be encrypted")
    except (ValueError, UnsupportedAlgorithm):
        return KeyProblem("must be a private key in PEM, and this one is damaged or of an unknown kind")


def sign_assertion(
    key: LoadedKey, algorithm: SigningAlgorithm, key_id: str, *, client_id: str, audience: str, now: float, jti: str
) -> Secret:
    """Return the assertion with which ``client_id`` authenticates at ``audience`` from ``now`` (seconds since the epoch) on.

    ``algorithm`` is the one that ``key`` was loaded for. ``jti`` is random: a token endpoint may accept each only once.
    """
    header = {"alg": algorithm.value, "typ": "JWT"} | ({"kid": key_id} if key_id else {})
    issued = int(now)
    claims = {"iss": client_id, "sub": client_id, "aud": audience, "iat": issued, "exp": issued + LIFETIME, "jti": jti}
    signed = f"{_encoded(header)}.{_encoded(claims)}"
    return Secret(f"{signed}.{base64url.encode(key.sign(algorithm, signed.encode('ascii')))}")


def _encoded(members: Mapping[str, object]) -> str:
    return base64url.encode(json.dumps(members, separators=(",", ":")).encode("ascii"))


def _fitting(key: PrivateKeyTypes, algorithm: SigningAlgorithm) -> LoadedKey | KeyProblem:
    match algorithm:
        case SigningAlgorithm.RS256 | SigningAlgorithm.PS256:
            if not isinstance(key, RSAPrivateKey):
                return KeyProblem(f"must be an RSA key for {algorithm.value}")
            if key.key_size not in RSA_BITS:
                return KeyProblem(f"must have {RSA_BITS[0]} to {RSA_BITS[-1]} bits")
            return LoadedKey(RSAKey.import_key(key))
        case SigningAlgorithm.ES256:
            if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
                return KeyProblem("must be a key on the curve P-256 for ES256")
            return LoadedKey(ECKey.import_key(key))
        case SigningAlgorithm.EDDSA:
            if not isinstance(key, Ed25519PrivateKey):
                return KeyProblem("must be an Ed25519 key for EdDSA")
            return LoadedKey(OKPKey.import_key(key))
        case _:
            assert_never(algorithm)


def _instead_of_private_key(text: str) -> str:
    """Return the problem of a text without an unencrypted private key."""
    for label, reason in (
        ("-----BEGIN ENCRYPTED PRIVATE KEY-----", "must not be encrypted"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "must be in PKCS#8, not in the format of OpenSSH"),
        ("PUBLIC KEY-----", "must be a private key, not a public one"),
        ("-----BEGIN CERTIFICATE-----", "must be a private key, not a certificate"),
    ):
        if label in text:
            return reason
    return "must be a private key in PEM"
