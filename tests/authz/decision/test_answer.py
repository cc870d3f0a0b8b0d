"""What a question is told: the words of each decision, and stand-ins in the place of credentials."""

from typing import Any

import attrs
import pytest

from exchanger.authz.decision.answer import (
    ASSUMED,
    STAND_INS,
    STAND_INS_BY_NAME,
    Effect,
    ExplainedDecision,
    answer,
    answer_of,
    asked_request,
    kind_of_credentials,
    profile_of,
)
from exchanger.authz.decision.check import DENY_NO_POLICY, DecisionRules, begin, finish
from exchanger.authz.decision.outcome import Deny, ExchangePending
from exchanger.exchange.oauth.token_request import encode_request
from exchanger.model.bearer import NoToken, read_bearer
from exchanger.model.entry import BASELINE, AllowEntry, DenyEntry, MatchScope, Source
from exchanger.model.issuer import (
    ID_JAG,
    ActorCredentials,
    ActorRule,
    ActorToken,
    AssertionSource,
    CachePolicy,
    ErrorStyle,
    Grant,
    GrantType,
    IntrospectionRules,
    IssuedTokenRules,
    SubjectRules,
)
from exchanger.model.secret import Secret
from exchanger.model.token import ExchangeFailure, TokenRequest
from exchanger.policy.grants.allowance import Grants
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.policy.table import VirtualHosts
from tests.authz.decision.examples import PRIMARY, RULES, SOURCE, snapshot

BEARER = ("Authorization", "Bearer t")
PREFLIGHT = (("Origin", "https://a.example"), ("Access-Control-Request-Method", "GET"))


def test_an_exchange_says_what_is_asked_of_whom() -> None:
    found = answer_of(begin(asked_request("get", "API.example.com:443", "/orders/1", [BEARER]), snapshot(), RULES))
    assert (found.effect, found.status, found.passes) == (Effect.EXCHANGE, None, True)
    assert (found.source, found.index, found.issuer) == (SOURCE, 0, PRIMARY)
    assert found.target is not None
    assert found.target.scope == "read:orders"


@pytest.mark.parametrize(
    ("path", "headers", "method", "deny", "effect", "status", "words"),
    [
        ("/nothing", (BEARER,), "GET", False, Effect.UNMATCHED, None, "no entry applies, so"),
        ("/nothing", (BEARER,), "GET", True, Effect.UNMATCHED, 403, "denied by default"),
        ("/admin", (BEARER,), "GET", False, Effect.DENY, 403, "an entry denies"),
        ("/tie", (BEARER,), "GET", False, Effect.REFUSED, 500, "team/policy entries[4]"),
        ("/broken", (BEARER,), "GET", False, Effect.REFUSED, 500, "exchange is required"),
        ("/%zz", (BEARER,), "GET", False, Effect.REFUSED, 400, "the path cannot be read"),
        ("/orders", (), "GET", False, Effect.REFUSED, 401, "no bearer token"),
        ("/orders", (("authorization", 'Bearer "'),), "GET", False, Effect.REFUSED, 401, "token is malformed"),
        ("/orders", PREFLIGHT, "OPTIONS", False, Effect.ALLOW, None, "OPTIONS without credentials"),
    ],
)
def test_each_decision_has_words(
    path: str, headers: tuple[tuple[str, str], ...], method: str, deny: bool, effect: Effect, status: int | None, words: str
) -> None:
    rules = attrs.evolve(RULES, default_deny_unmatched=deny)
    found = answer_of(begin(asked_request(method, "api.example.com", path, headers), snapshot(), rules))
    assert (found.effect, found.status) == (effect, status)
    assert found.passes is (status is None)
    assert words in found.reason


def test_what_passes_unchanged_and_what_the_platform_denies_is_told() -> None:
    entry = AllowEntry(Source("a", "b"), 3, MatchScope("api.example.com", "/"))
    policy = attrs.evolve(PolicySnapshot.EMPTY, hosts=VirtualHosts.of([entry]))
    found = answer_of(begin(asked_request("GET", "api.example.com", "/x"), policy, RULES))
    assert (found.effect, found.source, found.index, found.status) == (Effect.ALLOW, entry.source, 3, None)
    denied = attrs.evolve(policy, grants=Grants(baseline=(DenyEntry(BASELINE, 0, MatchScope(None, "/x")),)))
    found = answer_of(begin(asked_request("GET", "api.example.com", "/x"), denied, RULES))
    assert (found.effect, found.source, found.status) == (Effect.DENY, BASELINE, 403)
    assert "baseline" in found.reason


def test_without_a_policy_everything_is_refused() -> None:
    found = answer_of(DENY_NO_POLICY)
    assert (found.effect, found.status, found.reason) == (Effect.REFUSED, 500, "no complete policy has been loaded yet")


@pytest.mark.parametrize("kind", [None, *(kind for kind in NoToken if kind is not NoToken.DIFFERENT)])
def test_a_stand_in_is_of_its_kind(kind: NoToken | None) -> None:
    text = STAND_INS[kind]
    found = read_bearer(Secret(text) if text else None)
    assert found is kind if kind is not None else not isinstance(found, NoToken)
    name = "bearer" if kind is None else kind.name.lower()
    assert STAND_INS_BY_NAME[name] == text
    assert kind_of_credentials(Secret(text) if text else None) == name


