"""Messages to one client over a WebSocket, and the end of it: the only module that knows the library that speaks the protocol.

The client says nothing; one that does, that breaks the protocol or that leaves pings unanswered is cut off. The library lets its own errors
escape when frames come after a close, and waits for ever in places: here everything that it does is in a nursery that ends with the
connection, and no exception of it goes further. Must not know: what messages say.

Source: RFC 6455 (https://www.rfc-editor.org/rfc/rfc6455)
"""

import contextlib
from collections.abc import Awaitable, Callable
from typing import Final, final

import attrs
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream
from wsproto.utilities import ProtocolError

from exchanger.console.frames import FrameLengths
from exchanger.console.peer import TooMuchError

PING_S: Final = 20.0
"""Seconds between two pings: below the half minute after which proxies end connections without traffic."""
PONG_S: Final = 40.0
"""Seconds that a ping may remain unanswered: together with the time before it a silent client has a minute."""
CLOSE_S: Final = 2.0
"""Seconds for the closing handshake."""
OPEN_S: Final = 10.0
"""Seconds for the opening one, which is there already, to be answered."""
MAX_MESSAGE: Final = 4096
"""Bytes of a message from the client, beyond which it is cut off with 1009 at once; one that is shorter is cut off with 1008."""

NORMAL, GOING_AWAY, POLICY_VIOLATION, TOO_BIG = 1000, 1001, 1008, 1009
"""Status codes of RFC 6455 section 7.4.1."""
_UNTOLD: Final = frozenset({1002, 1007, TOO_BIG})
"""A frame that breaks the protocol, text that is not UTF-8, and a message that gets too long."""
_CLOSE_FRAME: Final = 0x88
"""The first byte of a whole Close frame (section 5.2)."""


@final
@attrs.frozen
class Closing:
    """Why the connection is closed by us."""

    code: int
    reason: str


SPOKE: Final = Closing(POLICY_VIOLATION, "this stream is one-way")
REVOKED: Final = Closing(POLICY_VIOLATION, "the token was replaced; sign in again")
SILENT: Final = Closing(GOING_AWAY, "no answer to pings")
LEFT: Final = Closing(NORMAL, "")
STOPPING: Final = Closing(GOING_AWAY, "the service stops")


async def send_messages(
    stream: trio.abc.Stream, opening: bytes, take: Callable[[], Awaitable[str]], revoked: Callable[[], Awaitable[object]]
) -> None:
    """Answer the ``opening`` request on ``stream`` and send what ``take`` returns, until the client leaves or ``revoked`` returns.

    Whoever opened ``stream`` closes it. Exceptions of ``take`` come out in a group.
    """
    side = _LibrarySide(opening, stream)
    connection: WebSocketConnection | None = None
    try:
        async with trio.open_nursery() as library:
            connection = await _accepted(library, side)
            if connection is not None:
                closing = STOPPING  # unless there is another reason
                try:
                    closing = await _until_closing(connection, take, revoked)
                finally:
                    with trio.move_on_after(CLOSE_S, shield=True):
                        await connection.aclose(closing.code, closing.reason)
            library.cancel_scope.cancel()
    except* (ProtocolError, ConnectionClosed, trio.BrokenResourceError, trio.ClosedResourceError):
        pass  # the client left, or sent what the library does not take in the state that it is in
    reason = None if connection is None else connection.closed
    code = side.refused or (0 if reason is None else reason.code)
    if (side.refused or code in _UNTOLD) and not side.parted:
        # The library closes without a word then, and the client would not learn why (RFC 6455 section 7.1.7).
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await stream.send_all(bytes((_CLOSE_FRAME, 2)) + code.to_bytes(2, "big"))


async def _accepted(library: trio.Nursery, stream: trio.abc.Stream) -> WebSocketConnection | None:
    with trio.move_on_after(OPEN_S):
        request = await wrap_server_stream(library, stream, message_queue_size=1, max_message_size=MAX_MESSAGE)
        return await request.accept()
    return None


async def _until_closing(
    connection: WebSocketConnection, take: Callable[[], Awaitable[str]], revoked: Callable[[], Awaitable[object]]
) -> Closing:
    """Send until there is a reason to close, and return it."""
    reasons: list[Closing] = []

    async def ends(wait: Callable[[], Awaitable[Closing]]) -> None:
        with contextlib.suppress(ConnectionClosed):
            reasons.append(await wait())
        nursery.cancel_scope.cancel()

    async def send() -> Closing:
        while True:
            await connection.send_message(await take())

    async def hear() -> Closing:
        await connection.get_message()
        return SPOKE

    async def until_revoked() -> Closing:
        await revoked()
        return REVOKED

    async with trio.open_nursery() as nursery:
        for wait in (send, hear, until_revoked, lambda: _question(connection)):
            nursery.start_soon(ends, wait)
    return reasons[0] if reasons else LEFT


async def _question(connection: WebSocketConnection) -> Closing:
    """Ask the client for signs of life; return when there is none."""
    while True:
        await trio.sleep(PING_S)
        with trio.move_on_after(PONG_S) as patience:
            await connection.ping()
        if patience.cancelled_caught:
            return SILENT


@final
@attrs.define(eq=False)
class _LibrarySide(trio.abc.Stream):
    """What the library takes for the connection: ``first`` is received before what ``stream`` receives, and closing it closes nothing.

    What follows the opening request is received when that is answered: the library would take it for a part of the request and forget it.
    ``parted`` tells whether a Close frame was sent; the library sends each frame by itself. A frame that is too big by its own account is
    the end of what the library receives, and so is more than a client has a reason to send: ``refused`` is the status code for that, or 0.
    """

    first: bytes
    stream: trio.abc.Stream
    parted: bool = attrs.field(default=False, init=False)
    closed: bool = attrs.field(default=False, init=False)
    refused: int = attrs.field(default=0, init=False)
    _lengths: FrameLengths = attrs.field(factory=FrameLengths, init=False)
    _answered: trio.Event = attrs.field(factory=trio.Event, init=False)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self.closed:
            raise trio.ClosedResourceError("closed")
        self._answered.set()
        self.parted = self.parted or data[0] == _CLOSE_FRAME
        await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if self.closed:
            raise trio.ClosedResourceError("closed")
        if self.first:
            await trio.lowlevel.checkpoint()
            data, self.first = self.first, b""
            return data
        await self._answered.wait()
        try:
            data = bytes(await self.stream.receive_some(max_bytes))
        except TooMuchError:
            self.refused = POLICY_VIOLATION
            return b""
        if self._lengths.longest(data) > MAX_MESSAGE:
            self.refused = TOO_BIG
            return b""
        return data

    async def aclose(self) -> None:
        self.closed = True
        await trio.lowlevel.checkpoint()

    def statistics(self) -> tuple[bool, bool, int]:
        """Tell whether it is parted, whether it is closed, and with which status code the client was refused, 0 for none."""
        return self.parted, self.closed, self.refused
