import contextlib
from collections.abc import AsyncIterator

import pytest
import trio

from exchanger.net.http.message import Request as Asked
from exchanger.net.http.message import Response
from exchanger.operations.console.access import ConsoleAccess
from exchanger.operations.console.broadcast import MAX_SUBSCRIBERS
from exchanger.operations.console.message import json_response
from exchanger.operations.console.proxy import MAX_ANSWER, ConsoleProxy
from exchanger.operations.console.server import ConsoleServerSettings, Server
from tests.operations.console.records import record
from tests.operations.console.running import ACCEPT, PAGE, PING, PONG, TEXT, Peer, Running, dead_port, frame, opening, request, running
from tests.waiting import until


class Front:
    def __init__(self, port: int, behind: Running) -> None:
        self.port, self.behind = port, behind

    @contextlib.asynccontextmanager
    async def peer(self) -> AsyncIterator[Peer]:
        async with await trio.open_tcp_stream("127.0.0.1", self.port) as stream:
            yield Peer(stream)


def _no_fault(fault: BaseException) -> None:
    raise AssertionError(fault)


@contextlib.asynccontextmanager
async def fronting(port: int | None = None) -> AsyncIterator[Front]:
    """Run a front before a console, or before whatever is on ``port``."""

    async def about(_request: Asked) -> Response:
        await trio.lowlevel.checkpoint()
        return json_response({"mode": "demo"})

    async with running() as behind:
        proxy = ConsoleProxy(behind.port if port is None else port)
        routes = {("GET", "/api/about"): about, ("GET", "/api/policy"): proxy.forward, ("POST", "/session"): proxy.forward}
        server = Server(ConsoleServerSettings("127.0.0.1", 0), ConsoleAccess(), PAGE, routes, proxy.pipe, _no_fault)
        async with trio.open_nursery() as nursery:
            yield Front(await nursery.start(_run, server), behind)
            nursery.cancel_scope.cancel()


async def _run(server: Server, *, task_status: trio.TaskStatus[int]) -> None:
    await server.run(task_status=task_status)


async def test_requests_with_their_bodies_are_passed_on_and_answers_back() -> None:
    async with fronting() as front, front.peer() as peer:
        origin = f"Origin: http://localhost:{front.port}"
        await peer.send(request("GET", "/api/policy", origin, "Cookie: a=b", host=f"localhost:{front.port}"))
        answer = await peer.answer()
        assert (answer.status, answer.json["ready"], answer.header("content-type")) == (200, False, "application/json")
        assert answer.header("cache-control") == "no-store"
        assert len([name for name, _ in answer.headers if name == "Content-Security-Policy"]) == 1
        await peer.send(request("GET", "/api/about"))
        assert (await peer.answer()).json == {"mode": "demo"}
        await peer.send(request("POST", "/session", body=b'{"token":"x"}'))
        assert (await peer.answer()).json == {"error": "this console has no token"}


async def test_a_stream_is_passed_both_ways() -> None:
    async with fronting() as front, front.peer() as peer:
        await peer.send(opening(f"Origin: http://localhost:{front.port}", host=f"localhost:{front.port}"))
        head = await peer.head()
        assert head.startswith(b"HTTP/1.1 101 ")
        assert ACCEPT in head
        assert (await peer.message())["type"] == "hello"
        front.behind.console.feed.decided(record())
        assert (await peer.message("decisions"))["items"]
        await peer.send(frame(PING, b"hello"))
        while (got := await peer.frame())[0] == TEXT:
            pass
        assert got == (PONG, b"hello")
        await peer.send(frame(TEXT, b"x"))
        assert await peer.closing() == 1008


async def test_a_client_that_leaves_leaves_nothing_behind() -> None:
    async with fronting() as front:
        async with front.peer() as peer:
            await peer.send(opening())
            await peer.head()
        await until(lambda: not front.behind.console.broadcast.subscribers)


async def test_a_refusal_behind_is_the_answer() -> None:
    async with fronting() as front, contextlib.AsyncExitStack() as stack:
        for _ in range(MAX_SUBSCRIBERS):
            await stack.enter_async_context(front.behind.watching())
        async with front.peer() as peer:
            await peer.send(opening())
            answer = await peer.answer()
            assert (answer.status, answer.header("retry-after")) == (503, "10")


async def test_when_nobody_is_behind_the_front_says_so() -> None:
    with dead_port() as port:
        async with fronting(port) as front, front.peer() as peer:
            for data in (request("GET", "/api/policy"), opening()):
                await peer.send(data)
                assert (await peer.answer()).status == 502


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (MAX_ANSWER + 1) + b"x" * (MAX_ANSWER + 1),
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"x" * 100_000,
    ],
)
async def test_nothing_that_the_console_behind_says_ends_the_front(said: bytes) -> None:
    async def behind(stream: trio.SocketStream) -> None:
        with contextlib.suppress(trio.BrokenResourceError):
            await stream.receive_some()
            await stream.send_all(said)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, behind, 0)
        async with fronting(listeners[0].socket.getsockname()[1]) as front, front.peer() as peer:
            await peer.send(request("GET", "/api/policy"))
            assert (await peer.answer()).status == 502
            await peer.send(opening())
            if not said.startswith(b"HTTP/1.1 101"):
                assert (await peer.answer()).status in {200, 502}
            else:
                assert await peer.rest()
        nursery.cancel_scope.cancel()
