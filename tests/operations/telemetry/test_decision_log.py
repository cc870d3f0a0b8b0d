import itertools
import re

import attrs
import orjson
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from exchanger.authz.decision.outcome import DecisionReason, DecisionRecord, Deny, Exchange, Outcome, Result
from exchanger.model.entry import Source, TokenTarget
from exchanger.model.errors import Diagnostic
from exchanger.model.request import HeaderFields
from exchanger.model.secret import Secret
from exchanger.model.token import ErrorKind, FirstLeg, VerificationResult
from exchanger.model.trace import SpanContext, TraceContext
from exchanger.net.reactor import Reactor
from exchanger.operations.console.bounded_record import bounded
from exchanger.operations.telemetry.decision_log import DecisionLog, InsecureTokenLog, decision_line
from exchanger.operations.telemetry.render import render_json
from tests.operations.telemetry.records import ALLOWED, CANARY, DENIED, FAILED, SOURCE, UNMATCHED, record

UNHEALTHY = Deny(DecisionReason.DENY_POLICY_UNHEALTHY, 500, "{}", source=SOURCE, detail="entries[2]\nis required")
POLICY = {"policy": "team-a/orders"}


@pytest.mark.parametrize(
    ("outcome", "level", "more"),
    [
        (DENIED, "warning", {"decision": "deny_explicit_policy", "status": 403, **POLICY}),
        (FAILED, "error", {"decision": "deny_exchange_error", "status": 500, "code": "TXE-1003", **POLICY}),
        (ALLOWED, "info", {"decision": "allow_exchange", "status": 200, **POLICY}),
        (UNMATCHED, "info", {"decision": "allow_unmatched", "status": 200}),
        (
            UNHEALTHY,
            "error",
            {"decision": "deny_policy_unhealthy", "status": 500, "detail": "entries[2]\ufffdis required", **POLICY},
        ),
    ],
)
def test_a_line_says_what_was_decided_and_nothing_secret(outcome: Outcome, level: str, more: dict[str, object]) -> None:
    request = {"method": "GET", "host": "api.example.com", "path": "/orders/1"}
    line = decision_line(record(outcome), "T")
    assert line == {"timestamp": "T", "level": level, "event": "check.decided", **request, "duration_ms": 12.346, **more}
    assert CANARY not in str(line)


def test_a_failed_exchange_says_why_as_far_as_it_is_known() -> None:
    failed = attrs.evolve(FAILED, issuer="primary", error_kind=ErrorKind.HTTP_STATUS, oauth_error="invalid_client", detail="status 401")
    exchange = Exchange(TokenTarget("primary", "read"), "issuer.example.com", None)
    why = {
        "issuer": "primary",
        "error_kind": "http_status",
        "oauth_error": "invalid_client",
        "code": "TXE-1003",
        "detail": "status 401",
    }
    line = decision_line(attrs.evolve(record(failed), exchange=exchange), "T")
    assert {name: line[name] for name in why} == why
    assert line["endpoint"] == "issuer.example.com"
    unknown = decision_line(record(attrs.evolve(failed, error_kind=ErrorKind.UNKNOWN_ISSUER_PROFILE, oauth_error="")), "T")
    assert ("endpoint" in unknown, "oauth_error" in unknown) == (False, False)


def test_a_failure_of_the_first_of_two_issuers_names_its_profile() -> None:
    failed = attrs.evolve(FAILED, issuer="chat", leg="idp\n", error_kind=ErrorKind.BREAKER_OPEN, diagnostic=Diagnostic.BREAKER_OPEN)
    exchange = Exchange(TokenTarget("chat", "read"), "idp.example.com", None, first_leg=FirstLeg("idp\n", "idp.example.com", failed=True))
    line = decision_line(attrs.evolve(record(failed), exchange=exchange), "T")
    assert {name: line[name] for name in ("issuer", "leg", "endpoint")} == {
        "issuer": "chat",
        "leg": "idp\ufffd",
        "endpoint": "idp.example.com",
    }
    assert "leg" not in decision_line(record(FAILED), "T")


@pytest.mark.parametrize("outcome", [ALLOWED, FAILED])
def test_a_digest_of_actors_is_there_if_the_gate_found_any(outcome: Outcome) -> None:
    def actors(subject: VerificationResult | None) -> object:
        return decision_line(record(attrs.evolve(outcome, subject=subject)), "T").get("actors", "no such field")

    assert actors(VerificationResult("0123456789abcdef")) == "0123456789abcdef"
    assert {actors(None), actors(VerificationResult())} == {"no such field"}


def test_a_refusal_by_the_gate_says_why_once() -> None:
    why = "the token has expired"
    refusal = Deny(
        *(DecisionReason.DENY_EXCHANGE_ERROR, 401, "{}"),
        diagnostic=Diagnostic.SUBJECT_REJECTED,
        detail=why,
        error_kind=ErrorKind.SUBJECT_REJECTED,
        subject=VerificationResult(refusal=why),
    )
    line = decision_line(record(refusal), "T")
    assert [name for name, value in line.items() if value == why] == ["detail"]
    assert (line["level"], line["code"], line["error_kind"]) == ("warning", "TXE-4001", "subject_rejected")


@given(st.from_regex(r"[A-Za-z0-9._-]{1,128}", fullmatch=True))
def test_a_request_id_that_looks_like_one_is_in_every_line(request_id: str) -> None:
    for outcome in (ALLOWED, UNMATCHED, DENIED, FAILED):
        decision = record(outcome)
        decision = attrs.evolve(decision, request=attrs.evolve(decision.request, request_id=request_id))
        assert decision_line(decision, "T")["request_id"] == request_id
        assert decision_line(bounded(decision), "T")["request_id"] == request_id


