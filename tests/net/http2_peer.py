"""A token endpoint that speaks HTTP/2, over the codec in its server role, and a client that is connected to it in memory."""

from collections.abc import Iterable

import attrs
import ngh2

from exchanger.net.answer import TooLarge
from exchanger.net.http2.client import Http2Client
from exchanger.net.http2.head import Field, RequestHead, request_head
from exchanger.net.http2.response import Event, HeadArrived, Lost, ResponseEnded

HEADERS = (("Accept", "application/json"), ("Authorization", "Basic Y2xpZW50OnNlY3JldA=="), ("User-Agent", "exchanger"))
JSON = (b"content-type", b"application/json")


def usual_head() -> RequestHead:
    head = request_head(secure=True, authority="issuer.example.com", target="/token", headers=HEADERS)
    assert head is not None
    return head


@attrs.define(eq=False)
class Request:
    """What came on one stream."""

    headers: dict[bytes, bytes]
    never_indexed: set[bytes]
    body: bytes = b""
    ended: bool = False
    reset: int | None = None


def never_indexed(headers: Iterable[Field]) -> set[bytes]:
    return {field[0] for field in headers if isinstance(field, ngh2.NeverIndexedHeader)}


@attrs.define(eq=False)
class Server:
    """The endpoint's side; ``requests`` by stream, in the order in which they came."""

    settings: dict[int, int] = attrs.field(factory=dict)
    config: ngh2.Configuration = attrs.field(factory=ngh2.Configuration)
    http: ngh2.Connection = attrs.field(init=False)
    requests: dict[int, Request] = attrs.field(factory=dict)
    pings: int = 0
    goaways: list[int] = attrs.field(factory=list)
    closed: bool = False

    def __attrs_post_init__(self) -> None:
        self.http = ngh2.Connection(ngh2.Role.SERVER, self.config)
        self.http.initiate_connection(self.settings)

    def receive(self, data: bytes) -> None:
        if not self.closed:
            self.http.receive_data(data)
            self._process()

    def send(self) -> bytes:
        data = self.http.data_to_send()
        self._process()
        return data

    def _process(self) -> None:
        for event in self.http.events():
            match event:
                case ngh2.RequestReceived(stream_id, headers, ended):
                    self.requests[stream_id] = Request(dict(headers), never_indexed(headers), ended=ended)
                case ngh2.DataReceived(stream_id, data, ended):
                    self.requests[stream_id].body += data
                    self.requests[stream_id].ended = ended
                case ngh2.StreamReset(stream_id, code) if stream_id in self.requests:  # else the codec refused it
                    self.requests[stream_id].reset = code
                case ngh2.PingReceived():
                    self.pings += 1
                case ngh2.GoAwayReceived(error_code=code):
                    self.goaways.append(code)
                case ngh2.ConnectionClosed():
                    self.closed = True

    def head(self, stream_id: int, *fields: Field, status: bytes = b"200", end: bool = False) -> None:
        self.http.send_response(stream_id, [(b":status", status), *(fields or (JSON,))], end_stream=end)

    def data(self, stream_id: int, data: bytes, *, end: bool = True) -> None:
        self.http.send_data(stream_id, data, end_stream=end)

    def answer(self, stream_id: int, body: bytes, *fields: Field, status: bytes = b"200") -> None:
        self.head(stream_id, *fields, status=status, end=not body)
        if body:
            self.data(stream_id, body)


@attrs.define(eq=False)
class Pair:
    """A client, its endpoint, and what became of its requests."""

    client: Http2Client
    server: Server
    head: RequestHead = attrs.field(factory=usual_head)
    now: float = 0.0
    heads: list[int] = attrs.field(factory=list)
    answers: dict[int, ResponseEnded] = attrs.field(factory=dict)
    lost: dict[int, Lost] = attrs.field(factory=dict)

    def request(self, body: bytes = b"grant_type=x", extra: tuple[Field, ...] = ()) -> int:
        return self.client.request(self.head, body, self.now, extra)

    def to_server(self) -> bytes:
        data = self.client.data_to_send()
        self.take(self.client.events())
        if data:
            self.server.receive(data)
        return data

    def to_client(self, data: bytes | None = None) -> bytes:
        data = self.server.send() if data is None else data
        if data:
            self.client.receive(data, self.now)
            self.take(self.client.events())
        return data

    def exchange(self) -> None:
        """Pass bytes until both sides have nothing more to say."""
        while self.to_server() or self.to_client():
            pass

    def take(self, events: Iterable[Event]) -> None:
        """Record ``events``; each request may end once, and its head may only come before that."""
        for event in events:
            assert event.stream_id not in self.answers
            assert event.stream_id not in self.lost
            match event:
                case HeadArrived(stream_id):
                    assert stream_id not in self.heads
                    self.heads.append(stream_id)
                case ResponseEnded(stream_id):
                    self.answers[stream_id] = event
                case Lost(stream_id):
                    self.lost[stream_id] = event

    def body(self, stream_id: int) -> bytes | TooLarge | None:
        return self.answers[stream_id].answer.body


def pair(settings: dict[int, int] | None = None, *, expires_at: float = 600.0, patience: float = 0.5, reads: bool = True) -> Pair:
    """Return the two, connected; unless it ``reads``, the endpoint never lets the client send more than its first window."""
    joined = Pair(Http2Client(expires_at, patience, silence=patience), Server(settings or {}, ngh2.Configuration(auto_window_update=reads)))
    joined.exchange()
    return joined
