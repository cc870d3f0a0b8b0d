"""The demo's small servers: the upstream, which answers with what it received, and ``exchanger echo`` and ``fake-token-endpoint``.

As commands, the servers run until SIGTERM or SIGINT and exit with 0; with 1 if their address cannot be used.
"""

import argparse
import json
import signal
import sys
from collections.abc import Mapping
from typing import Final

import trio

from exchanger.commands.demo.server_spans import ServerSpans
from exchanger.commands.scenarios.answer import CLAIMS
from exchanger.commands.scenarios.tokens import bearer_of
from exchanger.formats.jwt.unverified import claims_of
from exchanger.net.http.limits import HttpLimits
from exchanger.net.http.message import Handler, Headers, Request, Response
from exchanger.net.http.server import HttpServer
from exchanger.net.network import SYSTEM
from exchanger.util.address import format_address, parse_address

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
# The loopback address: these servers protect nothing, so reaching them from elsewhere takes an option.
DEFAULT_ADDRESS: Final = "127.0.0.1:8080"

LIMITS: Final = HttpLimits(
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

    await HttpServer(route, LIMITS).run(await SYSTEM.listen(host, port), task_status=task_status)


async def echo(request: Request) -> Response:
    """Answer with ``method``, ``path`` and ``headers`` as received, and ``token_claims`` if a JWT came as bearer token.

    The token is never verified, which ``token_verified`` says. A header is its value, or the list of its values if it came more than once.
    """
    await trio.lowlevel.checkpoint()
    seen: dict[str, object] = {"method": request.method, "path": request.target, "headers": _grouped(request.headers)}
    claims = claims_of(bearer_of(next(iter(request.values("authorization")), "")))
    if claims is not None:
        seen |= {CLAIMS: claims, "token_verified": False}  # only decoded: the echo knows no issuer's keys
    body = json.dumps(seen, indent=2, ensure_ascii=True) + "\n"
    # A browser's preflight is answered, too: any origin may read what it has sent itself, but not with credentials.
    cors = tuple(("Access-Control-Allow-Origin", origin) for origin in request.values("origin")[:1])
    return Response(200, (("Content-Type", "application/json"), ("Cache-Control", "no-store"), *cors), body.encode())


def add_arguments(parser: argparse.ArgumentParser, variable: str = "") -> None:
    """Add the options that all servers have to ``parser``; ``variable`` is the default for a missing ``--address``."""
    parser.add_argument(
        "--address",
        type=read_address,
        default=None if variable else DEFAULT_ADDRESS,
        metavar="HOST:PORT",
        help="where to listen; :8080 for all interfaces, port 0 for a free one "
        f"(default: {f'${variable}, else ' if variable else ''}{DEFAULT_ADDRESS})",
    )


async def run_server(name: str, handler: Handler, address: tuple[str, int], variables: Mapping[str, str]) -> int:
    """Run a server on ``address``, print when it is ready, and return the exit status. Must be called in the main thread.

    OTEL_ ``variables`` say whether and where it exports spans, under ``name``.
    """
    host, port = address
    spans = ServerSpans.of(variables, name)
    for note in spans.notes:
        print(f"exchanger {name}: {note}", file=sys.stderr)
    with trio.open_signal_receiver(*SIGNALS) as signals:
        async with trio.open_nursery() as nursery:
            await nursery.start(spans.run)
            try:
                bound = await nursery.start(serve_http, spans.around(handler), host or None, port)
            except OSError as error:
                print(f"exchanger {name}: {format_address(host, port)} cannot be used: {error.strerror or error}", file=sys.stderr)
                nursery.cancel_scope.cancel()
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


def read_address(text: str) -> tuple[str, int]:
    """Return host and port of an address, as an option's type."""
    try:
        return parse_address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} {error}") from None
