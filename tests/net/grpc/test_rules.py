"""The rules of gRPC, case by case: what is taken, what is refused and how, and that the connection lives on whatever came.

Statuses are those of https://grpc.github.io/grpc/core/md_doc_statuscodes.html, and where it is silent those of grpc-go.
"""

import struct

import attrs
import ngh2
import pytest
from trio.testing import MockClock

from exchanger.net.grpc.limits import ConnectionLimits
from exchanger.net.grpc.routes import Immediate, routes_of
from exchanger.net.grpc.status import GrpcError, StatusCode
from tests.net.grpc.peer import ECHO, Answer, Header, echo, framed, head
from tests.net.grpc.services import Texts, text
from tests.net.grpc.serving import Client, serving

UPPER = b"/test.Texts/Upper"
JOIN = b"/test.Texts/Join"
SPLIT = b"/test.Texts/Split"
OK = StatusCode.OK
HELLO = framed(text("hello"))
# A StringValue whose text is not UTF-8: proto3 demands it (https://protobuf.dev/programming-guides/proto3/#scalar).
BAD_UTF8 = b"\n\2\xc3\x28"


def prefix(size: int, flag: int = 0) -> bytes:
    return struct.pack(">BI", flag, size)


@attrs.frozen
class Case:
    """One call, and how it ends: with a gRPC status, as plain HTTP, or with a reset."""

    name: str
    expected: StatusCode | int | ngh2.ErrorCode
    extra: tuple[Header, ...] = ()
    path: bytes = UPPER
    body: bytes = HELLO
    method: bytes = b"POST"
    content_type: bytes | None = b"application/grpc"
    without: bytes = b""
    trailers: tuple[Header, ...] = ()

    def headers(self) -> list[Header]:
        headers = head(self.path, *self.extra, method=self.method, content_type=self.content_type)
        return [header for header in headers if header[0] != self.without]


def timeouts(*values: bytes) -> tuple[Header, ...]:
    return tuple((b"grpc-timeout", value) for value in values)


