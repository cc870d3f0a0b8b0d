import json
import logging as standard_logging

import attrs
import pytest
import structlog

from exchanger.decision.outcome import Outcome, Result
from exchanger.telemetry.log import LogDecisions, LogFormat, LogLevel, LogSettings, logging_to_stdout, results_logged
from exchanger.values.secret import Secret
from tests.telemetry.records import ALLOWED, CANARY, DENIED, FAILED, record


@attrs.define(eq=False)
class FakeOutput:
    data: bytes = b""

    def write(self, data: bytes, /, *, patience: float, at_once: int) -> int:
        self.data += data
        return 0

    @property
    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.data.splitlines()]


def test_an_event_is_one_line_of_json() -> None:
    output = FakeOutput()
    with logging_to_stdout(LogSettings(), output):
        structlog.get_logger().bind(room="directory").info("policy.published", documents=3)

    (line,) = output.lines
    assert list(line) == ["timestamp", "level", "event", "room", "documents"]
    assert line["level"] == "info"
    assert line["event"] == "policy.published"
    assert line["documents"] == 3


def test_a_secret_in_a_field_stays_hidden() -> None:
    output = FakeOutput()
    with logging_to_stdout(LogSettings(), output):
        structlog.get_logger().info("x", token=Secret(CANARY), tokens=[Secret(CANARY)])

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


def test_the_console_is_for_people() -> None:
    output = FakeOutput()
    with logging_to_stdout(LogSettings(format=LogFormat.CONSOLE), output) as log:
        log.decisions.decided(record(DENIED))
        structlog.get_logger().info("policy.published", documents=3)

    decision, event = output.data.decode().splitlines()
    assert "[warning  ] check.decided" in decision
    assert "method=GET host=api.example.com path=/orders/1" in decision
    assert "[info     ] policy.published" in event
    assert "documents=3" in event


def test_libraries_are_heard_in_the_same_stream() -> None:
    output = FakeOutput()
    with logging_to_stdout(LogSettings(), output):
        standard_logging.getLogger("watchfiles").warning("folder is gone")
        standard_logging.getLogger("httpx").error("POST %s", CANARY)

    (line,) = output.lines
    assert line["event"] == "library.message"
    assert line["message"] == "folder is gone"


def test_structlog_is_as_before_when_it_ends() -> None:
    before = structlog.get_config()["logger_factory"]
    with logging_to_stdout(LogSettings(), FakeOutput()):
        assert structlog.get_config()["logger_factory"] is not before

    assert not structlog.is_configured()


def test_standard_output_is_the_default(capfd: pytest.CaptureFixture[str]) -> None:
    with logging_to_stdout(LogSettings()):
        structlog.get_logger().info("service.started")

    assert json.loads(capfd.readouterr().out)["event"] == "service.started"
