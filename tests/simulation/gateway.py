"""A gateway: one HTTP/2 connection to the service on which it asks, waits as long as its filter does, and sometimes leaves.

What both filters have in common. ``doors`` has what each of them says and hears.
"""

import ssl
from collections import deque
from collections.abc import Callable, Iterator
from typing import ClassVar, Final, final

import attrs
import ngh2

from exchanger.model.text import loggable_path
from tests.simulation.grammar import Request
from tests.simulation.kernel import START, Kernel
from tests.simulation.network import Connection, SimulatedNetwork
from tests.simulation.tls import Secured

PORT: Final = 3001
TLS_PORT: Final = 3000
# Why a gateway expects no answer any more, where it matters to the judges.
LEFT: Final = "its caller left"
CLOSED: Final = "the service closed the connection"
RESET: Final = "the service reset the connection"
LOST: Final = (CLOSED, RESET)
TIMED_OUT: Final = "the gateway's time is up"
BREAKER_OPEN: Final = "TXE-1006"
# Seconds for which a call to an issuer may wait, and less where its gateway does: what happened to the issuer since then may be why it
# failed. The same for one that an open breaker refuses: its longest window, and two of its longest pauses.
_LONGEST_CALL: Final = 10.0
_SHORTER_CALL: Final = 4.0
_BREAKER: Final = 20.0
# Of a message's length and its compression (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md).
_PREFIX: Final = 5


@final
@attrs.frozen
class Reply:
    """An answer, as both filters understand it: the HTTP ``status`` and ``body`` for the caller, or 0 and what becomes Authorization.

    ``decision`` is what the gateway's access log gets.
    """

    status: int
    decision: str
    body: str = ""
    tokens: tuple[str, ...] = ()

    @property
    def code(self) -> str:
        """The code of the failure that the body tells of, "" if it tells of none."""
        return self.body[at:][:8] if (at := self.body.find("TXE-")) >= 0 else ""


@final
@attrs.define(eq=False)
class Question:
    """One question: who asks about which ``request``, by which token, and by which key that is signed, "" if it is not a JWT.
    It was made ``tries`` times.

    ``asked`` and ``answered``, or given up, are in seconds, ``walls`` is what the wall clock showed then. The gateway waits for
    ``patience``. ``gone`` is why there is no answer, "" if there is one. ``status`` is gRPC's, ``reply`` what the answer says; ``None`` if
    it is not one to a request. ``door`` is the gateway's filter, ``ahead`` the question that its stream has to answer first. ``waits``: it
    was asked before the connection's TLS handshake was over.
    """

    user: int
    token: str
    key: str
    request: Request
    asked: float
    patience: float
    walls: tuple[float, ...]
    tries: int = 1
    door: str = ""
    ahead: "Question | None" = None
    stream: int = 0
    waits: bool = False
    answered: float = 0.0
    gone: str = ""
    status: str = ""
    reply: Reply | None = None

    def since(self, code: str, quiet: float) -> float:
        """Return since when (seconds) things may have happened that an exchange with this ``code`` failed from. A breaker closes by what
        is asked, so what the storm has left, which is over at ``quiet``, counts until somebody asks again.
        """
        if code == BREAKER_OPEN:
            return min(self.asked, quiet) - _BREAKER
        return self.asked - (_LONGEST_CALL if self.patience > 1.0 else _SHORTER_CALL)

    def __str__(self) -> str:
        """Return who asked for what, when and where, as complaints say it."""
        what = self.request.method, self.host + self.request.path, *self.request.fields
        return f"user-{self.user} for {' '.join(map(str, what))} at {self.asked - START:.6f} by {self.door}"

    @property
    def named(self) -> str:
        """Who asks for what, as the trace says it."""
        return f"user-{self.user} {self.host}{self.path}"

    @property
    def host(self) -> str:
        return self.request.host

    @property
    def path(self) -> str:
        """The path as logs show it."""
        return loggable_path(self.request.path)


@final
@attrs.define(eq=False)
class Stream:
    """One call: what still waits for an answer, in its order. A text waits for an answer of that kind.

    ``finished``: the gateway has said all, ``over``: so has the service. ``awaits``: the question whose response the service has asked for.
    """

    number: int
    waiting: deque[Question | str] = attrs.field(factory=deque)
    finished: bool = False
    over: bool = False
    awaits: Question | None = None
    status: str = ""
    unread: bytearray = attrs.field(factory=bytearray)

    @property
    def questions(self) -> list[Question]:
        return [one for one in self.waiting if isinstance(one, Question)]

    def messages(self) -> Iterator[bytes]:
        """Yield the messages that are complete, once."""
        while len(self.unread) >= (end := _PREFIX + int.from_bytes(self.unread[1:_PREFIX], "big")):
            message = bytes(self.unread[_PREFIX:end])
            del self.unread[:end]
            yield message


