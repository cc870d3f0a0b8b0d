"""A token endpoint that does not know rotated credentials yet is asked once more with those before."""

import base64
import json
import logging
import traceback
from collections.abc import Sequence
from urllib.parse import parse_qs

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from exchanger.decision.token_exchange import TokenResponseRules, decode_response, transport_failure
from exchanger.errors import Diagnostic
from exchanger.oauth.token_client import TokenClient, TokenClientSettings, as_before
from exchanger.values.issuer import AuthMethod, Credentials
from exchanger.values.secret import Secret
from exchanger.values.token import CoalescedRecord, ErrorKind, ExchangedToken, ExchangeFailure, ExchangeRecord, TokenOutcome, TokenRequest
from tests.oauth.fakes import (
    HTTP,
    NO_TLS,
    MemoryEndpoint,
    Observer,
    Peer,
    Script,
    at_rest,
    response,
    running,
    silent,
    success,
    token_request,
)

NEW, OLD = "canary-new", "canary-old"
PREVIOUS = Credentials("before", Secret(OLD), 0)
ISSUED = ExchangedToken(Secret("issued-token"))
PASSTHROUGH = TokenResponseRules(error_passthrough=True)


def error(code: str, status: int = 400) -> bytes:
    return response(json.dumps({"error": code, "error_description": f"{NEW} {OLD}"}).encode(), status)


REFUSED, SUCCESS = error("invalid_client", 401), response(success())


def rotated(previous: Credentials | None = PREVIOUS, method: AuthMethod = AuthMethod.CLIENT_SECRET_POST) -> TokenRequest:
    request = token_request(client_secret=NEW, generation=1)
    return attrs.evolve(request, issuer=attrs.evolve(request.issuer, previous=previous, auth_method=method))


def scripted(answers: Sequence[bytes], bodies: list[bytes], heads: list[bytes]) -> Script:
    """Give ``answers`` in turn, whichever connection asks; requests beyond them get none."""
    remaining = list(answers)

    async def script(peer: Peer) -> None:
        while True:
            head, body = await peer.request()
            heads.append(head)
            bodies.append(body)
            if remaining:
                await peer.send(remaining.pop(0))

    return script


@attrs.frozen
class Ended:
    outcome: TokenOutcome
    records: tuple[ExchangeRecord, ...]
    secrets: tuple[str, ...]
    heads: tuple[bytes, ...]


async def exchanged(request: TokenRequest, *answers: bytes, settings: TokenClientSettings = HTTP) -> Ended:
    bodies: list[bytes] = []
    heads: list[bytes] = []
    async with trio.open_nursery() as nursery:
        endpoint, observer = MemoryEndpoint(nursery, [scripted(answers, bodies, heads)]), Observer()
        async with running(TokenClient(settings, observer, dial=endpoint.dial, tls=NO_TLS)) as client:
            outcome = await client.exchange(request)
            assert client.in_flight == {}
        assert at_rest(client)
        nursery.cancel_scope.cancel()
    secrets = tuple(parse_qs(body.decode()).get("client_secret", [""])[0] for body in bodies)
    return Ended(outcome, tuple(observer.records), secrets, tuple(heads))


@pytest.mark.parametrize(
    "refused",
    [
        pytest.param(REFUSED, id="invalid_client with 401"),
        pytest.param(error("invalid_client", 400), id="invalid_client with 400"),
        pytest.param(error("invalid_client", 403), id="invalid_client with 403"),
        pytest.param(response(b"no", 401), id="a 401 without a code"),
        pytest.param(error("who are you", 401), id="a 401 with an unknown code"),
    ],
)
@pytest.mark.parametrize("rules", [TokenResponseRules(), PASSTHROUGH], ids=["own words", "passthrough"])
async def test_a_refused_client_is_the_one_before_once(refused: bytes, rules: TokenResponseRules) -> None:
    ended = await exchanged(rotated(), refused, SUCCESS, settings=attrs.evolve(HTTP, rules=rules))
    assert ended.outcome == ISSUED
    assert ended.secrets == (NEW, OLD)
    assert [record.kind for record in ended.records] == [ErrorKind.HTTP_STATUS, None]


