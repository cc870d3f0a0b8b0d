"""The demo's HTTP client: an answer, or in words why there is none."""

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NoReturn

import pytest
import trio
import trustme

from exchanger.commands.scenarios.client import MAX_BODY, NoAnswerError, fetch, fetch_from
from exchanger.net.http.message import Request
from tests.operations.console.running import dead_port
from tests.waiting import PATIENCE_S

REQUEST = Request("GET", "/", (("Host", "here.example.com"),))


@asynccontextmanager
async def answering(data: bytes | None, tls: ssl.SSLContext | None = None, got: list[bytes] | None = None) -> AsyncIterator[int]:
    """A server that reads something, or a whole head into ``got``, sends ``data`` and closes; with ``None`` it says nothing, and stays."""

    async def serve(connected: trio.SocketStream) -> None:
        stream = connected if tls is None else trio.SSLStream(connected, tls, server_side=True, https_compatible=True)
        async with connected:
            try:
                head = bytes(await stream.receive_some())
                while got is not None and b"\r\n\r\n" not in head:
                    head += await stream.receive_some()
            except trio.BrokenResourceError:
                return  # the client did not accept the certificate
            if got is not None:
                got.append(head)
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


async def test_request_is_sent_unchanged_and_redirects_are_not_followed() -> None:
    got: list[bytes] = []
    headers = (("Host", "here.example.com"), ("x-A", "1"), ("Authorization", "Bearer t"), ("X-a", "2"))
    request = Request("OPTIONS", "/a/../b//%2e%2E/;c?d=%zz&[^]{|}#", headers)
    async with answering(b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", got=got) as port:
        assert (await fetch(port, request, timeout=PATIENCE_S)).status == 302
    lines = (f"OPTIONS {request.target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers), "Connection: close", "", "")
    assert b"".join(got).decode() == "\r\n".join(lines)


async def test_an_answer_without_a_length_ends_with_the_connection() -> None:
    async with answering(b"HTTP/1.1 200 OK\r\nX-A: 1\r\nX-A: 2\r\n\r\nbody") as port:
        response = await fetch(port, REQUEST, timeout=PATIENCE_S)
    assert (response.status, response.body, response.values("x-a")) == (200, b"body", ("1", "2"))


@pytest.mark.parametrize(
    ("data", "timeout", "message"),
    [
        (b"", PATIENCE_S, "no HTTP response"),
        (b"SSH-2.0-other\r\n\r\n", PATIENCE_S, "no HTTP response"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", PATIENCE_S, "no HTTP response"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"a" * (MAX_BODY + 1), PATIENCE_S, "answer of more than"),
        (None, 0.05, r"no answer within 0\.05 s"),
    ],
    ids=["nothing", "SSH", "half", "large", "silence"],
)
async def test_anything_but_an_answer_is_reported(data: bytes | None, timeout: float, message: str) -> None:  # noqa: ASYNC109 - a case
    async with answering(data) as port:
        with pytest.raises(NoAnswerError, match=message):
            await fetch(port, REQUEST, timeout=timeout)


async def test_a_closed_port_and_a_request_that_is_not_http_are_reported() -> None:
    with dead_port() as port, pytest.raises(NoAnswerError, match="Connection refused"):
        await fetch(port, REQUEST, timeout=PATIENCE_S)
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


async def test_an_unknown_name_is_reported() -> None:
    trio.socket.set_custom_hostname_resolver(Unknown())
    with pytest.raises(NoAnswerError, match=r"^no answer: the name cannot be resolved \("):
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


async def test_a_certificate_is_accepted_for_the_name_of_the_server_alone(authority: trustme.CA) -> None:
    asked_for: list[str | None] = []
    context = server_context(authority, "gateway.example.com")
    context.sni_callback = lambda _connection, name, _context: asked_for.append(name)
    async with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody", context) as port:
        trusting = client_context(authority)
        for name in ("gateway.example.com", "gateway.example.com."):
            response = await fetch_from("127.0.0.1", port, REQUEST, timeout=PATIENCE_S, tls=trusting, server_name=name)
            assert response.body == b"body"
        assert asked_for == ["gateway.example.com"] * 2
        for context, name in ((trusting, ""), (client_context(), "gateway.example.com")):
            with pytest.raises(NoAnswerError, match="the certificate of the server is refused: "):
                await fetch_from("127.0.0.1", port, REQUEST, timeout=PATIENCE_S, tls=context, server_name=name)


async def test_a_server_without_tls_is_reported(authority: trustme.CA) -> None:
    async with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        with pytest.raises(NoAnswerError, match="no TLS with the server: "):
            await fetch_from("127.0.0.1", port, REQUEST, timeout=PATIENCE_S, tls=client_context(authority))
