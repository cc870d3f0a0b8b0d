import functools
import math
from typing import final

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from exchanger.exchange.coalesce import TOLD_AT_ONCE
from exchanger.exchange.interfaces import Ticket, TokenExchanger
from exchanger.exchange.oauth.settings import TokenClientSettings
from exchanger.exchange.oauth.token_request import EncodedRequest, encode_request
from exchanger.model.errors import Diagnostic
from exchanger.model.issuer import Credentials
from exchanger.model.secret import Secret
from exchanger.model.token import Cache, ErrorKind, ExchangedToken, ExchangeFailure, TokenOutcome, TokenRequest
from exchanger.model.token_failure import transport_failure
from exchanger.model.trace import TraceContext
from exchanger.operations.telemetry.trace_context import TraceContexts
from tests.exchange.oauth.fakes import (
    CONTRACT,
    HTTP,
    ISSUED,
    RESTED,
    Observer,
    Peer,
    Script,
    answering,
    at_rest,
    client_of,
    closing,
    exchange,
    response,
    silent,
    success,
    token_request,
    world,
)
from tests.net.connect_proxy import remembering


async def test_an_exchange() -> None:
    seen: list[bytes] = []
    request = token_request(endpoint="http://issuer.example.com:8080/a%20b/token?tenant=1")
    async with world(remembering(seen, response(success()))) as it:
        assert await exchange(it.client, attrs.evolve(request, trace=TraceContext(baggage="user=a"))) == ISSUED
        assert at_rest(it.client, connections=1)
    encoded = encode_request(request)
    assert isinstance(encoded, EncodedRequest)
    head, _, body = seen[0].decode().partition("\r\n\r\n")
    assert body.encode() == encoded.body
    line, *headers = head.split("\r\n")
    assert line == "POST /a%20b/token?tenant=1 HTTP/1.1"
    assert sorted(headers) == [
        "Accept-Encoding: identity",
        "Accept: application/json",
        f"Content-Length: {len(body)}",
        "Content-Type: application/x-www-form-urlencoded",
        "Host: issuer.example.com:8080",
        "User-Agent: exchanger",
        "baggage: user=a",
    ]
    assert it.endpoint.dialled == [("issuer.example.com", 8080)]
    (record,) = it.observer.records
    assert (record.endpoint_host, record.kind, record.http_status) == ("issuer.example.com", None, 200)


async def test_each_exchange_has_a_connection_of_its_own_if_so_configured(autojump_clock: MockClock) -> None:
    seen: list[bytes] = []
    async with world(remembering(seen, response(success())), settings=attrs.evolve(HTTP, connection_reuse=False)) as it:
        for number in range(3):
            assert await exchange(it.client, token_request(f"subject-{number}")) == ISSUED
            assert at_rest(it.client)
            assert it.endpoint.open_connections == 0
            await trio.sleep(RESTED)
    assert len(it.endpoint.dialled) == 3
    assert all(b"\r\nConnection: close" in request for request in seen)


async def test_equal_requests_share_one_call_and_their_outcomes_say_so() -> None:
    async with world() as it:
        requests = [attrs.evolve(token_request(), trace=TraceContext(baggage=str(number))) for number in range(50)]
        outcomes = await it.exchange_all(*requests)
        assert (it.client.exchanges.started, it.client.exchanges.coalesced) == (1, 49)
    assert outcomes == [ISSUED] * 50
    (record,) = it.observer.records
    assert it.observer.coalesced_hosts == ["issuer.example.com"] * 49
    calls = [outcome.call for outcome in outcomes if outcome.call is not None]
    assert [outcome.cache for outcome in outcomes].count(Cache.COALESCED) == 49
    assert {(call.duration, call.http_status) for call in calls} == {(record.duration, 200)}


async def test_the_end_of_run_ends_calls_and_answers_their_callers() -> None:
    outcomes = list[TokenOutcome]()

    async def one_answer(peer: Peer) -> None:
        await peer.request()
        await peer.send(response(success()))
        await silent(peer)

    async with trio.open_nursery() as callers, world(one_answer, silent) as it:

        async def call(subject: str) -> None:
            outcomes.append(await exchange(it.client, token_request(subject)))

        for subject in ("first", "second"):
            callers.start_soon(call, subject)
            await wait_all_tasks_blocked()
    assert [isinstance(outcome, ExchangedToken) for outcome in outcomes] == [True, False]
    assert [record.kind for record in it.observer.records] == [None, ErrorKind.CONTEXT_CANCELED]


