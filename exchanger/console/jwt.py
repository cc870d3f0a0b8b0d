"""What a token says, for people to read: header and claims of a JWT (RFC 7519), never the token, never a verdict on its signature.

Must not know: who may see it.

Source: https://www.rfc-editor.org/rfc/rfc7519, compact form https://www.rfc-editor.org/rfc/rfc7515#section-3.1
"""

import base64
import binascii
from typing import Final, cast

import orjson

_PARTS: Final = 3
MAX_SHOWN_TOKEN: Final = 16 * 1024
"""Characters of a token that is looked into: longer ones cost the loop more than a page is worth."""
_MAX_EXACT: Final = 2**53 - 1

Jwt = dict[str, object]
OPAQUE: Final[Jwt] = {"opaque": True}
"""A token that is none, or none that can be looked into."""


def decoded(token: str) -> Jwt:
    """Return ``{"header", "claims", "signature": "present" | "none"}`` of a signed or unsigned JWT, or that it is opaque. Total."""
    parts = token.split(".", _PARTS)
    if len(token) > MAX_SHOWN_TOKEN or len(parts) != _PARTS:
        return OPAQUE
    header, claims = _object(parts[0]), _object(parts[1])
    if header is None or claims is None:
        return OPAQUE
    return {"header": header, "claims": claims, "signature": "present" if parts[2] else "none"}


def _object(segment: str) -> dict[str, object] | None:
    try:
        value = orjson.loads(base64.b64decode(segment + "=" * (-len(segment) % 4), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error):  # orjson's error is a ValueError, and so is text that is not ASCII
        return None
    return _exact(value) if isinstance(value, dict) else None


def _exact(claims: dict[str, object]) -> dict[str, object]:
    """Return ``claims`` with numbers as text where a page's would be other ones (https://www.rfc-editor.org/rfc/rfc8259#section-6)."""
    inner: list[dict[str, object] | list[object]] = [claims]
    while inner:
        part = inner.pop()
        for key, value in list(part.items() if isinstance(part, dict) else enumerate(part)):
            if isinstance(value, dict | list):
                inner.append(value)
            elif isinstance(value, int) and abs(value) > _MAX_EXACT:
                cast("dict[object, object]", part)[key] = str(value)  # a list takes the same
    return claims
