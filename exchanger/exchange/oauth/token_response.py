"""Decodes a token endpoint's answers (RFC 8693 section 2.2, https://www.rfc-editor.org/rfc/rfc8693#section-2.2): response to outcome.

Total: whatever the token endpoint sends becomes a value, and nothing of it reaches the client unless error passthrough is on.
Must not know: HTTP clients, tasks, clocks or logs.
"""

import json
from collections.abc import Callable, Sequence
from typing import Final, final

import attrs

from exchanger.exchange.oauth.relayed_challenges import relayed_challenges, safe_challenges
from exchanger.exchange.oauth.step_up import STEP_UP_ERRORS, step_up_of
from exchanger.formats.strict_json import flat_members, no_constant, unique_names
from exchanger.model.bearer import is_bearer_token
from exchanger.model.errors import Diagnostic
from exchanger.model.issuer import Grant, GrantType
from exchanger.model.secret import Secret
from exchanger.model.token import (
    ACCESS_TOKEN_TYPE,
    UNREADABLE_SCOPE,
    Cache,
    ErrorKind,
    ExchangedToken,
    ExchangeFailure,
    TokenCall,
    TokenOutcome,
)
from exchanger.model.token_failure import INTERNAL_SERVER_ERROR, described, transport_failure
from exchanger.net.answer import MAX_RESPONSE_BYTES, TooLarge
from exchanger.util.frozen import constructor_of

_APP_ONLY: Final = 7000114.0  # numbers are read as such

# Quotes and structural characters of a body, wherever they are: a usual one has about forty, and a hundred keys with their certificates
# 5,000. As many as fit would block the event loop for a quarter of a second.
MAX_RESPONSE_MARKS: Final = 16 * 1024
_STRUCTURAL: Final = (b'"', b"{", b"[", b",", b":")

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

# Characters of a number that is read, and the longest lifetime of a token that is accepted, in seconds: three centuries.
_MAX_NUMBER: Final = 20
_MAX_EXPIRES_IN: Final = 10**10
# Characters of a scope: Google's, which are URLs, take a few thousand. Judging the items of the largest answer would take 30 ms.
_MAX_SCOPE: Final = 16 * 1024

_UNRECOGNISED: Final = {
    400: (Diagnostic.UNRECOGNISED_400, "invalid_request", "request failed"),
    401: (Diagnostic.UNRECOGNISED_401, "invalid_client", "request failed"),
    403: (Diagnostic.UNRECOGNISED_403, "server_error", "internal server error"),
}
_UNRECOGNISED_OTHER: Final = (Diagnostic.UNRECOGNISED_OTHER, "server_error", "internal server error")

# Of every success. Looking up a member of an enum takes 0.2 µs.
_exchanged: Final = constructor_of(ExchangedToken)
_MISS: Final = Cache.MISS
_TOKEN_EXCHANGE: Final = GrantType.TOKEN_EXCHANGE

_OK: Final = 200
_REDIRECTS: Final = range(300, 400)
_UNAUTHORIZED: Final = 401
_KEPT_STATUSES: Final = frozenset({400, _UNAUTHORIZED})


@final
@attrs.frozen
class TokenResponseRules:
    """Operators' settings for responses: TOKEN_EXCHANGE_ERROR_PASSTHROUGH and the two on ``issued_token_type``.

    ``assertion``: what is issued is no access token, so its ``token_type`` may be ``N_A`` (RFC 8693 section 2.2.1).
    """

    error_passthrough: bool = False
    require_issued_token_type: bool = True
    expected_issued_token_type: str = ACCESS_TOKEN_TYPE
    assertion: bool = False


def rules_for(grant: Grant, rules: TokenResponseRules) -> TokenResponseRules:
    """Return ``rules`` for answers to ``grant``: those of other grants have no type, and a requested type is also the expected one."""
    if grant.type is not _TOKEN_EXCHANGE:
        return attrs.evolve(rules, require_issued_token_type=False)
    if grant.assertion:
        rules = attrs.evolve(rules, require_issued_token_type=True, assertion=True)
    return attrs.evolve(rules, expected_issued_token_type=grant.requested_token_type) if grant.requested_token_type else rules


