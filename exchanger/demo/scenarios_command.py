"""``exchanger scenarios``: runs scenarios against any gateway, and says of each whether it came out as expected.

Exit status: 0 when at least one was run and all were as expected, 1 when one was not or none was run, 2 when options or files are wrong,
128 and the signal's number, as shells have it, when it was interrupted. No token is ever shown.

Must not know: how a scenario is run, or how findings are laid out.
"""

import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Final, final

import attrs
import trio

from exchanger.decision.bearer import MAX_TOKEN_LENGTH, is_bearer_token
from exchanger.demo.display import Output, Progress
from exchanger.demo.faults import DemoError
from exchanger.demo.gateway import Gateway
from exchanger.demo.ground import MADE_UP, Ground, ground_with_token
from exchanger.demo.runner import Finding, run_scenario
from exchanger.demo.scenario import Scenario
from exchanger.demo.scenario_reader import Unusable, read_scenarios
from exchanger.demo.scenarios import SCENARIOS
from exchanger.demo.scenarios_display import Report, as_json, as_lines, list_as_json, list_as_text
from exchanger.demo.scenarios_options import Endpoint, ScenariosOptions
from exchanger.demo.site import make_subjects

AS_EXPECTED: Final = 0
NOT_AS_EXPECTED: Final = 1
USAGE: Final = 2
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
SIGNAL_STATUS: Final = 128
"""Added to a signal's number, as shells report a command that a signal has ended."""

_MAX_FILE: Final = 1_048_576  # bytes; scenario files are bounded well below by their reader


@final
@attrs.frozen
class _Plan:
    """What is run, and on what."""

    ground: Ground | None
    scenarios: tuple[Scenario, ...]


async def run_scenarios(
    options: ScenariosOptions,
    variables: Mapping[str, str] | None = None,
    out: Output | None = None,
    err: Output | None = None,
) -> int:
    """Run scenarios, show what came of them, and return the exit status. Must be called in the main thread, where signals arrive.

    ``variables`` are the environment by default, ``out`` and ``err`` the process's own.
    """
    status = NOT_AS_EXPECTED
    try:
        status = await _planned(options, os.environ if variables is None else variables, Progress(out or sys.stdout), err or sys.stderr)
    except* DemoError:  # nobody reads what is written any more
        if out is None:
            _drop_output()
    return status


async def _planned(options: ScenariosOptions, variables: Mapping[str, str], progress: Progress, err: Output) -> int:
    complaints = Progress(err)
    try:
        plan = _plan(options, variables)
    except _UsageError as error:
        for problem in error.problems:
            complaints.say(f"exchanger scenarios: {problem}")
        return USAGE
    if plan.ground is None:
        progress.say((list_as_json if options.json else list_as_text)(plan.scenarios))
        return AS_EXPECTED
    if warning := _warning(options, plan.ground):
        complaints.say(f"exchanger scenarios: {warning}")
    return await _run(plan.scenarios, plan.ground, progress, json=options.json)


