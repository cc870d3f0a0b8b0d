"""One HTTP/1.1 connection of a server, over h11: heads that are measured before they are parsed, and waits that end.

Must not know: what is asked for, or what is answered.
"""

from typing import Final, final

import attrs
import h11
import trio

LINGER_S: Final = 1.0
"""Seconds, and bytes below, that are read and thrown away before a connection is closed that the peer still sends on: closed at once, it
would be reset, and the peer would lose the answer (RFC 9112 section 9.6, https://www.rfc-editor.org/rfc/rfc9112#section-9.6)."""
LINGER_BYTES: Final = 4 * 1024 * 1024
_RECEIVE_BYTES: Final = 16 * 1024


@final
@attrs.frozen
class HeadLimits:
    """What a request's line and headers may be: ``size`` in bytes, their number of ``lines``, each of which costs time in the loop.

    ``idle`` seconds until the first byte of a request, ``arrival`` seconds from there until it is complete.
    """

    size: int
    lines: int
    idle: float
    arrival: float


def new_connection(limits: HeadLimits) -> h11.Connection:
    """Return the protocol's state for a new connection."""
    return h11.Connection(h11.SERVER, max_incomplete_event_size=limits.size)


async def receive_head(stream: trio.abc.Stream, protocol: h11.Connection, turn: trio.Lock, limits: HeadLimits) -> h11.Request | None:
    """Return the head of the next request; ``None`` when the peer left or took too long.

    Heads are read by ``turn``, one in a round of the event loop: many at once would hold up everything else that is done in it.

    Raises:
        h11.RemoteProtocolError: what was received is no HTTP, or too large.
        trio.BrokenResourceError: the connection broke.
    """
    with trio.move_on_after(limits.idle) as patience:
        silent = True
        while True:
            async with turn:
                _measure(protocol, limits)
                event = protocol.next_event()
            if event is not h11.NEED_DATA:
                break
            protocol.receive_data(bytes(await stream.receive_some(_RECEIVE_BYTES)))
            if silent:
                silent = False
                patience.deadline = trio.current_time() + limits.arrival
        return event if isinstance(event, h11.Request) else None
    return None


def _measure(protocol: h11.Connection, limits: HeadLimits) -> None:
    data, _ = protocol.trailing_data
    length = min((at + len(end) for end in (b"\n\r\n", b"\n\n") if (at := data.find(end)) >= 0), default=0)
    if length > limits.size:  # h11 measures heads that are incomplete alone
        raise h11.RemoteProtocolError("too long a head", error_status_hint=431)
    if data.count(b"\n", 0, length - 1 if length else len(data)) > limits.lines:
        raise h11.RemoteProtocolError("too many header fields", error_status_hint=431)


async def send_bounded(stream: trio.abc.Stream, *parts: bytes, seconds: float) -> None:
    """Send ``parts``.

    Raises:
        trio.BrokenResourceError: the connection broke, or the peer does not take it within ``seconds``.
    """
    with trio.move_on_after(seconds):
        for data in parts:
            await stream.send_all(data)
        return
    raise trio.BrokenResourceError("the peer does not read")


async def linger(stream: trio.SocketStream) -> None:
    """Say that nothing more comes, and read what the peer still sends, for a while."""
    with trio.move_on_after(LINGER_S):
        try:
            await stream.send_eof()
            taken = 0
            while taken < LINGER_BYTES and (data := await stream.receive_some(_RECEIVE_BYTES)):
                taken += len(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return
