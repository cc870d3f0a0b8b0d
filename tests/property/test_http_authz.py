"""Laws of the authorization port: its decision is that of ext_authz, and nothing unclear passes."""

from collections.abc import Sequence

import attrs
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from exchanger._proto.envoy.service.auth.v3.external_auth_pb2 import CheckResponse
from exchanger.authz.decision.outcome import DecisionRecord, Filter
from exchanger.authz.envoy.authorization import Authorization
from exchanger.authz.evaluation.evaluator import Evaluator
from exchanger.authz.http_authz.server import HttpAuthz
from exchanger.authz.http_authz.settings import HttpAuthzSettings
from exchanger.model.token import TokenOutcome
from exchanger.net.reactor import Reactor
from exchanger.policy.current import CurrentPolicy
from exchanger.policy.documents.document import PolicyDocument
from tests.authz.decision.examples import RULES
from tests.authz.envoy.exchangers import FakeExchanger, answered
from tests.authz.envoy.test_authorization import Records
from tests.authz.http_authz.asking import ask, port, question, raw_answer
from tests.examples import examples
from tests.property.strategies_envoy import Asked, check_request, requests
from tests.property.strategies_policy import documents, rarely, snapshot_of
from tests.property.test_envoy import INFO, outcomes

DIALECTS = ("/envoy", "/forward-auth", "/auth-request")


def status_for(dialect: str, status: int) -> int:
    """Return what a gateway gets for a denial's status: the rule of the reference, written once more."""
    if dialect == "/auth-request":
        return status if status == 401 else 403
    return 403 if dialect == "/envoy" and status >= 500 else status


def is_value(text: str) -> bool:
    """Whether HTTP can carry ``text`` as a value."""
    return not any(character < " " or character == "\x7f" for character in text) and text == text.strip(" ")


def can_be_stated(dialect: str, asked: Asked) -> bool:
    in_target = dialect != "/envoy" or (asked.path.isascii() and asked.method != "CONNECT")
    return in_target and " " not in asked.path and all(map(is_value, (asked.path, *(value for _, value in asked.headers))))


def asked_over_http(dialect: str, asked: Asked) -> bytes:
    fields = ((name.encode(), value.encode()) for name, value in asked.headers)
    return question(dialect, asked.path.encode(), *fields, method=asked.method.encode(), host=asked.host.encode())


def known(record: DecisionRecord) -> DecisionRecord:
    return attrs.evolve(record, started=0.0, duration=0.0, asked_by=Filter.EXT_AUTHZ)


# Targets that are not paths (RFC 9112 section 3.2), as far as gateways state them.
targets = st.sampled_from(["*", "a.example:443", "b.example:443", "http://a.example/a", "http://b.example", "https://c.example/a?x"])


