"""Frames that the codec does not make: gRPC's length-prefixed messages, and the GOAWAY after the codec has failed.

Source: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#requests
"""

import struct
from typing import Final, final

import attrs

from exchanger.net.grpc.status import GrpcError, StatusCode

# Compressed-Flag (1 byte) and Message-Length (4 bytes, big endian).
PREFIX_BYTES: Final = 5

COMPRESSED: Final = 1
_GOAWAY_TYPE: Final = 7

_PREFIX: Final = struct.Struct(">BI")
# Returns Compressed-Flag and Message-Length of data that begins with a prefix.
unpack_prefix: Final = _PREFIX.unpack_from
_pack_prefix: Final = _PREFIX.pack


def frame(message: bytes, *, compressed: bool = False) -> bytes:
    """Return ``message`` with its prefix. ``compressed`` only sets the flag."""
    return _pack_prefix(compressed, len(message)) + message


def goaway(last_stream: int, error_code: int) -> bytes:
    """Return a GOAWAY frame (RFC 9113 section 6.8)."""
    payload = last_stream.to_bytes(4, "big") + error_code.to_bytes(4, "big")
    return len(payload).to_bytes(3, "big") + bytes((_GOAWAY_TYPE, 0)) + bytes(4) + payload


@final
class CompressedMessage(Exception):  # noqa: N818 - not an error yet: the call knows which one it is
    """A prefix marks its message as compressed."""


@final
@attrs.define(eq=False)
class Deframer:
    """Cuts one call's bytes into messages of at most ``limit`` bytes; holds the beginning of at most one message."""

    _limit: int
    _buffer: bytearray = attrs.field(factory=bytearray, init=False, repr=False)

    @property
    def held(self) -> int:
        """Bytes of an incomplete message."""
        return len(self._buffer)

    def feed(self, data: bytes, most: int | None = None) -> list[bytes]:
        """Return the messages that ``data`` completes, in order, and hold back messages after the first ``most``.

        After an exception this object must not be used any more.

        Raises:
            GrpcError: as soon as a prefix announces a message that will not be read.
            CompressedMessage: likewise.
        """
        buffer = self._buffer
        buffer += data
        messages: list[bytes] = []
        start = 0
        while len(buffer) - start >= PREFIX_BYTES and len(messages) != most:
            try:
                size = self._announced(*unpack_prefix(buffer, start))
            except (GrpcError, CompressedMessage):
                buffer.clear()
                raise
            end = start + PREFIX_BYTES + size
            if end > len(buffer):
                break
            messages.append(bytes(memoryview(buffer)[start + PREFIX_BYTES : end]))
            start = end
        del buffer[:start]
        return messages

    def _announced(self, flag: int, size: int) -> int:
        if flag == COMPRESSED:
            raise CompressedMessage
        if flag:
            raise GrpcError(StatusCode.INTERNAL, "malformed message prefix")
        if size > self._limit:
            raise GrpcError(StatusCode.RESOURCE_EXHAUSTED, f"message larger than {self._limit} bytes")
        return size
