import attrs
import pytest
from rpds import HashTrieMap

from exchanger.authz.decision.check import ALLOW_UNMATCHED, DENY_UNMATCHED, DecisionRules, begin, finish
from exchanger.authz.decision.outcome import Allow, DecisionReason, Deny, ExchangePending, Result
from exchanger.model.authority import split_absolute_form
from exchanger.model.errors import Diagnostic
from exchanger.model.issuer import SubjectRules
from exchanger.model.request import HeaderFields, HttpRequest
from exchanger.model.secret import Secret
from exchanger.model.token import Cache, ErrorKind, ExchangedToken, ExchangeFailure, TokenCall
from exchanger.model.trace import TraceContext
from exchanger.policy.snapshot import PolicySnapshot
from tests.authz.decision.examples import POLICY, PRIMARY, RULES, SOURCE, request, snapshot

SNAPSHOT = snapshot()
CALL = TokenCall(0.1, 200)
PREFLIGHT = {"origin": "https://app.example.com", "access_control_request_method": "GET"}
DEFAULT_DENY = attrs.evolve(RULES, default_deny_unmatched=True)
OPEN_OPTIONS = attrs.evolve(RULES, allow_unauthenticated_options=True)


# A host without any policy.
OTHER = "other.example.com"
AMBIGUOUS = (DecisionReason.DENY_AMBIGUOUS_REQUEST, 400, Result.AUTH_DENIED)
TWO = snapshot(POLICY + "  - match: {host: second.example.com, pathPrefix: /orders}\n    action: deny\n")


def denied(asked: HttpRequest, policy: PolicySnapshot | None = SNAPSHOT, rules: DecisionRules = RULES) -> Deny:
    outcome = begin(asked, policy, rules)
    assert isinstance(outcome, Deny)
    return outcome


def checked(outcome: Deny) -> tuple[DecisionReason, int, Result]:
    return outcome.reason, outcome.status, outcome.result


@pytest.mark.parametrize(
    "target", ["http://api.example.com/orders/1", "HTTPS://API.example.com:443/admin", "http://api.example.com./broken"]
)
def test_an_absolute_target_of_a_protected_host_is_denied_under_another_host(target: str) -> None:
    outcome = denied(request(target, "Bearer token", host=OTHER))
    assert checked(outcome) == AMBIGUOUS
    reduced = split_absolute_form(target)
    assert reduced is not None
    named, path = reduced
    assert denied(request(path, "Bearer token", host=OTHER, target_authority=named)) == outcome


@pytest.mark.parametrize("policy", [SNAPSHOT, snapshot("version: v1")], ids=["policy", "no entries"])
@pytest.mark.parametrize("host", ["a~b", "*", "[::1", "a@b", "a b", "%41"])
def test_a_malformed_host_is_refused_wherever_there_is_policy(host: str, policy: PolicySnapshot) -> None:
    assert checked(denied(request("/x", host=host), policy)) == AMBIGUOUS


AMBIGUOUS_REQUESTS = {
    "dot segments": (request("/x/../orders", "Bearer token"), "path"),
    "user in the host": (request("/orders", "Bearer token", host="user@api.example.com"), "authority"),
    "user in the target": (request("http://user@api.example.com/public", host=OTHER), "authority"),
    "two hosts with different policies": (request("/orders/1", "Bearer token", target_authority="second.example.com"), "authority"),
    "CONNECT": (request("", "Bearer token", "CONNECT"), "path"),
    "CONNECT to an authority": (request("api.example.com:443", "Bearer token", "CONNECT"), "path"),
    "CONNECT with a path": (request("/public", "Bearer token", "CONNECT"), "path"),
    "CONNECT with a path that is denied": (request("/admin", "Bearer token", "CONNECT"), "path"),
    "absolute target on a host with policy": (request("http://api.example.com/orders", "Bearer token"), "path"),
    "* that is not OPTIONS": (request("*", "Bearer token"), "path"),
    "no target": (request("", "Bearer token"), "path"),
}


@pytest.mark.parametrize("case", AMBIGUOUS_REQUESTS)
def test_a_request_that_can_be_read_in_two_ways_is_refused(case: str) -> None:
    asked, part = AMBIGUOUS_REQUESTS[case]
    outcome = denied(asked, TWO)
    assert checked(outcome) == AMBIGUOUS
    assert part in outcome.body


