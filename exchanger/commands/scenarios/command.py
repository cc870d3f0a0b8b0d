"""``exchanger scenarios``: runs scenarios against any gateway, and says whether each had the expected result.

Exit status: 0 if at least one was run and all were as expected, 1 if one was not or none was run, 2 if options or files are wrong,
128 plus the signal's number, as shells report it, if it was interrupted. No token is ever shown.
"""

import argparse
import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Final

import attrs
import trio

from exchanger.commands.scenarios.builtin import SCENARIOS
from exchanger.commands.scenarios.display import RunReport, foot, list_as_json, list_as_text
from exchanger.commands.scenarios.go_format.scenario_file import GoValues
from exchanger.commands.scenarios.options import GatewayEndpoint, ScenariosOptions, read_base_url
from exchanger.commands.scenarios.reader import UnusableScenarios, read_scenarios
from exchanger.commands.scenarios.runner import Finding, run_scenario
from exchanger.commands.scenarios.scenario import Scenario
from exchanger.commands.scenarios.target import UNSIGNED_SUBJECTS, Gateway, ScenarioTarget
from exchanger.commands.scenarios.terminal import Progress, TextOutput
from exchanger.commands.scenarios.tokens import make_subjects
from exchanger.commands.terminal import OutputError, drop_output
from exchanger.model.bearer import MAX_TOKEN_LENGTH, is_bearer_token
from exchanger.net.error_text import describe_unusable
from exchanger.net.http.names import is_loopback
from exchanger.net.tls.client import client_tls_context

AS_EXPECTED: Final = 0
NOT_AS_EXPECTED: Final = 1
USAGE: Final = 2
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
SIGNAL_STATUS: Final = 128

# A variable of the Go project, and the values that it takes for true.
_INSECURE: Final = "DEMO_INSECURE_SKIP_VERIFY"
_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_MAX_FILE: Final = 1_048_576  # bytes; the reader's own bounds are far lower


async def run_scenarios(
    options: ScenariosOptions,
    variables: Mapping[str, str] | None = None,
    out: TextOutput | None = None,
    err: TextOutput | None = None,
) -> int:
    """Run scenarios, show the findings, and return the exit status. Must be called in the main thread, where signals arrive.

    ``variables`` are the environment by default, ``out`` and ``err`` the process's own.
    """
    status = NOT_AS_EXPECTED
    try:
        status = await _planned(options, os.environ if variables is None else variables, Progress(out or sys.stdout), err or sys.stderr)
    except* OutputError:
        if out is None:
            drop_output()
    return status


async def _planned(options: ScenariosOptions, variables: Mapping[str, str], progress: Progress, err: TextOutput) -> int:
    complaints = Progress(err)
    try:
        scenarios, target = plan(options, variables)
    except UsageError as error:
        for problem in error.problems:
            complaints.say(f"exchanger scenarios: {problem}")
        return USAGE
    if target is None:
        progress.say((list_as_json if options.json else list_as_text)(scenarios))
        return AS_EXPECTED
    if variables.get(_INSECURE, "").strip().lower() in _TRUE:
        complaints.say(f"exchanger scenarios: {_INSECURE} has no effect: certificates are verified, and --ca-file names those to trust")
    if warning := warning_about(options, scenarios, target):
        complaints.say(f"exchanger scenarios: {warning}")
    report = RunReport(target.gateway.base_url, scenarios, target.lenient, progress.screen(variables))
    return await _run(report, target, progress, json=options.json)


