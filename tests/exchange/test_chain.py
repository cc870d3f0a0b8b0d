"""Two chained issuers: what each is sent, what an assertion must be, who failed, what is kept, and that both legs share one time."""

import json
from collections.abc import Mapping
from itertools import count
from typing import Any, Final

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from exchanger.authz.decision.outcome import Deny
from exchanger.exchange.cache.token_cache import TokenCache
from exchanger.exchange.chain import Chain
from exchanger.exchange.limit import BREAKER_OPEN
from exchanger.exchange.oauth.token_request import EncodedRequest, encode_request
from exchanger.exchange.stage import Done
from exchanger.model.issuer import (
    ID_JAG,
    ID_TOKEN,
    AssertionSource,
    CachePolicy,
    CallLimits,
    Credentials,
    ErrorStyle,
    IntrospectionRules,
    IssuedTokenRules,
    SubjectRules,
)
from exchanger.model.secret import Secret
from exchanger.model.token import ACCESS_TOKEN_TYPE, Cache, ExchangedToken, ExchangeFailure, TokenOutcome, TokenRequest
from tests.exchange.chains import (
    AUDIENCE,
    BEARER,
    CLIENT,
    Issuers,
    always,
    asking,
    asserting,
    chained,
    code_of,
    id_jag,
    idp,
    refusing,
    reusing,
    use,
)
from tests.exchange.examples import answer_to
from tests.exchange.oauth.fakes import CONTRACT, GRANT, RESTED, Peer, exchange, response, success, world
from tests.exchange.oauth.published import ENDS
from tests.formats.jwt.issuer import NOW, token
from tests.operations.telemetry.records import record

JWT_TYPE: Final = "urn:ietf:params:oauth:token-type:jwt"


def leg_of(outcome: TokenOutcome) -> tuple[str, bool]:
    assert outcome.first_leg is not None
    return outcome.first_leg.issuer, outcome.first_leg.failed


async def test_each_issuer_gets_what_is_its_own_and_nothing_else(autojump_clock: MockClock) -> None:
    issuers = Issuers()
    async with world(issuers.site.serve) as it:
        use(it, chained())
        outcome = await exchange(it.client, asking())
    assert isinstance(outcome, ExchangedToken)
    assert outcome.access_token.reveal() == "issued-token"
    assert issuers.asked("/idp") == [
        {
            "grant_type": GRANT,
            "subject_token": "id-token",
            "subject_token_type": ID_TOKEN,
            "requested_token_type": ID_JAG,
            "scope": "read",
            "resource": "https://api.chat.example",
            "audience": AUDIENCE,
            "client_id": "gateway",
            "client_secret": "secret-of-idp",
            "tenant": "blue",
        }
    ]
    assert issuers.asked("/chat") == [
        {
            "grant_type": BEARER,
            "assertion": issuers.assertions[0],
            "scope": "read",
            "client_id": CLIENT,
            "client_secret": "secret-of-chat",
            "region": "eu",
        }
    ]
    assert [(one.endpoint_host, one.leg) for one in it.observer.records] == [("idp.example.com", "idp"), ("chat.example.com", "")]
    assert leg_of(outcome) == ("idp", False)


async def test_audiences_of_a_policy_reach_nobody(autojump_clock: MockClock) -> None:
    issuers = Issuers()
    async with world(issuers.site.serve) as it:
        outcome = await exchange(it.client, asking(scope="read", audiences=("orders",)))
    assert code_of(outcome) == "TXE-1002"
    assert issuers.counts == (0, 0)


def test_without_an_assertion_nothing_is_sent_to_the_second_issuer() -> None:
    assert code_of_encoded(encode_request(asking())) == "TXE-1002"
    assert isinstance(encode_request(attrs.evolve(asking(), assertion=Secret("a"))), EncodedRequest)


def code_of_encoded(found: EncodedRequest | ExchangeFailure) -> str:
    return found.diagnostic.value if isinstance(found, ExchangeFailure) else ""


# What an assertion must be

