"""``exchanger demo``: starts everything in one nursery, shows or checks it, and leaves nothing behind.

Exit status: 0 if the checks passed, or if the demo was up and was ended by Ctrl-C (or SIGTERM, SIGHUP), as intended; 1 if a check
failed, something could not be started or ended unexpectedly, or the service did not end cleanly; 2 if options contradict each other; 128
plus the signal's number, as shells report it, if the signal came before the demo was up or during the checks.
"""

import contextlib
import json
import os
import shlex
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Final

import attrs
import trio

from exchanger.commands.demo import DemoError
from exchanger.commands.demo.gateways.kinds import find_program
from exchanger.commands.demo.options import DemoOptions
from exchanger.commands.demo.processes import describe_exit
from exchanger.commands.demo.remote import check_gateway, plan_remote, show_gateway
from exchanger.commands.demo.running import Programs, RunningDemo, start_demo, wait_ready
from exchanger.commands.demo.service import SERVICE_COMMAND
from exchanger.commands.demo.setup import DemoPorts, DemoSetup
from exchanger.commands.scenarios.client import LOOPBACK
from exchanger.commands.scenarios.command import UsageError
from exchanger.commands.scenarios.display import SHELL_NAMES, Columns, foot, shell_line, table_head, table_row
from exchanger.commands.scenarios.runner import Finding, run_scenario, summary
from exchanger.commands.scenarios.scenario import Scenario
from exchanger.commands.scenarios.terminal import Progress, TextOutput
from exchanger.commands.terminal import OutputError, drop_output
from exchanger.formats.jwt.unverified import claims_of
from exchanger.model.errors import leaves

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # Ctrl-C, a supervisor's request, and a terminal that was closed
LATE_SIGNALS: Final = 0.05  # seconds in which a second Ctrl-C, sent while everything was ending, is taken from the queue
END: Final = "Ctrl-C stops everything"
USAGE_ERROR: Final = 2  # as argparse has it
SIGNAL_STATUS: Final = 128


async def run_demo(options: DemoOptions) -> int:
    """Run the demo on this terminal until it is interrupted, or its checks are done; return the exit status."""
    if problems := options.problems():
        Progress(sys.stderr).say("\n".join(f"exchanger demo: {problem}" for problem in problems))
        return USAGE_ERROR
    if options.gateway is not None and options.check:
        return await check_gateway(options)
    if options.gateway is not None:
        status = await show_remote(options, os.environ, sys.stdout, sys.stderr)
    else:
        try:
            programs = Programs(service=SERVICE_COMMAND, gateway=find_program(options.gateway_kind))
        except DemoError as error:
            Progress(sys.stderr).say(f"exchanger demo: {error}")
            return 1
        status = await demonstrate(options, programs, sys.stdout, sys.stderr)
    try:
        sys.stdout.flush()
    except OSError:
        drop_output()
    return status


async def demonstrate(options: DemoOptions, programs: Programs, out: TextOutput, err: TextOutput) -> int:
    """Run the demo with these programs; return the exit status. Must be called in the main thread, where signals arrive."""
    progress = Progress(out)
    demo = _Demo(options, programs, progress)
    with trio.open_signal_receiver(*SIGNALS) as signals:
        with tempfile.TemporaryDirectory(prefix="exchanger-demo-", ignore_cleanup_errors=True) as folder:
            try:
                await demo.run(Path(folder), signals)
                demo.tell_end()
            except* (DemoError, OutputError) as faults:
                demo.failed = True
                with contextlib.suppress(OutputError):  # the exit status still says it
                    for fault in leaves(faults):
                        Progress(err).say(f"exchanger demo: {fault}")
        await _drop_late(signals)
    return demo.exit_status()