def decode_response(
    status: int,
    www_authenticate: Sequence[str],
    body: bytes | TooLarge,
    rules: TokenResponseRules,
    call: TokenCall | None = None,
    sent_at: float | None = None,
) -> TokenOutcome:
    """Decode a response of the token endpoint (RFC 8693 section 2.2); never raises.

    ``www_authenticate`` has the values of that header, decoded as ISO 8859-1; ``body`` is the content as sent. A token belongs to ``call``,
    whose request was sent at ``sent_at`` (seconds since the epoch).
    """
    if status == _OK:
        return _decode_success(body, rules, call, sent_at)
    if status in _REDIRECTS:  # never followed: the subject token and the client secret are only for the configured endpoint
        return transport_failure(ErrorKind.HTTP_STATUS, Diagnostic.REQUEST_FAILED, status, detail=_answered(status))
    return _decode_error(status, safe_challenges(www_authenticate), body, rules)


def _decode_success(body: bytes | TooLarge, rules: TokenResponseRules, call: TokenCall | None, sent_at: float | None) -> TokenOutcome:
    """Decode a success (RFC 8693 section 2.2.1). The order of the checks is contract: it decides which code an operator sees."""
    members = read_members(body, null_is_empty=True)
    if members is None:
        return unusable(Diagnostic.MALFORMED_JSON, ErrorKind.MALFORMED_SUCCESS_JSON)
    member = members.get
    access_token = value if isinstance(value := member("access_token"), str) else _text(value)
    token_type = value if isinstance(value := member("token_type"), str) else _text(value)
    issued_token_type = value if isinstance(value := member("issued_token_type"), str) else _text(value)
    if access_token is None or token_type is None or issued_token_type is None:
        return unusable(Diagnostic.MALFORMED_JSON, ErrorKind.MALFORMED_SUCCESS_JSON)
    if not access_token:
        return unusable(Diagnostic.MISSING_ACCESS_TOKEN, ErrorKind.MISSING_ACCESS_TOKEN)
    # RFC 6749 section 7.1: the type is case-insensitive
    if token_type.lower() != "bearer" and not (rules.assertion and token_type.lower() == "n_a"):
        return unusable(Diagnostic.NOT_BEARER, ErrorKind.NON_BEARER_TOKEN_TYPE)
    if rules.require_issued_token_type and issued_token_type != rules.expected_issued_token_type:
        return unusable(Diagnostic.WRONG_ISSUED_TOKEN_TYPE, ErrorKind.WRONG_ISSUED_TOKEN_TYPE)
    if not is_bearer_token(access_token):
        return unusable(Diagnostic.UNUSABLE_ACCESS_TOKEN, ErrorKind.MISSING_ACCESS_TOKEN)
    expires_in = _lifetime(member("expires_in"))
    expires_at = None if expires_in is None or sent_at is None else int(sent_at) + expires_in
    if (scope := member("scope")) is not None and (not isinstance(scope, str) or len(scope) > _MAX_SCOPE):
        scope = _listed_scope(scope)
    return _exchanged(Secret(access_token), call, expires_in, _MISS, expires_at, None, scope)


def _decode_error(status: int, challenges: tuple[str, ...], body: bytes | TooLarge, rules: TokenResponseRules) -> ExchangeFailure:
    """Decode an error (RFC 6749 section 5.2). Only the code counts: the description is free text that may quote a token."""
    kept = status if status in _KEPT_STATUSES else INTERNAL_SERVER_ERROR
    relayed = relayed_challenges(challenges) if status == _UNAUTHORIZED else ()  # only there it is a challenge (RFC 9110 section 15.5.2)
    members = read_members(body, null_is_empty=True) or {}
    error = _text(members.get("error"))
    reported = error if error in _REPORTED_ERRORS else ""
    detail = _answered(status)
    # A description that is not text makes the answer malformed, whatever its code.
    if error in _RECOGNISED_ERRORS and _text(members.get("error_description")) is not None:
        diagnostic = Diagnostic.APP_ONLY_CALLER if _is_about_app_only(members) else Diagnostic.OAUTH_ERROR
        text = described(error, "request failed", diagnostic)
        if rules.error_passthrough and isinstance(body, bytes):
            text = body.decode("utf-8", "replace")
        return ExchangeFailure(diagnostic, ErrorKind.HTTP_STATUS, kept, text, relayed, status, oauth_error=reported, detail=detail)
    step_up = step_up_of(error, members, challenges) if error in STEP_UP_ERRORS else None
    diagnostic, error, description = _UNRECOGNISED.get(status, _UNRECOGNISED_OTHER)
    text = described(error, description, diagnostic)
    return ExchangeFailure(
        diagnostic, ErrorKind.HTTP_STATUS, kept, text, relayed, status, oauth_error=reported, detail=detail, step_up=step_up
    )


