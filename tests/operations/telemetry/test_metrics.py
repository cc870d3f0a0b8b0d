import math
from collections.abc import Mapping

import attrs
import pytest
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from exchanger.authz.decision.outcome import Exchange, Outcome
from exchanger.model.entry import TokenTarget
from exchanger.model.token import CoalescedRecord, ErrorKind, ExchangeRecord, TokenCall
from exchanger.model.trace import NO_TRACE
from exchanger.operations.telemetry.histogram import Histogram
from exchanger.operations.telemetry.metrics import CHECK_BUCKETS, EXCHANGE_BUCKETS, MAX_HOSTS, OTHER_HOST, Metrics
from tests.operations.telemetry.gauges import EXPIRY, NOTHING, SOMETHING
from tests.operations.telemetry.records import ALLOWED, CANARY, DENIED, FAILED, UNMATCHED, record

# An exchange of which no call is known.
BEGUN = Exchange(TokenTarget("primary", "read:orders"), "issuer.example.com", None)
NAMES = {
    "ext_authz_check_requests_total": "counter",
    "ext_authz_check_duration_seconds": "histogram",
    "ext_authz_check_abandoned_total": "counter",
    "ext_authz_check_in_flight": "gauge",
    "ext_authz_token_exchange_requests_total": "counter",
    "ext_authz_token_exchange_latency_seconds": "histogram",
    "ext_authz_token_introspection_latency_seconds": "histogram",
    "ext_authz_token_exchange_timeouts_total": "counter",
    "ext_authz_token_exchange_context_cancellations_total": "counter",
    "ext_authz_token_exchange_coalesced_total": "counter",
    "ext_authz_token_exchange_in_flight": "gauge",
    "ext_authz_audit_lines_total": "counter",
    "ext_authz_audit_lines_lost_total": "counter",
    "ext_authz_audit_unwritable": "gauge",
    "ext_authz_token_endpoint_breaker_open": "gauge",
    "ext_authz_token_endpoint_queued": "gauge",
    "ext_authz_token_endpoint_new_credentials_rejected": "gauge",
    "ext_authz_issuer_profiles_rejected": "gauge",
    "ext_authz_issuer_values_missing": "gauge",
    "ext_authz_tls_certificate_rejected": "gauge",
    "ext_authz_token_cache_requests_total": "counter",
    "ext_authz_token_cache_rejected_total": "counter",
    "ext_authz_token_cache_entries": "gauge",
    "ext_authz_token_cache_store_connected": "gauge",
    "policy_entries": "gauge",
    "policy_invalid_documents": "gauge",
    "policy_entries_not_granted": "gauge",
    "policy_snapshot_age_seconds": "gauge",
    "policy_source_connected": "gauge",
    "policy_namespace_unreadable": "gauge",
    "policy_unreadable_objects": "gauge",
    "ext_authz_config_without_effect": "gauge",
    "ext_authz_tls_certificate_expiry_timestamp_seconds": "gauge",
    "ext_authz_grpc_connections": "gauge",
    "ext_authz_grpc_connections_refused_total": "counter",
    "ext_authz_http_connections": "gauge",
    "ext_authz_http_connections_ended_total": "counter",
    "ext_authz_http_unauthorized_total": "counter",
    "log_lines_dropped_total": "counter",
    "exchanger_build_info": "gauge",
}


def metrics(in_flight: Mapping[str, int] | None = None) -> Metrics:
    return Metrics("1.2.3", attrs.evolve(SOMETHING, exchanges_in_flight=lambda: in_flight or {}))


def coalesced(host: str) -> CoalescedRecord:
    return CoalescedRecord(host, NO_TRACE, NO_TRACE)


def text(of: Metrics) -> str:
    return generate_latest(of).decode()


def value(of: Metrics, name: str, **labels: str) -> float | None:
    """Return the value of a sample of the exposed text, ``None`` when there is none."""
    found = [
        sample.value
        for family in text_string_to_metric_families(text(of))
        for sample in family.samples
        if sample.name == name and sample.labels == labels
    ]
    assert len(found) <= 1
    return found[0] if found else None


def test_names_and_types_are_those_of_the_dashboards() -> None:
    counted = metrics()

    types = dict(line.removeprefix("# TYPE ").split() for line in text(counted).splitlines() if line.startswith("# TYPE "))

    assert types == NAMES
    assert "_total_total" not in text(counted)
    assert "_created" not in text(counted)


