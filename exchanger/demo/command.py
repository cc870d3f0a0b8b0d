"""``exchanger demo``: sets everything up in one nursery, shows or checks it, and leaves nothing behind.

Exit status: 0 when the checks passed, or when the demo was up and was ended by Ctrl-C (or SIGTERM, SIGHUP), which is how it ends; 1 when a
check failed, something could not be started or ended by itself, or the service did not end cleanly; 2 when options do not go together; 128
and the signal's number, as shells have it, when the signal came before the demo was up or during the checks.

Must not know: what the scenarios are, or how processes are ended.
"""

import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import trio

from exchanger.demo.display import Columns, Output, Progress, guide, table_head, table_row
from exchanger.demo.envoy import find_envoy
from exchanger.demo.faults import DemoError
from exchanger.demo.options import DemoOptions, add_arguments, options_of
from exchanger.demo.processes import describe_exit
from exchanger.demo.runner import Finding, run_scenario
from exchanger.demo.service import SERVICE_COMMAND
from exchanger.demo.stage import Programs, Stage, set_up, wait_ready

__all__ = ["DemoOptions", "add_arguments", "demonstrate", "options_of", "run_demo"]

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # Ctrl-C, a supervisor's request, and a terminal that was closed
LATE_SIGNALS = 0.05  # seconds in which a second Ctrl-C, sent while everything was ending, is taken from the queue
USAGE_ERROR = 2  # as argparse has it
SIGNAL_STATUS = 128  # added to a signal's number, as shells report a command that a signal has ended


async def run_demo(options: DemoOptions) -> int:
    """Run the demo on this terminal until it is interrupted, or its checks are done; return the exit status."""
    if problems := options.problems():
        Progress(sys.stderr).say("\n".join(f"exchanger demo: {problem}" for problem in problems))
        return USAGE_ERROR
    try:
        programs = Programs(service=SERVICE_COMMAND, envoy=find_envoy())
    except DemoError as error:
        Progress(sys.stderr).say(f"exchanger demo: {error}")
        return 1
    status = await demonstrate(options, programs, sys.stdout, sys.stderr)
    try:
        sys.stdout.flush()
    except OSError:
        # What nobody reads is still in the buffer, and would be tried again, and complained about, at the interpreter's end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status


async def demonstrate(options: DemoOptions, programs: Programs, out: Output, err: Output) -> int:
    """Run the demo with these programs; return the exit status. Must be called in the main thread, which is where signals arrive."""
    progress = Progress(out)
    demo = _Demo(options, programs, progress)
    with trio.open_signal_receiver(*SIGNALS) as signals:
        with tempfile.TemporaryDirectory(prefix="exchanger-demo-", ignore_cleanup_errors=True) as folder:
            try:
                await demo.run(Path(folder), signals)
                demo.tell_end()
            except* DemoError as faults:
                demo.failed = True
                with contextlib.suppress(DemoError):  # nowhere is left to say it; the status does
                    for fault in _leaves(faults):
                        Progress(err).say(f"exchanger demo: {fault}")
        with trio.move_on_after(LATE_SIGNALS):
            async for _ in signals:
                pass
    return demo.exit_status()


@attrs.define(eq=False)
class _Demo:
    """One run: what it was told, how far it came, and how it ended."""

    _options: DemoOptions
    _programs: Programs
    _progress: Progress
    failed: bool = False
    _up: bool = False
    _signal: int | None = None
    _stage: Stage | None = None

    def statistics(self) -> tuple[bool, bool, int | None]:
        """Return whether it came up, whether it failed, and which signal ended it."""
        return self._up, self.failed, self._signal

    async def run(self, folder: Path, signals: AsyncIterator[int]) -> None:
        """Set up, show or check, and end; everything that was started has ended when this returns or raises.

        Raises:
            ExceptionGroup: of ``DemoError``, when something could not be started or ended by itself.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._end_on_signal, signals, nursery.cancel_scope)
            self._stage = await set_up(nursery, self._options, self._programs, folder, self._progress)
            issued = await wait_ready(self._stage, self._progress, self._options.start_timeout)
            self._up = True
            if self._options.check:
                await self._check(self._stage)
                nursery.cancel_scope.cancel()
            else:
                self._progress.say(guide(self._stage.site, issued, self._stage.programme))
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

    async def _check(self, stage: Stage) -> None:
        scenarios, ground = stage.programme.scenarios, stage.programme.ground(stage.site)
        columns = Columns.of(scenarios)
        self._progress.say(f"\n{table_head(columns)}")
        findings = []
        for scenario in scenarios:
            finding = await run_scenario(scenario, ground)
            self._progress.say(table_row(finding, columns))
            findings.append(finding)
        findings.append(await self._check_stop(stage))
        self._progress.say(table_row(findings[-1], columns))
        failed = sum(not finding.ok for finding in findings)
        self.failed = failed > 0
        self._progress.say(f"\n{len(findings) - failed} of {len(findings)} as expected")
        if self.failed:
            for child in (stage.service, stage.gateway):
                self._progress.say(f"  {child.name}:\n{child.log_tail()}")

    async def _check_stop(self, stage: Stage) -> Finding:
        started = trio.current_time()
        status = await stage.service.stop()
        elapsed = trio.current_time() - started
        return Finding("service-stop", "exit status 0 on SIGTERM", describe_exit(status), ok=status == 0, elapsed=elapsed)

    def tell_end(self) -> None:
        """Say how the processes ended; a service that was up has to end with status 0."""
        if self._stage is None:
            return
        ended = self._stage.statistics()
        if self._up and ended.service.exit_status != 0:
            self.failed = True
        self._progress.say(f"ended: service {describe_exit(ended.service.exit_status)}, Envoy {describe_exit(ended.gateway.exit_status)}")


def _leaves(group: BaseExceptionGroup[DemoError]) -> list[DemoError]:
    """Return the faults in ``group``, in order, whatever groups they are in."""
    found: list[DemoError] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
