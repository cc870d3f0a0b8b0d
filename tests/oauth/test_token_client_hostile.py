"""A token endpoint that does everything wrong: each case ends in a value, in time, and leaves no connection behind."""

import gzip
import socket
import ssl
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio
import trustme
from trio.testing import MockClock

from exchanger.decision.token_exchange import MAX_RESPONSE_BYTES, transport_failure
from exchanger.errors import Diagnostic
from exchanger.oauth.pool import LEAST_REST
from exchanger.oauth.token_client import TokenClient, TokenClientSettings
from exchanger.values.secret import Secret
from exchanger.values.token import ErrorKind, ExchangedToken, ExchangeFailure, TokenOutcome
from tests.oauth.fakes import (
    CONTRACT,
    HTTP,
    NO_TLS,
    RESTED,
    MemoryEndpoint,
    Observer,
    Peer,
    Script,
    answering,
    at_rest,
    closing,
    kept,
    response,
    running,
    serve,
    silent,
    success,
    token_request,
)

ISSUED = ExchangedToken(Secret("issued-token"))
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def outcome_of(nursery: trio.Nursery, script: Script, settings: TokenClientSettings = HTTP) -> TokenOutcome:
    """Exchange once; afterwards no connection is open but one that may be used again."""
    endpoint = MemoryEndpoint(nursery, [script])
    async with running(TokenClient(settings, Observer(), dial=endpoint.dial, tls=NO_TLS)) as client:
        outcome = await client.exchange(token_request())
        assert at_rest(client, connections=kept(client))
        assert endpoint.open_connections == kept(client)
    assert len(endpoint.dialled) == 1
    return outcome


@pytest.mark.parametrize(
    ("answer", "diagnostic"),
    [
        (response(b"<html>sign in</html>", 200, "Content-Type: text/html"), Diagnostic.MALFORMED_JSON),
        (response(b""), Diagnostic.MALFORMED_JSON),
        (response(success()[:-1]), Diagnostic.MALFORMED_JSON),
        (response(gzip.compress(success()), 200, "Content-Encoding: gzip"), Diagnostic.MALFORMED_JSON),
        (response(b'{"access_token":"a","access_token":"b","token_type":"Bearer"}'), Diagnostic.MALFORMED_JSON),
        (response(success("a\\r\\nX-Evil: 1")), Diagnostic.UNUSABLE_ACCESS_TOKEN),
        (response(success("a" * 100_000)), Diagnostic.UNUSABLE_ACCESS_TOKEN),
        (response(b"slow down", 429, "Retry-After: 3600"), Diagnostic.UNRECOGNISED_OTHER),
        (b"HTTP/1.1 204 No Content\r\n\r\n", Diagnostic.UNRECOGNISED_OTHER),
        (b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", Diagnostic.REQUEST_FAILED),
        (b"<html>not even HTTP</html>\r\n\r\n", Diagnostic.REQUEST_FAILED),
        (b"", Diagnostic.REQUEST_FAILED),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000, Diagnostic.REQUEST_FAILED),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 50_000, Diagnostic.REQUEST_FAILED),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 5_000, Diagnostic.REQUEST_FAILED),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 9 + response(success()), Diagnostic.REQUEST_FAILED),
        (b"\x16\x03\x01\x02\x00", Diagnostic.REQUEST_FAILED),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", Diagnostic.REQUEST_FAILED),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", Diagnostic.REQUEST_FAILED),
        (b"HTTP/1.1 200 OK\r\nX: \x00\r\n\r\n", Diagnostic.REQUEST_FAILED),
        (response(success())[:-1], Diagnostic.READ_RESPONSE),
        (CHUNKED + b"2;" + b"x" * 100_000, Diagnostic.READ_RESPONSE),
        (CHUNKED + b"zz\r\n", Diagnostic.READ_RESPONSE),
        (CHUNKED + b"5\r\nabc", Diagnostic.READ_RESPONSE),
        (CHUNKED + b"ffffffffffffffffffffff\r\n", Diagnostic.READ_RESPONSE),
        (CHUNKED + b"".join(b"1\r\n%c\r\n" % byte for byte in success().ljust(5_000)) + b"0\r\n\r\n", Diagnostic.MALFORMED_JSON),
    ],
)
async def test_wrong_answers(nursery: trio.Nursery, answer: bytes, diagnostic: Diagnostic) -> None:
    outcome = await outcome_of(nursery, closing(answer))
    assert isinstance(outcome, ExchangeFailure)
    assert outcome.diagnostic is diagnostic
    assert "evil" not in outcome.body.lower()


