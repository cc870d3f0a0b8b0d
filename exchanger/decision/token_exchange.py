"""Codec of OAuth 2.0 Token Exchange (RFC 8693, https://www.rfc-editor.org/rfc/rfc8693): request to bytes, response to outcome.

Encoding and decoding are total: whatever the token endpoint sends becomes a value, and nothing of it reaches the client unless error
passthrough is on. Must not know: HTTP clients, tasks, clocks or logs.
"""

import base64
import enum
import functools
import json
import re
from collections.abc import Callable, Sequence
from typing import Final, NoReturn, assert_never, final

import attrs

from exchanger.decision.bearer import is_bearer_token
from exchanger.decision.step_up import STEP_UP_ERRORS, step_up_of
from exchanger.errors import Diagnostic
from exchanger.values.entry import TokenTarget
from exchanger.values.issuer import (
    ActorCredentials,
    ActorToken,
    Assertion,
    AssertionType,
    AuthMethod,
    ClientCertificate,
    Grant,
    GrantType,
    Issuer,
    SigningKey,
)
from exchanger.values.secret import Secret
from exchanger.values.token import ErrorKind, ExchangedToken, ExchangeFailure, SubjectVerdict, TokenOutcome, TokenRequest
from exchanger.values.trace import NO_TRACE, TraceContext

ACCESS_TOKEN_TYPE: Final = "urn:ietf:params:oauth:token-type:access_token"  # RFC 8693 section 3
_JWT_BEARER_GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"  # RFC 7523 section 2.1
_APP_ONLY: Final = 7000114.0  # numbers are read as such
_SCOPE_ALONE: Final = "entra-obo asks for a scope alone: the policy must name no resources and no audiences"

# Longest body that is read, in bytes; a usual token response is a few KiB.
MAX_RESPONSE_BYTES: Final = 1024 * 1024

# ``WWW-Authenticate`` values that are relayed; one a scheme is usual.
_MAX_CHALLENGES: Final = 8

# Longest ``WWW-Authenticate`` value that is relayed, so that eight of them stay below Envoy's 60 KiB for all headers.
_MAX_CHALLENGE_CHARS: Final = 4 * 1024

# Longest trace header that is passed on, in characters; the most that W3C Baggage asks for (https://www.w3.org/TR/baggage/#limits).
_MAX_TRACE_HEADER_CHARS: Final = 8 * 1024

# application/x-www-form-urlencoded (RFC 6749 appendix B, https://www.rfc-editor.org/rfc/rfc6749#appendix-B)
_UNESCAPED: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
_TO_ESCAPE: Final = re.compile(b"[^%b]" % re.escape(_UNESCAPED))
_ESCAPES: Final = {bytes([byte]): b"+" if byte == ord(" ") else b"%%%02X" % byte for byte in range(256)}

# RFC 9110 section 5.5 (field-value), https://www.rfc-editor.org/rfc/rfc9110#section-5.5, without obs-text: what all recipients read alike.
_SAFE_REQUEST_VALUE: Final = re.compile(r"[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?")

# The same with obs-text, but without the C1 controls: what may be relayed of the token endpoint's challenges.
_SAFE_CHALLENGE: Final = re.compile(r"[\t\x20-\x7e\xa0-\xff]+")

# RFC 6749 section 5.2 and RFC 8693 section 2.2.2 (invalid_target)
_RECOGNISED_ERRORS: Final = frozenset(
    {
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
        "invalid_target",
    }
)

# Those of RFC 6749 section 4.1.2.1 belong to another endpoint, but some servers send them from this one. They explain a failure to
# operators and change no answer.
_REPORTED_ERRORS: Final = (
    _RECOGNISED_ERRORS | STEP_UP_ERRORS | {"access_denied", "unsupported_response_type", "server_error", "temporarily_unavailable"}
)

# Characters of a number that is read, and the longest lifetime of a token that is believed, in seconds: three centuries.
_MAX_NUMBER: Final = 20
_MAX_EXPIRES_IN: Final = 10**10

