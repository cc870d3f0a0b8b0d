"""A decision as the console shows it: a pure function of its record.

Of a request only method, host and path are read, of the response the decision; texts have the bounds of the log. Tokens are decoded
only if the constructor says so: header and claims of a JWT, never the token itself. Otherwise ``authorization`` and ``access_token`` are
not touched, and the response to a failed exchange is withheld, since it may come from the token endpoint.

Sources: RFC 7519 (https://www.rfc-editor.org/rfc/rfc7519), compact form https://www.rfc-editor.org/rfc/rfc7515#section-3.1
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final, cast, final

import attrs

from exchanger.authz.decision.outcome import Allow, DecisionReason, DecisionRecord, Deny
from exchanger.formats.jwt.unverified import claims_of, object_of
from exchanger.model.bearer import NoToken, read_bearer
from exchanger.model.request import HttpRequest
from exchanger.model.text import DETAIL_LIMIT, METHOD_LIMIT, PATH_LIMIT, loggable_host, loggable_path
from exchanger.model.token import Cache, FirstLeg, VerificationResult
from exchanger.operations.console.bounded_record import MAX_SHOWN_TOKEN
from exchanger.operations.console.feed import Entry
from exchanger.policy.path import MalformedPath, interpretations_of, without_markers
from exchanger.policy.table import CONFLICT
from exchanger.util.text import JWT, printable

Item = dict[str, object]
# Returns the fields of a decision's log line, given its time.
LogLine = Callable[[DecisionRecord, str], Mapping[str, object]]

# Characters of a response's body: ours have a few dozen.
BODY_LIMIT: Final = 2048
# Characters of a header's value, and headers: a content type, and challenges with realm and scope.
HEADER_LIMIT: Final = 512
HEADERS: Final = 8
# Characters of a scope, resource or audience, and how many resources or audiences are shown.
TARGET_LIMIT: Final = 256
TARGETS: Final = 16

# Characters of a path whose interpretations are shown: the worst take a third of a millisecond, and hostile ones come in floods.
READ_LIMIT: Final = 256
READ_LIMIT_NON_ASCII: Final = 64

_HTTP_OK: Final = 200
_CONTENT_TYPE: Final = ("Content-Type", "application/json")
# A path of plain names has one interpretation. Most paths are such, and this costs less than computing all interpretations.
_PLAIN: Final = re.compile(r"(?:/[A-Za-z0-9_-]++)+")
# These replace what is not shown in a path. A record may have been cut before, so a comparison is not enough.
_ALTERED: Final = re.compile("[…\N{REPLACEMENT CHARACTER}]")

# Integers up to here are exact in a page (https://www.rfc-editor.org/rfc/rfc8259#section-6).
_MAX_EXACT: Final = 2**53 - 1

Jwt = dict[str, object]
# A token that is not a JWT, or that is too long to be decoded.
OPAQUE: Final[Jwt] = {"opaque": True}


def stamp(seconds: float) -> str:
    """Return a time since the epoch in the form of RFC 3339, in UTC, with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@final
@attrs.frozen
class DecisionJson:
    """Shows decisions. ``show_tokens`` is for a demo whose tokens are worthless."""

    line: LogLine
    show_tokens: bool = attrs.field(default=False, kw_only=True)

    def item(self, entry: Entry) -> Item:
        """Return the console's item for one decision."""
        sequence, seconds, record, revision = entry
        request, outcome, source = record.request, record.outcome, record.outcome.source
        time, path = stamp(seconds), loggable_path(request.path)
        whole = path == request.path.partition("?")[0] and _ALTERED.search(path) is None
        denied = outcome if isinstance(outcome, Deny) else None
        return {
            "seq": sequence,
            "time": time,
            "method": printable(request.method, METHOD_LIMIT),
            "host": loggable_host(request.host),
            "path": path,
            "path_is_raw": request.path_is_raw,
            "path_cut": not whole,
            "readings": [path] if _PLAIN.fullmatch(path) else _interpretations(path, is_raw=request.path_is_raw) if whole else [],
            "asked_by": record.asked_by.value,
            "decision": outcome.reason.value,
            "result": outcome.result.value,
            "status": _HTTP_OK if denied is None else denied.status,
            "policy": None
            if source is None
            else {
                "namespace": printable(source.namespace, TARGET_LIMIT),
                "name": printable(source.name, TARGET_LIMIT),
                "entry": outcome.entry_index,
            },
            "conflict": denied is not None and source is None and denied.detail == CONFLICT.reason,
            "detail": "" if denied is None or not denied.detail else printable(denied.detail, DETAIL_LIMIT),
            "diagnostic": None if denied is None or denied.diagnostic is None else denied.diagnostic.value,
            **_exchange(record),
            "subject": _subject(outcome.subject),
            **_mismatch(denied),
            "duration_ms": round(record.duration * 1000, 3),
            "trace_id": record.trace_id,
            "revision": revision,
            "response": None if denied is None else self._response(denied, request),
            "log": self.line(record, time),
            "tokens": _tokens(record) if self.show_tokens else None,
        }

    def _response(self, denied: Deny, request: HttpRequest) -> dict[str, object]:
        foreign = denied.reason is DecisionReason.DENY_EXCHANGE_ERROR
        if foreign and not self.show_tokens:
            return {"status": denied.status, "headers": None, "body": None}
        headers = [[name, printable(value, HEADER_LIMIT)] for name, value in (_CONTENT_TYPE, *denied.headers[:HEADERS])]
        body = denied.body
        if foreign:  # a token endpoint may repeat what it was sent, and raw tokens are never shown
            bearer = read_bearer(request.authorization)
            hide = re.compile(JWT if isinstance(bearer, NoToken) else f"{re.escape(bearer.reveal())}|{JWT}")
            body, headers = hide.sub("…", body), [[name, hide.sub("…", value)] for name, value in headers]
        return {"status": denied.status, "headers": headers, "body": printable(body, BODY_LIMIT)}


