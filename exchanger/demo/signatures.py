"""Whether a token is what a realm has signed: JWS in compact form, checked with the keys of a JWK Set. The demo's door to ``cryptography``.

It is about showing. The service verifies no signatures, for that is up to the token endpoint and to the upstream.

Must not know: where tokens and keys come from.

Sources: RFC 7515 (https://www.rfc-editor.org/rfc/rfc7515), RFC 7517, RFC 7518 sections 3 and 6, RFC 7519 section 4.1.
"""

import base64
import json
import re
from collections.abc import Mapping
from typing import Final, final

import attrs
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from exchanger.util.text import bounded

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey

MAX_TOKEN: Final = 65_536
"""Characters: as many as Envoy lets through in headers."""
MAX_KEYS: Final = 64
"""Keys of a set that are read; a realm has two, and a few more while it changes them."""
RSA_BITS: Final = range(2048, 8193)
"""Fewer are forbidden by RFC 7518 section 3.3; more take long, and nobody has them."""
MAX_EXPONENT: Final = 1 << 32
"""A public exponent is 65537; a large one makes verifying slow."""
EC_BYTES: Final = 32
"""Of a coordinate, and of each half of a signature, on P-256 (RFC 7518 section 3.4)."""
MAX_TIME: Final = 1 << 53
"""Seconds since 1970: the largest integer that JSON carries for certain (RFC 8259 section 6), and far more than any clock."""

_is_segment: Final = re.compile(r"[A-Za-z0-9_-]*").fullmatch
_KEY_TYPES: Final[Mapping[str, type[PublicKey]]] = {
    "RS256": rsa.RSAPublicKey,
    "PS256": rsa.RSAPublicKey,
    "ES256": ec.EllipticCurvePublicKey,
}


@final
@attrs.frozen
class Key:
    """A key that signs; ``alg`` "" where the set does not say what for."""

    public: PublicKey
    alg: str = ""


Keys = Mapping[str, Key]
"""The keys of an issuer, by their ``kid``."""


@final
@attrs.frozen
class Verification:
    """Whether a token was verified, and in words by which key, for whom and for how long, or why not. It never holds the token."""

    verified: bool
    text: str
    kid: str = ""


