"""Tokens of actors that are this client: who asks for them, when, with which credentials, and what an exchange does without one."""

import json
import math
from collections.abc import Callable, Mapping
from typing import Final, final
from urllib.parse import parse_qsl

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from exchanger.model.errors import Diagnostic
from exchanger.model.issuer import ActorCredentials, CallLimits, Credentials, Grant
from exchanger.model.secret import Secret
from exchanger.model.token import ACCESS_TOKEN_TYPE, ErrorKind, ExchangedToken, ExchangeFailure, TokenOutcome, TokenRequest
from tests.exchange.chains import refusing
from tests.exchange.oauth.fakes import CONTRACT, ISSUED, Peer, exchange, response, success, token_request, world
from tests.exchange.oauth.published import OPENID, Site, discovered, metadata
from tests.reachable import holders

ACTOR: Final = ActorCredentials("act")
GRANT: Final = Grant(actor=ACTOR)
NEW: Final = Credentials("client", Secret("new"), 1)
OLD: Final = Credentials("before", Secret("old"), 0)


def acting(subject: str = "subject", **more: object) -> TokenRequest:
    plain = token_request(subject)
    return attrs.evolve(plain, issuer=attrs.evolve(plain.issuer, grant=GRANT, **more))  # type: ignore[arg-type]  # fields of an issuer


def issued(**more: object) -> bytes:
    return response(json.dumps({"access_token": "actor-token", "token_type": "Bearer", **more}).encode())


def answering_actors(actor: Callable[[Mapping[str, str]], bytes], exchanges: bytes | None = None) -> Site:
    """Answer client credentials by ``actor``, and exchanges with a token."""

    def token(fields: Mapping[str, str]) -> bytes:
        return actor(fields) if fields["grant_type"] == "client_credentials" else exchanges or response(success())

    return Site(token=token)


def asked(site: Site) -> list[dict[str, str]]:
    return [fields for _, fields in site.posts if fields["grant_type"] == "client_credentials"]


def exchanged(site: Site) -> list[dict[str, str]]:
    return [fields for _, fields in site.posts if fields["grant_type"] != "client_credentials"]


def no_token(outcome: TokenOutcome) -> bool:
    return isinstance(outcome, ExchangeFailure) and (outcome.diagnostic, outcome.kind) == (
        Diagnostic.NO_ACTOR_TOKEN,
        ErrorKind.NO_ACTOR_TOKEN,
    )


async def test_one_request_serves_all_exchanges(autojump_clock: MockClock) -> None:
    site = answering_actors(lambda _: issued())
    async with world(site.serve) as it:
        outcomes = await it.exchange_all(*(acting(f"subject-{number}") for number in range(5)))
        assert outcomes == [ISSUED] * 5
        assert asked(site) == [
            {"grant_type": "client_credentials", "scope": "act", "client_id": "client", "client_secret": "client-secret"}
        ]
        assert {(fields["actor_token"], fields["actor_token_type"]) for fields in exchanged(site)} == {("actor-token", ACCESS_TOKEN_TYPE)}
        assert await exchange(it.client, acting("later")) == ISSUED
        assert len(asked(site)) == 1
        assert len(it.observer.records) == 6  # exchanges alone are records


@pytest.mark.parametrize(
    ("more", "kept_for"),
    [({"expires_in": 300}, 270), ({"expires_in": 100}, 80), ({}, 48), ({"expires_in": 0}, 0), ({"expires_in": 10**9}, 3600)],
)
async def test_the_actor_s_token_is_cached_for_at_most_an_hour(more: dict[str, object], kept_for: int, autojump_clock: MockClock) -> None:
    site = answering_actors(lambda _: issued(**more))
    async with world(site.serve) as it:
        await exchange(it.client, acting("first"))
        await trio.sleep(max(kept_for - 1, 0))
        await exchange(it.client, acting("second"))
        assert len(asked(site)) == (1 if kept_for else 2)
        await trio.sleep(2)
        assert await exchange(it.client, acting("third")) == ISSUED
        assert len(asked(site)) == (2 if kept_for else 3)


