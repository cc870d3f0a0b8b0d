"""The wire format of protobuf (https://protobuf.dev/programming-guides/encoding/), for the one answer that differs from request to request.

Building an answer with a token as messages and serialising them takes ten times as long.
"""

import functools
from typing import Final

from exchanger.model.secret import Secret


def varint(number: int) -> bytes:
    """Return ``number``, which is not negative, in base 128."""
    groups = bytearray()
    while number > 0x7F:  # noqa: PLR2004 - seven bits a byte
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)


# Lengths of usual answers: a token has one or two KiB.
_LENGTHS: Final = tuple(map(varint, range(4096)))


def field(tag: bytes, data: bytes) -> bytes:
    """Return a length-delimited field; ``tag`` is its number times eight, plus two."""
    size = len(data)
    return tag + (_LENGTHS[size] if size < 4096 else varint(size)) + data  # noqa: PLR2004 - as many as there are


# envoy.config.core.v3.HeaderValueOption: header = 1, append = 2 (an empty BoolValue), append_action = 3 (OVERWRITE_IF_EXISTS_OR_ADD).
# HeaderValue: key = 1, value = 2, raw_value = 3. Versions of Envoy disagree on which of the two last fields of an option they use.
_KEY: Final = b"\x0a\x0dauthorization"
REPLACES: Final = b"\x12\x00\x18\x02"
_SCHEME: Final = b"Bearer "


def authorization(token: Secret, tag: bytes) -> bytes:
    """Return the serialised HeaderValueOption that sets Authorization to ``token``; ``tag`` is that of the field for the value."""
    value = token.reveal().encode("ascii")
    return field_header(len(value), tag) + value + REPLACES


def field_header(size: int, tag: bytes) -> bytes:
    """Return the bytes before a token of ``size`` bytes in that option; ``REPLACES`` follows it."""
    header = _KEY + tag + varint(len(_SCHEME) + size) + _SCHEME
    return b"\x0a" + varint(len(header) + size) + header


# One for each issuer whose tokens are read from other headers.
@functools.lru_cache(maxsize=256)
def removals(headers: tuple[str, ...], tag: bytes) -> bytes:
    """Return the serialised names of headers to remove; ``tag`` is that of their field."""
    return b"".join(field(tag, header.encode("ascii")) for header in headers)
