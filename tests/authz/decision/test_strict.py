"""``errors: strict``: each failure is told by whose fault it is, and a caller learns what would help."""

import base64
import json
import time
from typing import Any, Final

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanger.authz.decision.check import begin, finish
from exchanger.authz.decision.outcome import Deny, ExchangePending
from exchanger.exchange.oauth.step_up import step_up_of
from exchanger.exchange.oauth.token_response import TokenResponseRules, decode_response
from exchanger.model.errors import Diagnostic
from exchanger.model.issuer import ErrorStyle
from exchanger.model.secret import Secret
from exchanger.model.token import ErrorKind, ExchangedToken, ExchangeFailure
from exchanger.model.token_failure import subject_refusal, transport_failure
from exchanger.net.answer import TooLarge
from tests.authz.decision.examples import RULES, request, snapshot

METADATA: Final = "https://api.example.com/.well-known/oauth-protected-resource"
RULES_OF_ANSWERS: Final = TokenResponseRules()


def pending(style: ErrorStyle = ErrorStyle.STRICT) -> ExchangePending:
    begun = begin(request("/orders", "Bearer subject"), snapshot(), RULES)
    assert isinstance(begun, ExchangePending)
    token_request = begun.token_request
    strict = attrs.evolve(token_request, issuer=attrs.evolve(token_request.issuer, errors=style))
    return attrs.evolve(begun, entry=attrs.evolve(begun.entry, resource_metadata=METADATA), token_request=strict)


def told(failure: object, style: ErrorStyle = ErrorStyle.STRICT) -> Deny:
    assert isinstance(failure, ExchangeFailure)
    outcome = finish(pending(style), failure)
    assert isinstance(outcome, Deny)
    return outcome


def answered(status: int, challenges: tuple[str, ...] = (), /, **members: Any) -> Deny:
    return told(decode_response(status, challenges, json.dumps(members).encode(), RULES_OF_ANSWERS))


CHALLENGE: Final = 'Bearer realm="issuer", scope="read:orders", error="invalid_token", resource_metadata="' + METADATA + '"'


@pytest.mark.parametrize("status", [400, 401, 403])
@pytest.mark.parametrize("error", ["invalid_grant", "invalid_request"])
def test_a_refused_token_is_a_401_with_our_challenge(status: int, error: str) -> None:
    deny = answered(status, ('Bearer realm="foreign"',), error=error)
    assert (deny.status, json.loads(deny.body)["error"], deny.headers) == (401, "invalid_token", (("WWW-Authenticate", CHALLENGE),))


def test_an_app_only_caller_has_a_code_of_its_own() -> None:
    deny = answered(400, error="invalid_grant", error_codes=[7000114])
    assert (deny.status, deny.diagnostic) == (401, Diagnostic.APP_ONLY_CALLER)
    assert "TXE-2006" in deny.body
    assert answered(400, error="invalid_grant", error_codes=[50013]).diagnostic is Diagnostic.OAUTH_ERROR


@pytest.mark.parametrize(
    "error", ["invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope", "invalid_target", "access_denied"]
)
def test_a_mistake_of_the_operator_s_is_a_502(error: str) -> None:
    deny = answered(401, error=error)
    assert (deny.status, json.loads(deny.body)["error"], deny.headers) == (502, "server_error", ())


@pytest.mark.parametrize(
    ("error", "status", "members", "parameters"),
    [
        ("interaction_required", 401, {}, ""),
        (
            "insufficient_user_authentication",
            401,
            {"acr_values": "gold silver", "max_age": "3162240000"},
            ', acr_values="gold silver", max_age="3162240000"',
        ),
        ("insufficient_user_authentication", 401, {"max_age": 60}, ', max_age="60"'),
        ("insufficient_user_authentication", 401, {"max_age": "3162240001"}, ""),
        ("insufficient_user_authentication", 401, {"acr_values": "a" * 2048}, f', acr_values="{"a" * 2048}"'),
        ("insufficient_user_authentication", 401, {"acr_values": "a" * 2049}, ""),
        ("interaction_required", 401, {"claims": "a" * 2048}, f', claims="{"a" * 2048}"'),
        ("interaction_required", 401, {"claims": "a" * 2049}, ""),
    ],
)
def test_a_caller_learns_what_it_needs(error: str, status: int, members: dict[str, Any], parameters: str) -> None:
    deny = answered(400, error=error, **members)
    expected = f'Bearer realm="issuer", scope="read:orders", error="{error}"{parameters}, resource_metadata="{METADATA}"'
    assert (deny.status, json.loads(deny.body)["error"], deny.headers) == (status, error, (("WWW-Authenticate", expected),))


def test_a_scope_that_is_missing_is_a_403_and_named() -> None:
    deny = answered(403, error="insufficient_scope", scope="read:orders write:orders")
    assert deny.status == 403
    assert 'scope="read:orders write:orders", error="insufficient_scope"' in deny.headers[0][1]


def test_claims_are_relayed_as_clients_of_entra_expect_them() -> None:
    claims = '{"access_token":{"acrs":{"essential":true,"value":"c1"}}}'
    deny = answered(400, error="interaction_required", claims=claims)
    assert f'claims="{base64.b64encode(claims.encode()).decode()}"' in deny.headers[0][1]


def test_what_is_needed_may_stand_in_the_challenge() -> None:
    challenge = 'Bearer acr_values="gold", error="insufficient_user_authentication", max_age=5'
    deny = answered(401, (challenge,), error="insufficient_user_authentication")
    assert 'acr_values="gold", max_age="5"' in deny.headers[0][1]


