"""The command line: parses arguments, runs a command and returns its exit status.

0: the command succeeded. 1: it failed. 2: the arguments or the configuration are wrong.
"""

import argparse
import importlib.util
import io
import os
import sys
import time
from collections.abc import Sequence
from typing import Final

import trio

from exchanger import __version__
from exchanger.util.duration import parse_duration

_USAGE_ERROR: Final = 2
_INTERRUPTED: Final = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that ``arguments`` (default: the process's) name and return its exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a character that the terminal cannot show must not end the command
            stream.reconfigure(errors="replace")
    parser = _parser()
    namespace = parser.parse_args(arguments)
    try:
        return _run(namespace, parser)
    except KeyboardInterrupt:  # before a command took over the signals
        return _INTERRUPTED


def _run(namespace: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    match namespace.command:
        case "serve":
            return _serve()
        case "admission":
            return _admission()
        case "demo":
            return _demo(namespace)
        case "scenarios":
            return _scenarios(namespace)
        case "status":
            return _status(namespace)
        case "health":
            return _health(namespace)
        case "schema":
            return _schema()
        case "pre-stop-sleep":
            return _pre_stop_sleep(namespace.duration)
        case "fake-token-endpoint":
            return _fake_token_endpoint(namespace)
        case "echo":
            return _echo(namespace)
        case _:
            parser.print_help(sys.stderr)
            return _USAGE_ERROR


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="exchanger", description="Envoy external authorization with OAuth 2.0 Token Exchange (RFC 8693).")
    parser.add_argument("--version", action="version", version=f"exchanger {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command")
    commands.add_parser("serve", help="run the service, configured by environment variables")
    commands.add_parser("admission", help="run the admission webhook, configured by environment variables")
    _add_status(commands.add_parser("status", help="show a cluster's policies as the service sees them, and what is wrong with them"))
    _add_health(commands.add_parser("health", help="check gRPC health (for exec probes)"))
    sleep = commands.add_parser("pre-stop-sleep", help="sleep in a preStop hook, so that gateways drain the pod before it stops")
    sleep.add_argument("duration", nargs="?", default="30s", help="for example 5s or 1m30s (default: %(default)s)")
    schema = commands.add_parser("schema", help="print a JSON Schema for editors and CI")
    schema.add_argument("name", choices=["policy"], help="policy: the document under config.yaml in a policy ConfigMap")
    if importlib.util.find_spec("exchanger.demo"):  # not in the production image, which therefore lacks these commands
        _add_demo(commands.add_parser("demo", help="run the service locally behind a real Envoy, with a token endpoint and an upstream"))
        _add_scenarios(commands.add_parser("scenarios", help="run the demo's scenarios, or your own, against any gateway"))
        _add_fake_token_endpoint(
            commands.add_parser(
                "fake-token-endpoint", help="run only the demo's token endpoint; it issues made-up tokens and protects nothing"
            )
        )
        _add_echo(commands.add_parser("echo", help="run only the demo's upstream, which echoes each request"))
    return parser


def _add_demo(parser: argparse.ArgumentParser) -> None:
    from exchanger.demo.options import add_arguments

    add_arguments(parser)


def _add_scenarios(parser: argparse.ArgumentParser) -> None:
    from exchanger.scenarios.options import add_arguments

    add_arguments(parser)


def _add_fake_token_endpoint(parser: argparse.ArgumentParser) -> None:
    from exchanger.demo.token_command import add_arguments

    add_arguments(parser)


def _add_echo(parser: argparse.ArgumentParser) -> None:
    from exchanger.demo.servers import add_arguments

    add_arguments(parser)


def _add_health(parser: argparse.ArgumentParser) -> None:
    from exchanger.health.options import add_arguments

    add_arguments(parser)


def _add_status(parser: argparse.ArgumentParser) -> None:
    from exchanger.status.options import add_arguments

    add_arguments(parser)


def _serve() -> int:
    from exchanger.app.serve import serve

    return serve()


def _admission() -> int:
    from exchanger.admission.process import run_admission

    return run_admission()


def _status(namespace: argparse.Namespace) -> int:
    from exchanger.status.command import run_status
    from exchanger.status.options import options_of

    return trio.run(run_status, options_of(namespace))


def _demo(namespace: argparse.Namespace) -> int:
    from exchanger.demo.command import run_demo
    from exchanger.demo.options import options_of

    return trio.run(run_demo, options_of(namespace))


def _scenarios(namespace: argparse.Namespace) -> int:
    from exchanger.scenarios.command import run_scenarios
    from exchanger.scenarios.options import options_of

    return trio.run(run_scenarios, options_of(namespace))


def _health(namespace: argparse.Namespace) -> int:
    from exchanger.health.command import run_health
    from exchanger.health.options import options_of

    return trio.run(run_health, options_of(namespace))


def _schema() -> int:
    from exchanger.policy.schema import schema_text

    print(schema_text(), end="")
    return 0


def _fake_token_endpoint(namespace: argparse.Namespace) -> int:
    from exchanger.demo.token_command import run

    return run(namespace, os.environ)


def _echo(namespace: argparse.Namespace) -> int:
    from exchanger.demo.servers import echo, run_server

    return trio.run(run_server, "echo", echo, namespace.address, os.environ)


# No pod has longer than this to stop, and operating systems do not accept every number.
_LONGEST_SLEEP_S: Final = 86_400.0


def _pre_stop_sleep(duration: str) -> int:
    try:
        seconds = parse_duration(duration)
    except ValueError as error:
        print(f"exchanger pre-stop-sleep: {duration!r} {error}", file=sys.stderr)
        return _USAGE_ERROR
    time.sleep(min(seconds, _LONGEST_SLEEP_S))
    return 0
