import subprocess
import sys

import attrs
import h2.connection  # type: ignore[import-untyped]  # without types, and not to be used
import hpack  # type: ignore[import-untyped]  # as above
import pytest
import trio
from google.protobuf.wrappers_pb2 import StringValue
from trio.testing import MockClock, wait_all_tasks_blocked

from exchanger.net.grpc.limits import ConnectionLimits
from exchanger.net.grpc.routes import CallInfo, ImmediateStream, Route, routes_of
from exchanger.net.grpc.status import GrpcError, StatusCode
from tests.net.grpc.later import Pending
from tests.net.grpc.peer import Answer, framed, head
from tests.net.grpc.services import Texts, text
from tests.net.grpc.serving import Client, serving

UPPER, FLOOD = b"/test.Texts/Upper", b"/test.Texts/Flood"


def values(answer: Answer) -> list[str]:
    return [StringValue.FromString(message).value for message in answer.messages]


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


# No byte from the network reaches the HTTP/2 and HPACK packages that purerpc brings along: they are old, and have known holes.


def test_this_package_imports_neither_them_nor_purerpc() -> None:
    code = (
        "import sys, exchanger.net.grpc.server\n"
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


# Streams that are answered message by message, without a task where none has to wait.

CHAT = b"/test.Chat/Talk"
DEADLINE = (b"grpc-timeout", b"200m")


@attrs.define(eq=False)
class Chat:
    """Answers "later…" when ``let_go`` is set, "nothing" not at all, refuses "refuse…", breaks upon "break…", and echoes anything else."""

    let_go: trio.Event = attrs.field(factory=trio.Event)
    waiting: int = 0
    cancelled: int = 0
    instead: bytes | None = None
    seen: list[CallInfo] = attrs.field(factory=list)

    def table(self) -> dict[bytes, Route]:
        return {CHAT: ImmediateStream(self.answer, self.instead)}

    def answer(self, message: bytes, info: CallInfo) -> bytes | Pending | None:
        self.seen.append(info)
        if message.startswith(b"later"):
            return Pending(lambda: self._later(message))
        if message == b"nothing":
            return None
        self._act(message)
        return b"echo " + message

    async def _later(self, message: bytes) -> bytes:
        self.waiting += 1
        try:
            await self.let_go.wait()
        except trio.Cancelled:
            self.cancelled += 1
            raise
        finally:
            self.waiting -= 1
        self._act(message.removeprefix(b"later "))
        return b"late " + message

    def _act(self, message: bytes) -> None:
        if message == b"refuse":
            raise GrpcError(StatusCode.ABORTED, "refused")
        if message == b"break":
            raise RuntimeError("broken")


async def talk(client: Client, *messages: bytes, end: bool = True, extra: tuple[tuple[bytes, bytes], ...] = ()) -> tuple[int, Answer]:
    return await client.start(CHAT, b"".join(map(framed, messages)), *extra, end=end)


async def say(client: Client, stream: int, *messages: bytes, end: bool = False) -> None:
    client.peer.http.send_data(stream, b"".join(map(framed, messages)), end_stream=end)
    await client.settle()


async def test_a_message_that_waits_holds_up_its_own_call_only() -> None:
    chat = Chat()
    async with serving(chat.table()) as served:
        client = await served.connect()
        stream, slow = await talk(client, b"a", b"later", b"b", end=False)
        _, quick = await talk(client, b"c")
        assert (slow.messages, quick.messages, quick.status) == ([b"echo a"], [b"echo c"], StatusCode.OK)
        await say(client, stream, b"later 2", b"d", end=True)
        assert (slow.messages, chat.waiting, served.server.usage().tasks) == ([b"echo a"], 1, 1)
        chat.let_go.set()
        await client.settle()
        assert slow.messages == [b"echo a", b"late later", b"echo b", b"late later 2", b"echo d"]
        assert slow.status == StatusCode.OK
        assert served.at_rest()


@pytest.mark.parametrize(
    ("said", "end"), [((), False), ((b"a",), False), ((b"a", b"later"), False), ((b"later", b"b"), False), ((b"later",), True)]
)
async def test_the_deadline_ends_it_whatever_it_does(said: tuple[bytes, ...], end: bool, mock_clock: MockClock) -> None:
    chat = Chat()
    async with serving(chat.table()) as served:
        client = await served.connect()
        stream, answer = await talk(client, *said, end=end, extra=(DEADLINE,))
        mock_clock.jump(0.1)
        if not end:
            await say(client, stream, b"more")
        mock_clock.jump(0.09)
        await client.settle()
        assert not answer.closed
        mock_clock.jump(0.02)
        await client.settle()
        assert answer.status == StatusCode.DEADLINE_EXCEEDED
        assert (chat.waiting, chat.cancelled) == (0, int(b"later" in said))
        assert served.at_rest()


@pytest.mark.parametrize("waits", [b"", b"later "])
@pytest.mark.parametrize(
    ("message", "instead", "answers", "status", "faults"),
    [
        (b"refuse", b"instead", [b"echo a"], StatusCode.ABORTED, []),
        (b"break", None, [b"echo a"], StatusCode.INTERNAL, [RuntimeError]),
        (b"break", b"instead", [b"echo a", b"instead", b"echo b"], StatusCode.OK, [RuntimeError]),
    ],
)
async def test_a_handlers_refusal_or_fault_ends_the_call_unless_it_is_replaced(
    waits: bytes, message: bytes, instead: bytes | None, answers: list[bytes], status: StatusCode, faults: list[type]
) -> None:
    chat = Chat(instead=instead)
    chat.let_go.set()
    async with serving(chat.table()) as served:
        _, answer = await talk(await served.connect(), b"a", waits + message, b"b")
        assert (answer.messages, answer.status, served.at_rest()) == (answers, status, True)
        assert answer.message == {StatusCode.ABORTED: "refused", StatusCode.INTERNAL: "internal error", StatusCode.OK: ""}[status]
        assert [type(fault) for fault in served.faults] == faults


async def test_a_stalled_peer_gets_its_responses_only_when_it_reads_again() -> None:
    limits = ConnectionLimits(call_queued_bytes=2000)
    seen = 0

    def large(message: bytes, _info: CallInfo) -> bytes:
        nonlocal seen
        seen += 1
        return message * 1000

    async with serving({CHAT: ImmediateStream(large)}, limits=limits) as served:
        client = await served.connect()
        client.peer.http.update_settings({4: 0})
        await client.settle()
        stream, answer = await talk(client, *[b"x"] * 100, end=False)
        assert (answer.messages, seen) == ([], 2)
        _, other = await talk(client, b"y", end=False)
        assert (other.messages, seen) == ([], 3)
        client.peer.http.update_settings({4: 1 << 20})
        await client.settle()
        assert (len(answer.messages), other.messages, seen) == (100, [b"y" * 1000], 101)
        await say(client, stream, end=True)
        assert answer.status == StatusCode.OK
