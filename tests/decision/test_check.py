import attrs
import pytest
from rpds import HashTrieMap

from exchanger.decision.check import ALLOW_UNMATCHED, DENY_UNMATCHED, begin, finish
from exchanger.decision.outcome import Allow, Deny, ExchangePending, Reason, Result
from exchanger.errors import Diagnostic
from exchanger.policy.authority import split_absolute_form
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.values.entry import ExchangeEntry
from exchanger.values.secret import Secret
from exchanger.values.token import ErrorKind, ExchangedToken, ExchangeFailure
from exchanger.values.trace import TraceContext
from tests.decision.examples import POLICY, PRIMARY, RULES, SOURCE, request, snapshot

SNAPSHOT = snapshot()
PREFLIGHT = {"origin": "https://app.example.com", "access_control_request_method": "GET"}
DEFAULT_DENY = attrs.evolve(RULES, default_deny_unmatched=True)
OPEN_OPTIONS = attrs.evolve(RULES, allow_unauthenticated_options=True)


OTHER = "other.example.com"
"""A host without any policy."""


@pytest.mark.parametrize(
    "target", ["http://api.example.com/orders/1", "HTTPS://API.example.com:443/admin", "http://api.example.com./broken"]
)
def test_a_target_that_names_a_protected_host_does_not_pass_under_another_name(target: str) -> None:
    outcome = begin(request(target, "Bearer token", host=OTHER), SNAPSHOT, RULES)
    assert isinstance(outcome, Deny)
    assert (outcome.reason, outcome.status) == (Reason.DENY_AMBIGUOUS_REQUEST, 400)
    reduced = split_absolute_form(target)
    assert reduced is not None
    named, path = reduced
    also = begin(request(path, "Bearer token", host=OTHER, target_authority=named), SNAPSHOT, RULES)
    assert also == outcome


@pytest.mark.parametrize("target", ["http://else.example.com/orders/1", "http://api.example.com/public", "else", "*"])
def test_a_target_that_no_policy_speaks_of_is_unmatched(target: str) -> None:
    assert begin(request(target, host=OTHER), SNAPSHOT, RULES) is ALLOW_UNMATCHED


@pytest.mark.parametrize(
    ("method", "target"),
    [("CONNECT", ""), ("CONNECT", "api.example.com:443"), ("GET", "http://api.example.com/orders"), ("GET", "*"), ("GET", "")],
)
def test_a_target_without_a_path_of_its_own_is_refused_on_a_host_with_policy(method: str, target: str) -> None:
    outcome = begin(request(target, "Bearer token", method), SNAPSHOT, RULES)
    assert isinstance(outcome, Deny)
    assert (outcome.reason, outcome.status) == (Reason.DENY_AMBIGUOUS_REQUEST, 400)
    assert begin(request("*", "Bearer token", "OPTIONS"), SNAPSHOT, RULES) is ALLOW_UNMATCHED


@pytest.mark.parametrize("host", ["a~b", "*", "[::1", "a@b", "a b", "%41"])
@pytest.mark.parametrize("policy", [SNAPSHOT, snapshot("version: v1")])
def test_a_host_that_is_none_is_refused_wherever_there_is_policy(host: str, policy: PolicySnapshot) -> None:
    outcome = begin(request("/x", host=host), policy, RULES)
    assert isinstance(outcome, Deny)
    assert (outcome.reason, outcome.status) == (Reason.DENY_AMBIGUOUS_REQUEST, 400)


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f.1"])
def test_a_host_that_is_a_number_is_a_name(host: str) -> None:
    assert begin(request("/x", host=host), SNAPSHOT, RULES) is ALLOW_UNMATCHED


def test_a_malformed_authority_in_the_target_is_refused() -> None:
    outcome = begin(request("http://user@api.example.com/public", host=OTHER), SNAPSHOT, RULES)
    assert isinstance(outcome, Deny)
    assert outcome.status == 400


@pytest.mark.parametrize("named", ["api.example.com", "API.EXAMPLE.COM:80", "api.example.com.", "else.example.com"])
def test_a_reduced_target_is_decided_by_its_host_when_it_says_the_same_or_nothing(named: str) -> None:
    pending = begin(request("/orders/1", "Bearer token", target_authority=named), SNAPSHOT, RULES)
    assert isinstance(pending, ExchangePending)
    denied = begin(request("/admin", "Bearer token", target_authority=named), SNAPSHOT, RULES)
    assert isinstance(denied, Deny)
    assert denied.status == 403