def _is_about_app_only(members: dict[str, object]) -> bool:
    """Return whether Entra ID refuses an app-only caller, on whose behalf nobody can act (AADSTS7000114).

    https://learn.microsoft.com/entra/identity-platform/reference-error-codes
    """
    codes = members.get("error_codes")
    return isinstance(codes, list) and _APP_ONLY in codes


def _answered(status: int) -> str:
    return f"the token endpoint returned status {status}"


def unusable(diagnostic: Diagnostic, kind: ErrorKind) -> ExchangeFailure:
    """Return the failure of an exchange that had a success for an answer, but no usable token."""
    body = described("invalid_request", "internal server error", diagnostic)
    return ExchangeFailure(diagnostic, kind, INTERNAL_SERVER_ERROR, body, http_status=_OK)


def read_members(body: bytes | TooLarge, *, null_is_empty: bool = False) -> dict[str, object] | None:
    """Return the members of the JSON object in ``body``; ``None`` if it is anything else, except that ``null`` counts as an empty one.

    RFC 8259 section 8.1 requires UTF-8 and section 4 unique names: a text that two readers may understand differently is refused.
    All numbers are floats, and -1 if they are too long.
    """
    if isinstance(body, TooLarge) or len(body) > MAX_RESPONSE_BYTES:
        return None
    if len(body) <= MAX_RESPONSE_MARKS:  # a short one cannot have as many
        if (members := flat_members(body)) is not None:
            return members
    elif sum(map(body.count, _STRUCTURAL)) > MAX_RESPONSE_MARKS:
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


def _text(value: object) -> str | None:
    """Return a member as text: "" if it is absent or null, ``None`` if it is of another JSON type."""
    if value is None:
        return ""
    return value if isinstance(value, str) else None


def _lifetime(value: object) -> int | None:
    """Return the seconds of ``expires_in``, ``None`` if it is invalid. Some servers send it as text; the token counts anyway."""
    if isinstance(value, str) and len(value) <= _MAX_NUMBER and value.isascii() and value.isdecimal():
        value = float(value)
    return int(value) if isinstance(value, float) and 0 <= value <= _MAX_EXPIRES_IN else None


def _listed_scope(value: object) -> str:
    """Return a scope that is not text, or too long, as ``ExchangedToken`` has it. Unless it is verified, the token counts anyway."""
    texts = [item for item in value if isinstance(item, str)] if isinstance(value, list) else None
    return UNREADABLE_SCOPE if texts is None or texts != value or len(text := " ".join(texts)) > _MAX_SCOPE else text


def _number(digits: str) -> float:
    """Return the number, -1 for a long one: converting a million digits would take longer than the whole exchange may."""
    return float(digits) if len(digits) <= _MAX_NUMBER else -1.0


# Kept, since making one costs more than reading a usual answer. It reads one value, without spaces around it (RFC 8259 section 2).
# (The stub does not have that method.)
_DECODER: Final = json.JSONDecoder(object_pairs_hook=unique_names, parse_int=_number, parse_float=_number, parse_constant=no_constant)
_scan: Final[Callable[[str, int], tuple[object, int]]] = _DECODER.scan_once  # type: ignore[attr-defined]
_JSON_SPACE: Final = " \t\n\r"
