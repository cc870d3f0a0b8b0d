"""Reads a JWT without checking its signature, to show it or to compare it with another. No decision depends on it.

Source: RFC 7515 section 3.1 (https://www.rfc-editor.org/rfc/rfc7515#section-3.1)
"""

import base64
import json
from typing import Final

from exchanger.formats.strict_json import no_constant

_PARTS: Final = 3  # header, claims, and a signature that may be empty


def claims_of(token: str) -> dict[str, object] | None:
    """Return the claims, ``None`` if ``token`` is not a JWT. Never raises; the header is not read."""
    parts = token.split(".", _PARTS)
    return object_of(parts[1]) if len(parts) == _PARTS else None


def object_of(segment: str) -> dict[str, object] | None:
    """Return the JSON object in a header or in the claims of a JWT, ``None`` if ``segment`` is anything else. Never raises."""
    try:
        data = base64.b64decode(segment + "=" * (-len(segment) % 4), altchars=b"-_", validate=True)
        value = json.loads(data.decode(), parse_constant=no_constant)
    except (ValueError, RecursionError):  # not base64url, not UTF-8, not JSON, or nested too deep
        return None
    return value if isinstance(value, dict) else None
