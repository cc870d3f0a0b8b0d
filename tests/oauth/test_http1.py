import h11
import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from exchanger.oauth.http1 import Bounds, Broken, Http1Connection, PhaseLimits
from tests.oauth.fakes import Peer, Script, serve, silent

LIMITS = PhaseLimits(dial=3.0, tls_handshake=3.0, response_header=0.5)
HEAD = h11.Request(method="POST", target="/token", headers=[("Host", "issuer.example.com"), ("Content-Length", "4")])
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def saying(data: bytes) -> Script:
    """Say ``data`` when the request has come."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(data)
        await silent(peer)

    return script


def connected(nursery: trio.Nursery, script: Script) -> Http1Connection:
    client, server = memory_stream_pair()
    nursery.start_soon(serve, script, server)
    return Http1Connection(client, lambda: False)


def bounds(total: float = 0.75) -> Bounds:
    return Bounds(trio.current_time() + total, LIMITS)


async def whole_body(connection: Http1Connection) -> bytes | Broken:
    body = b""
    while piece := await connection.next_piece():
        if isinstance(piece, Broken):
            return piece
        body += piece
    return body


async def test_request_and_body_leave_in_one_write(nursery: trio.Nursery) -> None:
    client, server = memory_stream_pair()
    connection = Http1Connection(client, lambda: False)
    nursery.start_soon(connection.send, HEAD, b"body", bounds())
    data = await server.receive_some()
    assert data == b"POST /token HTTP/1.1\r\nHost: issuer.example.com\r\nContent-Length: 4\r\n\r\nbody"
    nursery.cancel_scope.cancel()


async def test_an_answer_that_came_before_the_request_was_taken_is_read_and_its_connection_not_kept() -> None:
    client, server = memory_stream_pair()
    connection = Http1Connection(client, lambda: False)
    await server.send_all(OK.replace(b"200", b"413"))
    await server.receive_stream.aclose()  # the request meets a closed door
    head = await connection.send(HEAD, b"body", bounds())
    assert isinstance(head, h11.Response)
    assert head.status_code == 413
    assert await whole_body(connection) == b"ok"
    assert not connection.settle()


@pytest.mark.parametrize("read", [False, True])
async def test_a_connection_settles_once_after_its_whole_answer(nursery: trio.Nursery, read: bool) -> None:
    connection = connected(nursery, saying(OK))
    assert isinstance(await connection.send(HEAD, b"body", bounds()), h11.Response)
    if read:
        assert await whole_body(connection) == b"ok"
    assert [connection.settle() for _ in range(2)] == [read, False]


async def test_the_headers_time_begins_when_the_request_is_written(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    client, server = memory_stream_pair()

    async def slow() -> None:
        await trio.sleep(0.4)

    client.send_stream.send_all_hook = slow
    connection, started, limit = Http1Connection(client, lambda: False), trio.current_time(), bounds(2.0)
    with limit.scope:
        await connection.send(HEAD, b"body", limit)
    assert limit.scope.cancelled_caught
    assert trio.current_time() - started == pytest.approx(0.9)
    await server.aclose()


@pytest.mark.parametrize("phase", [0.5, 5.0])
async def test_no_phase_outlasts_the_whole(autojump_clock: MockClock, phase: float) -> None:
    limit = bounds()
    limit.begin(phase)
    assert limit.scope.deadline == trio.current_time() + min(phase, 0.75)
