"""Encodes requests to a token endpoint (RFC 8693 section 2.1, https://www.rfc-editor.org/rfc/rfc8693#section-2.1): request to bytes.

Never raises: a request that cannot be encoded is a failure. Must not know: HTTP clients, tasks, clocks or logs.
"""

import base64
import re
from collections.abc import Callable
from typing import Final, assert_never, final

import attrs

from exchanger.model.entry import TokenTarget
from exchanger.model.errors import Diagnostic
from exchanger.model.issuer import (
    ActorCredentials,
    ActorToken,
    Assertion,
    AssertionType,
    AuthMethod,
    ClientCertificate,
    GrantType,
    Issuer,
    SigningKey,
)
from exchanger.model.secret import Secret
from exchanger.model.token import ACCESS_TOKEN_TYPE, ErrorKind, ExchangeFailure, IntrospectionRequest, TokenRequest
from exchanger.model.token_failure import transport_failure
from exchanger.model.trace import NO_TRACE, TraceContext

_JWT_BEARER_GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"  # RFC 7523 section 2.1
# By whether the issuer's profile has an assertion.
_UNREQUESTABLE: Final = {
    False: "entra-obo accepts only a scope: the policy must not name resources or audiences",
    True: "the audience is that of the assertion: the policy must not name audiences",
}

# Longest trace header that is passed on, in characters; the most that W3C Baggage asks for (https://www.w3.org/TR/baggage/#limits).
_MAX_TRACE_HEADER_CHARS: Final = 8 * 1024

# application/x-www-form-urlencoded (RFC 6749 appendix B, https://www.rfc-editor.org/rfc/rfc6749#appendix-B)
_UNESCAPED: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
# In an order in which nothing is escaped twice: the characters of which escapes consist come first.
_ESCAPES: Final = {byte: b"+" if byte == ord(" ") else b"%%%02X" % byte for byte in (*b"%+", *range(256)) if byte not in _UNESCAPED}

# RFC 9110 section 5.5 (field-value), https://www.rfc-editor.org/rfc/rfc9110#section-5.5, without obs-text: all recipients read this alike.
_SAFE_REQUEST_VALUE: Final = re.compile(r"[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?")


@final
@attrs.frozen
class EncodedRequest:
    """Body and headers of the POST. All of them may contain secrets, so they are hidden. Neither Host nor Content-Length is among them.

    ``headers`` are those of every request to this issuer, ``trace`` those of this request alone.
    """

    body: bytes = attrs.field(repr=False)
    headers: tuple[tuple[str, str], ...] = attrs.field(repr=False)
    trace: tuple[tuple[str, str], ...] = attrs.field(default=(), repr=False)


@final
@attrs.frozen
class ConstantParts:
    """The constant parts of requests: the body before and after the subject token, and the headers. Hidden, with secrets."""

    before: bytes = attrs.field(repr=False)
    after: bytes = attrs.field(repr=False)
    headers: tuple[tuple[str, str], ...] = attrs.field(repr=False)


# Issuer, target, grant type and type of the subject token.
Shape = tuple[Issuer, TokenTarget, str, str]


def encode_request(
    request: TokenRequest,
    assertion: Secret | None = None,
    actor_token: Secret | None = None,
    *,
    constant: Callable[[Shape], ConstantParts] | None = None,
) -> EncodedRequest | ExchangeFailure:
    """Return the POST for ``request``, TXE-1002 if it cannot be encoded, or TXE-1009 without the actor's token.

    ``assertion`` is the client's own, if its credentials are a ``SigningKey``. ``actor_token`` is an access token, if the actor has
    ``ActorCredentials``. ``constant`` may cache the results of ``constant_parts``.
    """
    issuer = request.issuer
    # The caller's token is for the first issuer of a chain, and must not reach the second one.
    token = request.subject_token if issuer.assertion is None else request.assertion
    if token is None:
        return transport_failure(ErrorKind.CREATE_REQUEST, Diagnostic.CREATE_REQUEST, detail="there is no assertion")
    if issuer.unrequestable(request.target):
        return unrequestable(issuer)
    if actor_token is None and type(issuer.grant.actor) is ActorCredentials:
        return transport_failure(ErrorKind.NO_ACTOR_TOKEN, Diagnostic.NO_ACTOR_TOKEN)
    try:
        parts = (constant or constant_parts)((issuer, request.target, request.grant_type, request.subject_token_type))
        body = parts.before + form_encoded(token.reveal()) + parts.after
        if assertion is not None:
            body += b"&client_assertion=" + form_encoded(assertion.reveal())
        if actor_token is not None:
            body += b"&actor_token=" + form_encoded(actor_token.reveal())
        return EncodedRequest(body, parts.headers, trace_headers(request.trace))
    except UnicodeEncodeError:  # a lone surrogate, which JSON and YAML escapes can spell
        return transport_failure(ErrorKind.CREATE_REQUEST, Diagnostic.CREATE_REQUEST)


def unrequestable(issuer: Issuer) -> ExchangeFailure:
    """Return the failure of an exchange that ``issuer`` cannot be asked for; see ``Issuer.unrequestable``."""
    detail = _UNREQUESTABLE[issuer.assertion is not None]
    return transport_failure(ErrorKind.CREATE_REQUEST, Diagnostic.CREATE_REQUEST, detail=detail)


def encode_client_credentials(issuer: Issuer, scope: str, assertion: Secret | None = None) -> EncodedRequest | ExchangeFailure:
    """Return the POST that requests a token for the client itself (RFC 6749 section 4.4.2); arguments as for ``encode_request``."""
    fields = [("grant_type", "client_credentials"), *([("scope", scope)] if scope else []), *_client_fields(issuer)]
    if assertion is not None:
        fields.append(("client_assertion", assertion.reveal()))
    try:
        return EncodedRequest(_form(fields), _headers(issuer))
    except UnicodeEncodeError:
        return transport_failure(ErrorKind.CREATE_REQUEST, Diagnostic.CREATE_REQUEST)


