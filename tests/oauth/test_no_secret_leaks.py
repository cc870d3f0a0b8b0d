"""No token and no secret shows in anything that an exchange leaves behind, however it ends and whatever the token endpoint repeats."""

import base64
import logging
import traceback

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from exchanger.decision.token_exchange import encode_request
from exchanger.oauth.token_client import TokenClient
from exchanger.values.issuer import AuthMethod
from exchanger.values.token import CoalescedRecord, ExchangedToken, ExchangeFailure, ExchangeRecord, TokenRequest
from tests.oauth.fakes import (
    HTTP,
    NO_TLS,
    MemoryEndpoint,
    Observer,
    Peer,
    Script,
    answering,
    closing,
    response,
    running,
    silent,
    success,
    token_request,
)

SUBJECT, SECRET, ISSUED = "canary-subject", "canary-secret", "canary-issued"
BASIC = base64.b64encode(f"client:{SECRET}".encode()).decode()
ECHO = f'"{SUBJECT} {SECRET} {ISSUED} {BASIC}"'.encode()
ECHOING_ERROR = b'{"error":"invalid_grant","error_description":' + ECHO + b',"error_uri":' + ECHO + b"}"


async def half(peer: Peer) -> None:
    await peer.request()
    await peer.send(response(success(ISSUED))[:-1])
    await silent(peer)


ENDINGS: dict[str, Script] = {
    "success": answering(response(success(ISSUED))),
    "timeout": half,
    "no answer": closing(b""),
    "echo instead of HTTP": closing(ECHO),
    "echo in a bad header": closing(b"HTTP/1.1 200 OK\r\n" + ECHO + b"\x00: x\r\n\r\n"),
    "redirect": closing(response(ECHO, 307, f"Location: http://evil.example/?{SUBJECT}")),
    "broken body": closing(response(success(ISSUED))[:-1]),
    "bad chunk": closing(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + ECHO + b"\r\n"),
    "OAuth error": closing(response(ECHOING_ERROR, 400)),
    "unrecognised 400": closing(response(ECHO, 400)),
    "unrecognised 401": closing(response(ECHO, 401)),
    "unrecognised 403": closing(response(ECHO, 403)),
    "unrecognised 500": closing(response(ECHO, 500)),
    "malformed": closing(response(success(ISSUED)[:-1])),
    "missing": closing(response(b'{"id_token":' + ECHO + b"}")),
    "not bearer": closing(response(success(ISSUED).replace(b"Bearer", b"N_A"))),
    "wrong type": closing(response(success(ISSUED).replace(b":access", b":refresh"))),
    "unusable": closing(response(success(f"{ISSUED} {SUBJECT}"))),
}


def request_with(method: AuthMethod, subject: str = SUBJECT) -> TokenRequest:
    request = token_request(subject, client_secret=SECRET)
    return attrs.evolve(request, issuer=attrs.evolve(request.issuer, auth_method=method))


def assert_clean(*shown: object) -> None:
    for thing in shown:
        for text in (str(thing), repr(thing), f"{thing}"):
            assert "canary" not in text
            assert BASIC not in text


@pytest.fixture(autouse=True)
def everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    for name in (None, "httpx", "httpcore", "h11", "trio"):
        caplog.set_level(logging.DEBUG, logger=name)


@pytest.mark.parametrize("method", AuthMethod)
@pytest.mark.parametrize("ending", ENDINGS)
async def test_however_an_exchange_ends(
    nursery: trio.Nursery, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, ending: str, method: AuthMethod
) -> None:
    endpoint, observer = MemoryEndpoint(nursery, [ENDINGS[ending]]), Observer()
    request = request_with(method)
    async with running(TokenClient(HTTP, observer, dial=endpoint.dial, tls=NO_TLS)) as client:
        outcome = await client.exchange(request)
        assert_clean(client)
    assert isinstance(outcome, ExchangedToken) is (ending == "success")
    assert_clean(outcome, request, encode_request(request), observer.records, attrs.asdict(observer.records[0]))
    if isinstance(outcome, ExchangeFailure):
        assert_clean(outcome.body, outcome.www_authenticate, attrs.asdict(outcome))
    assert caplog.records == []


async def test_a_request_that_cannot_be_built(nursery: trio.Nursery, caplog: pytest.LogCaptureFixture) -> None:
    endpoint, observer = MemoryEndpoint(nursery, [silent]), Observer()
    async with running(TokenClient(HTTP, observer, dial=endpoint.dial, tls=NO_TLS)) as client:
        outcome = await client.exchange(request_with(AuthMethod.CLIENT_SECRET_BASIC, SUBJECT + "\ud800"))
    assert isinstance(outcome, ExchangeFailure)
    assert_clean(outcome, outcome.body, observer.records)
    assert caplog.records == []


async def test_while_it_is_under_way_and_cancelled(nursery: trio.Nursery, caplog: pytest.LogCaptureFixture) -> None:
    endpoint, observer = MemoryEndpoint(nursery, [half]), Observer()
    async with running(TokenClient(HTTP, observer, dial=endpoint.dial, tls=NO_TLS)) as client:
        async with trio.open_nursery() as callers:
            callers.start_soon(client.exchange, request_with(AuthMethod.CLIENT_SECRET_POST))
            await wait_all_tasks_blocked()
            assert_clean(client)
            callers.cancel_scope.cancel()
        await wait_all_tasks_blocked()
    assert_clean(observer.records)
    assert caplog.records == []


async def test_a_fault_in_the_middle_of_an_exchange(nursery: trio.Nursery) -> None:
    class Faulty:
        def exchanged(self, record: ExchangeRecord, /) -> None:
            raise ZeroDivisionError

        def coalesced(self, record: CoalescedRecord, /) -> None:
            raise AssertionError

    endpoint = MemoryEndpoint(nursery, [closing(ECHO)])
    with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True) as caught:
        async with running(TokenClient(HTTP, Faulty(), dial=endpoint.dial, tls=NO_TLS)) as client:
            await client.exchange(request_with(AuthMethod.CLIENT_SECRET_BASIC))
            await trio.sleep_forever()
    assert_clean(caught.value, "".join(traceback.format_exception(caught.value)))
