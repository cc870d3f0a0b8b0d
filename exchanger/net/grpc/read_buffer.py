"""Unparsed bytes from a peer, passed to the codec in pieces of whole frames.

The codec parses everything that it is given, and the cost of bytes differs by a factor of a thousand: 64 KiB are four DATA frames, or 7,000
empty ones, or header blocks that refer 60,000 times to a field of 4 KB. The lengths and types of the frames show it before they are parsed.
Pieces end between frames, since a request whose DATA arrives in two parts costs more than one that arrives whole.
"""

import struct
from typing import Final, final

import attrs

# RFC 9113 section 3.4.
_PREFACE_BYTES: Final = 24

# RFC 9113 section 4.1: the length (24 bits) and the type (8 bits) come first.
_FRAME_HEADER_BYTES: Final = 9
_PREFIX_BYTES: Final = 4
_length_and_type: Final = struct.Struct(">I").unpack_from
_WITH_HEADER_BLOCK: Final = frozenset({0x1, 0x9})  # HEADERS, CONTINUATION

# Bytes of header blocks that cost as much as a frame. Each may be a field of up to 4 KB, which takes the codec 1 µs.
_BLOCK_BYTES: Final = 12

# Bytes of one frame's header block that count. A longer one is mostly text, which is cheap: the codec accepts no list above 256 KiB or
# 1,024 fields, for which it needs 0.1 to 0.4 ms.
_MOST_BLOCK_BYTES: Final = 512

# Bytes of one call with what may come beside it: the connection's preface, SETTINGS, WINDOW_UPDATE, acknowledgements. Its frames, and the
# bytes of its header block. More is several calls, or an expensive one.
_CALL_BYTES: Final = 4096
_CALL_FRAMES: Final = 6
_CALL_BLOCK_BYTES: Final = 512

# Bytes of a piece: one frame of the greatest size. Such a frame can hold 3,000 messages of a stream (3 ms), counted only after parsing.
_PIECE_BYTES: Final = 16 * 1024 + _FRAME_HEADER_BYTES


@final
@attrs.define(eq=False)
class ReadBuffer:
    """Cuts a peer's bytes.

    Attributes:
        cost: That of the last piece: its frames or what its header blocks cost, whichever is more.
        pending: Whether ``take`` has more to return. The first bytes of a frame header wait for the others.
    """

    cost: int = attrs.field(default=0, init=False)
    pending: bool = attrs.field(default=False, init=False)
    _data: bytes = attrs.field(default=b"", init=False, repr=False)
    _start: int = attrs.field(default=0, init=False)
    _next_frame: int = attrs.field(default=_PREFACE_BYTES, init=False)  # its position in the data, or the one that it will have

    def feed(self, data: bytes) -> None:
        """Add ``data``, which was read."""
        if self._data:
            self._next_frame -= self._start
            data, self._start = self._data[self._start :] + data, 0
        self._data = data
        self.pending = self._next_frame > 0 or len(data) >= _PREFIX_BYTES

    def take_call(self) -> bytes | None:
        """Return everything, and forget it, if it is no more than one call and ends with a frame or in a payload; otherwise ``None``."""
        data, start, frame = self._data, self._start, self._next_frame
        size = len(data)
        if size - start > _CALL_BYTES:
            return None
        frames = block = 0
        while frame < size - _PREFIX_BYTES and frames <= _CALL_FRAMES:
            (word,) = _length_and_type(data, frame)
            frames += 1
            if word & 0xFF in _WITH_HEADER_BLOCK:
                if block:
                    return None
                block = word >> 8
            frame += _FRAME_HEADER_BYTES + (word >> 8)
        if frame < size or frames > _CALL_FRAMES or block > _CALL_BLOCK_BYTES:
            return None
        self.cost = max(frames, block // _BLOCK_BYTES)
        self._data, self._start, self._next_frame, self.pending = b"", 0, frame - size, False
        return data[start:] if start else data

    def take(self, most: int) -> bytes:
        """Return the next piece, and forget it. It ends with the frame that brings its cost to ``most``, if not before."""
        data, start, frame = self._data, self._start, self._next_frame
        size = len(data)
        last, latest_end, most_block = size - _PREFIX_BYTES, start + _PIECE_BYTES, most * _BLOCK_BYTES
        frames = block = 0
        while frame <= last and frames < most and block < most_block:
            (word,) = _length_and_type(data, frame)
            end = frame + _FRAME_HEADER_BYTES + (word >> 8)
            if end > latest_end and frame > start:
                break
            frames += 1
            if word & 0xFF in _WITH_HEADER_BLOCK:
                size_of_block = word >> 8
                block += size_of_block if size_of_block < _MOST_BLOCK_BYTES else _MOST_BLOCK_BYTES
            frame = end
        in_blocks = block // _BLOCK_BYTES
        self.cost = frames if frames > in_blocks else in_blocks
        if frame >= size:  # nearly always
            self._data, self._start, self._next_frame, self.pending = b"", 0, frame - size, False
            return data[start:] if start else data
        self._start = self._next_frame = frame
        self.pending = frame <= last
        return data[start:frame]

    def clear(self) -> None:
        """Forget everything: the connection has ended."""
        self._data, self._start, self.pending = b"", 0, False