@pytest.mark.parametrize(("kind", "result"), [(None, "active"), (ErrorKind.SUBJECT_INACTIVE, "inactive"), (ErrorKind.TIMEOUT, "failure")])
def test_introspections_are_no_exchanges(kind: ErrorKind | None, result: str) -> None:
    counted = metrics()
    counted.exchanged(ExchangeRecord("h", kind, 200, 0.0, 0.02, introspects=True))
    name, error_kind = "ext_authz_token_introspection_latency_seconds", "none" if kind is None else kind.value
    assert value(counted, f"{name}_count", endpoint_host="h", result=result, error_kind=error_kind) == 1
    assert counted.overview().exchanges == 0
    assert "ext_authz_token_exchange_timeouts_total{" not in text(counted)


def test_durations_are_a_histogram_in_seconds() -> None:
    counted = metrics()
    counted.decided(record(DENIED))
    labels = {"decision": "deny_explicit_policy", "result": "auth_denied"}

    name = "ext_authz_check_duration_seconds"
    assert value(counted, f"{name}_bucket", le="0.01", **labels) == 0
    assert value(counted, f"{name}_bucket", le="0.025", **labels) == 1
    assert value(counted, f"{name}_bucket", le="+Inf", **labels) == 1
    assert value(counted, f"{name}_count", **labels) == 1
    assert value(counted, f"{name}_sum", **labels) == pytest.approx(0.0123456)


@pytest.mark.parametrize(
    ("name", "bounds", "texts"),
    [
        ("ext_authz_check_duration_seconds", CHECK_BUCKETS, "0.001 0.0025 0.005 0.01 0.025 0.05 0.075 0.1 0.25 0.5 0.75 1 2.5 +Inf"),
        ("ext_authz_token_exchange_latency_seconds", EXCHANGE_BUCKETS, "0.005 0.01 0.025 0.05 0.075 0.1 0.25 0.5 0.75 1 2.5 5 +Inf"),
    ],
)
def test_buckets_are_those_of_the_dashboards(name: str, bounds: tuple[float, ...], texts: str) -> None:
    counted = metrics()
    counted.decided(record(DENIED))
    counted.exchanged(ExchangeRecord("issuer.example.com", None, 200, 0.0, 0.02))

    found = [
        sample.labels["le"]
        for family in text_string_to_metric_families(text(counted))
        for sample in family.samples
        if sample.name == f"{name}_bucket"
    ]

    assert found == texts.split()
    assert [float(bound) for bound in found] == [*bounds, math.inf]


@pytest.mark.parametrize(
    ("kind", "status", "labels"),
    [
        (None, 200, {"result": "success", "error_kind": "none", "http_status_class": "2xx"}),
        (ErrorKind.TIMEOUT, None, {"result": "failure", "error_kind": "timeout", "http_status_class": "none"}),
        (ErrorKind.HTTP_STATUS, 301, {"result": "failure", "error_kind": "http_status", "http_status_class": "3xx"}),
        (ErrorKind.HTTP_STATUS, 404, {"result": "failure", "error_kind": "http_status", "http_status_class": "4xx"}),
        (ErrorKind.HTTP_STATUS, 503, {"result": "failure", "error_kind": "http_status", "http_status_class": "5xx"}),
        (ErrorKind.HTTP_STATUS, 999, {"result": "failure", "error_kind": "http_status", "http_status_class": "none"}),
        (ErrorKind.MISSING_ACCESS_TOKEN, 200, {"result": "failure", "error_kind": "missing_access_token", "http_status_class": "2xx"}),
    ],
)
def test_exchanges_are_counted_and_timed_by_their_outcome(kind: ErrorKind | None, status: int | None, labels: dict[str, str]) -> None:
    counted = metrics()
    counted.exchanged(ExchangeRecord("issuer.example.com", kind, status, 0.0, 0.3))

    assert value(counted, "ext_authz_token_exchange_requests_total", endpoint_host="issuer.example.com", **labels) == 1
    assert value(counted, "ext_authz_token_exchange_latency_seconds_sum", endpoint_host="issuer.example.com", **labels) == 0.3
    assert counted.overview().exchanges == 1


