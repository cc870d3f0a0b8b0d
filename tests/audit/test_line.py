"""Lines of the audit log: the fields, and the laws that nothing forges or splits one, and nothing in one is a secret."""

import hashlib
import hmac
import json
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanger.audit.identities import AuditKey, plain
from exchanger.audit.line import MAX_KNOWN, LineWriter, _claims, group_of
from exchanger.decision.outcome import DecisionRecord, Exchange
from exchanger.errors import Diagnostic
from exchanger.jwt import base64url
from exchanger.jwt.compact import read_payload
from exchanger.jwt.refusal import TokenRefused
from exchanger.values.entry import Source, TokenTarget
from exchanger.values.secret import Secret
from exchanger.values.token import UNREADABLE_SCOPE, Cache, ErrorKind, SubjectVerdict
from tests.audit.outputs import ALICE, KEY, granted, jwt, refused

FIELDS = [
    *("time", "event", "reason", "code", "gateway", "host", "method", "policy", "entry", "namespace", "issuer", "subject", "verified"),
    *("actors", "depth", "audience", "resources", "scope_asked", "scope_granted", "subject_jti", "issued_jti", "expires_at", "cache"),
    *("trace_id", "request_id"),
]
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


def test_a_line_says_who_acted_for_whom_with_which_rights_by_which_policy() -> None:
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
        "scope_asked": "read:orders",
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
    ("kind", "diagnostic", "verdict", "verified"),
    [
        (ErrorKind.SUBJECT_REFUSED, Diagnostic.SUBJECT_REFUSED, SubjectVerdict(refusal="the token has expired"), "none"),
        (ErrorKind.KEYS_UNKNOWN, Diagnostic.KEYS_UNKNOWN, None, "none"),
        (ErrorKind.SUBJECT_INACTIVE, Diagnostic.SUBJECT_INACTIVE, SubjectVerdict(refusal="not active", introspected=True), "none"),
        (ErrorKind.INTROSPECTION_UNAVAILABLE, Diagnostic.INTROSPECTION_UNAVAILABLE, None, "none"),
        (ErrorKind.HTTP_STATUS, Diagnostic.OAUTH_ERROR, SubjectVerdict(), "keys"),
        (ErrorKind.HTTP_STATUS, Diagnostic.OAUTH_ERROR, None, "none"),
    ],
)
def test_a_refusal_says_why_and_who_vouches(kind: ErrorKind, diagnostic: Diagnostic, verdict: SubjectVerdict | None, verified: str) -> None:
    line = written(refused(kind=kind, diagnostic=diagnostic, verdict=verdict))
    found = line["event"], line["reason"], line["code"], line["verified"], line["scope_granted"], line["issued_jti"]
    assert found == ("exchange.refused", kind.value, diagnostic.value, verified, None, None)
    assert line["subject"]["sub"] == keyed("alice")


def test_a_token_that_was_verified_by_keys_says_so() -> None:
    record = granted()
    assert written(attrs.evolve(record, outcome=attrs.evolve(record.outcome, subject=SubjectVerdict("0123"))))["verified"] == "keys"


@pytest.mark.parametrize(
    ("stated", "in_token", "cache", "found"),
    [
        (None, None, Cache.MISS, "read:orders"),
        (None, "read", Cache.MISS, "read"),
        ("read", "read write", Cache.MISS, "read"),
        ("", "read write", Cache.MISS, ""),
        (UNREADABLE_SCOPE, "read", Cache.HIT, "read"),
        (UNREADABLE_SCOPE, None, Cache.HIT, None),
    ],
    ids=["nothing stated", "in the token", "stated", "stated as empty", "of another replica", "of another replica, opaque"],
)
def test_the_granted_scope_is_what_is_known_of_it(stated: str | None, in_token: str | None, cache: Cache, found: str | None) -> None:
    issued = Secret("opaque") if in_token is None else jwt(scope=in_token)
    assert written(granted(issued=issued, scope=stated, cache=cache))["scope_granted"] == found


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
    monkeypatch.setattr("exchanger.audit.line.MAX_KNOWN", 10)
    assert MAX_KNOWN > 10
    lines = LineWriter(stamp, KEY)
    for number in range(50):
        lines.line(granted(Secret(f"opaque-{number}")))
    assert len(lines._known) == 10


claims = st.fixed_dictionaries(
    {},
    optional={
        **{name: HOSTILE | st.integers() | st.none() for name in ("iss", "sub", "client_id", "azp", "jti", "scope")},
        "act": st.recursive(
            st.fixed_dictionaries({}, optional={"sub": HOSTILE, "iss": HOSTILE, "client_id": HOSTILE}) | HOSTILE,
            lambda act: st.fixed_dictionaries({"sub": HOSTILE}, optional={"act": act}),
            max_leaves=12,
        ),
    },
)


