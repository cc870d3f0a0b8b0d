import pytest
from google.protobuf.wrappers_pb2 import StringValue
from trio.testing import MockClock, wait_all_tasks_blocked

from exchanger.grpc.limits import ConnectionLimits
from exchanger.grpc.routes import routes_of
from exchanger.grpc.status import StatusCode
from tests.grpc.peer import Answer, framed
from tests.grpc.services import Texts, text
from tests.grpc.serving import serving

UPPER, SPLIT, JOIN, ECHO, FLOOD = (b"/test.Texts/" + name for name in (b"Upper", b"Split", b"Join", b"Echo", b"Flood"))


def values(answer: Answer) -> list[str]:
    return [StringValue.FromString(message).value for message in answer.messages]


async def test_unary() -> None:
    texts = Texts()
    async with serving(routes_of(texts.service())) as served:
        client = await served.connect()
        _, answer = await client.start(UPPER, framed(text("hello")), (b"x-one", b"1"))
        assert (values(answer), answer.status) == (["HELLO"], 0)
        assert texts.infos[0].path == UPPER
        assert texts.infos[0].metadata == ((b"x-one", b"1"),)


@pytest.mark.parametrize(
    ("path", "message", "status", "text_"),
    [
        (UPPER, text("refuse"), StatusCode.FAILED_PRECONDITION, "not this one"),
        (UPPER, b"\xff\xff", StatusCode.INTERNAL, "request is not a message of the method's type"),
        (SPLIT, b"\xff\xff", StatusCode.INTERNAL, "request is not a message of the method's type"),
        (JOIN, b"\xff\xff", StatusCode.INTERNAL, "request is not a message of the method's type"),
        (ECHO, b"\xff\xff", StatusCode.INTERNAL, "request is not a message of the method's type"),
    ],
)
async def test_refusals(path: bytes, message: bytes, status: StatusCode, text_: str) -> None:
    async with serving(routes_of(Texts().service())) as served:
        client = await served.connect()
        _, answer = await client.start(path, framed(message))
        assert (answer.status, answer.message) == (status, text_)
        assert served.faults == []
        assert served.at_rest()


@pytest.mark.parametrize(("path", "message", "sent"), [(UPPER, "fail", []), (SPLIT, "one two fail", ["one", "two"])])
async def test_faults_show_no_text(path: bytes, message: str, sent: list[str]) -> None:
    async with serving(routes_of(Texts().service())) as served:
        client = await served.connect()
        _, answer = await client.start(path, framed(text(message)))
        assert (answer.status, answer.message, values(answer)) == (StatusCode.INTERNAL, "internal error", sent)
        assert [type(fault) for fault in served.faults] == [ValueError]
        assert served.at_rest()


async def test_a_stream_of_responses() -> None:
    async with serving(routes_of(Texts().service())) as served:
        client = await served.connect()
        _, answer = await client.start(SPLIT, framed(text("a b c")))
        assert (values(answer), answer.status) == (["a", "b", "c"], 0)
        _, empty = await client.start(SPLIT, framed(text("")))
        assert (values(empty), empty.status) == ([], 0)


async def test_a_stream_of_requests() -> None:
    texts = Texts()
    async with serving(routes_of(texts.service())) as served:
        client = await served.connect()
        stream, answer = await client.start(JOIN, framed(text("a")) + framed(text("b")), end=False)
        assert texts.seen == ["a", "b"]
        client.peer.http.send_data(stream, framed(text("c")), end_stream=True)
        await client.settle()
        assert (values(answer), answer.status) == (["a b c"], 0)
        _, empty = await client.start(JOIN, b"")
        assert values(empty) == [""]


async def test_many_requests_pass_the_window() -> None:
    texts = Texts()
    async with serving(routes_of(texts.service())) as served:
        client = await served.connect()
        stream, answer = await client.start(JOIN, b"", end=False)
        for _ in range(200):
            client.peer.http.send_data(stream, framed(text("x" * 10_000)))
        client.peer.http.end_stream(stream)
        await client.settle()
        assert len(texts.seen) == 200
        assert answer.status == 0


async def test_a_response_before_the_requests_end() -> None:
    async with serving(routes_of(Texts().service())) as served:
        client = await served.connect()
        _, answer = await client.start(JOIN, framed(text("a")) + framed(text("stop")) + framed(text("unread")), end=False)
        assert (values(answer), answer.status, answer.reset) == (["a"], 0, 0)
        assert served.at_rest()


