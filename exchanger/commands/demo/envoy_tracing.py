"""The part of the gateway's configuration that makes spans: OpenTelemetry's tracer, and the collector it sends to.

Source: https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/trace/v3/opentelemetry.proto
"""

import ssl
from collections.abc import Mapping
from typing import Final

from exchanger.commands.demo import DemoError
from exchanger.operations.telemetry.otlp.settings import Protocol, Target
from exchanger.util.address import tls_server_name

SERVICE_NAME: Final = "gateway"
COLLECTOR: Final = "collector"
# Milliseconds and spans: somebody waits for a trace, and there are few.
EXPORT_SOON: Final[Mapping[str, int]] = {"tracing.opentelemetry.flush_interval_ms": 500, "tracing.opentelemetry.min_flush_spans": 1}

_TYPE: Final = "type.googleapis.com/"
_TRACER: Final = "envoy.config.trace.v3.OpenTelemetryConfig"
_TLS: Final = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
_HTTP: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def tracing(target: Target) -> dict[str, object]:
    """Return the connection manager's tracing: every request has a span, unless its caller says that the trace is not recorded."""
    headers = [(name, value.reveal()) for name, value in target.headers]
    scheme, timeout = "https" if target.secure else "http", f"{target.timeout:g}s"
    if target.protocol is Protocol.GRPC:
        collector: dict[str, object] = {
            "grpc_service": {
                "envoy_grpc": {"cluster_name": COLLECTOR, "authority": target.authority},
                "timeout": timeout,
                "initial_metadata": [{"key": name.lower(), "value": value} for name, value in headers],
            }
        }
    else:
        collector = {
            "http_service": {
                "http_uri": {"uri": f"{scheme}://{target.authority}{target.path}", "cluster": COLLECTOR, "timeout": timeout},
                "request_headers_to_add": [{"header": {"key": name, "value": value}} for name, value in headers],
            }
        }
    config = {"@type": f"{_TYPE}{_TRACER}", **collector, "service_name": SERVICE_NAME}
    # A span for the request to the upstream, in addition to the one for the client's request.
    return {"provider": {"name": "envoy.tracers.opentelemetry", "typed_config": config}, "spawn_upstream_span": True}


def collector_cluster(target: Target) -> dict[str, object]:
    """Return the cluster with the collector.

    Raises:
        DemoError: it needs TLS, and this machine has no file with certificates to trust.
    """
    address = {"socket_address": {"address": target.host, "port_value": target.port}}
    http = "http2_protocol_options" if target.protocol is Protocol.GRPC else "http_protocol_options"
    cluster: dict[str, object] = {
        "name": COLLECTOR,
        "type": "STRICT_DNS",
        "connect_timeout": "2s",
        "load_assignment": {"cluster_name": COLLECTOR, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]},
        "typed_extension_protocol_options": {_HTTP: {"@type": f"{_TYPE}{_HTTP}", "explicit_http_config": {http: {}}}},
    }
    if target.secure:
        cluster["transport_socket"] = {"name": "envoy.transport_sockets.tls", "typed_config": _tls(target)}
    return cluster


def _tls(target: Target) -> dict[str, object]:
    trusted = target.ca_file or ssl.get_default_verify_paths().cafile
    if trusted is None:
        raise DemoError("Envoy needs to know which certificates to trust: name a file in OTEL_EXPORTER_OTLP_CERTIFICATE")
    name = tls_server_name(target.host)
    kinds = ("DNS", "IP_ADDRESS")  # a collector may be addressed by either
    names = [{"san_type": kind, "matcher": {"exact": name}} for kind in kinds]
    common: dict[str, object] = {"validation_context": {"trusted_ca": {"filename": str(trusted)}, "match_typed_subject_alt_names": names}}
    if target.client_cert_file is not None:
        key_file = target.client_key_file or target.client_cert_file
        files = {"certificate_chain": {"filename": str(target.client_cert_file)}, "private_key": {"filename": str(key_file)}}
        common["tls_certificates"] = [files]
    return {"@type": f"{_TYPE}{_TLS}", "sni": name, "common_tls_context": common}
