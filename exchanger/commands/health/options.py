"""The command line of ``exchanger health``, and what it asks by default: the service that has the same environment.

Must not know: what is done with it.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Final, final

import attrs

from exchanger.app.environment import Environment
from exchanger.app.grpc_environment import read_listeners
from exchanger.commands.arguments import refuse
from exchanger.util.address import parse_address
from exchanger.util.duration import parse_duration

LOOPBACK: Final = "127.0.0.1"
# Addresses that a server listens on, and that no client asks.
_ALL_INTERFACES: Final[Mapping[str | None, str]] = {None: LOOPBACK, "0.0.0.0": LOOPBACK, "::": "::1"}  # noqa: S104 - to be replaced
# A healthy service answers within milliseconds, and a probe should end before the next one begins.
DEFAULT_TIMEOUT: Final = "2s"


@final
@attrs.frozen
class HealthOptions:
    """``timeout`` is in seconds. Files are in PEM; without ``ca_file`` the system's authorities apply. ``server_name`` "": the host.

    ``pinned`` instead is a file with the server's own certificate, whatever its name and its authority.
    """

    address: tuple[str, int] = (LOOPBACK, 3001)
    service: str = ""
    timeout: float = 2.0
    tls: bool = False
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    server_name: str = ""
    pinned: Path | None = None

    def problems(self) -> tuple[str, ...]:
        """Return which options do not go together, in words."""
        return ("--key-file needs --cert-file",) if self.key_file and not self.cert_file else ()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options to ``parser``."""
    parser.add_argument(
        "--address",
        type=_address,
        metavar="HOST:PORT",
        help="address to check (default: where the service with the same GRPC_* variables listens, 127.0.0.1:3001 without any)",
    )
    parser.add_argument("--service", default="", metavar="NAME", help="gRPC service to check (default: the server as a whole)")
    parser.add_argument(
        "--timeout", type=_timeout, default=DEFAULT_TIMEOUT, help="limit for the whole check, for example 500ms (default: %(default)s)"
    )
    parser.add_argument("--tls", action="store_true", help="use TLS; implied by each of the options below")
    parser.add_argument("--ca-file", type=Path, metavar="FILE", help="CA certificates to trust, in PEM")
    parser.add_argument("--cert-file", type=Path, metavar="FILE", help="client certificate in PEM, for servers that require one")
    parser.add_argument("--key-file", type=Path, metavar="FILE", help="key of the client certificate, in PEM")
    parser.add_argument("--server-name", default="", metavar="NAME", help="name expected in the server's certificate (default: the host)")


def options_of(namespace: argparse.Namespace, variables: Mapping[str, str] | None = None) -> HealthOptions:
    """Return the options that ``parser`` has read. Without an address, they are about the service that has these ``variables``.

    Raises:
        WrongArgumentsError: there is no address, and the variables do not say where that service listens.
    """
    given = {field.name: getattr(namespace, field.name, None) for field in attrs.fields(HealthOptions)}
    options = HealthOptions(**{name: value for name, value in given.items() if value is not None})
    secured = options.tls or bool(options.ca_file or options.cert_file or options.key_file or options.server_name)
    if given["address"] is None:
        return _of_the_service(attrs.evolve(options, tls=secured), variables or {})
    host, port = options.address
    return attrs.evolve(options, address=(host or LOOPBACK, port), tls=secured)


def _of_the_service(options: HealthOptions, variables: Mapping[str, str]) -> HealthOptions:
    """Return ``options`` for the plaintext port, or for that with TLS if there is no other one or TLS is asked for.

    The files of TLS are not checked here: the service may have read them before they broke.
    """
    environment = Environment(variables)
    found = read_listeners(environment)
    refuse(environment.problems())
    host, tls = _ALL_INTERFACES.get(found.host) or found.host or LOOPBACK, found.tls
    if found.port is not None and not (options.tls and tls is not None):
        return attrs.evolve(options, address=(host, found.port))
    if tls is None:
        raise AssertionError("a service without a port")
    if tls.client_ca_file is not None and options.cert_file is None:
        refuse(("--cert-file and --key-file are required: GRPC_TLS_CLIENT_CA_FILE makes the service ask for a certificate",))
    # Its authority is often private, and its name that by which gateways know the service.
    pinned = None if options.ca_file or options.server_name else tls.cert_file
    return attrs.evolve(options, address=(host, tls.port), tls=True, pinned=pinned)


def _address(text: str) -> tuple[str, int]:
    try:
        return parse_address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} {error}") from None


def _timeout(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} {error}") from None
    if seconds <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} must be positive")
    return seconds
