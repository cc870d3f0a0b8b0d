import attrs
import pytest

from exchanger.authz.decision.outcome import DecisionRecord, Exchange, Outcome
from exchanger.model.errors import Diagnostic
from exchanger.model.token import ErrorKind, FirstLeg, IssuedMismatch, ShownClaims, TokenCall, VerificationResult
from exchanger.operations.console.bounded_record import bounded
from exchanger.operations.console.decision_json import BODY_LIMIT, OPAQUE, READ_LIMIT, DecisionJson, Item, decoded
from tests.operations.console.records import (
    ALLOWED,
    CANARY,
    CHALLENGED,
    DENIED,
    FAILED,
    SUBJECT,
    TARGET,
    TRACE_ID,
    UNMATCHED,
    jwt,
    record,
    segment,
)
from tests.operations.console.running import line

REDACTED = DecisionJson(line)
SHOWN = DecisionJson(line, show_tokens=True)


def item(record: DecisionRecord, items: DecisionJson = REDACTED) -> Item:
    return items.item((7, 1769860800.1239, record, 2))


def test_a_path_that_is_not_raw_is_shown_without_its_marks_too() -> None:
    masked = attrs.evolve(record(DENIED), request=attrs.evolve(record(DENIED).request, path="/adm!in/%61"))
    raw = attrs.evolve(masked, request=attrs.evolve(masked.request, path_is_raw=True))

    assert item(masked)["readings"] == ["/adm!in/%61", "/adm!in/a", "/admin/%61", "/admin/a"]
    assert (item(raw)["readings"], item(raw)["path_is_raw"]) == (["/adm!in/%61", "/adm!in/a"], True)


def test_an_item_says_what_was_asked_and_decided() -> None:
    assert item(record(DENIED)) == {
        "seq": 7,
        "time": "2026-01-31T12:00:00.123Z",
        "method": "GET",
        "host": "api.example.com",
        "path": "/orders/1",
        "path_is_raw": False,
        "path_cut": False,
        "readings": ["/orders/1"],
        "asked_by": "ext_authz",
        "decision": "deny_explicit_policy",
        "result": "auth_denied",
        "status": 403,
        "policy": {"namespace": "team-a", "name": "orders", "entry": 1},
        "conflict": False,
        "detail": "",
        "diagnostic": None,
        "issuer": None,
        "target": None,
        "exchange": None,
        "subject": None,
        "duration_ms": 12.346,
        "trace_id": TRACE_ID,
        "revision": 2,
        "response": {"status": 403, "headers": [["Content-Type", "application/json"]], "body": '{"error":"policy_denied"}'},
        "log": {"timestamp": "2026-01-31T12:00:00.123Z", "event": "check.decided", "decision": "deny_explicit_policy"},
        "tokens": None,
    }


def test_an_item_shows_what_was_issued_beside_what_was_requested() -> None:
    sides = ShownClaims("https://a.example", '["orders"]', "read"), ShownClaims("https://a.example", '["payments"]')
    failed = attrs.evolve(FAILED, diagnostic=Diagnostic.ISSUED_FOR_OTHERS, mismatch=IssuedMismatch("aud", *sides))
    assert item(record(failed))["mismatch"] == {
        "claim": "aud",
        "requested": {"iss": "https://a.example", "aud": '["orders"]', "scope": "read"},
        "issued": {"iss": "https://a.example", "aud": '["payments"]', "scope": ""},
    }
    assert "mismatch" not in item(record(FAILED))


@pytest.mark.parametrize(
    ("call", "status", "duration", "error"),
    [
        (TokenCall(0.0123456, 200), 200, 12.346, None),
        (TokenCall(2.0, None, ErrorKind.TIMEOUT), None, 2000.0, "timeout"),
        (None, None, None, None),
    ],
    ids=["answered", "failed", "given up"],
)
def test_an_exchange_is_shown_with_its_target_and_call(
    call: TokenCall | None, status: int | None, duration: float | None, error: str | None
) -> None:
    shown = item(attrs.evolve(record(ALLOWED), exchange=Exchange(TARGET, "issuer.example.com", call)))

    assert (shown["issuer"], shown["response"]) == ("primary", None)
    assert shown["target"] == {"scope": "read:orders", "resources": ["https://api.example.com/orders"], "audiences": ["orders-api"]}
    endpoint = {"endpoint": "issuer.example.com", "coalesced": False}
    assert shown["exchange"] == endpoint | {"status": status, "duration_ms": duration, "error": error}


@pytest.mark.parametrize(
    ("leg", "shown"),
    [
        (FirstLeg("idp", "idp.example.com", TokenCall(0.01, 200)), {"status": 200, "duration_ms": 10.0, "error": None, "failed": False}),
        (FirstLeg("idp", "idp.example.com"), {"status": None, "duration_ms": None, "error": None, "failed": False}),
        (
            FirstLeg("idp", "idp.example.com", TokenCall(2.0, None, ErrorKind.TIMEOUT), failed=True),
            {"status": None, "duration_ms": 2000.0, "error": "timeout", "failed": True},
        ),
    ],
)
def test_of_two_chained_issuers_the_first_is_shown_too(leg: FirstLeg, shown: Item) -> None:
    found = item(attrs.evolve(record(ALLOWED), exchange=Exchange(TARGET, "chat.example.com", TokenCall(0.02, 200), first_leg=leg)))
    exchange = found["exchange"]
    assert isinstance(exchange, dict)
    assert exchange["first_leg"] == {"issuer": "idp", "endpoint": "idp.example.com"} | shown
    assert exchange["endpoint"] == "chat.example.com"


