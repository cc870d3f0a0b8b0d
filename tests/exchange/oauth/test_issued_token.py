"""What is said of each way in which an issued token can be wrong, and how the readers of its parts differ from what issuers write."""

import json
from itertools import count
from typing import Any, Final

import attrs
import pytest

from exchanger.exchange.oauth.issued_token import SHOWN, judge_issued, tells
from exchanger.exchange.oauth.token_response import TokenResponseRules, decode_response
from exchanger.formats.jwt.claims import LEEWAY
from exchanger.model.entry import TokenTarget
from exchanger.model.issuer import ActorCredentials, ActorRule, ActorToken, AssertionSource, Credentials, Grant, IssuedTokenRules
from exchanger.model.secret import Secret
from exchanger.model.token import UNREADABLE_SCOPE, ExchangedToken, ExchangeFailure, TokenRequest
from tests.exchange.oauth.fakes import success, token_request
from tests.formats.jwt.issuer import NOW, raw, text

ISSUER: Final = "https://issuer.example.com"
RULES: Final = IssuedTokenRules(ISSUER, subject="sub", scope=True, scope_also=("openid",), max_lifetime=900.0)
HONEST: Final = {"iss": ISSUER, "sub": "canary-alice", "aud": "orders", "scope": "read", "exp": NOW + 900}
SUBJECT: Final = raw({"alg": "ES256"}, {"sub": "canary-alice", "oid": "canary-1"})
TARGET: Final = TokenTarget("primary", scope="read write", audiences=("orders", "billing"), resources=("https://r.example.com",))


def asking(rules: IssuedTokenRules = RULES, target: TokenTarget = TARGET, subject: str = SUBJECT) -> TokenRequest:
    plain = token_request(subject)
    return attrs.evolve(plain, issuer=attrs.evolve(plain.issuer, issued=rules), target=target)


def issued(claims: object, scope: str | None = None) -> ExchangedToken:
    return ExchangedToken(Secret(claims if isinstance(claims, str) else raw({"alg": "ES256"}, claims)), scope=scope)


def honest(**changed: object) -> dict[str, object]:
    return {name: value for name, value in (HONEST | changed).items() if value is not ...}


def verified(claims: object, response: str | None = None, request: TokenRequest | None = None, **rules: Any) -> tuple[str, str] | None:
    """Return the code and the claim, after a look at what must not show."""
    wanted = attrs.evolve(RULES, **rules)
    found = judge_issued(wanted, request or asking(wanted), issued(claims, response), NOW)
    if found is None:
        return None
    assert found.mismatch is not None
    assert (found.status, found.http_status) == (500, 200)
    assert found.body == f'{{"error":"invalid_request","error_description":"internal server error ({found.diagnostic.value})"}}'
    assert "canary" not in f"{found!r}{found.detail}{found.mismatch!r}"
    return found.diagnostic.value, found.mismatch.claim


WRONG: Final[dict[tuple[str, str], tuple[object, ...]]] = {
    ("TXE-3006", "iss"): ("https://other.example.com", f"{ISSUER}/", ...),
    ("TXE-3008", "iss"): ([ISSUER],),
    # Resources count only where no audience was requested.
    ("TXE-3006", "aud"): ("payments", ["orders", "payments"], "https://r.example.com", [], ...),
    ("TXE-3008", "aud"): (["orders", 1], None, {"orders": True}),
    ("TXE-3006", "sub"): ("canary-mallory", ...),
    ("TXE-3008", "sub"): (["canary-alice"],),
    ("TXE-3007", "scope"): ("read admin", "read\twrite", ["read admin"]),
    ("TXE-3007", "scp"): (["admin"],),  # beside a scope that is fine
    ("TXE-3008", "scp"): ({"read": 1},),
    ("TXE-3008", "scope"): (None, ["read", None]),
    ("TXE-3007", "exp"): (NOW + 901, 1e300, ...),
    ("TXE-3008", "exp"): ("soon", True, 10**400),
}


@pytest.mark.parametrize(("expected", "value"), [(wrong, value) for wrong, values in WRONG.items() for value in values], ids=str)
def test_each_way_to_be_wrong(expected: tuple[str, str], value: object) -> None:
    assert verified(honest(**{expected[1]: value})) == expected


LAX: Final = IssuedTokenRules(ISSUER)


CONFIRMATIONS: Final[tuple[object, ...]] = (
    *({"jkt": "a"}, {"x5t#S256": "a"}, {"kid": "a"}, {"jwk": {"kty": "EC"}}, {"jwe": "a"}),
    *({}, [], None, "", False),
)


