from collections.abc import Sequence

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from exchanger.decision.token_exchange import ACCESS_TOKEN_TYPE, TokenResponseRules, transport_failure
from exchanger.errors import Diagnostic
from exchanger.oauth.token_client import _MAX_ENDPOINTS, TokenClient, TokenClientSettings
from exchanger.typing import TokenExchanger
from exchanger.values.secret import Secret
from exchanger.values.token import CoalescedRecord, ErrorKind, ExchangedToken, ExchangeFailure, ExchangeRecord, TokenOutcome, TokenRequest
from exchanger.values.trace import TraceContext
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
    silent,
    success,
    token_request,
)

ISSUED = ExchangedToken(Secret("issued-token"))


@attrs.define(eq=False)
class World:
    """A client, its observer and the endpoint that it talks to."""

    client: TokenClient
    observer: Observer
    endpoint: MemoryEndpoint

    def failure_recorded(self) -> ExchangeRecord:
        (record,) = self.observer.records
        assert record.kind is not None
        return record


def world(nursery: trio.Nursery, *scripts: Script, settings: TokenClientSettings = HTTP) -> World:
    endpoint, observer = MemoryEndpoint(nursery, scripts or [answering(response(success()))]), Observer()
    return World(TokenClient(settings, observer, clock=trio.current_time, dial=endpoint.dial, tls=NO_TLS), observer, endpoint)


async def test_an_exchange(nursery: trio.Nursery) -> None:
    heads: list[bytes] = []
    bodies: list[bytes] = []

    async def script(peer: Peer) -> None:
        head, body = await peer.request()
        heads.append(head)
        bodies.append(body)
        await peer.send(response(success()))
        await silent(peer)

    it = world(nursery, script)
    request = attrs.evolve(
        token_request(endpoint="http://issuer.example.com:8080/a%20b/token?tenant=1"), trace=TraceContext(baggage="user=a")
    )
    async with running(it.client) as client:
        assert await client.exchange(request) == ISSUED
        assert at_rest(client, connections=1)
    lines = heads[0].decode().split("\r\n")
    assert lines[0] == "POST /a%20b/token?tenant=1 HTTP/1.1"
    assert sorted(lines[1:]) == [
        "Accept-Encoding: identity",
        "Accept: application/json",
        f"Content-Length: {len(bodies[0])}",
        "Content-Type: application/x-www-form-urlencoded",
        "Host: issuer.example.com:8080",
        "User-Agent: exchanger",
        "baggage: user=a",
    ]
    assert bodies[0].startswith(b"grant_type=urn%3Aietf")
    assert it.endpoint.dialled == [("issuer.example.com", 8080)]
    (record,) = it.observer.records
    assert (record.endpoint_host, record.kind, record.http_status) == ("issuer.example.com", None, 200)