_TRANSPORT_TEXTS: Final = {
    Diagnostic.INVALID_TOKEN_ENDPOINT: "invalid token endpoint",
    Diagnostic.CREATE_REQUEST: "failed to create token exchange request",
    Diagnostic.REQUEST_FAILED: "token exchange request failed",
    Diagnostic.READ_RESPONSE: "failed to read token exchange response",
    Diagnostic.UNKNOWN_ISSUER: "unknown issuer profile",
    Diagnostic.BREAKER_OPEN: "token endpoint is not called for now",
    Diagnostic.OVERLOADED: "too many token exchanges under way",
    Diagnostic.METADATA_UNKNOWN: "issuer metadata is not known",
    Diagnostic.NO_ACTOR_TOKEN: "no token for the actor",
    Diagnostic.KEYS_UNKNOWN: "keys of the token's issuer are not known",
}

_UNRECOGNISED: Final = {
    400: (Diagnostic.UNRECOGNISED_400, "invalid_request", "request failed"),
    401: (Diagnostic.UNRECOGNISED_401, "invalid_client", "request failed"),
    403: (Diagnostic.UNRECOGNISED_403, "server_error", "internal server error"),
}
_UNRECOGNISED_OTHER: Final = (Diagnostic.UNRECOGNISED_OTHER, "server_error", "internal server error")

_OK: Final = 200
_REDIRECTS: Final = range(300, 400)
_KEPT_STATUSES: Final = frozenset({400, 401})
_INTERNAL_SERVER_ERROR: Final = 500


@final
@attrs.frozen
class TokenResponseRules:
    """Operators' settings for responses: TOKEN_EXCHANGE_ERROR_PASSTHROUGH and the two on ``issued_token_type``."""

    error_passthrough: bool = False
    require_issued_token_type: bool = True
    expected_issued_token_type: str = ACCESS_TOKEN_TYPE


@final
@attrs.frozen
class EncodedRequest:
    """Body and headers of the POST. All of them may carry secrets, so they are hidden. Neither Host nor Content-Length is among them.

    ``headers`` are those of every request to this issuer, ``trace`` those of this request alone.
    """

    body: bytes = attrs.field(repr=False)
    headers: tuple[tuple[str, str], ...] = attrs.field(repr=False)
    trace: tuple[tuple[str, str], ...] = attrs.field(default=(), repr=False)


@final
@enum.unique
class TooLarge(enum.Enum):
    """A body that was not read to its end because it is too long."""

    TOO_LARGE = "too large"


def transport_failure(kind: ErrorKind, diagnostic: Diagnostic, http_status: int | None = None, *, detail: str = "") -> ExchangeFailure:
    """Return the failure of an exchange that got no usable response: one of TXE-1001 to TXE-1009.

    ``http_status`` is the token endpoint's status, where there was one. ``detail`` says more to operators.
    """
    message = f"{_TRANSPORT_TEXTS[diagnostic]} ({diagnostic.value})"
    body = _json({"error": "server_error", "message": message})
    return ExchangeFailure(diagnostic, kind, _INTERNAL_SERVER_ERROR, body, http_status=http_status, detail=detail)


def gate_refusal(why: str) -> ExchangeFailure:
    """Return the failure of an exchange whose subject token is not good enough; ``why`` is for operators (TXE-4001)."""
    body = _described("invalid_token", "request failed", Diagnostic.SUBJECT_REFUSED)
    return ExchangeFailure(
        Diagnostic.SUBJECT_REFUSED, ErrorKind.SUBJECT_REFUSED, 401, body, detail=why, subject=SubjectVerdict(refusal=why)
    )


def encode_request(
    request: TokenRequest, assertion: Secret | None = None, actor_token: Secret | None = None
) -> EncodedRequest | ExchangeFailure:
    """Return the POST that asks for ``request``, or TXE-1002 when it cannot be asked for, and TXE-1009 without the actor's token.

    ``assertion`` is the client's own, where its credentials are a ``SigningKey``. ``actor_token`` is an access token, where the actor has
    ``ActorCredentials``.
    """
    issuer = request.issuer
    if not can_ask_for(issuer.grant, request.target):
        return transport_failure(ErrorKind.CREATE_REQUEST, Diagnostic.CREATE_REQUEST, detail=_SCOPE_ALONE)
    if actor_token is None and type(issuer.grant.actor) is ActorCredentials:
        return transport_failure(ErrorKind.NO_ACTOR_TOKEN, Diagnostic.NO_ACTOR_TOKEN)
    try:
        before, after, headers = _constant(issuer, request.target, request.grant_type, request.subject_token_type)
        body = before + _form_encoded(request.subject_token.reveal()) + after
        if assertion is not None:
            body += b"&client_assertion=" + _form_encoded(assertion.reveal())
        if actor_token is not None:
            body += b"&actor_token=" + _form_encoded(actor_token.reveal())
        return EncodedRequest(body, headers, () if request.trace is NO_TRACE else _trace_headers(request.trace))
    except UnicodeEncodeError:  # a lone surrogate, which JSON and YAML escapes can spell
        return transport_failure(ErrorKind.CREATE_REQUEST, Diagnostic.CREATE_REQUEST)


