"""The log line of a decision.

It never contains a token, a secret or a body. Of the request only method, host, path and the ids of trace and request are read, of the
response only the decision, and of a token endpoint's answer only a registered error code. The one exception is ``insecure_token_line``,
which an operator must enable explicitly.
"""

import functools
from collections.abc import Callable
from typing import Final, assert_never, final

import attrs
import orjson

from exchanger.authz.decision.outcome import Allow, DecisionReason, DecisionRecord, Deny, Result
from exchanger.authz.decision.subject import exchanged_subject
from exchanger.model.entry import Source
from exchanger.model.errors import Diagnostic
from exchanger.model.request import HttpRequest
from exchanger.model.secret import Secret
from exchanger.model.text import (
    DETAIL_LIMIT,
    ISSUER_LIMIT,
    METHOD_LIMIT,
    POLICY_LIMIT,
    is_request_id,
    is_usual_host,
    loggable_host,
    loggable_path,
    loggable_request_id,
    usual_path,
)
from exchanger.model.token import IssuedMismatch
from exchanger.operations.telemetry.render import Render, render_json
from exchanger.util.text import printable

Line = dict[str, str | int | float]

_HTTP_OK: Final = 200
# Characters of a token; longer ones are exchanged nowhere.
_TOKEN_LIMIT: Final = 64 * 1024
# By member, since the value of one takes longer to find than to look up here.
_REASONS: Final = {reason: reason.value for reason in DecisionReason}
_LEVELS: Final = {Result.ALLOWED: "info", Result.AUTH_DENIED: "warning", Result.SYSTEM_ERROR: "error"}


def decision_line(record: DecisionRecord, timestamp: str) -> Line:
    """Return the fields of the line about ``record``: flat, bounded, in the order in which people read them.

    ``duration_ms`` is in milliseconds. ``policy`` (namespace/name) is present if a policy matched. If an exchange failed, ``issuer``,
    ``endpoint`` (a host), ``error_kind``, ``oauth_error`` and ``code`` are present if known, and ``leg`` if the issuer of another
    profile issued no assertion. If a token that was issued is not the one that was requested, ``claim`` and both sides' ``iss``, ``aud``
    and ``scope`` are. ``actors`` is the digest of the actors for the
    caller's subject, if verification found any.
    """
    request, outcome = record.request, record.outcome
    line: Line = {
        "timestamp": timestamp,
        "level": _LEVELS[outcome.result],
        "event": "check.decided",
        "method": printable(request.method, METHOD_LIMIT),
        "host": loggable_host(request.host),
        "path": loggable_path(request.path),
        "decision": _REASONS[outcome.reason],
        "duration_ms": round(record.duration * 1_000_000) / 1000,
    }
    if outcome.source is not None:
        line["policy"] = _policy(outcome.source)
    # Not ``match``: with class patterns this function takes a quarter longer.
    if isinstance(outcome, Allow):
        line["status"] = _HTTP_OK
    elif isinstance(outcome, Deny):
        line["status"] = outcome.status
        if outcome.diagnostic is not None:
            _add_failure(line, record, outcome, outcome.diagnostic)
        if outcome.detail:
            line["detail"] = printable(outcome.detail, DETAIL_LIMIT)
    else:
        assert_never(outcome)
    if outcome.subject is not None and outcome.subject.actors:
        line["actors"] = outcome.subject.actors
    trace_id = record.trace_id
    if trace_id is not None:
        line["trace_id"] = trace_id
    if request.request_id and (request_id := loggable_request_id(request.request_id)):
        line["request_id"] = request_id
    return line


def insecure_token_line(record: DecisionRecord, timestamp: str, *, subject: Secret, exchanged: Secret) -> Line:
    """Return the line with both tokens of an exchange, for TOKEN_EXCHANGE_INSECURE_LOG_TOKENS and nothing else."""
    line = decision_line(record, timestamp)
    line["event"], line["level"] = "check.tokens", "warning"
    line["subject_token"] = printable(subject.reveal(), _TOKEN_LIMIT)
    line["exchanged_token"] = printable(exchanged.reveal(), _TOKEN_LIMIT)
    return line


@functools.lru_cache(maxsize=4096)
def _policy(source: Source) -> str:
    return printable(str(source), POLICY_LIMIT)


def _add_failure(line: Line, record: DecisionRecord, deny: Deny, diagnostic: Diagnostic) -> None:
    if deny.issuer:
        line["issuer"] = printable(deny.issuer, ISSUER_LIMIT)
    if deny.leg:
        line["leg"] = printable(deny.leg, ISSUER_LIMIT)
    if record.exchange is not None:
        line["endpoint"] = loggable_host(record.exchange.endpoint_host)
    if deny.error_kind is not None:
        line["error_kind"] = deny.error_kind.value
    if deny.oauth_error:
        line["oauth_error"] = deny.oauth_error
    line["code"] = diagnostic.value
    if deny.mismatch is not None:
        _add_mismatch(line, deny.mismatch)


