"""The connection that a WebSocket is on: every write is bounded, and so is what a client sends that has nothing to say.

What had come with the opening request is read first. Must not know: frames.
"""

from typing import Final, final

import attrs
import trio

from exchanger.http.connection import send_bounded

WRITE_S: Final = 60.0
"""Seconds for a peer to take what is sent: as long as it may leave a ping unanswered."""
ALLOWANCE: Final = 16 * 1024
"""Bytes that a client may send at once, and a second's worth below. It sends control frames of at most 131 bytes, one in some seconds; what
it sends is small for the network and not for a parser: pings are answered, and pieces of a message that never ends are kept."""
ALLOWANCE_A_SECOND: Final = 1024


@final
class TooMuchError(trio.BrokenResourceError):
    """The peer sends more than it has a reason to; what it may be sent is not affected."""


@final
@attrs.frozen
class PeerStatistics:
    """Bytes that may be received now, beyond which the connection counts as broken."""

    allowance: float


@final
@attrs.define(eq=False)
class PeerStream(trio.abc.Stream):
    """One side of a connection. Closing it leaves the socket open, for whoever opened that to close in order."""

    _stream: trio.abc.Stream
    _first: bytes = attrs.field(default=b"", repr=False)
    _closed: bool = attrs.field(default=False, init=False)
    _allowance: float = attrs.field(default=ALLOWANCE, init=False)
    _since: float = attrs.field(factory=trio.current_time, init=False)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See ``trio.abc.SendStream``.

        Raises:
            trio.BrokenResourceError: the connection broke, or the peer does not read.
            trio.ClosedResourceError: it is closed.
        """
        if self._closed:
            raise trio.ClosedResourceError("closed")
        await send_bounded(self._stream, bytes(data), seconds=WRITE_S)

    async def wait_send_all_might_not_block(self) -> None:
        """See ``trio.abc.SendStream``."""
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """See ``trio.abc.ReceiveStream``.

        Raises:
            TooMuchError: the peer sends more than it has a reason to.
            trio.BrokenResourceError: the connection broke.
            trio.ClosedResourceError: it is closed.
        """
        if self._closed:
            raise trio.ClosedResourceError("closed")
        if self._first:
            await trio.lowlevel.checkpoint()
            data, self._first = self._first, b""
        else:
            data = bytes(await self._stream.receive_some(max_bytes))
        now = trio.current_time()
        self._allowance = min(ALLOWANCE, self._allowance + (now - self._since) * ALLOWANCE_A_SECOND) - len(data)
        self._since = now
        if self._allowance < 0:
            raise TooMuchError("the peer sends too much")
        return data

    async def aclose(self) -> None:
        """Have nothing pass any more."""
        self._closed = True
        await trio.lowlevel.checkpoint()

    def statistics(self) -> PeerStatistics:
        """Tell what the peer may still send."""
        return PeerStatistics(self._allowance)
