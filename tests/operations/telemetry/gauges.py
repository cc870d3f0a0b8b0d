"""What is read at a scrape, as of a service that has nothing yet, and as of one that has something of everything."""

from exchanger.authz.audit.log import AuditCounts
from exchanger.operations.telemetry.metrics import Gauges, HttpAuthzCounts

# Seconds since 1970; more than 32 bits with a sign can hold.
EXPIRY = 2_556_154_645
NOTHING = Gauges(
    check_in_flight=lambda: 0,
    exchanges_in_flight=dict,
    policy_entries=lambda: 0,
    policy_invalid_documents=lambda: 0,
    policy_entries_not_granted=lambda: 0,
    policy_snapshot_age=lambda: None,
    policy_source_connected=lambda: False,
    log_lines_dropped=lambda: 0,
    tls_certificate_expiry=lambda: None,
    grpc_connections=lambda: 0,
    grpc_connections_refused=lambda: 0,
)
SOMETHING = Gauges(
    check_in_flight=lambda: 7,
    exchanges_in_flight=lambda: {"h": 2},
    policy_entries=lambda: 10,
    policy_invalid_documents=lambda: 2,
    policy_entries_not_granted=lambda: 3,
    policy_snapshot_age=lambda: 1.5,
    policy_source_connected=lambda: True,
    policy_namespaces_unreadable=lambda: {"one": False, "two": True},
    breakers_open=lambda: {"h": False, "down.example.com": True},
    exchanges_queued=lambda: {"h": 9},
    credentials_rejected=lambda: {("primary", "h"): True},
    log_lines_dropped=lambda: 3,
    tls_certificate_expiry=lambda: EXPIRY,
    tls_certificate_rejected=lambda: True,
    issuer_profiles_rejected=lambda: True,
    issuer_values_missing=lambda: 15,
    grpc_connections=lambda: 5,
    grpc_connections_refused=lambda: 6,
    http_authz=lambda: HttpAuthzCounts(12, 13, 14),
    audit=lambda: AuditCounts(11, 4, True),
    token_cache_entries=lambda: 8,
    token_cache_store_connected=lambda: False,
    policy_unreadable_objects=lambda: 16,
    config_without_effect=lambda: 17,
    token_cache_requests=lambda: {("h", "memory", "hit"): 9, ("h", "shared", "error"): 1},
    token_cache_refused=lambda: {"h": 4},
)
