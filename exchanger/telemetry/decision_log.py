"""The line that a decision leaves in the log.

Never a token, a secret, a header value or a token endpoint's body: of the request only method, host and path are read, of the answer
only what was decided. The one exception is ``insecure_token_line``, for which an operator has asked in so many words.
"""

from collections.abc import Callable
from typing import Final, assert_never, final

import attrs

from exchanger.decision.bearer import Bearer, read_bearer
from exchanger.decision.outcome import Allow, DecisionRecord, Deny, Result
from exchanger.telemetry.lines import Render
from exchanger.util.text import printable
from exchanger.values.secret import Secret
from exchanger.values.text import DETAIL_LIMIT, METHOD_LIMIT, POLICY_LIMIT, loggable_host, loggable_path

Line = dict[str, str | int | float]

_HTTP_OK: Final = 200
_TOKEN_LIMIT: Final = 64 * 1024
"""Characters of a token; longer ones are exchanged nowhere."""
_LEVELS: Final = {Result.ALLOWED: "info", Result.AUTH_DENIED: "warning", Result.SYSTEM_ERROR: "error"}


def decision_line(record: DecisionRecord, timestamp: str) -> Line:
    """Return the fields of the line about ``record``: flat, bounded, in the order in which people read them.

    ``duration_ms`` is in milliseconds. ``policy`` (namespace/name) is there when a policy matched, ``diagnostic`` when an exchange failed.
    """
    return _line("check.decided", _LEVELS[record.outcome.result], record, timestamp)


def insecure_token_line(record: DecisionRecord, timestamp: str, *, subject: Secret, exchanged: Secret) -> Line:
    """Return the line with both tokens of an exchange, for TOKEN_EXCHANGE_INSECURE_LOG_TOKENS and nothing else."""
    line = _line("check.tokens", "warning", record, timestamp)
    line["subject_token"] = printable(subject.reveal(), _TOKEN_LIMIT)
    line["exchanged_token"] = printable(exchanged.reveal(), _TOKEN_LIMIT)
    return line


def _line(event: str, level: str, record: DecisionRecord, timestamp: str) -> Line:
    request, outcome = record.request, record.outcome
    line: Line = {
        "timestamp": timestamp,
        "level": level,
        "event": event,
        "method": printable(request.method, METHOD_LIMIT),
        "host": loggable_host(request.host),
        "path": loggable_path(request.path),
        "decision": outcome.reason.value,
        "duration_ms": round(record.duration * 1000, 3),
    }
    if outcome.source is not None:
        line["policy"] = printable(str(outcome.source), POLICY_LIMIT)
    # Not ``match``: with class patterns this function takes a quarter longer.
    if isinstance(outcome, Allow):
        line["status"] = _HTTP_OK
    elif isinstance(outcome, Deny):
        line["status"] = outcome.status
        if outcome.diagnostic is not None:
            line["diagnostic"] = outcome.diagnostic.value
        if outcome.detail:
            line["detail"] = printable(outcome.detail, DETAIL_LIMIT)
    else:
        assert_never(outcome)
    return line


@final
@attrs.frozen
class DecisionLogStatistics:
    """How many decisions became lines, and how many were not asked for."""

    logged: int
    skipped: int


@final
@attrs.define(eq=False)
class DecisionLog:
    """Writes one line a decision whose result is among ``results``. Takes about two microseconds, so it does not go through structlog."""

    _results: frozenset[Result]
    _stamp: Callable[[], str]
    _render: Render
    _put: Callable[[bytes], None]
    _logged: int = attrs.field(default=0, init=False)
    _skipped: int = attrs.field(default=0, init=False)

    def decided(self, record: DecisionRecord, /) -> None:
        """See ``typing.DecisionObserver``."""
        if record.outcome.result in self._results:
            self._logged += 1
            self._put(self._render(decision_line(record, self._stamp())))
        else:
            self._skipped += 1

    def statistics(self) -> DecisionLogStatistics:
        """Tell how many decisions were logged."""
        return DecisionLogStatistics(self._logged, self._skipped)


@final
@attrs.define(eq=False)
class InsecureTokenLog:
    """Writes both tokens of every exchange that succeeded. Made only when TOKEN_EXCHANGE_INSECURE_LOG_TOKENS is on."""

    _stamp: Callable[[], str]
    _render: Render
    _put: Callable[[bytes], None]
    _logged: int = attrs.field(default=0, init=False)

    def decided(self, record: DecisionRecord, /) -> None:
        """See ``typing.DecisionObserver``."""
        match record.outcome:
            case Allow(access_token=Secret() as exchanged) if isinstance(subject := read_bearer(record.request.authorization), Bearer):
                self._logged += 1
                self._put(self._render(insecure_token_line(record, self._stamp(), subject=subject.token, exchanged=exchanged)))
            case _:
                pass

    def statistics(self) -> DecisionLogStatistics:
        """Tell how many exchanges were logged."""
        return DecisionLogStatistics(self._logged, 0)
