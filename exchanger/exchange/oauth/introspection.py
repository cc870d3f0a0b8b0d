"""Reads what an issuer says of a caller's token (RFC 7662 section 2.2, https://www.rfc-editor.org/rfc/rfc7662#section-2.2).

Total, and strict: what two readers may understand differently is no answer, and ``active`` is the only word for an active token. A signed
answer (RFC 9701) is none either, since nothing here asks for one.

Must not know: HTTP clients, tasks, clocks or logs.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Final

import attrs

from exchanger.exchange.oauth.documents import MAX_DOCUMENT_BYTES
from exchanger.exchange.oauth.token_response import TokenResponseRules, decode_response, read_members
from exchanger.formats.jwt.claims import actors_of, audiences_of, time_of
from exchanger.formats.jwt.refusal import TokenRefusalReason
from exchanger.model.errors import Diagnostic
from exchanger.model.issuer import Issuer
from exchanger.model.secret import Secret
from exchanger.model.token import Cache, ErrorKind, ExchangedToken, ExchangeFailure, TokenCall, TokenOutcome, VerificationResult
from exchanger.model.token_failure import inactive_subject, transport_failure
from exchanger.net.answer import TooLarge

# Bytes of what is kept of an answer for the audit log: names of some hundred characters, and a few actors. There are 20,000 of them.
MAX_SAID: Final = 2048
# RFC 7662 section 2.2, RFC 8693 section 4.1.
_PARTIES: Final = ("iss", "sub", "client_id", "azp", "act", "jti")
# In place of a token: an issuer gives none when it is asked about one.
_NO_TOKEN: Final = Secret("")
_UNREADABLE: Final = transport_failure(
    ErrorKind.MALFORMED_SUCCESS_JSON,
    Diagnostic.INTROSPECTION_UNAVAILABLE,
    HTTPStatus.OK,
    detail="its answer is not a JSON object with unique names",
)
_INACTIVE: Final = "its issuer does not say that the token is active"
_NOT_BEARER: Final = "its issuer says that the token is not a bearer token"


def decode_introspection(
    status: int, www_authenticate: Sequence[str], body: bytes | TooLarge, issuer: Issuer, call: TokenCall, now: float
) -> TokenOutcome:
    """Return what an answer of the introspection endpoint means at ``now`` (seconds since the epoch).

    A success has the result as ``subject``, the token's own end as ``expires_at``, and no token. TXE-4003 is the failure if the token does
    not pass; any other means that there is no result.
    """
    if status != HTTPStatus.OK:
        failure = decode_response(status, www_authenticate, body, TokenResponseRules())
        if isinstance(failure, ExchangedToken):
            raise AssertionError  # only 200 can be one
        return attrs.evolve(failure, detail=f"it returned status {status}")
    if isinstance(body, TooLarge) or len(body) > MAX_DOCUMENT_BYTES:
        return attrs.evolve(_UNREADABLE, detail=f"its answer has more than {MAX_DOCUMENT_BYTES} bytes")
    members = read_members(body)
    if members is None:
        return _UNREADABLE
    refusal = _refusal(members, issuer, now)
    if refusal:
        return attrs.evolve(inactive_subject(refusal), http_status=status)
    actors = actors_of(members["act"]) if "act" in members else None
    result = VerificationResult("" if actors is None else actors[0], introspected=True, said=_said(members))
    expires = time_of(members.get("exp"))
    return ExchangedToken(_NO_TOKEN, call, None, Cache.MISS, None if expires is None else int(expires), result)


def _said(members: Mapping[str, object]) -> bytes:
    """Return the claims that tell whom the token is about, and who acts for them."""
    said = json.dumps({name: members[name] for name in _PARTIES if name in members}, separators=(",", ":")).encode("ascii")
    return said if len(said) <= MAX_SAID else b""


def unavailable(failure: ExchangeFailure, *, too_late: bool) -> ExchangeFailure:
    """Return that there is no result (TXE-4004), because of ``failure``."""
    detail = f"the introspection endpoint is not available: {failure.detail or failure.kind.value}"
    found = transport_failure(ErrorKind.INTROSPECTION_UNAVAILABLE, Diagnostic.INTROSPECTION_UNAVAILABLE, detail=detail)
    return attrs.evolve(found, retry_after=failure.retry_after, oauth_error=failure.oauth_error, too_late=failure.too_late or too_late)


def _refusal(members: Mapping[str, object], issuer: Issuer, now: float) -> str:
    """Return why the token does not pass, "" if it does. A member of the wrong type is a reason."""
    if members.get("active") is not True:
        return _INACTIVE
    kind = members.get("token_type", "bearer")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        return _NOT_BEARER
    reason = next((reason for reason, wrong in _problems(members, issuer, now) if wrong), None)
    return "" if reason is None else f"its issuer says that the token {reason.value}"


def _problems(members: Mapping[str, object], issuer: Issuer, now: float) -> Iterator[tuple[TokenRefusalReason, bool]]:
    """Yield what may be wrong with an active token, and whether it is."""
    rules, given = issuer.subject, members.get
    if "exp" in members:
        expires = time_of(given("exp"))
        yield TokenRefusalReason.TIMES, expires is None
        yield TokenRefusalReason.EXPIRED, expires is not None and now >= expires
    if rules.issuers and "iss" in members:
        yield TokenRefusalReason.ISSUER, given("iss") not in rules.issuers
    if rules.audiences:
        yield TokenRefusalReason.AUDIENCE, set(audiences_of(given("aud")) or ()).isdisjoint(rules.audiences)
    # Whatever their values: an unintelligible one is no reason to pass.
    yield TokenRefusalReason.CONFIRMATION, "cnf" in members
    yield TokenRefusalReason.MAY_ACT, "may_act" in members and issuer.grant.actor is None
    if "act" in members:
        actors = actors_of(given("act"))
        yield TokenRefusalReason.ACTORS, actors is None or actors[1] > rules.max_actors
