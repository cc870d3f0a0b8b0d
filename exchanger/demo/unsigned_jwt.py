"""Unsigned JWTs (RFC 7519 section 6, https://www.rfc-editor.org/rfc/rfc7519#section-6): tokens to look into, and to trust in nothing.

The demo's tokens are readable so that an exchange can be seen; nobody but the demo may accept them.
"""

import base64
import binascii
import json

_PARTS = 3  # header, claims, and a signature that is empty here


def encode(claims: dict[str, object]) -> str:
    """Return the unsigned JWT (``alg`` none) with these claims."""
    return f"{_segment({'alg': 'none', 'typ': 'JWT'})}.{_segment(claims)}."


def claims_of(token: str) -> dict[str, object] | None:
    """Return the claims of a JWT without looking at its signature; ``None`` when it is no JWT."""
    parts = token.split(".")
    if len(parts) != _PARTS:
        return None
    try:
        claims = json.loads(base64.b64decode(parts[1] + "=" * (-len(parts[1]) % 4), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError):
        return None
    return claims if isinstance(claims, dict) else None


def bearer_of(authorization: str) -> str:
    """Return the token of an ``Authorization: Bearer`` value (RFC 6750 section 2.1), "" if it is another one."""
    scheme, _, token = authorization.partition(" ")
    return token if scheme.lower() == "bearer" else ""


def _segment(value: dict[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value, separators=(",", ":")).encode()).rstrip(b"=").decode("ascii")
