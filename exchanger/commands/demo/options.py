"""The options of ``exchanger demo``."""

import argparse
import enum
from pathlib import Path
from typing import final

import attrs

from exchanger.commands.demo.envoy import FilterMode
from exchanger.commands.demo.gateways.kinds import GatewayKind
from exchanger.commands.demo.keycloak.realm import KeycloakAddress, read_address
from exchanger.commands.scenarios.options import GatewayEndpoint, read_base_url, read_ip, read_seconds
from exchanger.net.http.names import is_loopback

START_TIMEOUT = 30.0  # seconds until everything must work; a loaded machine takes five
MAX_PORT = 65_535


@enum.unique
class ScenarioSet(enum.Enum):
    """Which scenarios are shown; the value is the option's."""

    DEMO = "demo"
    REFERENCE = "reference"


@final
@attrs.frozen
class DemoOptions:
    """Ports are on the loopback address, 0 for a free one; ``start_timeout`` is in seconds."""

    check: bool = False
    mode: FilterMode = FilterMode.EXT_AUTHZ
    envoy_port: int = 0
    grpc_port: int = 0
    metrics_port: int = 0
    token_port: int = 0
    upstream_port: int = 0
    console_port: int = 0
    keycloak: KeycloakAddress | None = None
    keycloak_admin_password_file: Path | None = None
    start_timeout: float = START_TIMEOUT
    scenarios: ScenarioSet = ScenarioSet.DEMO
    gateway: GatewayEndpoint | None = None
    console: GatewayEndpoint | None = None
    console_token_file: Path | None = None
    resolve: str = ""
    ca_file: Path | None = None
    file: Path | None = None
    token_file: Path | None = None
    token_env: str = ""
    gateway_kind: GatewayKind = GatewayKind.ENVOY

    def problems(self) -> tuple[str, ...]:
        """Return which options do not go together, in words."""
        defaults = DemoOptions()
        own, remote = ((name for name in names if getattr(self, name) != getattr(defaults, name)) for names in (_OWN, _REMOTE))
        if self.gateway is None:
            return tuple(f"{_flag(name)} requires --gateway" for name in remote) or (*self._kind_problems(), *self._keycloak_problems())
        return (*(f"{_flag(name)} applies to the demo's own gateway, not to --gateway" for name in own), *self._remote_problems())

    def _remote_problems(self) -> tuple[str, ...]:
        found = []
        if self.file is not None and self.scenarios is not ScenarioSet.DEMO:
            found.append("--file and --scenarios are mutually exclusive")
        if self.token_file is not None and self.token_env:
            found.append("--token-file and --token-env are mutually exclusive")
        secured = [endpoint for endpoint in (self.gateway, self.console) if endpoint is not None and endpoint.secured]
        if self.ca_file is not None and not secured:
            found.append("--ca-file is for a gateway or a console with https")
        if self.console_token_file is not None:
            if self.console is None:
                found.append("--console-token-file requires --console")
            elif not self.console.secured and not is_loopback(self.console.host):
                found.append("the console's token is sent only over https, or to this machine")
        return tuple(found)

    def _kind_problems(self) -> tuple[str, ...]:
        by_http = self.gateway_kind is not GatewayKind.ENVOY and self.mode is not FilterMode.EXT_AUTHZ
        return (f"--mode is about Envoy's gRPC filters; --gateway-kind {self.gateway_kind.value} asks over HTTP",) if by_http else ()

    def _keycloak_problems(self) -> tuple[str, ...]:
        if self.keycloak_admin_password_file is None:
            return ()
        if self.keycloak is None:
            return ("--keycloak-admin-password-file requires --keycloak",)
        exposed = not self.keycloak.secured and not self.keycloak.on_this_machine
        return ("the administrator's password is sent only over https, or to this machine",) if exposed else ()


# The options for a gateway that the demo starts, and those for an existing one.
_OWN = (
    *("gateway_kind", "mode", "envoy_port", "grpc_port", "metrics_port", "token_port", "upstream_port"),
    *("keycloak", "keycloak_admin_password_file", "start_timeout"),
)
_REMOTE = ("console", "console_token_file", "resolve", "ca_file", "file", "token_file", "token_env")