CASES = (
    Case("plain", OK),
    # Content type
    Case("content type missing", 415, content_type=None),
    Case("content type empty", 415, content_type=b""),
    Case("content type text", 415, content_type=b"text/plain"),
    Case("content type grpc-web", 415, content_type=b"application/grpc-web"),
    Case("content type grpc-web+proto", 415, content_type=b"application/grpc-web+proto"),
    Case("content type json", 415, content_type=b"application/grpc+json"),
    Case("content type with a tail", 415, content_type=b"application/grpcfoo"),
    Case("content type proto", OK, content_type=b"application/grpc+proto"),
    Case("content type upper case", OK, content_type=b"APPLICATION/GRPC"),
    Case("content type with parameters", OK, content_type=b"application/grpc; charset=utf-8; v=1"),
    Case("content type twice", 415, extra=((b"content-type", b"application/grpc"),)),
    Case("content type twice, the second another", 415, extra=((b"content-type", b"text/plain"),)),
    # Other headers
    Case("te missing", OK, without=b"te"),
    Case("te twice", OK, extra=((b"te", b"trailers"),)),
    Case("te with anything else", ngh2.ErrorCode.PROTOCOL_ERROR, extra=((b"te", b"gzip"),)),
    Case("host instead of authority", OK, extra=((b"host", b"test"),), without=b":authority"),
    Case("neither", ngh2.ErrorCode.PROTOCOL_ERROR, without=b":authority"),
    Case("a connection header", ngh2.ErrorCode.PROTOCOL_ERROR, extra=((b"connection", b"close"),)),
    Case("a line break in a value", ngh2.ErrorCode.PROTOCOL_ERROR, extra=((b"x-test", b"1\r\nx: 2"),)),
    Case("a pseudo-header twice", ngh2.ErrorCode.PROTOCOL_ERROR, extra=((b":path", UPPER),)),
    Case("an unknown pseudo-header", ngh2.ErrorCode.PROTOCOL_ERROR, extra=((b":grpc", b"1"),)),
    Case("a name reserved for gRPC", OK, extra=((b"grpc-of-tomorrow", b"1"),)),
    Case("binary metadata", OK, extra=((b"trace-bin", b"AAE="),)),
    Case("a wrong content-length", ngh2.ErrorCode.PROTOCOL_ERROR, extra=((b"content-length", b"3"),)),
    # Method and path
    Case("GET", 405, method=b"GET"),
    Case("PUT", 405, method=b"PUT"),
    Case("post", 405, method=b"post"),
    Case("OPTIONS", 405, method=b"OPTIONS"),
    Case("unknown service", StatusCode.UNIMPLEMENTED, path=b"/test.Others/Upper"),
    Case("unknown method", StatusCode.UNIMPLEMENTED, path=b"/test.Texts/Lower"),
    Case("another case", StatusCode.UNIMPLEMENTED, path=b"/test.texts/upper"),
    Case("no method", StatusCode.UNIMPLEMENTED, path=b"/test.Texts"),
    Case("the root", StatusCode.UNIMPLEMENTED, path=b"/"),
    Case("a path with a query", StatusCode.UNIMPLEMENTED, path=UPPER + b"?x=1"),
    Case("an escaped path", StatusCode.UNIMPLEMENTED, path=b"/test.Texts/%55pper"),
    Case("a doubled slash", StatusCode.UNIMPLEMENTED, path=b"/" + UPPER),
    Case("a path that is not ASCII", StatusCode.UNIMPLEMENTED, path="/test.Texts/Üpper".encode()),
    Case("a path without a slash", ngh2.ErrorCode.PROTOCOL_ERROR, path=UPPER[1:]),
    Case("an empty path", ngh2.ErrorCode.PROTOCOL_ERROR, path=b""),
    # Timeouts
    *(Case(f"timeout {value!r}", OK, extra=timeouts(value)) for value in (b"1H", b"90M", b"8S", b"99999999n", b"00000005S")),
    *(
        Case(f"timeout {value!r}", StatusCode.INTERNAL, extra=timeouts(value))
        for value in (b"", b"1", b"S", b"-1S", b"+1S", b"123456789S", b"1.5S", b"1e3S", b"1s", b"1 S", "１S".encode(), b"\xb9S", b"1S,2S")
    ),
    Case("two timeouts", StatusCode.INTERNAL, extra=timeouts(b"1S", b"2S")),
    # Compression
    Case("compressed, not said how", StatusCode.INTERNAL, body=prefix(7, flag=1) + bytes(7)),
    Case("compressed as nothing", StatusCode.INTERNAL, extra=((b"grpc-encoding", b"identity"),), body=prefix(7, flag=1) + bytes(7)),
    Case("compressed", StatusCode.UNIMPLEMENTED, extra=((b"grpc-encoding", b"gzip"),), body=prefix(7, flag=1) + bytes(7)),
    Case("compressed unheard of", StatusCode.UNIMPLEMENTED, extra=((b"grpc-encoding", b"snap"),), body=prefix(7, flag=1) + bytes(7)),
    Case("could be compressed but is not", OK, extra=((b"grpc-encoding", b"gzip"),)),
    Case("encoding identity", OK, extra=((b"grpc-encoding", b"identity"),)),
    # Messages
    *(Case(f"flag {flag}", StatusCode.INTERNAL, body=prefix(7, flag) + bytes(7)) for flag in (2, 3, 128, 255)),
    Case("no message", StatusCode.UNIMPLEMENTED, body=b""),
    Case("two messages", StatusCode.UNIMPLEMENTED, body=HELLO * 2),
    Case("an empty message", OK, body=framed(b"")),
    Case("part of a prefix", StatusCode.INTERNAL, body=HELLO[:3]),
    Case("a prefix alone", StatusCode.INTERNAL, body=prefix(7)),
    Case("a length larger than what comes", StatusCode.INTERNAL, body=prefix(8) + text("hello")),
    Case("a length smaller than what comes", StatusCode.INTERNAL, body=prefix(6) + text("hello")),
    Case("a length of 4 GiB", StatusCode.RESOURCE_EXHAUSTED, body=prefix(2**32 - 1) + bytes(100)),
    Case("a length just too large", StatusCode.RESOURCE_EXHAUSTED, body=prefix(50_001) + bytes(100)),
    Case("a message just too large", StatusCode.RESOURCE_EXHAUSTED, body=framed(text("x" * 50_000))),
    Case("a message just not too large", OK, body=framed(text("x" * 49_996))),
    Case("no protobuf", StatusCode.INTERNAL, body=framed(b"\xff\xff\xff")),
    Case("no protobuf to a method that streams its answer", StatusCode.INTERNAL, path=SPLIT, body=framed(b"\xff\xff")),
    Case("refused by the method", StatusCode.FAILED_PRECONDITION, body=framed(text("refuse"))),
    Case("a cut field", StatusCode.INTERNAL, body=framed(b"\n\5hell")),
    Case("a field of another type", OK, body=framed(b"\x08\5")),
    Case("text that is not UTF-8", StatusCode.INTERNAL, body=framed(BAD_UTF8)),
    Case("unknown fields", OK, body=framed(text("hello") + b"\x9a\x06\3abc")),
    # Trailers of the request
    Case("trailers", OK, trailers=((b"x-checksum", b"1"),)),
    Case("trailers instead of a message", StatusCode.UNIMPLEMENTED, body=b"", trailers=((b"x-checksum", b"1"),)),
    Case("trailers with a pseudo-header", ngh2.ErrorCode.PROTOCOL_ERROR, trailers=((b":path", UPPER),)),
    Case("trailers with a status", OK, trailers=((b"grpc-status", b"13"), (b"grpc-timeout", b"nonsense"))),
    # A stream of requests
    Case("a stream of two", OK, path=JOIN, body=HELLO * 2),
    Case("an empty stream", OK, path=JOIN, body=b""),
    Case("a stream with a cut message", StatusCode.INTERNAL, path=JOIN, body=HELLO + HELLO[:4]),
    Case("a stream with no protobuf", StatusCode.INTERNAL, path=JOIN, body=HELLO + framed(BAD_UTF8)),
    Case("a stream with a message just too large", StatusCode.RESOURCE_EXHAUSTED, path=JOIN, body=HELLO + framed(bytes(50_001))),
)


