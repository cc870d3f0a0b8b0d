"""``exchanger fake-token-endpoint`` and ``exchanger echo``: the demo's servers as processes of their own, where there is a cluster.

Each serves until SIGTERM or SIGINT, and ends with 0; with 1 when its address cannot be used.

Must not know: what a server answers.
"""

import argparse
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from exchanger.util.address import format_address, parse_address

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
DEFAULT_ADDRESS: Final = "127.0.0.1:8080"
"""The loopback address: these servers protect nothing, so whoever wants them to be reached from elsewhere says so."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options to ``parser``."""
    parser.add_argument(
        "--address",
        type=_address,
        default=DEFAULT_ADDRESS,
        metavar="HOST:PORT",
        help="address to listen on; :8080 means all interfaces, port 0 any free port (default: %(default)s)",
    )


async def run_server(name: str, server: Callable[..., Awaitable[object]], address: tuple[str, int]) -> int:
    """Run ``server`` on ``address``, say when it is ready, and return the exit status. Must be called in the main thread."""
    host, port = address
    with trio.open_signal_receiver(*SIGNALS) as signals:
        async with trio.open_nursery() as nursery:
            try:
                bound = await nursery.start(server, host or None, port)
            except OSError as error:
                print(f"exchanger {name}: {format_address(host, port)} cannot be used: {error.strerror or error}", file=sys.stderr)
                return 1
            print(f"exchanger {name}: listening on {format_address(host, bound)}", flush=True)
            number = await anext(signals)
            print(f"exchanger {name}: {signal.Signals(number).name}: ending", flush=True)
            nursery.cancel_scope.cancel()
    return 0


def _address(text: str) -> tuple[str, int]:
    try:
        return parse_address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} {error}") from None