def test_a_request_is_read_as_the_gateway_sends_it() -> None:
    headers = (("X-A", "1"), ("x-a", "2"), ("Host", "other.example"))
    joined, raw = (asked_request("ı", "a.example", "/", headers, raw=raw) for raw in (False, True))
    assert (joined.method, joined.host, joined.authorization) == ("ı", "other.example", None)
    assert dict(joined.fields.fields) == {"x-a": "1,2", "host": "other.example"}
    assert raw.fields.fields == (("x-a", "1"), ("x-a", "2"), ("host", "other.example"))
    assert (joined.path_is_raw, raw.path_is_raw, raw.fields.raw) == (False, True, True)


FORWARDED = "x-forwarded-access-token"


def with_profile(**changes: Any) -> DecisionRules:
    return attrs.evolve(RULES, issuers=RULES.issuers.insert("primary", attrs.evolve(PRIMARY, **changes)))


def asked(rules: DecisionRules, *headers: tuple[str, str], method: str = "GET") -> ExplainedDecision:
    return answer(asked_request(method, "api.example.com", "/orders", headers), snapshot(), rules)


@pytest.mark.parametrize(
    ("listed", "headers", "status", "words"),
    [
        ((FORWARDED,), (("authorization", ASSUMED),), None, "an entry asks for an exchange"),
        ((FORWARDED,), (("authorization", ASSUMED), (FORWARDED, "t")), None, "an entry asks for an exchange"),
        ((FORWARDED,), (("authorization", ASSUMED), (FORWARDED, "")), 401, "token is malformed; it is read from x-forwarded-access-token"),
        ((FORWARDED,), (BEARER,), 401, "no bearer token; it is read from x-forwarded-access-token"),
        ((FORWARDED,), (), 401, "no bearer token; it is read from x-forwarded-access-token"),
        ((FORWARDED,), ((FORWARDED, "two words"),), 401, "token is malformed; it is read from x-forwarded-access-token"),
        (("authorization", FORWARDED), (("authorization", ASSUMED), (FORWARDED, "t")), None, "an entry asks for an exchange"),
        (("authorization", FORWARDED), (("authorization", ASSUMED),), None, "an entry asks for an exchange"),
        (("authorization", FORWARDED), (BEARER, (FORWARDED, "t")), None, "an entry asks for an exchange"),
        (("authorization", FORWARDED), (BEARER, (FORWARDED, "other")), 400, "hold different tokens"),
        (("authorization", FORWARDED), (), 401, "it is read from authorization or x-forwarded-access-token"),
    ],
)
def test_explain_assumes_a_token_in_the_profiles_header_unless_one_is_given(
    listed: tuple[str, ...], headers: tuple[tuple[str, str], ...], status: int | None, words: str
) -> None:
    found = asked(with_profile(subject=SubjectRules(listed)), *headers)
    assert found.status == status
    assert words in found.reason


def test_options_with_an_assumed_token_is_no_preflight() -> None:
    rules = with_profile(subject=SubjectRules((FORWARDED,)))
    assert asked(rules, *PREFLIGHT, ("authorization", ASSUMED), method="OPTIONS").effect is Effect.EXCHANGE
    assert asked(rules, *PREFLIGHT, method="OPTIONS").effect is Effect.ALLOW