def can_ask_for(grant: Grant, target: TokenTarget) -> bool:
    """Return whether ``grant`` has words for ``target``. Microsoft's on-behalf-of flow finds the target in the scope, and has no others."""
    return grant.type is not GrantType.ENTRA_OBO or not (target.resources or target.audiences)


def encode_client_credentials(issuer: Issuer, scope: str, assertion: Secret | None = None) -> EncodedRequest | ExchangeFailure:
    """Return the POST that asks for a token of the client itself (RFC 6749 section 4.4.2); arguments as for ``encode_request``."""
    fields = [("grant_type", "client_credentials"), *([("scope", scope)] if scope else []), *_client_fields(issuer)]
    if assertion is not None:
        fields.append(("client_assertion", assertion.reveal()))
    try:
        return EncodedRequest(_form(fields), _headers(issuer))
    except UnicodeEncodeError:
        return transport_failure(ErrorKind.CREATE_REQUEST, Diagnostic.CREATE_REQUEST)


def rules_for(grant: Grant, rules: TokenResponseRules) -> TokenResponseRules:
    """Return ``rules`` as they are for the answers to ``grant``: those of other grants have no type, and who asks for a type expects it."""
    if grant.type is not GrantType.TOKEN_EXCHANGE:
        return attrs.evolve(rules, require_issued_token_type=False)
    return attrs.evolve(rules, expected_issued_token_type=grant.requested_token_type) if grant.requested_token_type else rules


def decode_response(status: int, www_authenticate: Sequence[str], body: bytes | TooLarge, rules: TokenResponseRules) -> TokenOutcome:
    """Decode a response of the token endpoint (RFC 8693 section 2.2); never raises.

    ``www_authenticate`` has the values of that header, decoded as ISO 8859-1; ``body`` is the content as it came.
    """
    if status == _OK:
        return _decode_success(body, rules)
    if status in _REDIRECTS:  # never followed: the subject token and the client secret are for the configured endpoint alone
        return transport_failure(ErrorKind.HTTP_STATUS, Diagnostic.REQUEST_FAILED, status, detail=_answered(status))
    return _decode_error(status, _relayed(www_authenticate), body, rules)


# The keys belong to policies and issuers in force, are bounded in number and cache their hashes.
@functools.lru_cache(maxsize=1024)
def _constant(
    issuer: Issuer, target: TokenTarget, grant_type: str, subject_token_type: str
) -> tuple[bytes, bytes, tuple[tuple[str, str], ...]]:
    """Return what stands before and after the subject token in the body, and the headers.

    Raises:
        UnicodeEncodeError: a text has no UTF-8 form.
    """
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
    fields.extend(("resource", resource) for resource in target.resources)
    fields.extend(("audience", audience) for audience in target.audiences)
    fields += [*_client_fields(issuer), *_actor_fields(grant.actor), *grant.parameters]
    return _form(before), b"".join(b"&" + _form([field]) for field in fields), _headers(issuer)


def _client_fields(issuer: Issuer) -> list[tuple[str, str]]:
    """Return what says in the body who the client is, but for an assertion that is made for each request."""
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
        case ActorCredentials():  # its token follows, as it is known
            return [("actor_token_type", ACCESS_TOKEN_TYPE)]
        case _:
            assert_never(actor)


def _form(fields: list[tuple[str, str]]) -> bytes:
    return b"&".join(_form_encoded(name) + b"=" + _form_encoded(value) for name, value in fields)