async def test_outside_run_every_exchange_fails() -> None:
    exchanger: TokenExchanger = client_of(HTTP, Observer())
    assert exchanger.begin(token_request(), math.inf, print) == transport_failure(ErrorKind.CONTEXT_CANCELED, Diagnostic.REQUEST_FAILED)


async def test_a_request_that_cannot_be_built_is_not_sent() -> None:
    """What else is in the way of one is in test_preparation."""
    async with world(settings=TokenClientSettings()) as it:
        outcome = await exchange(it.client, token_request(endpoint="http://issuer.example.com/token"))
        assert outcome == transport_failure(ErrorKind.INVALID_TOKEN_ENDPOINT, Diagnostic.INVALID_TOKEN_ENDPOINT)
    assert it.endpoint.dialled == []
    assert [(record.kind, record.http_status) for record in it.observer.records] == [(ErrorKind.INVALID_TOKEN_ENDPOINT, None)]


async def test_a_shared_token_expires_its_lifetime_after_the_request_was_sent() -> None:
    body = success()[:-1] + b', "expires_in": 60}'
    async with world(answering(response(body))) as it:
        it.client.calls.now = iter([1_000.9]).__next__
        outcomes = await it.exchange_all(token_request(), token_request())
    assert [outcome.expires_at for outcome in outcomes if isinstance(outcome, ExchangedToken)] == [1_060, 1_060]


