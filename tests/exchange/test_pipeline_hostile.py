"""A token endpoint that does everything wrong: each case ends in a value, in time, leaves no connection behind, and shows no secret."""

import base64
import gzip
import logging
import struct
import traceback
from typing import Final

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from exchanger.exchange.oauth.settings import TokenClientSettings
from exchanger.exchange.oauth.token_request import encode_request
from exchanger.model.errors import Diagnostic
from exchanger.model.issuer import AuthMethod, Credentials
from exchanger.model.secret import Secret
from exchanger.model.token import CoalescedRecord, ErrorKind, ExchangeFailure, ExchangeRecord, TokenOutcome, TokenRequest
from exchanger.model.token_failure import transport_failure
from exchanger.net.answer import MAX_RESPONSE_BYTES
from tests.exchange.oauth.fakes import (
    CONTRACT,
    HTTP,
    ISSUED,
    NO_TLS,
    Observer,
    Peer,
    Script,
    answering,
    at_rest,
    client_of,
    closing,
    exchange,
    kept,
    response,
    running,
    silent,
    success,
    token_request,
    world,
)
from tests.net.connect_proxy import token_endpoint

SUBJECT, SECRET, NEW = "canary-subject", "canary-secret", "canary-issued"
BASIC = base64.b64encode(f"client:{SECRET}".encode()).decode()
ECHO = f'"{SUBJECT} {SECRET} {NEW} {BASIC}"'.encode()
ECHOING_ERROR = b'{"error":"invalid_client","error_description":' + ECHO + b',"error_uri":' + ECHO + b"}"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n"
PIECES = b"".join(b"1\r\n%c\r\n" % byte for byte in success()) + b"0\r\n\r\n"


async def outcome_of(script: Script, settings: TokenClientSettings = HTTP) -> TokenOutcome:
    """Exchange once; afterwards no connection is open but one that may be used again."""
    async with world(script, settings=settings) as it:
        outcome = await exchange(it.client, token_request())
        assert at_rest(it.client, connections=kept(it.client))
        assert it.endpoint.open_connections == kept(it.client)
    assert len(it.endpoint.dialled) == 1
    return outcome


async def half(peer: Peer) -> None:
    await peer.request()
    await peer.send(response(success(NEW))[:-1])
    await silent(peer)