@pytest.mark.parametrize(
    ("outcome", "shown"),
    [
        (attrs.evolve(ALLOWED, subject=VerificationResult("0123456789abcdef")), {"refusal": "", "actors": "0123456789abcdef"}),
        (attrs.evolve(ALLOWED, subject=VerificationResult(introspected=True)), {"refusal": "", "actors": "", "introspected": True}),
        (
            attrs.evolve(FAILED, subject=VerificationResult(refusal="the token\nhas expired")),
            {"refusal": "the token\ufffdhas expired", "actors": ""},
        ),
    ],
)
def test_what_the_gate_found_is_shown(outcome: Outcome, shown: dict[str, str]) -> None:
    assert item(record(outcome))["subject"] == shown


def test_what_a_failed_exchange_answered_is_withheld() -> None:
    shown = item(record(FAILED))

    assert shown["response"] == {"status": 400, "headers": None, "body": None}
    assert shown["diagnostic"] == "TXE-2001"
    ours = item(record(CHALLENGED))["response"]
    assert isinstance(ours, dict)
    assert ["WWW-Authenticate", 'Bearer realm="r"'] in ours["headers"]


def test_token_that_is_no_jwt_is_shown_as_opaque() -> None:
    assert item(record(UNMATCHED, authorization=f"Bearer {CANARY}"), SHOWN)["tokens"] == {"subject": {"opaque": True}, "exchanged": None}
    assert item(record(UNMATCHED, authorization=None), SHOWN)["tokens"] == {"subject": None, "exchanged": None}
    assert item(record(UNMATCHED, authorization=f"Basic {CANARY}"), SHOWN)["tokens"] == {"subject": None, "exchanged": None}


def test_failed_exchange_shows_its_response_without_the_raw_token() -> None:
    response = item(record(FAILED), SHOWN)["response"]

    assert isinstance(response, dict)
    assert response["body"].startswith('{"error":"invalid_grant"')
    assert SUBJECT not in response["body"]


@pytest.mark.parametrize(
    ("path", "readings"),
    [
        ("/orders", ["/orders"]),
        ("/a//b", ["/a//b", "/a/b"]),
        ("/a%41", ["/a%41", "/aA"]),
        ("no-slash", []),
        ("/a%", ["/a%"]),
        ("/" + "%41" * READ_LIMIT, []),
        ("/a.b", ["/a.b"]),
        ("", []),
        ("/%ff", []),
        ("//user:x@host/orders", []),
        ("/@scope/./name", ["/@scope/./name", "/@scope/name"]),
    ],
)
def test_readings_are_all_that_a_path_may_be_taken_for(path: str, readings: list[str]) -> None:
    assert item(record(path=path))["readings"] == readings


@pytest.mark.parametrize(
    ("path", "cut"),
    [
        ("/orders?token=x", False),
        ("/a%2f../b", False),
        ("/" + "a" * 5_000, True),
        ("/a\x01", True),
        ("//user:secret@host/x", True),
        ("/a#b", True),
        ("/" + "a" * 100_000, True),
    ],
)
def test_a_path_that_is_not_shown_whole_says_so(path: str, cut: bool) -> None:
    of = record(path=path)
    assert item(of)["path_cut"] is item(bounded(of))["path_cut"] is cut


def test_long_and_unprintable_texts_are_cut_and_replaced() -> None:
    long = attrs.evolve(DENIED, body="x" * 10_000 + "\x00", detail="\u202e", headers=(("X", "\n"),) * 100)
    shown = item(record(long, path="/" + "a" * 5_000, host="user:secret@example.com"))

    assert len(str(shown["path"])) == 512
    assert shown["host"] == "…@example.com"
    assert shown["detail"] == "\N{REPLACEMENT CHARACTER}"
    response = shown["response"]
    assert isinstance(response, dict)
    assert len(response["body"]) == BODY_LIMIT
    assert len(response["headers"]) < 10


def test_unsigned_token_is_marked_and_large_numbers_become_strings() -> None:
    assert decoded(jwt({}, ""))["signature"] == "none"
    claims = {"sub": 2**53 - 1, "uid": 1234567890123456789, "in": [{"n": -(2**53)}, 1.5, True], "none": None}
    shown = decoded(jwt(claims, "c2ln"))["claims"]
    assert shown == {"sub": 2**53 - 1, "uid": "1234567890123456789", "in": [{"n": "-9007199254740992"}, 1.5, True], "none": None}


@pytest.mark.parametrize(
    "token",
    [
        "",
        "opaque",
        "..",
        "a.b.c",
        f"{segment([])}.{segment({})}.",
        f"{segment({})}.{segment('text')}.",
        f"{segment({})}.{segment({})}",
        f"{segment({})}.{segment({})}..",
        f"{segment({})}.{'A' * 20_000}.",
        "é.é.é",
        f"{segment({})}.{'W1tb' * 3000}.",
    ],
)
def test_anything_else_is_opaque(token: str) -> None:
    assert decoded(token) == OPAQUE