@attrs.define(eq=False)
class Gateway:
    """``on_end`` gets each question that was answered, or is ``gone``. ``drained``: the service, which listens
    on ``port``, has said that it ends. ``context``: with TLS. ``held``: what it says leaves later, at once.
    """

    kernel: Kernel
    network: SimulatedNetwork
    name: str
    on_end: Callable[[Question], None]
    port: int = PORT
    context: ssl.SSLContext | None = None
    drained: bool = False
    held: bool = False
    streams: dict[int, Stream] = attrs.field(factory=dict, init=False)
    remote: Connection | None = attrs.field(default=None, init=False)
    _codec: ngh2.Connection = attrs.field(init=False)
    _connections: int = attrs.field(default=0, init=False)

    door: ClassVar[str]
    method: ClassVar[bytes]

    def ask(self, question: Question) -> None:
        """Ask a question, over a new connection where there is none."""
        if self.drained:
            self._gone(question, "the service is draining")
            return
        self._connect()
        question.door, question.waits = self.door, isinstance(self.remote, Secured) and not self.remote.shown
        self.kernel.tell(self.name, "asks", question.named, question.patience)
        self._ask(question)
        self._flush()

    def leave(self, question: Question) -> None:
        """The gateway's own client has left."""
        stream = self.streams.get(question.stream)
        if stream is not None and question in stream.waiting:
            self.kernel.tell(self.name, "leaves", question.named)
            self._give_up(stream, question, LEFT)

    def release(self) -> None:
        """Send what was held."""
        self.held = False
        if self.remote is not None:
            self._flush()

    def hang_up(self, *, abort: bool = False) -> None:
        """End the connection."""
        if self.remote is not None:
            (self.remote.abort if abort else self.remote.close)()
            self._forget("the gateway hung up")

    # What a filter says and hears.

    def _ask(self, question: Question) -> None:
        """Send the question."""
        raise NotImplementedError

    def _heard(self, stream: Stream) -> None:
        """There are more bytes of an answer."""

    def _over(self, stream: Stream) -> None:
        """The service has ended the call."""
        raise NotImplementedError

    # The connection.

    def _connect(self) -> None:
        if self.remote is None or not self._codec.can_send_request:
            self.hang_up()
            self._connections += 1
            self._codec = ngh2.Connection(ngh2.Role.CLIENT)
            self._codec.initiate_connection()
            self.remote = remote = self.network.enter(self.port, self, f"{self.name}/{self._connections}")
            if self.context is not None:
                self.remote = remote.peer = Secured(remote, self.context, self, client=True)

    def _open(self, *fields: tuple[bytes, bytes]) -> Stream:
        head = [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":authority", b"exchanger"),
            (b":path", self.method),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
            *fields,
        ]
        stream = Stream(self._codec.send_request(head, end_stream=False))
        self.streams[stream.number] = stream
        return stream

    def _send(self, stream: Stream, message: bytes, *, end: bool = False) -> None:
        self._codec.send_data(stream.number, b"\0" + len(message).to_bytes(4, "big") + message, end_stream=end)

    def _give_up(self, stream: Stream, question: Question, why: str) -> None:
        """Do not wait for the answer to ``question``."""
        stream.waiting.remove(question)
        self._gone(question, why)
        self._reset(stream)

    def _reset(self, stream: Stream) -> None:
        del self.streams[stream.number]
        self._codec.reset_stream(stream.number)
        self._flush()
        self._lose(stream, "its stream is reset")

    def received(self, data: bytes) -> None:
        if self.remote is None:
            return
        try:
            self._codec.receive_data(data)
        except ngh2.NGH2Error:
            assert not any(stream.waiting for stream in self.streams.values()), "the service broke HTTP/2"
            self.hang_up()
            return
        events = [*self._codec.events()]
        for event in events:  # nothing can be said on a stream whose end has come with its last message
            if isinstance(event, ngh2.StreamClosed | ngh2.StreamReset) and (stream := self.streams.get(event.stream_id)) is not None:
                stream.over = True
        for event in events:
            if isinstance(event, ngh2.GoAwayReceived):
                self.drained = True
                for number in [number for number in self.streams if number > event.last_stream_id]:
                    self._lose(self.streams.pop(number), "refused: another instance may be asked")
            stream = self.streams.get(getattr(event, "stream_id", -1))
            if stream is None:
                continue
            if isinstance(event, ngh2.ResponseReceived | ngh2.TrailersReceived):
                stream.status = dict(event.headers).get(b"grpc-status", stream.status.encode()).decode()
            elif isinstance(event, ngh2.DataReceived):
                stream.unread += event.data
                self._heard(stream)
            elif isinstance(event, ngh2.StreamClosed | ngh2.StreamReset):
                del self.streams[stream.number]
                self._over(stream)
        self._flush()

    def _answered(self, question: Question, status: str, message: bytes, reply: Reply | None) -> None:
        question.status, question.reply = status, reply
        self.kernel.tell(self.name, "hears", question.named, status, message)
        self._end_of(question)

    def ended(self) -> None:
        if self.remote is not None:
            self.remote.close()
            self._forget(CLOSED)

    def lost(self) -> None:
        self._forget(RESET)

    def _forget(self, why: str) -> None:
        self.remote = None
        streams, self.streams = self.streams, {}
        for stream in streams.values():
            self._lose(stream, why)

    def _lose(self, stream: Stream, why: str) -> None:
        for question in stream.questions:
            self._gone(question, why)
        stream.waiting.clear()

    def _gone(self, question: Question, why: str) -> None:
        question.gone = why
        self._end_of(question)

    def _end_of(self, question: Question) -> None:
        question.answered = self.kernel.now
        question.walls = (*question.walls, self.kernel.wall())
        self.on_end(question)

    def _flush(self) -> None:
        if self.remote is not None and not self.held and (data := self._codec.data_to_send()):
            self.remote.write(data)