WRONG_ANSWERS: Final[dict[str, tuple[bytes, Diagnostic]]] = {
    # Answers that are HTTP.
    "a page": (response(b"<html>sign in</html>", 200, "Content-Type: text/html"), Diagnostic.MALFORMED_JSON),
    "no body": (response(b""), Diagnostic.MALFORMED_JSON),
    "half of the JSON": (response(success(NEW)[:-1]), Diagnostic.MALFORMED_JSON),
    "gzip": (response(gzip.compress(success()), 200, "Content-Encoding: gzip"), Diagnostic.MALFORMED_JSON),
    "two tokens": (response(b'{"access_token":"a","access_token":"b","token_type":"Bearer"}'), Diagnostic.MALFORMED_JSON),
    "no access token": (response(b'{"id_token":' + ECHO + b"}"), Diagnostic.MISSING_ACCESS_TOKEN),
    "no bearer token": (response(success(NEW).replace(b"Bearer", b"N_A")), Diagnostic.NOT_BEARER),
    "wrong type": (response(success(NEW).replace(b":access", b":refresh")), Diagnostic.WRONG_ISSUED_TOKEN_TYPE),
    "two words": (response(success(f"{NEW} {SUBJECT}")), Diagnostic.UNUSABLE_ACCESS_TOKEN),
    "a header in the token": (response(success("a\\r\\nX-Evil: 1")), Diagnostic.UNUSABLE_ACCESS_TOKEN),
    "100 KB": (response(success("a" * 100_000)), Diagnostic.UNUSABLE_ACCESS_TOKEN),
    "too many chunks": (
        CHUNKED + b"".join(b"1\r\n%c\r\n" % byte for byte in success().ljust(5_000)) + b"0\r\n\r\n",
        Diagnostic.MALFORMED_JSON,
    ),
    "OAuth error": (response(ECHOING_ERROR, 400), Diagnostic.OAUTH_ERROR),
    "400": (response(ECHO, 400), Diagnostic.UNRECOGNISED_400),
    "401": (response(ECHO, 401), Diagnostic.UNRECOGNISED_401),
    "403": (response(ECHO, 403), Diagnostic.UNRECOGNISED_403),
    "408": (response(b"", 408), Diagnostic.UNRECOGNISED_OTHER),
    "429": (response(b"slow down", 429, "Retry-After: 3600"), Diagnostic.UNRECOGNISED_OTHER),
    "500": (response(ECHO, 500), Diagnostic.UNRECOGNISED_OTHER),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", Diagnostic.UNRECOGNISED_OTHER),
    **{
        f"redirect {status}": (response(ECHO, status, f"Location: http://evil.example/?{SUBJECT}"), Diagnostic.REQUEST_FAILED)
        for status in (301, 302, 303, 307, 308)
    },
    # Heads that are not.
    "nothing": (b"", Diagnostic.REQUEST_FAILED),
    "101": (b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", Diagnostic.REQUEST_FAILED),
    "not HTTP": (ECHO + b"\r\n\r\n", Diagnostic.REQUEST_FAILED),
    "long header": (OK + b"X: " + b"x" * 200_000, Diagnostic.REQUEST_FAILED),
    "many interim responses": (b"HTTP/1.1 100 Continue\r\n\r\n" * 5_000, Diagnostic.REQUEST_FAILED),
    "control character": (OK + ECHO + b"\x00: x\r\nX: \x00\r\n\r\n", Diagnostic.REQUEST_FAILED),
    # Bodies that break off.
    "short body": (response(success(NEW))[:-1], Diagnostic.READ_RESPONSE),
    "long chunk line": (CHUNKED + b"2;" + b"x" * 100_000, Diagnostic.READ_RESPONSE),
    "bad chunk line": (CHUNKED + ECHO + b"\r\n", Diagnostic.READ_RESPONSE),
}
ENDINGS: Final[dict[str, tuple[Script, Diagnostic | None]]] = {
    "success": (answering(response(success(NEW))), None),
    "timeout": (half, Diagnostic.READ_RESPONSE),
    **{name: (closing(answer), diagnostic) for name, (answer, diagnostic) in WRONG_ANSWERS.items()},
}


def request_with(method: AuthMethod, subject: str = SUBJECT) -> TokenRequest:
    request = token_request(subject, client_secret=SECRET)
    return attrs.evolve(request, issuer=attrs.evolve(request.issuer, auth_method=method))


def assert_clean(*shown: object) -> None:
    for thing in shown:
        for text in (str(thing), repr(thing)):
            assert "canary" not in text
            assert BASIC not in text


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    for name in (None, "httpx", "httpcore", "h11", "trio"):
        caplog.set_level(logging.DEBUG, logger=name)
    return caplog.records


@pytest.mark.parametrize("method", AuthMethod)
@pytest.mark.parametrize("ending", ENDINGS)
async def test_however_an_exchange_ends_it_has_an_outcome_and_shows_no_secret(
    autojump_clock: MockClock, log: list[logging.LogRecord], ending: str, method: AuthMethod
) -> None:
    script, diagnostic = ENDINGS[ending]
    request = request_with(method)
    async with world(script) as it:
        outcome = await exchange(it.client, request)
        assert at_rest(it.client, connections=kept(it.client))
        assert it.endpoint.open_connections == kept(it.client)
        assert_clean(it.client)
    assert len(it.endpoint.dialled) == 1
    (record,) = it.observer.records
    if isinstance(outcome, ExchangeFailure):
        assert outcome.diagnostic is diagnostic
        assert (record.kind, record.http_status) == (outcome.kind, outcome.http_status)
        assert "evil" not in outcome.body.lower()
        assert_clean(outcome.body, outcome.www_authenticate, attrs.asdict(outcome))
    else:
        assert diagnostic is None
    assert_clean(outcome, request, encode_request(request), record, attrs.asdict(record))
    assert log == []


async def test_an_exchange_under_way_or_cancelled_shows_no_secret(log: list[logging.LogRecord]) -> None:
    async with world(half) as it:
        async with trio.open_nursery() as callers:
            callers.start_soon(exchange, it.client, request_with(AuthMethod.CLIENT_SECRET_POST))
            await wait_all_tasks_blocked()
            assert_clean(it.client)
            callers.cancel_scope.cancel()
        await wait_all_tasks_blocked()
    assert_clean(it.observer.records)
    assert log == []


@pytest.mark.parametrize("at", [1, 2], ids=["the only call", "the call with previous credentials"])
async def test_a_fault_of_the_observer_ends_the_process_and_shows_no_secret(at: int) -> None:
    class Faulty:
        calls = 0

        def exchanged(self, record: ExchangeRecord, /) -> None:
            self.calls += 1
            if self.calls == at:
                raise ZeroDivisionError

        def coalesced(self, record: CoalescedRecord, /) -> None:
            raise AssertionError

    request = request_with(AuthMethod.CLIENT_SECRET_BASIC)
    issuer = attrs.evolve(request.issuer, previous=Credentials("before", Secret("canary-before")))
    with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True) as caught:
        async with world(answering(response(ECHOING_ERROR, 401)), observer=Faulty()) as it:
            await exchange(it.client, attrs.evolve(request, issuer=issuer))
    assert_clean(caught.value, "".join(traceback.format_exception(caught.value)))