@settings(max_examples=examples(300))  # the reasons that need a match, a token and an issuer have to turn up
@given(
    st.lists(rarely(documents(), documents(max_closed_scopes=0), one_in=8), min_size=1, max_size=3),
    st.sampled_from(DIALECTS),
    st.builds(attrs.evolve, requests, path=requests.map(lambda asked: asked.path) | targets),
    outcomes,
    st.booleans(),
    st.booleans(),
)
async def test_the_decision_is_that_of_ext_authz(
    policy: list[PolicyDocument], dialect: str, asked: Asked, outcome: TokenOutcome, default_deny: bool, options: bool
) -> None:
    asked = attrs.evolve(asked, headers=tuple(field for field in asked.headers if field[0] != "x-forwarded-host"))  # the gateway's own
    assume(can_be_stated(dialect, asked))
    current = CurrentPolicy()
    current.publish(snapshot_of(policy))
    rules = attrs.evolve(RULES, default_deny_unmatched=default_deny, allow_unauthenticated_options=options)
    checked, over_http = Records(), Records()
    check = Authorization(Evaluator(current, rules, FakeExchanger(outcome), (checked,)))
    evaluator = Evaluator(current, rules, FakeExchanger(outcome), (over_http,))
    service = HttpAuthz(HttpAuthzSettings(), evaluator, Reactor(), lambda: True, lambda _serving: None)

    expected = CheckResponse.FromString(await answered(check.check(check_request(asked, raw=True), INFO)))
    answer = await ask(service, asked_over_http(dialect, asked), asked.method.encode() if dialect == "/envoy" else b"GET")

    event(f"{dialect} {checked.records[0].outcome.reason.value}")
    assert [known(record) for record in over_http.records] == [known(record) for record in checked.records]
    assert {record.asked_by for record in over_http.records} == {Filter.HTTP}
    if expected.WhichOneof("http_response") == "ok_response":
        given_token = [option.header.value.encode() for option in expected.ok_response.headers]
        own = [value.encode() for name, value in asked.headers if name == "authorization"]
        assert (answer.status, answer.values(b"authorization")) == (200, given_token or own)
        return
    denied = expected.denied_response
    status = status_for(dialect, denied.status.code)
    assert answer.status == status
    assert answer.values(b"x-exchanger-status") == ([] if dialect == "/forward-auth" else [str(denied.status.code).encode()])
    assert answer.body == (b"" if asked.method == "HEAD" and dialect == "/envoy" else denied.body.encode())
    assert answer.values(b"authorization") == []
    for name in {option.header.key for option in denied.headers}:
        values = [option.header.value.strip(" ").encode() for option in denied.headers if option.header.key == name]
        assert answer.values(name.lower().encode()) == values


# Law: whatever bytes arrive, what is protected passes only with the exchanged token, and the answer never has the caller's.

lines = st.sampled_from(
    [
        b"X-Forwarded-Uri: /admin",
        b"X-Forwarded-Uri: /public",
        b"X-Forwarded-Uri: /public#/../admin",
        b"X-Forwarded-Uri: http://other.example.com/admin",
        b"X-Forwarded-Host: api.example.com",
        b"X-Forwarded-Host: other.example.com",
        b"X-Forwarded-Method: GET",
        b"X_Forwarded_Uri: /public",
        b"X-Original-Uri: /admin",
        b"X-Original-Uri: /public",
        b"X-Original-Host: api.example.com",
        b"X-Original-Method: GET",
        b"Authorization: Bearer old",
        b"Host: api.example.com",
        b"Host: other.example.com",
        b"Content-Length: 0",
        b"Content-Length: 30",
        b"Transfer-Encoding: chunked",
        b"Expect: 100-continue",
        b"Connection: close",
        b" folded",
        b"no colon",
        b"",
    ]
)
starts = st.sampled_from(
    [
        b"GET /forward-auth HTTP/1.1",
        b"GET /auth-request HTTP/1.1",
        b"GET /envoy/admin HTTP/1.1",
        b"GET /envoy/%61dmin HTTP/1.0",
        b"HEAD /envoy//admin HTTP/1.1",
        b"CONNECT /envoy/admin HTTP/1.1",
        b"GET /envoy/admin HTTP/2.0",
        b"0\r\n",
        b"GET /healthz HTTP/1.1",
    ]
)
HEAD = [b"Host: api.example.com", b"X-Forwarded-Method: GET", b"X-Forwarded-Host: api.example.com", b"X-Original-Method: GET"]
messages = st.builds(
    lambda start, known, more: b"\r\n".join([start, *(HEAD if known else []), *more, b"", b""]),
    starts,
    st.booleans(),
    st.lists(lines, max_size=6),
)


@given(st.lists(messages, min_size=1, max_size=3), st.booleans())
async def test_nothing_denied_passes_in_any_message(sent: Sequence[bytes], one_by_one: bool) -> None:
    records = Records()
    service = port(records=records)
    received = await raw_answer(service, *(sent if one_by_one else (b"".join(sent),)))

    passed = received.count(b"HTTP/1.1 200 ") - received.count(b"text/plain")  # which only health has
    for record in records.records:
        if record.request.host == "api.example.com" and "dmin" in record.request.path:
            assert record.outcome.result.value != "allowed"
    assert passed <= sum(record.outcome.result.value == "allowed" for record in records.records)