@pytest.mark.parametrize(
    "answer",
    [
        refusing("invalid_client", 401),
        refusing("unauthorized_client"),
        response(b"", 500),
        response(b"not JSON"),
        response(json.dumps({"access_token": "a", "token_type": "mac"}).encode()),
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\n",
    ],
)
async def test_without_a_token_nothing_is_exchanged_and_the_issuer_has_peace(answer: bytes, autojump_clock: MockClock) -> None:
    site = answering_actors(lambda _: answer)
    async with world(site.serve, settings=CONTRACT) as it:
        for number in range(20):
            assert no_token(await exchange(it.client, acting(f"subject-{number}")))
        assert len(asked(site)) == 1
        await trio.sleep(1.1)
        assert no_token(await exchange(it.client, acting()))
        assert len(asked(site)) == 2
        assert exchanged(site) == []
        assert it.observer.records == []


async def test_an_actor_token_received_after_its_caller_left_serves_the_next(autojump_clock: MockClock) -> None:
    endpoint = Counting()
    async with world(endpoint.serve) as it:
        with trio.move_on_after(endpoint.pause / 2):
            await exchange(it.client, acting("leaves"))
        await trio.sleep(endpoint.pause)
        assert await exchange(it.client, acting("next")) == ISSUED
    assert (endpoint.given, endpoint.exchanges) == (1, [("next", "1")])


async def test_an_exchange_refused_at_once_fails_at_once_beside_an_actor_token(autojump_clock: MockClock) -> None:
    site, kinds = answering_actors(lambda _: issued(expires_in=300), response(b"", 503)), list[ErrorKind]()
    issuer = acting(limits=CallLimits(4, breaker=True)).issuer
    async with world(site.serve, issuers=[issuer]) as it:
        for number in range(60):
            outcome = await exchange(it.client, attrs.evolve(acting(f"subject-{number}"), issuer=issuer))
            assert isinstance(outcome, ExchangeFailure)
            kinds.append(outcome.kind)
            await trio.sleep(0.1)
        assert kinds.count(ErrorKind.BREAKER_OPEN) == 60 - len(exchanged(site)) > 0
        assert len(asked(site)) == 1


async def test_an_endpoint_that_switches_between_two_requests_gives_the_token(autojump_clock: MockClock) -> None:
    accepted, switches = "old", False

    def answer(fields: Mapping[str, str]) -> bytes:
        nonlocal accepted
        if fields["client_secret"] == accepted:
            return issued() if fields["grant_type"] == "client_credentials" else response(success())
        if switches:
            accepted = "new"
        return refusing("invalid_client", 401)

    site = Site(token=answer)
    async with world(site.serve) as it:
        assert await exchange(it.client, acting(credentials=NEW, previous=OLD)) == ISSUED
        assert [[fields["client_secret"] for fields in sent] for sent in (asked(site), exchanged(site))] == [["new", "old"], ["old"]]
        await trio.sleep(3600)
        before, switches = len(asked(site)), True
        assert await exchange(it.client, acting("later", credentials=NEW, previous=OLD)) == ISSUED
    assert [fields["client_secret"] for fields in asked(site)[before:]] == ["new", "old", "new"]


@pytest.mark.parametrize("answer", [refusing("invalid_scope"), response(b"", 503)])
async def test_previous_credentials_are_for_refused_clients_alone(answer: bytes, autojump_clock: MockClock) -> None:
    site = answering_actors(lambda _: answer)
    async with world(site.serve) as it:
        assert no_token(await exchange(it.client, acting(credentials=NEW, previous=OLD)))
    assert [fields["client_secret"] for fields in asked(site)] == ["new"]


