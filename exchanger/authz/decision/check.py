"""The decision in two steps: ``begin`` decides everything that needs no token exchange, ``finish`` decides by the outcome of one.

Must not know: gRPC, HTTP, tasks, clocks, or where policy and issuers come from. Whatever is not explicitly allowed is denied.
"""

import functools
from typing import Final, assert_never, final

import attrs
from rpds import HashTrieMap

from exchanger.authz.decision.outcome import Allow, DecisionReason, Deny, ExchangePending, Outcome
from exchanger.authz.decision.strict import strict_answer
from exchanger.authz.decision.subject import has_sibling, read_subject, readings, spellings
from exchanger.model.authority import split_absolute_form
from exchanger.model.bearer import NoToken, challenge
from exchanger.model.entry import AllowEntry, DenyEntry, ExchangeEntry
from exchanger.model.errors import Diagnostic
from exchanger.model.issuer import ErrorStyle, Issuer, SubjectRules
from exchanger.model.policy_decision import AMBIGUOUS_AUTHORITY, Ambiguous, AmbiguousPart, NoMatch, PolicyDecision, Unhealthy
from exchanger.model.request import HttpRequest
from exchanger.model.token import ACCESS_TOKEN_TYPE, ErrorKind, ExchangedToken, ExchangeFailure, TokenOutcome, TokenRequest
from exchanger.model.token_failure import transport_failure
from exchanger.policy.conflicts import contenders, named
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.policy.table import CONFLICT
from exchanger.util.frozen import constructor_of

TOKEN_EXCHANGE_GRANT: Final = "urn:ietf:params:oauth:grant-type:token-exchange"  # RFC 8693 section 2.1


@final
@attrs.frozen
class DecisionRules:
    """The operator's settings for all policies."""

    issuers: "HashTrieMap[str, Issuer]" = attrs.field(factory=HashTrieMap)
    bearer_realm: str = "ext-authz-token-exchange"
    grant_type: str = TOKEN_EXCHANGE_GRANT
    subject_token_type: str = ACCESS_TOKEN_TYPE
    allow_unauthenticated_options: bool = False
    default_deny_unmatched: bool = False
    needs_headers: bool = attrs.field(init=False)

    @needs_headers.default
    def _needs_headers(self) -> bool:
        """Whether some issuer's tokens are read from other headers than Authorization."""
        return any(issuer.subject.removed for issuer in self.issuers.values())


_NO_RULES: Final = SubjectRules()

# Of every exchange. Looking up a member of an enum takes 0.2 µs.
_token_request: Final = constructor_of(TokenRequest)
_pending: Final = constructor_of(ExchangePending)
_allow: Final = constructor_of(Allow)
_ALLOW_EXCHANGE: Final = DecisionReason.ALLOW_EXCHANGE


def _deny(reason: DecisionReason, status: int, body: str) -> Deny:
    return Deny(reason=reason, status=status, body=body)


_POLICY_DENIED: Final = '{"error":"policy_denied"}'
_UNHEALTHY_BODY: Final = '{"error":"server_error","error_description":"internal server error"}'

ALLOW_UNMATCHED: Final = Allow(DecisionReason.ALLOW_UNMATCHED)
DENY_UNMATCHED: Final = _deny(DecisionReason.DENY_UNMATCHED_DEFAULT, 403, _POLICY_DENIED)
DENY_UNHEALTHY: Final = _deny(DecisionReason.DENY_POLICY_UNHEALTHY, 500, _UNHEALTHY_BODY)
DENY_NO_POLICY: Final = attrs.evolve(DENY_UNHEALTHY, detail="no complete policy has been loaded yet")

# The client learns which part is ambiguous, and nothing of the policy.
DENY_AMBIGUOUS: Final = HashTrieMap(
    {
        part: Deny(
            DecisionReason.DENY_AMBIGUOUS_REQUEST,
            400,
            f'{{"error":"invalid_request","error_description":"ambiguous or malformed {part.value}"}}',
            detail=f"the {part.value} cannot be read, or can be read in ways that lead to different decisions",
        )
        for part in AmbiguousPart
    }
)
# RFC 6750 section 3.1: more than one method to send a token.
_DENY_DIFFERENT: Final = Deny(
    DecisionReason.DENY_AMBIGUOUS_REQUEST,
    400,
    '{"error":"invalid_request","error_description":"different tokens"}',
    detail="the headers that may hold the caller's token hold different tokens",
)
_DENY_SIBLING: Final = attrs.evolve(
    DENY_AMBIGUOUS[AmbiguousPart.HEADER],
    detail="a header differs only in _ and - from one that may hold the caller's token, and some servers treat the two as equal",
)
MISSING_REQUEST: Final = _deny(
    DecisionReason.MISSING_HTTP_ATTRIBUTES, 500, '{"error":"server_error","message":"missing request attributes"}'
)
MISSING_HTTP: Final = _deny(
    DecisionReason.MISSING_HTTP_ATTRIBUTES, 500, '{"error":"server_error","message":"missing HTTP request attributes"}'
)


