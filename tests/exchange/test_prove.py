"""Judging what was issued: once for each call, before it is kept or handed out, for all who wait for it, and by keys that may come late."""

import json
from collections.abc import Mapping
from typing import Any, Final

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from exchanger.authz.decision.outcome import Allow, Deny
from exchanger.exchange.jwks_cache import UNKNOWN_KEY_S
from exchanger.exchange.prove import CheckedExchange
from exchanger.model.entry import TokenTarget
from exchanger.model.issuer import ActorCredentials, ActorRule, CachePolicy, ErrorStyle, Grant, IssuedTokenRules, Issuer
from exchanger.model.token import ACCESS_TOKEN_TYPE, Cache, ExchangedToken, ExchangeFailure, TokenOutcome, TokenRequest
from exchanger.net.network import SYSTEM
from exchanger.net.timers import NEVER
from exchanger.operations.telemetry.decision_log import decision_line
from tests.exchange.chains import code_of
from tests.exchange.examples import answer_to, published
from tests.exchange.oauth.fakes import World, exchange, response, token_request, world
from tests.exchange.oauth.published import ISSUER, Site
from tests.formats.jwt.issuer import NOW, STRANGER, claims, raw, token
from tests.operations.telemetry.records import record

KEYS: Final = "/keys"
RULES: Final = IssuedTokenRules(ISSUER, keys_of=ISSUER)
SIGNED: Final = attrs.evolve(RULES, signature=True, jwks_uri=f"{ISSUER}{KEYS}")
HONEST: Final = token(iss=ISSUER, aud="orders", exp=NOW * 2)
FOREIGN: Final = token(iss=ISSUER, aud="payments", sub="canary", exp=NOW * 2)


def profile(rules: IssuedTokenRules | None = RULES, **more: Any) -> Issuer:
    return attrs.evolve(token_request().issuer, issued=rules, **more)


def asking(issuer: Issuer, subject: str = "subject") -> TokenRequest:
    return attrs.evolve(token_request(subject), issuer=issuer, target=TokenTarget("primary", audiences=("orders",)))


def issuing(*tokens: str, **more: object) -> Site:
    """Issue these, the last one again and again."""
    left = list(tokens)

    def issue(_fields: Mapping[str, str]) -> bytes:
        text = left.pop(0) if len(left) > 1 else left[0]
        members = {"access_token": text, "token_type": "Bearer", "issued_token_type": ACCESS_TOKEN_TYPE, "expires_in": 300, **more}
        return response(json.dumps(members).encode())

    return Site(token=issue)


def use(it: World, issuer: Issuer) -> None:
    it.client.use_issuers({issuer.name: issuer})


def for_orders(alg: str = "ES256", **changed: object) -> str:
    return raw({"alg": alg}, claims(iss=ISSUER, aud="orders", exp=NOW * 2) | changed)


@pytest.mark.parametrize(
    ("issued", "code"),
    [
        (for_orders(exp=NOW), "TXE-3008"),
        (for_orders(nbf=NOW * 2), "TXE-3008"),
        (for_orders(cnf={"jkt": "a"}), "TXE-3006"),
        (for_orders(act={"sub": "mallory"}), "TXE-3006"),
        (for_orders("none"), "TXE-3008"),
        (for_orders(), ""),
    ],
    ids=["expired", "not yet valid", "bound to a key", "another actor", "not signed", "honest"],
)
async def test_a_token_that_upstreams_must_reject_is_neither_cached_nor_returned(issued: str, code: str, autojump_clock: MockClock) -> None:
    issuer = profile(cache=CachePolicy(60.0, 10))
    async with world(issuing(issued).serve) as it:
        use(it, issuer)
        assert code_of(await exchange(it.client, asking(issuer))) == code
        assert it.client.cache.entries == (code == "")


@pytest.mark.parametrize("rule", [None, *ActorRule])
async def test_the_issued_actor_is_compared_with_the_services_own_actor_token(rule: ActorRule | None, autojump_clock: MockClock) -> None:
    """The second exchange has the actor's token at hand. The token that is kept does not keep it."""
    acting = token(sub="service-account-7", exp=NOW * 2)
    left = [{"sub": "service-account-7"}, {"sub": "mallory"}]
    codes = ["", "TXE-3006"] if rule is ActorRule.SAME else ["TXE-3006"] * 2 if rule is ActorRule.NONE else [""] * 2

    def answer(fields: Mapping[str, str]) -> bytes:
        own = fields["grant_type"] == "client_credentials"
        text = acting if own else for_orders(act=left.pop(0))
        members = {"access_token": text, "token_type": "Bearer", "issued_token_type": ACCESS_TOKEN_TYPE, "expires_in": 300}
        return response(json.dumps(members).encode())

    issuer = profile(attrs.evolve(RULES, actor=rule), grant=Grant(actor=ActorCredentials("act")), cache=CachePolicy(60.0, 10))
    async with world(Site(token=answer).serve) as it:
        use(it, issuer)
        for number, code in enumerate(codes):
            outcome = await exchange(it.client, asking(issuer, f"subject-{number}"))
            assert code_of(outcome) == code
            assert not isinstance(outcome, ExchangedToken) or outcome.actor_token is None