async def test_the_first_failure_is_told_where_the_previous_client_gets_no_token(autojump_clock: MockClock) -> None:
    def knows_new(fields: Mapping[str, str]) -> bytes:
        return issued() if fields["client_secret"] == "new" else refusing("unauthorized_client")

    site = answering_actors(knows_new, refusing("invalid_client", 401))
    async with world(site.serve) as it:
        outcome = await exchange(it.client, acting(credentials=NEW, previous=OLD))
        assert isinstance(outcome, ExchangeFailure)
        assert (outcome.diagnostic, outcome.oauth_error) == (Diagnostic.OAUTH_ERROR, "invalid_client")
    assert [fields["client_secret"] for fields in exchanged(site)] == ["new"]


async def test_where_the_endpoint_is_unknown_that_is_said(autojump_clock: MockClock) -> None:
    site = answering_actors(lambda _: issued())
    issuer = attrs.evolve(discovered(), grant=GRANT)
    async with world(site.serve) as it:
        it.client.use_issuers({"primary": issuer})
        outcome = await exchange(it.client, attrs.evolve(acting(), issuer=issuer))
        assert isinstance(outcome, ExchangeFailure)
        assert outcome.diagnostic is Diagnostic.METADATA_UNKNOWN
        site.documents[OPENID] = metadata()
        await trio.sleep(1.0)  # no pause for the actor's token begins before its endpoint is known
        assert await exchange(it.client, attrs.evolve(acting(), issuer=issuer)) == ISSUED


async def test_an_issuer_that_is_replaced_meanwhile_still_serves_who_waits(autojump_clock: MockClock) -> None:
    endpoint, request = Counting(), acting()
    async with world(endpoint.serve) as it:
        it.client.use_issuers({"primary": request.issuer})
        outcomes: list[TokenOutcome] = []

        async def one() -> None:
            outcomes.append(await exchange(it.client, request))

        async with trio.open_nursery() as callers:
            callers.start_soon(one)
            await trio.sleep(endpoint.pause / 2)
            it.client.use_issuers({"primary": attrs.evolve(request.issuer, credentials=NEW)})
        await one()
    assert outcomes == [ISSUED] * 2
    assert endpoint.given == 2  # nothing is cached for an issuer that is gone


async def test_rotations_leave_no_token_and_no_secret_behind(autojump_clock: MockClock) -> None:
    site = answering_actors(lambda fields: issued(access_token=f"{fields['client_secret']}-token", expires_in=10**9))
    async with world(site.serve) as it:
        for number in range(10):
            request = acting(credentials=Credentials("client", Secret(f"held-{number}"), number))
            it.client.use_issuers({"primary": request.issuer})
            assert await exchange(it.client, request) == ISSUED
        assert [bool(holders(f"held-{number}", it.client)) for number in (0, 8, 9)] == [False, False, True]
        it.client.use_issuers({})
        assert holders("held-9", it.client) == []


async def test_the_end_of_the_service_lands_who_waits(autojump_clock: MockClock) -> None:
    site = answering_actors(lambda _: b"")
    landed: list[TokenOutcome] = []
    async with world(site.serve) as it:
        for number in range(3):
            it.client.begin(acting(str(number)), trio.current_time() + 20, landed.append)
        await wait_all_tasks_blocked()
        assert (landed, len(asked(site))) == ([], 1)
    assert [isinstance(outcome, ExchangeFailure) and outcome.kind for outcome in landed] == [ErrorKind.CONTEXT_CANCELED] * 3
    assert exchanged(site) == []


async def test_no_exchange_without_the_actor_even_at_the_end(autojump_clock: MockClock) -> None:
    """Its token would say that nobody acts for the subject."""
    site = answering_actors(lambda _: issued())
    async with world(site.serve) as it:
        it.client.act.nursery = None
        outcome = it.client.begin(acting(), math.inf, lambda _: None)
        await wait_all_tasks_blocked()
        assert isinstance(outcome, ExchangeFailure)
        assert site.posts == []


# Tokens that are revoked before their end.


