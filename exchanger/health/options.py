"""The command line of ``exchanger health``.

Must not know: what is done with it.
"""

import argparse
from pathlib import Path
from typing import Final, final

import attrs

from exchanger.util.address import parse_address
from exchanger.util.duration import parse_duration

LOOPBACK: Final = "127.0.0.1"
# The service's plaintext port, in the same pod.
DEFAULT_ADDRESS: Final = f"{LOOPBACK}:3001"
# A healthy service answers within milliseconds, and a probe should end before the next one begins.
DEFAULT_TIMEOUT: Final = "2s"


@final
@attrs.frozen
class HealthOptions:
    """``timeout`` is in seconds. Files are in PEM; without ``ca_file`` the system's authorities apply. ``server_name`` "": the host."""

    address: tuple[str, int] = (LOOPBACK, 3001)
    service: str = ""
    timeout: float = 2.0
    tls: bool = False
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    server_name: str = ""

    def problems(self) -> tuple[str, ...]:
        """Return which options do not go together, in words."""
        return ("--key-file needs --cert-file",) if self.key_file and not self.cert_file else ()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options to ``parser``."""
    parser.add_argument(
        "--address", type=_address, default=DEFAULT_ADDRESS, metavar="HOST:PORT", help="address to check (default: %(default)s)"
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


def options_of(namespace: argparse.Namespace) -> HealthOptions:
    """Return the options that ``parser`` has read."""
    options = HealthOptions(**{field.name: getattr(namespace, field.name) for field in attrs.fields(HealthOptions)})
    host, port = options.address
    secured = options.tls or bool(options.ca_file or options.cert_file or options.key_file or options.server_name)
    return attrs.evolve(options, address=(host or LOOPBACK, port), tls=secured)


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
