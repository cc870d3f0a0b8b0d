"""How long the frames are that a client begins to send, known as soon as their heads are there.

The library tells of a frame when a part of its content has come, and a client that sends none would keep the connection. Must not know:
what frames are for, or what is in them.

Source: RFC 6455 section 5.2 (https://www.rfc-editor.org/rfc/rfc6455#section-5.2)
"""

from typing import Final, final

import attrs

_LENGTH_BITS: Final = 0x7F
_CONTROL: Final = 0x08
_MASKED: Final = 0x80
_KEY: Final = 4
_EXTENDED: Final = {126: 2, 127: 8}
"""Bytes of a length that does not fit into seven bits, by what stands in its place."""


@final
@attrs.define(eq=False)
class FrameLengths:
    """Follows the frames of one direction."""

    _head: bytearray = attrs.field(factory=bytearray, init=False, repr=False)
    _rest: int = attrs.field(default=0, init=False)

    def longest(self, data: bytes) -> int:
        """Return how many bytes the longest frame has whose head ends in ``data``, the next piece of what is sent; 0 for none.

        Control frames do not count: they have a limit of their own, which the library knows.
        """
        longest = at = 0
        while at < len(data):
            if self._rest:
                step = min(self._rest, len(data) - at)
                self._rest -= step
                at += step
                continue
            self._head.append(data[at])
            at += 1
            length = self._length()
            if length is not None:
                self._rest = length + (_KEY if self._head[1] & _MASKED else 0)
                longest = max(longest, 0 if self._head[0] & _CONTROL else length)
                self._head.clear()
        return longest

    def statistics(self) -> int:
        """Tell how many bytes of the frame at hand are still to come, as far as it is known."""
        return self._rest

    def _length(self) -> int | None:
        head = self._head
        if len(head) < 2:  # noqa: PLR2004 - flags and length
            return None
        short = head[1] & _LENGTH_BITS
        extended = _EXTENDED.get(short, 0)
        if len(head) < 2 + extended:
            return None
        return int.from_bytes(head[2:], "big") if extended else short
