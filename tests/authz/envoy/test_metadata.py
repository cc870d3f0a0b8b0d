"""What a gateway may know of a decision is the same by both filters, and nothing secret."""

from collections.abc import Callable
from typing import Final

import pytest
from google.protobuf.json_format import MessageToDict

from exchanger._proto.envoy.service.auth.v3.external_auth_pb2 import CheckResponse
from exchanger._proto.envoy.service.ext_proc.v3.external_processor_pb2 import ProcessingResponse
from exchanger.authz.decision.check import ALLOW_UNMATCHED, DENY_AMBIGUOUS, begin, finish
from exchanger.authz.decision.outcome import Allow, DecisionReason, ExchangePending, Outcome
from exchanger.authz.envoy.authorization import encode_check
from exchanger.authz.envoy.process_codec import encode_request_headers
from exchanger.model.entry import Source
from exchanger.model.errors import Diagnostic
from exchanger.model.policy_decision import AmbiguousPart
from exchanger.model.request import HttpRequest
from exchanger.model.secret import Secret
from exchanger.model.token import Cache, ErrorKind, ExchangedToken, TokenCall
from exchanger.model.token_failure import transport_failure
from tests.authz.decision.examples import RULES, SOURCE, request, snapshot

SNAPSHOT: Final = snapshot()
TOKEN: Final = "canary-token"
POLICY: Final = {"policy": "team/policy"}
PRIMARY: Final = {**POLICY, "issuer": "primary"}


def decided(asked: HttpRequest) -> Outcome:
    outcome = begin(asked, SNAPSHOT, RULES)
    assert not isinstance(outcome, ExchangePending)
    return outcome


def pending() -> ExchangePending:
    begun = begin(request("/orders", "Bearer subject"), SNAPSHOT, RULES)
    assert isinstance(begun, ExchangePending)
    return begun


def issued(cache: Cache = Cache.MISS, expires_at: int | None = 1_060) -> Outcome:
    return finish(pending(), ExchangedToken(Secret(TOKEN), TokenCall(0.1, 200), 60, cache, expires_at))


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (ALLOW_UNMATCHED, {"decision": "allow_unmatched", "cache": "none"}),
        (DENY_AMBIGUOUS[AmbiguousPart.PATH], {"decision": "deny_ambiguous_request", "cache": "none"}),
        (decided(request("/admin")), {"decision": "deny_explicit_policy", "cache": "none", **POLICY}),
        (decided(request("/broken")), {"decision": "deny_policy_unhealthy", "cache": "none", **POLICY}),
        (decided(request("/orders")), {"decision": "deny_missing_bearer", "cache": "none", **PRIMARY}),
        (
            decided(request("/orders", method="OPTIONS", origin="https://a", access_control_request_method="GET")),
            {"decision": "allow_options_bypass", "cache": "none", **PRIMARY},
        ),
        (issued(), {"decision": "allow_exchange", "cache": "miss", "expires_at": 1_060, **PRIMARY}),
        (issued(Cache.COALESCED), {"decision": "allow_exchange", "cache": "shared", "expires_at": 1_060, **PRIMARY}),
        (issued(expires_at=None), {"decision": "allow_exchange", "cache": "miss", **PRIMARY}),
        (
            finish(pending(), transport_failure(ErrorKind.UNKNOWN_ISSUER_PROFILE, Diagnostic.UNKNOWN_ISSUER)),
            {"decision": "deny_exchange_error", "cache": "none", **PRIMARY},
        ),
    ],
)
def test_both_filters_describe_a_decision_alike(outcome: Outcome, expected: dict[str, object]) -> None:
    check = CheckResponse.FromString(encode_check(outcome)).dynamic_metadata
    process = ProcessingResponse.FromString(encode_request_headers(outcome)).dynamic_metadata
    assert MessageToDict(check) == expected
    assert MessageToDict(process) == {"envoy.filters.http.ext_proc": expected}


@pytest.mark.parametrize("encode", [encode_check, encode_request_headers])
def test_its_fields_have_one_order_in_all_processes(encode: Callable[[Outcome], bytes]) -> None:
    answer = encode(issued())
    places = [answer.rindex(name) for name in (b"\x05cache", b"\x08decision", b"\x06issuer", b"\x06policy", b"\nexpires_at")]
    assert places == sorted(places)


@pytest.mark.parametrize("encode", [encode_check, encode_request_headers])
def test_answers_without_an_exchange_are_serialised_once_for_each_policy(encode: Callable[[Outcome], bytes]) -> None:
    one, same, other = (Allow(DecisionReason.ALLOW_OPTIONS_BYPASS, source) for source in (SOURCE, SOURCE, Source("other", "policy")))
    assert encode(one) is encode(same)
    assert encode(one) != encode(other)
