"""base64url without padding, in which each sequence of bytes has exactly one text (RFC 7515 section 2).

Source: https://www.rfc-editor.org/rfc/rfc7515#section-2
"""

import base64
import binascii
from typing import Final

# To the alphabet of base64, whose own two last characters and padding mean nothing here.
_TO_BASE64: Final = bytes.maketrans(b"-_+/=", b"+/\0\0\0")


def encode(data: bytes) -> str:
    """Return the text of ``data``."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def decode(text: str) -> bytes | None:
    """Return the bytes, ``None`` if ``text`` is not what ``encode`` makes of them: padding, whitespace, or bits that belong to no byte."""
    odd = len(text) % 4
    try:
        padded = text.encode("ascii").translate(_TO_BASE64) + b"=" * (-odd % 4)
        data = binascii.a2b_base64(padded, strict_mode=True)
    except ValueError:  # a character beyond the alphabet, or one too many
        return None
    # Only the last character can have bits that belong to no byte.
    return data if not odd or binascii.b2a_base64(data[1 - odd :], newline=False) == padded[-4:] else None