@final
@attrs.define(eq=False)
class Revoking:
    """Gives the actor a token with the next number, and refuses exchanges with those below ``valid``, as ``refusal``."""

    refusal: bytes = refusing("invalid_request")
    valid: int = 1
    given: int = 0
    gives: bool = True

    def __call__(self, fields: Mapping[str, str]) -> bytes:
        if fields["grant_type"] == "client_credentials":
            self.given += 1
            token = {"access_token": str(self.given), "token_type": "Bearer", "expires_in": 10**9}
            return response(json.dumps(token).encode()) if self.gives else response(b"", 503)
        return self.refusal if fields["subject_token"] == "bad" or int(fields["actor_token"]) < self.valid else response(success())


@pytest.mark.parametrize(
    "refusal",
    [
        *(refusing(code, at) for code in ("invalid_request", "invalid_grant", "access_denied", "actor_revoked") for at in (400, 401)),
        *(response(b"", 400), response(b"", 401)),
        refusing("forbidden", 403),
    ],
)
async def test_a_revoked_token_is_replaced_and_the_exchange_made_once_more(refusal: bytes, autojump_clock: MockClock) -> None:
    endpoint = Revoking(refusal)
    site = Site(token=endpoint)
    async with world(site.serve) as it:
        assert await exchange(it.client, acting("first")) == ISSUED
        await trio.sleep(10)
        endpoint.valid = 2
        assert await it.exchange_all(*(acting(f"subject-{number}") for number in range(5))) == [ISSUED] * 5
        assert await exchange(it.client, acting("later")) == ISSUED
        assert len(asked(site)) == 2
        assert [fields["actor_token"] for fields in exchanged(site)].count("1") == 6


@pytest.mark.parametrize(
    "refusal",
    [
        *(refusing(code) for code in ("invalid_target", "invalid_scope", "unsupported_grant_type", "unauthorized_client")),
        refusing("insufficient_scope", 403),
        refusing("invalid_client", 401),
        response(b"", 500),
        response(b"", 429),
    ],
)
async def test_refusals_of_something_else_replace_no_token(refusal: bytes, autojump_clock: MockClock) -> None:
    site = Site(token=Revoking(refusal, valid=10**9))
    async with world(site.serve) as it:
        await exchange(it.client, acting("first"))
        await trio.sleep(10)
        assert isinstance(await exchange(it.client, acting("second")), ExchangeFailure)
        assert (len(asked(site)), len(exchanged(site))) == (1, 2)


async def test_refusals_that_do_not_end_ask_once_a_second_and_retry_once(autojump_clock: MockClock) -> None:
    site = Site(token=Revoking(valid=10**9))
    async with world(site.serve) as it:
        for number in range(100):
            outcome = await exchange(it.client, acting(str(number)))
            assert isinstance(outcome, ExchangeFailure)
            assert outcome.oauth_error == "invalid_request"
            await trio.sleep(0.1)
        assert len(asked(site)) <= 12
        assert len(exchanged(site)) <= 100 + len(asked(site))


async def test_bad_tokens_of_callers_take_the_actors_from_nobody(autojump_clock: MockClock) -> None:
    """While the issuer gives no other token, the one at hand stays in use: that it was refused may be the caller's fault."""
    endpoint = Revoking()
    site = Site(token=endpoint)
    async with world(site.serve) as it:
        assert await exchange(it.client, acting("first")) == ISSUED
        endpoint.gives = False
        for number in range(5):
            await trio.sleep(2)
            outcome = await exchange(it.client, acting("bad"))
            assert isinstance(outcome, ExchangeFailure)
            assert outcome.oauth_error == "invalid_request"
            assert await exchange(it.client, acting(f"good-{number}")) == ISSUED


async def test_an_issuer_that_gives_the_same_token_again_gets_no_second_exchange(autojump_clock: MockClock) -> None:
    site = answering_actors(lambda _: issued(expires_in=10**9), refusing("invalid_request"))
    async with world(site.serve) as it:
        await exchange(it.client, acting("first"))
        assert (len(asked(site)), len(exchanged(site))) == (2, 1)


# Places, while another token for the actor is asked for.


