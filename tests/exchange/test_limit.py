"""The exchange pipeline with a cache, a breaker and a limit: what is answered without a call, and who waits for one."""

import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final

import attrs
import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked

from exchanger.exchange.cache.memory_store import CachedToken
from exchanger.exchange.cache.token_cache import TokenCache
from exchanger.model.issuer import CachePolicy, CallLimits, Issuer
from exchanger.model.secret import Secret
from exchanger.model.token import Cache, ErrorKind, ExchangedToken, ExchangeFailure, TokenOutcome, TokenRequest
from exchanger.net.network import SYSTEM
from tests.exchange.oauth.fakes import CONTRACT, Peer, World, answering, exchange, response, silent, success, token_request, world

KEEPS = CachePolicy(max_ttl=300.0, max_entries=100)


def request(subject: str = "subject", *, cache: CachePolicy | None = KEEPS, limits: CallLimits | None = None) -> TokenRequest:
    plain = token_request(subject)
    return attrs.evolve(plain, issuer=attrs.evolve(plain.issuer, cache=cache, limits=limits or CallLimits()), namespace="team")


def lasting(seconds: int, token: str = "issued-token") -> bytes:
    return response(success(token)[:-1] + b', "expires_in": %d}' % seconds)


def use(it: World, asked: TokenRequest) -> None:
    it.client.calls.now = wall = lambda: 1_000_000 + trio.current_time()
    it.client.cache.network = attrs.evolve(SYSTEM, steady=trio.current_time, wall=wall)
    it.client.use_issuers({asked.issuer.name: asked.issuer})


async def test_a_token_is_renewed_ahead_once_and_nobody_waits_for_it(autojump_clock: MockClock) -> None:
    async with world(answering(lasting(60, "first"), lasting(60, "second"))) as it:
        use(it, request())
        await exchange(it.client, request())
        seen = set[str]()
        for _ in range(100):
            found = [it.client.begin(request(), math.inf, print) for _ in range(3)]
            for outcome in found:
                assert isinstance(outcome, ExchangedToken)
                assert outcome.cache is Cache.HIT
                seen.add(outcome.access_token.reveal())
            await trio.sleep(0.58)
        assert seen == {"first", "second"}
    assert len(it.observer.records) == 2