@pytest.mark.parametrize("text", ["a", 'b="a', "a ", 'a="', "a="])
def test_a_challenge_is_read_once(text: str) -> None:
    began = time.process_time()
    step_up_of("insufficient_scope", {}, ("Bearer " + text[:-1] + text[-1] * 400_000, "Bearer " + text * 100_000))
    assert time.process_time() - began < 20  # reading a name again from each of its letters takes minutes


def test_only_a_challenge_for_bearer_tokens_says_what_is_needed() -> None:
    foreign = 'Digest error="insufficient_user_authentication", acr_values="gold"'
    deny = answered(401, (foreign,), error="insufficient_user_authentication")
    assert "gold" not in deny.headers[0][1]


@pytest.mark.parametrize("value", ['a", error="x', "a\\", "a\r\nX: y", "é", "x" * 5000, 7, None, ["a"], {"a": "b"}, ""])
def test_what_cannot_be_relayed_is_left_out(value: object) -> None:
    deny = answered(400, error="insufficient_user_authentication", acr_values=value, scope=value, claims=value, max_age=value)
    header = deny.headers[0][1]
    without_age = header.replace(', max_age="7"', "")
    assert without_age == CHALLENGE.replace("invalid_token", "insufficient_user_authentication")


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (transport_failure(ErrorKind.TRANSPORT_ERROR, Diagnostic.REQUEST_FAILED), 503),
        (transport_failure(ErrorKind.TIMEOUT, Diagnostic.REQUEST_FAILED), 503),
        (attrs.evolve(transport_failure(ErrorKind.TIMEOUT, Diagnostic.REQUEST_FAILED), too_late=True), 504),
        (transport_failure(ErrorKind.BREAKER_OPEN, Diagnostic.BREAKER_OPEN), 503),
        (transport_failure(ErrorKind.OVERLOADED, Diagnostic.OVERLOADED), 503),
        (transport_failure(ErrorKind.METADATA_UNKNOWN, Diagnostic.METADATA_UNKNOWN), 503),
        (transport_failure(ErrorKind.NO_ACTOR_TOKEN, Diagnostic.NO_ACTOR_TOKEN), 503),
        (transport_failure(ErrorKind.INVALID_TOKEN_ENDPOINT, Diagnostic.INVALID_TOKEN_ENDPOINT), 500),
        *((decode_response(status, (), b"", RULES_OF_ANSWERS), 502) for status in (300, 399, 404, 600)),
        *((decode_response(status, (), b"", RULES_OF_ANSWERS), 503) for status in (429, 500, 599)),
        (decode_response(200, (), b"[]", RULES_OF_ANSWERS), 502),
        (decode_response(200, (), TooLarge.TOO_LARGE, RULES_OF_ANSWERS), 502),
    ],
)
def test_what_passes_is_told_apart_from_what_does_not(failure: object, status: int) -> None:
    deny = told(failure)
    assert deny.status == status
    assert ("Retry-After" in dict(deny.headers)) == (status == 503)


@pytest.mark.parametrize(("asked", "told_"), [(None, "1"), (0.2, "1"), (7.1, "8"), (1e9, "3600")])
def test_a_caller_is_told_when_to_come_back(asked: float | None, told_: str) -> None:
    failure = attrs.evolve(transport_failure(ErrorKind.OVERLOADED, Diagnostic.OVERLOADED), retry_after=asked)
    assert dict(told(failure).headers)["Retry-After"] == told_


@pytest.mark.parametrize("style", ErrorStyle)
def test_the_gate_tells_its_refusals_alike(style: ErrorStyle) -> None:
    refused = told(subject_refusal("the token has expired"), style)
    assert (refused.status, json.loads(refused.body)["error"], refused.headers) == (
        401,
        "invalid_token",
        (("WWW-Authenticate", CHALLENGE),),
    )
    assert "expired" not in refused.body
    assert refused.detail == "the token has expired"
    unknown = told(transport_failure(ErrorKind.KEYS_UNKNOWN, Diagnostic.KEYS_UNKNOWN), style)
    assert (unknown.status, dict(unknown.headers)) == (503, {"Retry-After": "1"})


def test_the_style_of_the_reference_is_as_it_was() -> None:
    failure = decode_response(401, ("Basic a",), b'{"error":"invalid_grant"}', RULES_OF_ANSWERS)
    deny = told(failure, ErrorStyle.REFERENCE)
    assert isinstance(failure, ExchangeFailure)
    assert (deny.status, deny.body, deny.headers) == (failure.status, failure.body, (("WWW-Authenticate", "Basic a"),))


texts = st.text(max_size=20) | st.sampled_from(["invalid_grant", "insufficient_scope", "interaction_required", 'a"b', "a\r\nb"])
anything = st.recursive(texts | st.integers() | st.none() | st.booleans(), lambda inner: st.lists(inner, max_size=2), max_leaves=3)
names = st.sampled_from(["error", "error_description", "scope", "acr_values", "max_age", "claims", "error_codes", "access_token"])


@given(st.integers(200, 599), st.dictionaries(names, anything, max_size=6), st.lists(texts.map("Bearer {}".format), max_size=2))
def test_nothing_of_an_answer_can_break_a_header_or_the_body(status: int, members: dict[str, object], challenges: list[str]) -> None:
    found = decode_response(status, challenges, json.dumps(members).encode(), RULES_OF_ANSWERS)
    outcome = finish(pending(), found)
    if isinstance(outcome, Deny):
        assert not isinstance(found, ExchangedToken)
        assert outcome.status in {401, 403, 500, 502, 503, 504}
        assert set(json.loads(outcome.body)) == {"error", "error_description"}
        for _, value in outcome.headers:
            assert value.isascii()
            assert value.isprintable()
            assert value.count('"') % 2 == 0
    else:
        assert outcome.access_token == Secret(str(members["access_token"]))
