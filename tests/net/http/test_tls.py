"""TLS of the HTTP server: handshakes are bounded like everything else, certificates may change, and a drain loses no request."""

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
import trio.testing
import trustme

from exchanger.net.http.limits import HttpLimits
from exchanger.net.http.message import Handler, Request, Response
from exchanger.net.http.server import SETTLE_S, HttpServer
from exchanger.net.http.tls import HANDSHAKE_S, Tls

LIMITS = HttpLimits(connections=4, head_bytes=512, head_lines=8, body_bytes=100, idle_s=60.0, arrival_s=10.0, answer_s=20.0)
GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


def server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("h").configure_cert(context)
    return context


def client_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@attrs.define(eq=False)
class Served:
    authority: trustme.CA = attrs.field(factory=trustme.CA)
    failures: list[tuple[str, str]] = attrs.field(factory=list)
    go_on: trio.Event = attrs.field(factory=trio.Event)
    server: HttpServer = attrs.field(init=False)
    context: ssl.SSLContext = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.context = server_context(self.authority)
        tls = Tls(lambda: self.context, lambda peer, reason: self.failures.append((peer, reason)))
        self.server = HttpServer(self._route, LIMITS, tls=tls)

    async def _route(self, request: Request) -> Response | Handler:
        await trio.lowlevel.checkpoint()
        return self._held if request.path == "/held" or request.method == "POST" else Response(200, body=b"ok")

    async def _held(self, _request: Request) -> Response:
        await self.go_on.wait()
        return Response(200, body=b"held")

    async def serve(self, stream: trio.abc.Stream) -> None:
        async with stream:
            await self.server.serve(stream)

    @asynccontextmanager
    async def connected(self) -> AsyncGenerator[trio.SSLStream[trio.abc.Stream]]:
        client, served = trio.testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.serve, served)
            secured = trio.SSLStream[trio.abc.Stream](client, client_context(self.authority), server_hostname="h", https_compatible=True)
            yield secured
            await secured.aclose()


async def answer(stream: trio.abc.Stream) -> bytes:
    """Return one answer without a body to speak of."""
    received = bytearray()
    while not received.endswith((b"ok", b"held", b"\r\n\r\n")) and (data := await stream.receive_some()):
        received += data
    return bytes(received)


async def test_requests_are_answered_over_tls_and_the_end_is_said() -> None:
    served = Served()
    async with served.connected() as stream:
        for _ in range(2):
            await stream.send_all(GET)
            assert (await answer(stream)).endswith(b"ok")
        await stream.send_all(GET.replace(b"1.1", b"1.0"))
        assert (await answer(stream)).endswith(b"ok")
        assert await stream.receive_some() == b""  # close_notify, not a broken connection
    assert (served.server.slots.taken, served.failures) == (0, [])


async def test_a_new_certificate_is_for_new_connections_and_old_ones_go_on() -> None:
    served = Served()
    async with served.connected() as old:
        await old.send_all(GET)
        await answer(old)
        before, served.authority = served.authority, trustme.CA()
        served.context = server_context(served.authority)
        async with served.connected() as new:
            for stream in (new, old):
                await stream.send_all(GET)
                assert (await answer(stream)).endswith(b"ok")
        served.authority = before
        with pytest.raises(ExceptionGroup):  # the client does not trust it
            async with served.connected() as stream:
                await stream.send_all(GET)
    assert served.server.slots.taken == 0


async def test_bytes_that_are_not_tls_are_reported_and_port_probes_are_not() -> None:
    served = Served()
    for data, failures in ((b"", 0), (b"\x16\x03\x01", 0), (GET, 1), (b"garbage" * 100, 2)):
        client, other = trio.testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(served.serve, other)
            if data:
                await client.send_all(data)
            await client.send_eof()
        assert len(served.failures) == failures
    assert served.failures[0] == ("unknown", "HTTP_REQUEST")
    assert served.server.slots.taken == 0


async def test_a_handshake_takes_no_longer_than_it_may(autojump_clock: trio.testing.MockClock) -> None:
    served = Served()
    client, other = trio.testing.memory_stream_pair()
    await client.send_all(b"\x16")
    began = trio.current_time()
    await served.serve(other)
    assert trio.current_time() - began == pytest.approx(HANDSHAKE_S)
    assert served.failures == [("unknown", "the handshake took too long")]


async def test_connections_that_do_not_shake_hands_make_room(autojump_clock: trio.testing.MockClock) -> None:
    served = Served()
    async with trio.open_nursery() as nursery:
        silent = [trio.testing.memory_stream_pair() for _ in range(2 * LIMITS.connections)]
        for _, other in silent:
            nursery.start_soon(served.serve, other)
        await trio.testing.wait_all_tasks_blocked()
        async with served.connected() as stream:
            await stream.send_all(GET)
            assert (await answer(stream)).endswith(b"ok")
        nursery.cancel_scope.cancel()


async def test_a_drain_answers_open_connections_and_accepts_no_new_ones() -> None:
    served = Served()
    trusting = client_context(served.authority)
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = await nursery.start(served.server.run, listeners)

        async def connect() -> trio.SSLStream[trio.SocketStream]:
            return trio.SSLStream(await trio.open_tcp_stream("127.0.0.1", port), trusting, server_hostname="h", https_compatible=True)

        held, idle = await connect(), await connect()
        await held.send_all(b"POST /held HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n4")
        await idle.send_all(GET)
        await answer(idle)
        nursery.start_soon(served.server.drain, 30.0)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(OSError, match=r"refused|connect"):
            await connect()
        await idle.send_all(GET)
        last = await answer(idle)
        assert last.endswith(b"ok")
        assert b"Connection: close" in last
        served.go_on.set()
        assert (await answer(held)).startswith(b"HTTP/1.1 200 ")
        for stream in (held, idle):
            await stream.aclose()
    assert served.server.slots.taken == 0


async def test_a_drain_ends_silent_connections_and_waits_no_longer_than_it_may(autojump_clock: trio.testing.MockClock) -> None:
    served = Served()
    began = trio.current_time()
    async with served.connected() as stream:
        await stream.send_all(GET)
        await answer(stream)
        await served.server.drain(30.0)
        assert trio.current_time() - began == pytest.approx(SETTLE_S, abs=0.2)
        assert await stream.receive_some() == b""
    began = trio.current_time()
    async with served.connected() as stream:
        await stream.send_all(b"GET /held HTTP/1.1\r\nHost: h\r\n\r\n")
        await trio.testing.wait_all_tasks_blocked()
        await served.server.drain(5.0)
        assert trio.current_time() - began == pytest.approx(5.0, abs=0.1)
        assert served.server.slots.taken == 1
        served.go_on.set()
