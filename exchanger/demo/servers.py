"""The demo's small servers: the upstream, which answers with what it received, and ``exchanger echo`` and ``fake-token-endpoint``.

As commands, the servers run until SIGTERM or SIGINT and exit with 0; with 1 if their address cannot be used.
"""

import argparse
import json
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from exchanger.http.message import Handler, Headers, Request, Response
from exchanger.http.server import HttpServer, Limits
from exchanger.scenarios.tokens import bearer_of, claims_of
from exchanger.util.address import format_address, parse_address

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
# The loopback address: these servers protect nothing, so reaching them from elsewhere takes an option.
DEFAULT_ADDRESS: Final = "127.0.0.1:8080"

LIMITS: Final = Limits(
    connections=256,  # the demo's clients open a few dozen
    head_bytes=131_072,  # twice the 60 KiB of headers that Envoy lets through, and room
    head_lines=1_024,
    idle_s=120.0,  # longer than the 90 s for which the service keeps an idle connection, so that the client closes first
    arrival_s=120.0,
    answer_s=10.0,  # answers are a few KiB on loopback
    body_bytes=262_144,  # a token request with a subject token of 64 KiB, percent-encoded, fits
)


async def serve_http(
    handler: Handler, host: str | None, port: int, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED
) -> None:
    """Answer HTTP/1.1 on ``host`` (``None``: all interfaces) until cancelled; ``started()`` has the port, a free one for ``port`` 0.

    Raises:
        OSError: the address cannot be bound.
    """

    async def route(_request: Request) -> Handler:
        await trio.lowlevel.checkpoint()
        return handler

    await HttpServer(route, LIMITS).run(await trio.open_tcp_listeners(port, host=host), task_status=task_status)


async def run_echo(host: str | None, port: int, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
    """Serve the echo; see ``serve_http``."""
    await serve_http(echo, host, port, task_status=task_status)


async def echo(request: Request) -> Response:
    """Answer with ``method``, ``path`` and ``headers`` as received, and ``token_claims`` if a JWT came as bearer token.

    A header is its value, or the list of its values if it came more than once.
    """
    await trio.lowlevel.checkpoint()
    seen: dict[str, object] = {"method": request.method, "path": request.target, "headers": _grouped(request.headers)}
    claims = claims_of(bearer_of(next(iter(request.values("authorization")), "")))
    if claims is not None:
        seen["token_claims"] = claims
    body = json.dumps(seen, indent=2, ensure_ascii=True) + "\n"
    return Response(200, (("Content-Type", "application/json"), ("Cache-Control", "no-store")), body.encode())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of a server's command to ``parser``."""
    parser.add_argument(
        "--address",
        type=_address,
        default=DEFAULT_ADDRESS,
        metavar="HOST:PORT",
        help="where to listen; :8080 for all interfaces, port 0 for a free one (default: %(default)s)",
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


def _grouped(headers: Headers) -> dict[str, object]:
    values: dict[str, list[str]] = {}
    for name, value in headers:
        values.setdefault(name, []).append(value)
    return {name: found[0] if len(found) == 1 else found for name, found in values.items()}


def _address(text: str) -> tuple[str, int]:
    try:
        return parse_address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} {error}") from None