@st.composite
def records(draw: st.DrawFn) -> DecisionRecord:
    """Draw a record whose texts are all hostile."""
    subject = draw(st.builds(lambda said: jwt(**said), claims) | HOSTILE.map(Secret))
    record = draw(
        st.sampled_from([granted(subject, draw(st.builds(lambda said: jwt(**said), claims)), scope=draw(HOSTILE)), refused(subject)])
    )
    request = attrs.evolve(record.request, method=draw(HOSTILE), host=draw(HOSTILE), path=draw(HOSTILE), request_id=draw(HOSTILE))
    outcome = attrs.evolve(record.outcome, issuer=draw(HOSTILE), source=Source(draw(HOSTILE), draw(HOSTILE)))
    target = TokenTarget("primary", draw(HOSTILE) or "s", (draw(HOSTILE),), (draw(HOSTILE),))
    return attrs.evolve(record, request=request, outcome=outcome, exchange=Exchange(target, "h", None, subject, draw(st.none() | HOSTILE)))


@given(records(), st.sampled_from([KEY, None]))
def test_no_text_forges_or_splits_a_line(record: DecisionRecord, key: AuditKey | None) -> None:
    lines = LineWriter(stamp, key)
    for line in (lines.line(record), lines.summary(group_of(record), 3, stamp())):
        text = line.decode()
        assert text.splitlines() == [text[:-1]]
        assert text[:-1].isprintable()
        pairs = json.loads(text, object_pairs_hook=list)
        names = [name for name, _ in pairs]
        assert len(names) == len(set(names))
        assert dict(pairs)["event"] == ("exchange.granted" if line is lines.line(record) else dict(pairs)["event"])
        assert len(line) < 40_000
    assert json.loads(lines.line(record))["event"] in ("exchange.granted", "exchange.refused")


MARK = st.text(st.sampled_from("abcdefghijklmnop"), min_size=12, max_size=20).map(lambda text: f"zq{text}")


@given(sub=MARK, client=MARK, actor=MARK, actor_client=MARK, opaque=MARK, issued=MARK, query=MARK, with_jwt=st.booleans())
def test_nothing_in_a_line_is_a_token_a_query_or_a_keyed_identity(
    sub: str, client: str, actor: str, actor_client: str, opaque: str, issued: str, query: str, with_jwt: bool
) -> None:
    said = {"iss": f"https://user:{query}@login.example.com/?{query}#{query}", "sub": sub, "client_id": client}
    subject = jwt(**said, act={"sub": actor, "act": {"client_id": actor_client}}) if with_jwt else Secret(opaque)
    for record in (granted(subject, Secret(issued)), granted(subject, jwt(jti="1", sub=issued)), refused(subject)):
        request = attrs.evolve(record.request, path=f"/orders/{query}?{query}", host=f"{query}@api.example.com?{query}")
        line = LineWriter(stamp, KEY).line(attrs.evolve(record, request=request)).decode()
        assert not [text for text in (sub, client, actor, actor_client, opaque, issued, query) if text in line]
        assert subject.reveal() not in line


@given(HOSTILE)
def test_a_plain_identity_prints(text: str) -> None:
    assert plain(text).isprintable()


payloads = st.recursive(
    HOSTILE | st.integers() | st.booleans() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(HOSTILE, inner), max_leaves=10
)
members = st.lists(
    st.tuples(st.sampled_from(["iss", "sub", "act", "jti", "client_id", "other"]) | HOSTILE, st.text(max_size=8) | payloads), max_size=6
)


@given(members, st.booleans(), st.sampled_from(["", "=", "+", "/", "\n", ".", "A"]))
def test_the_quick_reading_is_the_strict_one(pairs: list[tuple[str, object]], ascii_only: bool, spoilt: str) -> None:
    def text(value: object) -> str:
        return json.dumps(value, ensure_ascii=ascii_only)

    payload = "{" + ",".join(f"{text(name)}:{text(value)}" for name, value in pairs) + "}"
    token = f"h.{base64url.encode(payload.encode('utf-8', 'replace'))}{spoilt}.s"
    strict, quick = read_payload(token), _claims(token)
    names = ("iss", "sub", "act", "jti", "client_id", "azp", "appid")
    if not isinstance(strict, TokenRefused):
        assert quick is not None
        assert {name: quick.get(name) for name in names} == {name: strict.get(name) for name in names}
    elif quick is not None:  # a name that is not looked for occurs twice, or characters that belong to no byte
        assert all([name for name, _ in pairs].count(name) <= 1 for name in names)
