import pytest
from google.protobuf.wrappers_pb2 import StringValue
from trio.testing import wait_all_tasks_blocked

from exchanger.grpc.limits import ConnectionLimits
from exchanger.grpc.routes import Streaming, StreamMethod, UnaryMethod, routes_of
from exchanger.grpc.status import StatusCode
from tests.grpc.peer import Answer, framed, head
from tests.grpc.services import Texts, text
from tests.grpc.serving import serving

UPPER, SPLIT, JOIN, ECHO, FLOOD = (b"/test.Texts/" + name for name in (b"Upper", b"Split", b"Join", b"Echo", b"Flood"))


def values(answer: Answer) -> list[str]:
    return [StringValue.FromString(message).value for message in answer.messages]


def test_routes_of_a_service() -> None:
    routes = routes_of(Texts().service())
    kinds = {path: route.streaming for path, route in routes.items() if isinstance(route, StreamMethod)}
    assert kinds == {
        b"/test.Texts/Split": Streaming.UNARY_STREAM,
        b"/test.Texts/Join": Streaming.STREAM_STREAM,
        b"/test.Texts/Echo": Streaming.STREAM_STREAM,
        b"/test.Texts/Flood": Streaming.UNARY_STREAM,
    }
    unary = routes[b"/test.Texts/Upper"]
    assert isinstance(unary, UnaryMethod)
    assert unary.request_type is StringValue


async def test_a_method_sees_the_metadata_and_a_repr_does_not_show_it() -> None:
    texts = Texts()
    extra = ((b"grpc-timeout", b"1S"), (b"grpc-previous-rpc-attempts", b"2"), (b"x-test", b"1"), (b"x-test", b"2"), (b"trace-bin", b"AAE="))
    async with serving(routes_of(texts.service())) as served:
        client = await served.connect()
        _, answer = await client.start(UPPER, framed(text("hello")), *extra)
        assert (values(answer), answer.status) == (["HELLO"], 0)
        (info,) = texts.infos
        assert (info.path, info.metadata) == (UPPER, extra[2:])
        assert "AAE" not in repr(info)


@pytest.mark.parametrize(
    ("path", "message", "status"), [(UPPER, text("refuse"), 9), *((path, b"\xff\xff", 13) for path in (SPLIT, JOIN, ECHO))]
)
async def test_refusals(path: bytes, message: bytes, status: int) -> None:
    async with serving(routes_of(Texts().service())) as served:
        client = await served.connect()
        _, answer = await client.start(path, framed(message))
        assert (answer.status, answer.message) == (
            status,
            "not this one" if status == 9 else "request is not a message of the method's type",
        )
        assert served.faults == []


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


async def test_the_deadline_ends_a_method_that_never_waits() -> None:
    texts = Texts()
    async with serving(routes_of(texts.service())) as served:
        client = await served.connect()
        _, answer = await client.start(FLOOD, framed(text("x")), (b"grpc-timeout", b"0m"))
        assert answer.status == StatusCode.DEADLINE_EXCEEDED
        assert texts.running == 1


async def test_a_method_waits_for_a_peer_that_does_not_read() -> None:
    texts = Texts()
    async with serving(routes_of(texts.service()), limits=ConnectionLimits(call_queued_bytes=1000)) as served:
        client = await served.connect()
        stream = client.peer.request(head(FLOOD), framed(text("x" * 1000)))
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
        client.peer.request(head(FLOOD), framed(text("x" * 10_000)))
        client.send()
        await wait_all_tasks_blocked()
        assert served.server.usage().queued_bytes < 200_000
        before = texts.running
        client.receive()
        await wait_all_tasks_blocked()
        assert texts.running > before
