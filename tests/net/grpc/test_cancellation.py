"""What ends a call ends its method at once: no time passes between what the peer did and the method's ``Cancelled``."""

import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from exchanger.net.grpc.routes import CallInfo, Immediate, ImmediateStream, Route, Streaming, StreamMethod, UnaryMethod
from exchanger.net.grpc.status import StatusCode
from tests.net.grpc.later import Pending
from tests.net.grpc.peer import Header, Text, framed, head, routes
from tests.net.grpc.serving import Client, Served, serving

PENDING, CHAT, ECHOING = b"/test.Wait/Pending", b"/test.Wait/Chat", b"/test.Wait/Echo"


@attrs.define(eq=False)
class Methods:
    """Methods of each kind that wait for ``release``, or for the peer; ``seen`` has what ended them before, and when."""

    release: trio.Event = attrs.field(factory=trio.Event)
    seen: list[tuple[str, float]] = attrs.field(factory=list)
    waiting: int = 0

    async def _watch(self, wait: Callable[[], Awaitable[object]]) -> None:
        self.waiting += 1
        try:
            await wait()
        except BaseException as error:
            self.seen.append((type(error).__name__, trio.current_time()))
            raise
        finally:
            self.waiting -= 1

    def pending(self, message: bytes, _call: CallInfo) -> Pending:
        async def run() -> bytes:
            await self._watch(self.release.wait)
            return b"late " + message

        return Pending(run)

    async def unary(self, message: Text, _call: CallInfo) -> Text:
        await self._watch(self.release.wait)
        return message

    async def listen(self, message: Text, _call: CallInfo) -> AsyncIterator[Text]:
        yield message
        await self._watch(self.release.wait)

    async def flood(self, message: Text, _call: CallInfo) -> AsyncIterator[Text]:
        """Send until the peer takes no more, and wait there."""
        self.waiting += 1
        try:
            while True:
                yield Text(message.data * 1000)
        except GeneratorExit:  # what cancelled it did so outside, where it was waiting to send
            self.seen.append(("Cancelled", trio.current_time()))
            raise
        finally:
            self.waiting -= 1

    async def echo(self, messages: AsyncIterator[Text], _call: CallInfo) -> AsyncIterator[Text]:
        yield Text(b"hello")
        await self._watch(self._read(messages))

    @staticmethod
    def _read(messages: AsyncIterator[Text]) -> Callable[[], Awaitable[object]]:
        async def read() -> None:
            async for _ in messages:
                pass

        return read

    def table(self) -> dict[bytes, Route]:
        return {
            **routes(),
            PENDING: Immediate(self.pending),
            CHAT: ImmediateStream(self.pending),
            b"/test.Wait/Unary": UnaryMethod(self.unary, Text),
            b"/test.Wait/Listen": StreamMethod(self.listen, Text, Streaming.UNARY_STREAM),
            b"/test.Wait/Flood": StreamMethod(self.flood, Text, Streaming.UNARY_STREAM),
            ECHOING: StreamMethod(self.echo, Text, Streaming.STREAM_STREAM),
        }


KINDS = [PENDING, CHAT, ECHOING, *(b"/test.Wait/" + name for name in (b"Unary", b"Listen", b"Flood"))]


async def begin(served: Served, methods: Methods, path: bytes, *extra: Header) -> tuple[Client, int]:
    """Start a call of a method, which waits then, on a connection of its own."""
    client = await served.connect()
    stream = client.peer.request(head(path, *extra), framed(b"x"), end=path not in (CHAT, ECHOING))
    client.send()
    await wait_all_tasks_blocked()
    assert (methods.waiting, served.server.usage().tasks) == (1, 1)
    return client, stream


def reset(client: Client, stream: int) -> None:
    client.peer.http.reset_stream(stream)
    client.send()


def close(client: Client, _stream: int) -> None:
    client.receive()  # with something unread, the close would be an abort
    client.socket.close()


def stop_sending(client: Client, _stream: int) -> None:
    client.socket.shutdown(socket.SHUT_WR)


def abort(client: Client, _stream: int) -> None:
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.socket.close()


def violate(client: Client, _stream: int) -> None:
    client.send(b"\0\0\4\3\0\0\0\0\0\0\0\0\0")  # RST_STREAM on stream 0


@pytest.mark.parametrize("path", KINDS)
@pytest.mark.parametrize("end", [reset, close, stop_sending, abort, violate])
async def test_the_peer_ends_it(path: bytes, end: Callable[[Client, int], None], mock_clock: MockClock) -> None:
    methods = Methods()
    async with serving(methods.table()) as served:
        other = await served.connect()
        client, stream = await begin(served, methods, path)
        mock_clock.jump(3.0)
        end(client, stream)
        await wait_all_tasks_blocked()
        assert methods.seen == [("Cancelled", trio.current_time())]
        assert served.at_rest()
        assert served.faults == []
        assert served.server.ended_calls[StatusCode.CANCELLED] == 1
        assert (await other.ask(b"next")).messages == [b"echo next"]
        if end is reset:
            assert (await client.ask(b"next")).messages == [b"echo next"]
        else:
            client.socket.close()
            mock_clock.jump(2.0)  # a connection that we close waits a second for the peer to do so
            await wait_all_tasks_blocked()
            assert served.server.connections == 1


@pytest.mark.parametrize("path", KINDS)
async def test_the_deadline_ends_it(path: bytes, mock_clock: MockClock) -> None:
    methods = Methods()
    async with serving(methods.table()) as served:
        start = trio.current_time()
        client, stream = await begin(served, methods, path, (b"grpc-timeout", b"200m"))
        mock_clock.jump(0.199)
        await wait_all_tasks_blocked()
        assert methods.seen == []
        mock_clock.jump(0.001)
        await client.settle()
        ((name, when),) = methods.seen
        assert name == "Cancelled"
        assert when - start == pytest.approx(0.2)
        answer = client.peer.answers[stream]
        assert (answer.status, answer.closed) == (StatusCode.DEADLINE_EXCEEDED, True)
        assert served.at_rest()
        assert (await client.ask(b"next")).messages == [b"echo next"]


@pytest.mark.parametrize("begun", [True, False], ids=["while they run", "behind undecided calls, in the read that brought them"])
@pytest.mark.parametrize("path", KINDS[:3])
async def test_thousands_of_calls_that_are_reset_leave_nothing_and_hold_up_nobody(path: bytes, begun: bool) -> None:
    """CVE-2023-44487; ``bench/rapid_reset.py`` has the figures: how fast, and how little another connection notices."""
    methods = Methods()
    async with serving(methods.table()) as served:
        client, other = await served.connect(), await served.connect()
        for _ in range(10):
            streams = [client.peer.request(head(path), framed(b"x"), end=path == PENDING) for _ in range(200)]
            data = client.peer.send()
            if begun:
                client.send(data)
                await wait_all_tasks_blocked()
                assert methods.waiting == 200
                data = b""
            for stream in streams:
                client.peer.http.reset_stream(stream)
            client.send(data + client.peer.send())
            assert (await other.ask(b"next")).messages == [b"echo next"]
            client.receive()
        assert (methods.waiting, served.at_rest(), served.faults) == (0, True, [])
        assert served.server.ended_calls[StatusCode.CANCELLED] == 2000
        assert (await client.ask(b"still here")).messages == [b"echo still here"]
