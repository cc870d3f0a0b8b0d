"""Structured logs: which events are logged, their form, and the wiring from structlog to the writer.

Events are dotted names with flat fields: ``structlog.get_logger().info("policy.published", documents=3)``. Every line goes to standard
output, where platforms collect it.
"""

import enum
import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final, assert_never, final

import attrs
import structlog

from exchanger.authz.decision.outcome import Result
from exchanger.net.network import SYSTEM, Network
from exchanger.operations.telemetry.decision_log import DecisionLog, InsecureTokenLog, decision_line, json_line
from exchanger.operations.telemetry.library_log import libraries_heard
from exchanger.operations.telemetry.log_writer import LogWriter
from exchanger.operations.telemetry.render import Render, Stamp, bounded, console_renderer, render_json
from exchanger.util.output import STDOUT, Descriptor, Output


@enum.unique
class LogFormat(enum.Enum):
    """Who reads the log: a collector or a person."""

    JSON = "json"
    CONSOLE = "console"


@enum.unique
class LogLevel(enum.Enum):
    """The least level that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@enum.unique
class LogDecisions(enum.Enum):
    """Which decisions are logged; ``DENIED``: those refused or failed."""

    ALL = "all"
    DENIED = "denied"
    OFF = "off"


@final
@attrs.frozen
class LogSettings:
    """LOG_FORMAT, LOG_LEVEL and LOG_DECISIONS."""

    format: LogFormat = LogFormat.JSON
    level: LogLevel = LogLevel.INFO
    decisions: LogDecisions = LogDecisions.DENIED


_LEVEL_NUMBERS: Final = {LogLevel.DEBUG: 10, LogLevel.INFO: 20, LogLevel.WARNING: 30, LogLevel.ERROR: 40}
_DENIED: Final = frozenset({Result.AUTH_DENIED, Result.SYSTEM_ERROR})


@final
@attrs.frozen
class Logging:
    """The log of this process: the writer to run, the output that it writes to, and the observers to bind to decisions."""

    output: Output
    writer: LogWriter
    decisions: DecisionLog
    insecure_tokens: InsecureTokenLog


@contextmanager
def logging_to_stdout(settings: LogSettings, output: Output | None = None, network: Network = SYSTEM) -> Generator[Logging]:
    """While open, structlog's loggers and the libraries that are heard write to ``output`` (default: standard output).

    Lines are written at once until the writer runs, and again after it ended.
    """
    stamp = Stamp(network.wall)
    render = _renderer(settings.format)
    output = Descriptor() if output is None else output
    writer = LogWriter(
        output,
        lambda lines: render({"timestamp": stamp(), "level": "warning", "event": "log.dropped", "lines": lines}),
        network.run_sync,
    )
    structlog.configure(
        processors=[structlog.processors.add_log_level, structlog.processors.format_exc_info, bounded, _Final(stamp, render)],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVEL_NUMBERS[settings.level]),
        logger_factory=lambda *_: _LineLogger(writer),
        cache_logger_on_first_use=False,
    )
    try:
        with libraries_heard(structlog.get_logger()):
            yield Logging(
                output=output,
                writer=writer,
                decisions=DecisionLog(
                    results_logged(settings),
                    stamp,
                    json_line if settings.format is LogFormat.JSON else lambda record, now: render(decision_line(record, now)),
                    writer.put,
                    writer.lose,
                ),
                insecure_tokens=InsecureTokenLog(stamp, render, writer.put),
            )
    finally:
        structlog.reset_defaults()


def results_logged(settings: LogSettings) -> frozenset[Result]:
    """Return the results whose decisions become lines, given the setting and the level."""
    level = settings.level
    audible = {
        LogLevel.DEBUG: frozenset(Result),
        LogLevel.INFO: frozenset(Result),
        LogLevel.WARNING: _DENIED,
        LogLevel.ERROR: frozenset({Result.SYSTEM_ERROR}),
    }[level]
    match settings.decisions:
        case LogDecisions.ALL:
            return audible
        case LogDecisions.DENIED:
            return audible & _DENIED
        case LogDecisions.OFF:
            return frozenset()
        case _:
            assert_never(settings.decisions)


def _renderer(log_format: LogFormat) -> Render:
    match log_format:
        case LogFormat.JSON:
            return render_json
        case LogFormat.CONSOLE:
            return console_renderer(colors=os.isatty(STDOUT))
        case _:
            assert_never(log_format)


@final
@attrs.frozen
class _Final:
    """The last structlog processor: time, level and event first, then the other fields in the given order."""

    stamp: Stamp
    render: Render

    def __call__(self, _logger: object, _method: str, fields: structlog.typing.EventDict) -> bytes:
        event, level = fields.pop("event"), fields.pop("level")
        return self.render({"timestamp": self.stamp(), "level": level, "event": event, **fields})


@final
@attrs.frozen
class _LineLogger:
    """Receives finished lines from structlog, whatever their level."""

    writer: LogWriter

    def msg(self, line: bytes) -> None:
        self.writer.put(line)

    debug = info = warning = error = critical = msg
