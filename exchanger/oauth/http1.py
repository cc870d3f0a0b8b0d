"""One HTTP/1.1 connection to a token endpoint: a Trio stream with h11's state machine beside it, and the time each phase may take.

Framing and syntax are h11's (RFC 9112, https://www.rfc-editor.org/rfc/rfc9112). This module moves bytes, bounds what it reads, and decides
whether a connection may carry another exchange. It knows nothing of pools or tokens. A peer's mistake is a value, never an exception: h11's
messages quote header values, and those of a request are secrets.
"""

import contextlib
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final, final

import attrs
import h11
import trio

# Bytes a read: one TLS record (RFC 8446 section 5.1), and few enough that no read holds very many tiny chunks to work through.
_READ_BYTES: Final = 16 * 1024

# Longest response head, or chunk line, that is taken in, give or take one read; common servers send 8 KiB at most.
_MAX_HEAD_BYTES: Final = 64 * 1024

# Most 1xx responses before the real one; none is expected, as no ``Expect`` is sent.
_MAX_INTERIM_RESPONSES: Final = 8


@final
@attrs.frozen
class PhaseLimits:
    """Longest time of each phase, in seconds; the limit of the whole call holds beside them."""

    dial: float
    tls_handshake: float
    response_header: float


@final
@attrs.define(eq=False)
class Bounds:
    """The cancel scope of one call: it ends at ``expires``, or with the present phase if that is sooner.

    One scope whose deadline moves costs less than a scope a phase, and the caller sees one kind of timeout. ``phase`` says what is under
    way, and ``failure`` why it came to no good end, "" if nothing but the time did: both in words for operators, and of our own making.
    """

    expires: float
    limits: PhaseLimits
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    phase: str = attrs.field(default="waiting for a free connection", init=False)
    failure: str = attrs.field(default="", init=False)

    def __attrs_post_init__(self) -> None:
        self.scope.deadline = self.expires

    def begin(self, seconds: float, phase: str = "under way") -> None:
        """Begin a phase that may take ``seconds``."""
        self.phase = phase
        self.scope.deadline = min(self.expires, trio.current_time() + seconds)

    def end(self) -> None:
        """End the phase; only the whole call is bounded from here on."""
        self.scope.deadline = self.expires


async def close_at_once(stream: trio.abc.Stream) -> None:
    """Close ``stream``, also while cancelled. It sends nothing and waits for nothing, so the shield needs no deadline."""
    with trio.CancelScope(shield=True):
        await trio.aclose_forcefully(stream)


@final
@attrs.frozen
class Broken:
    """The connection failed under an exchange; ``answered`` if any byte of a response had come by then."""

    answered: bool


@final
@attrs.define(eq=False)
class Http1Connection:
    """One connection, for one exchange at a time.

    Args:
        stream: The transport, with TLS if there is any.
        pending: Whether unexpected bytes wait to be read, between exchanges.
        is_only_tls: Consumes what is pending, and returns whether all of it was TLS's own messages; ``None`` without TLS.

    For the pool: ``sent_at`` is when the request under way began to leave, if there is one; ``answered_at`` is when the last answer ended.
    """

    _stream: trio.abc.Stream
    _pending: Callable[[], bool]
    _is_only_tls: Callable[[], Awaitable[bool]] | None = None
    sent_at: float | None = attrs.field(default=None, init=False)
    answered_at: float = attrs.field(default=0.0, init=False)
    _answered: bool = attrs.field(default=False, init=False)
    _clean: bool = attrs.field(default=False, init=False)
    _codec: h11.Connection = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._codec = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEAD_BYTES)

    async def send(self, head: h11.Request, body: bytes, bounds: Bounds) -> h11.Response | Broken:
        """Write the request and return the head of its response."""
        codec = self._codec
        self._answered = written = self._clean = False
        self.sent_at = trio.current_time()
        parts = (codec.send(head), codec.send(h11.Data(data=body)), codec.send(h11.EndOfMessage()))
        with contextlib.suppress(trio.BrokenResourceError):  # the peer may have answered before it closed
            await self._stream.send_all(b"".join(part for part in parts if part))
            written = True
        bounds.begin(bounds.limits.response_header, "waiting for the answer")
        for interim in range(_MAX_INTERIM_RESPONSES + 1):
            event = await self._next_event()
            if isinstance(event, h11.Response):
                bounds.end()
                self._clean = written and not interim and _is_unambiguous(event)
                return event
            if not isinstance(event, h11.InformationalResponse):
                break
        bounds.failure = "the answer is not valid HTTP, or broke off" if self._answered else "the connection ended without an answer"
        return Broken(self._answered)

    async def next_piece(self) -> bytes | Broken:
        """Return the next piece of the response's body, b"" after the last one."""
        event = await self._next_event()
        if isinstance(event, h11.Data):
            return bytes(event.data)
        if isinstance(event, h11.EndOfMessage):
            return b""
        return Broken(answered=True)

    def settle(self) -> bool:
        """Prepare for another exchange, and return whether one may follow.

        It may after exactly one answer to exactly one request. It may not if either side did not finish or asked to close, if the peer sent
        more than one answer, or if readers could disagree on where the answer ends: whatever is left over would be taken for the answer to
        the next request, which is another caller's.
        """
        codec, clean = self._codec, self._clean
        self._clean = False
        if not clean or codec.our_state is not h11.DONE or codec.their_state is not h11.DONE or codec.trailing_data != (b"", False):
            return False
        codec.start_next_cycle()
        return True

    def is_quiet(self) -> bool:
        """Return whether nothing at all has come since the last exchange: no data, no end, no message of TLS itself."""
        return not self._pending()

    async def is_reusable(self) -> bool:
        """Return whether the peer has neither closed nor sent data since the last exchange.

        Session tickets and key updates (RFC 8446 section 4.6, https://www.rfc-editor.org/rfc/rfc8446#section-4.6) are consumed and do not
        count. The reply to a key update may wait for the peer: the caller bounds it, and closes the connection if cancelled here.
        """
        return not self._pending() or (self._is_only_tls is not None and await self._is_only_tls())

    async def close(self) -> None:
        """Close at once."""
        await close_at_once(self._stream)

    async def _next_event(self) -> object:
        """Return h11's next event, reading as needed; ``None`` when the connection is of no more use."""
        try:
            while (event := self._codec.next_event()) is h11.NEED_DATA:
                data = await self._stream.receive_some(_READ_BYTES)
                self._answered = self._answered or bool(data)
                self._codec.receive_data(bytes(data))
        except (h11.RemoteProtocolError, trio.BrokenResourceError):
            return None
        return event


def _is_unambiguous(answer: h11.Response) -> bool:
    """Return whether every reader sees the same end of ``answer``, and it certainly answers our request.

    Of two kinds of framing one wins, but the sender may have meant the other (RFC 9112 section 6.3,
    https://www.rfc-editor.org/rfc/rfc9112#section-6.3). A 408 reports a connection that was idle for too long, and a request that crosses
    it may still be answered (RFC 9110 section 15.5.9, https://www.rfc-editor.org/rfc/rfc9110#section-15.5.9).
    """
    names = {name for name, _ in answer.headers}
    return answer.status_code != HTTPStatus.REQUEST_TIMEOUT and not {b"content-length", b"transfer-encoding"} <= names
