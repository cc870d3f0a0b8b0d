import attrs
import pytest

from exchanger.console.encoding import encode
from exchanger.console.items import BODY_LIMIT, READ_LIMIT, Item, Items, stamp
from exchanger.console.trimming import trimmed
from exchanger.decision.outcome import DecisionRecord, Exchange, Outcome
from exchanger.values.request import HttpRequest
from exchanger.values.secret import Secret
from exchanger.values.token import ErrorKind, TokenCall
from exchanger.values.trace import SpanContext, TraceContext
from tests.console.records import ALL, ALLOWED, CANARY, CHALLENGED, DENIED, EXCHANGED, FAILED, SUBJECT, TARGET, TRACE_ID, UNMATCHED, record
from tests.console.running import line

REDACTED = Items(line)
SHOWN = Items(line, show_tokens=True)


def item(record: DecisionRecord, items: Items = REDACTED) -> Item:
    return items.item((7, 1769860800.1234, record, 2))


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
        "detail": "",
        "diagnostic": None,
        "issuer": None,
        "target": None,
        "exchange": None,
        "duration_ms": 12.346,
        "trace_id": TRACE_ID,
        "revision": 2,
        "response": {"status": 403, "headers": [["Content-Type", "application/json"]], "body": '{"error":"policy_denied"}'},
        "log": {"timestamp": "2026-01-31T12:00:00.123Z", "event": "check.decided", "decision": "deny_explicit_policy"},
        "tokens": None,
    }


@pytest.mark.parametrize("path", ["//user:{}@host/orders", "//{}%2f..%2fuser@host/x", "//us%2fer:{}@/../orders"])
def test_a_password_before_a_host_is_in_no_reading(path: str) -> None:
    shown = item(record(DENIED, path=path.format(CANARY)))

    assert CANARY not in str(shown)
    assert shown["readings"] == []


def test_a_sign_that_makes_no_password_hides_no_reading() -> None:
    assert item(record(DENIED, path="/@scope/./name"))["readings"] == ["/@scope/./name", "/@scope/name"]


def test_an_exchange_is_shown_with_its_target_and_call() -> None:
    shown = item(record(ALLOWED, exchange=True))

    assert shown["issuer"] == "primary"
    assert shown["target"] == {"scope": "read:orders", "resources": ["https://api.example.com/orders"], "audiences": ["orders-api"]}
    assert shown["exchange"] == {"endpoint": "issuer.example.com", "status": 200, "duration_ms": 12.346, "error": None, "coalesced": False}
    assert shown["response"] is None


def test_an_exchange_that_was_given_up_has_neither_status_nor_duration() -> None:
    given_up = attrs.evolve(record(FAILED), exchange=Exchange(TARGET, "issuer.example.com", None))

    nothing = {"endpoint": "issuer.example.com", "status": None, "duration_ms": None, "error": None, "coalesced": False}
    assert item(given_up)["exchange"] == nothing


def test_an_exchange_that_failed_says_why() -> None:
    call = TokenCall(2.0, None, ErrorKind.TIMEOUT)
    failed = attrs.evolve(record(FAILED), exchange=Exchange(TARGET, "issuer.example.com", call))

    assert item(failed)["exchange"] == {
        "endpoint": "issuer.example.com",
        "status": None,
        "duration_ms": 2000.0,
        "error": "timeout",
        "coalesced": False,
    }


def test_what_a_failed_exchange_answered_is_withheld() -> None:
    shown = item(record(FAILED))

    assert shown["response"] == {"status": 400, "headers": None, "body": None}
    assert shown["diagnostic"] == "TXE-2001"


def test_our_own_challenges_are_shown() -> None:
    response = item(record(CHALLENGED))["response"]

    assert isinstance(response, dict)
    assert ["WWW-Authenticate", 'Bearer realm="r"'] in response["headers"]


@pytest.mark.parametrize("outcome", ALL)
@pytest.mark.parametrize("exchange", [True, False])
def test_nothing_secret_is_in_an_item(outcome: Outcome, exchange: bool) -> None:
    encoded = encode(item(record(outcome, authorization=f"Bearer {CANARY}", exchange=exchange)))

    assert CANARY.encode() not in encoded


@pytest.mark.parametrize("outcome", ALL)
def test_no_secret_is_touched_unless_tokens_are_shown(outcome: Outcome, monkeypatch: pytest.MonkeyPatch) -> None:
    def touched(_self: Secret) -> str:
        raise AssertionError("revealed")

    monkeypatch.setattr(Secret, "reveal", touched)
    item(record(outcome, exchange=True))


def test_tokens_are_shown_decoded_and_never_raw() -> None:
    shown = item(record(ALLOWED), SHOWN)

    assert shown["tokens"] == {
        "subject": {"header": {"alg": "RS256"}, "claims": {"sub": "alice"}, "signature": "present"},
        "exchanged": {"header": {"alg": "RS256"}, "claims": {"sub": "alice", "aud": "orders-api"}, "signature": "present"},
    }
    encoded = encode(shown).decode()
    assert SUBJECT not in encoded
    assert EXCHANGED not in encoded
    assert CANARY not in encoded  # which is the signature of either


def test_a_token_that_is_no_jwt_is_opaque_and_no_token_is_none() -> None:
    assert item(record(UNMATCHED, authorization=f"Bearer {CANARY}"), SHOWN)["tokens"] == {"subject": {"opaque": True}, "exchanged": None}
    assert item(record(UNMATCHED, authorization=None), SHOWN)["tokens"] == {"subject": None, "exchanged": None}
    assert item(record(UNMATCHED, authorization=f"Basic {CANARY}"), SHOWN)["tokens"] == {"subject": None, "exchanged": None}


def test_where_tokens_are_shown_a_failed_exchange_shows_its_answer_without_the_raw_token() -> None:
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
    assert item(of)["path_cut"] is item(trimmed(of))["path_cut"] is cut


def test_a_path_that_cannot_be_read_has_no_readings() -> None:
    assert item(record(path="/%ff"))["readings"] == []


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


def test_a_trace_is_known_by_our_span_or_by_what_the_caller_sent() -> None:
    traced = attrs.evolve(record(), span=SpanContext("a" * 32, "b" * 16, "", 1))
    assert item(traced)["trace_id"] == "a" * 32
    of_caller = f"{TRACE_ID}-00f067aa0ba902b7-01"
    for traceparent in ("", CANARY, f"00-{'0' * 32}-00f067aa0ba902b7-01", f"00-{TRACE_ID}", f"ff-{of_caller}", f"00-{of_caller}-extra"):
        assert item(brought(traceparent))["trace_id"] is None
    assert item(brought(f"00-{of_caller},00-{of_caller}"))["trace_id"] is None
    assert item(brought(f"cc-{of_caller}-extra"))["trace_id"] == TRACE_ID


def brought(traceparent: str) -> DecisionRecord:
    return DecisionRecord(HttpRequest("GET", "h", "/", trace=TraceContext(traceparent)), UNMATCHED, 0.0, 0.0)


def test_a_time_is_in_utc_with_milliseconds() -> None:
    assert stamp(0) == "1970-01-01T00:00:00.000Z"
    assert stamp(1769860800.9999) == "2026-01-31T12:00:00.999Z"
