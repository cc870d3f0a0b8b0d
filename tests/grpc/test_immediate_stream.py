"""Streams that are answered message by message, without a task where none has to wait."""

import attrs
import pytest
import trio
from trio.testing import MockClock

from exchanger.grpc.limits import ConnectionLimits
from exchanger.grpc.routes import CallInfo, ImmediateStream, Pending, Route
from exchanger.grpc.status import GrpcError, StatusCode
from tests.grpc.peer import Answer, framed, head
from tests.grpc.serving import Client, serving

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


async def test_each_message_is_answered_in_order_without_a_task() -> None:
    async with serving(Chat().table()) as served:
        client = await served.connect()
        stream, answer = await talk(client, b"a", b"nothing", b"b", end=False)
        assert (answer.messages, answer.status) == ([b"echo a", b"echo b"], None)
        assert served.server.usage().tasks == 0
        await say(client, stream, b"c", end=True)
        assert (answer.messages[2:], answer.status) == ([b"echo c"], StatusCode.OK)
        assert served.at_rest()


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


@pytest.mark.parametrize("message", [b"refuse", b"later refuse"])
async def test_a_refusal_ends_the_call(message: bytes) -> None:
    chat = Chat(instead=b"instead")
    chat.let_go.set()
    async with serving(chat.table()) as served:
        _, answer = await talk(await served.connect(), b"a", message, b"b")
        assert (answer.messages, answer.status, answer.message) == ([b"echo a"], StatusCode.ABORTED, "refused")
        assert (served.at_rest(), served.faults) == (True, [])


@pytest.mark.parametrize("message", [b"break", b"later break"])
async def test_a_fault_is_internal_or_what_is_answered_instead(message: bytes) -> None:
    for instead, expected, status in ((None, [], StatusCode.INTERNAL), (b"instead", [b"instead", b"echo b"], StatusCode.OK)):
        chat = Chat(instead=instead)
        chat.let_go.set()
        async with serving(chat.table()) as served:
            _, answer = await talk(await served.connect(), message, b"b")
            assert (answer.messages, answer.status) == (expected, status)
            assert [type(fault) for fault in served.faults] == [RuntimeError]
            assert served.at_rest()


async def test_a_peer_that_does_not_read_is_not_answered_further_and_then_gets_everything() -> None:
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


async def test_many_messages_of_one_stream_are_not_answered_in_one_turn() -> None:
    """Two thousand messages come in one read; another connection's call is not behind all of them."""
    order: list[bytes] = []

    def note(message: bytes, _info: CallInfo) -> bytes:
        order.append(message)
        return b""

    async with serving({CHAT: ImmediateStream(note)}) as served:
        greedy, other = await served.connect(), await served.connect()
        greedy.peer.request(head(CHAT), b"".join(framed(b"greedy") for _ in range(2000)), end=True)
        other.peer.request(head(CHAT), framed(b"other"), end=True)
        greedy.send()
        other.send()
        await greedy.settle()
        assert len(order) == 2001
        assert order.index(b"other") <= 200
