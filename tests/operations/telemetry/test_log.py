import json
import logging as standard_logging

import attrs
import pytest
import structlog

from exchanger.authz.decision.outcome import Outcome, Result
from exchanger.model.secret import Secret
from exchanger.operations.telemetry.log import LogDecisions, LogFormat, LogLevel, LogSettings, logging_to_stdout, results_logged
from tests.operations.telemetry.records import ALLOWED, CANARY, DENIED, FAILED, record


@attrs.define(eq=False)
class FakeOutput:
    data: bytes = b""
    problem: str = ""

    def write(self, data: bytes, /, *, patience: float, at_once: int) -> int:
        self.data += data
        return 0

    @property
    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.data.splitlines()]


def test_an_event_is_one_line_of_json_that_hides_secrets() -> None:
    output = FakeOutput()
    with logging_to_stdout(LogSettings(), output):
        log = structlog.get_logger().bind(room="directory")
        log.info("policy.published", documents=3, token=Secret(CANARY), tokens=[Secret(CANARY)])

    (line,) = output.lines
    assert list(line) == ["timestamp", "level", "event", "room", "documents", "token", "tokens"]
    assert (line["level"], line["event"], line["documents"]) == ("info", "policy.published", 3)
    assert CANARY.encode() not in output.data


def test_an_exception_is_logged_without_the_variables_around_it() -> None:
    output, console = FakeOutput(), FakeOutput()
    for log_format, to in ((LogFormat.JSON, output), (LogFormat.CONSOLE, console)):
        with logging_to_stdout(LogSettings(format=log_format), to):
            token = f"{CANARY}-{log_format}"
            try:
                int("boom")
            except ValueError:
                structlog.get_logger().exception("part.failed")
            assert token

    assert "ValueError: invalid literal" in str(output.lines[0]["exception"])
    assert b"ValueError: invalid literal" in console.data
    assert CANARY.encode() not in output.data + console.data


@pytest.mark.parametrize(
    ("level", "heard"),
    [
        (LogLevel.DEBUG, ["debug", "info", "warning", "error"]),
        (LogLevel.INFO, ["info", "warning", "error"]),
        (LogLevel.WARNING, ["warning", "error"]),
        (LogLevel.ERROR, ["error"]),
    ],
)
def test_the_level_is_the_least_that_is_logged(level: LogLevel, heard: list[str]) -> None:
    output = FakeOutput()
    with logging_to_stdout(LogSettings(level=level), output):
        for name in ("debug", "info", "warning", "error"):
            getattr(structlog.get_logger(), name)("x")

    assert [line["level"] for line in output.lines] == heard


@pytest.mark.parametrize(
    ("decisions", "level", "results"),
    [
        (LogDecisions.ALL, LogLevel.INFO, set(Result)),
        (LogDecisions.ALL, LogLevel.WARNING, {Result.AUTH_DENIED, Result.SYSTEM_ERROR}),
        (LogDecisions.ALL, LogLevel.ERROR, {Result.SYSTEM_ERROR}),
        (LogDecisions.DENIED, LogLevel.DEBUG, {Result.AUTH_DENIED, Result.SYSTEM_ERROR}),
        (LogDecisions.DENIED, LogLevel.ERROR, {Result.SYSTEM_ERROR}),
        (LogDecisions.OFF, LogLevel.DEBUG, set()),
    ],
)
def test_decisions_obey_their_own_switch_and_the_level(decisions: LogDecisions, level: LogLevel, results: set[Result]) -> None:
    assert results_logged(LogSettings(level=level, decisions=decisions)) == results


def test_decisions_that_are_refused_or_fail_are_logged_by_default() -> None:
    output = FakeOutput()
    outcomes: tuple[Outcome, ...] = (ALLOWED, DENIED, FAILED)
    with logging_to_stdout(LogSettings(), output) as log:
        for outcome in outcomes:
            log.decisions.decided(record(outcome))

    assert [line["decision"] for line in output.lines] == ["deny_explicit_policy", "deny_exchange_error"]
    assert list(output.lines[0])[:3] == ["timestamp", "level", "event"]


def test_console_lines_are_for_people() -> None:
    output = FakeOutput()
    with logging_to_stdout(LogSettings(format=LogFormat.CONSOLE), output) as log:
        log.decisions.decided(record(DENIED))
        structlog.get_logger().info("policy.published", documents=3)

    decision, event = output.data.decode().splitlines()
    assert "[warning  ] check.decided" in decision
    assert "method=GET host=api.example.com path=/orders/1" in decision
    assert "[info     ] policy.published" in event
    assert "documents=3" in event


def test_known_libraries_warnings_are_logged_with_exception_types_and_others_are_not(
    capfd: pytest.CaptureFixture[str],
) -> None:
    output = FakeOutput()
    with logging_to_stdout(LogSettings(), output):
        standard_logging.getLogger("watchfiles.main").warning("%d changes", 3)
        standard_logging.getLogger("watchfiles.main").info("1 change detected")
        try:
            int(CANARY)
        except ValueError:
            standard_logging.getLogger("trio").exception("task crashed")
        for name in ("httpx", "httpcore.http11", "urllib3", "kubernetes", "anything"):
            standard_logging.getLogger(name).error("POST %s", CANARY)

    assert [{**line, "timestamp": ""} for line in output.lines] == [
        {"timestamp": "", "level": "warning", "event": "library.message", "logger": "watchfiles.main", "message": "3 changes"},
        {"timestamp": "", "level": "error", "event": "library.message", "logger": "trio", "message": "task crashed", "error": "ValueError"},
    ]
    assert CANARY not in "".join(capfd.readouterr())


def test_everything_is_as_before_when_it_ends() -> None:
    root, heard = standard_logging.getLogger(), standard_logging.getLogger("watchfiles")

    def state() -> tuple[object, ...]:
        return (structlog.is_configured(), list(root.handlers), list(heard.handlers), heard.level, heard.propagate)

    before = state()
    with logging_to_stdout(LogSettings(), FakeOutput()):
        assert not any(now == then for now, then in zip(state(), before, strict=True))
    assert state() == before


def test_standard_output_is_the_default(capfd: pytest.CaptureFixture[str]) -> None:
    with logging_to_stdout(LogSettings()):
        structlog.get_logger().info("service.started")

    assert json.loads(capfd.readouterr().out)["event"] == "service.started"
