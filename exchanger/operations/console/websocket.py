"""A one-way WebSocket: messages to one client. The only module that uses the library for the protocol.

The client must not send messages: one that does, that breaks the protocol, that sends too much, or that leaves pings unanswered is
disconnected. The library lets some of its errors escape when frames follow a close, and in places waits for ever. Here it runs in a nursery
that ends with the connection, none of its exceptions leaves this module, and it never sees the client's own opening request.

Source: RFC 6455 (https://www.rfc-editor.org/rfc/rfc6455)
"""

import contextlib
import re
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Final, final

import attrs
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream
from wsproto.utilities import ProtocolError

from exchanger.net.http.message import Request, Response
from exchanger.net.http.server import send_all
from exchanger.operations.console.message import error

# Seconds between two pings: less than the half minute after which proxies end connections without traffic.
PING_S: Final = 20.0
# Seconds that a ping may remain unanswered. With the time before it, a silent client has a minute.
PONG_S: Final = 40.0
# Seconds for the opening handshake, whose request has arrived already, and for the closing one.
OPEN_S: Final = 10.0
CLOSE_S: Final = 2.0
# Seconds for the client to read what is sent: as long as a ping may remain unanswered, and the time before it.
WRITE_S: Final = 60.0
# Bytes of a message from the client, beyond which the library closes with 1009. It has nothing to say.
MAX_MESSAGE: Final = 4096
# Bytes that a client may send at once, and per second beyond that. It sends control frames of at most 131 bytes, one every few seconds.
# What is little for the network is much for a parser: pings are answered, and fragments of a message that never ends are kept.
ALLOWANCE: Final = 16 * 1024
ALLOWANCE_PER_S: Final = 1024

VERSION: Final = "13"
# Base64 of 16 bytes.
_KEY: Final = re.compile(r"[A-Za-z0-9+/]{21}[AQgw]==", re.ASCII)
# The host in the opening request that the library gets; the client's own has been checked before.
_HOST: Final = "console"


@final
@attrs.frozen
class Handshake:
    """The client's key. The server's response proves that it has read it."""

    key: str

    def request(self, path: str, host: str = _HOST, headers: Mapping[str, str] = MappingProxyType({})) -> bytes:
        """Return an opening request with this key, these ``headers`` and nothing else of the client's."""
        lines = (
            f"GET {path} HTTP/1.1",
            f"Host: {host}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {self.key}",
            f"Sec-WebSocket-Version: {VERSION}",
            *(f"{name}: {value}" for name, value in headers.items()),
        )
        return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


def read_handshake(request: Request) -> Handshake | Response:
    """Return the opening handshake in ``request``, or the response that refuses it (section 4.2.1). Extensions are ignored."""
    if request.method != "GET" or not (_has(request, "connection", "upgrade") and _has(request, "upgrade", "websocket")):
        return error(426, "this is a WebSocket", ("Upgrade", "websocket"), ("Connection", "Upgrade"))
    if request.values("sec-websocket-version") != (VERSION,):
        return error(426, f"only version {VERSION} of the WebSocket protocol is supported", ("Sec-WebSocket-Version", VERSION))
    key = request.value("sec-websocket-key")
    return Handshake(key) if _KEY.fullmatch(key) else error(400, "the WebSocket's key is missing or malformed")


def _has(request: Request, name: str, token: str) -> bool:
    return any(part.strip(" \t").lower() == token for value in request.values(name) for part in value.split(","))


@final
@attrs.frozen
class Closing:
    """Why the server closes the connection: a status code of section 7.4.1, and words."""

    code: int
    reason: str


NORMAL, GOING_AWAY, POLICY_VIOLATION = 1000, 1001, 1008
SPOKE: Final = Closing(POLICY_VIOLATION, "this stream is one-way")
REVOKED: Final = Closing(POLICY_VIOLATION, "the token was replaced; sign in again")
SILENT: Final = Closing(GOING_AWAY, "no answer to pings")
LEFT: Final = Closing(NORMAL, "")
STOPPING: Final = Closing(GOING_AWAY, "the service is stopping")


async def send_messages(
    stream: trio.abc.Stream, handshake: Handshake, take: Callable[[], Awaitable[str]], revoked: Callable[[], Awaitable[object]]
) -> None:
    """Open the WebSocket on ``stream`` and send what ``take`` returns, until the client leaves or ``revoked`` returns.

    The caller closes ``stream``. Exceptions of ``take`` come out in a group.
    """
    try:
        async with trio.open_nursery() as library:
            connection = await _accepted(library, _Peer(stream, handshake.request("/")))
            if connection is not None:
                closing = STOPPING  # unless there is another reason
                try:
                    closing = await _until_closing(connection, take, revoked)
                finally:
                    with trio.move_on_after(CLOSE_S, shield=True):
                        await connection.aclose(closing.code, closing.reason)
            library.cancel_scope.cancel()
    except* (ProtocolError, ConnectionClosed, trio.BrokenResourceError, trio.ClosedResourceError):
        pass  # the client left, or sent what the library does not accept in its current state


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
        for wait in (send, hear, until_revoked, lambda: _ping(connection)):
            nursery.start_soon(ends, wait)
    return reasons[0] if reasons else LEFT


async def _ping(connection: WebSocketConnection) -> Closing:
    """Ping the client; return once a ping remains unanswered."""
    while True:
        await trio.sleep(PING_S)
        with trio.move_on_after(PONG_S) as patience:
            await connection.ping()
        if patience.cancelled_caught:
            return SILENT


@final
@attrs.define(eq=False)
class _Peer(trio.abc.Stream):
    """The connection as the library sees it: ``first`` is received before anything else, and sends and receipts are bounded.

    Closing it leaves the socket open: its owner closes that in order.
    """

    _stream: trio.abc.Stream
    _first: bytes = attrs.field(repr=False)
    _closed: bool = attrs.field(default=False, init=False)
    _allowance: float = attrs.field(default=ALLOWANCE, init=False)
    _since: float = attrs.field(factory=trio.current_time, init=False)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._closed:
            raise trio.ClosedResourceError("closed")
        await send_all(self._stream, bytes(data), seconds=WRITE_S)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if self._closed:
            raise trio.ClosedResourceError("closed")
        if self._first:
            await trio.lowlevel.checkpoint()
            first, self._first = self._first, b""
            return first
        data = bytes(await self._stream.receive_some(max_bytes))
        now = trio.current_time()
        self._allowance = min(ALLOWANCE, self._allowance + (now - self._since) * ALLOWANCE_PER_S) - len(data)
        self._since = now
        if self._allowance < 0:
            raise trio.BrokenResourceError("the client sends too much")
        return data

    async def aclose(self) -> None:
        self._closed = True
        await trio.lowlevel.checkpoint()