def test_two_hosts_with_different_policies_are_ambiguous() -> None:
    two = snapshot(POLICY + "  - match: {host: second.example.com, pathPrefix: /orders}\n    action: deny\n")
    outcome = begin(request("/orders/1", "Bearer token", target_authority="second.example.com"), two, RULES)
    assert isinstance(outcome, Deny)
    assert outcome.reason is Reason.DENY_AMBIGUOUS_REQUEST
    refused = begin(request("/orders/1", "Bearer token", host="second.example.com", target_authority="api.example.com"), two, RULES)
    assert isinstance(refused, Deny)
    assert refused.reason is Reason.DENY_EXPLICIT_POLICY


def test_before_the_first_snapshot_everything_is_unhealthy() -> None:
    outcome = begin(request("/anything"), None, RULES)
    assert isinstance(outcome, Deny)
    assert (outcome.reason, outcome.status, outcome.result) == (Reason.DENY_POLICY_UNHEALTHY, 500, Result.SYSTEM_ERROR)


@pytest.mark.parametrize("options", [{}, PREFLIGHT])
def test_unmatched_requests(options: dict[str, str]) -> None:
    unmatched = request("/public", method="OPTIONS", **options)
    assert begin(unmatched, SNAPSHOT, RULES) is ALLOW_UNMATCHED
    assert begin(unmatched, SNAPSHOT, DEFAULT_DENY) is DENY_UNMATCHED
    assert (ALLOW_UNMATCHED.result, DENY_UNMATCHED.result, DENY_UNMATCHED.status) == (Result.ALLOWED, Result.AUTH_DENIED, 403)
    assert DENY_UNMATCHED.body == '{"error":"policy_denied"}'


@pytest.mark.parametrize("path", ["/broken/1", "/tie/1"])
def test_an_unhealthy_area_answers_500(path: str) -> None:
    outcome = begin(request(path, "Bearer token"), SNAPSHOT, RULES)
    assert isinstance(outcome, Deny)
    assert (outcome.reason, outcome.status) == (Reason.DENY_POLICY_UNHEALTHY, 500)
    assert outcome.detail
    assert outcome.body == '{"error":"server_error","error_description":"internal server error"}'


@pytest.mark.parametrize("options", [{}, PREFLIGHT])
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_explicit_deny(method: str, options: dict[str, str]) -> None:
    outcome = begin(request("/admin", method=method, **options), SNAPSHOT, OPEN_OPTIONS)
    assert outcome == Deny(Reason.DENY_EXPLICIT_POLICY, 403, '{"error":"policy_denied"}', source=SOURCE, entry_index=2)


@pytest.mark.parametrize(
    ("path", "host", "part"), [("/x/../orders", "api.example.com", "path"), ("/orders", "user@api.example.com", "authority")]
)
def test_what_can_be_read_in_two_ways_is_refused(path: str, host: str, part: str) -> None:
    outcome = begin(request(path, "Bearer token", host=host), SNAPSHOT, RULES)
    assert isinstance(outcome, Deny)
    assert (outcome.reason, outcome.status, outcome.result) == (Reason.DENY_AMBIGUOUS_REQUEST, 400, Result.AUTH_DENIED)
    assert part in outcome.body


@pytest.mark.parametrize(
    ("method", "authorization", "options", "rules", "reason"),
    [
        ("OPTIONS", None, PREFLIGHT, RULES, Reason.ALLOW_OPTIONS_BYPASS),
        ("OPTIONS", None, {}, RULES, Reason.DENY_MISSING_BEARER),
        ("OPTIONS", None, {"origin": "o"}, RULES, Reason.DENY_MISSING_BEARER),
        ("OPTIONS", None, {"access_control_request_method": "GET"}, RULES, Reason.DENY_MISSING_BEARER),
        ("OPTIONS", "Basic YTpi", PREFLIGHT, RULES, Reason.DENY_MISSING_BEARER),
        ("OPTIONS", "Bearer a,b", PREFLIGHT, RULES, Reason.DENY_INVALID_BEARER),
        ("OPTIONS", None, {}, OPEN_OPTIONS, Reason.ALLOW_OPTIONS_BYPASS),
        ("OPTIONS", "Basic YTpi", {}, OPEN_OPTIONS, Reason.ALLOW_OPTIONS_BYPASS),
        ("OPTIONS", "Bearer a,b", {}, OPEN_OPTIONS, Reason.DENY_INVALID_BEARER),
        ("OPTIONS", "Bearer a,Bearer b", {}, OPEN_OPTIONS, Reason.DENY_MISSING_BEARER),
        ("OPTIONS", "Basic YTpi, Bearer b", PREFLIGHT, OPEN_OPTIONS, Reason.DENY_MISSING_BEARER),
        ("OPTIONS", "Bearer a b", {}, OPEN_OPTIONS, Reason.DENY_MISSING_BEARER),
        ("GET", None, PREFLIGHT, OPEN_OPTIONS, Reason.DENY_MISSING_BEARER),
    ],
)
def test_options_and_preflights(method: str, authorization: str | None, options: dict[str, str], rules: object, reason: Reason) -> None:
    assert rules in (RULES, OPEN_OPTIONS)
    chosen = OPEN_OPTIONS if rules is OPEN_OPTIONS else RULES
    outcome = begin(request("/orders", authorization, method, **options), SNAPSHOT, chosen)
    assert isinstance(outcome, Allow | Deny)
    assert outcome.reason is reason


