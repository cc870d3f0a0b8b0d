"""Lines of the audit log: the fields, and the laws that nothing forges or splits one, and nothing in one is a secret."""

import hashlib
import hmac
import json
from itertools import count
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exchanger.authz.audit.identities import AuditKey, plain
from exchanger.authz.audit.line import MAX_KNOWN, LineWriter, group_of
from exchanger.authz.decision.outcome import Allow, DecisionRecord, Exchange
from exchanger.formats.jwt import base64url
from exchanger.model.entry import Source, TokenTarget
from exchanger.model.errors import Diagnostic
from exchanger.model.secret import Secret
from exchanger.model.token import UNREADABLE_SCOPE, ErrorKind, VerificationResult
from exchanger.model.trace import SpanContext, TraceContext
from tests.authz.audit.outputs import ALICE, KEY, granted, jwt, refused
from tests.reachable import text_held

FIELDS = [
    *("time", "event", "reason", "code", "gateway", "host", "method", "policy", "entry", "namespace", "issuer", "subject", "verified"),
    *("actors", "depth", "audience", "resources", "scope_requested", "scope_granted", "subject_jti", "issued_jti", "expires_at", "cache"),
    *("trace_id", "request_id"),
]
COUNTED = ["time", "event", "reason", "code", "namespace", "issuer", "verified", "count", "since"]
# What readers may take for the end of a line, for markup, or for nothing at all.
HOSTILE = st.text(st.characters() | st.sampled_from('\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029\u202e\0"\\{}\ud800'), max_size=40)


def stamp() -> str:
    return "2026-01-31T12:00:00.123Z"


def written(record: DecisionRecord, key: AuditKey | None = KEY) -> dict[str, Any]:
    line = LineWriter(stamp, key).line(record)
    assert line.endswith(b"\n")
    found = json.loads(line)
    assert isinstance(found, dict)
    return found


def keyed(text: str) -> str:
    return f"{KEY.id}:{hmac.new(bytes(range(32)), text.encode(), hashlib.sha256).digest()[:16].hex()}"


def test_an_audit_line_names_actors_subject_scopes_policy_and_issuer() -> None:
    actors = {"iss": "https://a.example", "sub": "agent", "act": {"sub": "orchestrator", "client_id": "planner"}}
    subject = jwt(iss="https://login.example.com", sub="alice", azp="web", jti="subject-1", act=actors)
    line = written(granted(subject))
    assert list(line) == FIELDS
    assert line == {
        "time": stamp(),
        "event": "exchange.granted",
        "reason": "allow_exchange",
        "code": None,
        "gateway": "ext_proc",
        "host": "api.example.com",
        "method": "GET",
        "policy": "team-a/orders",
        "entry": 3,
        "namespace": "team-a",
        "issuer": "primary",
        "subject": {"iss": "https://login.example.com", "sub": keyed("alice"), "client_id": keyed("web")},
        "verified": "issuer",
        "actors": [
            {"iss": "https://a.example", "sub": keyed("agent"), "client_id": None},
            {"iss": None, "sub": keyed("orchestrator"), "client_id": keyed("planner")},
        ],
        "depth": 2,
        "audience": ["orders-api"],
        "resources": ["https://api.example.com/orders"],
        "scope_requested": "read:orders",
        "scope_granted": "read:orders",
        "subject_jti": "subject-1",
        "issued_jti": "issued-1",
        "expires_at": 1_900_000_000,
        "cache": "miss",
        "trace_id": None,
        "request_id": "r-1",
    }


def test_plain_identities_are_shown() -> None:
    assert written(granted(), None)["subject"] == {"iss": "https://login.example.com", "sub": "alice", "client_id": "web"}