async def test_both_methods() -> None:
    ended = await exchanged(rotated(method=AuthMethod.CLIENT_SECRET_BASIC), REFUSED, SUCCESS)
    assert ended.outcome == ISSUED
    pairs = [f"client:{NEW}", f"before:{OLD}"]
    assert all(base64.b64encode(pair.encode()) in head for pair, head in zip(pairs, ended.heads, strict=True))


async def test_new_credentials_that_are_good_are_all_that_is_sent() -> None:
    ended = await exchanged(rotated(), SUCCESS)
    assert (ended.outcome, ended.secrets, len(ended.records)) == (ISSUED, (NEW,), 1)


@pytest.mark.parametrize(
    "answer",
    [
        error("invalid_grant"),
        error("invalid_grant", 401),
        error("invalid_target"),
        error("unauthorized_client"),
        response(b"no", 400),
        response(b"no", 403),
        response(b"no", 500),
        response(b'{"access_token":"a"}'),
        response(b"", 302, "Location: http://other.example/"),
        b"no HTTP\r\n\r\n",
    ],
)
@pytest.mark.parametrize("rules", [TokenResponseRules(), PASSTHROUGH], ids=["own words", "passthrough"])
async def test_other_failures_are_the_outcome(answer: bytes, rules: TokenResponseRules) -> None:
    ended = await exchanged(rotated(), answer, SUCCESS, settings=attrs.evolve(HTTP, rules=rules))
    assert isinstance(ended.outcome, ExchangeFailure)
    assert (ended.secrets, len(ended.records)) == ((NEW,), 1)


@pytest.mark.parametrize("second", [error("invalid_client", 400), error("invalid_grant"), response(b"no", 500), b"no HTTP\r\n\r\n"])
async def test_when_neither_helps_the_first_failure_is_the_outcome(second: bytes) -> None:
    alone = await exchanged(rotated(None), REFUSED, SUCCESS)
    assert (alone.secrets, len(alone.records)) == ((NEW,), 1)
    ended = await exchanged(rotated(), REFUSED, second, SUCCESS)
    assert ended.outcome == alone.outcome
    assert (ended.secrets, len(ended.records)) == ((NEW, OLD), 2)