ANSWER = response(success())
PIECES = b"".join(b"1\r\n%c\r\n" % byte for byte in success()) + b"0\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "keeps"),
    [
        (response(success(), 200, "Content-Type: text/html"), 1),
        (CHUNKED + PIECES, 1),
        (ANSWER + ANSWER, 0),
        (ANSWER + b"\r\n", 0),
        (response(success(), 200, "Connection: close"), 0),
        (ANSWER.replace(b"HTTP/1.1", b"HTTP/1.0"), 0),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 8 + ANSWER, 0),
        (ANSWER + b"HTTP/1.1 100 Continue\r\n\r\n", 0),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n" + PIECES, 0),
    ],
    ids=["html", "chunks", "two", "stray bytes", "close", "HTTP/1.0", "interim", "interim afterwards", "two framings"],
)
async def test_the_connection_of_an_answer_in_doubt_is_not_kept(nursery: trio.Nursery, answer: bytes, keeps: int) -> None:
    endpoint = MemoryEndpoint(nursery, [answering(answer)])
    async with running(TokenClient(HTTP, Observer(), dial=endpoint.dial, tls=NO_TLS)) as client:
        assert await client.exchange(token_request()) == ISSUED
        assert kept(client) == endpoint.open_connections == keeps


async def test_a_body_may_end_with_the_connection(nursery: trio.Nursery) -> None:
    assert await outcome_of(nursery, closing(b"HTTP/1.1 200 OK\r\n\r\n" + success())) == ISSUED


@pytest.mark.parametrize(("status", "diagnostic"), [(200, Diagnostic.MALFORMED_JSON), (400, Diagnostic.UNRECOGNISED_400)])
@pytest.mark.parametrize("framing", [b"Content-Length: 10485760", b"Connection: close"])
async def test_ten_megabytes_are_not_read(nursery: trio.Nursery, status: int, diagnostic: Diagnostic, framing: bytes) -> None:
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(b"HTTP/1.1 %d OK\r\n%b\r\n\r\n" % (status, framing))
        for _ in range(160):
            await peer.send(b" " * 65_536)
            sent += 65_536
            await trio.testing.wait_all_tasks_blocked()
        await peer.close()

    outcome = await outcome_of(nursery, script)
    assert isinstance(outcome, ExchangeFailure)
    assert outcome.diagnostic is diagnostic
    assert sent <= MAX_RESPONSE_BYTES + 65_536


async def test_a_megabyte_is_read(nursery: trio.Nursery) -> None:
    body = success()[:-1].ljust(MAX_RESPONSE_BYTES - 1) + b"}"
    assert await outcome_of(nursery, answering(response(body))) == ISSUED