WRONG: Final[dict[tuple[str, str], tuple[object, ...]]] = {
    ("TXE-3006", "aud"): ("https://other.example", [AUDIENCE, "https://other.example"], None, []),
    ("TXE-3008", "aud"): (7,),
    ("TXE-3006", "client_id"): ("another", None),
    ("TXE-3008", "client_id"): ([CLIENT],),
    ("TXE-3006", "typ"): ("at+jwt", "JWT", None),
    ("TXE-3008", "typ"): (7,),
    ("TXE-3008", "exp"): (NOW - 3600, None, "soon", NOW),
    ("TXE-3008", "nbf"): (NOW * 2,),
    ("TXE-3006", "cnf"): ({"jkt": "a"},),
    ("TXE-3006", "act"): ({"sub": "mallory"},),
}


@pytest.mark.parametrize(("code", "claim", "value"), [(*wrong, value) for wrong, values in WRONG.items() for value in values], ids=count())
async def test_an_assertion_for_anything_else_is_not_sent_on(code: str, claim: str, value: object, autojump_clock: MockClock) -> None:
    issuers = Issuers(always(asserting(id_jag(**{claim: value}, jti="canary"))))
    async with world(issuers.site.serve) as it:
        outcome = await exchange(it.client, asking())
    assert isinstance(outcome, ExchangeFailure)
    assert outcome.mismatch is not None
    assert (code_of(outcome), outcome.mismatch.claim, leg_of(outcome)) == (code, claim, ("idp", True))
    assert issuers.counts == (1, 0)


@pytest.mark.parametrize("assertion", ["opaque", "a.b.c", id_jag().rpartition(".")[0] + ".", f"{id_jag()}.{id_jag()}"], ids=range(4))
async def test_what_is_not_a_signed_jwt_is_no_assertion(assertion: str, autojump_clock: MockClock) -> None:
    issuers = Issuers(always(asserting(assertion)))
    async with world(issuers.site.serve) as it:
        assert code_of(await exchange(it.client, asking())) == "TXE-3008"
    assert issuers.counts == (1, 0)


async def test_of_other_assertions_only_audience_and_expiry_count(autojump_clock: MockClock) -> None:
    source = AssertionSource("idp", JWT_TYPE, AUDIENCE)
    for claims, code in (({}, ""), ({"aud": "https://other.example"}, "TXE-3006"), ({"exp": 1}, "TXE-3008")):
        answer = asserting(id_jag("JWT", client_id=None, **claims), issued_token_type=JWT_TYPE)
        issuers = Issuers(always(answer))
        async with world(issuers.site.serve) as it:
            assert code_of(await exchange(it.client, asking(chained(assertion=source)))) == code


async def test_the_answer_must_have_the_type_that_was_requested(autojump_clock: MockClock) -> None:
    for kind, code in ((ID_JAG, ""), (JWT_TYPE, "TXE-3004"), (ACCESS_TOKEN_TYPE, "TXE-3004"), (None, "TXE-3004")):
        issuers = Issuers(always(asserting(id_jag(), issued_token_type=kind)))
        lax = attrs.evolve(CONTRACT, rules=attrs.evolve(CONTRACT.rules, require_issued_token_type=False))
        async with world(issuers.site.serve, settings=lax) as it:
            assert code_of(await exchange(it.client, asking())) == code
        assert issuers.counts == (1, int(not code))


async def test_only_an_assertion_need_not_be_a_bearer_token(autojump_clock: MockClock) -> None:
    for first, second, code in (
        ("N_A", "Bearer", ""),
        ("Bearer", "bearer", ""),
        ("DPoP", "Bearer", "TXE-3003"),
        ("N_A", "N_A", "TXE-3003"),
    ):
        issuers = Issuers(
            always(asserting(id_jag(), token_type=first)),
            always(response(json.dumps({"access_token": "t", "token_type": second}).encode())),
        )
        async with world(issuers.site.serve) as it:
            assert code_of(await exchange(it.client, asking())) == code


