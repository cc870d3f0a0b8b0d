"""The demo's tokens: unsigned JWTs (RFC 7519 section 6), readable so that an exchange can be seen, and opaque ones.

Only the demo may accept them. Its assertions are signed, since the service sends no unsigned one on.

https://www.rfc-editor.org/rfc/rfc7519#section-6
"""

import enum
import hmac
import json
from typing import Final, final

import attrs

from exchanger.formats.jwt import base64url
from exchanger.net.network import SYSTEM

# The service's client at the demo's token endpoint, which names it in the tokens that it issues.
CLIENT_ID: Final = "exchanger-demo"
# The service's client at the demo's second issuer, which the first one writes into assertions.
CHAT_CLIENT_ID: Final = "exchanger-at-chat"

# Tokens that say nothing. The demo's token endpoint knows whose the first one is, and has revoked the second one.
OPAQUE_TOKEN: Final = "opaque-2YotnFZFEjr1zCsicMWpAA"
REVOKED_TOKEN: Final = "opaque-tGzv3JOkF0XG5Qx2TlKWIA"

USER: Final = "alice"
_VALID_S: Final = 86_400  # a day, for a demo that is left running
_EXPIRED_S: Final = 3_600  # beyond any leeway for clocks


@enum.unique
class Subject(enum.Enum):
    """The subject token of a request. Only an issuer that verifies signatures can tell unsigned, truncated and foreign from valid."""

    NONE = "none"
    VALID = "valid"
    EXPIRED = "expired"
    UNSIGNED = "unsigned"
    TRUNCATED = "truncated"
    FOREIGN = "foreign"
    OPAQUE = "opaque"
    REVOKED = "revoked"


@final
@attrs.frozen
class Subjects:
    """The subject tokens. They are worthless outside the demo, but still tokens: hidden from repr."""

    valid: str = attrs.field(repr=False)
    expired: str = attrs.field(repr=False)

    def token(self, subject: Subject) -> str:
        """Return the token for ``subject``, "" for none. Without a signature, none of these tokens can have a wrong one."""
        others = {Subject.NONE: "", Subject.EXPIRED: self.expired, Subject.OPAQUE: OPAQUE_TOKEN, Subject.REVOKED: REVOKED_TOKEN}
        return others.get(subject, self.valid)


def make_subjects(user: str = USER, *, now: float | None = None) -> Subjects:
    """Return new subject tokens of ``user``; ``now`` is in seconds since 1970."""
    moment = int(SYSTEM.wall() if now is None else now)
    return Subjects(
        valid=_subject_token(user, moment, moment + _VALID_S), expired=_subject_token(user, moment - 2 * _EXPIRED_S, moment - _EXPIRED_S)
    )


def encode(claims: dict[str, object]) -> str:
    """Return the unsigned JWT (``alg`` none) with these claims."""
    return f"{_segment({'alg': 'none', 'typ': 'JWT'})}.{_segment(claims)}."


def sign(claims: dict[str, object], typ: str, key: bytes) -> str:
    """Return the JWT of type ``typ`` with these claims, signed with a secret ``key`` (HS256, RFC 7518 section 3.2)."""
    signed = f"{_segment({'alg': 'HS256', 'typ': typ})}.{_segment(claims)}"
    return f"{signed}.{base64url.encode(hmac.digest(key, signed.encode(), 'sha256'))}"


def is_signed(token: str, key: bytes) -> bool:
    """Whether ``token`` was signed with ``key``."""
    signed, _, signature = token.rpartition(".")
    return hmac.compare_digest(base64url.encode(hmac.digest(key, signed.encode(), "sha256")).encode(), signature.encode())


def bearer_of(authorization: str) -> str:
    """Return the token of an ``Authorization: Bearer`` value (RFC 6750 section 2.1), "" for any other value."""
    scheme, _, token = authorization.partition(" ")
    return token if scheme.lower() == "bearer" else ""


def _segment(value: dict[str, object]) -> str:
    return base64url.encode(json.dumps(value, separators=(",", ":")).encode())


def _subject_token(user: str, issued_at: int, expires_at: int) -> str:
    claims = {"iss": "https://login.example.com", "sub": user, "aud": ["app.example.com"], "scope": "openid profile"}
    return encode({**claims, "iat": issued_at, "exp": expires_at})
