"""Whether a realm has signed a token: JWS in compact form, verified by joserfc with the keys of a JWK Set.

This is for display. The service verifies no signatures: that is up to the token endpoint and the upstream.

Sources: RFC 7515 (https://www.rfc-editor.org/rfc/rfc7515), RFC 7517, RFC 7518 sections 3 and 6, RFC 7519 section 4.1.
"""

import json
from collections.abc import Mapping
from typing import Any, Final, final

import attrs
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, RSAKey

from exchanger.commands.scenarios.tokens import OPAQUE_TOKEN, REVOKED_TOKEN, Subject, encode
from exchanger.formats.jwt.unverified import claims_of
from exchanger.util.text import bounded

# Characters: as many as Envoy lets through in headers.
MAX_TOKEN: Final = 65_536
# Keys of a set that are read; a realm has two, and a few more while it rotates them.
MAX_KEYS: Final = 64
# RFC 7518 section 3.3 forbids fewer; more take long, and are not used in practice.
RSA_BITS: Final = range(2048, 8193)
# A public exponent is 65537; a large one makes verifying slow.
MAX_EXPONENT: Final = 1 << 32
# Seconds since 1970: the largest integer that JSON carries for certain (RFC 8259 section 6), and far more than any clock.
MAX_TIME: Final = 1 << 53
# Signatures by a key pair. "none", and MACs with a public key as secret, are not among them.
ALGORITHMS: Final = ("RS256", "PS256", "ES256")
# The issuer of a foreign token.
STRANGER: Final = "https://login.example.com"

# The keys of an issuer, by their ``kid``.
Keys = Mapping[str, RSAKey | ECKey]


@final
@attrs.frozen
class TokenVerification:
    """Whether a token was verified: by which key, for whom and for how long, or why not. It never contains the token."""

    verified: bool
    text: str
    kid: str = ""


def read_keys(jwks: bytes) -> Keys:
    """Return the signature keys in a JWK Set. Unusable ones are left out; anything but a set has none."""
    try:
        listed = json.loads(jwks)["keys"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    keys = (_key(jwk) for jwk in listed[:MAX_KEYS]) if isinstance(listed, list) else ()
    return {kid: key for key in keys if key is not None and (kid := key.kid) is not None}


def verify(token: str, keys: Keys, issuer: str, now: float) -> TokenVerification:
    """Return whether one of ``keys`` signed ``token``, for ``issuer``, and it is not expired at ``now`` (seconds since 1970). Never raises.

    The audience is shown and not verified: that is up to the token's recipient.
    """
    try:
        signed = jws.extract_compact(token.encode() if len(token) <= MAX_TOKEN else b"")
        claims = json.loads(signed.payload)
    except (JoseError, ValueError, TypeError, RecursionError):
        return TokenVerification(False, "not verified: it is not a signed JWT")
    if not isinstance(claims, dict):
        return TokenVerification(False, "not verified: it is not a signed JWT")
    header = signed.protected
    kid, alg = _text(header, "kid"), _text(header, "alg")
    problem = _problem_of_signature(signed, keys.get(kid), alg) or _problem_of_claims(claims, issuer, now)
    if problem:
        return TokenVerification(False, f"not verified: {problem}", bounded(kid))
    seconds = f"{_time(claims.get('exp')) - now:.0f}"
    return TokenVerification(
        True, f"{alg} by key {bounded(kid)}: iss {issuer}, aud {_audience(claims)}, expires in {seconds} s", bounded(kid)
    )


def subjects_of(valid: str, expired: str) -> dict[Subject, str]:
    """Return the token for each subject. Those that the realm must refuse are made from its ``valid`` one, or are the demo's own."""
    claims = claims_of(valid) or {}
    head, dot, signature = valid.rpartition(".")
    return {
        Subject.NONE: "",
        Subject.VALID: valid,
        Subject.EXPIRED: expired,
        Subject.UNSIGNED: encode(claims),
        Subject.TRUNCATED: f"{head}{dot}{signature[: len(signature) // 2]}",
        Subject.FOREIGN: signed_by_a_stranger({**claims, "iss": STRANGER}),
        Subject.OPAQUE: OPAQUE_TOKEN,
        Subject.REVOKED: REVOKED_TOKEN,
    }


def signed_by_a_stranger(claims: Mapping[str, object]) -> str:
    """Return a JWT with a good signature (ES256), by a new key that nobody knows."""
    header = {"alg": "ES256", "typ": "JWT", "kid": "nobody-knows"}
    return jws.serialize_compact(header, json.dumps(claims), ECKey.generate_key("P-256", auto_kid=False), ["ES256"])


def _problem_of_signature(signed: jws.CompactSignature, key: RSAKey | ECKey | None, alg: str) -> str:
    """Return why ``key`` has not signed this, "" if it has."""
    if alg not in ALGORITHMS:
        return f"the algorithm {bounded(alg) or '(none)'} is not one of {', '.join(ALGORITHMS)}"
    if "crit" in signed.protected:
        return "its header has extensions"
    if key is None:
        return "the issuer has no such key"
    if isinstance(key, ECKey) is not (alg == "ES256") or (key.alg or alg) != alg:
        return "the key is for another algorithm"
    try:
        good = jws.validate_compact(signed, key, [alg])
    except (JoseError, ValueError):
        good = False
    return "" if good else "the signature does not match the key"


def _problem_of_claims(claims: Mapping[str, object], issuer: str, now: float) -> str:
    if claims.get("iss") != issuer:
        return f"it is not from {issuer}"
    expires = _time(claims.get("exp"))
    if not expires:
        return "it does not say when it expires"
    return "it has expired" if expires <= now else ""


def _key(jwk: object) -> RSAKey | ECKey | None:
    """Return the key in a JWK (RFC 7518 section 6), ``None`` if it is not a usable one with a name."""
    if not isinstance(jwk, dict) or not isinstance(jwk.get("kid"), str) or jwk.get("use", "sig") != "sig":
        return None
    public = {name: jwk[name] for name in ("kty", "kid", "alg", "n", "e", "crv", "x", "y") if name in jwk}
    try:
        match JWKRegistry.import_key(public):
            case RSAKey() as key:
                known = key.public_key.public_numbers()
                return key if known.n.bit_length() in RSA_BITS and known.e < MAX_EXPONENT else None
            case ECKey(curve_name="P-256") as key:
                key.public_key  # noqa: B018 - raises if there is no such point
                return key
            case _:
                return None
    except (JoseError, KeyError, ValueError, TypeError, OverflowError):  # KeyError: an unknown curve
        return None


def _time(value: object) -> float:
    """Return a NumericDate (RFC 7519 section 2) in seconds since 1970, 0 for anything else."""
    known = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < MAX_TIME
    return float(value) if known else 0.0  # type: ignore[arg-type] # a number if known


def _audience(claims: Mapping[str, object]) -> str:
    audience = claims.get("aud")
    texts = audience if isinstance(audience, list) else [audience]
    return bounded(", ".join(sorted(text for text in texts if isinstance(text, str)))) or "(nobody)"


def _text(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    return value if isinstance(value, str) else ""