async def test_an_assertion_returned_by_the_second_issuer_is_neither_passed_nor_cached(autojump_clock: MockClock) -> None:
    issuers = Issuers(second=lambda fields: response(success(fields["assertion"])))
    second = chained(cache=CachePolicy(600.0, 10))
    async with world(issuers.site.serve) as it:
        use(it, second)
        for _ in range(2):
            outcome = await exchange(it.client, asking(second))
            assert (code_of(outcome), leg_of(outcome)) == ("TXE-3006", ("idp", False))
        assert it.client.cache.entries == 0
    assert issuers.counts == (2, 2)


async def test_what_the_first_profile_demands_of_its_tokens_holds_for_assertions(autojump_clock: MockClock) -> None:
    rules = IssuedTokenRules("https://acme.idp.example", ("orders",), subject="sub", opaque=True)
    first = attrs.evolve(idp, issued=rules)
    for subject, claims, code in (("alice", {}, ""), ("mallory", {}, "TXE-3006"), ("alice", {"iss": "https://x"}, "TXE-3006")):
        issuers = Issuers(always(asserting(id_jag(**claims))))
        async with world(issuers.site.serve) as it:
            outcome = await exchange(it.client, asking(chained(first), token(sub=subject, exp=NOW * 2)))
        assert code_of(outcome) == code
        assert issuers.counts == (1, int(not code))


# Who failed


@pytest.mark.parametrize("style", ErrorStyle)
async def test_a_refusal_of_the_first_issuer_has_its_own_code_and_error(style: ErrorStyle, autojump_clock: MockClock) -> None:
    issuers = Issuers(always(refusing("invalid_grant")))
    async with world(issuers.site.serve) as it:
        outcome = await exchange(it.client, asking(chained(errors=style)))
    denied = answered(outcome, style)
    assert (denied.leg, denied.oauth_error, denied.status) == ("idp", "invalid_grant", 401 if style is ErrorStyle.STRICT else 400)
    assert "TXE-2007" in denied.body
    assert "TXE-2001" not in denied.body
    assert issuers.counts == (1, 0)


def answered(outcome: TokenOutcome, style: ErrorStyle = ErrorStyle.REFERENCE) -> Deny:
    denied = answer_to(asking(chained(errors=style)), outcome)
    assert isinstance(denied, Deny)
    return denied


async def test_step_up_of_the_first_issuer_reaches_the_client(autojump_clock: MockClock) -> None:
    issuers = Issuers(always(refusing("insufficient_user_authentication", acr_values="mfa", max_age=60)))
    async with world(issuers.site.serve) as it:
        outcome = await exchange(it.client, asking())
    assert code_of(outcome) == "TXE-2007"
    denied = answered(outcome, ErrorStyle.STRICT)
    assert denied.status == 401
    (challenge,) = (value for name, value in denied.headers if name == "WWW-Authenticate")
    assert 'error="insufficient_user_authentication"' in challenge
    assert 'acr_values="mfa"' in challenge


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (refusing("access_denied", 403), "TXE-2007"),
        (refusing("invalid_client", 401), "TXE-2007"),
        (refusing("temporarily_unavailable", 503), "TXE-2005"),
        (response(b"", 500), "TXE-2005"),
        (response(b"<html>", 400), "TXE-2002"),
        (response(b"{}"), "TXE-3002"),
        (response(b"", 302, "Location: http://chat.example.com/chat"), "TXE-1003"),
    ],
    ids=range(7),
)
async def test_only_a_refusal_has_that_code_and_every_failure_says_which_leg(answer: bytes, code: str, autojump_clock: MockClock) -> None:
    issuers = Issuers(always(answer))
    async with world(issuers.site.serve) as it:
        outcome = await exchange(it.client, asking())
    assert (code_of(outcome), leg_of(outcome)) == (code, ("idp", True))
    assert outcome.call is not None
    assert issuers.counts == (1, 0)


async def test_a_failure_of_the_second_issuer_is_its_own(autojump_clock: MockClock) -> None:
    for answer, code in ((refusing("invalid_grant"), "TXE-2001"), (response(b"", 503), "TXE-2005")):
        issuers = Issuers(second=always(answer))
        async with world(issuers.site.serve) as it:
            outcome = await exchange(it.client, asking())
        assert (code_of(outcome), leg_of(outcome)) == (code, ("idp", False))
        assert answered(outcome).leg == ""
        assert issuers.counts == (1, 1)


