"""One HTTP/2 connection to a token endpoint as a sans-IO machine: requests in, answers out. The codec ``ngh2`` implements HTTP/2 itself.

Every request ends in exactly one of ``ResponseEnded``, ``Lost`` and ``cancel``, whatever the peer sends. The codec's messages never leave
this module. Must not know: sockets, tasks, clocks, pools, or what a token is.

Sources: RFC 9113 (https://www.rfc-editor.org/rfc/rfc9113.html); sections 5.4, 6.8, 8.1 and 8.7 on errors, GOAWAY, responses and retries.
"""

import contextlib
import math
from typing import Final, final

import attrs
import ngh2
from ngh2 import DataReceived, ResponseReceived, StreamClosed

from exchanger.net.answer import MAX_RESPONSE_BYTES, TooLarge, is_redirect
from exchanger.net.http2 import limits
from exchanger.net.http2.head import Field, Method, RequestHead
from exchanger.net.http2.response import KEPT, Event, HeadArrived, Lost, PartialResponse, ResponseEnded

_CONFIGURATION: Final = ngh2.Configuration(
    peer_max_concurrent_streams=limits.MAX_STREAMS,
    max_reserved_remote_streams=0,
    max_continuations=limits.MAX_CONTINUATIONS,
    max_inbound_header_list_size=2 * limits.MAX_HEAD_BYTES,
    max_inbound_header_count=limits.MAX_HEAD_FIELDS,
)

# RFC 9113 section 6.5.2 and RFC 9218 section 2.1: no server push, longest head, no priorities of RFC 7540.
_SETTINGS: Final = {0x2: 0, 0x6: limits.MAX_HEAD_BYTES, 0x9: 1}
_MAX_CONCURRENT_STREAMS: Final = 0x3

# RFC 9113 section 7.
_NO_ERROR: Final = 0x0
_REFUSED_STREAM: Final = 0x7
_CANCEL: Final = 0x8
_ENHANCE_YOUR_CALM: Final = 0xB
_HTTP_1_1_REQUIRED: Final = 0xD

_BROKE_RULES: Final = "the token endpoint violated the HTTP/2 protocol"

NEVER: Final = math.inf