def begin(request: HttpRequest, snapshot: PolicySnapshot | None, rules: DecisionRules) -> Outcome | ExchangePending:
    """Decide without a token exchange where possible. ``snapshot`` is ``None`` until the first complete policy is known."""
    if snapshot is None:
        return DENY_NO_POLICY
    decision = _decision(request, request.host, request.path, snapshot, rules)
    if request.target_authority or request.path[:1] != "/":
        decision = _with_target(request, snapshot, rules, decision)
    match decision:
        case NoMatch():
            return DENY_UNMATCHED if rules.default_deny_unmatched else ALLOW_UNMATCHED
        case ExchangeEntry():
            return _begin_exchange(request, decision, rules)
        case DenyEntry():
            return _explicit_deny(decision)
        case AllowEntry():
            return _explicit_allow(decision)
        case Unhealthy():
            detail = decision.reason if decision is not CONFLICT else _conflict(request, snapshot)
            return attrs.evolve(DENY_UNHEALTHY, source=decision.source, detail=detail, entry_index=decision.index)
        case Ambiguous():
            return DENY_AMBIGUOUS[decision.part]
        case _:
            assert_never(decision)


def _decision(request: HttpRequest, host: str, path: str, snapshot: PolicySnapshot, rules: DecisionRules) -> PolicyDecision:
    return snapshot.match(
        host,
        path,
        request.method,
        raw=request.path_is_raw,
        headers=request.fields,
        refuses_unmatched=rules.default_deny_unmatched,
    )


def _with_target(request: HttpRequest, snapshot: PolicySnapshot, rules: DecisionRules, decision: PolicyDecision) -> PolicyDecision:
    """Compare ``decision`` with that for the authority in the request target, if it names one.

    The gateway routes by host, but a server behind it may use the target (RFC 9112 section 3.2.2,
    https://www.rfc-editor.org/rfc/rfc9112#section-3.2.2). Naming another host must not bypass the policy of the one that answers, nor the
    denial of requests that no policy matches.
    """
    authority, path = request.target_authority, request.path
    if not authority and (parts := split_absolute_form(path)) is not None:
        authority, path = parts
    if not authority or isinstance(decision, DenyEntry | Unhealthy | Ambiguous):  # refused anyway
        return decision
    other = _decision(request, authority, path, snapshot, rules)
    if other == decision:
        return decision
    if isinstance(other, NoMatch):
        return other if rules.default_deny_unmatched else decision
    return AMBIGUOUS_AUTHORITY


def _conflict(request: HttpRequest, snapshot: PolicySnapshot) -> str:
    found = contenders(snapshot, request.host, request.path, request.method, raw=request.path_is_raw, headers=request.fields)
    return CONFLICT.reason + "".join(f"{', ' if number else ': '}{named(entry)}" for number, entry in enumerate(found))


# Denials repeat, so each is built once. The keys belong to the policy, are bounded in number and cache their hashes.
@functools.lru_cache(maxsize=4096)
def _explicit_deny(entry: DenyEntry) -> Deny:
    return Deny(DecisionReason.DENY_EXPLICIT_POLICY, 403, _POLICY_DENIED, source=entry.source, entry_index=entry.index)


@functools.lru_cache(maxsize=4096)
def _explicit_allow(entry: AllowEntry) -> Allow:
    return Allow(DecisionReason.ALLOW_EXPLICIT_POLICY, entry.source, entry_index=entry.index)