def _form_encoded(text: str) -> bytes:
    """Return what ``urllib.parse.quote_plus`` does, without running Python code for each character."""
    data = text.encode("utf-8")
    if not data.translate(None, _UNESCAPED):  # as nearly always
        return data
    return _TO_ESCAPE.sub(lambda found: _ESCAPES[found[0]], data)


def _headers(issuer: Issuer) -> tuple[tuple[str, str], ...]:
    headers = [
        ("Accept", "application/json"),
        ("Accept-Encoding", "identity"),  # the limit on the body is a limit on work, so nothing is to be unpacked
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("User-Agent", "exchanger"),  # some gateways refuse requests without one
    ]
    credentials = issuer.credentials
    if isinstance(credentials.proof, Secret) and issuer.auth_method is AuthMethod.CLIENT_SECRET_BASIC:
        # RFC 6749 section 2.3.1: both are form-urlencoded first, so that a colon in the id stays part of it
        pair = _form_encoded(credentials.client_id) + b":" + _form_encoded(credentials.proof.reveal())
        headers.append(("Authorization", "Basic " + base64.b64encode(pair).decode("ascii")))
    return tuple(headers)


def _trace_headers(trace: TraceContext) -> tuple[tuple[str, str], ...]:
    """Return the caller's trace headers. A value that no header can carry is dropped rather than failing the request."""
    named = (("traceparent", trace.traceparent), ("tracestate", trace.tracestate), ("baggage", trace.baggage))
    return tuple(
        (name, value) for name, value in named if value and len(value) <= _MAX_TRACE_HEADER_CHARS and _SAFE_REQUEST_VALUE.fullmatch(value)
    )


def _decode_success(body: bytes | TooLarge, rules: TokenResponseRules) -> TokenOutcome:
    """Decode a success (RFC 8693 section 2.2.1). The order of the checks is contract: it decides which code an operator sees."""
    members = read_members(body, null_is_empty=True)
    if members is None:
        return _unusable(Diagnostic.MALFORMED_JSON, ErrorKind.MALFORMED_SUCCESS_JSON)
    access_token = _text(members, "access_token")
    token_type = _text(members, "token_type")
    issued_token_type = _text(members, "issued_token_type")
    if access_token is None or token_type is None or issued_token_type is None:
        return _unusable(Diagnostic.MALFORMED_JSON, ErrorKind.MALFORMED_SUCCESS_JSON)
    if not access_token:
        return _unusable(Diagnostic.MISSING_ACCESS_TOKEN, ErrorKind.MISSING_ACCESS_TOKEN)
    if token_type.lower() != "bearer":  # RFC 6749 section 7.1: the type is case-insensitive
        return _unusable(Diagnostic.NOT_BEARER, ErrorKind.NON_BEARER_TOKEN_TYPE)
    if rules.require_issued_token_type and issued_token_type != rules.expected_issued_token_type:
        return _unusable(Diagnostic.WRONG_ISSUED_TOKEN_TYPE, ErrorKind.WRONG_ISSUED_TOKEN_TYPE)
    if not is_bearer_token(access_token):
        return _unusable(Diagnostic.UNUSABLE_ACCESS_TOKEN, ErrorKind.MISSING_ACCESS_TOKEN)
    return ExchangedToken(Secret(access_token), expires_in=_lifetime(members.get("expires_in")))


def _decode_error(status: int, challenges: tuple[str, ...], body: bytes | TooLarge, rules: TokenResponseRules) -> ExchangeFailure:
    """Decode an error (RFC 6749 section 5.2). Only the code counts: the description is free text that may quote a token."""
    kept = status if status in _KEPT_STATUSES else _INTERNAL_SERVER_ERROR
    members = read_members(body, null_is_empty=True) or {}
    error = _text(members, "error")
    reported = error if error in _REPORTED_ERRORS else ""
    detail = _answered(status)
    # A description that is not text makes the answer malformed, whatever its code.
    if error in _RECOGNISED_ERRORS and _text(members, "error_description") is not None:
        diagnostic = Diagnostic.APP_ONLY_CALLER if _is_about_app_only(members) else Diagnostic.OAUTH_ERROR
        text = _described(error, "request failed", diagnostic)
        if rules.error_passthrough and isinstance(body, bytes):
            text = body.decode("utf-8", "replace")
        return ExchangeFailure(diagnostic, ErrorKind.HTTP_STATUS, kept, text, challenges, status, oauth_error=reported, detail=detail)
    step_up = step_up_of(error, members, challenges) if error in STEP_UP_ERRORS else None
    diagnostic, error, description = _UNRECOGNISED.get(status, _UNRECOGNISED_OTHER)
    text = _described(error, description, diagnostic)
    return ExchangeFailure(
        diagnostic, ErrorKind.HTTP_STATUS, kept, text, challenges, status, oauth_error=reported, detail=detail, step_up=step_up
    )