def test_without_headers_of_their_own_the_answer_is_that_of_begin() -> None:
    for headers in ((BEARER,), (("authorization", ASSUMED),), ()):
        request = asked_request("GET", "api.example.com", "/orders", headers)
        assert answer(request, snapshot(), RULES) == answer_of(begin(request, snapshot(), RULES))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, []),
        ({"subject": SubjectRules((FORWARDED,))}, ["token: read from x-forwarded-access-token"]),
        (
            {"subject": SubjectRules(("authorization", FORWARDED))},
            ["token: read from authorization or x-forwarded-access-token, which must hold the same token"],
        ),
        (
            {"subject": SubjectRules(issuers=("https://a.example", "https://b.example"), audiences=("gateway",))},
            ["checked: before anything is asked: issued by https://a.example or https://b.example, for gateway"],
        ),
        ({"subject": SubjectRules(token_type="urn:x")}, ["token type: urn:x"]),
        ({"cache": CachePolicy(60.0, 1)}, []),
        (
            {"subject": SubjectRules(issuers=("https://i",), audiences=("a",), introspection=IntrospectionRules())},
            [
                "checked: before anything is asked: issued by https://i, for a",
                "asked: whether tokens that are not JWTs are active, at the introspection endpoint; its word counts for 30 s",
            ],
        ),
        (
            {"subject": SubjectRules(audiences=("a",), introspection=IntrospectionRules("https://i/ask", always=True, cache_ttl=0.0))},
            ["asked: whether each token is active, for a, at https://i/ask; for each request"],
        ),
        (
            {"issued": IssuedTokenRules("https://a.example")},
            ["proof: of what was issued: by https://a.example; for what the policy requests; opaque tokens are rejected"],
        ),
        (
            {"issued": IssuedTokenRules("https://a.example", ("a", "b"), "oid", True, ("openid",), 900.0, True, "https://k", "", True)},
            [
                (
                    "proof: of what was issued: by https://a.example; for a or b; with the oid of the caller's token; "
                    "with no scope but those requested, openid; valid for at most 900 s; verified by the keys at https://k; "
                    "opaque tokens pass"
                )
            ],
        ),
        *(
            (
                {"issued": IssuedTokenRules("https://a.example", actor=rule)},
                [f"proof: of what was issued: by https://a.example; for what the policy requests; {words}opaque tokens are rejected"],
            )
            for rule, words in (
                (ActorRule.SAME, "with the request's actor; "),
                (ActorRule.NONE, "without an actor; "),
                (ActorRule.ANY, ""),
            )
        ),
        (
            {"cache": CachePolicy(60.0, 1, evict_rejected=True)},
            ["refused tokens: dropped from the cache if an upstream refuses them; needs ext_proc with allow_mode_override"],
        ),
        ({"grant": Grant(GrantType.ENTRA_OBO)}, ["grant: entra-obo"]),
        (
            {"assertion": AssertionSource("idp", ID_JAG, "https://chat.example")},
            ["assertion: ID-JAG for https://chat.example; the issuer idp issues it for the caller's token"],
        ),
        (
            {"assertion": AssertionSource("idp", "urn:x", "chat", reuse=True)},
            ["assertion: urn:x for chat; the issuer idp issues it for the caller's token; it may be sent more than once"],
        ),
        ({"grant": Grant(requested_token_type="urn:x")}, ["asks for: urn:x"]),
        ({"grant": Grant(actor=ActorToken(Secret("canary"), "urn:x", "canary"))}, ["actor: the subject of the token in a file"]),
        ({"grant": Grant(actor=ActorCredentials())}, ["actor: this client (client credentials)"]),
        ({"grant": Grant(actor=ActorCredentials("act"))}, ["actor: this client (client credentials) with the scope act"]),
        ({"grant": Grant(parameters=(("canary", "canary"),))}, []),
        ({"errors": ErrorStyle.STRICT}, ["errors: strict: 401 and 403 for the caller's errors, 5xx for all others"]),
    ],
)
def test_a_profile_has_words_for_unusual_fields(changes: dict[str, Any], words: list[str]) -> None:
    assert [f"{name}: {text}" for name, text in profile_of(attrs.evolve(PRIMARY, **changes))] == words


@pytest.mark.parametrize(
    ("kind", "target", "status"),
    [
        (GrantType.ENTRA_OBO, "scope: 'api://orders/.default'", None),
        (GrantType.ENTRA_OBO, "scope: a, audiences: [orders]", 500),
        (GrantType.ENTRA_OBO, "scope: a, resources: ['https://orders.example.com']", 500),
        (GrantType.JWT_BEARER, "scope: a, audiences: [orders]", None),
    ],
)
def test_a_grant_that_has_no_words_for_the_target_is_told(kind: GrantType, target: str, status: int | None) -> None:
    entry = f"{{match: {{host: a.example, pathPrefix: /}}, action: exchange, exchange: {{issuerRef: primary, {target}}}}}"
    policy, rules = snapshot(f"version: v1\nentries: [{entry}]"), with_profile(grant=Grant(kind))
    request = asked_request("GET", "a.example", "/", [BEARER])
    found = answer(request, policy, rules)
    assert (found.status, "TXE-1002" in found.reason) == (status, status is not None)
    # As the exchange itself ends.
    pending = begin(request, policy, rules)
    assert isinstance(pending, ExchangePending)
    encoded = encode_request(pending.token_request)
    assert isinstance(encoded, ExchangeFailure) is (status is not None)
    if isinstance(encoded, ExchangeFailure):
        ends = [finish(attrs.evolve(pending, token_request=styled), encoded) for styled in _styles(pending)]
        assert {end.status for end in ends if isinstance(end, Deny)} == {status}


def test_audiences_of_a_chain_are_told() -> None:
    rules = with_profile(grant=Grant(GrantType.JWT_BEARER), assertion=AssertionSource("idp", ID_JAG, "https://chat.example"))
    for target, status in (("audiences: [orders]", 500), ("resources: ['https://a.example']", None), ("scope: a", None)):
        entry = f"{{match: {{host: a.example, pathPrefix: /}}, action: exchange, exchange: {{issuerRef: primary, {target}}}}}"
        found = answer(asked_request("GET", "a.example", "/", [BEARER]), snapshot(f"version: v1\nentries: [{entry}]"), rules)
        assert (found.status, "the issuer's assertion determines the audience (TXE-1002)" in found.reason) == (status, status is not None)


def _styles(pending: ExchangePending) -> list[TokenRequest]:
    asked = pending.token_request
    return [attrs.evolve(asked, issuer=attrs.evolve(asked.issuer, errors=style)) for style in ErrorStyle]
