"""Failures of an exchange that no answer of the token endpoint explains, and the bodies of those that one does.

Must not know: HTTP clients, tasks, clocks or logs.
"""

import json
from typing import Final

import attrs

from exchanger.model.errors import Diagnostic
from exchanger.model.token import ErrorKind, ExchangeFailure, VerificationResult

INTERNAL_SERVER_ERROR: Final = 500

_TRANSPORT_TEXTS: Final = {
    Diagnostic.INVALID_TOKEN_ENDPOINT: "invalid token endpoint",
    Diagnostic.CREATE_REQUEST: "failed to create token exchange request",
    Diagnostic.REQUEST_FAILED: "token exchange request failed",
    Diagnostic.READ_RESPONSE: "failed to read token exchange response",
    Diagnostic.UNKNOWN_ISSUER: "unknown issuer profile",
    Diagnostic.BREAKER_OPEN: "token endpoint is temporarily not called",
    Diagnostic.OVERLOADED: "too many token exchanges in progress",
    Diagnostic.METADATA_UNKNOWN: "issuer metadata is not available",
    Diagnostic.NO_ACTOR_TOKEN: "no actor token",
    Diagnostic.KEYS_UNKNOWN: "keys of the token's issuer are not available",
    Diagnostic.INTROSPECTION_UNAVAILABLE: "introspection endpoint is not available",
    Diagnostic.AUDIT_UNAVAILABLE: "audit log is not available",
}


def transport_failure(kind: ErrorKind, diagnostic: Diagnostic, http_status: int | None = None, *, detail: str = "") -> ExchangeFailure:
    """Return the failure of an exchange without a usable response: one of TXE-1001 to TXE-1009, TXE-4002, TXE-4004, or TXE-5001.

    ``http_status`` is the token endpoint's status, if there was one. ``detail`` says more to operators.
    """
    message = f"{_TRANSPORT_TEXTS[diagnostic]} ({diagnostic.value})"
    body = _json({"error": "server_error", "message": message})
    return ExchangeFailure(diagnostic, kind, INTERNAL_SERVER_ERROR, body, http_status=http_status, detail=detail)


def subject_refusal(why: str) -> ExchangeFailure:
    """Return the failure of an exchange whose subject token is not good enough; ``why`` is for operators (TXE-4001)."""
    return _refused_token(Diagnostic.SUBJECT_REJECTED, ErrorKind.SUBJECT_REJECTED, VerificationResult(refusal=why))


def inactive_subject(why: str) -> ExchangeFailure:
    """Return the same after its issuer was asked about the token (TXE-4003)."""
    return _refused_token(Diagnostic.SUBJECT_INACTIVE, ErrorKind.SUBJECT_INACTIVE, VerificationResult(refusal=why, introspected=True))


def _refused_token(diagnostic: Diagnostic, kind: ErrorKind, result: VerificationResult) -> ExchangeFailure:
    body = described("invalid_token", "request failed", diagnostic)
    return ExchangeFailure(diagnostic, kind, 401, body, detail=result.refusal, subject=result)


def under_code(failure: ExchangeFailure, diagnostic: Diagnostic) -> ExchangeFailure:
    """Return ``failure`` with another code, also in its body, unless that is the token endpoint's own."""
    body = failure.body.replace(f"({failure.diagnostic.value})", f"({diagnostic.value})")
    return attrs.evolve(failure, diagnostic=diagnostic, body=body)


def described(error: str, description: str, diagnostic: Diagnostic) -> str:
    """Return the body of a failure: an OAuth error (RFC 6749 section 5.2) whose description names the code of ``diagnostic``."""
    return _json({"error": error, "error_description": f"{description} ({diagnostic.value})"})


def _json(members: dict[str, str]) -> str:
    return json.dumps(members, separators=(",", ":"))