async def test_a_surplus_answer_is_nobodys(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """What follows an answer is not taken for the answer to the next request, which is another caller's."""
    endpoint = MemoryEndpoint(
        nursery, [answering(response(success("one")) + response(success("one-too-many"))), answering(response(success("two")))]
    )
    async with running(TokenClient(HTTP, Observer(), dial=endpoint.dial, tls=NO_TLS)) as client:
        assert await client.exchange(token_request("first")) == ExchangedToken(Secret("one"))
        await trio.sleep(RESTED)
        assert await client.exchange(token_request("second")) == ExchangedToken(Secret("two"))
        assert endpoint.open_connections == 1


@pytest.mark.parametrize(
    ("start", "drop", "seconds"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", 0.5),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b" ", 0.75),
        (CHUNKED, b"1\r\n \r\n", 0.75),
    ],
    ids=["header", "body", "chunks"],
)
async def test_a_slow_drip_is_bounded(nursery: trio.Nursery, autojump_clock: MockClock, start: bytes, drop: bytes, seconds: float) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(start)
        while True:
            await trio.sleep(0.01)
            await peer.send(drop)

    started = trio.current_time()
    outcome = await outcome_of(nursery, script, CONTRACT)
    assert isinstance(outcome, ExchangeFailure)
    in_time = seconds < CONTRACT.request_timeout  # of the head; what takes longer is the body
    late = (Diagnostic.REQUEST_FAILED, ErrorKind.TIMEOUT, None) if in_time else (Diagnostic.READ_RESPONSE, ErrorKind.READ_RESPONSE, 200)
    assert (outcome.diagnostic, outcome.kind, outcome.http_status) == late
    assert trio.current_time() - started == pytest.approx(seconds)


async def test_a_redirect_with_a_body_without_end_is_still_a_redirect(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 307 Moved\r\nLocation: http://evil.example/\r\nContent-Length: 1000000\r\n\r\n")
        await silent(peer)

    assert await outcome_of(nursery, script) == transport_failure(ErrorKind.HTTP_STATUS, Diagnostic.REQUEST_FAILED, 307)


@asynccontextmanager
async def listening(script: Script, context: ssl.SSLContext | None = None) -> AsyncGenerator[int, None]:
    """Serve ``script`` on a port of the loopback, over TLS with ``context``."""

    async def handle(stream: trio.SocketStream) -> None:
        secured = trio.SSLStream(stream, context, server_side=True, https_compatible=True) if context else stream
        await serve(script, secured)

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, handle, [listener])
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


class TestOnRealSockets:
    async def outcome_of(self, script: Script, settings: TokenClientSettings = HTTP) -> TokenOutcome:
        async with listening(script) as port, running(TokenClient(settings, Observer(), tls=NO_TLS)) as client:
            outcome = await client.exchange(token_request(endpoint=f"http://127.0.0.1:{port}/token"))
            assert at_rest(client)
        return outcome

    async def test_reset_in_the_middle_of_the_body(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.send(response(success())[:-5])
            assert isinstance(peer.stream, trio.SocketStream)
            peer.stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, struct.pack("ii", 1, 0))
            await peer.close()

        outcome = await self.outcome_of(script)
        assert isinstance(outcome, ExchangeFailure)
        # A reset overtakes bytes that were not read yet, so the head may be lost with the rest.
        assert outcome.diagnostic in {Diagnostic.READ_RESPONSE, Diagnostic.REQUEST_FAILED}

    async def test_nobody_listens(self) -> None:
        with socket.socket() as taken:  # bound, so that nobody else comes to listen there
            taken.bind(("127.0.0.1", 0))
            async with running(TokenClient(HTTP, Observer(), tls=NO_TLS)) as client:
                outcome = await client.exchange(token_request(endpoint=f"http://127.0.0.1:{taken.getsockname()[1]}/token"))
        assert outcome == transport_failure(ErrorKind.TRANSPORT_ERROR, Diagnostic.REQUEST_FAILED)

    async def test_a_keep_alive_connection_that_was_closed_is_replaced(self) -> None:
        connections = 0

        async def script(peer: Peer) -> None:
            nonlocal connections
            connections += 1
            await closing(response(success()))(peer)

        async with listening(script) as port, running(TokenClient(HTTP, Observer(), tls=NO_TLS)) as client:
            for number in range(3):
                assert await client.exchange(token_request(f"subject-{number}", f"http://127.0.0.1:{port}/token")) == ISSUED
        assert connections == 3


class TestTls:
    """Over the loopback, with the trust store of the environment."""

    @pytest.fixture
    def authority(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        return authority

    def server_context(self, authority: trustme.CA, name: str) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(name).configure_cert(context)
        return context

    async def test_a_connection_is_kept(self, authority: trustme.CA) -> None:
        connections = 0

        async def script(peer: Peer) -> None:
            nonlocal connections
            connections += 1
            await answering(response(success()))(peer)

        settings = attrs.evolve(HTTP, allow_http=False)
        async with (
            listening(script, self.server_context(authority, "127.0.0.1")) as port,
            running(TokenClient(settings, Observer())) as client,
        ):
            client._pool.longest_exchange = 0.0  # the shortest rest
            for number in range(3):
                assert await client.exchange(token_request(f"subject-{number}", f"https://127.0.0.1:{port}/token")) == ISSUED
                await trio.sleep(LEAST_REST)
        assert connections == 1

    async def test_another_name_gets_nothing(self, authority: trustme.CA) -> None:
        requests: list[bytes] = []

        async def script(peer: Peer) -> None:
            requests.append((await peer.request())[0])

        async with (
            listening(script, self.server_context(authority, "localhost")) as port,
            running(TokenClient(HTTP, Observer())) as client,
        ):
            outcome = await client.exchange(token_request(endpoint=f"https://127.0.0.1:{port}/token"))
            assert at_rest(client)
        assert outcome == transport_failure(ErrorKind.TRANSPORT_ERROR, Diagnostic.REQUEST_FAILED)
        assert requests == []