@pytest.mark.parametrize(
    "asked",
    [
        *(
            pytest.param(request(target, host=OTHER), id=f"target {target}")
            for target in ("http://else.example.com/orders/1", "http://api.example.com/public", "else", "*")
        ),
        *(pytest.param(request("/x", host=host), id=f"number {host}") for host in ("127.1", "2130706433", "0x7f.1")),
        pytest.param(request("*", "Bearer token", "OPTIONS"), id="OPTIONS *"),
        pytest.param(request("/public", method="OPTIONS"), id="OPTIONS"),
        pytest.param(request("/public", method="OPTIONS", **PREFLIGHT), id="preflight"),
    ],
)
def test_an_unmatched_request_passes_unless_the_default_is_to_deny(asked: HttpRequest) -> None:
    assert begin(asked, SNAPSHOT, RULES) is ALLOW_UNMATCHED
    assert begin(asked, SNAPSHOT, DEFAULT_DENY) is DENY_UNMATCHED
    assert (ALLOW_UNMATCHED.result, DENY_UNMATCHED.result, DENY_UNMATCHED.status) == (Result.ALLOWED, Result.AUTH_DENIED, 403)
    assert DENY_UNMATCHED.body == '{"error":"policy_denied"}'


@pytest.mark.parametrize("named", ["api.example.com", "API.EXAMPLE.COM:80", "api.example.com.", "else.example.com"])
def test_target_authority_of_the_same_or_an_unknown_host_changes_nothing(named: str) -> None:
    assert isinstance(begin(request("/orders/1", "Bearer token", target_authority=named), SNAPSHOT, RULES), ExchangePending)
    assert denied(request("/admin", "Bearer token", target_authority=named)).status == 403


@pytest.mark.parametrize(
    ("host", "named"), [("api.example.com", OTHER), (OTHER, "api.example.com"), (OTHER, OTHER), ("api.example.com", "api.example.com")]
)
@pytest.mark.parametrize("absolute", [True, False])
def test_a_target_on_an_uncovered_host_falls_under_the_default_denial(host: str, named: str, *, absolute: bool) -> None:
    allowing = snapshot("version: v1\nentries:\n  - match: {host: api.example.com, pathPrefix: /}\n    action: allow\n")
    asked = request(f"http://{named}/x", host=host) if absolute else request("/x", host=host, target_authority=named)

    if absolute and host == "api.example.com":  # the target itself is not a path on that host
        assert denied(asked, allowing, DEFAULT_DENY).reason is DecisionReason.DENY_AMBIGUOUS_REQUEST
    elif host == named == "api.example.com":
        assert begin(asked, allowing, DEFAULT_DENY) == Allow(DecisionReason.ALLOW_EXPLICIT_POLICY, SOURCE, entry_index=0)
    else:
        assert isinstance(begin(asked, allowing, DEFAULT_DENY), Deny)
    if not absolute and named == OTHER:
        assert begin(asked, allowing, DEFAULT_DENY) is DENY_UNMATCHED


def test_a_denial_stays_one_whatever_the_target_names() -> None:
    asked = request("/orders/1", "Bearer token", host="second.example.com", target_authority="api.example.com")
    assert denied(asked, TWO).reason is DecisionReason.DENY_EXPLICIT_POLICY


@pytest.mark.parametrize(
    ("path", "policy"), [("/anything", None), ("/broken/1", SNAPSHOT), ("/tie/1", SNAPSHOT)], ids=["no policy yet", "broken", "tie"]
)
def test_without_a_healthy_policy_the_answer_is_500(path: str, policy: PolicySnapshot | None) -> None:
    outcome = denied(request(path, "Bearer token"), policy)
    assert checked(outcome) == (DecisionReason.DENY_POLICY_UNHEALTHY, 500, Result.SYSTEM_ERROR)
    assert outcome.detail
    assert outcome.body == '{"error":"server_error","error_description":"internal server error"}'


@pytest.mark.parametrize("options", [{}, PREFLIGHT], ids=["plain", "preflight"])
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_explicit_deny(method: str, options: dict[str, str]) -> None:
    outcome = begin(request("/admin", method=method, **options), SNAPSHOT, OPEN_OPTIONS)
    assert outcome == Deny(DecisionReason.DENY_EXPLICIT_POLICY, 403, '{"error":"policy_denied"}', source=SOURCE, entry_index=2)