async def test_the_breaker_and_the_limit_of_each_issuer_count_its_own_leg(autojump_clock: MockClock) -> None:
    limited = attrs.evolve(idp, limits=CallLimits(2, breaker=True))
    issuers = Issuers(always(response(b"", 503)))
    async with world(issuers.site.serve) as it:
        second = chained(limited, limits=CallLimits(2, breaker=True))
        use(it, second, limited)
        for number in range(20):
            await exchange(it.client, asking(second, f"user-{number}"))
        outcome = await exchange(it.client, asking(second))
        assert (code_of(outcome), leg_of(outcome)) == (BREAKER_OPEN.diagnostic.value, ("idp", True))
        assert {limits.name: limits.is_open for limits in it.client.limits} == {"idp": True, "chat": False}
    assert issuers.counts[0] < 20


async def test_one_caller_does_not_open_the_second_breaker_with_ever_new_assertions(autojump_clock: MockClock) -> None:
    issuers = Issuers()
    second = chained(limits=CallLimits(breaker=True))
    async with world(issuers.site.serve) as it:
        use(it, second)
        for number in range(12):
            await exchange(it.client, asking(second, f"good-{number}"))
        issuers.second = always(response(b"", 503))
        for _ in range(60):
            await exchange(it.client, asking(second, "mallory"))
        assert not any(limits.is_open for limits in it.client.limits)


# What is kept

KEPT: Final = CachePolicy(600.0, 10)
LASTING: Final = json.dumps({"access_token": "issued-token", "token_type": "Bearer", "expires_in": 300}).encode()


async def test_a_chained_exchange_caches_the_final_token_and_not_the_assertion(autojump_clock: MockClock) -> None:
    issuers = Issuers(second=always(response(LASTING)))
    second = chained(cache=KEPT)
    async with world(issuers.site.serve) as it:
        use(it, second)
        await exchange(it.client, asking(second))
        hit = await exchange(it.client, asking(second))
        assert (hit.cache, hit.first_leg, it.client.cache.entries) == (Cache.HIT, None, 1)
        assert issuers.counts == (1, 1)
        other = await exchange(it.client, asking(second, "another-token"))
        assert other.cache is Cache.MISS


FIRST_CHANGES: Final[dict[str, Any]] = {
    "token_endpoint": "http://idp.example.com/idp?other",
    "credentials": Credentials("other", Secret("secret-of-idp")),
    "grant": attrs.evolve(idp.grant, parameters=(("tenant", "green"),)),
    "issued": IssuedTokenRules("https://acme.idp.example"),
}


@pytest.mark.parametrize("name", FIRST_CHANGES)
async def test_a_change_of_the_first_issuer_ends_the_tokens_of_the_chain(name: str, autojump_clock: MockClock) -> None:
    issuers = Issuers(second=always(response(LASTING)))
    before = chained(cache=KEPT)
    first = attrs.evolve(idp, **{name: FIRST_CHANGES[name]})
    after = chained(first, cache=KEPT)
    async with world(issuers.site.serve) as it:
        use(it, before)
        await exchange(it.client, asking(before))
        use(it, after, first)
        assert it.client.cache.entries == 0
        assert (await exchange(it.client, asking(after))).cache is Cache.MISS


async def test_a_rejection_by_the_first_issuer_evicts_the_cached_token(autojump_clock: MockClock) -> None:
    issuers = Issuers(second=always(response(LASTING)))
    second = chained(cache=KEPT)
    async with world(issuers.site.serve) as it:
        use(it, second)
        await exchange(it.client, asking(second))
        issuers.first = always(refusing("invalid_grant"))
        it.client.coalesce.renew(asking(second))
        await wait_all_tasks_blocked()
        assert it.client.cache.entries == 0