async def _run(report: RunReport, target: ScenarioTarget, progress: Progress, *, json: bool) -> int:
    received: list[int] = []

    async def end_on_signal(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
        received.append(await anext(signals))
        scope.cancel()

    findings: list[Finding] = []
    with trio.open_signal_receiver(*SIGNALS) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(end_on_signal, signals, nursery.cancel_scope)
            if not json:
                progress.say(report.head())
            for scenario in report.scenarios:
                findings.append(await run_scenario(scenario, target))
                if not json:
                    progress.say(report.row(findings[-1]))
            nursery.cancel_scope.cancel()
    if received:
        return SIGNAL_STATUS + received[0]
    progress.say(report.as_json(findings) if json else foot(findings))
    return AS_EXPECTED if report.as_expected(findings) else NOT_AS_EXPECTED


class UsageError(Exception):
    """Options, or the files that they name, cannot be used."""

    def __init__(self, *problems: str) -> None:
        super().__init__(*problems)
        self.problems = problems


def plan(options: ScenariosOptions, variables: Mapping[str, str]) -> tuple[tuple[Scenario, ...], ScenarioTarget | None]:
    """Return the scenarios, and the target to run them against; ``None`` to list them only.

    Raises:
        UsageError: it cannot be.
    """
    options = _with_variables(options, variables)
    if problems := options.problems():
        raise UsageError(*problems)
    scenarios = _chosen(SCENARIOS if options.file is None else _read(options.file, _values(options, variables)), options.only)
    if options.list or options.base_url is None:
        return scenarios, None
    target = _target(options, options.base_url)
    token = _token(options, variables)
    return scenarios, target if token is None else target.with_own_token(token)


def option_problems(options: ScenariosOptions, variables: Mapping[str, str]) -> tuple[str, ...]:
    """Return which options contradict each other, including variables. An invalid variable is reported by the run."""
    try:
        return _with_variables(options, variables).problems()
    except UsageError:
        return ()


def _with_variables(options: ScenariosOptions, variables: Mapping[str, str]) -> ScenariosOptions:
    """Return ``options`` with the Go project's variables as defaults."""
    base_url, file = (variables.get(name, "").strip() for name in ("DEMO_BASE_URL", "DEMO_SCENARIO_CONFIG"))
    if base_url and options.base_url is None and not options.list:
        try:
            options = attrs.evolve(options, base_url=read_base_url(base_url))
        except argparse.ArgumentTypeError as error:
            raise UsageError(f"DEMO_BASE_URL: {error}") from None
    return attrs.evolve(options, file=Path(file)) if file and options.file is None else options


def _values(options: ScenariosOptions, variables: Mapping[str, str]) -> GoValues:
    base_url = "" if options.base_url is None else options.base_url.base_url
    return GoValues.of(variables, base_url, options.namespace_prefix, options.system_namespace)


def _target(options: ScenariosOptions, base: GatewayEndpoint) -> ScenarioTarget:
    stats = options.stats_url
    return ScenarioTarget(
        gateway=Gateway(options.resolve or base.host, base.port, tls_context(options.ca_file) if base.secured else None, base.host),
        subjects=make_subjects().token,
        made=UNSIGNED_SUBJECTS,
        fresh=make_subjects,
        stats=None if stats is None else (stats.host, stats.port),
        timeout=options.timeout,
    )


def _chosen(scenarios: tuple[Scenario, ...], names: tuple[str, ...]) -> tuple[Scenario, ...]:
    known = {scenario.name for scenario in scenarios}
    unknown = [name for name in dict.fromkeys(names) if name not in known]
    if unknown:
        raise UsageError(*(f"--only {name!r}: there is no such scenario (--list shows them)" for name in unknown))
    return tuple(scenario for scenario in scenarios if not names or scenario.name in names)


def _read(file: Path, values: GoValues) -> tuple[Scenario, ...]:
    read = read_scenarios(_text(file, "--file", _MAX_FILE), values)
    if not isinstance(read, UnusableScenarios):
        return read
    raise UsageError(*(f"--file {file}: {problem.lined}" for problem in read.problems))


def _token(options: ScenariosOptions, variables: Mapping[str, str]) -> str | None:
    """Return the user's own token, ``None`` for the demo's. No message contains it."""
    if options.token_file is not None:
        where, text = f"--token-file {options.token_file}", _text(options.token_file, "--token-file", MAX_TOKEN_LENGTH)
    elif options.token_env:
        where = f"--token-env {options.token_env}"
        if options.token_env not in variables:
            raise UsageError(f"{where}: there is no such variable")
        text = variables[options.token_env]
    else:
        return None
    token = text.strip()
    if not is_bearer_token(token):
        raise UsageError(f"{where}: holds no bearer token (the token alone, without the word Bearer)")
    return token


def _text(file: Path, option: str, size: int) -> str:
    try:
        with file.open("rb") as stream:
            data = stream.read(size + 1)
        text = data.decode("utf-8")
    except OSError as error:
        raise UsageError(f"{option} {file}: {error.strerror or type(error).__name__}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{option} {file}: is not UTF-8") from None
    if len(data) > size:
        raise UsageError(f"{option} {file}: is longer than {size} bytes")
    return text


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """Return the context for connections to a server whose certificate ``ca_file``, or the system, vouches for.

    Raises:
        UsageError: the file cannot be used.
    """
    try:
        return client_tls_context(ca_file=ca_file)
    except OSError as error:
        raise UsageError(f"--ca-file {ca_file}: {describe_unusable(error)}") from None


def warning_about(options: ScenariosOptions, scenarios: tuple[Scenario, ...], target: ScenarioTarget) -> str:
    """Return the warning about a token of the user's, or of their file, that leaves this machine in the clear; "" if none does."""
    if target.gateway.tls is not None or is_loopback(options.resolve or target.gateway.host):
        return ""
    if target.lenient:
        return "your token is sent without TLS"
    return "the tokens in the file are sent without TLS" if any(scenario.call.literal for scenario in scenarios) else ""