def _is_about_app_only(members: dict[str, object]) -> bool:
    """Return whether Entra ID refuses an app-only caller, on whose behalf nobody can act (AADSTS7000114).

    https://learn.microsoft.com/entra/identity-platform/reference-error-codes
    """
    codes = members.get("error_codes")
    return isinstance(codes, list) and _APP_ONLY in codes


def _answered(status: int) -> str:
    return f"the token endpoint answered with status {status}"


def _unusable(diagnostic: Diagnostic, kind: ErrorKind) -> ExchangeFailure:
    body = _described("invalid_request", "internal server error", diagnostic)
    return ExchangeFailure(diagnostic, kind, _INTERNAL_SERVER_ERROR, body, http_status=_OK)


def _described(error: str, description: str, diagnostic: Diagnostic) -> str:
    return _json({"error": error, "error_description": f"{description} ({diagnostic.value})"})


def _json(members: dict[str, str]) -> str:
    return json.dumps(members, sort_keys=True, separators=(",", ":"))


def _relayed(values: Sequence[str]) -> tuple[str, ...]:
    safe = (value for value in values if len(value) <= _MAX_CHALLENGE_CHARS and _SAFE_CHALLENGE.fullmatch(value))
    return tuple(value for value, _ in zip(safe, range(_MAX_CHALLENGES), strict=False))


def read_members(body: bytes | TooLarge, *, null_is_empty: bool = False) -> dict[str, object] | None:
    """Return the members of the JSON object in ``body``; ``None`` if it is anything else, but for a ``null`` that counts as an empty one.

    RFC 8259 section 8.1 requires UTF-8 and section 4 asks for unique names: a text that two readers may understand differently is refused.
    All numbers are floats, and -1 where they are too long.
    """
    if isinstance(body, TooLarge) or len(body) > MAX_RESPONSE_BYTES:
        return None
    try:
        text = body.decode("utf-8").strip(_JSON_SPACE)
        document, end = _scan(text, 0)
    # ValueError covers text that is neither UTF-8 nor JSON, StopIteration text without a value; RecursionError, nesting beyond reason.
    except (ValueError, StopIteration, RecursionError):
        return None
    if end != len(text):
        return None
    if document is None and null_is_empty:
        return {}
    return document if isinstance(document, dict) else None


def _text(members: dict[str, object], name: str) -> str | None:
    """Return the member as text: "" if it is absent or null, ``None`` if it is of another JSON type."""
    value = members.get(name)
    if value is None:
        return ""
    return value if isinstance(value, str) else None


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate name")
    return members


def _lifetime(value: object) -> int | None:
    """Return the seconds of ``expires_in``, ``None`` if it says none. Some servers send it as text; whatever it is, the token counts."""
    if isinstance(value, str) and len(value) <= _MAX_NUMBER and value.isascii() and value.isdecimal():
        value = float(value)
    return int(value) if isinstance(value, float) and 0 <= value <= _MAX_EXPIRES_IN else None


def _number(digits: str) -> float:
    """Return the number, -1 for a long one: converting a million digits would take longer than the whole exchange may."""
    return float(digits) if len(digits) <= _MAX_NUMBER else -1.0


def _refuse(_constant: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


# Kept, since making one costs more than reading a usual answer. It reads one value, with no space around it (RFC 8259 section 2).
# (The stub does not have that method.)
_DECODER: Final = json.JSONDecoder(object_pairs_hook=_unique, parse_int=_number, parse_float=_number, parse_constant=_refuse)
_scan: Final[Callable[[str, int], tuple[object, int]]] = _DECODER.scan_once  # type: ignore[attr-defined]
_JSON_SPACE: Final = " \t\n\r"