@pytest.mark.parametrize(("method", "rules"), [("GET", RULES), ("OPTIONS", RULES), ("OPTIONS", OPEN_OPTIONS)])
def test_a_bearer_token_is_exchanged_whatever_the_method(method: str, rules: object) -> None:
    chosen = OPEN_OPTIONS if rules is OPEN_OPTIONS else RULES
    trace = TraceContext("00-1-2-01", "a=b", "c=d")
    asked = attrs.evolve(request("/orders/1", "bearer subject", method, **PREFLIGHT), trace=trace)
    outcome = begin(asked, SNAPSHOT, chosen)
    assert isinstance(outcome, ExchangePending)
    token_request = outcome.token_request
    assert (token_request.issuer, token_request.subject_token, token_request.target.scope) == (PRIMARY, Secret("subject"), "read:orders")
    assert token_request.trace == trace
    assert (token_request.grant_type, token_request.subject_token_type) == (RULES.grant_type, RULES.subject_token_type)


@pytest.mark.parametrize(
    ("path", "authorization", "body", "challenge"),
    [
        ("/orders", None, '{"error":"bearer_token_required"}', 'Bearer realm="issuer", scope="read:orders"'),
        ("/plain", "Basic YTpi", '{"error":"bearer_token_required"}', 'Bearer realm="ext-authz-token-exchange"'),
        ("/orders", "Bearer a,b", '{"error":"invalid_token"}', 'Bearer realm="issuer", scope="read:orders", error="invalid_token"'),
    ],
)
def test_challenges(path: str, authorization: str | None, body: str, challenge: str) -> None:
    outcome = begin(request(path, authorization), SNAPSHOT, RULES)
    assert isinstance(outcome, Deny)
    assert (outcome.status, outcome.body, outcome.headers) == (401, body, (("WWW-Authenticate", challenge),))
    assert outcome.result is Result.AUTH_DENIED


def test_an_issuer_that_is_gone_is_a_failed_exchange() -> None:
    rules = attrs.evolve(RULES, issuers=HashTrieMap())
    outcome = begin(request("/orders", "Bearer token"), SNAPSHOT, rules)
    assert isinstance(outcome, Deny)
    assert (outcome.status, outcome.diagnostic) == (500, Diagnostic.UNKNOWN_ISSUER)
    assert outcome.body == '{"error":"server_error","message":"unknown issuer profile (TXE-1005)"}'
    missing = begin(request("/orders"), SNAPSHOT, rules)
    assert isinstance(missing, Deny)
    assert missing.headers == (("WWW-Authenticate", 'Bearer realm="ext-authz-token-exchange", scope="read:orders"'),)


def _entry() -> ExchangeEntry:
    pending = begin(request("/orders", "Bearer token"), SNAPSHOT, RULES)
    assert isinstance(pending, ExchangePending)
    return pending.entry


def test_an_exchanged_token_allows() -> None:
    assert finish(_entry(), ExchangedToken(Secret("new"))) == Allow(Reason.ALLOW_EXCHANGE, SOURCE, Secret("new"), 0)


@pytest.mark.parametrize(("status", "result"), [(400, Result.AUTH_DENIED), (401, Result.AUTH_DENIED), (500, Result.SYSTEM_ERROR)])
def test_a_failed_exchange_denies(status: int, result: Result) -> None:
    failure = ExchangeFailure(Diagnostic.OAUTH_ERROR, ErrorKind.HTTP_STATUS, status, "{}", ("Basic x", "Bearer y"), status)
    outcome = finish(_entry(), failure)
    assert isinstance(outcome, Deny)
    assert (outcome.reason, outcome.status, outcome.body, outcome.result) == (Reason.DENY_EXCHANGE_ERROR, status, "{}", result)
    assert outcome.headers == (("WWW-Authenticate", "Basic x"), ("WWW-Authenticate", "Bearer y"))
    assert (outcome.source, outcome.diagnostic) == (SOURCE, Diagnostic.OAUTH_ERROR)