@pytest.mark.parametrize(
    ("kind", "diagnostic", "decision", "verified"),
    [
        (ErrorKind.SUBJECT_REJECTED, Diagnostic.SUBJECT_REJECTED, VerificationResult(refusal="the token has expired"), "none"),
        (ErrorKind.KEYS_UNKNOWN, Diagnostic.KEYS_UNKNOWN, None, "none"),
        (ErrorKind.SUBJECT_INACTIVE, Diagnostic.SUBJECT_INACTIVE, VerificationResult(refusal="not active", introspected=True), "none"),
        (ErrorKind.INTROSPECTION_UNAVAILABLE, Diagnostic.INTROSPECTION_UNAVAILABLE, None, "none"),
        (ErrorKind.HTTP_STATUS, Diagnostic.OAUTH_ERROR, VerificationResult(), "keys"),
        (ErrorKind.HTTP_STATUS, Diagnostic.OAUTH_ERROR, None, "none"),
        (ErrorKind.HTTP_STATUS, Diagnostic.ASSERTION_REFUSED, None, "none"),
    ],
)
def test_a_refusal_says_why_and_who_vouches(
    kind: ErrorKind, diagnostic: Diagnostic, decision: VerificationResult | None, verified: str
) -> None:
    line = written(refused(kind=kind, diagnostic=diagnostic, decision=decision))
    found = line["event"], line["reason"], line["code"], line["verified"], line["scope_granted"], line["issued_jti"]
    assert found == ("exchange.denied", kind.value, diagnostic.value, verified, None, None)
    assert line["subject"]["sub"] == keyed("alice")


def test_an_issuer_that_was_asked_says_who_it_is() -> None:
    """Also of a token that says nothing, or something else; and before it was active it was nobody's."""
    record = granted()
    decision = VerificationResult(introspected=True, said=b'{"iss":"https://i.example","sub":"bob","client_id":"app","act":{"sub":"gate"}}')
    asked = attrs.evolve(record, outcome=attrs.evolve(record.outcome, subject=decision))
    line = written(asked, None)
    assert line["verified"] == "introspection"
    assert line["subject"] == {"iss": "https://i.example", "sub": "bob", "client_id": "app"}
    assert (line["depth"], line["actors"]) == (1, [{"iss": None, "sub": "gate", "client_id": None}])
    silent = attrs.evolve(asked, outcome=attrs.evolve(record.outcome, subject=VerificationResult(introspected=True)))
    assert written(silent, None)["subject"]["sub"] == "alice"
    assert "bob" not in repr(asked)


def test_a_token_that_was_verified_by_keys_says_so() -> None:
    record = granted()
    assert written(attrs.evolve(record, outcome=attrs.evolve(record.outcome, subject=VerificationResult("0123"))))["verified"] == "keys"


@pytest.mark.parametrize(
    ("stated", "claims", "found"),
    [
        (None, {}, "read:orders"),
        (None, {"scope": "read"}, "read"),
        (None, {"scope": ""}, ""),
        (None, {"scp": "read write"}, "read write"),
        (None, {"scp": ["read", "write"], "scope": "read admin"}, "read admin write"),
        (None, {"scp": 5}, None),
        (None, {"scope": "read", "scp": ["write", None]}, None),
        (None, {"scope": " read  write "}, "read write"),
        ("read", {"scp": ["read", "write"]}, "read"),
        ("", {"scope": "read write"}, ""),
        (UNREADABLE_SCOPE, {"scp": ["read"]}, "read"),
        (UNREADABLE_SCOPE, {}, None),
    ],
)
def test_the_granted_scope_is_what_is_known_of_it(stated: str | None, claims: dict[str, object], found: str | None) -> None:
    for issued in (jwt(**claims), *([] if claims else [Secret("opaque")])):
        assert written(granted(issued=issued, scope=stated))["scope_granted"] == found


def test_scopes_are_bounded_in_number_and_length() -> None:
    shown = written(granted(scope=" ".join(map(str, range(1000)))))["scope_granted"]
    assert shown.startswith("0 1 2 ")
    assert shown.endswith(" 127 …")
    assert len(written(granted(issued=jwt(scp=["x" * 30_000])))["scope_granted"]) == 1024
    lines = LineWriter(stamp, KEY)
    before = text_held(lines)
    lines.line(granted(scope="read " * 30_000))
    assert text_held(lines) - before < 30_000


