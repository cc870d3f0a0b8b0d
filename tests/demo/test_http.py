"""The bounded HTTP server of the demo's fakes."""

import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from exchanger.demo import http
from exchanger.demo.client import fetch
from exchanger.demo.http import Request, Response, serve_http
from exchanger.demo.http import _serve_connection as serve_connection
from tests.console.running import PATIENCE_S

LOOPBACK = "127.0.0.1"
HOST = (("Host", "here.example.com"),)


async def shout(request: Request) -> Response:
    text = f"{request.method} {request.target} {request.header('x-mark')} {request.body.decode()}"
    return Response(200, (("Content-Type", "text/plain"),), text.encode())


@asynccontextmanager
async def served() -> AsyncIterator[int]:
    async with trio.open_nursery() as nursery:
        yield await nursery.start(serve_http, shout, LOOPBACK, 0)
        nursery.cancel_scope.cancel()


async def talk(data: bytes) -> bytes:
    """Send ``data`` on one connection, close the sending side, and return all that comes back."""
    client, server = trio.testing.memory_stream_pair()
    received = bytearray()
    async with trio.open_nursery() as nursery:

        async def serve() -> None:
            async with server:
                await serve_connection(shout, server)

        nursery.start_soon(serve)
        await client.send_all(data)
        await client.send_eof()
        async for chunk in client:
            received += chunk
    return bytes(received)


async def test_request_and_response_keep_their_parts() -> None:
    async with served() as port:
        response = await fetch(port, Request("POST", "/a?b=c", (*HOST, ("X-Mark", "m")), b"body"), timeout=PATIENCE_S)
    assert (response.status, response.body) == (200, b"POST /a?b=c m body")
    assert response.values("content-type") == ("text/plain",)


async def test_a_connection_serves_one_request_after_another() -> None:
    answered = await talk(b"GET /1 HTTP/1.1\r\nHost: h\r\n\r\n" + b"GET /2 HTTP/1.1\r\nHost: h\r\n\r\n")
    assert answered.count(b"HTTP/1.1 200") == 2
    assert b"GET /1" in answered
    assert b"GET /2" in answered


async def test_connection_close_is_obeyed() -> None:
    answered = await talk(b"GET /1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" + b"GET /2 HTTP/1.1\r\nHost: h\r\n\r\n")
    assert answered.count(b"HTTP/1.1 200") == 1


async def test_head_has_the_length_and_no_body() -> None:
    answered = await talk(b"HEAD /1 HTTP/1.1\r\nHost: h\r\n\r\n")
    head, _, body = answered.partition(b"\r\n\r\n")
    assert b"Content-Length: 9" in head
    assert body == b""


async def test_a_client_that_waits_for_100_continue_gets_it() -> None:
    client, server = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_connection, shout, server)
        await client.send_all(b"POST /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert (await client.receive_some()).startswith(b"HTTP/1.1 100 ")
        await client.send_all(b"ok")
        assert (await client.receive_some()).endswith(b"POST /1  ok")
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET /" + b"a" * (http.MAX_HEAD + http.READ_CHUNK) + b" HTTP/1.1\r\nHost: h\r\n\r\n", b"431"),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9999999\r\n\r\n" + b"a" * (http.MAX_BODY + 1), b"413"),
    ],
)
async def test_what_is_wrong_or_too_large_is_refused_and_ends_the_connection(data: bytes, status: bytes) -> None:
    answered = await talk(data)
    assert answered.startswith(b"HTTP/1.1 " + status)
    assert answered.count(b"HTTP/1.1") == 1


async def test_a_client_that_leaves_in_the_middle_of_a_body_gets_nothing() -> None:
    assert b"200" not in await talk(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf")


async def test_a_silent_connection_ends_after_the_bound(autojump_clock: trio.testing.MockClock) -> None:
    _client, server = trio.testing.memory_stream_pair()
    with pytest.raises(trio.TooSlowError):
        await serve_connection(shout, server)
    assert trio.current_time() == http.READ_TIMEOUT


async def test_connections_beyond_the_limit_are_closed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MAX_CONNECTIONS", 1)
    async with served() as port, await trio.open_tcp_stream(LOOPBACK, port) as first:
        await first.send_all(b"GET /1 HTTP/1.1\r\nHost: h\r\n\r\n")
        assert await first.receive_some()
        async with await trio.open_tcp_stream(LOOPBACK, port) as second:
            assert await second.receive_some() == b""
        await first.send_all(b"GET /2 HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (await first.receive_some()).endswith(b"GET /2  ")


async def test_a_client_that_resets_its_connection_ends_nothing_else() -> None:
    async with served() as port:
        stream = await trio.open_tcp_stream(LOOPBACK, port)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close by a reset
        await stream.send_all(b"GET /1 HTTP/1.1\r\nHost: h\r\n")
        await stream.aclose()
        assert (await fetch(port, Request("GET", "/2", HOST), timeout=PATIENCE_S)).status == 200


def test_messages_hide_what_may_carry_a_token() -> None:
    hidden = (("Authorization", "Bearer abc"),)
    assert "abc" not in repr(Request("GET", "/", hidden, b"abc")) + repr(Response(200, hidden, b"abc"))