@final
@attrs.define(eq=False)
class Counting:
    """Answers exchanges after ``delay``, and the actor after ``pause``; refuses an exchange whose actor's token is below ``valid``.

    ``most`` is how many exchanges it had to answer at a time.
    """

    delay: float = 0.1
    pause: float = 2.0
    valid: int = 1
    given: int = 0
    under_way: int = 0
    most: int = 0
    exchanges: list[tuple[str, str]] = attrs.field(factory=list)

    async def serve(self, peer: Peer) -> None:
        while True:
            _, body = await peer.request()
            fields = dict(parse_qsl(body.decode()))
            if fields["grant_type"] == "client_credentials":
                await trio.sleep(self.pause)
                self.given += 1
                await peer.send(response(json.dumps({"access_token": str(self.given), "token_type": "Bearer"}).encode()))
                continue
            self.exchanges.append((fields["subject_token"], fields["actor_token"]))
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            await trio.sleep(self.delay)
            self.under_way -= 1
            refused = fields["subject_token"] == "bad" or int(fields["actor_token"]) < self.valid
            await peer.send(refusing("invalid_request") if refused else response(success()))


async def test_a_refused_exchange_holds_no_permit_while_it_waits(autojump_clock: MockClock) -> None:
    endpoint = Counting()
    request = acting(limits=CallLimits(2))
    async with world(endpoint.serve) as it:
        it.client.use_issuers({"primary": request.issuer})
        assert await exchange(it.client, request) == ISSUED
        await trio.sleep(2.0)
        outcomes = list[tuple[str, float]]()

        async def ask(subject: str) -> None:
            outcome = await exchange(it.client, attrs.evolve(request, subject_token=Secret(subject)))
            outcomes.append((type(outcome).__name__, round(trio.current_time() - began, 1)))

        began = trio.current_time()
        async with trio.open_nursery() as callers:
            callers.start_soon(ask, "bad")
            await trio.sleep(0.5)
            callers.start_soon(ask, "good")
        # The good one is served with the token that stays in use, while the bad one waits for another.
        assert outcomes == [("ExchangedToken", 0.6), ("ExchangeFailure", 2.2)]
        assert endpoint.exchanges[1:] == [("bad", "1"), ("good", "1"), ("bad", "2")]


@given(
    st.integers(1, 3),
    st.booleans(),
    st.lists(
        st.tuples(
            st.sampled_from([0.0, 0.05, 0.3, 1.2]),  # until the next one comes
            st.sampled_from(["good", "good", "bad", "revoke"]),
            st.integers(0, 2),  # the namespace
            st.sampled_from([math.inf, math.inf, 0.25, 1.5]),  # its patience
        ),
        max_size=30,
    ),
)
def test_no_more_calls_than_places_and_each_exchange_ends_once(
    places: int, breaker: bool, arrivals: list[tuple[float, str, int, float]]
) -> None:
    endpoint = Counting()
    ends = list[list[TokenOutcome]]()
    request = acting(limits=CallLimits(places, breaker=breaker))

    async def run() -> None:
        async with world(endpoint.serve) as it:
            it.client.use_issuers({"primary": request.issuer})
            for number, (pause, kind, namespace, patience) in enumerate(arrivals):
                if kind == "revoke":
                    endpoint.valid = endpoint.given + 1
                subject = "bad" if kind == "bad" else str(number)
                asks = attrs.evolve(request, subject_token=Secret(subject), namespace=f"team-{namespace}")
                landed = list[TokenOutcome]()
                ends.append(landed)
                found = it.client.begin(asks, trio.current_time() + patience, landed.append)
                if isinstance(found, ExchangedToken | ExchangeFailure):
                    landed.append(found)
                await trio.sleep(pause)
            await trio.sleep(60)
            (limits,) = it.client.limits
            assert limits.permits is not None
            assert (limits.permits.in_flight, limits.queued) == (0, 0)
            assert it.client.exchanges.under_way == 0

    trio.run(run, clock=MockClock(autojump_threshold=0))
    assert [len(landed) for landed in ends] == [1] * len(arrivals)
    assert endpoint.most <= places