@pytest.mark.parametrize("kept", [None, CachedToken(ExchangedToken(Secret("of another replica"), cache=Cache.HIT))])
async def test_who_left_while_the_shared_level_was_asked_calls_nobody(
    kept: CachedToken | None, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def find_shared(_cache: TokenCache, _request: TokenRequest) -> CachedToken | None:
        await trio.sleep(0.1)
        return kept

    monkeypatch.setattr(TokenCache, "asks_shared", lambda *_: True)
    monkeypatch.setattr(TokenCache, "find_shared", find_shared)
    async with world(answering(lasting(60))) as it:
        use(it, request())
        with trio.move_on_after(0.05):
            await exchange(it.client, request("leaver"))
        with trio.fail_after(1):
            outcome = await exchange(it.client, request())
        assert outcome.cache is (Cache.MISS if kept is None else Cache.HIT)
        assert [record.kind for record in it.observer.records].count(None) == (kept is None)


SPARED = request(cache=None, limits=CallLimits(breaker=True))


async def failing(peer: Peer) -> None:
    while True:
        await peer.request()
        await peer.send(response(b"", 503, "Retry-After: 7"))


async def test_an_issuer_asks_for_a_pause(autojump_clock: MockClock) -> None:
    async with world(failing) as it:
        use(it, SPARED)
        while True:
            outcomes = await it.exchange_all(
                *(attrs.evolve(SPARED, subject_token=request(f"s{number}").subject_token) for number in range(50))
            )
            kinds = {outcome.kind for outcome in outcomes if isinstance(outcome, ExchangeFailure)}
            if kinds == {ErrorKind.BREAKER_OPEN}:
                break
        calls = len(it.observer.records)
        await trio.sleep(6.0)
        await exchange(it.client, SPARED)
        assert len(it.observer.records) == calls


async def recovering(peer: Peer) -> None:
    while True:
        await peer.request()
        await peer.send(response(b"", 503) if trio.current_time() < 5 else response(success()))


async def test_a_breaker_that_opens_and_closes_is_logged_once_each(autojump_clock: MockClock) -> None:
    async with world(recovering) as it:
        with capture_logs() as lines:
            use(it, SPARED)
            for number in range(200):
                await exchange(it.client, attrs.evolve(SPARED, subject_token=request(f"s{number}").subject_token))
                await trio.sleep(0.1)
    opened, closed = (line for line in lines if line["event"].startswith("issuer.breaker"))
    place = {"issuer": "primary", "endpoint": "issuer.example.com"}
    assert opened.items() >= {**place, "event": "issuer.breaker_opened", "log_level": "warning", "error_kind": "http_status"}.items()
    assert closed.items() >= {**place, "event": "issuer.breaker_closed", "log_level": "info"}.items()


CHANGES: Final[dict[str, dict[str, Any] | None]] = {
    "without a breaker": {"limits": CallLimits()},
    "without the profile": None,
    "another host": {"token_endpoint": "https://other.example.com/token"},
    "another port": {"token_endpoint": "https://issuer.example.com:8443/token"},
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
async def test_an_open_breaker_closes_and_says_so_when_its_profile_changes(
    changes: dict[str, Any] | None, autojump_clock: MockClock
) -> None:
    async with world(failing) as it:
        use(it, SPARED)
        for number in range(20):
            await exchange(it.client, attrs.evolve(SPARED, subject_token=request(f"s{number}").subject_token))
        assert [limits.is_open for limits in it.client.limits] == [True]
        issuers = {} if changes is None else {"primary": attrs.evolve(SPARED.issuer, **changes)}
        with capture_logs() as lines:
            for _ in range(2):
                it.client.use_issuers(issuers)
        assert not any(limits.is_open for limits in it.client.limits)
    assert [line["event"] for line in lines] == ["issuer.breaker_closed"]


async def test_when_an_issuer_fails_those_who_queue_are_told_at_once(autojump_clock: MockClock) -> None:
    both = request(cache=None, limits=CallLimits(max_in_flight=4, breaker=True))
    async with world(failing) as it:
        use(it, both)
        askers = [attrs.evolve(both, subject_token=request(f"s{number}").subject_token) for number in range(20)]
        with trio.fail_after(1):
            outcomes = await it.exchange_all(*askers)
        kinds = {outcome.kind for outcome in outcomes if isinstance(outcome, ExchangeFailure)}
        assert kinds == {ErrorKind.HTTP_STATUS, ErrorKind.BREAKER_OPEN}


def one_call_at_a_time(it: World) -> None:
    it.client.pool.limits = attrs.evolve(it.client.pool.limits, max_busy_per_host=1)


@pytest.mark.parametrize("probes", [True, False])
async def test_only_a_probe_stays_queued_when_its_caller_leaves(probes: bool, autojump_clock: MockClock) -> None:
    other = attrs.evolve(SPARED.issuer, name="other", limits=CallLimits())
    async with world(slowly) as it:
        one_call_at_a_time(it)
        it.client.use_issuers({issuer.name: issuer for issuer in (SPARED.issuer, other)})
        (limits,) = it.client.limits
        assert limits.breaker is not None
        limits.breaker.is_open = probes
        async with trio.open_nursery() as callers:
            callers.start_soon(exchange, it.client, attrs.evolve(SPARED, issuer=other))
            await wait_all_tasks_blocked()
            with trio.move_on_after(0.1):
                await exchange(it.client, SPARED)
            assert it.client.connections.waiting == probes
        await trio.sleep(0.3)
        assert not limits.is_open
    assert [record.kind for record in it.observer.records].count(None) == 1 + probes


async def test_a_renewal_keeps_its_place_when_those_who_joined_it_leave(autojump_clock: MockClock) -> None:
    async with world(slowly) as it, trio.open_nursery() as callers:
        one_call_at_a_time(it)
        use(it, request())
        callers.start_soon(exchange, it.client, request("another"))
        await wait_all_tasks_blocked()
        it.client.coalesce.renew(request())
        with trio.move_on_after(0.05):
            await exchange(it.client, request())
        assert it.client.connections.waiting == 1


async def test_nobody_queues_for_an_issuer_that_is_not_called(autojump_clock: MockClock) -> None:
    one_at_a_time = request(cache=None, limits=CallLimits(max_in_flight=1, breaker=True))
    async with world(slowly) as it, trio.open_nursery() as callers:
        use(it, one_at_a_time)
        callers.start_soon(exchange, it.client, one_at_a_time)
        await wait_all_tasks_blocked()
        (limits,) = it.client.limits
        assert limits.breaker is not None
        limits.breaker.is_open = True
        refused = it.client.begin(attrs.evolve(one_at_a_time, subject_token=request("another").subject_token), math.inf, print)
        assert isinstance(refused, ExchangeFailure)
        assert (refused.kind, limits.queued) == (ErrorKind.BREAKER_OPEN, 0)


@pytest.mark.parametrize("queued", [True, False])
async def test_only_calls_that_did_not_queue_open_the_breaker(queued: bool, autojump_clock: MockClock) -> None:
    answers = [response(success())]

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(answers.pop() if answers else response(b"", 503))

    async with world(script) as it:
        if queued:
            one_call_at_a_time(it)
        use(it, SPARED)
        requests = [attrs.evolve(request(f"s{n}", cache=None, limits=SPARED.issuer.limits), namespace=f"team-{n}") for n in range(15)]
        outcomes = await it.exchange_all(*requests)
        assert sum(isinstance(outcome, ExchangedToken) for outcome in outcomes) == 1
        (limits,) = it.client.limits
        assert limits.is_open is not queued
    assert [record.kind for record in it.observer.records] == [None] + [ErrorKind.HTTP_STATUS] * 14


LIMITED = request(cache=None, limits=CallLimits(max_in_flight=2))


def limited(subject: str, namespace: str = "team") -> TokenRequest:
    return attrs.evolve(LIMITED, subject_token=request(subject).subject_token, namespace=namespace)


@asynccontextmanager
async def calling(it: World, count: int) -> AsyncGenerator[trio.Nursery]:
    """Let so many callers ask until the end of the block, and each of them wait."""
    use(it, LIMITED)
    async with trio.open_nursery() as callers:
        for number in range(count):
            callers.start_soon(exchange, it.client, limited(f"s{number}"))
        await wait_all_tasks_blocked()
        yield callers
        callers.cancel_scope.cancel()


async def slowly(peer: Peer) -> None:
    while True:
        await peer.request()
        await trio.sleep(0.2)
        await peer.send(response(success()))


async def test_queued_callers_fail_as_overloaded_and_cancelled_callers_free_their_place(autojump_clock: MockClock) -> None:
    async with world(silent, settings=attrs.evolve(CONTRACT, response_header_timeout=0.7)) as it:
        use(it, LIMITED)
        outcomes: dict[str, TokenOutcome] = {}

        async def ask(subject: str, due: float = math.inf) -> None:
            outcomes[subject] = await exchange(it.client, limited(subject), due)

        async with trio.open_nursery() as callers:
            for number in range(2):
                callers.start_soon(ask, f"s{number}")
            await trio.sleep(0.3)
            for number in range(3):
                callers.start_soon(ask, f"q{number}")
                await wait_all_tasks_blocked()  # in this order
            callers.start_soon(ask, "hurried", trio.current_time() + 0.1)
            with trio.move_on_after(0.05):
                await ask("leaver")
            (limits,) = it.client.limits
            assert limits.queued == 4
        kinds = {subject: outcome.kind for subject, outcome in outcomes.items() if isinstance(outcome, ExchangeFailure)}
    calls = dict.fromkeys(("s0", "s1", "q0", "q1"), ErrorKind.TIMEOUT)
    assert kinds == {**calls, "q2": ErrorKind.OVERLOADED, "hurried": ErrorKind.OVERLOADED}


async def test_a_queued_call_ends_in_time_while_permits_go_to_another_namespace(autojump_clock: MockClock) -> None:
    async with world(silent, settings=attrs.evolve(CONTRACT, response_header_timeout=0.7)) as it, trio.open_nursery() as callers:
        one_at_a_time = attrs.evolve(LIMITED, issuer=attrs.evolve(LIMITED.issuer, limits=CallLimits(max_in_flight=1)))
        use(it, one_at_a_time)
        ended: dict[float, float] = {}

        async def ask(began: float, namespace: str) -> None:
            await trio.sleep(began)
            subject = request(str(began)).subject_token
            await exchange(it.client, attrs.evolve(one_at_a_time, subject_token=subject, namespace=namespace))
            ended[began] = trio.current_time()

        for began, namespace in ((0.0, "team"), (0.1, "team"), (0.2, "team"), (0.5, "other")):
            callers.start_soon(ask, began, namespace)
    assert ended == pytest.approx({0.0: 0.7, 0.1: 0.85, 0.2: 0.95, 0.5: 1.25})


async def unanswered(_host: str, _port: int) -> trio.SocketStream:
    """Drop the packets of each attempt to connect."""
    await trio.sleep_forever()
    raise AssertionError


@pytest.mark.parametrize(("began", "kind"), [(0.3, ErrorKind.OVERLOADED), (0.5, ErrorKind.TIMEOUT)])
@pytest.mark.parametrize("place", ["issuer", "host"])
async def test_a_call_whose_time_went_to_a_queue_is_overloaded(
    place: str, began: float, kind: ErrorKind, autojump_clock: MockClock
) -> None:
    limits = CallLimits(max_in_flight=1) if place == "issuer" else CallLimits()
    async with world(dial=unanswered, settings=attrs.evolve(CONTRACT, dial_timeout=5.0)) as it:
        one_call_at_a_time(it)
        use(it, request(cache=None, limits=limits))
        outcomes: dict[str, TokenOutcome] = {}

        async def ask(subject: str) -> None:
            outcomes[subject] = await exchange(it.client, request(subject, cache=None, limits=limits))

        async with trio.open_nursery() as callers:
            callers.start_soon(ask, "first")
            await trio.sleep(began)
            callers.start_soon(ask, "queued")
    first, queued = outcomes["first"], outcomes["queued"]
    assert isinstance(first, ExchangeFailure)
    assert isinstance(queued, ExchangeFailure)
    assert (first.kind, first.detail) == (ErrorKind.TIMEOUT, "timed out while connecting")
    detail = "maxInFlight reached for this issuer" if place == "issuer" else "too many calls to the token endpoint's host are in progress"
    assert (queued.kind, queued.detail) == (kind, detail if kind is ErrorKind.OVERLOADED else first.detail)
    assert [record.kind for record in it.observer.records] == [ErrorKind.TIMEOUT, kind]


async def test_a_call_that_is_given_up_in_a_queue_is_overloaded(autojump_clock: MockClock) -> None:
    limits = CallLimits(max_in_flight=1)
    async with world(dial=unanswered, settings=attrs.evolve(CONTRACT, dial_timeout=5.0)) as it, trio.open_nursery() as callers:
        use(it, request(cache=None, limits=limits))
        callers.start_soon(exchange, it.client, request("first", cache=None, limits=limits))
        await trio.sleep(0.3)
        due = trio.current_time() + 0.6
        outcome = await exchange(it.client, request("queued", cache=None, limits=limits), due)
        assert isinstance(outcome, ExchangeFailure)
        assert (outcome.kind, trio.current_time()) == (ErrorKind.OVERLOADED, due)


async def test_an_endpoint_that_accepts_no_connection_opens_the_breaker_although_calls_queue(autojump_clock: MockClock) -> None:
    both = CallLimits(max_in_flight=1, breaker=True)
    async with world(dial=unanswered, settings=attrs.evolve(CONTRACT, dial_timeout=5.0)) as it, trio.open_nursery() as callers:
        use(it, request(cache=None, limits=both))
        for number in range(400):
            callers.start_soon(exchange, it.client, request(f"s{number}", cache=None, limits=both))
            await trio.sleep(0.05)
        (limits,) = it.client.limits
        assert limits.is_open
        callers.cancel_scope.cancel()


async def test_a_wider_limit_lets_those_go_that_wait(autojump_clock: MockClock) -> None:
    async with world(silent) as it, calling(it, 5):
        wider: Issuer = attrs.evolve(LIMITED.issuer, limits=CallLimits(max_in_flight=4))
        it.client.use_issuers({wider.name: wider})
        assert it.client.in_flight == {"issuer.example.com": 4}


async def test_calls_to_the_previous_endpoint_count_when_the_endpoint_changes(autojump_clock: MockClock) -> None:
    async with world(silent) as it, calling(it, 3) as callers:
        moved = attrs.evolve(LIMITED.issuer, token_endpoint="https://other.example.com/token")
        it.client.use_issuers({moved.name: moved})
        callers.start_soon(exchange, it.client, attrs.evolve(limited("new"), issuer=moved))
        await wait_all_tasks_blocked()
        (limits,) = it.client.limits
        assert (it.client.in_flight, limits.queued) == ({"issuer.example.com": 2}, 2)


async def test_a_request_without_time_is_refused_at_once() -> None:
    async with world(silent) as it:
        outcome = await exchange(it.client, request(), trio.current_time() - 0.001)
        assert isinstance(outcome, ExchangeFailure)
        assert (outcome.kind, it.client.in_flight) == (ErrorKind.TIMEOUT, {})
