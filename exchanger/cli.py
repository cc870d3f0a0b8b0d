"""The command line: parses arguments, runs a command and returns its exit status.

0: the command succeeded. 1: it failed. 2: the arguments or the configuration are wrong. 130: it was interrupted. 141: its output is not
read.

It runs at every exec probe, so it imports nothing that the command does not need.
"""

import argparse
import importlib
import importlib.util
import os
import sys
import textwrap
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn, final

import attrs

from exchanger import __version__
from exchanger.commands.arguments import WrongArgumentsError, did_you_mean, one_of, refuse, unexpected
from exchanger.commands.terminal import BROKEN_PIPE, drop_output, flush_output, no_room, prepare_output
from exchanger.model.errors import leaves
from exchanger.util.text import bounded

_FAILED: Final = 1
_USAGE_ERROR: Final = 2
_INTERRUPTED: Final = 130
_HELP: Final = "help"
_STATUSES: Final = ("success", "it failed", "the arguments are wrong")
_WIDTH: Final = 79


def run() -> NoReturn:
    """Run the command that the process's arguments name, and end the process with its exit status.

    Threads may still be at work, since a command that is stopped does not wait for them. Before 3.14, Python unwinds such a thread while
    the interpreter ends, and if that thread runs Rust code, the process aborts (status 134). So the process ends without it.
    """
    status = main()
    if threading.active_count() > 1:
        os._exit(status)
    sys.exit(status)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that ``arguments`` (default: the process's) name and return its exit status."""
    prepare_output()
    try:
        try:
            return _run(sys.argv[1:] if arguments is None else list(arguments))
        finally:
            flush_output()
    except BaseException as fault:
        faults = leaves(fault)
        kinds = {type(leaf) for leaf in faults}
        if kinds == {KeyboardInterrupt}:  # before a command took over the signals
            return _INTERRUPTED
        if kinds == {BrokenPipeError}:
            drop_output()
            return BROKEN_PIPE
        if reason := no_room(faults[0]):
            drop_output()
            sys.stderr.write(f"exchanger: the output cannot be written: {reason}\n")
            return _FAILED
        raise


@final
@attrs.frozen
class Command:
    """A command: its purpose, in the words of its help; ``add`` declares its arguments, and ``run`` returns its exit status.

    The help ends with ``examples``, the meaning of each exit status, and ``more``, the path of a text beside this module.
    """

    help: str
    run: Callable[[argparse.Namespace], int]
    add: Callable[[argparse.ArgumentParser], None] = lambda _parser: None
    examples: tuple[str, ...] = ()
    statuses: tuple[str, ...] = _STATUSES
    more: str = ""

    def epilog(self) -> str:
        """Return the end of the help."""
        paragraphs = [("Examples:", *(f"  exchanger {example}" for example in self.examples))] if self.examples else []
        paragraphs.append(("Exit status:", *(f"  {number}  {meaning}" for number, meaning in enumerate(self.statuses))))
        text = "\n\n".join("\n".join(lines) for lines in paragraphs)
        return f"{text}\n\n{Path(__file__).parent.joinpath(self.more).read_text('utf-8')}" if self.more else text


def _run(arguments: list[str]) -> int:
    found = parse(arguments)
    if found is None:
        return _USAGE_ERROR
    command, namespace, parser = found
    try:
        return command.run(namespace)
    except WrongArgumentsError as error:
        parser.error(str(error))


def parse(arguments: list[str]) -> tuple[Command, argparse.Namespace, argparse.ArgumentParser] | None:
    """Return the command that ``arguments`` name, its options, and its parser; ``None`` after the help if they name none.

    Raises:
        SystemExit: they are wrong (status 2), or the help was asked for and is shown (status 0).
    """
    commands = available_commands()
    if arguments[:1] == [_HELP]:  # as --help has it
        arguments = [*(argument for argument in arguments[1:2] if not argument.startswith("-")), "--help"]
    name = next((argument for argument in arguments if not argument.startswith("-")), None)
    parser, chosen = _parser(commands, name)
    if name is not None and name not in commands:
        parser.error(_unknown(name, commands))
    namespace, extra = parser.parse_known_args(arguments)
    if extra:
        (chosen or parser).error(unexpected(chosen or parser, extra))
    if name is None or chosen is None:
        parser.print_help(sys.stderr)
        return None
    return commands[name], namespace, chosen


def _unknown(name: str, commands: Mapping[str, Command]) -> str:
    if name in DEMO_COMMANDS:
        return f"the command {name} is not part of this installation; the demo image has it"
    return f"there is no command {bounded(name)!r}{did_you_mean(name, [*commands, _HELP])}"


def _parser(commands: Mapping[str, Command], name: str | None) -> tuple[argparse.ArgumentParser, argparse.ArgumentParser | None]:
    """Return the parser of everything, and that of the command ``name``, the only one that has its arguments."""
    parser = argparse.ArgumentParser(prog="exchanger", description="Envoy external authorization with OAuth 2.0 Token Exchange (RFC 8693).")
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version of this program, of Python and of the platform")
    parsers = parser.add_subparsers(dest="command", metavar="command")
    chosen = None
    for known, command in commands.items():
        description = textwrap.fill(f"{command.help[0].upper()}{command.help[1:]}.", _WIDTH)
        added = parsers.add_parser(known, help=command.help, description=description)
        if known == name:
            chosen = added
            command.add(added)
            added.formatter_class, added.epilog = argparse.RawDescriptionHelpFormatter, command.epilog()
    parsers.add_parser(_HELP, help="show the help of a command")
    return parser, chosen


@final
class _Version(argparse.Action):
    """Prints the versions, and ends the program."""

    def __call__(self, parser: argparse.ArgumentParser, *_unused: object) -> None:
        import platform

        print(f"exchanger {__version__} (Python {platform.python_version()}, {platform.system()} {platform.machine()})")
        parser.exit()


def _add_serve(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--check-config", action="store_true", help="report what is wrong with the configuration, and exit")


def _serve(namespace: argparse.Namespace) -> int:
    from exchanger.app.serve import check_config, serve

    return check_config() if namespace.check_config else serve()


def _admission(_namespace: argparse.Namespace) -> int:
    from exchanger.app.admission.process import run_admission

    return run_admission()


def _status(namespace: argparse.Namespace) -> int:
    import trio

    from exchanger.commands.status.command import run_status
    from exchanger.commands.status.options import options_of

    return trio.run(run_status, options_of(namespace))


def _health(namespace: argparse.Namespace) -> int:
    import trio

    from exchanger.commands.health.command import run_health
    from exchanger.commands.health.options import options_of

    options = options_of(namespace, os.environ)
    refuse(options.problems())
    return trio.run(run_health, options)


def _check(namespace: argparse.Namespace) -> int:
    from exchanger.commands.check.command import run_check
    from exchanger.commands.check.options import options_of

    return run_check(options_of(namespace))


def _add_schema(parser: argparse.ArgumentParser) -> None:
    from exchanger.commands.schemas import SCHEMAS

    names = tuple(SCHEMAS)
    parser.add_argument("name", type=one_of(*names), metavar="DOCUMENT", help=f"one of {', '.join(names)}")


def _schema(namespace: argparse.Namespace) -> int:
    from exchanger.commands.schemas import SCHEMAS
    from exchanger.util.json_schema import as_text

    print(as_text(SCHEMAS[namespace.name]()), end="")
    return 0


def _add_code(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("code", metavar="CODE", nargs="?", help="a code in any case, such as POL-1101 or TXE-1004 (default: list all)")


def _code(namespace: argparse.Namespace) -> int:
    from exchanger.commands.code_text import run_code

    return run_code(namespace.code)


# No pod has longer than this to stop, and operating systems do not accept every number.
_LONGEST_SLEEP_S: Final = 86_400.0


def _add_pre_stop_sleep(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("duration", nargs="?", type=_duration, default="30s", help="for example 5s or 1m30s (default: %(default)s)")


def _duration(text: str) -> float:
    from exchanger.util.duration import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{bounded(text)!r} {error}") from None


def _pre_stop_sleep(namespace: argparse.Namespace) -> int:
    import time

    time.sleep(min(namespace.duration, _LONGEST_SLEEP_S))
    return 0


def _demo(namespace: argparse.Namespace) -> int:
    import trio

    from exchanger.commands.demo.command import run_demo
    from exchanger.commands.demo.options import options_of

    options = options_of(namespace)
    refuse(options.problems())
    return trio.run(run_demo, options)


def _scenarios(namespace: argparse.Namespace) -> int:
    import trio

    from exchanger.commands.scenarios.command import option_problems, run_scenarios
    from exchanger.commands.scenarios.options import options_of

    options = options_of(namespace)
    refuse(option_problems(options, os.environ))
    return trio.run(run_scenarios, options)


def _fake_token_endpoint(namespace: argparse.Namespace) -> int:
    from exchanger.commands.demo.token_command import run

    return run(namespace, os.environ)


def _echo(namespace: argparse.Namespace) -> int:
    import trio

    from exchanger.commands.demo.servers import echo, run_server

    return trio.run(run_server, "echo", echo, namespace.address, os.environ)


def _later(module: str, function: str) -> Callable[..., Any]:
    """Return a function that is imported when it is called."""

    def call(argument: object) -> object:
        return getattr(importlib.import_module(module), function)(argument)

    return call


_SERVED: Final = (
    "stopped by SIGTERM or Ctrl-C, after running requests finished",
    "it ended because a part of it failed",
    "the configuration is wrong (every problem is listed), or names no cluster",
)
_PART_SERVED: Final = ("stopped by SIGTERM or Ctrl-C", "it failed", "the arguments are wrong")

# In the order of the help. The texts in ``more`` are written by .ci/generate.py from the reference.
COMMANDS: Final[Mapping[str, Command]] = {
    "serve": Command(
        "run the service, configured by environment variables",
        _serve,
        _add_serve,
        ("serve", "serve --check-config", "help serve"),
        ("stopped by SIGTERM or Ctrl-C, or the configuration is valid", *_SERVED[1:]),
        more="app/serve_help.txt",
    ),
    "admission": Command(
        "run the admission webhook, configured by environment variables",
        _admission,
        examples=("admission",),
        statuses=_SERVED,
        more="app/admission/help.txt",
    ),
    "init": Command(
        "write a policy, an issuer profile and tests to start from",
        _later("exchanger.commands.init", "run"),
        _later("exchanger.commands.init", "add_arguments"),
        ("init rest", "init mcp policies --host mcp.example.com --namespace team-a"),
        ("the files are written", "they cannot be written", "the arguments are wrong, or a file exists"),
    ),
    "status": Command(
        "show policies as the service sees them, and what is wrong with them",
        _status,
        _later("exchanger.commands.status.options", "add_arguments"),
        ("status --issuers issuers.yaml --grants grants.yaml", "status --directory policies", "status --service http://127.0.0.1:3002"),
        ("no problems", "a policy has a problem, or there is none", "what was asked cannot be read, or a setting is wrong"),
    ),
    "check": Command(
        "report every problem in policy manifests, with its location",
        _check,
        _later("exchanger.commands.check.options", "add_arguments"),
        ("check policies --issuers issuers.yaml", "check - --format github", "check policies --suggest"),
        ("nothing is wrong", "a problem or a warning", "wrong arguments, a missing path, or no policy at the paths"),
    ),
    "explain": Command(
        "explain how a request is decided",
        _later("exchanger.commands.explain", "explain"),
        _later("exchanger.commands.options", "add_explain"),
        (
            "explain GET https://orders.example.com/orders/1 --policy policies",
            "explain POST https://orders.example.com/mcp -H 'Mcp-Name: drop' --cluster",
        ),
        ("the request passes, or its token is exchanged", "it is refused", "wrong arguments, or the decision is unknown"),
    ),
    "test": Command(
        "check that requests get the expected decisions",
        _later("exchanger.commands.testing", "test"),
        _later("exchanger.commands.options", "add_test"),
        ("test tests.yaml --policy policies --issuers issuers.yaml",),
        ("every test passes", "a test fails", "wrong arguments, or a file that cannot be used"),
    ),
    "diff": Command(
        "show which requests another version of the policies decides differently",
        _later("exchanger.commands.diff", "diff"),
        _later("exchanger.commands.options", "add_diff"),
        ("diff policies proposed",),
        ("no decision differs", "a decision differs", "wrong arguments, or a file that cannot be used"),
    ),
    "audit": Command(
        "show who acted for whom, from an audit log",
        _later("exchanger.commands.audit", "run"),
        _later("exchanger.commands.audit", "add_arguments"),
        (
            "audit /var/log/audit.log --since 1h",
            "audit audit.log --policy team-orders/orders --json",
            "audit audit.log.1.gz audit.log --subject alice --key-file audit-keys",
        ),
        ("all was read", "a file, a line or a keyed identity cannot be read", "the arguments are wrong"),
    ),
    "health": Command(
        "check gRPC health (for exec probes)",
        _health,
        _later("exchanger.commands.health.options", "add_arguments"),
        ("health",),
        ("SERVING", "anything else", "the arguments are wrong"),
    ),
    "schema": Command(
        "print the JSON Schema of a document, for editors and CI", _schema, _add_schema, ("schema policy > policy.schema.json",)
    ),
    "code": Command(
        "explain a code: what it means, what usually causes it, and what to do",
        _code,
        _add_code,
        ("code", "code POL-1101"),
        ("the code is explained, or all are listed", "it failed", "there is no such code"),
    ),
    "pre-stop-sleep": Command(
        "sleep in a preStop hook, so gateways drain the pod before it stops", _pre_stop_sleep, _add_pre_stop_sleep, ("pre-stop-sleep 30s",)
    ),
}
# Not in the production image, which therefore lacks these commands.
DEMO_COMMANDS: Final[Mapping[str, Command]] = {
    "demo": Command(
        "run the service locally behind a real Envoy, with a token endpoint and an upstream",
        _demo,
        _later("exchanger.commands.demo.options", "add_arguments"),
        ("demo", "demo --check"),
        ("stopped by Ctrl-C, or every scenario passed", "a part or a scenario failed", "the arguments are wrong"),
    ),
    "scenarios": Command(
        "run the demo's scenarios, or your own, against any gateway",
        _scenarios,
        _later("exchanger.commands.scenarios.options", "add_arguments"),
        ("scenarios --list",),
        ("every scenario passed", "a scenario failed, or none could run", "the arguments or a file are wrong"),
    ),
    "fake-token-endpoint": Command(
        "run only the demo's token endpoint; it issues made-up tokens and protects nothing",
        _fake_token_endpoint,
        _later("exchanger.commands.demo.token_command", "add_arguments"),
        ("fake-token-endpoint",),
        _PART_SERVED,
    ),
    "echo": Command(
        "run only the demo's upstream, which echoes each request",
        _echo,
        _later("exchanger.commands.demo.servers", "add_arguments"),
        ("echo",),
        _PART_SERVED,
    ),
}


def available_commands() -> dict[str, Command]:
    """Return the commands of this installation."""
    return {**COMMANDS, **(DEMO_COMMANDS if importlib.util.find_spec("exchanger.commands.demo") else {})}