async def test_both_calls_have_the_time_of_one(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async def slow(peer: Peer) -> None:
        await peer.request()
        await trio.sleep(0.4)
        await peer.send(REFUSED)
        await silent(peer)

    endpoint, observer = MemoryEndpoint(nursery, [slow]), Observer()
    settings = attrs.evolve(HTTP, request_timeout=0.75, response_header_timeout=5.0)
    async with running(TokenClient(settings, observer, clock=trio.current_time, dial=endpoint.dial, tls=NO_TLS)) as client:
        started = trio.current_time()
        outcome = await client.exchange(rotated())
        assert trio.current_time() - started == pytest.approx(0.75)
        assert at_rest(client, connections=1)  # of the first call
    assert isinstance(outcome, ExchangeFailure)
    assert outcome.diagnostic is Diagnostic.OAUTH_ERROR
    first, second = observer.records
    assert (first.http_status, second.kind) == (401, ErrorKind.TIMEOUT)
    assert first.duration == pytest.approx(0.4)
    assert second.duration == pytest.approx(0.35)


async def test_it_can_be_left_during_the_second_call(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    endpoint, observer = MemoryEndpoint(nursery, [scripted([REFUSED], [], [])]), Observer()
    async with running(TokenClient(HTTP, observer, dial=endpoint.dial, tls=NO_TLS)) as client:
        with trio.move_on_after(0.1) as scope:
            await client.exchange(rotated())
        await wait_all_tasks_blocked()
        assert scope.cancelled_caught
        assert at_rest(client, connections=1)  # of the first call
    assert [record.kind for record in observer.records] == [ErrorKind.HTTP_STATUS, ErrorKind.CONTEXT_CANCELED]


async def test_callers_share_both_calls(nursery: trio.Nursery) -> None:
    bodies: list[bytes] = []
    endpoint, observer = MemoryEndpoint(nursery, [scripted([REFUSED, SUCCESS], bodies, [])]), Observer()
    outcomes: list[TokenOutcome] = []

    async def ask(client: TokenClient) -> None:
        outcomes.append(await client.exchange(rotated()))

    async with running(TokenClient(HTTP, observer, dial=endpoint.dial, tls=NO_TLS)) as client, trio.open_nursery() as callers:
        for _ in range(3):
            callers.start_soon(ask, client)
    assert outcomes == [ISSUED] * 3
    assert (len(bodies), len(observer.coalesced_hosts)) == (2, 2)


async def test_who_may_be_answered_by_old_credentials_shares_with_no_one_who_may_not(nursery: trio.Nursery) -> None:
    observer = Observer()
    endpoint = MemoryEndpoint(nursery, [scripted([SUCCESS, SUCCESS], [], [])])
    async with running(TokenClient(HTTP, observer, dial=endpoint.dial, tls=NO_TLS)) as client, trio.open_nursery() as callers:
        callers.start_soon(client.exchange, rotated())
        callers.start_soon(client.exchange, rotated(None))
    assert (len(observer.records), observer.coalesced_hosts) == (2, [])


async def test_nothing_shows_a_secret(caplog: pytest.LogCaptureFixture) -> None:
    for name in (None, "httpx", "httpcore", "h11", "trio"):
        caplog.set_level(logging.DEBUG, logger=name)
    ended = await exchanged(rotated(), REFUSED, error("invalid_client"))
    shown = f"{rotated()!r} {ended.outcome!r} {ended.records!r} {attrs.asdict(ended.records[1])!r} {as_before(rotated(), ended.outcome)!r}"
    assert isinstance(ended.outcome, ExchangeFailure)
    assert "canary" not in shown + ended.outcome.body
    assert caplog.records == []


async def test_a_fault_during_the_second_call_shows_none(nursery: trio.Nursery) -> None:
    class Faulty:
        calls = 0

        def exchanged(self, record: ExchangeRecord, /) -> None:
            self.calls += 1
            if self.calls == 2:
                raise ZeroDivisionError

        def coalesced(self, record: CoalescedRecord, /) -> None:
            raise AssertionError

    endpoint = MemoryEndpoint(nursery, [scripted([REFUSED, REFUSED], [], [])])
    with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True) as caught:
        async with running(TokenClient(HTTP, Faulty(), dial=endpoint.dial, tls=NO_TLS)) as client:
            await client.exchange(rotated())
            await trio.sleep_forever()
    assert "canary" not in "".join(traceback.format_exception(caught.value))


def decoded(body: bytes, status: int = 400) -> TokenOutcome:
    return decode_response(status, (), body, PASSTHROUGH)


class TestTheRequestAsBefore:
    def test_it_differs_in_credentials_alone(self) -> None:
        request = rotated()
        earlier = as_before(request, decoded(b'{"error":"invalid_client"}'))
        assert earlier is not None
        assert earlier == attrs.evolve(request, issuer=attrs.evolve(request.issuer, credentials=PREVIOUS, previous=None))
        assert as_before(earlier, decoded(b'{"error":"invalid_client"}')) is None

    def test_a_success_is_no_reason(self) -> None:
        assert as_before(rotated(), ISSUED) is None

    @pytest.mark.parametrize("diagnostic", [Diagnostic.REQUEST_FAILED, Diagnostic.READ_RESPONSE, Diagnostic.INVALID_TOKEN_ENDPOINT])
    def test_neither_is_a_transport(self, diagnostic: Diagnostic) -> None:
        assert as_before(rotated(), transport_failure(ErrorKind.TRANSPORT_ERROR, diagnostic, 401)) is None

    def test_numbers_in_a_body_are_not_read(self) -> None:
        body = b'{"error":"invalid_client","n":' + b"9" * 500_000 + b',"m":1.5}'
        assert as_before(rotated(), decoded(body)) is not None

    @pytest.mark.parametrize("body", ["no JSON", "[]", "[" * 100_000, '{"error": 1}'])
    def test_a_body_that_says_nothing(self, body: str) -> None:
        failure = ExchangeFailure(Diagnostic.OAUTH_ERROR, ErrorKind.HTTP_STATUS, 400, body)
        assert as_before(rotated(), failure) is None