def read_keys(jwks: bytes) -> Keys:
    """Return the keys for signatures in a JWK Set. Those that cannot be used are left out; what is no set has none."""
    try:
        listed = json.loads(jwks)["keys"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    found: dict[str, Key] = {}
    for jwk in listed[:MAX_KEYS] if isinstance(listed, list) else ():
        if isinstance(jwk, dict) and isinstance(jwk.get("kid"), str) and jwk.get("use", "sig") == "sig":
            public = _public_key(jwk)
            alg = jwk.get("alg", "")
            if public is not None and isinstance(alg, str):
                found[jwk["kid"]] = Key(public, alg)
    return found


def verify(token: str, keys: Keys, issuer: str, now: float) -> Verification:
    """Return whether ``token`` is signed by one of ``keys``, from ``issuer``, and not expired at ``now`` (seconds since 1970). Total.

    Whom it is for is told and not judged: that is up to whoever receives it.
    """
    parts = token.split(".", 3) if len(token) <= MAX_TOKEN else []
    if len(parts) != 3:  # noqa: PLR2004 - header, claims, signature
        return Verification(False, "not verified: it is no signed JWT")
    header, claims, signature = _object(parts[0]), _object(parts[1]), _decoded(parts[2])
    if header is None or claims is None or signature is None:
        return Verification(False, "not verified: it is no signed JWT")
    kid, alg = _text(header, "kid"), _text(header, "alg")
    problem = _problem_of_signature(header, keys.get(kid), alg, signature, ".".join(parts[:2])) or _problem_of_claims(claims, issuer, now)
    if problem:
        return Verification(False, f"not verified: {problem}", bounded(kid))
    seconds = f"{_time(claims.get('exp')) - now:.0f}"
    return Verification(True, f"{alg} by key {bounded(kid)}: iss {issuer}, aud {_audience(claims)}, expires in {seconds} s", bounded(kid))


def signed_by_a_stranger(claims: Mapping[str, object]) -> str:
    """Return a JWT that is signed (ES256) by a key which was made for it alone, and which nobody knows."""
    head = f"{_segment({'alg': 'ES256', 'typ': 'JWT', 'kid': 'nobody-knows'})}.{_segment(claims)}"
    halves = decode_dss_signature(ec.generate_private_key(ec.SECP256R1()).sign(head.encode(), ec.ECDSA(SHA256())))
    return f"{head}.{_encoded(b''.join(half.to_bytes(EC_BYTES, 'big') for half in halves))}"


def _problem_of_signature(header: Mapping[str, object], key: Key | None, alg: str, signature: bytes, signed: str) -> str:
    """Return why this is no signature of ``key`` over ``signed``, "" if it is one."""
    if alg not in _KEY_TYPES:
        return f"the algorithm {bounded(alg) or '(none)'} is not one of {', '.join(_KEY_TYPES)}"
    if "crit" in header or "b64" in header:
        return "its header has extensions"
    if key is None:
        return "the issuer has no such key"
    if not isinstance(key.public, _KEY_TYPES[alg]) or key.alg not in {"", alg}:
        return "the key is for another algorithm"
    return "" if _signs(key.public, alg, signature, signed.encode()) else "the signature is not the key's"


def _signs(public: PublicKey, alg: str, signature: bytes, signed: bytes) -> bool:
    try:
        match public:
            case rsa.RSAPublicKey():
                scheme = padding.PKCS1v15() if alg == "RS256" else padding.PSS(padding.MGF1(SHA256()), SHA256.digest_size)
                public.verify(signature, signed, scheme, SHA256())
            case _:
                if len(signature) != 2 * EC_BYTES:
                    return False
                halves = (int.from_bytes(signature[:EC_BYTES], "big"), int.from_bytes(signature[EC_BYTES:], "big"))
                public.verify(encode_dss_signature(*halves), signed, ec.ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


def _problem_of_claims(claims: Mapping[str, object], issuer: str, now: float) -> str:
    if claims.get("iss") != issuer:
        return f"it is not from {issuer}"
    expires = _time(claims.get("exp"))
    if not expires:
        return "it does not say when it expires"
    return "it has expired" if expires <= now else ""


def _time(value: object) -> float:
    """Return a NumericDate (RFC 7519 section 2) in seconds since 1970, 0 if it is none."""
    known = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < MAX_TIME
    return float(value) if known else 0.0  # type: ignore[arg-type] # it is a number where it is known


def _audience(claims: Mapping[str, object]) -> str:
    audience = claims.get("aud")
    texts = audience if isinstance(audience, list) else [audience]
    return bounded(", ".join(sorted(text for text in texts if isinstance(text, str)))) or "(nobody)"


def _public_key(jwk: Mapping[str, object]) -> PublicKey | None:
    """Return the key in a JWK (RFC 7518 section 6), ``None`` if it is none of those that are wanted here."""
    try:
        match jwk.get("kty"):
            case "RSA":
                modulus, exponent = _number(jwk.get("n")), _number(jwk.get("e"))
                usable = modulus.bit_length() in RSA_BITS and exponent < MAX_EXPONENT
                return rsa.RSAPublicNumbers(exponent, modulus).public_key() if usable else None
            case "EC" if jwk.get("crv") == "P-256":
                return ec.EllipticCurvePublicNumbers(_number(jwk.get("x")), _number(jwk.get("y")), ec.SECP256R1()).public_key()
            case _:
                return None
    except ValueError:  # no such number, or no such point
        return None


def _number(value: object) -> int:
    data = _decoded(value) if isinstance(value, str) else None
    if not data:
        raise ValueError("no number")
    return int.from_bytes(data, "big")


def _text(values: Mapping[str, object], name: str) -> str:
    value = values.get(name)
    return value if isinstance(value, str) else ""


def _object(segment: str) -> dict[str, object] | None:
    data = _decoded(segment)
    try:
        value = json.loads(data) if data else None
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _decoded(segment: str) -> bytes | None:
    """Return what is in a segment of base64url without padding, of which there is one way to write it; ``None`` for any other text."""
    if not _is_segment(segment) or len(segment) % 4 == 1:
        return None
    data = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    return data if _encoded(data) == segment else None


def _segment(value: Mapping[str, object]) -> str:
    return _encoded(json.dumps(value, separators=(",", ":")).encode())


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
