"""What a profile says about the exchange itself: the grant, the actor, and the caller's token. Checked against the rules. Pure.

Must not know: files, clocks, or what is in Secrets.
"""

import re
from collections.abc import Iterator
from typing import Final, final

import attrs

from exchanger.issuers.client_plan import path_problems
from exchanger.issuers.profile_model import Actor, IssuerProfile, SubjectToken
from exchanger.issuers.rules import EndpointCheck, EndpointProblem
from exchanger.issuers.value_sources import Reference, Shape, in_files
from exchanger.values.issuer import AUTHORIZATION, ActorCredentials, GrantType, SubjectRules

GRANTS: Final = tuple(grant.value for grant in GrantType)
# Parameters that the service sets itself, by whichever grant (RFC 6749, RFC 7521, RFC 7523, RFC 8693, Microsoft's on-behalf-of flow).
RESERVED: Final = frozenset(
    {
        *("grant_type", "scope", "resource", "audience", "client_id", "client_secret", "client_assertion", "client_assertion_type"),
        *("subject_token", "subject_token_type", "actor_token", "actor_token_type", "requested_token_type"),
        *("assertion", "requested_token_use"),
    }
)
# No endpoint needs as many parameters, headers, issuers or audiences.
MAX_ITEMS: Final = 16
# Characters of a parameter's name and value.
MAX_NAME: Final = 128
MAX_VALUE: Final = 4096

ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"  # RFC 8693 section 3
_is_name: Final = re.compile(r"[!-~]+").fullmatch
_is_uri: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+").fullmatch
# A field name (RFC 9110 section 5.1, https://www.rfc-editor.org/rfc/rfc9110#section-5.1).
_is_header: Final = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+").fullmatch
# They say how the message is framed and where it goes, and a gateway removes none of them; or they are logged, or go to token endpoints.
_NO_TOKENS: Final = frozenset(
    {
        *("connection", "content-length", "cookie", "host", "te", "trailer", "transfer-encoding", "upgrade"),
        *("baggage", "traceparent", "tracestate", "x-request-id"),
    }
)
# Envoy's own headers, which its ext_proc filter does not remove, and says nothing of that, unless its mutation rules allow it.
_OF_ENVOY: Final = "x-envoy"


@final
@attrs.frozen
class PlannedActor:
    """The actor's token in a file."""

    file: Reference
    type: str


@final
@attrs.frozen
class PlannedGrant:
    """See ``Grant``."""

    type: GrantType = GrantType.TOKEN_EXCHANGE
    requested_token_type: str = ""
    actor: PlannedActor | ActorCredentials | None = None
    parameters: tuple[tuple[str, str], ...] = attrs.field(default=(), repr=False)


def plan_grant(profile: IssuerProfile, problems: list[str]) -> PlannedGrant:
    """Return what token requests say. Problems are added to ``problems``, and the result counts only if there are none."""
    kind = profile.grant_type or GrantType.TOKEN_EXCHANGE.value
    if kind not in GRANTS:
        problems.append(f"grantType must be one of {', '.join(GRANTS)}")
    elif kind != GrantType.TOKEN_EXCHANGE.value:
        fields = (("requestedTokenType", profile.requested_token_type), ("actorToken", profile.actor_token))
        problems += (f"{name} is for the grantType {GrantType.TOKEN_EXCHANGE.value} alone" for name, value in fields if value)
    if profile.requested_token_type and not _is_uri(profile.requested_token_type):
        problems.append("requestedTokenType must be a URI such as urn:ietf:params:oauth:token-type:access_token")
    actor = None if profile.actor_token is None else _actor(profile.actor_token, problems)
    pairs = () if profile.parameters is None else profile.parameters.pairs
    problems += _parameter_problems(pairs)
    known = GrantType(kind) if kind in GRANTS else GrantType.TOKEN_EXCHANGE
    return PlannedGrant(known, profile.requested_token_type, actor, pairs)