_PORTS = (
    ("--envoy-port", "port of the gateway"),
    ("--grpc-port", "port of the service"),
    ("--metrics-port", "port of the service's metrics"),
    ("--token-port", "port of the fake token endpoint"),
    ("--upstream-port", "port of the upstream"),
    ("--console-port", "port of the console (open it in a browser)"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the demo's options to ``parser``."""
    parser.add_argument("--check", action="store_true", help="run all scenarios, print the results, and exit with 0 or 1")
    parser.add_argument(
        "--gateway-kind",
        type=_gateway_kind,
        default=GatewayKind.ENVOY,
        metavar="|".join(kind.value for kind in GatewayKind),
        help=f"the gateway to start (default: {GatewayKind.ENVOY.value}); all others ask over HTTP, with the configuration of their guide",
    )
    parser.add_argument(
        "--mode",
        type=_mode,
        default=FilterMode.EXT_AUTHZ,
        metavar="|".join(mode.value for mode in FilterMode),
        help=f"Envoy's filter (default: {FilterMode.EXT_AUTHZ.value})",
    )
    parser.add_argument(
        "--scenarios",
        type=_scenarios,
        default=ScenarioSet.DEMO,
        metavar="|".join(choice.value for choice in ScenarioSet),
        help="the demo's own scenarios (default), or the Go project's, with its hosts and policies",
    )
    for flag, text in _PORTS:
        parser.add_argument(flag, type=_port, default=0, metavar="PORT", help=f"{text} (default: a free one)")
    parser.add_argument("--keycloak", type=_keycloak, metavar="URL", help="use a Keycloak instead of the fake token endpoint")
    parser.add_argument(
        "--keycloak-admin-password-file",
        type=Path,
        metavar="FILE",
        help="password of Keycloak's user admin, to create the demo's realm if it does not exist",
    )
    parser.add_argument(
        "--start-timeout",
        type=read_seconds,
        default=START_TIMEOUT,
        metavar="SECONDS",
        help="time limit for startup (default: %(default)g)",
    )

    remote = parser.add_argument_group("against an existing gateway")
    remote.add_argument("--gateway", type=read_base_url, metavar="URL", help="use this gateway instead of starting one")
    remote.add_argument("--console", type=read_base_url, metavar="URL", help="the console of the service behind it")
    remote.add_argument("--console-token-file", type=Path, metavar="FILE", help="that console's token")
    remote.add_argument("--resolve", type=read_ip, metavar="IP", help="address of the gateway, instead of resolving its host")
    remote.add_argument("--ca-file", type=Path, metavar="FILE", help="CA certificates to trust, in PEM")
    remote.add_argument("--file", type=Path, metavar="FILE", help="your own scenarios")
    remote.add_argument("--token-file", type=Path, metavar="FILE", help="your own bearer token (default: the demo's made-up tokens)")
    remote.add_argument("--token-env", default="", metavar="NAME", help="the same, from an environment variable")


def options_of(namespace: argparse.Namespace) -> DemoOptions:
    """Return the options that ``parser`` has read."""
    options = {field.name: getattr(namespace, field.name) for field in attrs.fields(DemoOptions)}
    return DemoOptions(**{**options, "resolve": namespace.resolve or ""})


def _keycloak(text: str) -> KeycloakAddress:
    address = read_address(text)
    if address is None:  # it is not repeated: it may hold credentials
        raise argparse.ArgumentTypeError("must be a URL such as http://127.0.0.1:8080, without credentials or query")
    return address


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _mode(text: str) -> FilterMode:
    try:
        return FilterMode(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither {' nor '.join(mode.value for mode in FilterMode)}") from None


def _gateway_kind(text: str) -> GatewayKind:
    try:
        return GatewayKind(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither {' nor '.join(kind.value for kind in GatewayKind)}") from None


def _scenarios(text: str) -> ScenarioSet:
    try:
        return ScenarioSet(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither {' nor '.join(choice.value for choice in ScenarioSet)}") from None


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= MAX_PORT):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 0 to {MAX_PORT}")
    return int(text)
