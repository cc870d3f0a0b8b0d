"""Connections to a token endpoint in the reactor: they carry calls over HTTP/1.1, one at a time, or over HTTP/2.

A link moves bytes between its transport and its protocol, and reports the outcome of each call to its owner. Knows nothing of tokens.
"""

import math
from typing import ClassVar, Final, Protocol, final

import attrs
import trio

from exchanger.net.answer import EndpointResponse
from exchanger.net.call import CallPhase, EndpointCall, NoAnswer
from exchanger.net.http1 import Http1Response, read_whole
from exchanger.net.http2.client import Http2Client
from exchanger.net.http2.head import header_fields
from exchanger.net.http2.response import HeadArrived, Lost, ResponseEnded
from exchanger.net.reactor import READ, WRITE, Reactor
from exchanger.net.tcp import SocketTransport, StreamEndedError
from exchanger.net.timers import NEVER
from exchanger.net.tls.client import ClientTlsTransport

# Bytes per read: few enough that no read contains very many tiny chunks.
_READ_BYTES: Final = 16 * 1024

_READ_WRITE: Final = READ | WRITE


class LinkOwner(Protocol):
    """The connections to one origin, as a link sees them."""

    header_timeout: float

    def answered(self, link: "Http1Link", call: EndpointCall, answer: EndpointResponse | None, *, seen: bool, clean: bool) -> None:
        """The call on ``link`` has ended, with ``answer`` or with something that is not an answer.

        ``seen``: any byte of it was received. ``clean``: the link may carry another call.
        """

    def ended(self, call: EndpointCall, outcome: EndpointResponse | NoAnswer) -> None:
        """A call on an HTTP/2 link has ended."""

    def unprocessed(self, call: EndpointCall) -> None:
        """The peer did not process the call, so it may be sent once more."""

    def closed(self, link: "Http1Link | Http2Link") -> None:
        """``link`` is closed. It carries no call."""


# An enum's member takes 0.2 µs to find in its class, and these are set for each call.
_SENT: Final = CallPhase.SENT


def _expect_head(call: EndpointCall, now: float, owner: LinkOwner, reactor: Reactor) -> None:
    """``call`` was sent."""
    call.phase = _SENT
    due = now + (owner.header_timeout if call.header_timeout is None else call.header_timeout)
    reactor.timers.expect(call, due if due < call.deadline else call.deadline)


