"""A gateway: one HTTP/2 connection to the service that asks Checks, waits as long as its filter does, and sometimes leaves."""

from collections.abc import Callable
from typing import Final, final

import attrs
import ngh2

from tests.simulation.kernel import Kernel
from tests.simulation.network import Remote, SimulatedNetwork

PORT: Final = 3001
_PATH: Final = b"/envoy.service.auth.v3.Authorization/Check"


@final
@attrs.define(eq=False)
class Question:
    """One Check: who asks for what, by which token, and by which key that is signed, "" if it is not a JWT.

    ``asked`` and ``answered`` are in seconds, ``walls`` is what the wall clock showed then. The gateway waits for ``patience``. ``gone`` is
    why no answer is expected any more. ``status`` is gRPC's, ``body`` the CheckResponse.
    """

    user: int
    token: str
    key: str
    host: str
    path: str
    asked: float
    patience: float
    walls: tuple[float, ...]
    stream: int = 0
    answered: float = 0.0
    gone: str = ""
    status: str = ""
    body: bytearray = attrs.field(factory=bytearray)


@final
@attrs.define(eq=False)
class Gateway:
    """``on_answer`` gets each question that was answered. ``drained``: the service has said that it ends."""

    kernel: Kernel
    network: SimulatedNetwork
    name: str
    on_answer: Callable[[Question], None]
    drained: bool = False
    open: dict[int, Question] = attrs.field(factory=dict, init=False)
    remote: Remote | None = attrs.field(default=None, init=False)
    _codec: ngh2.Connection = attrs.field(init=False)
    _connections: int = attrs.field(default=0, init=False)

    def ask(self, question: Question, message: bytes) -> None:
        """Ask a question, over a new connection where there is none."""
        if self.drained:
            question.gone = "the service is draining"
            return
        if self.remote is None or not self._codec.can_send_request:
            self.hang_up()
            self._connections += 1
            self._codec = ngh2.Connection(ngh2.Role.CLIENT)
            self._codec.initiate_connection()
            self.remote = self.network.enter(PORT, self, f"{self.name}/{self._connections}")
        head = [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":authority", b"exchanger"),
            (b":path", _PATH),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
            (b"grpc-timeout", b"%dm" % round(question.patience * 1000)),
        ]
        question.stream = self._codec.send_request(head, end_stream=False)
        self._codec.send_data(question.stream, b"\0" + len(message).to_bytes(4, "big") + message, end_stream=True)
        self.open[question.stream] = question
        self.kernel.tell(self.name, "asks", f"user-{question.user}", question.host + question.path, question.patience)
        self._flush()

    def leave(self, question: Question) -> None:
        """The gateway's own client has left."""
        if self.open.get(question.stream) is question:
            del self.open[question.stream]
            question.gone = "its caller left"
            self._codec.reset_stream(question.stream)
            self.kernel.tell(self.name, "leaves", f"user-{question.user}", question.host + question.path)
            self._flush()

    def hang_up(self, *, abort: bool = False) -> None:
        """End the connection."""
        if self.remote is not None:
            (self.remote.abort if abort else self.remote.close)()
            self._forget("the gateway hung up")

    def received(self, data: bytes) -> None:
        if self.remote is None:
            return
        try:
            self._codec.receive_data(data)
        except ngh2.NGH2Error:
            assert not self.open, "the service broke HTTP/2"
            self.hang_up()
            return
        for event in self._codec.events():
            if isinstance(event, ngh2.GoAwayReceived):
                self.drained = True
                for stream in [stream for stream in self.open if stream > event.last_stream_id]:
                    self.open.pop(stream).gone = "refused: another instance may be asked"
            question = self.open.get(getattr(event, "stream_id", -1))
            if question is None:
                continue
            if isinstance(event, ngh2.ResponseReceived | ngh2.TrailersReceived):
                question.status = dict(event.headers).get(b"grpc-status", question.status.encode()).decode()
            elif isinstance(event, ngh2.DataReceived):
                question.body += event.data
            elif isinstance(event, ngh2.StreamClosed | ngh2.StreamReset):
                self._answered(question)
        self._flush()

    def _answered(self, question: Question) -> None:
        del self.open[question.stream]
        question.answered = self.kernel.now
        question.walls = (*question.walls, self.kernel.wall())
        del question.body[:5]
        self.kernel.tell(self.name, "hears", f"user-{question.user}", question.host + question.path, question.status, bytes(question.body))
        self.on_answer(question)

    def ended(self) -> None:
        if self.remote is not None:
            self.remote.close()
            self._forget("the service closed the connection")

    def lost(self) -> None:
        self._forget("the service reset the connection")

    def _forget(self, why: str) -> None:
        self.remote = None
        for question in self.open.values():
            question.gone = why
        self.open.clear()

    def _flush(self) -> None:
        if self.remote is not None and (data := self._codec.data_to_send()):
            self.remote.write(data)