def _interpretations(path: str, *, is_raw: bool) -> list[str]:
    """Return the interpretations of ``path``; none if it is malformed or too long for all of them to be shown.

    ``path`` is shown completely, so no interpretation has anything to hide. Other paths are not read: what they hide may appear anywhere.
    """
    if not path.startswith("/") or len(path) > (READ_LIMIT if path.isascii() else READ_LIMIT_NON_ASCII):
        return []
    found: list[str] = []
    for text in (path,) if is_raw else (path, without_markers(path)):
        interpretations = interpretations_of(text)
        if isinstance(interpretations, MalformedPath):
            return []
        found += [printable(interpretation, PATH_LIMIT) for interpretation in interpretations]
    return list(dict.fromkeys(found))


def _exchange(record: DecisionRecord) -> dict[str, object]:
    exchange = record.exchange
    if exchange is None:
        return {"issuer": None, "target": None, "exchange": None}
    target, call = exchange.target, exchange.call
    return {
        "issuer": printable(target.issuer_ref, TARGET_LIMIT),
        "target": {
            "scope": printable(target.scope, TARGET_LIMIT),
            "resources": [printable(resource, TARGET_LIMIT) for resource in target.resources[:TARGETS]],
            "audiences": [printable(audience, TARGET_LIMIT) for audience in target.audiences[:TARGETS]],
        },
        "exchange": {
            "endpoint": loggable_host(exchange.endpoint_host),
            "status": None if call is None else call.http_status,
            "duration_ms": None if call is None else round(call.duration * 1000, 3),
            "error": None if call is None or call.kind is None else call.kind.value,
            "coalesced": record.outcome.cache is Cache.COALESCED,
            **_first_leg(exchange.first_leg),
        },
    }


def _first_leg(leg: FirstLeg | None) -> dict[str, object]:
    """Return the exchange at the first of two issuers. Without a duration, its assertion was kept, or it was not called."""
    if leg is None:
        return {}
    call = leg.call
    shown = {
        "issuer": printable(leg.issuer, TARGET_LIMIT),
        "endpoint": loggable_host(leg.endpoint_host),
        "status": None if call is None else call.http_status,
        "duration_ms": None if call is None else round(call.duration * 1000, 3),
        "error": None if call is None or call.kind is None else call.kind.value,
        "failed": leg.failed,
    }
    return {"first_leg": shown}


def _subject(decision: VerificationResult | None) -> dict[str, object] | None:
    """Return the result of verifying the caller's token: a refusal's reason, "" if the token passed, and the digest of actors."""
    if decision is None:
        return None
    asked = {"introspected": True} if decision.introspected else {}
    return {"refusal": printable(decision.refusal, DETAIL_LIMIT), "actors": decision.actors, **asked}


def _mismatch(denied: Deny | None) -> dict[str, object]:
    """Return what was requested and what was issued, if that is why the exchange failed."""
    found = None if denied is None else denied.mismatch
    if found is None:
        return {}
    sides = (("requested", found.requested), ("issued", found.issued))
    shown = {side: {"iss": claims.issuer, "aud": claims.audience, "scope": claims.scope} for side, claims in sides}
    return {"mismatch": {"claim": found.claim, **shown}}


def _tokens(record: DecisionRecord) -> dict[str, object]:
    bearer = read_bearer(record.request.authorization)
    outcome = record.outcome
    exchanged = outcome.access_token if isinstance(outcome, Allow) else None
    return {
        "subject": None if isinstance(bearer, NoToken) else decoded(bearer.reveal()),
        "exchanged": None if exchanged is None else decoded(exchanged.reveal()),
    }


def decoded(token: str) -> Jwt:
    """Return ``{"header", "claims", "signature": "present" | "none"}`` of a JWT, or ``OPAQUE``. Never raises; it verifies nothing."""
    claims = claims_of(token) if len(token) <= MAX_SHOWN_TOKEN else None
    header = None if claims is None else object_of(token.partition(".")[0])
    if claims is None or header is None:
        return OPAQUE
    return {"header": _exact(header), "claims": _exact(claims), "signature": "none" if token.endswith(".") else "present"}


def _exact(claims: dict[str, object]) -> dict[str, object]:
    """Return ``claims`` with those numbers as text that would change in a page."""
    inner: list[dict[str, object] | list[object]] = [claims]
    while inner:
        part = inner.pop()
        for key, value in list(part.items() if isinstance(part, dict) else enumerate(part)):
            if isinstance(value, dict | list):
                inner.append(value)
            elif isinstance(value, int) and abs(value) > _MAX_EXACT:
                cast("dict[object, object]", part)[key] = str(value)  # a list takes the same
    return claims
