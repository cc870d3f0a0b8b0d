"""One unary call against the server's own machine, and against servers that do not speak gRPC."""

import struct

import attrs
import ngh2
import pytest

from exchanger.net.grpc.call import Call
from exchanger.net.grpc.client import CallAnswered, CallBroken, CallRefused, UnaryCall
from exchanger.net.grpc.connection import Connection
from exchanger.net.grpc.limits import Budget, ConnectionLimits
from exchanger.net.grpc.routes import CallInfo, Immediate
from exchanger.net.grpc.status import StatusCode
from tests.net.grpc.peer import ECHO, Header, framed, routes


def unary_call(path: str = ECHO.decode(), message: bytes = b"hello") -> UnaryCall:
    return UnaryCall(path, message, "test:1", "http", 2.0)


def talk(call: UnaryCall, *, chunk: int = 1 << 20) -> list[CallInfo]:
    """Pass bytes between ``call`` and a server until neither has more to say; return what the server was asked."""
    server = Connection(routes(), ConnectionLimits(), budget=Budget())
    seen: list[CallInfo] = []
    while True:
        said = call.data_to_send()
        server.receive(said, 0.0)
        for event in server.events():
            assert isinstance(event, Call)
            assert isinstance(event.route, Immediate)
            seen.append(event.info)
            answer = event.route.handler(event.message or b"", event.info)
            assert isinstance(answer, bytes)
            server.respond(event, answer)
        answered = server.data_to_send()
        if not said and not answered:
            return seen
        for start in range(0, len(answered), chunk):
            call.receive(answered[start : start + chunk])


@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
def test_an_answer_is_its_message(chunk: int) -> None:
    call = unary_call()
    (asked,) = talk(call, chunk=chunk)
    assert call.reply == CallAnswered(b"echo hello")
    assert asked.path == ECHO
    assert asked.deadline == 2.0


def test_a_refusal_has_its_status_and_text() -> None:
    call = unary_call("/no.Such/Method")
    talk(call)
    assert call.reply == CallRefused(StatusCode.UNIMPLEMENTED, "unknown method")


def test_the_first_end_counts() -> None:
    call = unary_call()
    talk(call)
    call.receive(b"")
    assert call.reply == CallAnswered(b"echo hello")
    closed = unary_call()
    closed.data_to_send()
    closed.receive(b"")
    assert closed.reply == CallBroken("connection closed by the server before it answered")


@attrs.define(eq=False)
class Scripted:
    """A server that answers the first request with what it is told."""

    headers: list[Header]
    body: bytes = b""
    trailers: list[Header] | None = None
    reset: bool = False

    def answer(self, call: UnaryCall) -> None:
        http = ngh2.Connection(ngh2.Role.SERVER)
        http.initiate_connection()
        http.receive_data(call.data_to_send())
        (stream,) = [event.stream_id for event in http.events() if isinstance(event, ngh2.RequestReceived)]
        if self.reset:
            http.reset_stream(stream, ngh2.ErrorCode.REFUSED_STREAM)
        else:
            bodiless = not self.body and self.trailers is None
            http.send_response(stream, self.headers, end_stream=bodiless)
            if self.body:
                http.send_data(stream, self.body, end_stream=self.trailers is None)
            if self.trailers is not None:
                http.send_trailers(stream, self.trailers)
        while data := http.data_to_send():
            call.receive(data)
            http.receive_data(call.data_to_send())
            list(http.events())


OK = (b":status", b"200")


@pytest.mark.parametrize(
    ("server", "reply"),
    [
        (Scripted([(b":status", b"404")]), CallBroken("no gRPC: HTTP status 404")),
        (Scripted([OK], b"<html>"), CallBroken("no gRPC: HTTP status 200")),
        (Scripted([OK], reset=True), CallBroken("call reset by the server (HTTP/2 error 7)")),
        (Scripted([OK], framed(b"a") + framed(b"b"), [(b"grpc-status", b"0")]), CallBroken("the answer is not one message")),
        (Scripted([OK], framed(b"a", flag=1), [(b"grpc-status", b"0")]), CallBroken("the answer is not one message")),
        (Scripted([OK], b"", [(b"grpc-status", b"0")]), CallBroken("the answer is not one message")),
        (Scripted([OK], framed(b"a"), [(b"grpc-status", b"0")]), CallAnswered(b"a")),
        (Scripted([OK, (b"grpc-status", b"14"), (b"grpc-message", b"a%20b")]), CallRefused(StatusCode.UNAVAILABLE, "a b")),
        (Scripted([OK, (b"grpc-status", b"99")]), CallRefused(StatusCode.UNKNOWN, "")),
        (Scripted([OK, (b"grpc-status", "²".encode())]), CallRefused(StatusCode.UNKNOWN, "")),
        (Scripted([OK], struct.pack(">BI", 0, 1 << 20) + b"x" * (1 << 17), []), CallBroken("answer of more than 65536 bytes")),
    ],
)
def test_each_kind_of_end_is_a_reply(server: Scripted, reply: object) -> None:
    call = unary_call()
    server.answer(call)
    assert call.reply == reply