ANSWER = response(success())


async def test_a_body_may_end_with_the_connection_and_have_a_megabyte() -> None:
    assert await outcome_of(closing(b"HTTP/1.1 200 OK\r\n\r\n" + success())) == ISSUED
    body = success()[:-1].ljust(MAX_RESPONSE_BYTES - 1) + b"}"
    assert await outcome_of(answering(response(body))) == ISSUED


@pytest.mark.parametrize(("status", "diagnostic"), [(200, Diagnostic.MALFORMED_JSON), (400, Diagnostic.UNRECOGNISED_400)])
@pytest.mark.parametrize("framing", [b"Content-Length: 10485760", b"Connection: close"])
async def test_ten_megabytes_are_not_read(status: int, diagnostic: Diagnostic, framing: bytes) -> None:
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(b"HTTP/1.1 %d OK\r\n%b\r\n\r\n" % (status, framing))
        for _ in range(160):
            await peer.send(b" " * 65_536)
            sent += 65_536
            await wait_all_tasks_blocked()

    outcome = await outcome_of(script)
    assert isinstance(outcome, ExchangeFailure)
    assert outcome.diagnostic is diagnostic
    assert sent <= MAX_RESPONSE_BYTES + 65_536


LONG: Final = b"Content-Length: 1000000\r\n\r\n"
MOVED: Final = b"HTTP/1.1 307 Moved\r\nLocation: http://evil.example/\r\n"
CUT: Final = transport_failure(ErrorKind.READ_RESPONSE, Diagnostic.READ_RESPONSE, 200)
DRIPS: Final[dict[str, tuple[bytes, bytes, float, ExchangeFailure]]] = {
    "header": (OK, b"X: y\r\n", 0.5, transport_failure(ErrorKind.TIMEOUT, Diagnostic.REQUEST_FAILED)),
    "body": (OK + LONG, b" ", 0.75, CUT),
    "chunks": (CHUNKED, b"1\r\n \r\n", 0.75, CUT),
    "redirect, whose body is not read": (MOVED + LONG, b" ", 0.0, transport_failure(ErrorKind.HTTP_STATUS, Diagnostic.REQUEST_FAILED, 307)),
}


@pytest.mark.parametrize(("start", "drop", "seconds", "late"), DRIPS.values(), ids=DRIPS)
async def test_a_slow_drip_is_bounded(autojump_clock: MockClock, start: bytes, drop: bytes, seconds: float, late: ExchangeFailure) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(start)
        while True:
            await trio.sleep(0.01)
            await peer.send(drop)

    started = trio.current_time()
    assert await outcome_of(script, CONTRACT) == late
    assert trio.current_time() - started == pytest.approx(seconds, abs=0.001)


async def test_a_reset_in_the_middle_of_the_body_is_a_failure() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(response(success())[:-5])
        assert isinstance(peer.stream, trio.SocketStream)
        peer.stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, struct.pack("ii", 1, 0))

    async with token_endpoint(script, None) as port, running(client_of(HTTP, Observer(), tls=NO_TLS)) as client:
        outcome = await exchange(client, token_request(endpoint=f"http://127.0.0.1:{port}/token"))
        assert at_rest(client)
    assert isinstance(outcome, ExchangeFailure)
    # A reset overtakes bytes that were not read yet, so the head may be lost with the rest.
    assert outcome.diagnostic in {Diagnostic.READ_RESPONSE, Diagnostic.REQUEST_FAILED}
