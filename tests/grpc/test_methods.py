import subprocess
import sys

import h2.connection  # type: ignore[import-untyped]  # without types, and not to be used
import hpack  # type: ignore[import-untyped]  # as above
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


@pytest.mark.parametrize(("path", "message", "sent"), [(UPPER, "fail", []), (SPLIT, "one two fail", ["one", "two"])])
async def test_faults_show_no_text(path: bytes, message: str, sent: list[str]) -> None:
    async with serving(routes_of(Texts().service())) as served:
        client = await served.connect()
        _, answer = await client.start(path, framed(text(message)))
        assert (answer.status, answer.message, values(answer)) == (StatusCode.INTERNAL, "internal error", sent)
        assert [type(fault) for fault in served.faults] == [ValueError]
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


# No byte from the network reaches the HTTP/2 and HPACK packages that purerpc brings along: they are old, and have known holes.


def test_this_package_imports_neither_them_nor_purerpc() -> None:
    code = (
        "import sys, exchanger.grpc.server\n"
        "print(sorted(name for name in ('h2', 'hpack', 'hyperframe', 'purerpc', 'anyio') if name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


async def test_serving_a_purerpc_service_makes_no_connection_of_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def refuse(self: object, *_args: object, **_options: object) -> None:
        made.append(type(self).__name__)
        raise AssertionError("not to be used")

    monkeypatch.setattr(h2.connection.H2Connection, "__init__", refuse)
    monkeypatch.setattr(hpack.Decoder, "__init__", refuse)
    async with serving(routes_of(Texts().service())) as served:
        client = await served.connect()
        for path, body in ((b"Upper", "a"), (b"Split", "a b"), (b"Join", "a"), (b"Echo", "a")):
            _, answer = await client.start(b"/test.Texts/" + path, framed(text(body)))
            assert answer.status == 0
        client.send(b"\0\0\1\1\5\0\0\0\x01\xff")  # and a header block that cannot be decoded
        await client.settle()
        assert client.eof
    assert made == []
