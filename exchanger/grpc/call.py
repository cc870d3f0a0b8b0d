"""One call on a connection: how its request is put together, and what the connection reports about it.

Must not know: the HTTP/2 codec, tasks or clocks.
"""

from collections import deque
from typing import final

import attrs

from exchanger.grpc.framing import Deframer
from exchanger.grpc.routes import CallInfo, Route
from exchanger.grpc.status import GrpcError, StatusCode


@final
@attrs.define(eq=False)
class Call:
    """A call in the stream table. Only the connection changes it.

    ``open`` until it is answered, refused or gone; ``started`` when it was reported; ``ended`` when the peer has sent all it will;
    ``headed`` when response headers were sent. ``message`` is the request of a unary call, ``messages`` the unread ones of a
    client-streaming call (``None`` for any other). ``owed`` counts received bytes that were not given back to flow control yet, ``held``
    those of an incomplete message.
    """

    stream_id: int
    route: Route
    info: CallInfo
    message: bytes | None = attrs.field(default=None, repr=False)
    open: bool = True
    started: bool = False
    ended: bool = False
    headed: bool = False
    owed: int = 0
    held: int = 0
    deframer: Deframer | None = attrs.field(default=None, repr=False)
    messages: deque[bytes] | None = attrs.field(default=None, repr=False)

    def feed(self, data: bytes, limit: int) -> bool:
        """Take ``data``, with messages of at most ``limit`` bytes, and return whether it completed any.

        Raises:
            GrpcError: when it cannot become a request; the status is that of https://grpc.github.io/grpc/core/md_doc_statuscodes.html.
        """
        if self.deframer is None:
            self.deframer = Deframer(limit)
        messages = self.deframer.feed(data)
        self.held = self.deframer.held
        if self.messages is not None:
            self.messages.extend(messages)
        elif messages:
            if self.message is not None or len(messages) > 1:
                raise _not_one_message()
            self.message = messages[0]
        return bool(messages)

    def check_complete(self) -> None:
        """Raise ``GrpcError`` when what came until the end is not a request."""
        if self.held:
            raise GrpcError(StatusCode.INTERNAL, "request message cut short")
        if self.messages is None and self.message is None:
            raise _not_one_message()

    def release(self) -> None:
        """Let go of all that was received."""
        self.deframer = None
        self.held = 0
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
    """A call that was reported as started is over, and nobody waits for its answer any more."""

    call: Call


Event = Call | Arrived | Aborted
"""A ``Call`` by itself is one to start now: its request is complete, or it streams and its headers are there."""