@final
@attrs.define(eq=False)
class Http2Client:
    """The client's side of one connection.

    After ``request``, ``receive``, ``cancel``, ``tick`` and ``close``, first send what ``data_to_send`` returns and then handle ``events``:
    some frames become events only when they are written. While earlier bytes are still being written, do not ``receive``: a peer that does
    not read must not make acknowledgements pile up here.

    Args:
        expires_at: When the connection reaches its maximum age (seconds); from then on it takes no more requests, and closes after the
    last.
        patience: Seconds without a byte from the peer after a PING until it counts as dead, and the least time between two PINGs.
        silence: Seconds without a byte from the peer, although it owes an answer, until it gets a PING.

    Attributes:
        limit: Requests that the peer takes at once. Until it says how many, what an earlier connection to it learned: a request that is
            refused here and sent once more must not be refused again.
        draining: No more requests are taken; those in progress continue.
        closed: Nothing more will be read. Send what ``data_to_send`` returns, then close the transport.
        failure: Why the connection is unusable, in words for operators; "" while it is usable, and after a clean end.
        requires_http1: The peer asked for HTTP/1.1 instead (RFC 9113 section 7).
        next_due: When to call ``tick``, at the latest (seconds).
        interim: The number of interim responses, by stream.
        held: The bytes of bodies that are not complete.
    """

    _expires_at: float
    _patience: float
    _silence: float = attrs.field(default=limits.SILENCE, kw_only=True)
    limit: int = attrs.field(default=limits.MAX_STREAMS, kw_only=True)
    draining: bool = attrs.field(default=False, init=False)
    closed: bool = attrs.field(default=False, init=False)
    failure: str = attrs.field(default="", init=False)
    requires_http1: bool = attrs.field(default=False, init=False)
    next_due: float = attrs.field(init=False)
    _established: bool = attrs.field(default=False, init=False)  # the peer's first SETTINGS were read
    _http: ngh2.Connection = attrs.field(init=False, repr=False)
    streams: dict[int, PartialResponse | None] = attrs.field(factory=dict, init=False, repr=False)
    interim: dict[int, int] = attrs.field(factory=dict, init=False)
    _events: list[Event] = attrs.field(factory=list, init=False, repr=False)
    _open: int = attrs.field(default=0, init=False)  # streams that the peer counts
    _last_stream: int = attrs.field(default=-1, init=False)
    _last_sent: int = attrs.field(default=-1, init=False)
    _last_heard: int = attrs.field(default=-1, init=False)  # the last request that was sent before the peer was last heard from
    _last_words: bytes = attrs.field(default=b"", init=False, repr=False)
    held: int = attrs.field(default=0, init=False)
    _spare_frames: int = attrs.field(default=limits.SPARE_FRAMES, init=False)
    _asked_at: float = attrs.field(default=NEVER, init=False)  # since when the peer owes us a byte
    _dead_at: float = attrs.field(default=NEVER, init=False)  # unless the peer says anything before
    _ping_again_at: float = attrs.field(default=-NEVER, init=False)

    def __attrs_post_init__(self) -> None:
        self.next_due = self._expires_at
        self._http = ngh2.Connection(ngh2.Role.CLIENT, _CONFIGURATION)
        self._http.initiate_connection(_SETTINGS)
        self._http.set_local_window_size(limits.CONNECTION_WINDOW)

    @property
    def room(self) -> int:
        """Requests that may be made now. A peer that has not answered a PING yet gets none: it may be gone."""
        if self.draining or self._dead_at != NEVER:
            return 0
        return max(0, self.limit - self._open)

    @property
    def waiting(self) -> int:
        """Requests in progress."""
        return len(self.streams)

    def request(self, head: RequestHead, body: bytes, now: float, extra: tuple[Field, ...] = ()) -> int:
        """Make a POST of ``body``, or a GET without one, at ``now`` (seconds), and return its stream. The caller looks at ``room`` first.

        ``extra`` are further fields, as ``header_fields`` makes them.
        """
        length = ((b"content-length", b"%d" % len(body)),) if head.method is Method.POST else ()
        try:
            stream_id = self._http.send_request([*head.fields, *length, *extra], end_stream=not body)
            if body:
                self._http.send_data(stream_id, body, end_stream=True)
        except ngh2.NGH2Error:  # there was no room
            self.draining = True
            self._last_stream = stream_id = self._last_stream + 2
            self._events.append(Lost(stream_id, seen=False, safe=True))
            return stream_id
        self._last_stream = stream_id
        self.streams[stream_id] = None
        self._open += 1
        if self._spare_frames < limits.SPARE_FRAMES:
            self._spare_frames += limits.SPARE_FRAMES_PER_REQUEST
        if self._asked_at == NEVER:
            self._asked_at = now
            self.next_due = min(self.next_due, max(now + self._silence, self._ping_again_at))
        return stream_id

    def cancel(self, stream_id: int) -> None:
        """Give up a request; nothing more is reported about it. A request that has ended is left alone."""
        if self._events:  # not taken yet
            self._events = [event for event in self._events if event.stream_id != stream_id]
        if stream_id in self.streams:
            self._forget(stream_id)
            self._reset(stream_id)

    def receive(self, data: bytes, now: float) -> None:
        """Take ``data`` from the peer at ``now`` (seconds)."""
        if self.closed or not data:
            return
        self._dead_at = NEVER
        self._last_heard = self._last_sent
        if not self.streams:  # whatever comes now is surplus, also in parts of frames and in frames without a meaning
            self._spare_frames -= 1
        try:
            self._http.receive_data(data)
            self._process()
        except ngh2.NGH2Error:
            self._end(_BROKE_RULES)
        self._asked_at = now if self.streams else NEVER

    def events(self) -> list[Event]:
        """Return the outcomes of requests since the last call."""
        events = self._events
        if events:
            self._events = []
        return events

    def data_to_send(self) -> bytes:
        """Return the bytes for the peer. This can produce events, too."""
        data = b""
        if not self.closed:
            try:
                data = self._http.data_to_send()
                self._last_sent = self._last_stream
                self._process()
            except ngh2.NGH2Error:
                self._end(_BROKE_RULES)
            if self.draining and not self.streams:
                self.close()
        if self._last_words:
            data, self._last_words = data + self._last_words, b""
        return data

    def tick(self, now: float) -> None:
        """Handle everything due at ``now`` (seconds)."""
        if self.closed:
            return
        if now >= self._expires_at:
            self.draining, self._expires_at = True, NEVER
        if now >= self._dead_at:
            self._end("the token endpoint stopped responding")
            return
        due = max(self._asked_at + self._silence, self._ping_again_at)
        if self._dead_at == NEVER and now >= due:
            self._dead_at = self._ping_again_at = now + self._patience
            with contextlib.suppress(ngh2.NGH2Error):  # no answer will come then either
                self._http.ping()
        self.next_due = min(self._expires_at, due if self._dead_at == NEVER else self._dead_at)

    def close(self) -> None:
        """End the connection. Requests in progress are lost; ``data_to_send`` has the last bytes."""
        if not self.closed:
            self._terminate(_NO_ERROR, "")

    def lose(self, why: str = "") -> None:
        """The transport ended: every request in progress is lost. ``why`` says more, in words for operators, if known."""
        if not self.closed:
            failure = "" if self.draining and not self.streams else why or "the connection ended"
            self._end(failure, quiet_since=self._last_heard if self._established else NEVER)

    def _process(self) -> None:
        streams = self.streams
        heads: list[int] = []
        for event in self._http.events():
            if type(event) is ResponseReceived:
                if self._on_head(event.stream_id, event.headers, ended=event.end_stream):
                    heads.append(event.stream_id)
            elif type(event) is DataReceived:
                stream_id, data = event.stream_id, event.data
                response = streams.get(stream_id)
                if response is None:
                    self._spare_frames -= 1
                elif event.end_stream and not response.pieces and len(data) <= MAX_RESPONSE_BYTES:  # as nearly always
                    self._answer(stream_id, response, data, ended=True)
                else:
                    self._on_piece(stream_id, response, data, ended=event.end_stream)
            elif type(event) is StreamClosed:
                self._on_closed(event.stream_id, event.error_code)
            else:
                self._on_other(event)
        if self._spare_frames < 0 and not self.closed:
            self._terminate(_ENHANCE_YOUR_CALM, "the token endpoint sends too many frames")
        for stream_id in heads:
            if (response := streams.get(stream_id)) is not None:
                self._events.append(HeadArrived(stream_id, response.status))

    def _on_head(self, stream_id: int, headers: tuple[Field, ...], *, ended: bool) -> bool:
        """Take the head of a response; return whether its body is still to come."""
        if stream_id not in self.streams:
            self._spare_frames -= 1
            return False
        response = PartialResponse(int(headers[0][1]))  # the codec ensures that the status comes first and has three digits
        for name, value in headers:
            if name in KEPT:
                response.keep(name, value)
        if ended or is_redirect(response.status):
            self._answer(stream_id, response, b"", ended=ended)
            return False
        self.streams[stream_id] = response
        return True

    def _on_piece(self, stream_id: int, response: PartialResponse, data: bytes, *, ended: bool) -> None:
        """Take a part of a body."""
        response.pieces += 1
        size = len(response.body) + len(data)
        if (
            size > MAX_RESPONSE_BYTES
            or response.pieces > limits.MAX_BODY_PIECES
            or (self.held + len(data) > limits.MAX_HELD_BYTES and size > limits.FREE_BODY_BYTES)
        ):
            self._answer(stream_id, response, TooLarge.TOO_LARGE, ended=ended)
            return
        response.body += data
        self.held += len(data)
        if ended:
            self._answer(stream_id, response, bytes(response.body), ended=True)

    def _on_closed(self, stream_id: int, code: int) -> None:
        self._open -= 1
        if stream_id in self.streams:
            # The codec closed it itself: it was not sent, it is beyond a GOAWAY's last stream, or the response is malformed.
            refused = code == _REFUSED_STREAM
            self._on_broken(stream_id, seen=not refused, safe=refused)

    def _on_other(self, event: ngh2.Event) -> None:
        match event:
            case ngh2.StreamReset(stream_id, code) if stream_id in self.streams:
                self.requires_http1 |= code == _HTTP_1_1_REQUIRED
                self._on_broken(stream_id, seen=False, safe=code in {_REFUSED_STREAM, _HTTP_1_1_REQUIRED})
            case ngh2.TrailersReceived(stream_id):
                response = self.streams.get(stream_id)
                if response is not None:
                    self._answer(stream_id, response, bytes(response.body), ended=True)
            case ngh2.InformationalResponseReceived(stream_id) if stream_id in self.streams:
                self.interim[stream_id] = count = self.interim.get(stream_id, 0) + 1
                if count > limits.MAX_INTERIM_RESPONSES:
                    self._on_broken(stream_id, seen=True, safe=False)
                    self._reset(stream_id)
            case ngh2.SettingsReceived(settings):
                known = self.limit if self._established else limits.MAX_STREAMS  # RFC 9113 section 6.5.2: at first there is no limit
                self.limit = min(limits.MAX_STREAMS, settings.get(_MAX_CONCURRENT_STREAMS, known))
                self._established = True
                self._spare_frames -= 1
                self.draining |= not self.limit  # or such connections would be kept, and new ones dialled beside them
            case ngh2.GoAwayReceived(error_code=code):
                self.draining = True
                self._spare_frames -= 1
                self.failure = self.failure or ("the token endpoint ended the connection with an error" if code else "")
            case ngh2.ConnectionClosed(code):
                self._end(_BROKE_RULES if code else "")
            case _:
                self._spare_frames -= 1

    def _answer(self, stream_id: int, response: PartialResponse, body: bytes | TooLarge, *, ended: bool) -> None:
        del self.streams[stream_id]  # as _forget, without a call
        if response.pieces:
            self.held -= len(response.body)
        if self.interim:
            self.interim.pop(stream_id, None)
        self._events.append(ResponseEnded(stream_id, response.answer(body)))
        # RFC 9113 section 8.1: the answer is valid even if the peer has not read the whole request.
        if not ended or self._http.queued_body_size(stream_id):
            self._reset(stream_id)

    def _on_broken(self, stream_id: int, *, seen: bool, safe: bool, unheard: bool = False) -> None:
        """Report a request whose stream ended without an answer; a peer that has sent any part of one has processed it."""
        interim = stream_id in self.interim
        response = self._forget(stream_id)
        if response is None:
            self._events.append(Lost(stream_id, seen or interim, safe and not interim, unheard))
        else:
            self._events.append(ResponseEnded(stream_id, response.answer(None)))

    def _forget(self, stream_id: int) -> PartialResponse | None:
        response = self.streams.pop(stream_id)
        if response is not None:
            self.held -= len(response.body)
        if self.interim:
            self.interim.pop(stream_id, None)
        return response

    def _reset(self, stream_id: int) -> None:
        with contextlib.suppress(ngh2.NGH2Error):  # the connection is about to end
            self._http.reset_stream(stream_id, _CANCEL)

    def _terminate(self, code: int, failure: str) -> None:
        with contextlib.suppress(ngh2.NGH2Error):
            self._http.terminate_connection(code)
            self._last_words = self._http.data_to_send()
        self._end(failure)

    def _end(self, failure: str, *, quiet_since: float = NEVER) -> None:
        self.closed = self.draining = True
        self.failure = self.failure or failure
        self.next_due = NEVER
        for stream_id in tuple(self.streams):
            self._on_broken(stream_id, seen=False, safe=stream_id > self._last_sent, unheard=stream_id > quiet_since)
