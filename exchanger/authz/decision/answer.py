"""A question about a request that was never made, and the service's answer to it, in words.

``exchanger explain``, ``test`` and ``diff`` and the console's form all build the request here and use these words for the answer, so that
they cannot differ. The decision itself is made by ``begin``.

Must not know: where the question or the policy comes from, or how an answer is shown.
"""

import enum
from collections.abc import Iterable, Iterator
from typing import Final, assert_never, final

import attrs

from exchanger.authz.decision.check import DecisionRules, begin
from exchanger.authz.decision.outcome import Allow, DecisionReason, Deny, ExchangePending, Outcome
from exchanger.model.bearer import NoToken, read_bearer
from exchanger.model.entry import BASELINE, Source, TokenTarget
from exchanger.model.issuer import (
    AUTHORIZATION,
    ID_JAG,
    ActorCredentials,
    ActorRule,
    ActorToken,
    ErrorStyle,
    GrantType,
    IntrospectionRules,
    IssuedTokenRules,
    Issuer,
    SubjectRules,
)
from exchanger.model.request import HeaderFields, HttpRequest
from exchanger.model.secret import Secret
from exchanger.policy.snapshot import PolicySnapshot

# One value for each kind of content of Authorization: the real one never leaves the user's machine.
STAND_INS: Final[dict[NoToken | None, str]] = {
    None: "Bearer assumed",
    NoToken.ABSENT: "",
    NoToken.NOT_BEARER: "Basic assumed",
    NoToken.NOT_ONE: "Bearer assumed, Bearer assumed",
    NoToken.INVALID: 'Bearer "',
}

# The token of a request that is assumed to have one, wherever the issuer's profile reads it from.
ASSUMED: Final = STAND_INS[None]

# The stand-ins by name, for questions that travel.
STAND_INS_BY_NAME: Final = {"bearer" if kind is None else kind.name.lower(): text for kind, text in STAND_INS.items()}


def kind_of_credentials(authorization: Secret | None) -> str:
    """Return the name in ``STAND_INS_BY_NAME`` of what a decision finds in ``authorization``."""
    found = read_bearer(authorization)
    return found.name.lower() if isinstance(found, NoToken) else "bearer"


def asked_request(method: str, host: str, path: str, headers: Iterable[tuple[str, str]] = (), *, raw: bool = False) -> HttpRequest:
    """Return the request as read from a gateway's message; ``headers`` are one pair for each occurrence of a field.

    ``host`` counts unless ``headers`` have one. ``raw``: the gateway sends path and headers as raw bytes; otherwise it joins repeated
    fields with commas, and a ``!`` may replace a byte that is not UTF-8.
    """
    fields = tuple((name.lower(), value) for name, value in headers)
    joined: dict[str, str] = {}
    for name, value in fields:
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    authorization = joined.get("authorization")
    return HttpRequest(
        method.upper() if method.isascii() else method,
        joined.get("host") or host,
        path,
        Secret(authorization) if authorization else None,
        joined.get("origin", ""),
        joined.get("access-control-request-method", ""),
        path_is_raw=raw,
        fields=HeaderFields(fields if raw else tuple(joined.items()), raw=raw),
    )


@final
@enum.unique
class Effect(enum.Enum):
    """The effect of a decision on the request. ``REFUSED`` is neither a denial by an entry nor the default for unmatched requests."""

    EXCHANGE = "exchange"
    DENY = "deny"
    ALLOW = "allow"
    UNMATCHED = "unmatched"
    REFUSED = "refused"


@final
@attrs.frozen
class ExplainedDecision:
    """How a request is decided, and why in words.

    ``status`` is that of the refusal, ``None`` if the request passes or depends on an exchange. ``source`` and ``index`` are the entry that
    decides, or that is to blame; ``target``, ``issuer`` and ``resource_metadata`` are those of an exchange.
    """

    effect: Effect
    status: int | None
    reason: str
    source: Source | None = None
    index: int | None = None
    target: TokenTarget | None = None
    issuer: Issuer | None = None
    resource_metadata: str = ""

    @property
    def passes(self) -> bool:
        """Whether the request reaches the upstream, provided that its exchange, if there is one, succeeds."""
        return self.status is None