@pytest.mark.parametrize(
    ("kind", "exchange", "failed", "abandoned"),
    [
        (ErrorKind.CONTEXT_CANCELED, attrs.evolve(BEGUN, call=TokenCall(0.01, None, ErrorKind.TRANSPORT_ERROR)), None, 0),
        (ErrorKind.CONTEXT_CANCELED, BEGUN, None, 1),
        (ErrorKind.UNKNOWN_ISSUER_PROFILE, None, "unknown", 0),
        (ErrorKind.BREAKER_OPEN, BEGUN, "issuer.example.com", 0),
        (ErrorKind.OVERLOADED, BEGUN, "issuer.example.com", 0),
        (ErrorKind.NO_ACTOR_TOKEN, BEGUN, "issuer.example.com", 0),
        (ErrorKind.SUBJECT_REJECTED, BEGUN, None, 0),  # by verification, which says nothing of the token endpoint
        (ErrorKind.KEYS_UNKNOWN, BEGUN, None, 0),
        (ErrorKind.SUBJECT_INACTIVE, BEGUN, None, 0),
        (ErrorKind.INTROSPECTION_UNAVAILABLE, BEGUN, None, 0),
        (None, BEGUN, None, 0),  # the token was kept
    ],
)
def test_a_decision_without_a_token_call_counts_as_failed_or_abandoned_exchange(
    kind: ErrorKind | None, exchange: Exchange | None, failed: str | None, abandoned: int
) -> None:
    """Alerts on failures subtract callers that left."""
    counted = metrics()
    assert value(counted, "ext_authz_check_abandoned_total") == 0
    outcome = ALLOWED if kind is None else attrs.evolve(FAILED, error_kind=kind)
    counted.decided(attrs.evolve(record(outcome), exchange=exchange))
    counted.decided(record(FAILED))

    assert value(counted, "ext_authz_check_abandoned_total") == abandoned
    assert counted.overview().exchanges == (failed is not None)
    if kind is not None and failed is not None:
        labels = {"endpoint_host": failed, "result": "failure", "error_kind": kind.value, "http_status_class": "none"}
        assert value(counted, "ext_authz_token_exchange_requests_total", **labels) == 1
        assert value(counted, "ext_authz_token_exchange_latency_seconds_count", **labels) == 1
        assert value(counted, "ext_authz_token_exchange_latency_seconds_sum", **labels) == 0


@pytest.mark.parametrize("host", ['a"b', "a\nb", "a\\b", "ü", 'a"} 1\nforged{x="'])
def test_a_hostile_host_cannot_forge_a_sample(host: str) -> None:
    counted = metrics()
    counted.coalesced(coalesced(host))

    assert value(counted, "ext_authz_token_exchange_coalesced_total", endpoint_host=host) == 1
    assert {family.name for family in text_string_to_metric_families(text(counted))} == {name.removesuffix("_total") for name in NAMES}


def test_an_overview_sums_over_all_labels() -> None:
    counted = metrics()
    for outcome in (DENIED, DENIED, FAILED, ALLOWED):
        counted.decided(record(outcome))
    counted.exchanged(ExchangeRecord("a.example.com", None, 200, 0.0, 0.02))
    counted.exchanged(ExchangeRecord("b.example.com", ErrorKind.TIMEOUT, None, 0.0, 0.75))
    counted.coalesced(coalesced("a.example.com"))

    seen = counted.overview()

    assert seen.decisions == {"deny_explicit_policy": 2, "deny_exchange_error": 1, "allow_exchange": 1}
    assert dict(zip((*CHECK_BUCKETS, math.inf), seen.durations, strict=True)) == {**dict.fromkeys((*CHECK_BUCKETS, math.inf), 0), 0.025: 4}
    assert (seen.exchanges, seen.coalesced, seen.errors) == (2, 1, 1)


@pytest.mark.parametrize(
    ("value", "cumulative"),
    [(0.0, (1, 1, 1)), (1.0, (1, 1, 1)), (1.0001, (0, 1, 1)), (2.0, (0, 1, 1)), (2.1, (0, 0, 1)), (float("inf"), (0, 0, 1))],
)
def test_a_bound_belongs_to_its_own_bucket(value: float, cumulative: tuple[int, ...]) -> None:
    histogram = Histogram((1.0, 2.0))
    histogram.observe(value)

    assert (histogram.cumulative(), histogram.total) == (cumulative, value)