def judged_lax(claims: object, rules: IssuedTokenRules = LAX, **more: Any) -> tuple[str, str] | None:
    """Return the code and the claim under rules that compare nothing but issuer and audience."""
    found = judge_issued(rules, asking(rules, **more), issued(claims), NOW)
    return None if found is None or found.mismatch is None else (found.diagnostic.value, found.mismatch.claim)


@pytest.mark.parametrize(
    ("claim", "value", "code"),
    [
        *(("exp", value, "TXE-3008") for value in (NOW, NOW - 0.001, -1, "2000000000", None, True, 10**400)),
        *(("nbf", value, "TXE-3008") for value in (NOW + LEEWAY + 0.001, "0", None)),
        *(("cnf", value, "TXE-3006") for value in CONFIRMATIONS),
        *(("exp", NOW + 0.001, ""), ("nbf", NOW + LEEWAY, ""), ("may_act", {"sub": "somebody"}, ""), ("iat", NOW + 10_000, "")),
    ],
    ids=str,
)
def test_an_issued_token_its_upstream_must_reject_is_rejected_under_any_profile(claim: str, value: object, code: str) -> None:
    assert judged_lax(honest(**{claim: value})) == ((code, claim) if code else None)


@pytest.mark.parametrize(
    ("header", "passes"),
    [
        *(({"alg": algorithm}, False) for algorithm in ("none", "None", "NONE", "nOnE", " none ", "", " ", None, 5, [], ["none"])),
        *(({"alg": algorithm}, False) for algorithm in ("none\0", "no\u200bne", "\uff4e\uff4f\uff4e\uff45", "ES256\0none")),
        ({}, False),
        ({"typ": "JWT"}, False),
        *(({"alg": algorithm}, True) for algorithm in ("ES256", "RS256", "HS256", "EdDSA", "PS512", "x-of-its-own")),
    ],
    ids=str,
)
def test_an_issued_token_with_alg_none_is_rejected_with_any_signature(header: dict[str, object], passes: bool) -> None:
    assert judged_lax(raw(header, HONEST)) == (None if passes else ("TXE-3008", "alg"))
    head, body, _ = raw(header, HONEST).split(".")
    for signature in ("AA", text(b"x" * 64)):
        assert judged_lax(f"{head}.{body}.{signature}") == (None if passes else ("TXE-3008", "alg"))


ACTING: Final = raw({"alg": "ES256"}, {"sub": "gateway", "iss": "https://cluster.example.com"})
DELEGATED: Final = raw({"alg": "ES256"}, {"sub": "canary-alice", "act": {"sub": "shop", "act": {"sub": "app"}}})
SHOP: Final[dict[str, object]] = {"sub": "shop", "act": {"sub": "app"}}
OTHER: Final = ("TXE-3006", "act")
UNREAD: Final = ("TXE-3008", "act")


def deep(levels: int) -> dict[str, object]:
    return {"sub": "client", **({"act": deep(levels - 1)} if levels else {})}


def with_actor(rules: IssuedTokenRules, actor: ActorToken | ActorCredentials | None, subject: str = SUBJECT) -> TokenRequest:
    request = asking(rules, subject=subject)
    return attrs.evolve(request, issuer=attrs.evolve(request.issuer, grant=Grant(actor=actor)))