@pytest.mark.parametrize("token", ["opaque", "a.b.c", "..", jwt().reveal() + ".more", jwt(sub=1, jti=[], act="x", iss={}).reveal()])
def test_a_token_that_says_nothing_readable_has_a_line(token: str) -> None:
    line = written(granted(Secret(token)))
    assert (line["actors"], line["depth"], line["subject_jti"]) == ([], 0, None)
    assert line["subject"] in (None, {"iss": None, "sub": None, "client_id": None})


def test_a_token_that_two_readers_may_read_differently_says_nothing() -> None:
    payload = '{"sub":"alice","sub":"mallory"}'
    header, _, signature = ALICE.reveal().split(".")
    token = f"{header}.{hashlib.sha256().hexdigest()}.{signature}"
    assert written(granted(Secret(token)))["subject"] is None
    assert written(granted(Secret(f"{header}.{base64url.encode(payload.encode())}.{signature}")))["subject"] is None


def test_identities_are_equal_in_all_replicas_and_differ_with_the_key() -> None:
    lines = LineWriter(stamp, KEY)
    before = json.loads(lines.line(granted()))
    other = AuditKey.of(bytes(range(1, 33)))
    lines.use_key(other)
    after = json.loads(lines.line(granted()))
    assert before["subject"] == written(granted())["subject"] != after["subject"]
    assert after["subject"]["sub"].startswith(f"{other.id}:")


def test_what_tokens_say_is_kept_for_a_bounded_number_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exchanger.authz.audit.line.MAX_KNOWN", 10)
    assert MAX_KNOWN > 10
    lines = LineWriter(stamp, KEY)
    held: list[int] = []
    for number in range(50):
        lines.line(granted(jwt(sub=f"{number:04}" * 100)))
        held.append(text_held(lines))
    assert held[0] < held[9] == held[-1]


LONG = st.builds(lambda text, times: text * times, HOSTILE, st.sampled_from([1, 1, 1, 100]))
party = dict.fromkeys(("iss", "sub", "client_id", "azp", "appid"), LONG)
claims = st.fixed_dictionaries(
    {},
    optional={
        **{name: LONG | st.integers() | st.none() | st.lists(LONG, max_size=3) for name in (*party, "jti", "scope", "scp")},
        "act": st.recursive(
            st.fixed_dictionaries({}, optional=party) | LONG,
            lambda act: st.fixed_dictionaries({"sub": LONG}, optional={"act": act}),
            max_leaves=12,
        ),
    },
)
tokens = st.builds(lambda said: jwt(**said), claims) | LONG.map(Secret)
traces = st.none() | st.just(SpanContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "", 1))


@st.composite
def records(draw: st.DrawFn) -> DecisionRecord:
    """Draw a record in which each text that a policy, a token, a request or an answer controls is hostile."""
    subject = draw(tokens)
    record = draw(st.sampled_from([granted(subject, draw(tokens)), refused(subject)]))
    request = attrs.evolve(
        record.request,
        method=draw(LONG),
        host=draw(LONG),
        path=draw(LONG),
        request_id=draw(LONG),
        trace=TraceContext(draw(LONG)),
    )
    outcome = attrs.evolve(record.outcome, issuer=draw(LONG), source=draw(st.none() | st.builds(Source, LONG, LONG)))
    target = TokenTarget("primary", draw(LONG) or "s", tuple(draw(st.lists(LONG, max_size=3))), tuple(draw(st.lists(LONG, max_size=3))))
    exchange = Exchange(target, draw(HOSTILE), None, subject, draw(st.none() | LONG))
    return attrs.evolve(record, request=request, outcome=outcome, span=draw(traces), exchange=draw(st.sampled_from([exchange, None])))