@given(st.text() | st.from_regex(r"[A-Za-z0-9._-]{1,128}[^A-Za-z0-9._-]") | st.just("a" * 129))
def test_any_other_request_id_is_in_none(request_id: str) -> None:
    assume(not re.fullmatch(r"[A-Za-z0-9._-]{1,128}", request_id))
    decision = record(ALLOWED)
    decision = attrs.evolve(decision, request=attrs.evolve(decision.request, request_id=request_id))
    assert "request_id" not in decision_line(decision, "T")
    assert len(request_id) < 4 or request_id not in repr(decision.request)


def test_the_trace_is_that_of_the_span_or_else_of_the_caller() -> None:
    caller, span = "1" * 32, SpanContext("2" * 32, "3" * 16, "", 1)
    decision = record(DENIED)
    assert "trace_id" not in decision_line(decision, "T")
    decision = attrs.evolve(decision, request=attrs.evolve(decision.request, trace=TraceContext(f"00-{caller}-{'4' * 16}-01")))
    assert decision_line(decision, "T")["trace_id"] == caller
    assert decision_line(attrs.evolve(decision, span=span), "T")["trace_id"] == span.trace_id


@pytest.mark.parametrize(("status", "level"), [(401, "warning"), (499, "warning"), (500, "error"), (503, "error")])
def test_a_denial_is_logged_as_warning_and_a_failure_as_error(status: int, level: str) -> None:
    assert {decision_line(record(Deny(reason, status, "")), "T")["level"] for reason in DecisionReason} == {level}


async def test_the_lines_of_a_turn_are_written_together_after_its_answers() -> None:
    written: list[object] = []

    class Session:
        def flush(self) -> None:
            written.append("answers")

    reactor = Reactor()
    stamps = map(str, itertools.count())

    def line(decision: DecisionRecord, stamp: str) -> bytes:
        return f"{stamp} {decision.outcome.reason.value}".encode()

    results = frozenset({Result.ALLOWED, Result.AUTH_DENIED})
    log = DecisionLog(results, stamps.__next__, line, lambda *lines: written.append(lines), lambda: written.append("lost"))
    log.schedule_flush = reactor.schedule_flush

    def turn() -> None:
        reactor.schedule_flush(Session())
        for outcome in (ALLOWED, FAILED, DENIED):
            log.decided(record(outcome))

    reactor.turn(turn)
    log.decided(record(UNMATCHED))
    reactor.close()
    assert written == ["answers", (b"0 allow_exchange", b"0 deny_explicit_policy"), (b"1 allow_unmatched",)]


def test_a_decision_line_that_fails_is_counted_and_loses_no_other_line() -> None:
    written: list[object] = []

    def line(decision: DecisionRecord, _stamp: str) -> bytes:
        if decision.outcome is FAILED:
            raise ValueError
        return decision.outcome.reason.value.encode()

    log = DecisionLog(frozenset(Result), lambda: "", line, lambda *lines: written.append(lines), lambda: written.append("lost"))
    log.schedule_flush = lambda _log: None
    for outcome in (ALLOWED, FAILED, DENIED):
        log.decided(record(outcome))
    log.flush()
    log.decided(record(FAILED))
    log.flush()
    assert written == ["lost", (b"allow_exchange", b"deny_explicit_policy"), "lost"]


def test_the_insecure_log_warns_with_both_tokens_of_each_successful_exchange() -> None:
    lines: list[bytes] = []
    log = InsecureTokenLog(lambda: "T", render_json, lines.append)
    for outcome in (DENIED, FAILED, UNMATCHED, ALLOWED):
        log.decided(record(outcome))

    (line,) = map(orjson.loads, lines)
    assert (line["event"], line["level"], line["path"]) == ("check.tokens", "warning", "/orders/1")
    assert (line["subject_token"], line["exchanged_token"]) == (CANARY, f"exchanged-{CANARY}")


@pytest.mark.parametrize(
    ("authorization", "header", "subject"),
    [
        (None, CANARY, CANARY),
        ("Basic x", CANARY, CANARY),
        (f"Bearer {CANARY}", CANARY, CANARY),
        (f"Bearer {CANARY}", "", CANARY),
        ("Bearer another", CANARY, CANARY),
    ],
)
def test_the_insecure_log_has_the_token_that_was_exchanged_wherever_it_came(authorization: str | None, header: str, subject: str) -> None:
    lines: list[bytes] = []
    decision = record(attrs.evolve(ALLOWED, removed=("x-forwarded-access-token",)))
    fields = HeaderFields((("x-forwarded-access-token", header),) if header else ())
    request = attrs.evolve(decision.request, authorization=None if authorization is None else Secret(authorization), fields=fields)
    InsecureTokenLog(lambda: "T", render_json, lines.append).decided(attrs.evolve(decision, request=request))
    assert orjson.loads(lines[0])["subject_token"] == subject


@pytest.mark.parametrize("outcome", [ALLOWED, DENIED])
def test_a_line_is_bounded_whatever_the_request(outcome: Outcome) -> None:
    hostile = "\ud800\n\x1b[2J" * 20_000
    source = Source("n" * 1000, "\u202e" * 1000)
    decision = record(attrs.evolve(outcome, source=source), method=hostile, host=hostile, path=hostile)

    line = render_json(decision_line(decision, "T"))

    assert len(line) < 5000
    assert b"\\u00" not in line
    assert all(str(value).isprintable() for value in orjson.loads(line).values())
