"""HTTP/2 frames made by hand (RFC 9113 section 4.1), for what a codec would not send."""

from collections.abc import Iterable
from typing import Final

from tests.net.grpc.peer import Header

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8


def raw(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def word(value: int) -> bytes:
    return value.to_bytes(4, "big")


def block(headers: Iterable[Header]) -> bytes:
    """Return ``headers`` as literals that leave the peer's table alone (RFC 7541 section 6.2.2)."""
    return b"".join(b"\0" + _text(name) + _text(value) for name, value in headers)


def _text(data: bytes) -> bytes:
    size = len(data)
    if size < 0x7F:
        return bytes((size,)) + data
    rest, digits = size - 0x7F, bytearray((0x7F,))  # RFC 7541 section 5.1
    while rest >= 0x80:
        digits.append(0x80 | rest & 0x7F)
        rest >>= 7
    digits.append(rest)
    return bytes(digits) + data


def request(stream: int, headers: Iterable[Header], body: bytes | None = None, *, end: bool = True) -> bytes:
    """Return the frames of a request; with ``end`` it is complete."""
    ended = END_STREAM if end else 0
    if body is None:
        return raw(HEADERS, END_HEADERS | ended, stream, block(headers))
    return raw(HEADERS, END_HEADERS, stream, block(headers)) + raw(DATA, ended, stream, body)


def reset(stream: int, code: int = 8) -> bytes:
    return raw(RST_STREAM, 0, stream, word(code))
