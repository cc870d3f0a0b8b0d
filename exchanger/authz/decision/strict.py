"""Failures as callers see them with ``errors: strict``: by who can fix them, and with what helps the caller.

A token endpoint's 400 and 401 are about the service's request, and not about the caller's. So a refused caller's token is 401 with our own
challenge, a need for more is 401 or 403 with what is needed, and a temporary failure is 503 or 504. A call that cannot be made as
configured is 500, and every other failure is 502, such as an operator's mistake that the token endpoint reports.

Sources: RFC 6750 section 3 (https://www.rfc-editor.org/rfc/rfc6750#section-3), RFC 9470 section 3, RFC 9110 section 15.6.
"""

import math
from typing import Final, final

import attrs

from exchanger.model.bearer import challenge
from exchanger.model.errors import Diagnostic
from exchanger.model.token import ExchangeFailure, StepUp

_OF_THE_TOKEN: Final = frozenset({"invalid_grant", "invalid_request"})
_OF_THE_CALLER: Final = frozenset({Diagnostic.OAUTH_ERROR, Diagnostic.APP_ONLY_CALLER, Diagnostic.ASSERTION_REFUSED})
_REFUSED_HERE: Final = frozenset({Diagnostic.SUBJECT_REJECTED, Diagnostic.SUBJECT_INACTIVE})
_CONFIGURATION: Final = frozenset({Diagnostic.INVALID_TOKEN_ENDPOINT, Diagnostic.CREATE_REQUEST})
_PASSING: Final = frozenset(
    {
        *(Diagnostic.REQUEST_FAILED, Diagnostic.READ_RESPONSE, Diagnostic.BREAKER_OPEN, Diagnostic.OVERLOADED),
        *(Diagnostic.METADATA_UNKNOWN, Diagnostic.NO_ACTOR_TOKEN, Diagnostic.KEYS_UNKNOWN, Diagnostic.INTROSPECTION_UNAVAILABLE),
        Diagnostic.AUDIT_UNAVAILABLE,
    }
)
# Statuses of a token endpoint that will not last (RFC 9110 section 15.6, RFC 6585 section 4).
_PASSING_STATUSES: Final = frozenset({429, *range(500, 600)})
_REDIRECTS: Final = range(300, 400)

# Seconds after which to try again, if the token endpoint does not say; and the most that a caller is told.
_RETRY_AFTER: Final = 1
_LONGEST: Final = 3600


@final
@attrs.frozen
class StrictAnswer:
    """The caller's answer; ``body`` is JSON."""

    status: int
    body: str
    headers: tuple[tuple[str, str], ...] = ()


def strict_answer(failure: ExchangeFailure, realm: str, scope: str, resource_metadata: str) -> StrictAnswer:
    """Return the caller's answer in place of ``failure``; ``scope`` is what the policy requests."""

    def body(error: str) -> str:
        return f'{{"error":"{error}","error_description":"request failed ({failure.diagnostic.value})"}}'

    def challenged(status: int, error: str, needed: StepUp | None = None) -> StrictAnswer:
        value = challenge(realm, scope if needed is None else needed.scope or scope, error, resource_metadata, _needed(needed))
        return StrictAnswer(status, body(error), (("WWW-Authenticate", value),))

    if failure.step_up is not None:
        error = failure.step_up.error
        return challenged(403 if error == "insufficient_scope" else 401, error, failure.step_up)
    if failure.diagnostic in _REFUSED_HERE:
        return challenged(401, "invalid_token")
    if failure.diagnostic in _OF_THE_CALLER and failure.oauth_error in _OF_THE_TOKEN:
        return challenged(401, "invalid_token")
    if failure.too_late:
        return StrictAnswer(504, body("temporarily_unavailable"))
    if failure.diagnostic in _CONFIGURATION:
        return StrictAnswer(500, body("server_error"))
    redirected = failure.http_status in _REDIRECTS
    if failure.http_status in _PASSING_STATUSES or (failure.diagnostic in _PASSING and not redirected):
        return StrictAnswer(503, body("temporarily_unavailable"), (("Retry-After", str(_seconds(failure.retry_after))),))
    return StrictAnswer(502, body("server_error"))


def _needed(step_up: StepUp | None) -> tuple[tuple[str, str], ...]:
    if step_up is None:
        return ()
    age = "" if step_up.max_age is None else str(step_up.max_age)
    pairs = (("acr_values", step_up.acr_values), ("max_age", age), ("claims", step_up.claims))
    return tuple((name, value) for name, value in pairs if value)


def _seconds(retry_after: float | None) -> int:
    return _RETRY_AFTER if retry_after is None else min(max(math.ceil(retry_after), _RETRY_AFTER), _LONGEST)