@pytest.mark.parametrize(
    ("subject", "act", "expected"),
    [
        # This client; and in impersonation, the earlier actors are left out.
        *((SUBJECT, act, None) for act in (..., {"sub": "client"}, {"client_id": "client"})),
        *((DELEGATED, act, None) for act in (..., SHOP, {"sub": "client", "act": SHOP}, {"sub": "client", "iss": "https://a.example.com"})),
        (DELEGATED, {"sub": "shop"}, None),  # the later one of two
        *(("opaque", ..., None), ("opaque", {"sub": "client"}, None), ("opaque", SHOP, OTHER)),
        *((SUBJECT, act, OTHER) for act in ({"sub": "mallory"}, {"sub": "client", "act": {"sub": "mallory"}})),
        *((DELEGATED, act, OTHER) for act in ({"sub": "app"}, {"sub": "app", "act": {"sub": "shop"}}, {"sub": "mallory", "act": SHOP})),
        (DELEGATED, {"sub": "shop", "act": {"sub": "mallory"}}, OTHER),
        *((SUBJECT, act, UNREAD) for act in (None, "client", ["client"], {}, {"sub": ["client"]}, {"sub": ""}, deep(10))),
        *((SUBJECT, {"sub": "client", name: odd}, UNREAD) for name, odd in (("iss", 5), ("act", None))),
    ],
    ids=count(),
)
def test_without_an_actor_token_only_this_client_or_the_callers_actors_act(
    subject: str, act: object, expected: tuple[str, str] | None
) -> None:
    for rule in (None, ActorRule.SAME):
        rules = attrs.evolve(LAX, actor=rule)
        request = with_actor(rules, None, subject)
        issuer = attrs.evolve(request.issuer, credentials=Credentials("client", Secret("s")))
        assertion = AssertionSource("first", "", "", issuer=issuer)
        second = attrs.evolve(issuer, credentials=Credentials("another", Secret("s")), assertion=assertion)
        for called in (issuer, second):  # its ids at both of two issuers are this client
            found = judge_issued(rules, attrs.evolve(request, issuer=called), issued(honest(act=act)), NOW)
            assert (found and found.mismatch and (found.diagnostic.value, found.mismatch.claim)) == expected


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        ({"sub": "gateway"}, None),
        ({"sub": "gateway", "iss": "https://cluster.example.com"}, None),
        ({"sub": "gateway", "act": SHOP}, None),
        (..., OTHER),
        ({"sub": "gateway", "iss": "https://other.example.com"}, OTHER),
        ({"sub": "client"}, OTHER),
        (SHOP, OTHER),
        ({"sub": "mallory", "act": {"sub": "gateway"}}, OTHER),
        ({"sub": "gateway", "act": {"sub": "mallory"}}, OTHER),
        ({"sub": True}, UNREAD),
    ],
    ids=count(),
)
def test_actor_same_means_the_subject_of_the_actor_token_that_was_sent(act: object, expected: tuple[str, str] | None) -> None:
    same, anybody = (attrs.evolve(LAX, actor=rule) for rule in (ActorRule.SAME, ActorRule.ANY))
    in_file, by_credentials = ActorToken(Secret(ACTING), "urn:x:y", "gateway"), ActorCredentials("act")
    answer = issued(honest(act=act))
    for actor, token in ((in_file, answer), (by_credentials, attrs.evolve(answer, actor_token=Secret(ACTING)))):
        found = judge_issued(same, with_actor(same, actor, DELEGATED), token, NOW)
        assert (found and found.mismatch and (found.diagnostic.value, found.mismatch.claim)) == expected
        for rules in (LAX, anybody):
            assert judge_issued(rules, with_actor(rules, actor, DELEGATED), token, NOW) is None


@pytest.mark.parametrize("sent", ["opaque", raw({"alg": "ES256"}, {"iss": "i"}), raw({"alg": "ES256"}, {"sub": 5})], ids=count())
def test_an_actor_token_without_a_subject_cannot_be_compared(sent: str) -> None:
    rules = attrs.evolve(LAX, actor=ActorRule.SAME)
    request = with_actor(rules, ActorToken(Secret(sent), "urn:x:y", "gateway"))
    found = judge_issued(rules, request, issued(honest(act={"sub": "gateway"})), NOW)
    assert found is not None
    assert found.diagnostic.value == "TXE-3008"


def test_a_request_for_no_audience_cannot_be_verified_except_by_a_list() -> None:
    request = asking(target=TokenTarget("primary", scope="read"))
    assert verified(HONEST, request=request) == ("TXE-3008", "aud")
    assert verified("opaque", request=request, opaque=True) == ("TXE-3008", "aud")
    assert verified(HONEST, request=request, audiences=("orders",)) is None
    assert verified(honest(aud=["orders", "billing"]), audiences=("orders",)) == ("TXE-3006", "aud")
    assert verified(honest(aud=[]), audiences=("orders",)) == ("TXE-3006", "aud")


def test_another_claim_may_be_compared() -> None:
    assert verified(honest(sub="another for each application", oid="canary-1"), subject="oid") is None
    assert verified(honest(oid="canary-2"), subject="oid") == ("TXE-3006", "oid")


# Numbers: signatures differ in each process.
@pytest.mark.parametrize(
    "subject",
    ["opaque", "a.b.c", raw({}, {}), raw({}, {"sub": ""}), raw({}, {"sub": 5}), raw({}, b'{"sub":"canary-alice","sub":"x"}')],
    ids=count(),
)
def test_a_caller_s_token_that_cannot_be_read_has_nothing_to_compare(subject: str) -> None:
    assert verified(HONEST, request=asking(subject=subject)) == ("TXE-3008", "sub")


