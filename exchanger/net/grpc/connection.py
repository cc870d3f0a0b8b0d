"""One gRPC connection as a sans-IO machine: bytes in, calls out; answers in, bytes out. The codec ``ngh2`` implements HTTP/2 itself.

Whatever a peer sends ends in an answer, a reset or a closed connection, never in an error.

Must not know: sockets, tasks, clocks, or what a method does. Sources: RFC 9113 (https://www.rfc-editor.org/rfc/rfc9113.html) and
https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md.
"""

import contextlib
from typing import Final, final

import attrs
import ngh2
from ngh2 import ConnectionClosed, DataReceived, RequestReceived, StreamClosed

from exchanger.net.grpc import limits
from exchanger.net.grpc.call import NEVER, Call, Event
from exchanger.net.grpc.call_table import CallTable
from exchanger.net.grpc.flow_control import FlowControl, SendQueue
from exchanger.net.grpc.framing import PREFIX_BYTES, frame, goaway, unpack_prefix
from exchanger.net.grpc.head import OK_TRAILERS, RESPONSE_HEADERS, HeadRefusal, error_trailers, refuse
from exchanger.net.grpc.limits import Budget, ConnectionUsage
from exchanger.net.grpc.routes import Routes
from exchanger.net.grpc.status import GrpcError, StatusCode

_CONFIGURATION: Final = ngh2.Configuration(
    auto_window_update=False,  # only consumed bytes are given back, so flow control bounds unread messages
    max_outbound_ack=limits.MAX_OUTBOUND_ACKS,
    max_settings=limits.MAX_SETTINGS,
    stream_reset_rate_limit=(limits.RESET_BURST, limits.RESET_BURST),
    max_continuations=limits.MAX_CONTINUATIONS,
    glitch_rate_limit=(limits.GLITCH_BURST, limits.GLITCH_RATE),
    max_inbound_header_list_size=limits.TOLERANCE * limits.MAX_HEADER_LIST,
    max_inbound_header_count=limits.TOLERANCE * limits.MAX_HEADER_COUNT,
)

# A refusal costs as much as this many frames without a payload; and so many messages, in parts or of streams, cost as much as one of them.
_REFUSAL_WORK: Final = 8
_MESSAGES_PER_FRAME: Final = 8

# Acknowledged one round trip after the shutdown notice: from then on the peer knows that it must not open streams.
_DRAIN_PING: Final = b"draining"