@pytest.mark.parametrize(
    ("method", "authorization", "options", "rules", "reason"),
    [
        ("OPTIONS", None, PREFLIGHT, RULES, DecisionReason.ALLOW_OPTIONS_BYPASS),
        ("OPTIONS", None, {}, RULES, DecisionReason.DENY_MISSING_BEARER),
        ("OPTIONS", None, {"origin": "o"}, RULES, DecisionReason.DENY_MISSING_BEARER),
        ("OPTIONS", None, {"access_control_request_method": "GET"}, RULES, DecisionReason.DENY_MISSING_BEARER),
        ("OPTIONS", "Basic YTpi", PREFLIGHT, RULES, DecisionReason.DENY_MISSING_BEARER),
        ("OPTIONS", "Bearer a,b", PREFLIGHT, RULES, DecisionReason.DENY_INVALID_BEARER),
        ("OPTIONS", None, {}, OPEN_OPTIONS, DecisionReason.ALLOW_OPTIONS_BYPASS),
        ("OPTIONS", "Basic YTpi", {}, OPEN_OPTIONS, DecisionReason.ALLOW_OPTIONS_BYPASS),
        ("OPTIONS", "Bearer a,b", {}, OPEN_OPTIONS, DecisionReason.DENY_INVALID_BEARER),
        ("OPTIONS", "Bearer a,Bearer b", {}, OPEN_OPTIONS, DecisionReason.DENY_MISSING_BEARER),
        ("OPTIONS", "Basic YTpi, Bearer b", PREFLIGHT, OPEN_OPTIONS, DecisionReason.DENY_MISSING_BEARER),
        ("OPTIONS", "Bearer a b", {}, OPEN_OPTIONS, DecisionReason.DENY_MISSING_BEARER),
        ("GET", None, PREFLIGHT, OPEN_OPTIONS, DecisionReason.DENY_MISSING_BEARER),
    ],
)
def test_options_and_preflights(
    method: str, authorization: str | None, options: dict[str, str], rules: DecisionRules, reason: DecisionReason
) -> None:
    outcome = begin(request("/orders", authorization, method, **options), SNAPSHOT, rules)
    assert isinstance(outcome, Allow | Deny)
    assert outcome.reason is reason


@pytest.mark.parametrize("listed", [("x-token",), ("authorization", "x-token"), ("x-token", "authorization")])
@pytest.mark.parametrize(
    ("authorization", "token", "passes"),
    [
        (None, "", (True, True)),
        ("Basic YTpi", "", (False, True)),
        ("Bearer canary", "", (False, False)),
        ("Bearer a,Bearer canary", "", (False, False)),
        (None, "canary", (False, False)),
        ("Basic YTpi", "canary", (False, False)),
        ("Basic YTpi", "canary,canary", (False, False)),
    ],
)
def test_no_options_request_passes_with_a_token_wherever_tokens_are_read_from(
    listed: tuple[str, ...], authorization: str | None, token: str, passes: tuple[bool, bool]
) -> None:
    issuer = attrs.evolve(PRIMARY, subject=SubjectRules(listed))
    asked = request("/orders", authorization, "OPTIONS", **PREFLIGHT)
    asked = attrs.evolve(asked, fields=HeaderFields((("x-token", token),) if token else (), raw=True))
    for rules, passing in zip((RULES, OPEN_OPTIONS), passes, strict=True):
        outcome = begin(asked, SNAPSHOT, attrs.evolve(rules, issuers=rules.issuers.insert("primary", issuer)))
        assert isinstance(outcome, Allow) == passing


@pytest.mark.parametrize(("method", "rules"), [("GET", RULES), ("OPTIONS", RULES), ("OPTIONS", OPEN_OPTIONS)])
def test_a_bearer_token_is_exchanged_whatever_the_method(method: str, rules: DecisionRules) -> None:
    trace = TraceContext("00-1-2-01", "a=b", "c=d")
    asked = attrs.evolve(request("/orders/1", "bearer subject", method, **PREFLIGHT), trace=trace)
    outcome = begin(asked, SNAPSHOT, rules)
    assert isinstance(outcome, ExchangePending)
    token_request = outcome.token_request
    assert (token_request.issuer, token_request.subject_token, token_request.target.scope) == (PRIMARY, Secret("subject"), "read:orders")
    assert token_request.trace == trace
    assert (token_request.grant_type, token_request.subject_token_type) == (RULES.grant_type, RULES.subject_token_type)


def test_a_profile_may_say_which_type_its_callers_tokens_have() -> None:
    typed = attrs.evolve(PRIMARY, subject=SubjectRules(token_type="urn:ietf:params:oauth:token-type:id_token"))
    found = {
        outcome.token_request.subject_token_type
        for issuer in (PRIMARY, typed)
        if isinstance(
            outcome := begin(
                request("/orders/1", "Bearer subject"), SNAPSHOT, attrs.evolve(RULES, issuers=RULES.issuers.insert("primary", issuer))
            ),
            ExchangePending,
        )
    }
    assert found == {RULES.subject_token_type, "urn:ietf:params:oauth:token-type:id_token"}


@pytest.mark.parametrize(
    ("path", "authorization", "body", "challenge"),
    [
        ("/orders", None, '{"error":"bearer_token_required"}', 'Bearer realm="issuer", scope="read:orders"'),
        ("/plain", "Basic YTpi", '{"error":"bearer_token_required"}', 'Bearer realm="ext-authz-token-exchange"'),
        ("/orders", "Bearer a,b", '{"error":"invalid_token"}', 'Bearer realm="issuer", scope="read:orders", error="invalid_token"'),
    ],
)
def test_challenges(path: str, authorization: str | None, body: str, challenge: str) -> None:
    outcome = denied(request(path, authorization))
    assert (outcome.status, outcome.body, outcome.headers) == (401, body, (("WWW-Authenticate", challenge),))
    assert outcome.result is Result.AUTH_DENIED