def _add_mismatch(line: Line, mismatch: IssuedMismatch) -> None:
    """Show what was requested and what was issued. The texts are bounded already."""
    if mismatch.claim:
        line["claim"] = mismatch.claim
    for side, claims in (("requested", mismatch.requested), ("issued", mismatch.issued)):
        for name, text in (("iss", claims.issuer), ("aud", claims.audience), ("scope", claims.scope)):
            line[f"{side}_{name}"] = text


# Fields that differ between the decisions of one entry, and their places in ``_template``; those that follow these come last.
_PLACES: Final = {"timestamp": '"%s"', "method": '"%s"', "host": '"%s"', "path": '"%s"', "duration_ms": "%s"}
_USUAL_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_ANY_REQUEST: Final = HttpRequest("", "", "")


def json_line(record: DecisionRecord, timestamp: str) -> bytes:
    """Return ``decision_line`` as JSON. Where nothing needs to be escaped, it is made from kept parts in a third of the time."""
    request, outcome = record.request, record.outcome
    path, request_id = usual_path(request.path), request.request_id
    if (
        path is None
        or request.method not in _USUAL_METHODS
        or not is_usual_host(request.host)
        or (request_id and not is_request_id(request_id))
        or (outcome.subject is not None and outcome.subject.actors)
    ):
        return render_json(decision_line(record, timestamp))
    if type(outcome) is Allow:
        template = _template_of_allow(outcome.reason, outcome.source)
    elif outcome.diagnostic is None:
        template = _template(outcome)
    else:  # a failed exchange has fields of its own
        return render_json(decision_line(record, timestamp))
    trace_id = record.trace_id
    rest = f',"trace_id":"{trace_id}"' if trace_id is not None else ""
    if request_id:
        rest += f',"request_id":"{request_id}"'
    duration = round(record.duration * 1_000_000) / 1000
    return (template % (timestamp, request.method, request.host, path[1], duration, rest)).encode()


@functools.lru_cache(maxsize=4096)
def _template_of_allow(reason: DecisionReason, source: Source | None) -> str:
    return _template(Allow(reason, source))  # without the token, which differs each time and is in no line


@functools.lru_cache(maxsize=4096)
def _template(outcome: Allow | Deny) -> str:
    """Return the JSON of lines about ``outcome`` in the form of ``str.__mod__``."""
    line = decision_line(DecisionRecord(_ANY_REQUEST, outcome, 0.0, 0.0), "")
    members = (f'"{name}":{_PLACES.get(name) or orjson.dumps(value).decode().replace("%", "%%")}' for name, value in line.items())
    return f"{{{','.join(members)}%s}}"


def _flush_now(log: "DecisionLog") -> None:
    log.flush()


@final
@attrs.define(eq=False)
class DecisionLog:
    """Writes one line per decision whose result is among ``results``. Takes about a microsecond, so it does not use structlog.

    ``line`` makes a line of a record and a timestamp; ``lose`` counts one that it fails to make. ``schedule_flush`` has ``flush`` called
    soon, at the latest at the end of the turn: then the answers are on their way, and lines in a row cost less than one between two
    decisions.
    """

    _results: frozenset[Result]
    _stamp: Callable[[], str]
    _line: Callable[[DecisionRecord, str], bytes]
    _put: Callable[..., None]
    _lose: Callable[[], None]
    schedule_flush: Callable[["DecisionLog"], None] = _flush_now
    _records: list[DecisionRecord] = attrs.field(factory=list, init=False, repr=False)

    def decided(self, record: DecisionRecord, /) -> None:
        if record.outcome.result in self._results:
            self._records.append(record)
            if len(self._records) == 1:
                self.schedule_flush(self)

    def flush(self) -> None:
        """Write the lines about the decisions since the last time."""
        records, self._records = self._records, []
        line, timestamp = self._line, self._stamp()
        lines: list[bytes] = []
        for record in records:
            try:
                lines.append(line(record, timestamp))
            except Exception:  # noqa: BLE001 - answers are on their way, and what follows them must not end the service
                self._lose()
        if lines:
            self._put(*lines)


@final
@attrs.define(eq=False)
class InsecureTokenLog:
    """Writes both tokens of every exchange that succeeded. Made only when TOKEN_EXCHANGE_INSECURE_LOG_TOKENS is on."""

    _stamp: Callable[[], str]
    _render: Render
    _put: Callable[[bytes], None]

    def decided(self, record: DecisionRecord, /) -> None:
        match record.outcome:
            case Allow(access_token=Secret() as exchanged) if subject := exchanged_subject(record.request, record.outcome.removed):
                self._put(self._render(insecure_token_line(record, self._stamp(), subject=subject, exchanged=exchanged)))
            case _:
                pass