async def _run(scenarios: tuple[Scenario, ...], ground: Ground, progress: Progress, *, json: bool) -> int:
    report = Report(ground.gateway.base_url, scenarios, lenient=ground.lenient)
    received: list[int] = []

    async def end_on_signal(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
        received.append(await anext(signals))
        scope.cancel()

    with trio.open_signal_receiver(*SIGNALS) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(end_on_signal, signals, nursery.cancel_scope)
            lines = as_lines(report)
            if not json:
                progress.say(lines.head())
            findings: list[Finding] = []
            for scenario in scenarios:
                findings.append(await run_scenario(scenario, ground))
                if not json:
                    progress.say(lines.row(findings[-1]))
            nursery.cancel_scope.cancel()
    if received:
        return SIGNAL_STATUS + received[0]
    progress.say(as_json(report, findings) if json else lines.foot(findings))
    return AS_EXPECTED if report.as_expected(findings) else NOT_AS_EXPECTED


class _UsageError(Exception):
    """Options, or the files that they name, cannot be used."""

    def __init__(self, *problems: str) -> None:
        super().__init__(*problems)
        self.problems = problems


def _plan(options: ScenariosOptions, variables: Mapping[str, str]) -> _Plan:
    """Return what is to be done.

    Raises:
        _UsageError: it cannot be.
    """
    if problems := options.problems():
        raise _UsageError(*problems)
    scenarios = _chosen(SCENARIOS if options.file is None else _read(options.file), options.only)
    if options.list or options.base_url is None:
        return _Plan(None, scenarios)
    ground = _ground(options, options.base_url)
    token = _token(options, variables)
    return _Plan(ground if token is None else ground_with_token(ground, token), scenarios)


def _ground(options: ScenariosOptions, base: Endpoint) -> Ground:
    stats = options.stats_url
    return Ground(
        gateway=Gateway(options.resolve or base.host, base.port, _context(options.ca_file) if base.secured else None, base.host),
        subjects=make_subjects().token,
        made=MADE_UP,
        fresh=make_subjects,
        stats=None if stats is None else (stats.host, stats.port),
        timeout=options.timeout,
    )


def _chosen(scenarios: tuple[Scenario, ...], names: tuple[str, ...]) -> tuple[Scenario, ...]:
    known = {scenario.name for scenario in scenarios}
    unknown = [name for name in dict.fromkeys(names) if name not in known]
    if unknown:
        raise _UsageError(*(f"--only {name!r}: there is no such scenario (--list shows them)" for name in unknown))
    return tuple(scenario for scenario in scenarios if not names or scenario.name in names)


def _read(file: Path) -> tuple[Scenario, ...]:
    read = read_scenarios(_text(file, "--file", _MAX_FILE))
    if not isinstance(read, Unusable):
        return read
    raise _UsageError(*(f"--file {file}: {problem}" for problem in read.problems))


def _token(options: ScenariosOptions, variables: Mapping[str, str]) -> str | None:
    """Return the user's own token, ``None`` for the demo's; it is in no message."""
    if options.token_file is not None:
        where, text = f"--token-file {options.token_file}", _text(options.token_file, "--token-file", MAX_TOKEN_LENGTH)
    elif options.token_env:
        where = f"--token-env {options.token_env}"
        if options.token_env not in variables:
            raise _UsageError(f"{where}: there is no such variable")
        text = variables[options.token_env]
    else:
        return None
    token = text.strip()
    if not is_bearer_token(token):
        raise _UsageError(f"{where}: holds no bearer token (the token alone, without the word Bearer)")
    return token


def _text(file: Path, option: str, size: int) -> str:
    try:
        with file.open("rb") as stream:
            data = stream.read(size + 1)
        text = data.decode("utf-8")
    except OSError as error:
        raise _UsageError(f"{option} {file}: {error.strerror or type(error).__name__}") from None
    except UnicodeDecodeError:
        raise _UsageError(f"{option} {file}: is not UTF-8") from None
    if len(data) > size:
        raise _UsageError(f"{option} {file}: is longer than {size} bytes")
    return text


def _context(ca_file: Path | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        reason = "no certificate in PEM" if isinstance(error, ssl.SSLError) else error.strerror or type(error).__name__
        raise _UsageError(f"--ca-file {ca_file}: {reason}") from None
    context.set_alpn_protocols(["http/1.1"])
    return context


def _warning(options: ScenariosOptions, ground: Ground) -> str:
    """Return what is to be said of a token of the user's own that leaves this machine in clear."""
    if not ground.lenient or ground.gateway.tls is not None:
        return ""
    host = options.resolve or ground.gateway.host
    try:
        loopback = ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    return "" if loopback else "your token is sent without TLS"


def _drop_output() -> None:
    """Give up what is still in the buffer: it would be tried again, and complained about, at the interpreter's end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
