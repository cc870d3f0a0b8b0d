"""The service's metrics: counts decisions and token exchanges, and returns them for a scrape.

Names, labels and buckets are an interface that dashboards rely on. A label is one of a closed set or comes from operators; nothing of a
request ever becomes one. A decision costs well under a microsecond: it only updates numbers, no metric objects.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, final

import attrs
from prometheus_client.core import Metric

from exchanger.authz.audit.log import AuditCounts
from exchanger.authz.decision.outcome import DecisionReason, DecisionRecord, Deny, Result
from exchanger.model.token import CoalescedRecord, ErrorKind, ExchangeRecord
from exchanger.operations.telemetry.histogram import Histogram, Labels, counter, gauge, histogram

# Seconds: from an answer without exchange to a token endpoint at its slowest.
CHECK_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5)
# Seconds: a token endpoint call is a round trip at least.
EXCHANGE_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0)
# Token endpoints counted by name. Operators name a few; the limit is for errors elsewhere, and the rest counts as OTHER_HOST.
MAX_HOSTS: Final = 256
OTHER_HOST: Final = "other"
# The endpoint of an exchange whose issuer profile does not exist.
UNKNOWN_HOST: Final = "unknown"

# Looked up once, not for each denial.
_EXCHANGE_ERROR: Final = DecisionReason.DENY_EXCHANGE_ERROR

_DECISION: Final = ("decision", "result")
_EXCHANGE: Final = ("endpoint_host", "result", "error_kind", "http_status_class")
_INTROSPECTION: Final = ("endpoint_host", "result", "error_kind")
_HOST: Final = ("endpoint_host",)
_ISSUER: Final = ("issuer", "endpoint_host")
_CACHE: Final = ("endpoint_host", "level", "result")
# Not ``namespace``, which Prometheus uses for the instance's own. There are as many as operators name.
_NAMESPACE: Final = ("policy_namespace",)
# Refusals by verification are not among them: callers with bad tokens must not make a token endpoint look as if it failed.
_WITHOUT_CALL: Final = frozenset({ErrorKind.UNKNOWN_ISSUER_PROFILE, ErrorKind.BREAKER_OPEN, ErrorKind.OVERLOADED, ErrorKind.NO_ACTOR_TOKEN})
_STATUS_CLASSES: Final = {status: f"{status}xx" for status in range(2, 6)}


@final
@attrs.frozen
class MetricsSettings:
    """METRICS_ENABLED, METRICS_PORT and METRICS_PATH. ``host`` ``None``: all interfaces; ``port`` 0: any free one."""

    enabled: bool = False
    host: str | None = None
    port: int = 3002
    path: str = "/metrics"


@final
@attrs.frozen
class HttpAuthzCounts:
    """The open connections of the authorization port; those that it ended for lack of room, and questions without the secret, in all."""

    connections: int
    ended: int
    unauthorized: int


@final
@attrs.frozen
class Gauges:
    """Values that are read from elsewhere at the moment of a scrape."""

    check_in_flight: Callable[[], int]
    exchanges_in_flight: Callable[[], Mapping[str, int]]
    policy_entries: Callable[[], int]
    policy_invalid_documents: Callable[[], int]
    policy_entries_not_granted: Callable[[], int]
    policy_snapshot_age: Callable[[], float | None]
    policy_source_connected: Callable[[], bool]
    log_lines_dropped: Callable[[], int]
    tls_certificate_expiry: Callable[[], int | None]
    grpc_connections: Callable[[], int]
    grpc_connections_refused: Callable[[], int]
    tls_certificate_rejected: Callable[[], bool | None] = lambda: None
    policy_namespaces_unreadable: Callable[[], Mapping[str, bool]] = dict
    policy_unreadable_objects: Callable[[], int] = int
    config_without_effect: Callable[[], int] = int
    issuer_profiles_rejected: Callable[[], bool] = bool
    issuer_values_missing: Callable[[], int] = int
    # By endpoint host, of the issuers whose profiles have a breaker, and a limit.
    breakers_open: Callable[[], Mapping[str, bool]] = dict
    exchanges_queued: Callable[[], Mapping[str, int]] = dict
    # By issuer profile and endpoint host.
    credentials_rejected: Callable[[], Mapping[tuple[str, str], bool]] = dict
    token_cache_entries: Callable[[], int] = int
    # ``None`` without a store.
    token_cache_store_connected: Callable[[], bool | None] = lambda: None
    # Counted since the start, by endpoint host, level and result.
    token_cache_requests: Callable[[], Mapping[tuple[str, str, str], int]] = dict
    # The same by endpoint host.
    token_cache_refused: Callable[[], Mapping[str, int]] = dict
    # ``None`` without an authorization port.
    http_authz: Callable[[], HttpAuthzCounts | None] = lambda: None
    # ``None`` without an audit log.
    audit: Callable[[], AuditCounts | None] = lambda: None


@final
@attrs.frozen
class Overview:
    """The counts since the start, as a few numbers; ``durations`` are those of decisions, by bucket of ``CHECK_BUCKETS`` and above.

    ``errors`` are the decisions whose result is ``system_error``.
    """

    decisions: Mapping[str, int]
    durations: tuple[int, ...]
    exchanges: int
    coalesced: int
    errors: int


@final
@attrs.define(eq=False)
class Metrics:
    """Counts, and is a collector in the sense of ``prometheus_client``. A series begins when its labels are first seen."""

    _version: str
    _gauges: Gauges
    _checks: dict[tuple[DecisionReason, Result], Histogram] = attrs.field(factory=dict, init=False)
    _abandoned: int = attrs.field(default=0, init=False)
    _exchanges: dict[Labels, Histogram] = attrs.field(factory=dict, init=False)
    # Those of successes again, by host and status.
    _successes: dict[tuple[str, int | None], Histogram] = attrs.field(factory=dict, init=False)
    _timeouts: dict[str, int] = attrs.field(factory=dict, init=False)
    _cancellations: dict[str, int] = attrs.field(factory=dict, init=False)
    _coalesced: dict[str, int] = attrs.field(factory=dict, init=False)
    _introspections: dict[Labels, Histogram] = attrs.field(factory=dict, init=False)
    _hosts: set[str] = attrs.field(factory=set, init=False)

    def decided(self, record: DecisionRecord, /) -> None:
        outcome = record.outcome
        key = (outcome.reason, outcome.result)
        series = self._checks.get(key)
        if series is None:
            series = self._checks[key] = Histogram(CHECK_BUCKETS)
        series.observe(record.duration)
        if isinstance(outcome, Deny) and outcome.reason is _EXCHANGE_ERROR:
            self._exchange_denied(record, outcome)

    def _exchange_denied(self, record: DecisionRecord, outcome: Deny) -> None:
        """Count what the pipeline does not report: callers that left, and exchanges that failed without a call."""
        kind, exchange = outcome.error_kind, record.exchange
        if exchange is not None and exchange.call is not None:
            return
        host = UNKNOWN_HOST if exchange is None else exchange.endpoint_host
        if kind is ErrorKind.CONTEXT_CANCELED and exchange is not None:
            # Calls that were given up do not show this: many requests may leave one call, or one of many that share it.
            self._abandoned += 1
        elif kind in _WITHOUT_CALL:
            self.exchanged(ExchangeRecord(host, kind, None, record.started, 0.0))

    def exchanged(self, record: ExchangeRecord, /) -> None:
        if record.introspects:
            self._introspected(record)
            return
        kind, seen = record.kind, (record.endpoint_host, record.http_status)
        series = None if kind is not None else self._successes.get(seen)
        if series is not None:
            series.observe(record.duration)
            return
        host = self._host(record.endpoint_host)
        labels = (
            host,
            "success" if kind is None else "failure",
            "none" if kind is None else kind.value,
            "none" if record.http_status is None else _STATUS_CLASSES.get(record.http_status // 100, "none"),
        )
        series = self._exchanges.get(labels)
        if series is None:
            series = self._exchanges[labels] = Histogram(EXCHANGE_BUCKETS)
        if kind is None and host is not OTHER_HOST:
            self._successes[seen] = series
        series.observe(record.duration)
        if kind is ErrorKind.TIMEOUT:
            _add_one(self._timeouts, host)
        elif kind is ErrorKind.CONTEXT_CANCELED:
            _add_one(self._cancellations, host)

    def _introspected(self, record: ExchangeRecord) -> None:
        kind = record.kind
        result = "active" if kind is None else "inactive" if kind is ErrorKind.SUBJECT_INACTIVE else "failure"
        labels = self._host(record.endpoint_host), result, "none" if kind is None else kind.value
        series = self._introspections.get(labels)
        if series is None:
            series = self._introspections[labels] = Histogram(EXCHANGE_BUCKETS)
        series.observe(record.duration)

    def coalesced(self, record: CoalescedRecord, /) -> None:
        _add_one(self._coalesced, self._host(record.endpoint_host))

    def overview(self) -> Overview:
        """Return the counts, as a few numbers."""
        decisions: dict[str, int] = {}
        cumulative = [0] * (len(CHECK_BUCKETS) + 1)
        errors = 0
        for (reason, result), series in self._checks.items():
            counts = series.cumulative()
            errors += counts[-1] if result is Result.SYSTEM_ERROR else 0
            decisions[reason.value] = decisions.get(reason.value, 0) + counts[-1]
            cumulative = [sum(pair) for pair in zip(cumulative, counts, strict=True)]
        return Overview(
            decisions=decisions,
            durations=tuple(count - before for count, before in zip(cumulative, (0, *cumulative), strict=False)),
            exchanges=sum(series.count for series in self._exchanges.values()),
            coalesced=sum(self._coalesced.values()),
            errors=errors,
        )

    def collect(self) -> Iterable[Metric]:
        """Return the current values of every metric."""
        gauges = self._gauges
        audit, http_authz = gauges.audit(), gauges.http_authz()
        checks: dict[Labels, Histogram] = {(reason.value, result.value): series for (reason, result), series in self._checks.items()}
        return (
            counter(
                "ext_authz_check_requests_total",
                "Requests answered, by decision and by whether it was a refusal or a failure.",
                _counts(checks),
                _DECISION,
            ),
            histogram(
                "ext_authz_check_duration_seconds",
                "Time from a request's arrival to its answer, token exchange included.",
                checks,
                CHECK_BUCKETS,
                _DECISION,
            ),
            counter(
                "ext_authz_check_abandoned_total",
                "Requests whose caller left during their token exchange; they also count as failed.",
                {(): self._abandoned},
            ),
            gauge("ext_authz_check_in_flight", "Requests waiting for an answer.", {(): gauges.check_in_flight()}),
            counter(
                "ext_authz_token_exchange_requests_total",
                "Token endpoint calls that finished, or were refused to protect the endpoint, by endpoint, outcome and HTTP status class.",
                _counts(self._exchanges),
                _EXCHANGE,
            ),
            histogram(
                "ext_authz_token_exchange_latency_seconds",
                "Duration of token endpoint calls, by endpoint, outcome and HTTP status class.",
                self._exchanges,
                EXCHANGE_BUCKETS,
                _EXCHANGE,
            ),
            histogram(
                "ext_authz_token_introspection_latency_seconds",
                "Duration of calls that ask an issuer whether a caller's token is active, by endpoint and outcome.",
                self._introspections,
                EXCHANGE_BUCKETS,
                _INTROSPECTION,
            ),
            counter("ext_authz_token_exchange_timeouts_total", "Token endpoint calls that timed out.", _by_host(self._timeouts), _HOST),
            counter(
                "ext_authz_token_exchange_context_cancellations_total",
                "Token endpoint calls abandoned because no request was waiting for them any more.",
                _by_host(self._cancellations),
                _HOST,
            ),
            counter(
                "ext_authz_token_exchange_coalesced_total",
                "Requests that shared the token endpoint call of an equal request.",
                _by_host(self._coalesced),
                _HOST,
            ),
            gauge(
                "ext_authz_token_exchange_in_flight",
                "Token endpoint calls in progress.",
                _by_host({host: 0 for host, *_ in self._exchanges} | dict(gauges.exchanges_in_flight())),
                _HOST,
            ),
            gauge(
                "ext_authz_token_endpoint_breaker_open",
                "1 while the breaker keeps a failing token endpoint from being called, 0 otherwise; absent without a breaker.",
                {(host,): int(is_open) for host, is_open in gauges.breakers_open().items()},
                _HOST,
            ),
            gauge(
                "ext_authz_token_endpoint_queued",
                "Exchanges queued because the issuer's concurrency limit is reached; absent without a limit.",
                _by_host(gauges.exchanges_queued()),
                _HOST,
            ),
            gauge(
                "ext_authz_token_endpoint_new_credentials_rejected",
                "1 while a token endpoint rejects a profile's new credentials and accepts the previous ones, 0 otherwise.",
                {labels: int(rejected) for labels, rejected in gauges.credentials_rejected().items()},
                _ISSUER,
            ),
            gauge(
                "ext_authz_issuer_profiles_rejected",
                "1 while the file of issuer profiles cannot be used, so that its previous version is active, 0 otherwise.",
                {(): int(gauges.issuer_profiles_rejected())},
            ),
            gauge(
                "ext_authz_issuer_values_missing",
                "Values that issuer profiles refer to in Secrets and files, and that are missing or cannot be used.",
                {(): gauges.issuer_values_missing()},
            ),
            counter(
                "ext_authz_token_cache_requests_total",
                "Look-ups in the token cache, by endpoint, level (memory, shared) and result.",
                self._cache_requests(),
                _CACHE,
            ),
            counter(
                "ext_authz_token_cache_rejected_total",
                "Tokens dropped from the cache because an upstream refused them.",
                self._cache_refused(),
                _HOST,
            ),
            gauge("ext_authz_token_cache_entries", "Exchanged tokens kept in memory.", {(): gauges.token_cache_entries()}),
            gauge(
                "ext_authz_token_cache_store_connected",
                "1 while the store that replicas share is in use, 0 while it is lost; absent without a store.",
                {} if (connected := gauges.token_cache_store_connected()) is None else {(): int(connected)},
            ),
            gauge("policy_entries", "Active policy entries.", {(): gauges.policy_entries()}),
            gauge(
                "policy_invalid_documents",
                "Policy documents with invalid parts, which fail closed.",
                {(): gauges.policy_invalid_documents()},
            ),
            gauge(
                "policy_entries_not_granted",
                "Policy entries outside what their namespaces are granted.",
                {(): gauges.policy_entries_not_granted()},
            ),
            gauge(
                "policy_snapshot_age_seconds",
                "Seconds since the active policy was last known to be current; absent before the first policy.",
                {} if (age := gauges.policy_snapshot_age()) is None else {(): age},
            ),
            gauge(
                "policy_source_connected",
                "1 while policy changes are followed, 0 while the policy source cannot be reached.",
                {(): int(gauges.policy_source_connected())},
            ),
            gauge(
                "policy_namespace_unreadable",
                "1 for a Namespace followed by name that may not be read, 0 for one that may.",
                {(name,): int(unreadable) for name, unreadable in gauges.policy_namespaces_unreadable().items()},
                _NAMESPACE,
            ),
            gauge(
                "policy_unreadable_objects",
                "Files and objects (folder, manifests, grants, names of Namespaces, keys) that cannot be read as they are now.",
                {(): gauges.policy_unreadable_objects()},
            ),
            gauge(
                "ext_authz_config_without_effect",
                "Environment variables that are set without effect: misspelt, empty, or useless beside the others.",
                {(): gauges.config_without_effect()},
            ),
            gauge(
                "ext_authz_tls_certificate_expiry_timestamp_seconds",
                "Expiry of the certificate that new TLS connections get, the first of several, in seconds since 1970; absent without TLS.",
                {} if (expiry := gauges.tls_certificate_expiry()) is None else {(): expiry},
            ),
            gauge(
                "ext_authz_tls_certificate_rejected",
                "1 while changed certificate files cannot be used, so that the previous certificate is, 0 otherwise; absent without TLS.",
                {} if (rejected := gauges.tls_certificate_rejected()) is None else {(): int(rejected)},
            ),
            gauge("ext_authz_grpc_connections", "Open connections of gateways and other callers.", {(): gauges.grpc_connections()}),
            counter(
                "ext_authz_grpc_connections_refused_total",
                "Connections refused for lack of room or of file descriptors.",
                {(): gauges.grpc_connections_refused()},
            ),
            gauge(
                "ext_authz_http_connections",
                "Open connections of gateways that ask over HTTP; absent without that port.",
                {} if http_authz is None else {(): http_authz.connections},
            ),
            counter(
                "ext_authz_http_connections_ended_total",
                "Connections of gateways that ask over HTTP that found no room, or were closed to make room; absent without that port.",
                {} if http_authz is None else {(): http_authz.ended},
            ),
            counter(
                "ext_authz_http_unauthorized_total",
                "Questions over HTTP that were refused because they lacked the gateway's secret; absent without that port.",
                {} if http_authz is None else {(): http_authz.unauthorized},
            ),
            counter("log_lines_dropped_total", "Log lines dropped instead of written.", {(): gauges.log_lines_dropped()}),
            counter(
                "ext_authz_audit_lines_total",
                "Lines written to the audit log; absent without one.",
                {} if audit is None else {(): audit.written},
            ),
            counter(
                "ext_authz_audit_lines_lost_total",
                "Lines of the audit log that could not be written and are lost; absent without one.",
                {} if audit is None else {(): audit.lost},
            ),
            gauge(
                "ext_authz_audit_unwritable",
                "1 while the audit log cannot be written, 0 otherwise; absent without one.",
                {} if audit is None else {(): int(audit.broken)},
            ),
            gauge("exchanger_build_info", "Always 1; the version is in the label.", {(self._version,): 1}, ("version",)),
        )

    def _cache_requests(self) -> dict[Labels, int]:
        return _summed(
            ((self._host(host), level, result), count) for (host, level, result), count in self._gauges.token_cache_requests().items()
        )

    def _cache_refused(self) -> dict[Labels, int]:
        return _summed(((self._host(host),), count) for host, count in self._gauges.token_cache_refused().items())

    def _host(self, host: str) -> str:
        if host not in self._hosts:
            if len(self._hosts) >= MAX_HOSTS:
                return OTHER_HOST
            self._hosts.add(host)
        return host


def _summed(found: Iterable[tuple[Labels, int]]) -> dict[Labels, int]:
    counts: dict[Labels, int] = {}
    for labels, count in found:
        counts[labels] = counts.get(labels, 0) + count
    return counts


def _add_one(counts: dict[str, int], host: str) -> None:
    counts[host] = counts.get(host, 0) + 1


def _by_host(counts: Mapping[str, int]) -> dict[Labels, int]:
    return {(host,): count for host, count in counts.items()}


def _counts(series: Mapping[Labels, Histogram]) -> dict[Labels, int]:
    return {labels: one.count for labels, one in series.items()}
