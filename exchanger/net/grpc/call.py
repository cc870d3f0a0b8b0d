"""One call on a connection: how its request is put together, and the events that the connection reports about it."""

import math
from collections import deque
from typing import Final, final

import attrs

from exchanger.net.grpc.framing import CompressedMessage, Deframer
from exchanger.net.grpc.routes import CallInfo, Route
from exchanger.net.grpc.status import GrpcError, StatusCode

NEVER: Final = math.inf

# Memory of an unread message in addition to its bytes. Without this, a stream of tiny messages would hold many times what is counted.
_OBJECT_BYTES: Final = 64

# Messages of a unary call after which further ones are not looked at: 16 KiB can hold 3,000.
_TOO_MANY: Final = 2


@final
@attrs.define(eq=False)
class Call:
    """A call in the stream table. Only the connection changes it.

    A unary call whose request came in one frame has no ``deframer`` and no ``due``, and counts as holding nothing.

    Attributes:
        message: The request of a unary call.
        open: It is neither answered, refused nor gone yet.
        started: It was reported.
        ended: The peer has sent everything.
        headers_sent: Response headers were sent.
        unread: Received bytes that were not given back to flow control yet.
        messages: Unread messages of a client-streaming call; ``None`` for any other.
        due: When the message that has begun to arrive must be complete (seconds).
    """

    stream_id: int
    route: Route
    info: CallInfo
    message: bytes | None = attrs.field(default=None, repr=False)
    open: bool = True
    started: bool = False
    ended: bool = False
    headers_sent: bool = False
    unread: int = 0
    deframer: Deframer | None = attrs.field(default=None, repr=False)
    messages: deque[bytes] | None = attrs.field(default=None, repr=False)
    due: float = attrs.field(init=False, repr=False)  # like the next one, not set unless needed
    _kept: int = attrs.field(init=False, repr=False)

    @property
    def partial(self) -> int:
        """Bytes of a message that is not complete."""
        return 0 if self.deframer is None else self.deframer.held

    @property
    def held(self) -> int:
        """Bytes that were received in parts, or wait to be read."""
        return 0 if self.deframer is None else self.deframer.held + self._kept

    def expect_parts(self, limit: int) -> Deframer:
        """Prepare for a request in parts, with messages of at most ``limit`` bytes."""
        self.deframer = Deframer(limit)
        self._kept = 0
        return self.deframer

    def feed(self, data: bytes, limit: int) -> int:
        """Add ``data``, with messages of at most ``limit`` bytes, and return how many it completed.

        Raises:
            GrpcError: when it cannot become a request; the status is that of https://grpc.github.io/grpc/core/md_doc_statuscodes.html.
        """
        deframer = self.deframer or self.expect_parts(limit)
        try:
            messages = deframer.feed(data, _TOO_MANY if self.messages is None else None)
        except CompressedMessage:
            raise self._compressed() from None
        self._kept += sum(map(len, messages))
        if self.messages is not None:
            self._kept += _OBJECT_BYTES * len(messages)
            self.messages.extend(messages)
        elif messages:
            if self.message is not None or len(messages) > 1:
                raise _not_one_message()
            self.message = messages[0]
        return len(messages)

    def take(self) -> bytes | None:
        """Return the next unread message of a client-streaming call, or ``None`` if there is none."""
        if not self.messages:
            return None
        message = self.messages.popleft()
        self._kept -= len(message) + _OBJECT_BYTES
        return message

    def check_complete(self) -> None:
        """Raise ``GrpcError`` when the data up to the end is not a request."""
        if self.partial:
            raise GrpcError(StatusCode.INTERNAL, "request message cut short")
        if self.messages is None and self.message is None:
            raise _not_one_message()

    def _compressed(self) -> GrpcError:
        """Explain a compressed message: it names no encoding, or an unsupported one; none is supported.

        https://github.com/grpc/grpc/blob/master/doc/compression.md
        """
        if self.info.encoding in {b"", b"identity"}:
            return GrpcError(StatusCode.INTERNAL, "message is marked as compressed, but no grpc-encoding is given")
        return GrpcError(StatusCode.UNIMPLEMENTED, "compressed messages are not supported")

    def release(self) -> None:
        """Let go of all received data."""
        self.deframer = None
        if self.messages is not None:
            self.messages.clear()


def _not_one_message() -> GrpcError:
    return GrpcError(StatusCode.UNIMPLEMENTED, "the method takes exactly one message")


@final
@attrs.frozen
class Arrived:
    """A client-streaming call has new messages, or no more will come."""

    call: Call


@final
@attrs.frozen
class Aborted:
    """A call that was reported as started has ended; its answer is no longer needed."""

    call: Call


# A ``Call`` itself means that it can start: its request is complete, or it streams and its headers have been received.
Event = Call | Arrived | Aborted
