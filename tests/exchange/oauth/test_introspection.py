"""What an issuer says of a caller's token: who passes, who does not, and what is no answer."""

import json
from typing import Any, Final

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchanger.exchange.breaker import EndpointHealth, health_of
from exchanger.exchange.oauth.documents import MAX_DOCUMENT_BYTES
from exchanger.exchange.oauth.introspection import MAX_SAID, decode_introspection, unavailable
from exchanger.exchange.oauth.rotation import refuses_client
from exchanger.model.errors import Diagnostic
from exchanger.model.issuer import IntrospectionRules, Issuer, SubjectRules
from exchanger.model.token import ExchangedToken, ExchangeFailure, TokenCall, TokenOutcome, VerificationResult
from exchanger.net.answer import TooLarge
from tests.examples import examples
from tests.exchange.oauth.fakes import token_request

NOW: Final = 1_800_000_000.0
CALL: Final = TokenCall(0.1, 200)
LISTED: Final = SubjectRules(
    issuers=("https://a.example",), audiences=("gateway",), introspection=IntrospectionRules("https://a.example/i")
)
ANY: Final = SubjectRules(introspection=IntrospectionRules("https://a.example/i", always=True))
GOOD: Final = {"active": True, "aud": ["other", "gateway"], "iss": "https://a.example", "exp": NOW + 60, "token_type": "Bearer"}


def asking(rules: SubjectRules = LISTED, **more: Any) -> Issuer:
    return attrs.evolve(token_request().issuer, subject=rules, **more)


def read(members: object, issuer: Issuer | None = None, status: int = 200) -> TokenOutcome:
    body = members if isinstance(members, bytes | TooLarge) else json.dumps(members).encode()
    return decode_introspection(status, (), body, issuer or asking(), CALL, NOW)


def test_an_active_token_for_us_passes() -> None:
    found = read({**GOOD, "sub": "canary", "username": "canary", "act": {"sub": "canary"}})
    assert isinstance(found, ExchangedToken)
    assert found.access_token.reveal() == ""
    assert (found.expires_at, found.call) == (NOW + 60, CALL)
    assert found.subject is not None
    assert found.subject.introspected
    assert len(found.subject.actors) == 16
    assert json.loads(found.subject.said) == {"iss": "https://a.example", "sub": "canary", "act": {"sub": "canary"}}
    assert "canary" not in repr(found)
    assert health_of(found) is EndpointHealth.GOOD


def test_what_is_kept_of_an_answer_is_bounded() -> None:
    around = len(json.dumps({"iss": GOOD["iss"], "sub": ""}, separators=(",", ":")))
    for length in (MAX_SAID, MAX_SAID + 1):
        found = read({**GOOD, "sub": "s" * (length - around)})
        assert isinstance(found, ExchangedToken)
        assert found.subject is not None
        assert len(found.subject.said) == (length if length == MAX_SAID else 0)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        *(({"active": value}, "does not say that the token is active") for value in (False, "true", 1, None, [True], {"value": True})),
        *(({"exp": value}, "has expired") for value in (NOW, NOW - 1, 0, -1, 10**400)),
        *(({"exp": value}, "has a time that is not a number") for value in ("9999999999", True, None, [NOW + 60])),
        *(({"aud": value}, "is for another audience") for value in ("canary", [], None, 1, ["gateway", 1], {"gateway": 1})),
        *(({"iss": value}, "is from an issuer that is not accepted") for value in ("canary", None, ["https://a.example"])),
        *(({"token_type": value}, "not a bearer token") for value in ("DPoP", "Refresh", "", None, ["Bearer"])),
        *(({"cnf": value}, "is bound to its sender's key") for value in ({"jkt": "canary"}, None)),
        ({"may_act": {"sub": "canary"}}, "restricts who may act"),
        *(({"act": value}, "has a chain of actors") for value in ("canary", None, {"act": 1}, {"sub": "a", "act": {"act": "b"}})),
    ],
)
def test_whatever_is_wrong_is_a_refusal(change: dict[str, object], why: str) -> None:
    found = read({**GOOD, **change})
    assert isinstance(found, ExchangeFailure)
    assert (found.diagnostic, found.status) == (Diagnostic.SUBJECT_INACTIVE, 401)
    assert why in found.detail
    assert found.subject == VerificationResult(refusal=found.detail, introspected=True)
    assert "canary" not in repr(found) + found.body
    assert health_of(found) is EndpointHealth.GOOD
    assert not refuses_client(found)