@pytest.mark.parametrize("response", ["read admin", "admin", "READ", "read,write", "read\u00a0write"])
def test_the_scope_of_the_response_counts_too(response: str) -> None:
    assert verified(HONEST, response) == ("TXE-3007", "scope")
    assert verified("opaque", response, opaque=True) == ("TXE-3007", "scope")
    assert verified(HONEST, response, scope=False, scope_also=()) is None


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        *(("read write", "read write"), ("", ""), (None, None), (["read", "write"], "read write"), ([], "")),
        *((odd, UNREADABLE_SCOPE) for odd in (5, ["read", 5], {"read": True}, False, "a " * 10_000, ["read:everything"] * 2000)),
    ],
    ids=count(),
)
def test_what_a_response_grants(scope: object, expected: str | None) -> None:
    body = json.dumps(json.loads(success()) | {"scope": scope}).encode()
    found = decode_response(200, (), body, TokenResponseRules())
    assert isinstance(found, ExchangedToken)  # whether it counts depends on the profile
    assert found.scope == expected
    if expected == UNREADABLE_SCOPE:
        assert verified(HONEST, found.scope) == ("TXE-3008", "scope")


@pytest.mark.parametrize("token", ["opaque", "two.parts", "v4.local.encrypted.footer", "h.k.i.c.t"])
def test_an_opaque_token_passes_only_where_the_profile_says_so(token: str) -> None:
    assert verified(token) == ("TXE-3008", "")
    assert verified(token, opaque=True) is None


NEVER_OPAQUE: Final = [
    "a.b.c",
    f"{text(b'{}')}.{text(json.dumps(HONEST).encode())}.",  # without a signature
    *(raw({"alg": "RS256", "crit": ["b64"], "b64": False}, HONEST), raw(b'{"alg":"a","alg":"b"}', HONEST)),
    *(raw({}, json.dumps(HONEST).encode()[:-1] + b',"aud":"payments"}'), raw({}, b"[]"), raw({}, b'{"exp":NaN}')),
    *(raw({}, b"[" * 100 + b"]" * 100), raw({}, {"a": [[]] * 2000}), raw({}, {"a": "x" * 70_000})),
    f"{text(b'{}')}.{text(json.dumps(HONEST).encode())}=.c2ln",
]


@pytest.mark.parametrize("token", NEVER_OPAQUE, ids=count())
def test_what_some_reader_may_take_for_a_jwt_is_never_opaque(token: str) -> None:
    assert verified(token, opaque=True) == ("TXE-3008", "")


def test_both_sides_are_shown_escaped_and_bounded() -> None:
    claims = honest(iss="https://evil.example.com/\u202e\n", aud=['a"b', "x" * 5000, *map(str, range(100))], scope="read \x1badmin")
    found = judge_issued(RULES, asking(), issued(claims, "read"), NOW)
    assert isinstance(found, ExchangeFailure)
    assert found.mismatch is not None
    assert found.mismatch.requested.issuer == ISSUER
    assert found.mismatch.requested.audience == '["orders", "billing"]'
    assert found.mismatch.requested.scope == "read write"
    assert found.mismatch.issued.issuer == "https://evil.example.com/\ufffd\ufffd"
    assert found.mismatch.issued.audience.startswith('["a\\"b", "a text of 5000 characters", "0", ')
    assert found.mismatch.issued.scope == "read \ufffdadmin"
    assert all(len(part) <= SHOWN for side in (found.mismatch.requested, found.mismatch.issued) for part in attrs.astuple(side))


@pytest.mark.parametrize(("secret", "told"), [("abcd", True), ("abc", False)])
def test_text_tells_a_secret_inside_it_from_four_characters(secret: str, told: bool) -> None:
    assert tells(f"https://{secret}.example.com", (secret,)) is told


def test_secrets_that_an_issuer_writes_into_claims_are_not_shown() -> None:
    request = asking(subject="canary-opaque-subject")
    proof = request.issuer.credentials.proof
    assert isinstance(proof, Secret)
    for secret in ("canary-opaque-subject", proof.reveal()):
        claims = honest(iss=f"https://{secret}", aud=[secret], scope=f"{secret} read", sub="canary-alice")
        found = judge_issued(RULES, request, issued(claims, secret), NOW)
        assert isinstance(found, ExchangeFailure)
        assert secret not in f"{found!r}{found.mismatch!r}{found.detail}"


def test_a_subject_that_an_issuer_takes_for_an_audience_is_not_shown() -> None:
    for name in ("canary-alice", "canary-1"):
        assert verified(honest(aud=[name, f"user:{name}"], scope=f"{name} read", oid="canary-1"), subject="oid") == ("TXE-3006", "aud")