async def test_assertions_are_kept_only_if_both_profiles_say_so(autojump_clock: MockClock) -> None:
    keeping = attrs.evolve(idp, cache=KEPT)
    for second, first, asked in (
        (chained(keeping), keeping, 2),
        (reusing(idp), idp, 2),
        (reusing(keeping), keeping, 1),
    ):
        issuers = Issuers()
        async with world(issuers.site.serve) as it:
            use(it, second, first)
            for scope in ("read", "read"):
                assert code_of(await exchange(it.client, asking(second, scope=scope))) == ""
            assert issuers.counts == (asked, 2)


async def test_a_kept_assertion_is_for_the_same_caller_and_request(autojump_clock: MockClock) -> None:
    keeping = attrs.evolve(idp, cache=KEPT)
    issuers = Issuers()
    async with world(issuers.site.serve) as it:
        use(it, reusing(keeping), keeping)
        for subject, scope in (("a", "read"), ("b", "read"), ("a", "write"), ("a", "read")):
            await exchange(it.client, asking(reusing(keeping), subject, scope=scope))
    assert issuers.counts == (3, 4)
    assert [fields["assertion"] for fields in issuers.asked("/chat")] == [*issuers.assertions, issuers.assertions[0]]


async def test_a_kept_assertion_that_is_refused_is_replaced_once(autojump_clock: MockClock) -> None:
    keeping = attrs.evolve(idp, cache=KEPT)
    seen: set[str] = set()

    def once(fields: Mapping[str, str]) -> bytes:
        if fields["assertion"] in seen:
            return refusing("invalid_grant")
        seen.add(fields["assertion"])
        return response(success())

    issuers = Issuers(second=once)
    async with world(issuers.site.serve) as it:
        use(it, reusing(keeping), keeping)
        for _ in range(3):
            assert code_of(await exchange(it.client, asking(reusing(keeping)))) == ""
        assert issuers.counts == (3, 5)
        issuers.second = always(refusing("invalid_grant"))
        assert code_of(await exchange(it.client, asking(reusing(keeping)))) == "TXE-2001"
        assert issuers.counts == (4, 7)
        assert it.client.cache.entries == 0


# Who is verified, who waits, and for how long


@pytest.mark.parametrize(("takes_another", "code"), [(True, ""), (False, "TXE-2001")])
async def test_an_assertion_that_was_sent_twice_is_replaced_once(*, takes_another: bool, code: str, autojump_clock: MockClock) -> None:
    """A connection that was used before ends when the second issuer has read the assertion, which it then takes no more."""
    seen: list[str] = []

    def once(fields: Mapping[str, str]) -> bytes:
        seen.append(fields["assertion"])
        if seen.count(seen[-1]) > 1 or (len(seen) > 4 and not takes_another):
            return refusing("invalid_grant")
        return ENDS if len(seen) == 3 else response(success())

    issuers = Issuers(second=once)
    async with world(issuers.site.serve) as it:
        use(it, chained())
        for number in range(2):  # the second time, the reactor sees that the connection of the first can be used again
            assert code_of(await exchange(it.client, asking(subject=f"before-{number}"))) == ""
            await trio.sleep(RESTED)
        assert code_of(await exchange(it.client, asking())) == code
    assert seen[2:] == [issuers.assertions[2], issuers.assertions[2], issuers.assertions[3]]


async def test_the_first_issuers_rules_verify_the_callers_token_in_a_chain(autojump_clock: MockClock) -> None:
    rules = SubjectRules(issuers=("https://login.example.com",), audiences=("gateway",), jwks_uri="http://login.example.com/keys")
    gated = attrs.evolve(idp, subject=rules)
    issuers = Issuers()
    async with world(issuers.site.serve) as it:
        use(it, chained(gated), gated)
        assert code_of(await exchange(it.client, asking(chained(gated), "garbage"))) == "TXE-4001"
    assert issuers.counts == (0, 0)


