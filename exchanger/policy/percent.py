"""Percent-encoding (RFC 3986 section 2.1, https://www.rfc-editor.org/rfc/rfc3986#section-2.1), as servers decode and clients encode it.

Must not know: what is encoded.
"""

import re
from typing import Final
from urllib.parse import quote

has_escape: Final = re.compile(r"%[0-9A-Fa-f]{2}").search
has_broken_escape: Final = re.compile(r"%(?![0-9A-Fa-f]{2})").search

_ESCAPE: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
_ENCODED_SLASH: Final = re.compile(r"%(?=2[Ff])")
_DIGITS: Final = "0123456789abcdefABCDEF"
# A table and one pass: the time does not depend on how many percent signs begin no escape, as it does in urllib.parse.unquote.
_OCTETS: Final = {(high + low).encode(): bytes([int(high + low, 16)]) for high in _DIGITS for low in _DIGITS}
_ASCII: Final = "".join(map(chr, range(128)))


def decode(text: str) -> str | None:
    """Decode every escape once, ``None`` if that is not UTF-8; a percent sign that begins none is literal."""
    try:
        return _ESCAPE.sub(lambda escape: _OCTETS[escape[1]], text.encode()).decode()
    except UnicodeError:
        return None


def decode_but_slashes(text: str) -> str | None:
    """Decode every escape but those of slashes, as some servers do before they look at dot segments."""
    return decode(_ENCODED_SLASH.sub("%25", text))


def encode(text: str) -> str | None:
    """Escape what is not ASCII, with upper-case digits in all escapes (RFC 3986 section 6.2.2.1), ``None`` for half a character."""
    try:
        return re.sub("%[0-9A-Fa-f]{2}", lambda escape: escape[0].upper(), quote(text, safe=_ASCII))
    except UnicodeEncodeError:
        return None