@given(records(), st.sampled_from([KEY, None]))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_no_text_forges_or_splits_a_line(record: DecisionRecord, key: AuditKey | None) -> None:
    no_line_is_forged(record, key)


@pytest.mark.parametrize("unit", ["x", "\u2028", "\ud800", '"', "\U0001f600", "read "], ids=count())
def test_a_megabyte_in_each_field_makes_no_long_line(unit: str) -> None:
    huge, most = unit * 2**20, unit * 200
    act: dict[str, object] = {}
    for _ in range(12):
        act = {"iss": most, "sub": most, "client_id": most, "act": act}
    everywhere = {"iss": most, "sub": most, "client_id": most, "jti": most, "act": act}
    for subject in (jwt(**everywhere), jwt(sub=huge), Secret(huge)):
        for record in (
            granted(subject, jwt(jti=most, scope=most, scp=[most] * 50), scope=None),
            granted(subject, scope=huge),
            refused(subject),
        ):
            request = attrs.evolve(record.request, method=huge, host=huge, request_id=huge, trace=TraceContext(huge))
            outcome = attrs.evolve(record.outcome, issuer=huge, source=Source(huge, huge))
            target = TokenTarget("primary", huge, (huge,) * 100, (huge,) * 100)
            exchange = Exchange(target, "h", None, subject, None if record.exchange is None else record.exchange.scope)
            for key in (KEY, None):
                no_line_is_forged(attrs.evolve(record, request=request, outcome=outcome, exchange=exchange), key)


def no_line_is_forged(record: DecisionRecord, key: AuditKey | None) -> None:
    lines = LineWriter(stamp, key)
    event = "exchange.granted" if isinstance(record.outcome, Allow) else "exchange.denied"
    for line, names in ((lines.line(record), FIELDS), (lines.summary(group_of(record), 3, stamp()), COUNTED)):
        text = line.decode()
        assert text.splitlines() == [text[:-1]]
        assert text[:-1].isprintable()
        pairs = json.loads(text, object_pairs_hook=list)
        assert [name for name, _ in pairs] == names
        assert dict(pairs)["event"] == (event if names is FIELDS else "exchange.denied")
        assert len(line) < 192 * 1024


MARK = st.text(st.sampled_from("abcdefghijklmnop"), min_size=12, max_size=20).map(lambda text: f"zq{text}")


@given(sub=MARK, client=MARK, actor=MARK, actor_client=MARK, opaque=MARK, issued=MARK, query=MARK, with_jwt=st.booleans())
def test_an_audit_line_holds_no_token_no_query_and_no_plain_identity(
    sub: str, client: str, actor: str, actor_client: str, opaque: str, issued: str, query: str, with_jwt: bool
) -> None:
    said = {"iss": f"https://user:{query}@login.example.com/?{query}#{query}", "sub": sub, "client_id": client}
    subject = jwt(**said, act={"sub": actor, "act": {"client_id": actor_client}}) if with_jwt else Secret(opaque)
    known = (f"user:{sub}", f"client={client}") if with_jwt else ()
    scopes = (subject.reveal(), issued, *known)
    for record in (
        granted(subject, Secret(issued), scope=f"read {' '.join(scopes)}"),
        granted(subject, Secret(issued)),
        granted(subject, jwt(jti="1", sub=issued, scope=f"read {subject.reveal()}", scp=[f"of-{issued}", *known])),
        refused(subject),
    ):
        request = attrs.evolve(record.request, path=f"/orders/{query}?{query}", host=f"{query}@api.example.com?{query}")
        line = LineWriter(stamp, KEY).line(attrs.evolve(record, request=request)).decode()
        assert not [text for text in (sub, client, actor, actor_client, opaque, issued, query) if text in line]
        assert subject.reveal() not in line


@given(HOSTILE)
def test_a_plain_identity_prints(text: str) -> None:
    assert plain(text).isprintable()
