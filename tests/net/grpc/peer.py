"""A gRPC client as a sans-IO peer, over the codec in its client role, and a connection to try it on."""

import struct
from collections import defaultdict
from collections.abc import Callable, Iterable

import attrs
import ngh2

from exchanger.net.grpc.call import Call
from exchanger.net.grpc.connection import Connection
from exchanger.net.grpc.limits import Budget, ConnectionLimits
from exchanger.net.grpc.routes import CallInfo, Immediate, Route
from tests.net.grpc.later import Pending

ECHO = b"/test.Echo/Say"

Header = tuple[bytes, bytes]


def echo(message: bytes, _call: CallInfo) -> bytes | Pending:
    return b"echo " + message


def head(path: bytes = ECHO, *extra: Header, method: bytes = b"POST", content_type: bytes | None = b"application/grpc") -> list[Header]:
    headers = [(b":method", method), (b":scheme", b"http"), (b":authority", b"test"), (b":path", path), (b"te", b"trailers")]
    if content_type is not None:
        headers.append((b"content-type", content_type))
    return [*headers, *extra]


def framed(message: bytes, *, flag: int = 0) -> bytes:
    return struct.pack(">BI", flag, len(message)) + message


@attrs.define(eq=False)
class Answer:
    """What came back on one stream."""

    headers: dict[bytes, bytes] = attrs.field(factory=dict)
    trailers: dict[bytes, bytes] = attrs.field(factory=dict)
    body: bytes = b""
    reset: int | None = None
    closed: bool = False

    @property
    def status(self) -> int | None:
        value = self.trailers.get(b"grpc-status", self.headers.get(b"grpc-status"))
        return None if value is None else int(value)

    @property
    def message(self) -> str:
        return self.trailers.get(b"grpc-message", self.headers.get(b"grpc-message", b"")).decode("ascii")

    @property
    def messages(self) -> list[bytes]:
        found, body = [], self.body
        while body:
            flag, size = struct.unpack_from(">BI", body)
            assert flag == 0
            found.append(body[5 : 5 + size])
            body = body[5 + size :]
        return found


@attrs.frozen
class Text:
    """A message that is its own wire format."""

    data: bytes

    @staticmethod
    def FromString(data: bytes) -> "Text":  # noqa: N802 - protobuf's name
        return Text(data)

    def SerializeToString(self) -> bytes:  # noqa: N802 - protobuf's name
        return self.data


@attrs.define(eq=False)
class Peer:
    """The client's side; ``answers`` by stream."""

    http: ngh2.Connection = attrs.field(factory=lambda: ngh2.Connection(ngh2.Role.CLIENT))
    answers: defaultdict[int, Answer] = attrs.field(factory=lambda: defaultdict(Answer))
    goaways: list[tuple[int, int]] = attrs.field(factory=list)
    server_settings: dict[int, int] = attrs.field(factory=dict)
    closed: bool = False

    def __attrs_post_init__(self) -> None:
        self.http.initiate_connection()

    def request(self, headers: Iterable[Header] = (), body: bytes = b"", *, end: bool = True) -> int:
        stream = self.http.send_request(list(headers) or head(), end_stream=end and not body)
        self.answers[stream] = Answer()
        if body:
            self.http.send_data(stream, body, end_stream=end)
        return stream

    def call(self, message: bytes, path: bytes = ECHO, *extra: Header) -> int:
        return self.request(head(path, *extra), framed(message))

    def receive(self, data: bytes) -> None:
        if self.closed:
            return
        self.http.receive_data(data)
        for event in self.http.events():
            self._take(event)

    def _take(self, event: ngh2.Event) -> None:
        match event:
            case ngh2.ResponseReceived():
                self.answers[event.stream_id].headers = dict(event.headers)
            case ngh2.DataReceived():
                self.answers[event.stream_id].body += event.data
            case ngh2.TrailersReceived():
                self.answers[event.stream_id].trailers = dict(event.headers)
            case ngh2.StreamReset():
                self.answers[event.stream_id].reset = event.error_code
            case ngh2.StreamClosed():
                self.answers[event.stream_id].closed = True
            case ngh2.GoAwayReceived():
                self.goaways.append((event.last_stream_id, event.error_code))
            case ngh2.SettingsReceived():
                self.server_settings.update(event.settings)
            case ngh2.ConnectionClosed():
                self.closed = True

    def send(self) -> bytes:
        data = self.http.data_to_send()
        for event in self.http.events():
            self._take(event)
        return data


def routes(handler: Callable[[bytes, CallInfo], bytes | Pending] = echo) -> dict[bytes, Route]:
    return {ECHO: Immediate(handler)}


@attrs.define(eq=False)
class Pair:
    """A peer and a connection, and what passes between them; ``calls`` are those that a server would start."""

    connection: Connection
    peer: Peer = attrs.field(factory=Peer)
    now: float = 0.0
    calls: list[Call] = attrs.field(factory=list)
    arrived: list[Call] = attrs.field(factory=list)
    aborted: list[Call] = attrs.field(factory=list)

    def to_server(self, data: bytes | None = None) -> None:
        self.connection.receive(self.peer.send() if data is None else data, self.now)
        self.events()

    def events(self) -> None:
        for event in self.connection.events():
            if isinstance(event, Call):
                self.calls.append(event)
            else:
                (self.arrived if type(event).__name__ == "Arrived" else self.aborted).append(event.call)

    def to_peer(self) -> bytes:
        data = self.connection.data_to_send()
        self.events()
        if data:
            self.peer.receive(data)
        return data

    def exchange(self) -> None:
        """Pass bytes until both sides have nothing more to say."""
        while True:
            data = self.peer.send()
            if data:
                self.to_server(data)
            if not self.to_peer() and not data:
                return

    def serve(self) -> None:
        """Exchange, and answer immediate calls as a server would."""
        self.exchange()
        while self.calls:
            calls, self.calls = self.calls, []
            for call in calls:
                if call.open:
                    assert isinstance(call.route, Immediate)
                    answer = call.route.handler(call.message or b"", call.info)
                    assert isinstance(answer, bytes)
                    self.connection.respond(call, answer)
            self.exchange()

    def at_rest(self) -> bool:
        now = self.connection.usage()
        return (now.streams, now.held_bytes, now.unread_bytes) == (0, 0, 0)


def pair(table: dict[bytes, Route] | None = None, limits: ConnectionLimits | None = None, budget: Budget | None = None) -> Pair:
    joined = Pair(Connection(routes() if table is None else table, limits or ConnectionLimits(), budget=budget or Budget()))
    joined.exchange()
    return joined
