"""Holds every query against what the service really exports: a panel or an alert on a name that nobody has is silent for ever."""

import re
from typing import Final

import pytest

from tests.monitoring.exported import OPEN, exported
from tests.monitoring.promql import Reading, read
from tests.monitoring.sources import RELEASE, Query, alert_queries, dashboard_queries

PROMETHEUS: Final = "Prometheus makes it itself"
CADVISOR: Final = "the kubelet's cAdvisor, which measures what limits and evictions go by"
STATE: Final = "kube-state-metrics"
ENVOY: Final = "Envoy's own metrics, for the collapsed row about the gateway"
ISTIO: Final = "Istio's telemetry, for the same row"
API_SERVER: Final = "the API servers, which alone know that they did not ask the webhook"
# Series that are not the service's, and whose they are.
FOREIGN: Final = {
    "up": PROMETHEUS,
    "ALERTS": PROMETHEUS,
    "apiserver_admission_webhook_fail_open_count": API_SERVER,
    "container_cpu_usage_seconds_total": CADVISOR,
    "container_cpu_cfs_periods_total": CADVISOR,
    "container_cpu_cfs_throttled_periods_total": CADVISOR,
    "container_memory_working_set_bytes": CADVISOR,
    "kube_pod_container_status_restarts_total": STATE,
    "envoy_http_ext_authz_ok": ENVOY,
    "envoy_http_ext_authz_denied": ENVOY,
    "envoy_http_ext_authz_error": ENVOY,
    "envoy_http_ext_authz_failure_mode_allowed": ENVOY,
    "envoy_http_ext_proc_streams_started": ENVOY,
    "envoy_http_ext_proc_streams_failed": ENVOY,
    "envoy_http_ext_proc_message_timeouts": ENVOY,
    "envoy_http_ext_proc_failure_mode_allowed": ENVOY,
    "envoy_cluster_ext_authz_ok": ENVOY,
    "envoy_cluster_ext_authz_denied": ENVOY,
    "envoy_cluster_ext_authz_error": ENVOY,
    "envoy_cluster_upstream_rq_total": ENVOY,
    "envoy_cluster_upstream_rq_completed": ENVOY,
    "envoy_cluster_upstream_rq_timeout": ENVOY,
    "envoy_cluster_upstream_rq_time_bucket": ENVOY,
    "envoy_cluster_upstream_cx_active": ENVOY,
    "envoy_cluster_upstream_cx_total": ENVOY,
    "envoy_cluster_upstream_cx_connect_fail": ENVOY,
    "istio_requests_total": ISTIO,
    "istio_request_duration_milliseconds_bucket": ISTIO,
}
# Exported series that no panel shows, and why.
NOT_SHOWN: Final = {
    "ext_authz_check_duration_seconds_count": "the same number as ext_authz_check_requests_total",
    "ext_authz_check_duration_seconds_sum": "a mean hides what percentiles show",
    "ext_authz_token_exchange_latency_seconds_count": "the same number as ext_authz_token_exchange_requests_total",
    "ext_authz_token_exchange_latency_seconds_sum": "a mean hides what percentiles show",
    "ext_authz_token_introspection_latency_seconds_sum": "a mean hides what percentiles show",
    "policy_namespace_unreadable": "an alert names the Namespace, and most installations name none",
    "process_cpu_seconds_total": CADVISOR,
    "process_resident_memory_bytes": CADVISOR,
    "process_virtual_memory_bytes": "addresses that were given out, not memory that is used",
    "process_start_time_seconds": "restarts are kube-state-metrics' to count",
}
# Labels that a scrape adds to every series.
TARGET: Final = frozenset({"namespace", "job", "instance", "pod"})
QUERIES: Final = (*dashboard_queries(), *alert_queries())

every_query = pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.place)


@every_query
def test_a_query_reads_series_matches_labels_and_groups_by_labels_that_exist(query: Query) -> None:
    reading = read(query.expression)

    assert reading.metrics or query.expression.startswith("vector(")
    assert reading.metrics <= exported().keys() | FOREIGN.keys()
    for selector in reading.selectors:
        for label, operator, value in selector.matchers:
            if operator in {"=~", "!~"}:
                assert re.search(r"[|$*]", value), f"equality would do: {selector.metric}: {label}{operator}{value}"
            if selector.metric not in FOREIGN:
                labels = exported()[selector.metric].values
                assert label in labels or label in TARGET, f"{selector.metric} has no label {label}"
                if label in labels and label not in OPEN:
                    asked = value.split("|") if operator in {"=~", "!~"} else [value]
                    assert set(asked) <= labels[label], f"{selector.metric}: {label} is never one of {asked}"
    if not reading.metrics & FOREIGN.keys() - {"up"}:
        assert reading.labels <= TARGET.union(*(exported()[name].values for name in reading.metrics if name in exported()))


def test_queries_for_failures_leave_out_callers_who_left() -> None:
    readings = [(query, read(query.expression)) for query in QUERIES]
    asked = [(query, reading) for query, reading in readings if ("result", "=", "system_error") in _matchers(reading)]

    assert len(asked) == 4  # both alerts, and the panels that show what they go by
    assert all("ext_authz_check_abandoned_total" in reading.metrics for _, reading in asked), asked


def _matchers(reading: Reading) -> set[tuple[str, str, str]]:
    return {matcher for selector in reading.selectors for matcher in selector.matchers}


@pytest.mark.parametrize("query", [*alert_queries()], ids=lambda query: query.place)
def test_an_alert_looks_at_its_own_release_only(query: Query) -> None:
    for selector in read(query.expression).selectors:
        if FOREIGN.get(selector.metric) == API_SERVER:
            assert selector.matchers == (("name", "=", "policies.ext-authz-token-exchange.magneticflux.net"),)
            continue
        assert RELEASE.items() <= {label: value for label, operator, value in selector.matchers if operator == "="}.items()


@pytest.mark.parametrize(
    "query", [query for query in dashboard_queries() if query.place.startswith("panel")], ids=lambda query: query.place
)
def test_a_panel_follows_the_choices_at_the_top(query: Query) -> None:
    for selector in read(query.expression).selectors:
        if selector.metric in exported() or selector.metric == "up":
            chosen = {label: value for label, operator, value in selector.matchers if operator == "=~"}
            assert {"namespace": "$namespace", "job": "$job", "instance": "$instance"}.items() <= chosen.items()


@pytest.mark.parametrize("name", sorted(exported()))
def test_everything_exported_is_on_the_dashboard_or_left_out_for_a_reason(name: str) -> None:
    shown = {metric for query in dashboard_queries() if query.place.startswith("panel") for metric in read(query.expression).metrics}

    assert (name in shown) != (name in NOT_SHOWN)


def test_no_exception_outlives_its_reason() -> None:
    read_somewhere = {metric for query in QUERIES for metric in read(query.expression).metrics}

    assert FOREIGN.keys() <= read_somewhere
    assert NOT_SHOWN.keys() <= exported().keys()
    assert not FOREIGN.keys() & exported().keys()
