import attrs
import pytest

from exchanger.decision.check import DENY_NO_POLICY
from exchanger.decision.outcome import Filter, Outcome, Reason
from exchanger.telemetry.spans import FinishedSpan, SpanKind, decision_span, exchange_span
from exchanger.values.token import ErrorKind, ExchangeRecord
from exchanger.values.trace import SpanContext, TraceContext
from tests.telemetry.records import ALLOWED, CANARY, DENIED, FAILED, UNMATCHED, record

CONTEXT = SpanContext("1" * 32, "2" * 16, "3" * 16, 1, "vendor=state")
START = 1_800_000_000_000_000_000


def span_of(outcome: Outcome, host: str = "api.example.com") -> FinishedSpan:
    return decision_span(record(outcome, host=host), CONTEXT, START)


@pytest.mark.parametrize(
    ("asked_by", "name"),
    [
        (Filter.EXT_AUTHZ, "envoy.service.auth.v3.Authorization/Check"),
        (Filter.EXT_PROC, "envoy.service.ext_proc.v3.ExternalProcessor/Process"),
    ],
)
def test_it_is_named_by_the_method_that_was_called(asked_by: Filter, name: str) -> None:
    span = decision_span(attrs.evolve(record(DENIED), asked_by=asked_by), CONTEXT, START)
    assert (span.kind, span.name, dict(span.attributes)["rpc.method"]) == (SpanKind.SERVER, name, name)


def test_it_ends_its_duration_after_it_began() -> None:
    span = span_of(DENIED)
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
                "diagnostic": "TXE-1003",
            },
            "TXE-1003",
        ),
        (
            DENY_NO_POLICY,
            {"decision": "deny_policy_unhealthy", "result": "system_error", "response.status_code": 500},
            Reason.DENY_POLICY_UNHEALTHY.value,
        ),
    ],
)
def test_it_tells_what_was_decided_and_only_our_failures_are_errors(outcome: Outcome, expected: dict[str, object], error: str) -> None:
    span = span_of(outcome)
    own = {key.removeprefix("exchanger."): value for key, value in span.attributes if key.startswith("exchanger.")}
    assert own == {**expected, "request.method": "GET", "request.host": "api.example.com"}
    assert (span.error, dict(span.attributes).get("error.type", "")) == (error, error)
    assert dict(span.attributes)["rpc.system.name"] == "grpc"


def test_a_shared_exchange_is_marked_and_linked() -> None:
    shared = TraceContext(f"00-{'4' * 32}-{'5' * 16}-01")
    span = decision_span(record(ALLOWED), CONTEXT, START, shared)
    assert (span.link, dict(span.attributes)["exchanger.exchange.coalesced"]) == (shared, True)
    assert "exchanger.exchange.coalesced" not in dict(span_of(ALLOWED).attributes)


@pytest.mark.parametrize("outcome", [ALLOWED, UNMATCHED, DENIED, FAILED])
def test_nothing_secret_is_in_it(outcome: Outcome) -> None:
    span = span_of(outcome, host=f"user:{CANARY}@api.example.com")
    assert CANARY not in repr((span.attributes, span.name, span.error))
    assert "/orders/1" not in repr(span)


def test_texts_of_requests_are_bounded_and_printable() -> None:
    request = attrs.evolve(record(DENIED).request, method="G" * 100, host="h\n" * 1000)
    attributes = dict(decision_span(attrs.evolve(record(DENIED), request=request), CONTEXT, START).attributes)
    host = attributes["exchanger.request.host"]
    assert isinstance(host, str)
    assert len(host) <= 255
    assert host.isprintable()
    assert len(str(attributes["exchanger.request.method"])) <= 32


@pytest.mark.parametrize(
    ("kind", "status", "error"),
    [
        (None, 200, ""),
        (ErrorKind.HTTP_STATUS, 503, "503"),
        (ErrorKind.TIMEOUT, None, "timeout"),
        (ErrorKind.MALFORMED_SUCCESS_JSON, 200, "malformed_success_json"),
    ],
)
def test_an_exchange_is_a_client_span(kind: ErrorKind | None, status: int | None, error: str) -> None:
    span = exchange_span(ExchangeRecord("issuer.example.com", kind, status, 0.0, 0.25, 8443, CONTEXT), CONTEXT, START)
    attributes = dict(span.attributes)
    assert (span.kind, span.name, span.error, span.end - span.start) == (SpanKind.CLIENT, "POST", error, 250_000_000)
    assert (attributes["server.address"], attributes["server.port"]) == ("issuer.example.com", 8443)
    assert attributes.get("http.response.status_code") == status
    assert attributes.get("exchanger.exchange.error_kind") == (None if kind is None else kind.value)
    assert attributes.get("error.type", "") == error


def test_an_exchange_that_had_no_usable_endpoint_has_no_port() -> None:
    span = exchange_span(ExchangeRecord("?", ErrorKind.INVALID_TOKEN_ENDPOINT, None, 0.0, 0.0), CONTEXT, START)
    assert "server.port" not in dict(span.attributes)