def after_one(*said: bytes, seconds: float = 0.0, closes: bool = True) -> Script:
    """Answer one request, say ``said`` to the next one instead, and close."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(response(success()))
        await peer.request()
        await trio.sleep(seconds)
        for piece in said:
            await peer.send(piece)
        if not closes:
            await silent(peer)

    return script


CLOSED = after_one()
SECOND = answering(response(success("second-token")))
CROSSING = response(success("of the request that crossed it"))


class TestReplacedConnection:
    """A used connection that the peer closed before it answered is replaced once."""

    @pytest.mark.parametrize(
        ("scripts", "token", "dialled"),
        [
            pytest.param([CLOSED, SECOND], "second-token", 2, id="closed after the request"),
            pytest.param([closing(response(success())), SECOND], "second-token", 2, id="closed before the request"),
            pytest.param([CLOSED, closing(b"")], None, 2, id="but only once"),
            pytest.param([after_one(b"H"), SECOND], None, 1, id="not after a byte of an answer"),
            pytest.param([after_one(response(b"", 408), closes=False), SECOND], "second-token", 2, id="a 408 alone"),
            pytest.param([after_one(response(b"", 408), CROSSING, closes=False), SECOND], "second-token", 2, id="a 408 before an answer"),
        ],
    )
    async def test_the_request_goes_out_once_more(
        self, autojump_clock: MockClock, scripts: list[Script], token: str | None, dialled: int
    ) -> None:
        async with world(*scripts) as it:
            assert await exchange(it.client, token_request("first")) == ISSUED
            await trio.sleep(RESTED)
            outcome = await exchange(it.client, token_request("second"))
        refused = transport_failure(ErrorKind.TRANSPORT_ERROR, Diagnostic.REQUEST_FAILED)
        assert outcome == (refused if token is None else ExchangedToken(Secret(token)))
        assert len(it.endpoint.dialled) == dialled
        assert len(it.observer.records) == 2

    async def test_within_the_same_deadline(self, autojump_clock: MockClock) -> None:
        async with world(after_one(seconds=0.4), silent, settings=CONTRACT) as it:
            await exchange(it.client, token_request("first"))
            await trio.sleep(RESTED)
            outcome = await exchange(it.client, token_request("second"))
        assert outcome == transport_failure(ErrorKind.TIMEOUT, Diagnostic.REQUEST_FAILED)
        assert it.observer.records[1].duration == pytest.approx(0.75)


TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACE = TraceContext(f"00-{TRACE_ID}-b7ad6b7169203331-01", "vendor=state", "key=value")
OTHER = TraceContext(f"00-{'1' * 32}-{'2' * 16}-01")


class TestTrace:
    def traced(self, trace: TraceContext = TRACE) -> TokenRequest:
        return attrs.evolve(token_request(), trace=trace)

    def headers(self, request: bytes) -> dict[str, str]:
        head, _, _ = request.decode().partition("\r\n\r\n")
        pairs = (line.partition(": ") for line in head.split("\r\n")[1:])
        return {name: value for name, _, value in pairs}

    async def test_without_tracing_the_trace_goes_on_as_it_came(self) -> None:
        seen: list[bytes] = []
        async with world(remembering(seen, response(success()))) as it:
            await exchange(it.client, self.traced())
        assert attrs.asdict(TRACE).items() <= self.headers(seen[0]).items()
        assert [(record.span, record.port) for record in it.observer.records] == [(None, 80)]

    async def test_with_tracing_each_token_call_has_its_own_span_and_propagates_it(self) -> None:
        """Also the second call of an exchange, with previous credentials."""
        seen: list[bytes] = []
        issuer = attrs.evolve(token_request().issuer, previous=Credentials("client", Secret("before")))
        async with world(remembering(seen, response(b'{"error":"invalid_client"}', 401)), tracer=TraceContexts()) as it:
            await exchange(it.client, attrs.evolve(self.traced(), issuer=issuer))
        spans = [record.span for record in it.observer.records if record.span is not None]
        assert [(span.trace_id, span.parent_id) for span in spans] == [(TRACE_ID, "b7ad6b7169203331")] * 2
        assert len({span.span_id for span in spans}) == 2
        expected = [attrs.evolve(TRACE, traceparent=f"00-{TRACE_ID}-{span.span_id}-01") for span in spans]
        assert all(attrs.asdict(trace).items() <= self.headers(head).items() for trace, head in zip(expected, seen, strict=True))

    async def test_a_shared_call_is_recorded_with_both_traces(self) -> None:
        async with world(tracer=TraceContexts()) as it:
            await it.exchange_all(self.traced(TRACE), self.traced(OTHER))
        (joined,), (record,) = it.observer.joined, it.observer.records
        assert {joined.trace, joined.leader} == {TRACE, OTHER}
        assert record.span is not None
        assert record.span.trace_id in joined.leader.traceparent


@final
@attrs.define(eq=False)
class ToldInSteps(trio.abc.Instrument):
    """``most`` is how many of ``told`` came in one step of a task."""

    told: list[int]
    most: int = 0
    _before: int = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._before = len(self.told)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.most = max(self.most, len(self.told) - self._before)


@pytest.mark.parametrize("ends", [False, True])
async def test_thousands_of_waiters_are_notified_in_order_and_in_small_steps(ends: bool, autojump_clock: MockClock) -> None:
    count, told, outcomes = 10 * TOLD_AT_ONCE, list[int](), list[TokenOutcome]()
    tickets = dict[int, Ticket]()

    def done(number: int, outcome: TokenOutcome) -> None:
        told.append(number)
        outcomes.append(outcome)
        if number == 0:  # while it is told, others leave that are to be told in this step, and later
            tickets[1].leave()
            tickets[count - 1].leave()
            autojump_clock.jump(1.0)  # the time of all is up, and their outcome is there

    async with world(answering(response(success()))) as it:
        for number in range(count):
            ticket = it.client.begin(token_request(), trio.current_time() + 0.5, functools.partial(done, number))
            assert not isinstance(ticket, ExchangedToken | ExchangeFailure)
            tickets[number] = ticket
        counted = ToldInSteps(told)
        trio.lowlevel.add_instrument(counted)
        while not told:
            await trio.lowlevel.checkpoint()
        assert len(told) < count - 2  # the rest is told by the end, or in further steps
        if not ends:
            await trio.sleep(1)
        trio.lowlevel.remove_instrument(counted)
        assert counted.most <= TOLD_AT_ONCE
    assert told == [0, *range(2, count - 1)]
    assert [outcome.cache for outcome in outcomes[:2]] == [Cache.MISS, Cache.COALESCED]
    assert all(type(outcome) is ExchangedToken for outcome in outcomes)