def encode_introspection(request: IntrospectionRequest, assertion: Secret | None = None) -> EncodedRequest | ExchangeFailure:
    """Return the POST that asks about a caller's token (RFC 7662 section 2.1); arguments as for ``encode_request``."""
    issuer = request.issuer
    fields = [("token", request.subject_token.reveal()), ("token_type_hint", "access_token"), *_client_fields(issuer)]
    if assertion is not None:
        fields.append(("client_assertion", assertion.reveal()))
    try:
        return EncodedRequest(_form(fields), _headers(issuer), trace_headers(request.trace))
    except UnicodeEncodeError:
        return transport_failure(ErrorKind.CREATE_REQUEST, Diagnostic.CREATE_REQUEST)


def constant_parts(shape: Shape) -> ConstantParts:
    """Return the parts of requests of this shape.

    Raises:
        UnicodeEncodeError: a text has no UTF-8 form
    """
    issuer, target, grant_type, subject_token_type = shape
    grant = issuer.grant
    if grant.type is GrantType.TOKEN_EXCHANGE:
        before = [("grant_type", grant_type), ("subject_token", "")]
        fields = [("subject_token_type", subject_token_type)]
        if grant.requested_token_type:
            fields.append(("requested_token_type", grant.requested_token_type))
    else:
        before = [("grant_type", _JWT_BEARER_GRANT), ("assertion", "")]
        fields = [("requested_token_use", "on_behalf_of")] if grant.type is GrantType.ENTRA_OBO else []
    if target.scope:
        fields.append(("scope", target.scope))
    if issuer.assertion is None:  # otherwise the assertion names them
        fields.extend(("resource", resource) for resource in target.resources)
        fields.extend(("audience", audience) for audience in target.audiences)
    fields += [*_client_fields(issuer), *_actor_fields(grant.actor), *grant.parameters]
    return ConstantParts(_form(before), b"".join(b"&" + _form([field]) for field in fields), _headers(issuer))


def _client_fields(issuer: Issuer) -> list[tuple[str, str]]:
    """Return the part of the body that identifies the client, except for an assertion that is made for each request."""
    credentials = issuer.credentials
    named = [("client_id", credentials.client_id)] if credentials.client_id else []
    match credentials.proof:
        case Secret() if issuer.auth_method is AuthMethod.CLIENT_SECRET_BASIC:
            return []
        case Secret() as secret:
            return [("client_id", credentials.client_id), ("client_secret", secret.reveal())]
        case SigningKey():
            return [*named, ("client_assertion_type", AssertionType.JWT_BEARER.value)]
        case Assertion() as assertion:
            return [*named, ("client_assertion_type", assertion.type.value), ("client_assertion", assertion.text.reveal())]
        case ClientCertificate() | None:  # RFC 8705 section 2, RFC 6749 section 3.2.1
            return named
        case other:
            assert_never(other)


def _actor_fields(actor: ActorToken | ActorCredentials | None) -> list[tuple[str, str]]:
    match actor:
        case None:
            return []
        case ActorToken():
            return [("actor_token", actor.token.reveal()), ("actor_token_type", actor.type)]
        case ActorCredentials():  # its token is appended once known
            return [("actor_token_type", ACCESS_TOKEN_TYPE)]
        case _:
            assert_never(actor)


def _form(fields: list[tuple[str, str]]) -> bytes:
    return b"&".join(form_encoded(name) + b"=" + form_encoded(value) for name, value in fields)


def form_encoded(text: str) -> bytes:
    """Return what ``urllib.parse.quote_plus`` does, without running Python code for each character: a caller may send 64 Ki of them."""
    data = text.encode("utf-8")
    escaped = data.translate(None, _UNESCAPED)
    if escaped:  # seldom
        present = set(escaped)
        for byte, escape in _ESCAPES.items():
            if byte in present:
                data = data.replace(bytes([byte]), escape)
    return data


def form_length(token: str) -> int:
    """Return how many bytes a token of visible ASCII takes in a form."""
    return len(token) + 2 * len(token.encode("ascii", "replace").translate(None, _UNESCAPED))


def _headers(issuer: Issuer) -> tuple[tuple[str, str], ...]:
    headers = [
        ("Accept", "application/json"),
        ("Accept-Encoding", "identity"),  # so that the limit on the body also limits the work, nothing may be compressed
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("User-Agent", "exchanger"),  # some gateways refuse requests without one
    ]
    credentials = issuer.credentials
    if isinstance(credentials.proof, Secret) and issuer.auth_method is AuthMethod.CLIENT_SECRET_BASIC:
        # RFC 6749 section 2.3.1: both are form-urlencoded first, so that a colon in the id stays part of it
        pair = form_encoded(credentials.client_id) + b":" + form_encoded(credentials.proof.reveal())
        headers.append(("Authorization", "Basic " + base64.b64encode(pair).decode("ascii")))
    return tuple(headers)


def trace_headers(trace: TraceContext) -> tuple[tuple[str, str], ...]:
    """Return the caller's trace headers. A value that no header can carry is dropped rather than failing the request."""
    if trace is NO_TRACE:
        return ()
    named = (("traceparent", trace.traceparent), ("tracestate", trace.tracestate), ("baggage", trace.baggage))
    return tuple(
        (name, value) for name, value in named if value and len(value) <= _MAX_TRACE_HEADER_CHARS and _SAFE_REQUEST_VALUE.fullmatch(value)
    )