async def show_remote(options: DemoOptions, variables: Mapping[str, str], out: TextOutput, err: TextOutput) -> int:
    """Show a gateway that is already there until a signal comes; return the exit status. Must be called in the main thread."""
    complaints = Progress(err)
    try:
        demo = plan_remote(options, variables)
    except UsageError as error:
        complaints.say("\n".join(f"exchanger demo: {problem}" for problem in error.problems))
        return USAGE_ERROR
    received: list[int] = []
    up, failed = trio.Event(), False

    async def end_on_signal(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
        received.append(await anext(signals))
        scope.cancel()

    with trio.open_signal_receiver(*SIGNALS) as signals:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(end_on_signal, signals, nursery.cancel_scope)
                await show_gateway(demo, options, Progress(out), up)
        except* (DemoError, OutputError) as faults:
            failed = True
            with contextlib.suppress(OutputError):  # the exit status still says it
                for fault in leaves(faults):
                    complaints.say(f"exchanger demo: {fault}")
        await _drop_late(signals)
    return 1 if failed else 0 if up.is_set() else SIGNAL_STATUS + received[0]


async def _drop_late(signals: AsyncIterator[int]) -> None:
    with trio.move_on_after(LATE_SIGNALS):
        async for _ in signals:
            pass


@attrs.define(eq=False)
class _Demo:
    """One run: its options, how far it came, and how it ended."""

    _options: DemoOptions
    _programs: Programs
    _progress: Progress
    failed: bool = False
    _up: bool = False
    _signal: int | None = None
    _running: RunningDemo | None = None

    async def run(self, folder: Path, signals: AsyncIterator[int]) -> None:
        """Set up, show or check, and end; everything that was started has ended when this returns or raises.

        Raises:
            ExceptionGroup: of ``DemoError``, when something could not be started or ended unexpectedly
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._end_on_signal, signals, nursery.cancel_scope)
            self._running = await start_demo(nursery, self._options, self._programs, folder, self._progress)
            issued = await wait_ready(self._running, self._progress, self._options.start_timeout)
            self._up = True
            if self._options.check:
                await self._check(self._running)
                nursery.cancel_scope.cancel()
            else:
                ports, setup = self._running.ports, self._running.setup
                variables_file(ports).write_text(f"{variables(ports, setup)}\n")
                self._progress.say(guide(ports, issued, setup))
                await trio.sleep_forever()

    def exit_status(self) -> int:
        """Return the exit status of a run that has ended."""
        if self._signal is not None and (self._options.check or not self._up):
            return SIGNAL_STATUS + self._signal
        return 1 if self.failed else 0

    async def _end_on_signal(self, signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
        self._signal = await anext(signals)
        scope.cancel()
        self._progress.say(f"{signal.Signals(self._signal).name}: ending")

    async def _check(self, demo: RunningDemo) -> None:
        scenarios, target = demo.setup.scenarios, demo.setup.target(demo.ports)
        columns, screen = Columns.of(scenarios), self._progress.screen(os.environ)
        self._progress.say(f"\n{table_head(columns, screen)}")
        findings = []
        for scenario in scenarios:
            finding = await run_scenario(scenario, target)
            self._progress.say(table_row(finding, columns, screen))
            findings.append(finding)
        findings.append(await self._check_stop(demo))
        self._progress.say(table_row(findings[-1], columns, screen))
        self.failed = any(not finding.ok for finding in findings)
        self._progress.say(foot(findings))
        if self.failed:
            for child in (demo.service, demo.gateway):
                self._progress.say(f"  {child.name}:\n{child.log_tail()}")

    async def _check_stop(self, demo: RunningDemo) -> Finding:
        started = trio.current_time()
        status = await demo.service.stop()
        elapsed = trio.current_time() - started
        return Finding("service-stop", "exit status 0 on SIGTERM", describe_exit(status), ok=status == 0, elapsed=elapsed)

    def tell_end(self) -> None:
        """Report how the processes ended; a service that was up must end with status 0."""
        if self._running is None:
            return
        service, gateway = self._running.service, self._running.gateway
        if self._up and service.exit_status != 0:
            self.failed = True
        self._progress.say(f"ended: service {describe_exit(service.exit_status)}, {gateway.name} {describe_exit(gateway.exit_status)}")


def variables_file(ports: DemoPorts) -> Path:
    """Return the file with ``variables``, in the folder that is removed at the end."""
    return ports.policy.parent / "env.sh"


def variables(ports: DemoPorts, setup: DemoSetup) -> str:
    """Return the lines for a shell that define what the commands of the guide use."""
    needed = {scenario.call.subject for scenario in _callable(ports, setup)}
    tokens = [(name.removeprefix("$"), setup.token(subject)) for subject, name in SHELL_NAMES.items() if subject in needed]
    lines = (
        f"export GATEWAY={ports.gateway}",
        *(f"export {name}={token}" for name, token in tokens),
        f"export POLICY={shlex.quote(str(ports.policy))}",
    )
    return "\n".join(lines)


def _callable(ports: DemoPorts, setup: DemoSetup) -> list[Scenario]:
    target = setup.target(ports)
    return [scenario for scenario in setup.scenarios if not target.why_not(scenario.call)]


def guide(ports: DemoPorts, issued: dict[str, object], setup: DemoSetup) -> str:
    """Return what to try and where to look; ``issued`` are the claims of the first token that the upstream saw."""
    target = setup.target(ports)
    return "\n".join(
        (
            "",
            "The caller's token, as the gateway receives it:",
            _claims(claims_of(ports.subjects.valid)),
            "The token that the upstream receives in its place:",
            _claims(issued),
            "To try in another terminal, with the variables below:",
            "",
            *(
                f"  # {scenario.name}: {scenario.watch}\n  # => {summary(scenario)}\n  {shell_line(scenario)}\n"
                for scenario in _callable(ports, setup)
            ),
            f"Policy folder: {ports.policy}",
            "  You can edit it: saved changes take effect within a second. It is removed at the end.",
            *((f"Grants:        {ports.grants}  (you can edit it, too)",) if ports.grants else ()),
            f"Logs:          {ports.policy.parent}/*.log",
            *((f"Token counts:  http://{LOOPBACK}:{ports.token_port}/stats",) if target.stats else ()),
            f"Metrics:       http://{LOOPBACK}:{ports.metrics_port}/metrics",
            "",
            f"Variables for the commands above ({setup.remark}):",
            "",
            *(f"  {line}" for line in variables(ports, setup).splitlines()),
            *((f"  # a new token: {setup.renewal}",) if setup.renewal else ()),
            "",
            f"The same, from a file: . {shlex.quote(str(variables_file(ports)))}",
            "",
            f"Console: {ports.console}  (open it in a browser; {END})" if ports.console_port else f"{END}.",
        )
    )


def _claims(claims: dict[str, object] | None) -> str:
    if claims is None:
        return "  (an opaque token)\n"
    return "\n".join(f"  {line}" for line in json.dumps(claims, indent=2).splitlines()) + "\n"
