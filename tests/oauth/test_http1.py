import h11
import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from exchanger.oauth.http1 import Bounds, Broken, Http1Connection, PhaseLimits
from tests.oauth.fakes import Peer, Script, serve, silent

LIMITS = PhaseLimits(dial=3.0, tls_handshake=3.0, response_header=0.5)
HEAD = h11.Request(method="POST", target="/token", headers=[("Host", "issuer.example.com"), ("Content-Length", "4")])
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def saying(data: bytes, *, close: bool = False) -> Script:
    """Say ``data`` when the request has come."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(data)
        if not close:
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


async def test_an_exchange(nursery: trio.Nursery) -> None:
    connection = connected(nursery, saying(OK))
    head = await connection.send(HEAD, b"body", bounds())
    assert isinstance(head, h11.Response)
    assert head.status_code == 200
    assert await whole_body(connection) == b"ok"
    assert connection.settle()


async def test_request_and_body_leave_in_one_write(nursery: trio.Nursery) -> None:
    client, server = memory_stream_pair()
    connection = Http1Connection(client, lambda: False)
    nursery.start_soon(connection.send, HEAD, b"body", bounds())
    data = await server.receive_some()
    assert data == b"POST /token HTTP/1.1\r\nHost: issuer.example.com\r\nContent-Length: 4\r\n\r\nbody"
    nursery.cancel_scope.cancel()


async def test_two_exchanges_on_one_connection(nursery: trio.Nursery) -> None:
    async def script(peer: Peer) -> None:
        for answer in (OK, OK.replace(b"ok", b"KO")):
            await peer.request()
            await peer.send(answer)
        await silent(peer)

    connection = connected(nursery, script)
    for expected in (b"ok", b"KO"):
        assert isinstance(await connection.send(HEAD, b"body", bounds()), h11.Response)
        assert await whole_body(connection) == expected
        assert connection.settle()


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother",
        OK + b"\r\n",
        OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
        OK.replace(b"HTTP/1.1", b"HTTP/1.0"),
        OK.replace(b"200", b"408"),
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
        OK + b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ],
    ids=["second response", "stray bytes", "close", "HTTP/1.0", "idle for too long", "interim", "interim afterwards", "two framings"],
)
async def test_a_connection_that_is_not_clean_is_not_kept(nursery: trio.Nursery, answer: bytes) -> None:
    connection = connected(nursery, saying(answer))
    assert isinstance(await connection.send(HEAD, b"body", bounds()), h11.Response)
    assert await whole_body(connection) == b"ok"
    assert not connection.settle()


async def test_a_connection_whose_body_was_not_read_is_not_kept(nursery: trio.Nursery) -> None:
    connection = connected(nursery, saying(OK))
    assert isinstance(await connection.send(HEAD, b"body", bounds()), h11.Response)
    assert not connection.settle()


async def test_a_connection_without_an_answer_is_not_kept(nursery: trio.Nursery) -> None:
    connection = connected(nursery, saying(b"", close=True))
    assert await connection.send(HEAD, b"body", bounds()) == Broken(answered=False)
    assert not connection.settle()


async def test_interim_responses_are_passed_over(nursery: trio.Nursery) -> None:
    connection = connected(nursery, saying(b"HTTP/1.1 100 Continue\r\n\r\n" * 8 + OK))
    assert isinstance(await connection.send(HEAD, b"body", bounds()), h11.Response)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n" * 9 + OK,
        b"<html>",
        b"\x16\x03\x01\x02\x00",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000,
        b"HTTP/1.1 200 OK\r\nX: \x00\r\n\r\n",
    ],
    ids=["interim without end", "html", "tls", "two lengths", "negative length", "long header", "head without end", "NUL"],
)
async def test_what_is_not_http_is_broken(nursery: trio.Nursery, answer: bytes) -> None:
    connection = connected(nursery, saying(answer, close=True))
    assert await connection.send(HEAD, b"body", bounds()) == Broken(answered=True)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;" + b"x" * 100_000,
    ],
    ids=["short", "chunks without end", "no chunk", "long chunk line"],
)
async def test_a_body_that_breaks_off_is_broken(nursery: trio.Nursery, answer: bytes) -> None:
    connection = connected(nursery, saying(answer, close=True))
    assert isinstance(await connection.send(HEAD, b"body", bounds()), h11.Response)
    assert await whole_body(connection) == Broken(answered=True)


async def test_a_body_may_end_with_the_connection(nursery: trio.Nursery) -> None:
    connection = connected(nursery, saying(b"HTTP/1.1 200 OK\r\n\r\nok", close=True))
    assert isinstance(await connection.send(HEAD, b"body", bounds()), h11.Response)
    assert await whole_body(connection) == b"ok"
    assert not connection.settle()


async def test_an_answer_that_came_before_the_request_was_taken_is_read() -> None:
    client, server = memory_stream_pair()
    connection = Http1Connection(client, lambda: False)
    await server.send_all(OK.replace(b"200", b"413"))
    await server.receive_stream.aclose()  # the request meets a closed door
    head = await connection.send(HEAD, b"body", bounds())
    assert isinstance(head, h11.Response)
    assert head.status_code == 413


async def test_but_the_connection_is_not_kept() -> None:
    client, server = memory_stream_pair()
    connection = Http1Connection(client, lambda: False)
    await server.send_all(OK)
    await server.receive_stream.aclose()
    assert isinstance(await connection.send(HEAD, b"body", bounds()), h11.Response)
    assert await whole_body(connection) == b"ok"
    assert not connection.settle()


async def test_settling_twice_does_not_help(nursery: trio.Nursery) -> None:
    connection = connected(nursery, saying(OK))
    assert isinstance(await connection.send(HEAD, b"body", bounds()), h11.Response)
    assert await whole_body(connection) == b"ok"
    assert connection.settle()
    assert not connection.settle()


@pytest.mark.parametrize("dripping", [False, True])
async def test_the_whole_header_has_its_time(nursery: trio.Nursery, autojump_clock: MockClock, dripping: bool) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        while dripping:
            await trio.sleep(0.1)
            await peer.send(b"HTTP/1.1 200 OK\r\n" if peer.buffer == b"" else b"X: y\r\n")
            peer.buffer = b"said"
        await trio.sleep_forever()

    connection, started, limit = connected(nursery, script), trio.current_time(), bounds()
    with limit.scope:
        await connection.send(HEAD, b"body", limit)
    assert limit.scope.cancelled_caught
    assert trio.current_time() - started == pytest.approx(0.5)
    nursery.cancel_scope.cancel()


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


async def test_the_body_has_the_time_of_the_whole(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    connection, started, limit = connected(nursery, saying(OK[:-1])), trio.current_time(), bounds()
    with limit.scope:
        assert isinstance(await connection.send(HEAD, b"body", limit), h11.Response)
        await whole_body(connection)
    assert limit.scope.cancelled_caught
    assert trio.current_time() - started == pytest.approx(0.75)
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("phase", [0.5, 5.0])
async def test_no_phase_outlasts_the_whole(autojump_clock: MockClock, phase: float) -> None:
    limit, started = bounds(), trio.current_time()
    with limit.scope:
        limit.begin(phase)
        await trio.sleep_forever()
    assert trio.current_time() - started == pytest.approx(min(phase, 0.75))


async def test_closing_works_while_cancelled() -> None:
    client, server = memory_stream_pair()
    connection = Http1Connection(client, lambda: False)
    with trio.CancelScope() as scope:
        scope.cancel()
        await connection.close()
    assert not scope.cancelled_caught
    assert await server.receive_some() == b""
