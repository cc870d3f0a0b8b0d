import attrs
import orjson
import pytest

from exchanger.decision.outcome import DecisionRecord, Deny, Outcome, Reason, Result
from exchanger.telemetry.decision_log import DecisionLog, InsecureTokenLog, decision_line, insecure_token_line
from exchanger.telemetry.render import render_json
from exchanger.values.entry import Source
from exchanger.values.secret import Secret
from tests.telemetry.records import ALLOWED, CANARY, DENIED, FAILED, SOURCE, UNMATCHED, record

DENIALS = frozenset({Result.AUTH_DENIED, Result.SYSTEM_ERROR})


def test_a_refusal_is_a_warning_with_its_policy() -> None:
    assert decision_line(record(DENIED), "T") == {
        "timestamp": "T",
        "level": "warning",
        "event": "check.decided",
        "method": "GET",
        "host": "api.example.com",
        "path": "/orders/1",
        "policy": "team-a/orders",
        "decision": "deny_explicit_policy",
        "status": 403,
        "duration_ms": 12.346,
    }


def test_a_failure_is_an_error_with_its_diagnostic() -> None:
    line = decision_line(record(FAILED), "T")

    assert (line["level"], line["status"], line["diagnostic"]) == ("error", 500, "TXE-1003")


def test_what_is_allowed_is_information_with_status_200() -> None:
    line = decision_line(record(ALLOWED), "T")

    assert (line["level"], line["status"], line["decision"]) == ("info", 200, "allow_exchange")
    assert "diagnostic" not in line


def test_without_a_policy_there_is_no_policy() -> None:
    assert "policy" not in decision_line(record(UNMATCHED), "T")


@pytest.mark.parametrize("outcome", [ALLOWED, UNMATCHED, DENIED, FAILED])
def test_nothing_secret_is_in_a_line(outcome: Outcome) -> None:
    assert CANARY not in str(decision_line(record(outcome), "T"))


@pytest.mark.parametrize("outcome", [ALLOWED, DENIED])
def test_a_line_is_bounded_whatever_the_request(outcome: Outcome) -> None:
    hostile = "\ud800\n\x1b[2J" * 20_000
    source = Source("n" * 1000, "\u202e" * 1000)
    decision = record(attrs.evolve(outcome, source=source), method=hostile, host=hostile, path=hostile)

    line = render_json(decision_line(decision, "T"))

    assert len(line) < 5000
    assert b"\\u00" not in line
    assert all(str(value).isprintable() for value in orjson.loads(line).values())


@pytest.mark.parametrize(
    ("results", "outcome", "logged"),
    [
        (DENIALS, ALLOWED, False),
        (DENIALS, DENIED, True),
        (DENIALS, FAILED, True),
        (frozenset(Result), ALLOWED, True),
        (frozenset[Result](), FAILED, False),
    ],
)
def test_only_the_results_asked_for_are_logged(results: frozenset[Result], outcome: Outcome, logged: bool) -> None:
    lines: list[bytes] = []
    log = DecisionLog(results, lambda: "T", render_json, lines.append)

    decision = record(outcome)
    log.decided(decision)

    assert lines == ([render_json(decision_line(decision, "T"))] if logged else [])
    assert (log.statistics().logged, log.statistics().skipped) == ((1, 0) if logged else (0, 1))


def test_the_insecure_line_has_both_tokens_and_warns() -> None:
    line = insecure_token_line(record(ALLOWED), "T", subject=Secret("subject"), exchanged=Secret("exchanged"))

    assert line["event"] == "check.tokens"
    assert line["level"] == "warning"
    assert (line["subject_token"], line["exchanged_token"]) == ("subject", "exchanged")
    assert line["path"] == "/orders/1"


def test_the_insecure_log_is_about_exchanges_that_succeeded() -> None:
    lines: list[bytes] = []
    log = InsecureTokenLog(lambda: "T", render_json, lines.append)

    for outcome in (DENIED, FAILED, UNMATCHED):
        log.decided(record(outcome))
    assert lines == []
    log.decided(record(ALLOWED))

    assert orjson.loads(lines[0])["subject_token"] == CANARY
    assert orjson.loads(lines[0])["exchanged_token"] == f"exchanged-{CANARY}"
    assert log.statistics().logged == 1


def test_every_reason_and_status_has_a_level() -> None:
    for reason in Reason:
        for status, level in ((401, "warning"), (403, "warning"), (499, "warning"), (500, "error"), (503, "error")):
            decision: DecisionRecord = record(Deny(reason, status, ""))
            assert decision_line(decision, "T")["level"] == level


def test_an_unhealthy_policy_is_explained() -> None:
    unhealthy = Deny(Reason.DENY_POLICY_UNHEALTHY, 500, "{}", source=SOURCE, detail="entries[2].action\nis required")
    line = decision_line(record(unhealthy), "now")
    assert line["detail"] == "entries[2].action\N{REPLACEMENT CHARACTER}is required"
    assert "detail" not in decision_line(record(DENIED), "now")
