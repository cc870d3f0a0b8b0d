"""The numbers of the service: one machine that counts decisions and token exchanges, and tells them to whoever scrapes.

Names, labels and buckets are an interface that dashboards rely on. A label is one of a closed set or comes from operators; nothing of a
request ever becomes one. A decision costs well under a microsecond here, so there are no metric objects on its way, only numbers.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, final

import attrs
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from exchanger.decision.outcome import DecisionRecord, Deny, Reason, Result
from exchanger.errors import Diagnostic
from exchanger.telemetry.histogram import Histogram
from exchanger.values.token import CoalescedRecord, ErrorKind, ExchangeRecord

CHECK_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5)
"""Seconds; from an answer without exchange to a token endpoint at its slowest."""
EXCHANGE_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0)
"""Seconds; a token endpoint call is a round trip at least."""
MAX_HOSTS: Final = 256
"""Token endpoints counted by name. Operators name a handful; the bound is for mistakes elsewhere, the rest is counted as OTHER_HOST."""
OTHER_HOST: Final = "other"
UNKNOWN_HOST: Final = "unknown"
"""The endpoint of an exchange whose issuer profile is not there."""

_DECISION: Final = ("decision", "result")
_EXCHANGE: Final = ("endpoint_host", "result", "error_kind", "http_status_class")
_HOST: Final = ("endpoint_host",)
_NAMESPACE: Final = ("policy_namespace",)
"""Not ``namespace``, which Prometheus takes for the one that the instance is in. There are as many as operators name."""
_STATUS_CLASSES: Final = {status: f"{status}xx" for status in range(2, 6)}

Labels = tuple[str, ...]


@final
@attrs.frozen
class MetricsSettings:
    """METRICS_ENABLED, METRICS_PORT and METRICS_PATH. ``host`` ``None`` is every interface; ``port`` 0 is any free one."""

    enabled: bool = False
    host: str | None = None
    port: int = 3002
    path: str = "/metrics"


@final
@attrs.frozen
class Gauges:
    """What is not counted here but read where it is kept, at the moment of a scrape."""

    check_in_flight: Callable[[], int]
    exchanges_in_flight: Callable[[], Mapping[str, int]]
    policy_entries: Callable[[], int]
    policy_invalid_documents: Callable[[], int]
    policy_snapshot_age: Callable[[], float | None]
    policy_source_connected: Callable[[], bool]
    log_lines_dropped: Callable[[], int]
    tls_certificate_expiry: Callable[[], int | None]
    grpc_connections: Callable[[], int]
    grpc_connections_refused: Callable[[], int]
    policy_namespaces_unreadable: Callable[[], Mapping[str, bool]] = dict


@final
@attrs.frozen
class MetricsStatistics:
    """How many decisions and token endpoint calls there were, and how many series they are counted in."""

    decisions: int
    exchanges: int
    series: int


@final
@attrs.frozen
class Overview:
    """What was counted since the start, in few numbers; ``durations`` are those of decisions, by bucket of ``CHECK_BUCKETS`` and beyond."""

    decisions: Mapping[str, int]
    durations: tuple[int, ...]
    exchanges: int
    coalesced: int


@final
@attrs.define(eq=False)
class Metrics:
    """Counts, and is a collector in the sense of ``prometheus_client``. A series begins when its labels are first seen."""

    _version: str
    _gauges: Gauges
    _checks: dict[tuple[Reason, Result], Histogram] = attrs.field(factory=dict, init=False)
    _abandoned: int = attrs.field(default=0, init=False)
    _exchanges: dict[Labels, Histogram] = attrs.field(factory=dict, init=False)
    _timeouts: dict[str, int] = attrs.field(factory=dict, init=False)
    _cancellations: dict[str, int] = attrs.field(factory=dict, init=False)
    _coalesced: dict[str, int] = attrs.field(factory=dict, init=False)
    _hosts: set[str] = attrs.field(factory=set, init=False)

    def decided(self, record: DecisionRecord, /) -> None:
        """See ``typing.DecisionObserver``."""
        outcome = record.outcome
        key = (outcome.reason, outcome.result)
        series = self._checks.get(key)
        if series is None:
            series = self._checks[key] = Histogram(CHECK_BUCKETS)
        series.observe(record.duration)
        if record.exchange is not None and record.exchange.call is None:
            # Not to be told from calls that were given up: many requests may leave one call, or one of many that share it.
            self._abandoned += 1
        if isinstance(outcome, Deny) and outcome.diagnostic is Diagnostic.UNKNOWN_ISSUER:
            # An exchange that failed before there was anybody to call, so that no token client tells of it.
            self.exchanged(ExchangeRecord(UNKNOWN_HOST, ErrorKind.UNKNOWN_ISSUER_PROFILE, None, record.started, 0.0))

    def exchanged(self, record: ExchangeRecord, /) -> None:
        """See ``typing.ExchangeObserver``."""
        host = self._host(record.endpoint_host)
        kind = record.kind
        labels = (
            host,
            "success" if kind is None else "failure",
            "none" if kind is None else kind.value,
            "none" if record.http_status is None else _STATUS_CLASSES.get(record.http_status // 100, "none"),
        )
        series = self._exchanges.get(labels)
        if series is None:
            series = self._exchanges[labels] = Histogram(EXCHANGE_BUCKETS)
        series.observe(record.duration)
        if kind is ErrorKind.TIMEOUT:
            _add_one(self._timeouts, host)
        elif kind is ErrorKind.CONTEXT_CANCELED:
            _add_one(self._cancellations, host)

    def coalesced(self, record: CoalescedRecord, /) -> None:
        """See ``typing.ExchangeObserver``."""
        _add_one(self._coalesced, self._host(record.endpoint_host))

    def statistics(self) -> MetricsStatistics:
        """Tell how much was counted."""
        return MetricsStatistics(
            decisions=sum(series.count for series in self._checks.values()),
            exchanges=sum(series.count for series in self._exchanges.values()),
            series=len(self._checks) + len(self._exchanges),
        )

    def overview(self) -> Overview:
        """Return what was counted, in a few numbers."""
        decisions: dict[str, int] = {}
        cumulative = [0] * (len(CHECK_BUCKETS) + 1)
        for (reason, _), series in self._checks.items():
            counts = series.statistics().cumulative
            decisions[reason.value] = decisions.get(reason.value, 0) + counts[-1]
            cumulative = [sum(pair) for pair in zip(cumulative, counts, strict=True)]
        return Overview(
            decisions=decisions,
            durations=tuple(count - before for count, before in zip(cumulative, (0, *cumulative), strict=False)),
            exchanges=sum(series.count for series in self._exchanges.values()),
            coalesced=sum(self._coalesced.values()),
        )

    def collect(self) -> Iterable[Metric]:
        """Return every metric as it is now."""
        checks: dict[Labels, Histogram] = {(reason.value, result.value): series for (reason, result), series in self._checks.items()}
        return (
            _counter(
                "ext_authz_check_requests_total",
                "Requests answered, by what was decided and by whether that was a refusal or a failure.",
                _DECISION,
                _counts(checks),
            ),
            _histogram(
                "ext_authz_check_duration_seconds",
                "Time from a request's arrival to its answer, token exchange included.",
                _DECISION,
                checks,
                CHECK_BUCKETS,
            ),
            _counter(
                "ext_authz_check_abandoned_total",
                "Requests whose caller left while their token exchange was under way; they are among the failed ones, too.",
                (),
                {(): self._abandoned},
            ),
            _gauge("ext_authz_check_in_flight", "Requests that wait for their answer.", (), {(): self._gauges.check_in_flight()}),
            _counter(
                "ext_authz_token_exchange_requests_total",
                "Token endpoint calls that ended, by endpoint, outcome and HTTP status class.",
                _EXCHANGE,
                _counts(self._exchanges),
            ),
            _histogram(
                "ext_authz_token_exchange_latency_seconds",
                "Duration of token endpoint calls, by endpoint, outcome and HTTP status class.",
                _EXCHANGE,
                self._exchanges,
                EXCHANGE_BUCKETS,
            ),
            _counter(
                "ext_authz_token_exchange_timeouts_total", "Token endpoint calls that took too long.", _HOST, _by_host(self._timeouts)
            ),
            _counter(
                "ext_authz_token_exchange_context_cancellations_total",
                "Token endpoint calls that were given up because nobody waited for them any more.",
                _HOST,
                _by_host(self._cancellations),
            ),
            _counter(
                "ext_authz_token_exchange_coalesced_total",
                "Requests that shared a token endpoint call of an equal request.",
                _HOST,
                _by_host(self._coalesced),
            ),
            _gauge(
                "ext_authz_token_exchange_in_flight",
                "Token endpoint calls under way.",
                _HOST,
                _by_host({host: 0 for host, *_ in self._exchanges} | dict(self._gauges.exchanges_in_flight())),
            ),
            _gauge("policy_entries", "Policy entries in force.", (), {(): self._gauges.policy_entries()}),
            _gauge(
                "policy_invalid_documents",
                "Policy documents with parts that cannot be read and fail closed.",
                (),
                {(): self._gauges.policy_invalid_documents()},
            ),
            _gauge(
                "policy_snapshot_age_seconds",
                "Seconds since the policy in force was last known to be current; nothing before there is one.",
                (),
                {} if (age := self._gauges.policy_snapshot_age()) is None else {(): age},
            ),
            _gauge(
                "policy_source_connected",
                "1 while changes of policy are followed, 0 while their source cannot be reached.",
                (),
                {(): int(self._gauges.policy_source_connected())},
            ),
            _gauge(
                "policy_namespace_unreadable",
                "1 for a Namespace that is followed by its name and may not be read, 0 for one that may.",
                _NAMESPACE,
                {(name,): int(unreadable) for name, unreadable in self._gauges.policy_namespaces_unreadable().items()},
            ),
            _gauge(
                "ext_authz_tls_certificate_expiry_timestamp_seconds",
                "When the certificate that new TLS connections get expires, in seconds since 1970; nothing without TLS.",
                (),
                {} if (expiry := self._gauges.tls_certificate_expiry()) is None else {(): expiry},
            ),
            _gauge("ext_authz_grpc_connections", "Connections of gateways and other callers.", (), {(): self._gauges.grpc_connections()}),
            _counter(
                "ext_authz_grpc_connections_refused_total",
                "Connections that found no room, or no file descriptor.",
                (),
                {(): self._gauges.grpc_connections_refused()},
            ),
            _counter("log_lines_dropped_total", "Log lines that were not written.", (), {(): self._gauges.log_lines_dropped()}),
            _gauge("exchanger_build_info", "Always 1; the version is in the label.", ("version",), {(self._version,): 1}),
        )

    def _host(self, host: str) -> str:
        if host not in self._hosts:
            if len(self._hosts) >= MAX_HOSTS:
                return OTHER_HOST
            self._hosts.add(host)
        return host


def _add_one(counts: dict[str, int], host: str) -> None:
    counts[host] = counts.get(host, 0) + 1


def _by_host(counts: Mapping[str, int]) -> dict[Labels, int]:
    return {(host,): count for host, count in counts.items()}


def _counts(series: Mapping[Labels, Histogram]) -> dict[Labels, int]:
    return {labels: histogram.count for labels, histogram in series.items()}


def _counter(name: str, documentation: str, labels: Labels, values: Mapping[Labels, int]) -> Metric:
    family = CounterMetricFamily(name, documentation, labels=labels)
    for of, value in values.items():
        family.add_metric(of, value)
    return family


def _gauge(name: str, documentation: str, labels: Labels, values: Mapping[Labels, float]) -> Metric:
    family = GaugeMetricFamily(name, documentation, labels=labels)
    for of, value in values.items():
        family.add_metric(of, value)
    return family


def _histogram(name: str, documentation: str, labels: Labels, series: Mapping[Labels, Histogram], bounds: tuple[float, ...]) -> Metric:
    texts = (*(f"{bound:g}" for bound in bounds), "+Inf")
    family = HistogramMetricFamily(name, documentation, labels=labels)
    for of, histogram in series.items():
        statistics = histogram.statistics()
        family.add_metric(of, tuple(zip(texts, statistics.cumulative, strict=True)), statistics.total)
    return family
