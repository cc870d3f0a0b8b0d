"""Gateways that ask over HTTP/1.1: a connection for each request under way, used again after its answer."""

from random import Random
from typing import Final, final

import attrs
import h11

from tests.authz.http_authz.asking import STATING
from tests.authz.http_authz.asking import question as stated
from tests.simulation.gateway import CLOSED, LEFT, RESET, TIMED_OUT, Gateway, Question, Reply, Stream
from tests.simulation.network import Remote

HTTP_PORT: Final = 3003
# Seconds until the service has answered a question whose gateway has closed its side.
_ANSWERED: Final = 0.9
_FORMS: Final = ("/envoy", *STATING)


@final
@attrs.define(eq=False)
class Forwarding(Gateway):
    """Asks in one of the three forms. The service does not know for how long it waits."""

    _form: str = attrs.field(init=False)
    _chance: Random = attrs.field(init=False)
    _idle: "list[_Connection]" = attrs.field(factory=list, init=False)
    _busy: "dict[int, _Connection]" = attrs.field(factory=dict, init=False)
    _opened: int = attrs.field(default=0, init=False)

    door = "http"
    method = b""

    def __attrs_post_init__(self) -> None:
        self._chance = self.kernel.random(self.name)
        self._form = self._chance.choice(_FORMS)

    def ask(self, question: Question) -> None:
        """Ask a question, over a connection that is there, or a new one."""
        connection = self._idle.pop() if self._idle else self._opens()
        question.door, question.stream = self.door, connection.number
        self.kernel.tell(self.name, "asks", question.named, question.patience)
        self._busy[connection.number] = connection
        stream = self.streams[connection.number] = Stream(connection.number)
        stream.waiting.append(question)
        connection.ask(self._form, question)
        self.kernel.after(question.patience, self._give_up_if_waiting, question, "waits no more for", TIMED_OUT)

    def leave(self, question: Question) -> None:
        """The gateway's own client has left, and so does the gateway."""
        self._give_up_if_waiting(question, "leaves", LEFT)

    def hang_up(self, *, abort: bool = False) -> None:
        """End all connections."""
        for connection in [*self._idle, *self._busy.values()]:
            self._end(connection, "the gateway hung up", abort=abort)

    def _opens(self) -> "_Connection":
        self._opened += 1
        connection = _Connection(self, self._opened)
        connection.remote = self.network.enter(HTTP_PORT, connection, f"{self.name}/{self._opened}")
        return connection

    def _give_up_if_waiting(self, question: Question, does: str, why: str) -> None:
        connection = self._busy.get(question.stream)
        if connection is not None and connection.question is question:
            self.kernel.tell(self.name, does, question.named)
            self._end(connection, why, abort=self._chance.random() < 0.5)

    def _end(self, connection: "_Connection", why: str, *, abort: bool) -> None:
        """End a connection, also before its answer. If only this side is closed, it may still want that, so the service goes on."""
        if abort:
            connection.remote.abort()
        else:
            connection.remote.close()
            if connection.question is not None:
                ghost = self.streams[-connection.number] = Stream(-connection.number)
                ghost.waiting.append(connection.question)
                self.kernel.after(_ANSWERED, self._no_longer_there, ghost)
        self.forget(connection, why)

    def _no_longer_there(self, ghost: Stream) -> None:
        del self.streams[ghost.number]

    def heard(self, connection: "_Connection", question: Question, response: h11.Response, body: bytes) -> None:
        """A question has its answer. Its connection is used again, unless the service ends it."""
        del self._busy[connection.number], self.streams[connection.number]
        if connection.codec.our_state is h11.DONE and connection.codec.their_state is h11.DONE:
            connection.codec.start_next_cycle()
            self._idle.append(connection)
        else:
            connection.remote.close()
        reply = _read(question, response, body)
        self._answered(question, str(response.status_code) if reply is None else "0", body, reply)

    def rests(self, connection: "_Connection") -> bool:
        """Tell whether a connection may carry the next question."""
        return connection in self._idle

    def forget(self, connection: "_Connection", why: str) -> None:
        """A connection has ended; ``why``."""
        connection.question = None
        if connection in self._idle:
            self._idle.remove(connection)
        if self._busy.pop(connection.number, None) is not None:
            self._lose(self.streams.pop(connection.number), why)


@final
@attrs.define(eq=False)
class _Connection:
    """One connection of a gateway, and the question on it."""

    gateway: Forwarding
    number: int
    remote: Remote = attrs.field(init=False)
    codec: h11.Connection = attrs.field(factory=lambda: h11.Connection(h11.CLIENT), init=False)
    question: Question | None = attrs.field(default=None, init=False)
    _response: h11.Response | None = attrs.field(default=None, init=False)
    _body: bytearray = attrs.field(factory=bytearray, init=False)

    def ask(self, form: str, question: Question) -> None:
        if form == "/envoy" and question.request.method == "HEAD":  # the answer would have no body, which says why
            question.request = attrs.evolve(question.request, method="GET")
        about = question.request
        self.question, self._response = question, None
        self._body.clear()
        self.codec.send(h11.Request(method="GET", target="/", headers=[("Host", "exchanger")]))  # so that it knows what it reads
        self.codec.send(h11.EndOfMessage())
        authorization = b"Authorization", b"Bearer " + question.token.encode()
        more = [(name.encode(), value.encode()) for name, value in about.fields]
        self.remote.write(stated(form, about.path.encode(), authorization, *more, method=about.method.encode(), host=about.host.encode()))

    def received(self, data: bytes) -> None:
        if self.question is None:  # nobody waits any more
            assert not self.gateway.rests(self), "the service answers what was not asked"
            return
        self.codec.receive_data(data)
        while not isinstance(event := self.codec.next_event(), type(h11.NEED_DATA)) and event is not h11.PAUSED:
            if isinstance(event, h11.Response):
                self._response = event
            elif isinstance(event, h11.Data):
                self._body += event.data
            elif isinstance(event, h11.EndOfMessage) and self._response is not None:
                question, self.question = self.question, None
                self.gateway.heard(self, question, self._response, bytes(self._body))
                return

    def ended(self) -> None:
        self.remote.close()
        self.gateway.forget(self, CLOSED)

    def lost(self) -> None:
        self.gateway.forget(self, RESET)


def _read(question: Question, response: h11.Response, body: bytes) -> Reply | None:
    """Return what an answer says, ``None`` if it decides nothing. No gateway hears of the decision's name over HTTP."""
    headers = response.headers
    if response.status_code == 200:  # of an allow alone
        values = [value.decode() for name, value in headers if name == b"authorization"]
        return Reply(0, "", tokens=tuple(value for value in values if value != f"Bearer {question.token}"))
    status = next((int(value) for name, value in headers if name == b"x-exchanger-status"), response.status_code)
    return Reply(status, "", body.decode()) if body else None