def test_the_chain_of_actors_is_limited() -> None:
    chain = {**GOOD, "act": {"sub": "a", "act": {"sub": "b"}}}
    assert isinstance(read(chain, asking(attrs.evolve(LISTED, max_actors=2))), ExchangedToken)
    assert isinstance(read(chain, asking(attrs.evolve(LISTED, max_actors=1))), ExchangeFailure)


UNREADABLE: Final = [
    *(b"", b"null", b"[]", b'"eyJhbGciOiJSUzI1NiJ9.eyJhY3RpdmUiOnRydWV9.AA"', b"eyJhbGciOiJSUzI1NiJ9.eyJhY3RpdmUiOnRydWV9.AA"),
    *(b'{"active": true, "active": true}', b'{"active": false, "active": true}', b'{"active": true, "\\u0061ctive": true}'),
    b'{"active": true, "aud": "gateway", "ext": {"a": 1, "a": 2}}',
    *(b'{"active": true} {"active": true}', b'{"active": NaN}', b'\xff{"active": true}'),
    b'{"active": true, "aud": "gateway", "x": "' + b"x" * MAX_DOCUMENT_BYTES + b'"}',
    b'{"active": true, "aud": "gateway", "x": ' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    TooLarge.TOO_LARGE,
]


@pytest.mark.parametrize("body", UNREADABLE, ids=lambda body: repr(body)[:40])
def test_what_cannot_be_read_in_one_way_is_no_answer(body: bytes | TooLarge) -> None:
    found = read(body)
    assert isinstance(found, ExchangeFailure)
    assert found.diagnostic is Diagnostic.INTROSPECTION_UNAVAILABLE


@pytest.mark.parametrize("status", [201, 204, 301, 400, 401, 403, 429, 500, 503])
def test_another_status_is_no_answer(status: int) -> None:
    found = read(GOOD, status=status)
    assert isinstance(found, ExchangeFailure)
    told = unavailable(found, too_late=False)
    assert (told.diagnostic, told.http_status, told.call) == (Diagnostic.INTROSPECTION_UNAVAILABLE, None, None)
    assert told.detail == f"the introspection endpoint is not available: it returned status {status}"
    assert refuses_client(found) == (status == 401)
    assert health_of(found) is (EndpointHealth.BAD if status in {429, 503} else EndpointHealth.GOOD)


JSON: Final = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["act", "sub", "a"]), inner, max_size=3),
    max_leaves=8,
)
NAMES: Final = ("active", "aud", "iss", "exp", "token_type", "cnf", "may_act", "act")


@settings(max_examples=examples(300), deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), JSON), st.sets(st.sampled_from(NAMES)), st.sampled_from([LISTED, ANY]))
def test_only_what_is_said_active_for_us_and_now_passes(changes: dict[str, object], kept: set[str], rules: SubjectRules) -> None:
    members: dict[str, Any] = {**changes, **{name: value for name, value in GOOD.items() if name in kept}}
    if isinstance(read(members, asking(rules)), ExchangedToken):
        assert members["active"] is True
        assert "cnf" not in members
        assert "may_act" not in members
        assert not isinstance(members.get("exp", NOW + 1), bool)
        assert members.get("exp", NOW + 1) > NOW
        assert members.get("token_type", "bearer").lower() == "bearer"
        if rules is LISTED:
            assert members.get("iss", "https://a.example") == "https://a.example"
            assert members["aud"] == "gateway" or "gateway" in members["aud"]
