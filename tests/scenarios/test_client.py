"""The demo's HTTP client: an answer, or in words why there is none."""

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NoReturn

import pytest
import trio
import trustme

from exchanger.http.message import Request
from exchanger.scenarios.client import MAX_BODY, NoAnswerError, fetch, fetch_from
from tests.console.running import PATIENCE_S, dead_port

REQUEST = Request("GET", "/", (("Host", "here.example.com"),))


@asynccontextmanager
async def answering(data: bytes | None, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server that sends ``data`` to whoever asks and closes; with ``None`` it says nothing, and stays."""

    async def serve(connected: trio.SocketStream) -> None:
        stream = connected if tls is None else trio.SSLStream(connected, tls, server_side=True, https_compatible=True)
        async with connected:
            try:
                await stream.receive_some()
            except trio.BrokenResourceError:
                return  # the client did not accept the certificate
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


async def test_a_request_is_sent_byte_for_byte() -> None:
    got: list[bytes] = []

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            while b"\r\n\r\n" not in b"".join(got):
                got.append(bytes(await stream.receive_some()))
            await stream.send_all(b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n")

    headers = (("Host", "here.example.com"), ("x-A", "1"), ("Authorization", "Bearer t"), ("X-a", "2"))
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        request = Request("OPTIONS", "/a/../b//%2e%2E/;c?d=%zz&[^]{|}#", headers)
        response = await fetch(listeners[0].socket.getsockname()[1], request, timeout=PATIENCE_S)
        nursery.cancel_scope.cancel()
    lines = (
        "OPTIONS /a/../b//%2e%2E/;c?d=%zz&[^]{|}# HTTP/1.1",
        *(f"{name}: {value}" for name, value in headers),
        "Connection: close",
        "",
        "",
    )
    assert b"".join(got).decode() == "\r\n".join(lines)
    assert response.status == 302


async def test_an_answer_without_a_length_ends_with_the_connection() -> None:
    async with answering(b"HTTP/1.1 200 OK\r\nX-A: 1\r\nX-A: 2\r\n\r\nbody") as port:
        response = await fetch(port, REQUEST, timeout=PATIENCE_S)
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
            await fetch(port, REQUEST, timeout=PATIENCE_S)


async def test_a_server_that_says_nothing_is_given_up() -> None:
    async with answering(None) as port:
        with pytest.raises(NoAnswerError, match=r"no answer within 0\.05 s"):
            await fetch(port, REQUEST, timeout=0.05)


async def test_a_closed_port_is_no_answer() -> None:
    with dead_port() as port, pytest.raises(NoAnswerError, match="connection refused"):
        await fetch(port, REQUEST, timeout=PATIENCE_S)


async def test_a_request_that_is_no_http_is_not_sent() -> None:
    async with answering(b"HTTP/1.1 200 OK\r\n\r\n") as port:
        with pytest.raises(NoAnswerError, match="not sent"):
            await fetch(port, Request("GET", "/", (("Host", "h"), ("X", "a\r\nY: b"))), timeout=PATIENCE_S)


class Unknown(trio.abc.HostnameResolver):
    """Knows no name at all, and says so at once, which the network's own resolver may not."""

    async def getaddrinfo(self, *_arguments: object, **_options: object) -> NoReturn:
        await trio.lowlevel.checkpoint()
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def getnameinfo(self, *_arguments: object, **_options: object) -> NoReturn:
        raise NotImplementedError


async def test_a_name_that_nobody_knows_is_told() -> None:
    trio.socket.set_custom_hostname_resolver(Unknown())
    with pytest.raises(NoAnswerError, match=r"^no answer: the name is not known: "):
        await fetch_from("no.such.name.invalid", 80, REQUEST, timeout=PATIENCE_S)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_context(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    return context


def client_context(*authorities: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    for authority in authorities:
        authority.configure_trust(context)
    return context


async def test_a_server_is_believed_by_its_certificate_for_the_name_it_is_known_by(authority: trustme.CA) -> None:
    asked_for: list[str | None] = []
    context = server_context(authority, "gateway.example.com")
    context.sni_callback = lambda _connection, name, _context: asked_for.append(name)
    async with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody", context) as port:
        trusting = client_context(authority)
        for name in ("gateway.example.com", "gateway.example.com."):
            response = await fetch_from("127.0.0.1", port, REQUEST, timeout=PATIENCE_S, tls=trusting, server_name=name)
            assert response.body == b"body"
        assert asked_for == ["gateway.example.com"] * 2
        with pytest.raises(NoAnswerError, match="certificate not accepted"):
            await fetch_from("127.0.0.1", port, REQUEST, timeout=PATIENCE_S, tls=trusting)
        with pytest.raises(NoAnswerError, match="certificate not accepted"):
            await fetch_from("127.0.0.1", port, REQUEST, timeout=PATIENCE_S, tls=client_context(), server_name="gateway.example.com")


async def test_a_server_without_tls_is_told(authority: trustme.CA) -> None:
    async with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        with pytest.raises(NoAnswerError, match="TLS failed"):
            await fetch_from("127.0.0.1", port, REQUEST, timeout=PATIENCE_S, tls=client_context(authority))
