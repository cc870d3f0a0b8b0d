"""What the service exports, asked of the exporter itself after it has seen everything that can happen."""

from collections import defaultdict
from functools import cache
from typing import Final

import attrs
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from exchanger.authz.audit.log import AuditCounts
from exchanger.authz.decision.outcome import Allow, DecisionReason, Deny, Result
from exchanger.model.token import CoalescedRecord, ErrorKind, ExchangeRecord
from exchanger.model.trace import NO_TRACE
from exchanger.operations.telemetry.metrics import Gauges, HttpAuthzCounts, Metrics
from exchanger.operations.telemetry.metrics_server import Exposed
from tests.operations.telemetry.records import record

HOST: Final = "issuer.example.com"
STATUSES: Final = (None, 200, 302, 401, 503)
# Labels whose values operators choose, or that are bounds.
OPEN: Final = frozenset({"endpoint_host", "issuer", "policy_namespace", "version", "le"})


@attrs.frozen
class Series:
    """The series of one name: its labels, and the values that each can have."""

    values: dict[str, frozenset[str]]


@cache
def exported() -> dict[str, Series]:
    """Return every series by the name that queries use."""
    found: dict[str, dict[str, set[str]]] = {}
    for family in text_string_to_metric_families(generate_latest(Exposed(_everything())).decode()):
        for sample in family.samples:
            labels = found.setdefault(sample.name, defaultdict(set))
            for label, value in sample.labels.items():
                labels[label].add(value)
    return {name: Series({label: frozenset(values) for label, values in labels.items()}) for name, labels in found.items()}


def _everything() -> Metrics:
    metrics = Metrics(
        "1.2.3",
        Gauges(
            check_in_flight=lambda: 1,
            exchanges_in_flight=lambda: {HOST: 1},
            policy_entries=lambda: 1,
            policy_invalid_documents=lambda: 0,
            policy_entries_not_granted=lambda: 0,
            policy_snapshot_age=lambda: 0.0,
            policy_source_connected=lambda: True,
            policy_namespaces_unreadable=lambda: {"team-a": False, "team-b": True},
            breakers_open=lambda: {HOST: True},
            exchanges_queued=lambda: {HOST: 1},
            credentials_rejected=lambda: {("primary", HOST): True},
            log_lines_dropped=lambda: 0,
            http_authz=lambda: HttpAuthzCounts(1, 0, 0),
            audit=lambda: AuditCounts(1, 0, False),
            tls_certificate_expiry=lambda: 1,
            tls_certificate_rejected=lambda: False,
            grpc_connections=lambda: 1,
            grpc_connections_refused=lambda: 0,
            token_cache_entries=lambda: 1,
            token_cache_store_connected=lambda: True,
            token_cache_refused=lambda: {HOST: 1},
            token_cache_requests=lambda: {
                (HOST, level, result): 1 for level in ("memory", "shared") for result in ("hit", "miss", "error")
            },
        ),
    )
    statuses = {Result.AUTH_DENIED: 403, Result.SYSTEM_ERROR: 500}
    for reason in DecisionReason:
        for result in Result:
            metrics.decided(record(Allow(reason) if result is Result.ALLOWED else Deny(reason, statuses[result], "")))
    for kind in (None, *ErrorKind):
        for status in STATUSES:
            metrics.exchanged(ExchangeRecord(HOST, kind, status, 0.0, 0.1))
            metrics.exchanged(ExchangeRecord(HOST, kind, status, 0.0, 0.1, introspects=True))
    metrics.coalesced(CoalescedRecord(HOST, NO_TRACE, NO_TRACE))
    return metrics