@final
@attrs.define(eq=False)
class Connection:
    """The server's side of one connection.

    Attributes:
        established: The peer's preface and SETTINGS were read.
        closed: Nothing more will be read. Send what ``data_to_send`` returns, then close the transport.
        next_due: When to call ``expire``, at the latest (seconds; infinite when nothing is arriving).
        extra_work: The cost of the last ``receive`` in addition to its frames, in frames without a payload.
    """

    _routes: Routes
    _limits: limits.ConnectionLimits = attrs.field(factory=limits.ConnectionLimits)
    _budget: Budget = attrs.field(factory=Budget, kw_only=True)
    established: bool = attrs.field(default=False, init=False)
    closed: bool = attrs.field(default=False, init=False)
    next_due: float = attrs.field(default=NEVER, init=False)
    extra_work: int = attrs.field(default=0, init=False)
    http: ngh2.Connection = attrs.field(init=False)
    table: CallTable = attrs.field(init=False)
    _send_queue: SendQueue = attrs.field(init=False)
    _flow: FlowControl = attrs.field(init=False)
    _last_stream: int = attrs.field(default=0, init=False)
    _last_words: bytes = attrs.field(default=b"", init=False, repr=False)
    _draining: bool = attrs.field(default=False, init=False)
    _goaway_sent: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self.table = CallTable(self._routes, self._limits, self._budget)
        self.http = ngh2.Connection(ngh2.Role.SERVER, _CONFIGURATION)
        self.http.initiate_connection(limits.settings(self._limits))
        self._flow = FlowControl(self.http)
        self._send_queue = SendQueue(self.http, self._limits, self._budget)

    def receive(self, data: bytes, now: float) -> None:
        """Process ``data`` from the peer at ``now`` (seconds). The outcome is in ``events`` and ``data_to_send``."""
        if self.closed:
            return
        try:
            self.http.receive_data(data)
            self._process(now)
        except ngh2.NGH2Error as error:
            self._fail(error)

    def _process(self, now: float) -> None:
        calls, events = self.table.calls, self.table.events
        limit = self._limits.message_bytes + PREFIX_BYTES
        before, whole = self._last_stream, 0
        self.extra_work = 0
        for event in self.http.events():
            if type(event) is RequestReceived:
                self._on_request(event, now)
            elif type(event) is DataReceived:
                stream_id, data = event.stream_id, event.data
                call = calls.get(stream_id)
                size = len(data)
                if (  # one whole message in one frame that ends a unary request, as nearly always
                    event.end_stream
                    and call is not None
                    and call.open
                    and call.deframer is None
                    and call.messages is None
                    and PREFIX_BYTES <= size <= limit
                    and unpack_prefix(data) == (0, size - PREFIX_BYTES)
                ):
                    self.http.acknowledge_received_data(size, stream_id)
                    call.message = data[PREFIX_BYTES:]
                    call.ended = call.started = True
                    events.append(call)
                    whole += stream_id > before
                else:
                    self._on_data(stream_id, call, data, now, ended=event.end_stream)
            elif type(event) is StreamClosed:
                self._on_stream_closed(event.stream_id, calls.pop(event.stream_id, None))
            else:
                self._on_other(event)
        if self._last_stream - before != 2 * whole:  # not every new stream brought one whole request
            self.table.expect_since(before, now)
            self.next_due = self.table.deadlines.next_due

    def postpone(self, seconds: float) -> None:
        """Give requests that are still arriving ``seconds`` more, in which nothing was read, up to their own deadlines."""
        self.table.deadlines.postpone(seconds)
        self.next_due = self.table.deadlines.next_due

    def expire(self, now: float) -> None:
        """End the calls whose request, or a message of it, should have arrived by ``now`` (seconds), at the latest by their deadline."""
        for call in self.table.deadlines.overdue(now):
            self._break_off(call, GrpcError(StatusCode.DEADLINE_EXCEEDED, "request did not arrive in time"))
        self.next_due = self.table.deadlines.next_due

    def events(self) -> list[Event]:
        """Return what happened to calls since the last call of this, in order."""
        events = self.table.events
        if events:
            self.table.events = []
        return events

    def data_to_send(self) -> bytes:
        """Return the bytes for the peer. This can produce events, too."""
        if self.closed:
            words, self._last_words = self._last_words, b""
            return words
        data = b""
        try:
            data = self._pump()
            if self._send_queue.answered_early and self._send_queue.reset_answered():
                data += self._pump()
            if self._send_queue.overfull():
                self.http.terminate_connection(ngh2.ErrorCode.ENHANCE_YOUR_CALM)
                data += self._pump()
        except ngh2.NGH2Error as error:
            self._fail(error)
            data += self.data_to_send()
        return data

    def _pump(self) -> bytes:
        http, calls = self.http, self.table.calls
        data = http.data_to_send()
        more = False
        for event in http.events():
            if type(event) is StreamClosed:
                call = calls.pop(event.stream_id, None)
                if call is None or call.open or not call.ended:  # not just an answered call
                    more |= self._on_stream_closed(event.stream_id, call)
            elif type(event) is ConnectionClosed:
                self.lose()
        return data + http.data_to_send() if more else data

    # Answers. None of these does anything for a call that has ended.

    def respond(self, call: Call, message: bytes) -> None:
        """Answer ``call`` with ``message`` and OK."""
        if not call.open:
            return
        http, stream_id = self.http, call.stream_id
        call.open = False
        http.send_response(stream_id, RESPONSE_HEADERS)
        http.send_data(stream_id, frame(message))
        http.send_trailers(stream_id, OK_TRAILERS)
        self.table.ended_calls[0] += 1
        if call.deframer is not None:  # it came in parts, or is a stream
            self._let_go(call)

    def refuse(self, call: Call, error: GrpcError) -> None:
        """End ``call`` with ``error``."""
        if not call.open:
            return
        if call.headers_sent:
            with contextlib.suppress(ngh2.StreamProtocolError):  # as in _reject
                self.http.send_trailers(call.stream_id, error_trailers(error))
        else:
            self._reject(call.stream_id, refuse(error))
        self.table.close(call, error.status)
        self._let_go(call)

    def send(self, call: Call, message: bytes) -> None:
        """Send one message of a server-streaming ``call``."""
        if not call.open:
            return
        if not call.headers_sent:
            self.http.send_response(call.stream_id, RESPONSE_HEADERS)
            call.headers_sent = True
        self.http.send_data(call.stream_id, frame(message))

    def finish(self, call: Call) -> None:
        """End a server-streaming ``call`` with OK."""
        if not call.open:
            return
        if call.headers_sent:
            self.http.send_trailers(call.stream_id, OK_TRAILERS)
        else:
            self.http.send_response(call.stream_id, RESPONSE_HEADERS + OK_TRAILERS, end_stream=True)
        self.table.close(call, StatusCode.OK)
        self._let_go(call)

    def has_room(self, call: Call) -> bool:
        """Whether ``call`` may send another message: neither it nor the connection as a whole has too much queued."""
        return self.closed or self._send_queue.has_room(call.stream_id)

    def take(self, call: Call) -> bytes | None:
        """Return the next message of a client-streaming ``call``, or ``None`` if there is none yet. This lets the peer send more."""
        message = self.table.take(call)
        if message is not None and not call.messages:
            self._flow.consumed(call)
        return message

    def begin_drain(self) -> None:
        """Ask the peer to open no more streams (RFC 9113 section 6.8); the connection closes when those it has are done."""
        if self.closed or self._draining:
            return
        self._draining = True
        self.http.send_shutdown_notice()
        self.http.ping(_DRAIN_PING)

    def finish_drain(self) -> None:
        """Announce the last stream, whether or not the peer has acknowledged ``begin_drain``."""
        if self._draining and not self._goaway_sent and not self.closed:
            self._goaway_sent = True
            self.http.send_goaway()

    def terminate(self) -> None:
        """Refuse open calls as UNAVAILABLE and close at once; ``data_to_send`` has the last bytes."""
        if self.closed:
            return
        for call in tuple(self.table.calls.values()):
            self._break_off(call, GrpcError(StatusCode.UNAVAILABLE, "server is shutting down"))
        self._last_words = self.data_to_send()
        if not self.closed:
            self.http.terminate_connection(ngh2.ErrorCode.NO_ERROR)
            self._last_words += self.http.data_to_send()
            self.lose()

    def lose(self) -> None:
        """The transport is gone or unusable: every call has ended."""
        self.closed = True
        self.table.clear()
        self._send_queue.clear()
        self.next_due = NEVER

    def usage(self) -> ConnectionUsage:
        """Return the bytes held now."""
        unread, queued = (0, 0) if self.closed else (self._flow.unread, self.http.queued_body_size())
        return ConnectionUsage(len(self.table.calls), self.table.held, unread, queued)

    @property
    def ended_calls(self) -> tuple[int, ...]:
        """The number of ended calls, by status code."""
        return tuple(self.table.ended_calls)

    def _on_request(self, event: RequestReceived, now: float) -> None:
        stream_id = self._last_stream = event.stream_id
        call = self.table.admit(stream_id, event.headers, now)
        if type(call) is HeadRefusal:
            self._reject(stream_id, call)
            if not event.end_stream:
                self._send_queue.answered_early.add(stream_id)
        elif event.end_stream:
            self._on_end(stream_id, call)

    def _on_data(self, stream_id: int, call: Call | None, data: bytes, now: float, *, ended: bool) -> None:
        """Process anything but one whole message of a unary call: parts, several messages, streams, and malformed or late data."""
        if call is None or not call.open:
            self.http.acknowledge_received_data(len(data), stream_id)
        else:
            self._flow.received(call, len(data))
            try:
                self.extra_work += self.table.feed(call, data, now) // _MESSAGES_PER_FRAME
            except GrpcError as error:
                self.extra_work += len(data) // PREFIX_BYTES // _MESSAGES_PER_FRAME  # those before the wrong one
                self._break_off(call, error)
            self.next_due = self.table.deadlines.next_due
            if not call.messages:
                self._flow.consumed(call)
        if ended:
            self._on_end(stream_id, call)

    def _on_end(self, stream_id: int, call: Call | None) -> None:
        self._send_queue.answered_early.discard(stream_id)
        if call is not None:
            try:
                self.table.end(call)
            except GrpcError as error:
                self._break_off(call, error)

    def _on_stream_closed(self, stream_id: int, call: Call | None) -> bool:
        """Forget ``call`` and its stream, which is gone; return whether that may allow sending more."""
        self._send_queue.answered_early.discard(stream_id)
        if call is not None:
            if call.ended and not call.open:
                return False
            self.table.abandon(call)
            self._flow.consumed(call)
        if not self._flow.restore():
            self.http.terminate_connection(ngh2.ErrorCode.ENHANCE_YOUR_CALM)
        return True

    def _on_other(self, event: ngh2.Event) -> None:
        match event:
            case ngh2.TrailersReceived():
                self._on_end(event.stream_id, self.table.calls.get(event.stream_id))
            case ngh2.SettingsReceived():
                self.established = True
            case ngh2.PingAcknowledged(opaque_data=data) if data == _DRAIN_PING:
                self.finish_drain()
            case ngh2.ConnectionClosed():
                self.lose()

    def _reject(self, stream_id: int, refusal: HeadRefusal) -> None:
        self.extra_work += _REFUSAL_WORK
        # The codec is ahead of its events: a later one in the same batch may be the stream's reset.
        with contextlib.suppress(ngh2.StreamProtocolError):
            self.http.send_response(stream_id, refusal.headers, end_stream=not refusal.body)
            if refusal.body:
                self.http.send_data(stream_id, refusal.body, end_stream=True)

    def _break_off(self, call: Call, error: GrpcError) -> None:
        """Refuse ``call`` for a reason that the connection found itself, and tell its handler."""
        if call.open:
            self.refuse(call, error)
            self.table.report_aborted(call)

    def _let_go(self, call: Call) -> None:
        """Our side of ``call`` has ended."""
        self.table.release(call)
        self._flow.consumed(call)
        if not call.ended:
            self._send_queue.answered_early.add(call.stream_id)

    def _fail(self, error: ngh2.NGH2Error) -> None:
        """The codec failed. It produces no more output then, so the GOAWAY (RFC 9113 section 6.8) is written here."""
        if self.established and not isinstance(error, ngh2.ConnectionStateError):
            code = ngh2.ErrorCode.ENHANCE_YOUR_CALM if isinstance(error, ngh2.DenialOfServiceError) else ngh2.ErrorCode.PROTOCOL_ERROR
            self._last_words = goaway(self._last_stream, code)
        self.lose()