_REASONS: Final = {
    DecisionReason.ALLOW_UNMATCHED: "no entry applies, so the request passes unchanged",
    DecisionReason.DENY_UNMATCHED_DEFAULT: "no entry applies, and unmatched requests are denied by default",
    DecisionReason.DENY_EXPLICIT_POLICY: "an entry denies the request",
    DecisionReason.ALLOW_EXPLICIT_POLICY: "an entry lets the request pass unchanged",
    DecisionReason.ALLOW_OPTIONS_BYPASS: "an entry asks for an exchange, but OPTIONS without credentials passes unchanged",
    DecisionReason.DENY_MISSING_BEARER: "an entry asks for an exchange, and the request has no bearer token",
    DecisionReason.DENY_INVALID_BEARER: "an entry asks for an exchange, and the bearer token is malformed",
}
_BASELINE: Final = "the platform's baseline denies the request before any policy applies"
# By whether the issuer's profile has an assertion.
_UNREQUESTABLE: Final = {
    False: "an entry asks for an exchange with resources or audiences, and the issuer's grant accepts only a scope (TXE-1002)",
    True: "an entry asks for an exchange with audiences, and the issuer's assertion determines the audience (TXE-1002)",
}
_CREATE_REQUEST_STATUS: Final = 500
_EXCHANGE: Final = "an entry asks for an exchange: the request passes with the token that the issuer returns"


def answer(request: HttpRequest, snapshot: PolicySnapshot | None, rules: DecisionRules) -> ExplainedDecision:
    """Return the service's answer. A token that is ``ASSUMED`` is wherever the issuer's profile reads tokens from."""
    begun = begin(request, snapshot, rules)
    issuer = rules.issuers.get(begun.entry.target.issuer_ref if isinstance(begun, ExchangePending) else begun.issuer)
    if issuer is not None and request.authorization is not None and request.authorization.reveal() == ASSUMED:
        placed = _placed(request, issuer.subject)
        if placed is not request:
            begun = begin(placed, snapshot, rules)
    return answer_of(begun, issuer)


def _placed(request: HttpRequest, subject: SubjectRules) -> HttpRequest:
    """Return ``request`` with its assumed token elsewhere: nowhere, if a header that may hold the token is given."""
    names = {name.lower() for name, _ in request.fields.fields}
    if names.intersection(subject.removed):
        return attrs.evolve(request, authorization=None)
    if AUTHORIZATION in subject.headers:
        return request
    fields = (*request.fields.fields, (subject.headers[0], ASSUMED.rpartition(" ")[2]))
    return attrs.evolve(request, authorization=None, fields=attrs.evolve(request.fields, fields=fields))


def answer_of(begun: Outcome | ExchangePending, issuer: Issuer | None = None) -> ExplainedDecision:
    """Return the result of ``begin`` for a request; ``issuer`` is the one that the entry names."""
    match begun:
        case ExchangePending(entry, asked):
            source, index, metadata = entry.source, entry.index, entry.resource_metadata
            if asked.issuer.unrequestable(entry.target):
                why = _UNREQUESTABLE[asked.issuer.assertion is not None]
                return ExplainedDecision(Effect.REFUSED, _CREATE_REQUEST_STATUS, why, source, index)
            return ExplainedDecision(Effect.EXCHANGE, None, _EXCHANGE, source, index, entry.target, asked.issuer, metadata)
        case Allow():
            effect = Effect.UNMATCHED if begun.reason is DecisionReason.ALLOW_UNMATCHED else Effect.ALLOW
            return ExplainedDecision(effect, None, _REASONS.get(begun.reason, begun.reason.value), begun.source, begun.entry_index)
        case Deny():
            effect = _effect_of(begun.reason)
            by_platform = effect is Effect.DENY and begun.source == BASELINE
            reason = _BASELINE if by_platform else begun.detail or _REASONS.get(begun.reason, begun.reason.value)
            if begun.reason in _OF_TOKENS and issuer is not None and issuer.subject.headers != _BY_DEFAULT:
                reason = f"{reason}; it is read from {_either(issuer.subject.headers)}"
            return ExplainedDecision(effect, begun.status, reason, begun.source, begun.entry_index)
        case _:
            assert_never(begun)


