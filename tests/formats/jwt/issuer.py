"""An issuer's keys, and tokens that others sign with them: PyJWT, or the primitives themselves where PyJWT writes no such token."""

import base64
import json
from collections.abc import Mapping
from typing import Final

import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from exchanger.formats.jwt.claims import SubjectPolicy
from exchanger.formats.jwt.keys import KeySet, read_key_set
from exchanger.formats.jwt.refusal import TokenRefused
from exchanger.formats.jwt.verify import UnknownKey, VerifiedClaims, read_token, verify
from exchanger.model.issuer import SigningAlgorithm

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

ISSUER: Final = "https://login.example.com"
NOW: Final = 1_700_000_000
POLICY: Final = SubjectPolicy((ISSUER, "https://other.example.com"), ("gateway", "mesh"), has_actor=False)
CLAIMS: Final[Mapping[str, object]] = {"iss": ISSUER, "sub": "alice", "aud": "gateway", "exp": NOW + 300}

RSA_KEY: Final = rsa.generate_private_key(65_537, 2048)
STRANGER: Final = rsa.generate_private_key(65_537, 2048)
P256: Final = ec.generate_private_key(ec.SECP256R1())
ED25519: Final = ed25519.Ed25519PrivateKey.generate()
# By ``kid``.
KEYS: Final[Mapping[str, PrivateKey]] = {
    "rsa": RSA_KEY,
    "p256": P256,
    "p384": ec.generate_private_key(ec.SECP384R1()),
    "p521": ec.generate_private_key(ec.SECP521R1()),
    "ed": ED25519,
}
# The key that a client signs its assertions with.
KEY_OF: Final[Mapping[SigningAlgorithm, PrivateKey]] = dict(zip(SigningAlgorithm, (RSA_KEY, RSA_KEY, P256, ED25519), strict=True))
# The key that signs by each algorithm.
KIDS: Final = dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "rsa") | {
    "ES256": "p256",
    "ES384": "p384",
    "ES512": "p521",
    "EdDSA": "ed",
}


def text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def number(value: int) -> str:
    return text(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def rsa_jwk(n: int, e: int, **more: object) -> dict[str, object]:
    return {"kty": "RSA", "kid": "rsa", "n": number(n), "e": number(e)} | more


def jwk(key: PrivateKey, **more: object) -> dict[str, object]:
    """The public half as a JWK, written down here and not by a library."""
    match key:
        case rsa.RSAPrivateKey():
            public = key.public_key().public_numbers()
            return rsa_jwk(public.n, public.e, **more)
        case ec.EllipticCurvePrivateKey():
            point, size = key.public_key().public_numbers(), (key.key_size + 7) // 8
            curve = {256: "P-256", 384: "P-384", 521: "P-521"}[key.key_size]
            return {"kty": "EC", "crv": curve, "x": text(point.x.to_bytes(size, "big")), "y": text(point.y.to_bytes(size, "big"))} | more
        case _:
            return {"kty": "OKP", "crv": "Ed25519", "x": text(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))} | more


def key_set(*jwks: object) -> KeySet:
    found = read_key_set({"keys": list(jwks)})
    assert isinstance(found, KeySet)
    return found


KEY_SET: Final = key_set(*(jwk(key, kid=kid, use="sig") for kid, key in KEYS.items()))


def pem(key: PrivateKey, form: PrivateFormat = PrivateFormat.PKCS8) -> str:
    return key.private_bytes(Encoding.PEM, form, NoEncryption()).decode()


def public_pem(key: PrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def claims(**changed: object) -> dict[str, object]:
    """Good claims with changes; ``...`` leaves a claim out."""
    return {name: value for name, value in (dict(CLAIMS) | changed).items() if value is not ...}


def token(alg: str = "ES256", /, header: Mapping[str, object] | None = None, **changed: object) -> str:
    """A token that PyJWT signs with the issuer's key."""
    return jwt.encode(claims(**changed), KEYS[KIDS[alg]], alg, headers={"kid": KIDS[alg]} | dict(header or {}))


def raw(header: object, payload: object = CLAIMS, key: PrivateKey = P256) -> str:
    """A token with whatever header and claims, as bytes or to be written as JSON, and a good signature (RS256, ES256 or EdDSA)."""
    head, body = (part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, payload))
    signed = f"{text(head)}.{text(body)}"
    return f"{signed}.{text(signature(signed.encode(), key))}"


def signature(signed: bytes, key: PrivateKey) -> bytes:
    match key:
        case rsa.RSAPrivateKey():
            return key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
        case ec.EllipticCurvePrivateKey():
            r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(hashes.SHA256())))
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")
        case _:
            return key.sign(signed)


def verified(
    token: str, keys: KeySet = KEY_SET, policy: SubjectPolicy = POLICY, now: float = NOW
) -> VerifiedClaims | TokenRefused | UnknownKey:
    read = read_token(token)
    return read if isinstance(read, TokenRefused) else verify(read, keys, policy, now)
