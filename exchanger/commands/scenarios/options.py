"""The options of ``exchanger scenarios``."""

import argparse
import ipaddress
import math
from pathlib import Path
from typing import Final, final
from urllib.parse import SplitResult, urlsplit

import attrs

from exchanger.commands.scenarios.target import REQUEST_TIMEOUT
from exchanger.util.address import format_address

_PORTS: Final = {"http": 80, "https": 443}
_STATS_PATHS: Final = frozenset({"", "/", "/stats"})


@final
@attrs.frozen
class GatewayEndpoint:
    """Scheme, host and port of a URL."""

    secured: bool
    host: str
    port: int

    def __str__(self) -> str:
        """Return it as a URL."""
        return f"{'https' if self.secured else 'http'}://{format_address(self.host, self.port)}"

    @property
    def base_url(self) -> str:
        """The URL as people write it: without the scheme's own port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        scheme = "https" if self.secured else "http"
        return f"{scheme}://{host}" if self.port == _PORTS[scheme] else str(self)


@final
@attrs.frozen
class ScenariosOptions:
    """``timeout`` is in seconds, for one request. ``only`` are names; without any, all scenarios are run."""

    base_url: GatewayEndpoint | None = None
    resolve: str = ""
    file: Path | None = None
    token_file: Path | None = None
    token_env: str = ""
    only: tuple[str, ...] = ()
    list: bool = False
    json: bool = False
    timeout: float = REQUEST_TIMEOUT
    ca_file: Path | None = None
    stats_url: GatewayEndpoint | None = None
    namespace_prefix: str = ""
    system_namespace: str = ""

    def problems(self) -> tuple[str, ...]:
        """Return which options do not go together, in words."""
        found = []
        if self.base_url is None and not self.list:
            found.append("--base-url is required: where the gateway is")
        if self.ca_file is not None and self.base_url is not None and not self.base_url.secured:
            found.append("--ca-file is for a gateway with https")
        return tuple(found)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options to ``parser``."""
    parser.add_argument("--base-url", type=read_base_url, metavar="URL", help="URL of the gateway, for example https://gateway.example.com")
    parser.add_argument("--resolve", type=read_ip, metavar="IP", help="connect to this address instead of resolving the URL's host")
    parser.add_argument("--ca-file", type=Path, metavar="FILE", help="CA certificates to trust, in PEM")
    parser.add_argument("--file", "--config", type=Path, metavar="FILE", help="your own scenarios (default: the demo's)")
    parser.add_argument("--only", nargs="+", default=(), metavar="NAME", help="run only these, in the order of the file")
    parser.add_argument("--list", action="store_true", help="list the scenarios without running them")
    token = parser.add_mutually_exclusive_group()
    token.add_argument("--token-file", type=Path, metavar="FILE", help="your own bearer token (default: the demo's made-up tokens)")
    token.add_argument("--token-env", default="", metavar="NAME", help="the same, from an environment variable")
    parser.add_argument(
        "--stats-url", type=_stats_url, metavar="URL", help="statistics of the demo's token endpoint, to count token requests"
    )
    parser.add_argument(
        "--timeout",
        type=read_seconds,
        default=REQUEST_TIMEOUT,
        metavar="SECONDS",
        help="time limit for each request (default: %(default)g)",
    )
    for flag, name in (("--namespace-prefix", "NamespacePrefix"), ("--system-namespace", "SystemNamespace")):
        parser.add_argument(flag, default="", metavar="NAME", help=f"value of .{name} in a template of the Go project")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")


def options_of(namespace: argparse.Namespace) -> ScenariosOptions:
    """Return the options that ``parser`` has read."""
    options = {field.name: getattr(namespace, field.name) for field in attrs.fields(ScenariosOptions)}
    return ScenariosOptions(**{**options, "only": tuple(namespace.only), "resolve": namespace.resolve or ""})


def read_base_url(text: str) -> GatewayEndpoint:
    """Return a gateway's URL, as an option's type."""
    parts = _split(text)
    if parts.path not in {"", "/"}:
        raise argparse.ArgumentTypeError("the URL must not have a path: scenarios have their own")
    return _endpoint(parts)


def _stats_url(text: str) -> GatewayEndpoint:
    parts = _split(text)
    if parts.scheme != "http" or parts.path not in _STATS_PATHS:
        raise argparse.ArgumentTypeError("the URL must be that of the demo's token endpoint: http://HOST:PORT/stats")
    return _endpoint(parts)


def _split(text: str) -> SplitResult:
    """Return the parts of a URL. An invalid one is not repeated: it may contain credentials."""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in _PORTS and parts.hostname and parts.port != 0 and text.isascii() and text.isprintable()
    except ValueError:
        usable, parts = False, urlsplit("")
    if not usable or " " in text:
        raise argparse.ArgumentTypeError("must be a URL such as http://127.0.0.1:10000 or https://gateway.example.com")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise argparse.ArgumentTypeError("the URL must have neither credentials nor a query")
    return parts


def _endpoint(parts: SplitResult) -> GatewayEndpoint:
    return GatewayEndpoint(parts.scheme == "https", parts.hostname or "", parts.port or _PORTS[parts.scheme])


def read_ip(text: str) -> str:
    """Return an IP address, as an option's type."""
    try:
        return str(ipaddress.ip_address(text.removeprefix("[").removesuffix("]")))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not an IP address") from None


def read_seconds(text: str) -> float:
    """Return a number of seconds above 0, as an option's type."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return seconds