def _begin_exchange(request: HttpRequest, entry: ExchangeEntry, rules: DecisionRules) -> Outcome | ExchangePending:
    issuer = rules.issuers.get(entry.target.issuer_ref)
    subject = _NO_RULES if issuer is None else issuer.subject
    if subject.removed and has_sibling(request, subject):
        return attrs.evolve(_DENY_SIBLING, source=entry.source, entry_index=entry.index, issuer=entry.target.issuer_ref)
    credentials = read_subject(request, subject)
    if request.method == "OPTIONS" and _options_pass(request, subject, rules):
        return Allow(DecisionReason.ALLOW_OPTIONS_BYPASS, entry.source, entry_index=entry.index, issuer=entry.target.issuer_ref)
    realm = (issuer.bearer_realm if issuer is not None else "") or rules.bearer_realm
    if isinstance(credentials, NoToken):
        if credentials is NoToken.DIFFERENT:
            return attrs.evolve(_DENY_DIFFERENT, source=entry.source, entry_index=entry.index, issuer=entry.target.issuer_ref)
        invalid = credentials is NoToken.INVALID
        return _challenged(entry, realm, DecisionReason.DENY_INVALID_BEARER if invalid else DecisionReason.DENY_MISSING_BEARER)
    if issuer is None:
        return _refused(entry, transport_failure(ErrorKind.UNKNOWN_ISSUER_PROFILE, Diagnostic.UNKNOWN_ISSUER))
    namespace = entry.source.namespace
    token_type = subject.token_type or rules.subject_token_type
    asked = _token_request(issuer, credentials, entry.target, rules.grant_type, token_type, request.trace, namespace)
    return _pending(entry, asked, realm)


def _options_pass(request: HttpRequest, subject: SubjectRules, rules: DecisionRules) -> bool:
    """Return whether an OPTIONS request may pass without a token: it passes unchanged, so no header may hold one.

    A request with credentials is not a CORS preflight (https://fetch.spec.whatwg.org/#cors-preflight-fetch).
    """
    found = set(readings(request, subject))
    if rules.allow_unauthenticated_options and found <= {NoToken.ABSENT, NoToken.NOT_BEARER}:
        return True
    return found == {NoToken.ABSENT} and bool(request.origin and request.access_control_request_method)


@functools.lru_cache(maxsize=4096)
def _challenged(entry: ExchangeEntry, realm: str, reason: DecisionReason) -> Deny:
    error = "invalid_token" if reason is DecisionReason.DENY_INVALID_BEARER else ""
    return Deny(
        reason=reason,
        status=401,
        body='{"error":"invalid_token"}' if error else '{"error":"bearer_token_required"}',
        headers=(("WWW-Authenticate", challenge(realm, entry.target.scope, error, entry.resource_metadata)),),
        source=entry.source,
        entry_index=entry.index,
        issuer=entry.target.issuer_ref,
    )


def finish(pending: ExchangePending, outcome: TokenOutcome) -> Outcome:
    """Decide by the outcome of the exchange."""
    entry, issuer = pending.entry, pending.token_request.issuer
    match outcome:
        case ExchangedToken():
            removed = issuer.subject.removed
            return _allow(
                _ALLOW_EXCHANGE,
                entry.source,
                outcome.access_token,
                entry.index,
                entry.target.issuer_ref,
                outcome.cache,
                outcome.expires_at,
                spellings(removed) if removed else (),
                outcome.subject,
            )
        case ExchangeFailure():
            denied = _refused(entry, outcome)
            # Verification is ours, so its refusals are the same in both styles.
            if issuer.errors is not ErrorStyle.STRICT and outcome.diagnostic not in _OF_VERIFICATION:
                return denied
            told = strict_answer(outcome, pending.realm, entry.target.scope, entry.resource_metadata)
            return attrs.evolve(denied, status=told.status, body=told.body, headers=told.headers)
        case _:
            assert_never(outcome)


_OF_VERIFICATION: Final = frozenset(
    {Diagnostic.SUBJECT_REJECTED, Diagnostic.KEYS_UNKNOWN, Diagnostic.SUBJECT_INACTIVE, Diagnostic.INTROSPECTION_UNAVAILABLE}
)


def _refused(entry: ExchangeEntry, failure: ExchangeFailure) -> Deny:
    return Deny(
        reason=DecisionReason.DENY_EXCHANGE_ERROR,
        status=failure.status,
        body=failure.body,
        headers=tuple(("WWW-Authenticate", value) for value in failure.www_authenticate),
        source=entry.source,
        diagnostic=failure.diagnostic,
        detail=failure.detail,
        entry_index=entry.index,
        issuer=entry.target.issuer_ref,
        cache=failure.cache,
        error_kind=failure.kind,
        oauth_error=failure.oauth_error,
        subject=failure.subject,
        mismatch=failure.mismatch,
        leg=failure.first_leg.issuer if failure.first_leg is not None and failure.first_leg.failed else "",
    )