async def test_both_streams_at_once() -> None:
    async with serving(routes_of(Texts().service())) as served:
        client = await served.connect()
        stream, answer = await client.start(ECHO, framed(text("a")), end=False)
        assert values(answer) == ["a"]
        client.peer.http.send_data(stream, framed(text("b")))
        await client.settle()
        assert values(answer) == ["a", "b"]
        client.peer.http.end_stream(stream)
        await client.settle()
        assert answer.status == 0
        assert served.at_rest()


@pytest.mark.parametrize("path", [UPPER, SPLIT, ECHO])
async def test_a_reset_cancels(path: bytes) -> None:
    texts = Texts()
    async with serving(routes_of(texts.service())) as served:
        client = await served.connect()
        stream, _ = await client.start(path, framed(text("wait")))
        assert texts.running == 1
        client.peer.http.reset_stream(stream)
        await client.settle()
        assert (texts.running, texts.cancelled) == (0, 1)
        assert served.at_rest()


async def test_a_reset_cancels_a_method_that_waits_for_requests() -> None:
    async with serving(routes_of(Texts().service())) as served:
        client = await served.connect()
        stream, _ = await client.start(JOIN, framed(text("a")), end=False)
        assert served.server.usage().tasks == 1
        client.peer.http.reset_stream(stream)
        await client.settle()
        assert served.at_rest()


async def test_the_deadline_ends_a_stream_that_has_begun(mock_clock: MockClock) -> None:
    texts = Texts()
    async with serving(routes_of(texts.service())) as served:
        client = await served.connect()
        _, answer = await client.start(SPLIT, framed(text("a wait")), (b"grpc-timeout", b"1S"))
        assert values(answer) == ["a"]
        mock_clock.jump(1.1)
        await client.settle()
        assert (values(answer), answer.status) == (["a"], StatusCode.DEADLINE_EXCEEDED)
        assert texts.cancelled == 1


async def test_the_deadline_ends_a_method_that_never_waits() -> None:
    texts = Texts()
    async with serving(routes_of(texts.service())) as served:
        client = await served.connect()
        _, answer = await client.start(FLOOD, framed(text("x")), (b"grpc-timeout", b"0m"))
        assert answer.status == StatusCode.DEADLINE_EXCEEDED
        assert texts.running == 1


async def test_a_broken_request_stream_cancels() -> None:
    texts = Texts()
    async with serving(routes_of(texts.service())) as served:
        client = await served.connect()
        stream, answer = await client.start(ECHO, framed(text("wait")), end=False)
        client.peer.http.send_data(stream, framed(b"x", flag=1))
        await client.settle()
        assert answer.status == StatusCode.INTERNAL
        assert texts.cancelled == 1
        assert served.at_rest()


async def test_a_method_waits_for_a_peer_that_does_not_read() -> None:
    texts = Texts()
    async with serving(routes_of(texts.service()), limits=ConnectionLimits(call_queued_bytes=1000)) as served:
        client = await served.connect()
        stream = client.peer.request([*_head(FLOOD)], framed(text("x" * 1000)))
        client.send()
        await wait_all_tasks_blocked()
        assert 65 <= texts.running <= 70  # the peer's window is 65,535 bytes
        assert served.server.usage().queued_bytes < 3000
        before = texts.running
        assert client.receive()  # reading opens the window
        client.send()
        await wait_all_tasks_blocked()
        assert texts.running > before
        client.peer.http.reset_stream(stream)
        client.send()
        await wait_all_tasks_blocked()
        assert served.at_rest()


async def test_a_flood_into_the_socket_waits_too() -> None:
    texts = Texts()
    async with serving(routes_of(texts.service())) as served:
        client = await served.connect(receive_buffer=65_536)
        client.peer.http.update_settings({4: 2**31 - 1})
        client.peer.http.set_local_window_size(2**31 - 1)
        await client.settle()
        client.peer.request([*_head(FLOOD)], framed(text("x" * 10_000)))
        client.send()
        await wait_all_tasks_blocked()
        assert served.server.usage().queued_bytes < 200_000
        before = texts.running
        client.receive()
        await wait_all_tasks_blocked()
        assert texts.running > before


def _head(path: bytes) -> list[tuple[bytes, bytes]]:
    return [(b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"t"), (b":path", path), (b"content-type", b"application/grpc")]