def _actor(written: Actor, problems: list[str]) -> PlannedActor | ActorCredentials | None:
    if written.client_credentials is not None:
        problems += (f"actorToken.{name} is not for clientCredentials" for name in ("file", "type") if getattr(written, name))
        return ActorCredentials(written.client_credentials.scope)
    if not written.file:
        problems.append("actorToken needs file or clientCredentials")
        return None
    problems += path_problems("actorToken.file", written.file)
    if written.type and not _is_uri(written.type):
        problems.append("actorToken.type must be a URI such as urn:ietf:params:oauth:token-type:jwt")
    return PlannedActor(in_files("actorToken.file", Shape.TOKEN, written.file), written.type or ACCESS_TOKEN)


def _parameter_problems(pairs: tuple[tuple[str, str], ...]) -> Iterator[str]:
    if len(pairs) > MAX_ITEMS:
        yield f"parameters has more than {MAX_ITEMS} entries"
    for name, value in pairs:
        if name.lower() in RESERVED:
            yield f"parameters must not have {name.lower()}, which the service sets itself"
        elif not _is_name(name) or len(name) > MAX_NAME or len(value) > MAX_VALUE:
            yield f"parameters has a name that is not 1 to {MAX_NAME} characters of visible ASCII, or a value of more than {MAX_VALUE}"


def plan_subject(written: SubjectToken | None, check_endpoint: EndpointCheck, problems: list[str]) -> SubjectRules:
    """Return the rules for callers' tokens. Problems are added to ``problems``, and the result counts only if there are none."""
    if written is None:
        return SubjectRules()
    headers = tuple(item.header.lower() for item in written.headers)
    problems += _header_problems(headers)
    for name, texts in (("issuers", written.issuers), ("audiences", written.audiences)):
        if len(texts) > MAX_ITEMS or len(set(texts)) < len(texts) or not all(texts):
            problems.append(f"subjectToken.{name} must be at most {MAX_ITEMS} different texts, none of them empty")
    problems += _gate_problems(written, check_endpoint)
    return SubjectRules(headers or (AUTHORIZATION,), written.issuers, written.audiences, written.jwks_uri)


def _header_problems(headers: tuple[str, ...]) -> Iterator[str]:
    if len(headers) > MAX_ITEMS or len(set(headers)) < len(headers):
        yield f"subjectToken.from must name at most {MAX_ITEMS} different headers"
    for header in headers:
        if not _is_header(header):
            yield "subjectToken.from has a text that is not the name of a header"
        elif header in _NO_TOKENS or header.startswith(_OF_ENVOY):
            yield f"subjectToken.from must not name the header {header}"


def _gate_problems(written: SubjectToken, check_endpoint: EndpointCheck) -> Iterator[str]:
    """A gate that lacks something would either let everything pass or nothing."""
    if not written.issuers:
        given = (("audiences", written.audiences), ("jwksURI", written.jwks_uri))
        yield from (f"subjectToken.{name} needs subjectToken.issuers" for name, value in given if value)
        return
    if not written.audiences:
        yield "subjectToken.issuers needs subjectToken.audiences: a token that is meant for others must not be exchanged"
    if not written.jwks_uri:
        for issuer in written.issuers:
            found = check_endpoint(issuer)
            # As for ``discovery``: metadata have no place below a query.
            reason = found.reason if isinstance(found, EndpointProblem) else "must not have a query" if "?" in issuer else ""
            if reason:
                yield f"subjectToken.issuers must lead to keys, and one of them {reason}; correct it, or give subjectToken.jwksURI"
        return
    if len(written.issuers) > 1:
        yield "subjectToken.jwksURI holds the keys of one issuer, and subjectToken.issuers has several"
    if isinstance(found := check_endpoint(written.jwks_uri), EndpointProblem):
        yield f"subjectToken.jwksURI {found.reason}"
