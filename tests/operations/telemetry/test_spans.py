import attrs
import pytest

from exchanger.authz.decision.check import DENY_NO_POLICY
from exchanger.authz.decision.outcome import DecisionReason, Filter, Outcome
from exchanger.model.token import ErrorKind, ExchangeRecord
from exchanger.model.trace import SpanContext, TraceContext
from exchanger.operations.telemetry.spans import FinishedSpan, SpanKind, decision_span, exchange_span
from tests.operations.telemetry.records import ALLOWED, DENIED, FAILED, UNMATCHED, record

CONTEXT = SpanContext("1" * 32, "2" * 16, "3" * 16, 1, "vendor=state")
START = 1_800_000_000_000_000_000


def span_of(outcome: Outcome, host: str = "api.example.com") -> FinishedSpan:
    return decision_span(record(outcome, host=host), CONTEXT, START)


def test_a_span_of_an_http_decision_has_no_grpc_attributes() -> None:
    span = decision_span(attrs.evolve(record(DENIED), asked_by=Filter.HTTP), CONTEXT, START)
    assert span.name == "authorize"
    assert not [name for name, _ in span.attributes if name.startswith("rpc.")]


@pytest.mark.parametrize(
    ("asked_by", "name"),
    [
        (Filter.EXT_AUTHZ, "envoy.service.auth.v3.Authorization/Check"),
        (Filter.EXT_PROC, "envoy.service.ext_proc.v3.ExternalProcessor/Process"),
    ],
)
def test_a_span_has_its_grpc_methods_name_and_the_decisions_duration(asked_by: Filter, name: str) -> None:
    span = decision_span(attrs.evolve(record(DENIED), asked_by=asked_by), CONTEXT, START)
    assert (span.kind, span.name, dict(span.attributes)["rpc.method"]) == (SpanKind.SERVER, name, name)
    assert (span.start, span.end - span.start) == (START, 12_345_600)


@pytest.mark.parametrize(
    ("outcome", "expected", "error"),
    [
        (ALLOWED, {"decision": "allow_exchange", "result": "allowed", "policy": "team-a/orders", "response.status_code": 200}, ""),
        (UNMATCHED, {"decision": "allow_unmatched", "result": "allowed", "response.status_code": 200}, ""),
        (DENIED, {"decision": "deny_explicit_policy", "result": "auth_denied", "policy": "team-a/orders", "response.status_code": 403}, ""),
        (
            FAILED,
            {
                "decision": "deny_exchange_error",
                "result": "system_error",
                "policy": "team-a/orders",
                "response.status_code": 500,
                "code": "TXE-1003",
            },
            "TXE-1003",
        ),
        (
            DENY_NO_POLICY,
            {"decision": "deny_policy_unhealthy", "result": "system_error", "response.status_code": 500},
            DecisionReason.DENY_POLICY_UNHEALTHY.value,
        ),
    ],
)
def test_a_span_says_what_was_decided_and_only_our_failures_are_errors(outcome: Outcome, expected: dict[str, object], error: str) -> None:
    span = span_of(outcome)
    own = {key.removeprefix("exchanger."): value for key, value in span.attributes if key.startswith("exchanger.")}
    assert own == {**expected, "request.method": "GET", "request.host": "api.example.com"}
    assert (span.error, dict(span.attributes).get("error.type", "")) == (error, error)
    assert dict(span.attributes)["rpc.system.name"] == "grpc"


def test_a_shared_exchange_is_marked_and_linked() -> None:
    leader = TraceContext(f"00-{'4' * 32}-{'5' * 16}-01")
    span = decision_span(record(ALLOWED), CONTEXT, START, leader)
    assert (span.link, dict(span.attributes)["exchanger.exchange.coalesced"]) == (leader, True)
    assert "exchanger.exchange.coalesced" not in dict(span_of(ALLOWED).attributes)


def test_texts_of_requests_are_bounded_and_printable() -> None:
    request = attrs.evolve(record(DENIED).request, method="G" * 100, host="h\n" * 1000)
    attributes = dict(decision_span(attrs.evolve(record(DENIED), request=request), CONTEXT, START).attributes)
    host = attributes["exchanger.request.host"]
    assert isinstance(host, str)
    assert len(host) <= 255
    assert host.isprintable()
    assert len(str(attributes["exchanger.request.method"])) <= 32


@pytest.mark.parametrize(
    ("kind", "status", "port", "error"),
    [
        (None, 200, 8443, ""),
        (ErrorKind.HTTP_STATUS, 503, 443, "503"),
        (ErrorKind.TIMEOUT, None, 443, "timeout"),
        (ErrorKind.MALFORMED_SUCCESS_JSON, 200, 443, "malformed_success_json"),
        (ErrorKind.INVALID_TOKEN_ENDPOINT, None, None, "invalid_token_endpoint"),
    ],
)
def test_an_exchange_is_a_client_span(kind: ErrorKind | None, status: int | None, port: int | None, error: str) -> None:
    span = exchange_span(ExchangeRecord("issuer.example.com", kind, status, 0.0, 0.25, port, CONTEXT), CONTEXT, START)
    attributes = dict(span.attributes)
    assert (span.kind, span.name, span.error, span.end - span.start) == (SpanKind.CLIENT, "POST", error, 250_000_000)
    assert (attributes["server.address"], attributes.get("server.port")) == ("issuer.example.com", port)
    assert attributes.get("http.response.status_code") == status
    assert attributes.get("exchanger.exchange.error_kind") == (None if kind is None else kind.value)
    assert attributes.get("error.type", "") == error
    assert "exchanger.introspection" not in attributes


def test_the_span_of_a_first_leg_names_its_profile() -> None:
    for leg, attributes in (("idp\n", [("exchanger.leg", "idp\N{REPLACEMENT CHARACTER}")]), ("", [])):
        span = exchange_span(ExchangeRecord("idp.example.com", None, 200, 0.0, 0.1, leg=leg), CONTEXT, START)
        assert [pair for pair in span.attributes if pair[0] == "exchanger.leg"] == attributes


@pytest.mark.parametrize(("kind", "error"), [(None, ""), (ErrorKind.SUBJECT_INACTIVE, ""), (ErrorKind.TIMEOUT, "timeout")])
def test_a_token_that_is_not_active_is_no_error_of_the_endpoint(kind: ErrorKind | None, error: str) -> None:
    asked = ExchangeRecord("issuer.example.com", kind, 200, 0.0, 0.25, 443, CONTEXT, introspects=True)
    span = exchange_span(asked, CONTEXT, START)
    attributes = dict(span.attributes)
    assert (span.error, attributes.get("error.type", "")) == (error, error)
    assert attributes["exchanger.introspection"] is True
    assert attributes.get("exchanger.exchange.error_kind") == (None if kind is None else kind.value)
