"""The demo's HTTP client: an answer, or in words why there is none."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from exchanger.demo.client import fetch
from exchanger.demo.faults import NoAnswerError
from exchanger.demo.http import MAX_BODY, Request
from exchanger.demo.site import free_ports

REQUEST = Request("GET", "/", (("Host", "here.example.com"),))


@asynccontextmanager
async def answering(data: bytes | None) -> AsyncIterator[int]:
    """A server that sends ``data`` to whoever asks and closes; with ``None`` it says nothing, and stays."""

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            if data is None:
                await trio.sleep_forever()
            try:
                await stream.send_all(data or b"")
            except trio.BrokenResourceError:
                return  # the client had enough

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def test_an_answer_without_a_length_ends_with_the_connection() -> None:
    async with answering(b"HTTP/1.1 200 OK\r\nX-A: 1\r\nX-A: 2\r\n\r\nbody") as port:
        response = await fetch(port, REQUEST, timeout=5)
    assert (response.status, response.body, response.values("x-a")) == (200, b"body", ("1", "2"))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no answer"),
        (b"SSH-2.0-other\r\n\r\n", "no answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "no answer"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"a" * (MAX_BODY + 1), "answer of more than"),
    ],
)
async def test_what_is_no_answer_is_told_in_words(data: bytes, message: str) -> None:
    async with answering(data) as port:
        with pytest.raises(NoAnswerError, match=message):
            await fetch(port, REQUEST, timeout=5)


async def test_a_server_that_says_nothing_is_given_up() -> None:
    async with answering(None) as port:
        with pytest.raises(NoAnswerError, match=r"no answer within 0\.05 s"):
            await fetch(port, REQUEST, timeout=0.05)


async def test_a_closed_port_is_no_answer() -> None:
    (port,) = free_ports(1)
    with pytest.raises(NoAnswerError):
        await fetch(port, REQUEST, timeout=5)