async def test_a_renewal_that_fails_its_proof_leaves_the_cached_token(autojump_clock: MockClock) -> None:
    issuer = profile(cache=CachePolicy(60.0, 10))
    site = issuing(HONEST, FOREIGN)
    async with world(site.serve) as it:
        it.client.cache.network = attrs.evolve(SYSTEM, steady=trio.current_time, wall=trio.current_time)
        use(it, issuer)
        await exchange(it.client, asking(issuer))
        await trio.sleep(54)
        hit = await exchange(it.client, asking(issuer))
        assert isinstance(hit, ExchangedToken)
        assert hit.cache is Cache.HIT
        await wait_all_tasks_blocked()
        assert len(site.posts) == 2
        kept = await exchange(it.client, asking(issuer))
        assert isinstance(kept, ExchangedToken)
        assert (kept.cache, kept.access_token.reveal()) == (Cache.HIT, HONEST)
        await trio.sleep(10)
        assert code_of(await exchange(it.client, asking(issuer))) == "TXE-3006"


@pytest.mark.parametrize("style", ErrorStyle)
async def test_what_callers_and_operators_learn(style: ErrorStyle, autojump_clock: MockClock) -> None:
    request = asking(profile(errors=style))
    site = issuing(FOREIGN)
    async with world(site.serve) as it:
        failure, *_ = await it.exchange_all(*[request] * 3)
        assert [(one.kind and one.kind.value, one.http_status) for one in it.observer.records] == [(None, 200), ("issued_for_others", 200)]
    denied = answer_to(request, failure)
    assert isinstance(denied, Deny)
    assert denied.status == (502 if style is ErrorStyle.STRICT else 500)
    assert "TXE-3006" in denied.body
    line = decision_line(record(denied), "now")
    assert {name: value for name, value in line.items() if name in {"claim", "detail", "code"} or "ed_" in name} == {
        "code": "TXE-3006",
        "claim": "aud",
        "requested_iss": ISSUER,
        "requested_aud": '["orders"]',
        "requested_scope": "",
        "issued_iss": ISSUER,
        "issued_aud": '["payments"]',
        "issued_scope": "",
        "detail": "the issued token is for an audience that was not requested",
    }
    assert "canary" not in json.dumps(line)
    assert isinstance(answer_to(request, ExchangedToken(request.subject_token)), Allow)


async def test_a_signature_is_verified_by_the_keys_of_the_issuer(autojump_clock: MockClock) -> None:
    forged = raw({"alg": "RS256", "kid": "rsa"}, claims(iss=ISSUER, aud="orders"), STRANGER)
    unsigned = raw({"alg": "none"}, claims(iss=ISSUER, aud="orders"))
    site = issuing(HONEST, forged, unsigned, FOREIGN, HONEST)
    site.documents[KEYS] = published("p256", "rsa")
    async with world(site.serve) as it:
        use(it, profile(SIGNED))
        await wait_all_tasks_blocked()
        for expected in ("", "TXE-3008", "TXE-3008", "TXE-3006", ""):
            assert code_of(await exchange(it.client, asking(profile(SIGNED)))) == expected
        assert site.gets == [KEYS]


async def test_keys_are_those_of_the_metadata_by_default(autojump_clock: MockClock) -> None:
    rules = attrs.evolve(SIGNED, jwks_uri="")
    site = issuing(HONEST)
    site.documents["/.well-known/openid-configuration"] = response(json.dumps({"issuer": ISSUER, "jwks_uri": f"{ISSUER}{KEYS}"}).encode())
    site.documents[KEYS] = published("p256")
    async with world(site.serve) as it:
        use(it, profile(rules))
        assert code_of(await exchange(it.client, asking(profile(rules)))) == ""


async def test_a_token_waits_for_its_keys_and_not_for_ever(autojump_clock: MockClock) -> None:
    issuer = profile(SIGNED)
    site = issuing(HONEST)
    site.documents[KEYS] = b""  # no answer
    async with world(site.serve) as it:
        use(it, issuer)
        outcomes = await it.exchange_all(asking(issuer), asking(issuer))
        assert [code_of(outcome) for outcome in outcomes] == ["TXE-3008"] * 2
        assert isinstance(outcomes[0], ExchangeFailure)
        assert outcomes[0].detail == "the keys of the issuer are not available"
        site.documents[KEYS] = published("p256")
        await trio.sleep(UNKNOWN_KEY_S)
        assert code_of(await exchange(it.client, asking(issuer))) == ""


async def test_an_abandoned_token_still_waits_for_its_verification_keys(autojump_clock: MockClock) -> None:
    request = asking(profile(SIGNED))
    site = issuing(HONEST)
    site.documents[KEYS] = published("rsa")
    outcomes: list[TokenOutcome] = []
    async with world(site.serve) as it:
        use(it, request.issuer)
        await trio.sleep(UNKNOWN_KEY_S)
        site.documents[KEYS] = published("p256")
        pending = it.client.prove.begin(request, trio.current_time() + 5, outcomes.append)
        assert isinstance(pending, CheckedExchange)
        while pending.due == NEVER:  # until its token has arrived
            await trio.lowlevel.checkpoint()
        pending.leave()
        assert outcomes == []
        await wait_all_tasks_blocked()
        assert [code_of(outcome) for outcome in outcomes] == [""]


async def test_the_end_of_the_service_ends_what_waits_for_keys(autojump_clock: MockClock) -> None:
    issuer = profile(SIGNED)
    site = issuing(HONEST)
    site.documents[KEYS] = b""
    outcomes: list[TokenOutcome] = []
    async with world(site.serve) as it:
        use(it, issuer)
        assert not isinstance(it.client.begin(asking(issuer), trio.current_time() + 1, outcomes.append), ExchangedToken | ExchangeFailure)
        await trio.sleep(0.5)
        assert outcomes == []
    assert len(outcomes) == 1
    assert isinstance(outcomes[0], ExchangeFailure)
