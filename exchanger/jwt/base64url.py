"""base64url without padding, in which each sequence of bytes has exactly one text (RFC 7515 section 2).

Source: https://www.rfc-editor.org/rfc/rfc7515#section-2
"""

import base64
import re
from typing import Final

_TEXT: Final = re.compile(r"[A-Za-z0-9_-]*")


def encode(data: bytes) -> str:
    """Return the text of ``data``."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def decode(text: str) -> bytes | None:
    """Return the bytes, ``None`` if ``text`` is not what ``encode`` makes of them: padding, whitespace, or bits that belong to no byte."""
    if _TEXT.fullmatch(text) is None or len(text) % 4 == 1:
        return None
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    whole = len(data) // 3  # an incomplete group of bytes has unused bits
    return data if encode(data[3 * whole :]) == text[4 * whole :] else None