METADATA = "https://api.example.com/.well-known/oauth-protected-resource"
WITH_METADATA = snapshot(POLICY.replace('scope: "read:orders"', f'scope: "read:orders", resourceMetadata: "{METADATA}"'))


@pytest.mark.parametrize(
    ("authorization", "challenge"),
    [
        (None, f'Bearer realm="issuer", scope="read:orders", resource_metadata="{METADATA}"'),
        ("Basic YTpi", f'Bearer realm="issuer", scope="read:orders", resource_metadata="{METADATA}"'),
        ("Bearer a,b", f'Bearer realm="issuer", scope="read:orders", error="invalid_token", resource_metadata="{METADATA}"'),
    ],
)
def test_challenges_say_where_the_metadata_of_the_entry_is(authorization: str | None, challenge: str) -> None:
    assert denied(request("/orders", authorization), WITH_METADATA).headers == (("WWW-Authenticate", challenge),)
    assert denied(request("/plain", authorization), WITH_METADATA) == denied(request("/plain", authorization))


def test_metadata_makes_no_other_token_request() -> None:
    pending = [begin(request("/orders", "Bearer token"), policy, RULES) for policy in (SNAPSHOT, WITH_METADATA)]
    assert all(isinstance(one, ExchangePending) for one in pending)
    assert len({one.token_request for one in pending if isinstance(one, ExchangePending)}) == 1


def test_an_issuer_that_is_gone_is_a_failed_exchange() -> None:
    rules = attrs.evolve(RULES, issuers=HashTrieMap())
    outcome = begin(request("/orders", "Bearer token"), SNAPSHOT, rules)
    assert isinstance(outcome, Deny)
    assert (outcome.status, outcome.diagnostic) == (500, Diagnostic.UNKNOWN_ISSUER)
    assert outcome.body == '{"error":"server_error","message":"unknown issuer profile (TXE-1005)"}'
    missing = denied(request("/orders"), rules=rules)
    assert missing.headers == (("WWW-Authenticate", 'Bearer realm="ext-authz-token-exchange", scope="read:orders"'),)


def _pending() -> ExchangePending:
    pending = begin(request("/orders", "Bearer token"), SNAPSHOT, RULES)
    assert isinstance(pending, ExchangePending)
    return pending


def test_an_exchanged_token_allows() -> None:
    assert finish(_pending(), ExchangedToken(Secret("new"))) == Allow(DecisionReason.ALLOW_EXCHANGE, SOURCE, Secret("new"), 0, "primary")


@pytest.mark.parametrize("cache", Cache)
@pytest.mark.parametrize("expires", [1_060, None])
def test_it_is_known_where_a_token_came_from_and_when_it_expires(cache: Cache, expires: int | None) -> None:
    outcome = finish(_pending(), ExchangedToken(Secret("new"), CALL, 60, cache, expires))
    assert isinstance(outcome, Allow)
    assert (outcome.cache, outcome.expires_at) == (cache, expires)
    assert outcome.issuer == "primary"


@pytest.mark.parametrize(("status", "result"), [(400, Result.AUTH_DENIED), (401, Result.AUTH_DENIED), (500, Result.SYSTEM_ERROR)])
def test_a_failed_exchange_denies(status: int, result: Result) -> None:
    failure = ExchangeFailure(
        Diagnostic.OAUTH_ERROR,
        ErrorKind.HTTP_STATUS,
        status,
        "{}",
        ("Basic x", "Bearer y"),
        status,
        CALL,
        Cache.MISS,
        oauth_error="invalid_grant",
        detail="why",
    )
    outcome = finish(_pending(), failure)
    assert isinstance(outcome, Deny)
    assert (outcome.reason, outcome.status, outcome.body, outcome.result) == (DecisionReason.DENY_EXCHANGE_ERROR, status, "{}", result)
    assert outcome.headers == (("WWW-Authenticate", "Basic x"), ("WWW-Authenticate", "Bearer y"))
    assert (outcome.source, outcome.diagnostic) == (SOURCE, Diagnostic.OAUTH_ERROR)
    told = (outcome.issuer, outcome.cache, outcome.error_kind, outcome.oauth_error, outcome.detail)
    assert told == ("primary", Cache.MISS, ErrorKind.HTTP_STATUS, "invalid_grant", "why")


def test_a_conflict_names_both_entries_to_operators_alone() -> None:
    outcome = denied(request("/tie", "Bearer token"))
    assert outcome.detail.endswith(": team/policy entries[4], team/policy entries[5]")
    assert "team" not in outcome.body
