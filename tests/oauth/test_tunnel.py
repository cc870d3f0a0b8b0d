"""The tunnel by itself, over streams in memory."""

import logging
from collections.abc import Awaitable, Callable

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, memory_stream_pair

from exchanger.oauth.dial import Origin, connect, open_tunnel
from exchanger.oauth.http1 import Bounds, PhaseLimits
from exchanger.values.proxy import Proxy
from exchanger.values.secret import Secret
from tests.oauth.fakes import NO_TLS, MemoryEndpoint, Peer, TrackedStream, response
from tests.oauth.pools import counts, exchange, pool_of

NOBODY = Secret("")
ORIGIN = Origin(False, "issuer.example.com", 80, Proxy(False, "proxy.example.com", 3128, Secret("canary:canary")))


async def opened(*pieces: bytes, host: str = "issuer.example.com", credentials: Secret = NOBODY) -> tuple[bool, bool, bytes]:
    """Return whether the tunnel is open after ``pieces``, whether the stream is, and what the proxy was told."""
    client, server = memory_stream_pair()
    stream = TrackedStream(client)
    for piece in pieces:
        await server.send_all(piece)
    await server.send_eof()
    found = await open_tunnel(stream, host, 443, credentials)
    return found, not stream.closed, bytes(await server.receive_some(65_536))


@pytest.mark.parametrize(("host", "authority"), [("a.example", "a.example:443"), ("10.0.0.1", "10.0.0.1:443"), ("::1", "[::1]:443")])
async def test_the_authority(host: str, authority: str) -> None:
    found, is_open, told = await opened(b"HTTP/1.1 200 OK\r\n\r\n", host=host)
    assert found
    assert is_open
    assert told == f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: exchanger\r\n\r\n".encode()


async def test_credentials_are_utf_8() -> None:
    _, _, told = await opened(b"HTTP/1.1 200 OK\r\n\r\n", credentials=Secret("us\u00e9r:p"))
    assert b"\r\nProxy-Authorization: Basic dXPDqXI6cA==\r\n" in told


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.0 200 Connection established\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 299 Fine\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    ],
)
async def test_heads_that_open(head: bytes) -> None:
    assert (await opened(head))[:2] == (True, True)
    assert (await opened(*(head[at : at + 7] for at in range(0, len(head), 7))))[:2] == (True, True)
    assert (await opened(head + b"\x00"))[:2] == (False, False)
    assert (await opened(head[:-1]))[:2] == (False, False)


@attrs.define(eq=False)
class Dripping(trio.abc.Stream):
    """Gives one byte a read, without end."""

    said: bytes
    reads: int = 0
    closed: bool = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        self.reads += 1
        return self.said[self.reads - 1 : self.reads] or b"a"

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()

    async def wait_send_all_might_not_block(self) -> None:
        raise AssertionError

    async def aclose(self) -> None:
        self.closed = True
        await trio.lowlevel.checkpoint()


async def test_an_answer_in_single_bytes_is_not_read_for_long() -> None:
    stream = Dripping(b"HTTP/1.1 200 OK\r\nX: ")
    assert not await open_tunnel(stream, "issuer.example.com", 443, NOBODY)
    assert stream.closed
    assert stream.reads <= 64


@given(st.lists(st.binary(max_size=30) | st.sampled_from([b"HTTP/1.1 ", b"200 OK", b"407 ", b"\r\n", b"\n", b"Content-Length: 5"])))
def test_whatever_a_proxy_says_ends_in_an_open_tunnel_or_a_closed_stream(pieces: list[bytes]) -> None:
    found, is_open, _ = trio.run(opened, *pieces)
    assert found is is_open
    said = b"".join(pieces)
    assert not found or said.endswith((b"\n\r\n", b"\n\n"))


def towards(streams: list[TrackedStream], *said: bytes) -> Callable[[str, int], Awaitable[trio.abc.Stream]]:
    async def dial(host: str, port: int) -> trio.abc.Stream:
        client, server = memory_stream_pair()
        for piece in said:
            await server.send_all(piece)
        streams.append(TrackedStream(client))
        return streams[-1]

    return dial


@pytest.mark.parametrize("said", [(), (b"HTTP/1.1 200",), (b"HTTP/1.1 103 Early Hints\r\n\r\n",), (b"SSH-2.0-OpenSSH_9.9\r\n",)])
async def test_the_answer_has_the_time_of_a_dial(autojump_clock: MockClock, said: tuple[bytes, ...]) -> None:
    streams: list[TrackedStream] = []
    limit, started = Bounds(trio.current_time() + 10, PhaseLimits(3.0, 1.5, 0.5)), trio.current_time()
    with limit.scope:
        await connect(ORIGIN, limit, tls=NO_TLS, dial=towards(streams, *said))
    assert limit.scope.cancelled_caught
    assert trio.current_time() - started == pytest.approx(3.0)
    assert streams[0].closed


async def test_a_refusal_says_nothing_of_credentials(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    refused = b"HTTP/1.1 407 canary\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"
    limit = Bounds(trio.current_time() + 10, PhaseLimits(3.0, 1.5, 0.5))
    assert await connect(ORIGIN, limit, tls=NO_TLS, dial=towards([], refused)) is None
    assert caplog.records == []
    assert "canary" not in repr(ORIGIN)


async def test_no_connection_is_shared_between_two_ways_to_one_endpoint(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        """Be a proxy and the endpoint behind it, or the endpoint alone."""
        first = await peer.stream.receive_some(4096)
        if first.startswith(b"CONNECT"):
            await peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
            first = b""
        peer.buffer = bytes(first)
        while True:
            await peer.request()
            await peer.send(response(b""))

    endpoint = MemoryEndpoint(nursery, [script])
    pool = pool_of(endpoint)
    way = Proxy(False, "proxy.example.com", 3128)
    ways = [None, way, attrs.evolve(way, port=3129), attrs.evolve(way, host="other"), attrs.evolve(way, credentials=Secret("a:b"))]
    origins = [attrs.evolve(ORIGIN, proxy=proxy) for proxy in ways]
    first = []
    for origin in origins:
        first.append(await exchange(pool, origin))
        await trio.sleep(1.5)
    assert len(set(map(id, first))) == len(origins)
    assert endpoint.dialled == [("issuer.example.com", 80), *((proxy.host, proxy.port) for proxy in ways if proxy is not None)]
    for origin, connection in zip(origins, first, strict=True):
        assert await exchange(pool, origin) is connection
    assert counts(pool)[0] == len(origins)
    await pool.aclose()