def test_gauges_are_read_at_the_scrape() -> None:
    in_flight = {"issuer.example.com": 4}
    counted = metrics(in_flight)
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text(counted))
        for sample in family.samples
        if family.type == "gauge"
        or sample.name.startswith(("ext_authz_token_cache_", "ext_authz_audit_", "ext_authz_http_"))
        or sample.name in {"ext_authz_grpc_connections_refused_total", "log_lines_dropped_total"}
    }

    assert found == {
        ("ext_authz_audit_lines_total",): 11,
        ("ext_authz_audit_lines_lost_total",): 4,
        ("ext_authz_audit_unwritable",): 1,
        ("ext_authz_check_in_flight",): 7,
        ("ext_authz_token_exchange_in_flight", "issuer.example.com"): 4,
        ("ext_authz_token_endpoint_breaker_open", "down.example.com"): 1,
        ("ext_authz_token_endpoint_breaker_open", "h"): 0,
        ("ext_authz_token_endpoint_queued", "h"): 9,
        ("ext_authz_token_endpoint_new_credentials_rejected", "h", "primary"): 1,
        ("ext_authz_issuer_profiles_rejected",): 1,
        ("ext_authz_issuer_values_missing",): 15,
        ("ext_authz_tls_certificate_rejected",): 1,
        ("ext_authz_token_cache_requests_total", "h", "memory", "hit"): 9,
        ("ext_authz_token_cache_requests_total", "h", "shared", "error"): 1,
        ("ext_authz_token_cache_rejected_total", "h"): 4,
        ("ext_authz_token_cache_entries",): 8,
        ("ext_authz_token_cache_store_connected",): 0,
        ("policy_entries",): 10,
        ("policy_invalid_documents",): 2,
        ("policy_entries_not_granted",): 3,
        ("policy_snapshot_age_seconds",): 1.5,
        ("policy_source_connected",): 1,
        ("policy_namespace_unreadable", "one"): 0,
        ("policy_namespace_unreadable", "two"): 1,
        ("policy_unreadable_objects",): 16,
        ("ext_authz_config_without_effect",): 17,
        ("ext_authz_tls_certificate_expiry_timestamp_seconds",): EXPIRY,
        ("ext_authz_grpc_connections",): 5,
        ("ext_authz_grpc_connections_refused_total",): 6,
        ("ext_authz_http_connections",): 12,
        ("ext_authz_http_connections_ended_total",): 13,
        ("ext_authz_http_unauthorized_total",): 14,
        ("log_lines_dropped_total",): 3,
        ("exchanger_build_info", "1.2.3"): 1,
    }
    in_flight["issuer.example.com"] = 0
    assert value(counted, "ext_authz_token_exchange_in_flight", endpoint_host="issuer.example.com") == 0
    counted.exchanged(ExchangeRecord("called.example.com", None, 200, 0.0, 0.02))
    assert value(counted, "ext_authz_token_exchange_in_flight", endpoint_host="called.example.com") == 0
    assert value(Metrics("1.2.3", NOTHING), "ext_authz_tls_certificate_rejected") is None
    assert value(Metrics("1.2.3", NOTHING), "ext_authz_tls_certificate_expiry_timestamp_seconds") is None


def test_decision_metrics_have_reason_and_result_and_no_request_data() -> None:
    counted = metrics()
    outcomes: tuple[Outcome, ...] = (DENIED, DENIED, FAILED, ALLOWED, UNMATCHED)
    for number, outcome in enumerate(outcomes):
        counted.decided(record(outcome, method=f"M{CANARY}", host=f"{number}.{CANARY}.example.com", path=f"/{CANARY}/{number}"))
    exposed = text(counted)
    assert not any(part in exposed for part in (CANARY, "api.example.com", "/orders", "team-a", "Bearer"))
    found = {
        tuple(sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text(counted))
        for sample in family.samples
        if sample.name == "ext_authz_check_requests_total"
    }

    assert found == {
        ("deny_explicit_policy", "auth_denied"): 2,
        ("deny_exchange_error", "system_error"): 1,
        ("allow_exchange", "allowed"): 1,
        ("allow_unmatched", "allowed"): 1,
    }


def test_timeouts_cancellations_and_shared_calls_have_counters_of_their_own() -> None:
    counted = metrics()
    for kind in ErrorKind:
        counted.exchanged(ExchangeRecord("issuer.example.com", kind, None, 0.0, 0.3))
    counted.coalesced(coalesced("issuer.example.com"))
    counted.coalesced(coalesced("issuer.example.com"))

    host = {"endpoint_host": "issuer.example.com"}
    assert value(counted, "ext_authz_token_exchange_timeouts_total", **host) == 1
    assert value(counted, "ext_authz_token_exchange_context_cancellations_total", **host) == 1
    assert value(counted, "ext_authz_token_exchange_coalesced_total", **host) == 2


def test_the_number_of_hosts_is_bounded() -> None:
    counted = metrics()
    for number in range(MAX_HOSTS + 10):
        counted.exchanged(ExchangeRecord(f"h{number}", None, 200, 0.0, 0.1))
        counted.coalesced(coalesced(f"h{number}"))

    exposed = text(counted)
    assert exposed.count("ext_authz_token_exchange_coalesced_total{") == MAX_HOSTS + 1
    assert f'ext_authz_token_exchange_coalesced_total{{endpoint_host="{OTHER_HOST}"}} 10.0' in exposed
    assert 'ext_authz_token_exchange_coalesced_total{endpoint_host="h0"} 1.0' in exposed
