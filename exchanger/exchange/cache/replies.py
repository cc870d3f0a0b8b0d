"""The replies that a store may send: those to the commands in progress, each with the type and size of its command's reply.

The store's client would read anything: endlessly nested arrays, pushes without a subscription, numbers instead of values. So only whole
replies are passed on, and anything else ends the connection.

Source: https://redis.io/docs/latest/develop/reference/protocol-spec/. Must not know: sockets, the client, or what is stored.
"""

import re
from collections import deque
from typing import Final, final

import attrs

# Bytes of a line: the text of an error is the longest.
MAX_LINE: Final = 1024
# Limits of the greeting, in bytes and in parts. Redis sends 200 bytes in 15 parts, and about a hundred bytes more for each module.
MAX_GREETING: Final = 64 * 1024
MAX_PARTS: Final = 1024

_CRLF: Final = b"\r\n"
_SIMPLE, _ERROR, _NUMBER, _BULK, _ARRAY, _MAP = b"+-:$*%"
_LENGTH: Final = re.compile(rb"[0-9]{1,9}")
_FORMS: Final = {
    _SIMPLE: re.compile(rb"[^\r\n]*"),
    _NUMBER: re.compile(rb"-?[0-9]{1,19}"),
    **dict.fromkeys((_BULK, _ARRAY, _MAP), _LENGTH),
}


class UnexpectedReplyError(Exception):
    """The store sent something that is not a reply to a command in progress. It has no text, which would quote the store."""


@final
@attrs.frozen
class Reply:
    """The expected reply of a command, besides an error: the marks of its types, and the bytes of its strings. ``nests``: it has parts."""

    types: bytes
    max_bytes: int = 0
    nests: bool = False


_STATUS: Final = Reply(b"+")
_COUNT: Final = Reply(b":")
_GREETING: Final = Reply(b"%*+:$", MAX_GREETING, nests=True)
_REPLIES: Final = {
    b"HELLO": _GREETING,
    b"CLIENT SETINFO": _STATUS,
    b"SELECT": _STATUS,
    b"SET": _STATUS,
    b"PTTL": _COUNT,
    b"UNLINK": _COUNT,
    b"EVAL": _COUNT,
}


def reply_to(command: bytes, max_bytes: int = 0) -> Reply:
    """Return the form of the reply to ``command``; ``max_bytes`` bounds the value of GETRANGE. Commands not in use are a ``KeyError``."""
    return Reply(b"$", max_bytes) if command == b"GETRANGE" else _REPLIES[command]


@final
@attrs.define(eq=False)
class Replies:
    """Receives bytes and passes on complete replies.

    The first ``_read`` bytes of ``_held`` belong to a reply of which ``_parts`` parts are missing; ``_room`` more parts may be announced.
    """

    _expected: deque[Reply] = attrs.field(factory=deque, init=False)
    _held: bytearray = attrs.field(factory=bytearray, init=False, repr=False)
    _read: int = attrs.field(default=0, init=False)
    _parts: int = attrs.field(default=1, init=False)
    _room: int = attrs.field(default=MAX_PARTS, init=False)

    @property
    def expected(self) -> int:
        """The replies that are to come."""
        return len(self._expected)

    def expect(self, reply: Reply) -> None:
        """Expect one more, after the others."""
        self._expected.append(reply)

    def add(self, data: bytes) -> None:
        """Receive bytes from the store."""
        self._held += data

    def take(self) -> bytes:
        """Return the replies that are complete. What follows them is only checked when there are none.

        Raises:
            UnexpectedReplyError: the connection can no longer be used.
        """
        whole = 0
        try:
            while self._read < len(self._held):
                end = self._part(whole)
                if end is None:
                    break
                self._read, self._parts = end, self._parts - 1
                if not self._parts:
                    self._expected.popleft()
                    whole, self._parts, self._room = end, 1, MAX_PARTS
        except UnexpectedReplyError:
            if not whole:
                raise
        replies = bytes(self._held[:whole])
        del self._held[:whole]
        self._read -= whole
        return replies

    def _part(self, start: int) -> int | None:
        """Return the end of the part after ``_read`` of the reply at ``start``, ``None`` if it is incomplete.

        The parts that it announces count as missing from then on.
        """
        held, at = self._held, self._read
        if not self._expected or at - start > MAX_GREETING:
            raise UnexpectedReplyError
        reply = self._expected[0]
        head = held.find(_CRLF, at, at + MAX_LINE)
        if head < 0:
            if len(held) - at >= MAX_LINE:
                raise UnexpectedReplyError
            return None
        mark, text, end = held[at], held[at + 1 : head], head + 2
        if mark == _ERROR and self._room == MAX_PARTS:  # a whole reply, not a part of one
            return end
        if mark not in reply.types or not _FORMS[mark].fullmatch(text):
            raise UnexpectedReplyError
        if mark in {_ARRAY, _MAP}:
            parts = int(text) * (2 if mark == _MAP else 1)
            if parts >= self._room:
                raise UnexpectedReplyError
            self._parts += parts
            self._room -= parts + 1
        elif mark == _BULK:
            length, end = int(text), end + int(text) + 2
            if length > reply.max_bytes:
                raise UnexpectedReplyError
            if len(held) < end:
                return None
            if held[end - 2 : end] != _CRLF:
                raise UnexpectedReplyError
        return end