@final
@attrs.define(eq=False)
class Http1Link:
    """One HTTP/1.1 connection. ``answered_at`` is when its last call ended (seconds), if it was ``used``.

    ``broken`` says why it broke, in words for operators, if a reason is known.
    """

    first: ClassVar[bool] = True
    _transport: SocketTransport | ClientTlsTransport
    _owner: LinkOwner
    _reactor: Reactor
    call: EndpointCall | None = attrs.field(default=None, init=False)
    answered_at: float = attrs.field(default=-math.inf, init=False)
    used: bool = attrs.field(default=False, init=False)
    sent_at: float = attrs.field(default=0.0, init=False)
    is_open: bool = attrs.field(default=True, init=False)
    broken: str = attrs.field(default="", init=False)
    _response: Http1Response | None = attrs.field(default=None, init=False, repr=False)  # a part of one
    _to_send: bytes = attrs.field(default=b"", init=False, repr=False)
    _blocked: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._reactor.watch(self, READ)

    def fileno(self) -> int:
        """Return the transport's descriptor."""
        return self._transport.fileno()

    def send(self, call: EndpointCall, now: float) -> bool:
        """Send ``call``, at the end of this turn; return whether HTTP/1.1 can carry it, as always."""
        self.call, self.sent_at = call, now
        self._to_send = call.head.http1_request(call.trace, call.body)
        _expect_head(call, now, self._owner, self._reactor)
        self._reactor.schedule_flush(self)
        return True

    def is_quiet(self) -> bool:
        """Return whether only messages of TLS itself have arrived since the last call. Closes the link otherwise.

        What had arrived when the reactor looked last has closed it already, except for half a record of TLS.
        """
        if self.is_open and not self._reactor.in_turn:
            self.ready(READ, trio.current_time())
        if self.is_open and (not self._transport.is_whole or self._transport.unsent):
            self.close()
        return self.is_open

    def close(self) -> None:
        """Close at once."""
        if self.is_open:
            self.is_open = False
            self._reactor.forget(self)
            self._transport.close()
            self._owner.closed(self)

    # The reactor's side.

    def ready(self, mask: int, now: float) -> int:
        """Serve the transport; see ``Participant``."""
        del now
        if not self.is_open:
            return 1
        data = b""
        try:
            if mask & WRITE and self._transport.flush():
                self._block(blocked=False)
            if not mask & READ:
                return 1
            data = self._transport.receive(_READ_BYTES)
        except BlockingIOError:
            self._block(blocked=self._transport.unsent or self._blocked)
            return 1 + self._transport.extra_work
        except OSError:
            pass
        except StreamEndedError as error:
            self.broken = str(error)
        self._receive(data)
        return 2 + len(data) // 512 + self._transport.extra_work

    def resume(self, now: float) -> int:
        """Do nothing, since nothing is ever left; see ``Participant``."""
        del now
        return 1

    def flush(self) -> None:
        """Send the request; see ``Participant``."""
        data, self._to_send = self._to_send, b""
        if not data or not self.is_open:
            return
        try:
            if self._transport.send(data) is self._blocked:  # nearly never
                self._block(blocked=not self._blocked)
        except (OSError, StreamEndedError):
            self._receive(b"")

    def _block(self, *, blocked: bool) -> None:
        # While the request is still being written, an answer may arrive, for example one that says why it is not read.
        if blocked is not self._blocked:
            self._blocked = blocked
            self._reactor.change(self, _READ_WRITE if blocked else READ)

    def _receive(self, data: bytes) -> None:
        call = self.call
        if call is None:  # whatever it is, it is unsolicited
            self.close()
            return
        response = self._response
        if response is None and (whole := read_whole(data)) is not None:
            self.call = None
            self._owner.answered(self, call, whole, seen=True, clean=not self._blocked)
            return
        if response is None:
            response = self._response = Http1Response()
        response.feed(data)
        if response.is_over:
            self.call = self._response = None  # an answer contains a token, and this link may be kept for long
            self._owner.answered(self, call, response.answer, seen=response.seen, clean=response.clean and not self._blocked)
        elif response.status is not None and call.status is None:
            call.status, call.phase = response.status, CallPhase.READING
            self._reactor.timers.expect(call, call.deadline)