async def test_only_the_first_issuer_of_a_chain_introspects_the_callers_token(autojump_clock: MockClock) -> None:
    asks = SubjectRules(introspection=IntrospectionRules("http://idp.example.com/introspect", always=True))
    gated = attrs.evolve(idp, subject=asks)
    second = chained(gated)
    for active, code in ((True, ""), (False, "TXE-4003")):
        issuers = Issuers()
        issuers.site.token = lambda fields, active=active, issuers=issuers: (  # type: ignore[misc]  # of values of this round
            response(json.dumps({"active": active}).encode()) if "token" in fields else issuers.answer(fields)
        )
        async with world(issuers.site.serve) as it:
            use(it, second, gated)
            for _ in range(2):  # the word counts for a while
                assert code_of(await exchange(it.client, asking(second))) == code
        (asked,) = issuers.asked("/introspect")
        assert (asked["token"], asked["client_id"]) == ("id-token", "gateway")
        assert issuers.counts == ((2, 2) if active else (0, 0))


# Each response may take as long as both legs together.
PATIENT = attrs.evolve(CONTRACT, request_timeout=3.0, response_header_timeout=3.0)


@given(first=st.floats(0.0, 6.0), second=st.floats(0.0, 6.0), allowed=st.floats(0.5, 6.0), leaves=st.floats(0.0, 7.0))
def test_both_legs_share_one_timeout_and_a_caller_that_leaves_leaves_nothing(
    first: float, second: float, allowed: float, leaves: float
) -> None:
    async def leaving() -> None:
        with trio.move_on_after(leaves):
            await taking(first, second, allowed)

    trio.run(leaving, clock=MockClock(autojump_threshold=0))  # the world asserts that nothing is open or in progress
    took, outcome, counts = trio.run(taking, first, second, allowed, clock=MockClock(autojump_threshold=0))
    limit = min(allowed, PATIENT.request_timeout)
    assert took <= limit + 1e-6
    if first + second < limit - 1e-3:
        assert isinstance(outcome, ExchangedToken)
    elif first + second > limit + 1e-3:
        assert isinstance(outcome, ExchangeFailure)
        assert (outcome.diagnostic.value, leg_of(outcome)[1]) == ("TXE-1003", True) if first > limit + 1e-3 else True
    assert counts[1] <= counts[0]


async def taking(first: float, second: float, allowed: float) -> tuple[float, TokenOutcome, tuple[int, int]]:
    issuers = Issuers()

    async def serve(peer: Peer) -> None:
        while True:
            head, _ = await peer.request()
            is_first = head.startswith(b"POST /idp")
            await trio.sleep(first if is_first else second)
            issuers.site.posts.append(("/idp" if is_first else "/chat", {}))
            await peer.send(asserting(id_jag()) if is_first else response(success()))

    async with world(serve, settings=PATIENT) as it:
        began = trio.current_time()
        outcome = await exchange(it.client, asking(), began + allowed)
        took = trio.current_time() - began
        await trio.sleep(20)
    return took, outcome, issuers.counts


def test_with_no_time_left_the_second_issuer_is_not_asked() -> None:
    begun: list[TokenRequest] = []

    class Stage:
        def begin(self, request: TokenRequest, _deadline: float, _done: Done, /) -> TokenOutcome:
            begun.append(request)
            return ExchangedToken(Secret(id_jag()))

    for now, code in ((4.9, ""), (5.0, "TXE-1003")):
        chain = Chain(Stage(), TokenCache(), lambda now=now: now)  # type: ignore[misc]  # of values of this round
        chain.first = Stage()
        begun.clear()
        outcome = chain.begin(asking(), 5.0, lambda _: None)
        assert isinstance(outcome, ExchangedToken | ExchangeFailure)
        assert (code_of(outcome), leg_of(outcome)) == (code, ("idp", code != ""))
        assert [request.issuer.name for request in begun] == (["idp"] if code else ["idp", "chat"])


# The assertion is a secret


async def test_an_assertion_is_in_no_representation_of_anything(autojump_clock: MockClock) -> None:
    keeping = attrs.evolve(idp, cache=KEPT)
    issuers = Issuers(second=always(refusing("invalid_scope")))
    async with world(issuers.site.serve) as it:
        use(it, reusing(keeping), keeping)
        outcome = await exchange(it.client, asking(reusing(keeping)))
        seen = repr((outcome, it.observer.records, answered(outcome), record(answered(outcome)), it.client.cache, it.client))
    (assertion,) = issuers.assertions
    assert not any(part in seen for part in assertion.split("."))
