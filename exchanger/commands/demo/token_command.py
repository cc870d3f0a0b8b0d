"""``exchanger fake-token-endpoint``: by the demo's own rules, or by the routes of a file.

Exit status: as of the other servers; 2 if the file cannot be used. The Go project's variables are the defaults of options.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import trio

from exchanger.commands.demo import servers
from exchanger.commands.demo.token_endpoint.fake import ClientCredentials, TokenEndpoint
from exchanger.commands.demo.token_endpoint.routed import DEFAULT_CREDENTIALS, RoutedTokenEndpoint
from exchanger.commands.demo.token_endpoint.routes import RoutesError, load_routes
from exchanger.net.http.message import Handler

NAME: Final = "fake-token-endpoint"
USAGE: Final = 2
_ADDRESS: Final = "FAKE_TOKEN_ENDPOINT_ADDR"
_ROUTES: Final = "FAKE_TOKEN_ENDPOINT_CONFIG"
_CLIENT_ID: Final = "FAKE_TOKEN_ENDPOINT_CLIENT_ID"
_CLIENT_SECRET: Final = "FAKE_TOKEN_ENDPOINT_CLIENT_SECRET"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options to ``parser``."""
    servers.add_arguments(parser, variable=_ADDRESS)
    parser.add_argument(
        "--routes", type=Path, metavar="FILE", help=f"answer by the routes in this file (default: ${_ROUTES}, else the demo's rules)"
    )


def run(namespace: argparse.Namespace, variables: Mapping[str, str]) -> int:
    """Serve until a signal; return the exit status."""
    try:
        handler = _handler(namespace.routes, variables)
        address = namespace.address or servers.read_address(variables.get(_ADDRESS, "").strip() or servers.DEFAULT_ADDRESS)
    except (RoutesError, argparse.ArgumentTypeError) as error:
        print("\n".join(f"exchanger {NAME}: {line}" for line in str(error).splitlines()), file=sys.stderr)
        return USAGE
    return trio.run(servers.run_server, NAME, handler, address, variables)


def _handler(routes: Path | None, variables: Mapping[str, str]) -> Handler:
    named = variables.get(_ROUTES, "").strip()
    file = routes or (Path(named) if named else None)
    if file is None:
        return TokenEndpoint().answer
    client_id = variables.get(_CLIENT_ID, "").strip() or DEFAULT_CREDENTIALS.client_id
    client_secret = variables.get(_CLIENT_SECRET, "").strip() or DEFAULT_CREDENTIALS.client_secret
    return RoutedTokenEndpoint(load_routes(file), ClientCredentials(client_id, client_secret)).answer