@final
@attrs.define(eq=False)
class Http2Link:
    """One HTTP/2 connection. ``used_at`` is when something last happened (seconds)."""

    first: ClassVar[bool] = True
    _transport: SocketTransport | ClientTlsTransport
    _owner: LinkOwner
    _reactor: Reactor
    _http: Http2Client
    used_at: float
    due: float = attrs.field(default=NEVER, init=False)
    is_open: bool = attrs.field(default=True, init=False)
    _calls: dict[int, EndpointCall] = attrs.field(factory=dict, init=False)
    _blocked: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._reactor.watch(self, READ)

    def begin(self, early: bytes) -> None:
        """Send the preface, and process what the peer has sent already."""
        if early:
            self._http.receive(early, self.used_at)
        self._expect()
        self._reactor.schedule_flush(self)

    def fileno(self) -> int:
        """Return the transport's descriptor."""
        return self._transport.fileno()

    @property
    def room(self) -> int:
        """Calls that may be sent now."""
        return self._http.room if self.is_open else 0

    @property
    def limit(self) -> int:
        """The number of calls that the peer accepts at once, as known so far."""
        return self._http.limit

    @property
    def calls(self) -> int:
        """The number of calls in progress."""
        return len(self._calls)

    @property
    def requires_http1(self) -> bool:
        """Whether the peer wants HTTP/1.1 instead."""
        return self._http.requires_http1

    def send(self, call: EndpointCall, now: float) -> bool:
        """Send ``call`` at the end of this turn; return whether HTTP/2 can carry it."""
        head, extra = call.head.http2, header_fields(call.trace)
        if head is None or extra is None:
            return False
        self._calls[self._http.request(head, call.body, now, extra)] = call
        _expect_head(call, now, self._owner, self._reactor)
        self._touch(now)
        return True

    def give_up(self, call: EndpointCall) -> None:
        """Cancel ``call``, which is on this link."""
        for stream_id, other in self._calls.items():
            if other is call:
                del self._calls[stream_id]
                self._http.cancel(stream_id)
                self._reactor.schedule_flush(self)
                return

    def retire(self) -> None:
        """Accept no more calls, and close after those in progress."""
        self._http.draining = True
        self._reactor.schedule_flush(self)

    def close(self) -> None:
        """Close at once. Calls in progress are lost."""
        self._http.close()
        self._reactor.schedule_flush(self)

    # The reactor's side.

    def ready(self, mask: int, now: float) -> int:
        """Serve the transport; see ``Participant``."""
        if not self.is_open:
            return 1
        data, why = b"", ""
        try:
            if mask & WRITE:
                if self._transport.flush():
                    self._block(blocked=False)
                    self._reactor.schedule_flush(self)
                return 1
            data = self._transport.receive(_READ_BYTES)
        except BlockingIOError:
            self._block(blocked=self._transport.unsent)
            return 1 + self._transport.extra_work
        except OSError:
            pass
        except StreamEndedError as error:
            why = str(error)
        if data:
            self._http.receive(data, now)
        else:
            self._http.lose(why)
        self._touch(now)
        return 2 + len(data) // 512 + self._transport.extra_work

    def resume(self, now: float) -> int:
        """Do nothing, since nothing is ever left; see ``Participant``."""
        del now
        return 1

    def on_due(self, now: float) -> None:
        """Check the peer and the connection's age; see ``Timed``."""
        if self.is_open:
            self._http.tick(now)
            self._expect()
            self._reactor.schedule_flush(self)

    def flush(self) -> None:
        """Send, and report the outcomes of calls to the owner; see ``Participant``."""
        http = self._http
        if not self.is_open or (self._blocked and not http.closed):
            return
        try:
            if (data := http.data_to_send()) and not self._blocked and not self._transport.send(data):
                self._block(blocked=True)
        except (OSError, StreamEndedError):
            http.lose()
        for event in http.events():
            self._on_event(event)
        if http.closed and self.is_open:
            self.is_open, self.due = False, NEVER
            self._reactor.forget(self)
            self._transport.close()
            self._owner.closed(self)

    def _on_event(self, event: HeadArrived | ResponseEnded | Lost) -> None:
        call = self._calls.get(event.stream_id) if type(event) is HeadArrived else self._calls.pop(event.stream_id, None)
        if call is None:
            return
        if type(event) is ResponseEnded:
            self._owner.ended(call, event.answer)
        elif type(event) is HeadArrived:
            call.phase = CallPhase.READING
            call.status = event.status
            self._reactor.timers.expect(call, call.deadline)
        elif event.safe or event.unheard:  # unheard as over HTTP/1.1, see ``LinkOwner.answered``
            self._owner.unprocessed(call)
        else:
            why = self._http.failure or "the token endpoint closed the connection without responding"
            self._owner.ended(call, NoAnswer(timed_out=False, why=why))

    def _touch(self, now: float) -> None:
        self.used_at = now
        self._expect()
        self._reactor.schedule_flush(self)

    def _expect(self) -> None:
        if self._http.next_due < self.due:
            self._reactor.timers.expect(self, self._http.next_due)

    def _block(self, *, blocked: bool) -> None:
        # Nothing is read from a peer that does not read, so that nothing piles up here.
        if blocked is not self._blocked:
            self._blocked = blocked
            self._reactor.change(self, WRITE if blocked else READ)