async def ask(client: Client, case: Case) -> Answer:
    stream = client.peer.request(case.headers(), case.body, end=not case.trailers)
    if case.trailers:
        client.peer.http.send_trailers(stream, case.trailers)
    await client.settle()
    return client.peer.answers[stream]


def check(case: Case, answer: Answer) -> None:
    assert answer.closed
    if isinstance(case.expected, StatusCode):
        assert (answer.headers.get(b":status"), answer.status) == (b"200", case.expected), answer
        assert bool(answer.message) == (case.expected is not OK)
        assert (answer.headers.get(b"grpc-accept-encoding") == b"identity") == (case.expected is StatusCode.UNIMPLEMENTED)
    elif isinstance(case.expected, ngh2.ErrorCode):
        assert (answer.headers, answer.reset) == ({}, case.expected)
    else:
        assert (answer.headers[b":status"], answer.status) == (b"%d" % case.expected, None)
        assert b"gRPC" in answer.body


TABLE = {**routes_of(Texts().service()), ECHO: Immediate(echo)}
LIMITS = ConnectionLimits(message_bytes=50_000)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_rule(case: Case, mock_clock: MockClock) -> None:
    async with serving(TABLE, limits=LIMITS) as served:
        client = await served.connect()
        check(case, await ask(client, case))
        assert (await client.ask(b"next")).messages == [b"echo next"]
        assert served.at_rest()
        assert served.faults == []


async def test_a_refusal_that_goes_on_and_on_is_cut() -> None:
    def handler(_message: bytes, _call: object) -> bytes:
        raise GrpcError(StatusCode.ABORTED, "ü\ud800" * 100_000)

    async with serving({ECHO: Immediate(handler)}) as served:
        client = await served.connect()
        answer = await client.ask(b"x")
        assert answer.status == StatusCode.ABORTED
        assert answer.message == "%C3%BC?" * 250
        assert not client.eof
        assert served.faults == []