async def test_connections_are_kept_and_closed_on_the_way_out(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    it = world(nursery)
    async with running(it.client) as client:
        for number in range(3):
            assert await client.exchange(token_request(f"subject-{number}")) == ISSUED
            await trio.sleep(RESTED)
        assert len(it.endpoint.dialled) == 1
        assert it.endpoint.open_connections == 1
    assert it.endpoint.open_connections == 0
    assert at_rest(it.client)


async def test_idle_connections_expire_while_it_runs(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    it = world(nursery, settings=attrs.evolve(HTTP, idle_connection_timeout=5.0))
    async with running(it.client) as client:
        await client.exchange(token_request())
        await trio.sleep(6)
        assert it.endpoint.open_connections == 0
        assert at_rest(client)


async def test_a_connection_carries_nothing_while_it_rests(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    it = world(nursery)
    async with running(it.client) as client:
        for number in range(3):
            assert await client.exchange(token_request(f"subject-{number}")) == ISSUED
        assert len(it.endpoint.dialled) == 3


async def test_each_exchange_has_a_connection_of_its_own_if_so_chosen(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    heads: list[bytes] = []

    async def script(peer: Peer) -> None:
        heads.append((await peer.request())[0])
        await peer.send(response(success()))
        await silent(peer)

    it = world(nursery, script, settings=attrs.evolve(HTTP, connection_reuse=False))
    async with running(it.client) as client:
        for number in range(3):
            assert await client.exchange(token_request(f"subject-{number}")) == ISSUED
            assert at_rest(client)
            assert it.endpoint.open_connections == 0
            await trio.sleep(RESTED)
    assert len(it.endpoint.dialled) == 3
    assert all(b"\r\nConnection: close" in head for head in heads)


async def test_no_cookie_is_kept(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    heads: list[bytes] = []

    async def script(peer: Peer) -> None:
        while True:
            heads.append((await peer.request())[0])
            await peer.send(response(success(), 200, "Set-Cookie: session=1; Path=/"))

    async with running(world(nursery, script).client) as client:
        for number in range(2):
            assert await client.exchange(token_request(f"subject-{number}")) == ISSUED
            await trio.sleep(RESTED)
    assert len(heads) == 2
    assert not any(b"cookie" in head.lower() for head in heads)


async def test_ambient_proxies_are_not_used(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://proxy.example.com:3128")
    it = world(nursery)
    async with running(it.client) as client:
        assert await client.exchange(token_request()) == ISSUED
    assert it.endpoint.dialled == [("issuer.example.com", 80)]


async def exchange_all(client: TokenClient, requests: Sequence[TokenRequest]) -> list[TokenOutcome]:
    outcomes: list[TokenOutcome] = []

    async def one(request: TokenRequest) -> None:
        outcomes.append(await client.exchange(request))

    async with trio.open_nursery() as nursery:
        for request in requests:
            nursery.start_soon(one, request)
    return outcomes


async def test_equal_requests_share_one_call(nursery: trio.Nursery) -> None:
    it = world(nursery)
    requests = [attrs.evolve(token_request(), trace=TraceContext(baggage=str(number))) for number in range(50)]
    async with running(it.client) as client:
        assert await exchange_all(client, requests) == [ISSUED] * 50
    assert len(it.observer.records) == 1
    assert it.observer.coalesced_hosts == ["issuer.example.com"] * 49


async def test_outcomes_tell_of_their_call_and_whether_it_was_under_way(nursery: trio.Nursery) -> None:
    it = world(nursery)
    async with running(it.client) as client:
        outcomes = await exchange_all(client, [token_request()] * 3)
    calls = [outcome.call for outcome in outcomes]
    assert sorted(call.shared for call in calls if call is not None) == [False, True, True]
    assert {(call.duration, call.http_status) for call in calls if call is not None} == {(it.observer.records[0].duration, 200)}


async def test_requests_under_rotated_credentials_do_not(nursery: trio.Nursery) -> None:
    it = world(nursery)
    async with running(it.client) as client:
        await exchange_all(client, [token_request(generation=0), token_request(generation=1)])
    assert len(it.observer.records) == 2
    assert it.observer.coalesced_hosts == []


async def test_what_is_under_way_shows(nursery: trio.Nursery) -> None:
    it = world(nursery, silent)
    async with running(it.client) as client, trio.open_nursery() as callers:
        for subject in ("one", "one", "two"):
            callers.start_soon(client.exchange, token_request(subject))
        await wait_all_tasks_blocked()
        statistics = client.statistics()
        assert statistics.in_flight == (("issuer.example.com", 2),)
        assert (statistics.coalescer.flights, statistics.coalescer.waiters) == (2, 3)
        assert (statistics.connections.open, statistics.connections.busy) == (2, 2)
        callers.cancel_scope.cancel()


async def test_it_is_a_token_exchanger(nursery: trio.Nursery) -> None:
    exchanger: TokenExchanger = world(nursery).client
    assert await exchanger.exchange(token_request()) == transport_failure(ErrorKind.CONTEXT_CANCELED, Diagnostic.REQUEST_FAILED)


async def failing(it: World, request: TokenRequest | None = None) -> ExchangeFailure:
    async with running(it.client) as client:
        outcome = await client.exchange(request or token_request())
        assert at_rest(client, connections=kept(client))
    assert isinstance(outcome, ExchangeFailure)
    assert it.endpoint.open_connections == 0
    record = it.failure_recorded()
    assert (record.kind, record.http_status) == (outcome.kind, outcome.http_status)
    return outcome


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "/token",
        "token",
        "//issuer.example.com/token",
        "issuer.example.com/token",
        "http://issuer.example.com/token",
        "ftp://issuer.example.com/token",
        "file:///etc/passwd",
        "https:/token",
        "https:///token",
        "https://user@issuer.example.com/token",
        "https://user:password@issuer.example.com/token",
        "https://@issuer.example.com/token",
        "https://issuer.example.com\\@evil.example/token",
        "https://issuer.example.com/token#fragment",
        "https://issuer.example.com/token#",
        "https://issuer example.com/token",
        "https://issuer.example.com\r\nX-Evil: 1/token",
        "https://issuer.example.com:0/token",
        "https://issuer.example.com:65536/token",
        "https://issuer.example.com:port/token",
        "https://issuer..example.com/token",
        "https://%69ssuer.example.com/token",
        "https://[::1/token",
        "https://[fe80::1%25eth0]/token",
        "https://\N{SNOWMAN}.example/token",
        "https://issuer.example.com/\ud800",
    ],
)
async def test_txe_1001_invalid_endpoint(nursery: trio.Nursery, endpoint: str) -> None:
    it = world(nursery, settings=TokenClientSettings())
    outcome = await failing(it, token_request(endpoint=endpoint))
    assert outcome == transport_failure(ErrorKind.INVALID_TOKEN_ENDPOINT, Diagnostic.INVALID_TOKEN_ENDPOINT)
    assert it.endpoint.dialled == []


@pytest.mark.parametrize(
    ("endpoint", "dialled"),
    [
        ("http://issuer.example.com", ("issuer.example.com", 80)),
        ("HTTP://Issuer.Example.COM/token", ("issuer.example.com", 80)),
        ("http://127.0.0.1:8080/token", ("127.0.0.1", 8080)),
        ("http://[::1]:8080/token", ("::1", 8080)),
        ("http://b\u00fccher.example/token", ("xn--bcher-kva.example", 80)),
        ("http://issuer.example.com/@tenant/token?a=@", ("issuer.example.com", 80)),
    ],
)
async def test_valid_endpoints(nursery: trio.Nursery, endpoint: str, dialled: tuple[str, int]) -> None:
    it = world(nursery)
    async with running(it.client) as client:
        assert await client.exchange(token_request(endpoint=endpoint)) == ISSUED
    assert it.endpoint.dialled == [dialled]


async def test_remembered_endpoints_are_bounded(nursery: trio.Nursery) -> None:
    it = world(nursery)
    for number in range(3 * _MAX_ENDPOINTS // 2):
        it.client._endpoint(token_request(endpoint=f"http://issuer.example.com/{number}").issuer)
        it.client._endpoint(token_request(endpoint=f"invalid {number}").issuer)
    assert len(it.client._endpoints) <= _MAX_ENDPOINTS


async def test_txe_1002_request_that_cannot_be_built(nursery: trio.Nursery) -> None:
    it = world(nursery)
    outcome = await failing(it, token_request("\ud800"))
    assert outcome == transport_failure(ErrorKind.CREATE_REQUEST, Diagnostic.CREATE_REQUEST)
    assert it.endpoint.dialled == []


async def test_txe_1002_request_that_is_not_http(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    """The codec lets no such header through; the transport does not rely on that."""
    it = world(nursery)
    encoded = [("X-Evil", "a\r\nb")]
    monkeypatch.setattr("exchanger.decision.token_exchange._headers", lambda request: encoded)
    outcome = await failing(it)
    assert outcome == transport_failure(ErrorKind.CREATE_REQUEST, Diagnostic.CREATE_REQUEST)
    assert it.endpoint.dialled == []


async def test_txe_1003_timeout(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    it = world(nursery, silent, settings=attrs.evolve(CONTRACT, response_header_timeout=10.0))
    started = trio.current_time()
    assert await failing(it) == transport_failure(ErrorKind.TIMEOUT, Diagnostic.REQUEST_FAILED)
    assert trio.current_time() - started == pytest.approx(0.75)
    assert it.failure_recorded().duration == pytest.approx(0.75)


async def test_txe_1003_timeout_of_the_response_header(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    it = world(nursery, silent, settings=CONTRACT)
    assert await failing(it) == transport_failure(ErrorKind.TIMEOUT, Diagnostic.REQUEST_FAILED)
    assert it.failure_recorded().duration == pytest.approx(0.5)


async def test_txe_1003_refused(nursery: trio.Nursery) -> None:
    it = world(nursery)

    async def dial(host: str, port: int) -> trio.abc.Stream:
        raise ConnectionRefusedError

    it.client._pool.dial = dial
    assert await failing(it) == transport_failure(ErrorKind.TRANSPORT_ERROR, Diagnostic.REQUEST_FAILED)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_txe_1003_redirect_is_not_followed(nursery: trio.Nursery, status: int) -> None:
    requests: list[bytes] = []

    async def script(peer: Peer) -> None:
        while True:
            requests.append((await peer.request())[0])
            await peer.send(response(b"moved", status, "Location: http://evil.example/token"))

    it = world(nursery, script)
    assert await failing(it) == transport_failure(ErrorKind.HTTP_STATUS, Diagnostic.REQUEST_FAILED, status)
    assert len(requests) == 1
    assert it.endpoint.dialled == [("issuer.example.com", 80)]


async def test_txe_1004_body_that_breaks_off(nursery: trio.Nursery) -> None:
    it = world(nursery, closing(response(success())[:-1]))
    assert await failing(it) == transport_failure(ErrorKind.READ_RESPONSE, Diagnostic.READ_RESPONSE, 200)


@pytest.mark.parametrize(
    ("status", "body", "diagnostic", "kind", "seen"),
    [
        (400, b'{"error":"invalid_scope"}', Diagnostic.OAUTH_ERROR, ErrorKind.HTTP_STATUS, 400),
        (400, b"<html>", Diagnostic.UNRECOGNISED_400, ErrorKind.HTTP_STATUS, 400),
        (401, b"<html>", Diagnostic.UNRECOGNISED_401, ErrorKind.HTTP_STATUS, 401),
        (403, b"<html>", Diagnostic.UNRECOGNISED_403, ErrorKind.HTTP_STATUS, 500),
        (503, b"<html>", Diagnostic.UNRECOGNISED_OTHER, ErrorKind.HTTP_STATUS, 500),
        (200, b"<html>", Diagnostic.MALFORMED_JSON, ErrorKind.MALFORMED_SUCCESS_JSON, 500),
        (200, b"{}", Diagnostic.MISSING_ACCESS_TOKEN, ErrorKind.MISSING_ACCESS_TOKEN, 500),
        (200, success().replace(b"Bearer", b"N_A"), Diagnostic.NOT_BEARER, ErrorKind.NON_BEARER_TOKEN_TYPE, 500),
        (200, success().replace(b":access", b":refresh"), Diagnostic.WRONG_ISSUED_TOKEN_TYPE, ErrorKind.WRONG_ISSUED_TOKEN_TYPE, 500),
        (200, success("not usable"), Diagnostic.UNUSABLE_ACCESS_TOKEN, ErrorKind.MISSING_ACCESS_TOKEN, 500),
    ],
    ids=lambda value: value.value if isinstance(value, Diagnostic) else "",
)
async def test_txe_2001_to_3005(
    nursery: trio.Nursery, status: int, body: bytes, diagnostic: Diagnostic, kind: ErrorKind, seen: int
) -> None:
    outcome = await failing(world(nursery, answering(response(body, status))))
    assert (outcome.diagnostic, outcome.kind, outcome.status, outcome.http_status) == (diagnostic, kind, seen, status)


async def test_the_rules_of_the_settings_hold(nursery: trio.Nursery) -> None:
    settings = attrs.evolve(HTTP, rules=TokenResponseRules(require_issued_token_type=False))
    body = success().replace(ACCESS_TOKEN_TYPE.encode(), b"urn:other")
    async with running(world(nursery, answering(response(body)), settings=settings).client) as client:
        assert await client.exchange(token_request()) == ISSUED


async def test_challenges_are_relayed(nursery: trio.Nursery) -> None:
    answer = response(b"", 401, "WWW-Authenticate: Basic realm=\xe9", "X-Other: 1", "www-authenticate: Bearer")
    outcome = await failing(world(nursery, answering(answer)))
    assert outcome.www_authenticate == ("Basic realm=\xe9", "Bearer")


async def test_a_failure_is_not_kept(nursery: trio.Nursery) -> None:
    it = world(nursery, answering(response(b"", 503)), answering(response(success())))
    async with running(it.client) as client:
        assert isinstance(await client.exchange(token_request()), ExchangeFailure)
        assert await client.exchange(token_request()) == ISSUED


class TestClosedKeepAlive:
    """A used connection that the peer closed before it answered is replaced once."""

    async def after_one(self, it: World) -> TokenOutcome:
        async with running(it.client) as client:
            assert await client.exchange(token_request("first")) == ISSUED
            await trio.sleep(RESTED)
            outcome = await client.exchange(token_request("second"))
            assert at_rest(client, connections=kept(client))
        assert it.endpoint.open_connections == 0
        return outcome

    async def closed_after_one(self, peer: Peer) -> None:
        await peer.request()
        await peer.send(response(success()))
        await peer.request()
        await peer.close()

    async def test_the_request_goes_out_once_more(self, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
        it = world(nursery, self.closed_after_one, answering(response(success())))
        assert await self.after_one(it) == ISSUED
        assert len(it.endpoint.dialled) == 2
        assert [record.kind for record in it.observer.records] == [None, None]

    async def test_also_when_it_was_closed_before_the_request_was_written(self, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
        it = world(nursery, closing(response(success())), answering(response(success())))
        assert await self.after_one(it) == ISSUED
        assert len(it.endpoint.dialled) == 2

    async def test_but_only_once(self, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
        it = world(nursery, self.closed_after_one, closing(b""))
        assert await self.after_one(it) == transport_failure(ErrorKind.TRANSPORT_ERROR, Diagnostic.REQUEST_FAILED)
        assert len(it.endpoint.dialled) == 2

    async def test_and_not_on_another_idle_one(self, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
        it = world(nursery, self.closed_after_one, self.closed_after_one, answering(response(success())))
        async with running(it.client) as client:
            await exchange_all(client, [token_request("one"), token_request("two")])
            await trio.sleep(RESTED)
            assert await client.exchange(token_request("three")) == ISSUED
        assert len(it.endpoint.dialled) == 3

    async def test_and_not_when_a_byte_has_come(self, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.send(response(success()))
            await peer.request()
            await peer.send(b"H")
            await peer.close()

        it = world(nursery, script, answering(response(success())))
        assert await self.after_one(it) == transport_failure(ErrorKind.TRANSPORT_ERROR, Diagnostic.REQUEST_FAILED)
        assert len(it.endpoint.dialled) == 1

    @pytest.mark.parametrize("after", [b"", response(success("of the request that crossed it"))], ids=["alone", "before the answer"])
    async def test_a_408_that_crosses_the_request_answers_nobody(
        self, nursery: trio.Nursery, autojump_clock: MockClock, after: bytes
    ) -> None:
        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.send(response(success()))
            await peer.request()
            await peer.send(response(b"", 408))
            await peer.send(after)
            await silent(peer)

        it = world(nursery, script, answering(response(success("second-token"))))
        assert await self.after_one(it) == ExchangedToken(Secret("second-token"))
        assert len(it.endpoint.dialled) == 2

    async def test_a_408_on_a_fresh_connection_is_an_answer(self, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
        it = world(nursery, answering(response(b"", 408)))
        outcome = await failing(it)
        assert (outcome.kind, outcome.http_status) == (ErrorKind.HTTP_STATUS, 408)
        assert len(it.endpoint.dialled) == 1

    async def test_and_not_on_a_fresh_connection(self, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
        it = world(nursery, closing(b""))
        assert await failing(it) == transport_failure(ErrorKind.TRANSPORT_ERROR, Diagnostic.REQUEST_FAILED)
        assert len(it.endpoint.dialled) == 1

    async def test_and_within_the_same_deadline(self, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.send(response(success()))
            await peer.request()
            await trio.sleep(0.4)
            await peer.close()

        it = world(nursery, script, silent, settings=CONTRACT)
        assert await self.after_one(it) == transport_failure(ErrorKind.TIMEOUT, Diagnostic.REQUEST_FAILED)
        assert it.observer.records[1].duration == pytest.approx(0.75)


async def test_a_fault_of_the_observer_ends_the_process(nursery: trio.Nursery) -> None:
    class Faulty:
        def exchanged(self, record: ExchangeRecord, /) -> None:
            raise ZeroDivisionError

        def coalesced(self, record: CoalescedRecord, /) -> None:
            raise AssertionError

    endpoint = MemoryEndpoint(nursery, [answering(response(success()))])
    client = TokenClient(HTTP, Faulty(), dial=endpoint.dial, tls=NO_TLS)
    outcomes: list[TokenOutcome] = []
    with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True):
        async with running(client):
            outcomes.append(await client.exchange(token_request()))
            await trio.sleep_forever()
    assert [isinstance(outcome, ExchangeFailure) for outcome in outcomes] == [True]
    assert endpoint.open_connections == 0
    assert at_rest(client)