_OF_TOKENS: Final = frozenset({DecisionReason.DENY_MISSING_BEARER, DecisionReason.DENY_INVALID_BEARER})
_BY_DEFAULT: Final = (AUTHORIZATION,)


def profile_of(issuer: Issuer) -> Iterator[tuple[str, str]]:
    """Yield the non-default settings of ``issuer``'s profile in words, each after a name."""
    yield from _callers_token(issuer.subject)
    if issuer.cache is not None and issuer.cache.evict_rejected:
        yield "refused tokens", "dropped from the cache if an upstream refuses them; needs ext_proc with allow_mode_override"
    yield from _requests_of(issuer)
    if issuer.issued is not None:
        yield "proof", f"of what was issued: {'; '.join(_proof_of(issuer.issued))}"
    if issuer.errors is ErrorStyle.STRICT:
        yield "errors", "strict: 401 and 403 for the caller's errors, 5xx for all others"


def _requests_of(issuer: Issuer) -> Iterator[tuple[str, str]]:
    """Yield what token requests say, where that is not the default."""
    grant = issuer.grant
    if grant.type is not GrantType.TOKEN_EXCHANGE:
        yield "grant", grant.type.value
    if grant.requested_token_type:
        yield "asks for", grant.requested_token_type
    if issuer.assertion is not None:
        source = issuer.assertion
        kind = "ID-JAG" if source.token_type == ID_JAG else source.token_type
        again = "; it may be sent more than once" if source.reuse else ""
        yield "assertion", f"{kind} for {source.audience}; the issuer {source.profile} issues it for the caller's token{again}"
    match grant.actor:
        case None:
            pass
        case ActorToken():
            yield "actor", "the subject of the token in a file"
        case ActorCredentials(scope):
            yield "actor", "this client (client credentials)" + (f" with the scope {scope}" if scope else "")
        case _:
            assert_never(grant.actor)


def _callers_token(subject: SubjectRules) -> Iterator[tuple[str, str]]:
    if subject.headers != _BY_DEFAULT:
        same = ", which must hold the same token" if len(subject.headers) > 1 else ""
        yield "token", f"read from {_either(subject.headers)}{same}"
    if subject.token_type:
        yield "token type", subject.token_type
    if subject.issuers:
        yield "checked", f"before anything is asked: issued by {_either(subject.issuers)}, for {_either(subject.audiences)}"
    if subject.introspection is not None:
        yield "asked", _introspection_of(subject, subject.introspection)


def _introspection_of(subject: SubjectRules, rules: IntrospectionRules) -> str:
    """Return which tokens the issuer is asked about, in words."""
    which = "each token" if rules.always else "tokens that are not JWTs"
    meant = f", for {_either(subject.audiences)}" if subject.audiences and not subject.issuers else ""
    kept = f"; its word counts for {rules.cache_ttl:g} s" if rules.cache_ttl else "; for each request"
    return f"whether {which} {'is' if rules.always else 'are'} active{meant}, at {rules.endpoint or 'the introspection endpoint'}{kept}"


def _proof_of(rules: IssuedTokenRules) -> Iterator[str]:
    """Yield what an exchanged token must be, in words."""
    yield f"by {rules.issuer}"
    yield f"for {_either(rules.audiences) or 'what the policy requests'}"
    if rules.subject:
        yield f"with the {rules.subject} of the caller's token"
    match rules.actor:
        case ActorRule.SAME:
            yield "with the request's actor"
        case ActorRule.NONE:
            yield "without an actor"
        case _:  # any, or what follows from the request
            pass
    if rules.scope:
        yield ", ".join(("with no scope but those requested", *rules.scope_also))
    if rules.max_lifetime is not None:
        yield f"valid for at most {rules.max_lifetime:g} s"
    if rules.signature:
        yield f"verified by the keys {f'at {rules.jwks_uri}' if rules.jwks_uri else f'of {rules.keys_of}'}"
    yield "opaque tokens pass" if rules.opaque else "opaque tokens are rejected"


def _either(texts: tuple[str, ...]) -> str:
    return " or ".join(texts)


def _effect_of(reason: DecisionReason) -> Effect:
    if reason is DecisionReason.DENY_EXPLICIT_POLICY:
        return Effect.DENY
    return Effect.UNMATCHED if reason is DecisionReason.DENY_UNMATCHED_DEFAULT else Effect.REFUSED
