"""Runs scenarios against a gateway, many at once and again and again, and tells how many were not as expected.

Only the demo's scenarios with a single request are run. E2E_STRESS_CONCURRENCY, E2E_STRESS_DURATION
and E2E_STRESS_REQUEST_TIMEOUT are the defaults of options. Exit status: 0 if at least one request was made and all were as expected,
1 if not, 2 for wrong options, 130 after Ctrl-C.
"""

import argparse
import itertools
import os
import ssl
import statistics
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Final

import trio

from exchanger.commands.scenarios.builtin import SCENARIOS
from exchanger.commands.scenarios.options import ScenariosOptions, add_arguments, options_of
from exchanger.commands.scenarios.runner import run_scenario
from exchanger.commands.scenarios.scenario import OneRequest
from exchanger.commands.scenarios.target import UNSIGNED_SUBJECTS, Gateway, ScenarioTarget
from exchanger.commands.scenarios.tokens import make_subjects
from exchanger.util.duration import parse_duration

SINGLE: Final = tuple(scenario for scenario in SCENARIOS if isinstance(scenario, OneRequest) and not scenario.call.grants)
# More at once than that is a load test, for which a forwarded port is no way to take.
MOST: Final = 256
# Options of ``exchanger scenarios`` that are meant here, too.
TAKEN: Final = frozenset({"base_url", "resolve", "ca_file", "timeout", "concurrency", "duration"})
# Different unexpected results that are shown.
SHOWN: Final = 10


def target_of(options: ScenariosOptions) -> ScenarioTarget:
    """Return what the options name."""
    base = options.base_url
    assert base is not None  # noqa: S101 - main() has asked for it
    tls = ssl.create_default_context(cafile=options.ca_file) if base.secured else None
    gateway = Gateway(options.resolve or base.host, base.port, tls, base.host)
    return ScenarioTarget(gateway=gateway, subjects=make_subjects().token, made=UNSIGNED_SUBJECTS, timeout=options.timeout)


async def stress(target: ScenarioTarget, concurrency: int, seconds: float) -> int:
    """Run the scenarios in turn, ``concurrency`` at once, for so many seconds; print what came of it, and return the exit status."""
    elapsed: list[float] = []
    unexpected: Counter[str] = Counter()
    turns = itertools.cycle(SINGLE)

    async def worker() -> None:
        while trio.current_time() < deadline:
            finding = await run_scenario(next(turns), target)
            elapsed.append(finding.elapsed)
            if not finding.ok:
                unexpected[f"{finding.name}: {finding.got}"] += 1

    deadline = trio.current_time() + seconds
    async with trio.open_nursery() as nursery:
        for _ in range(concurrency):
            nursery.start_soon(worker)
    p50, p95, p99 = (quantile(elapsed, share) * 1000 for share in (0.5, 0.95, 0.99))
    wrong = unexpected.total()
    print(f"{len(elapsed)} requests, {wrong} not as expected, {len(elapsed) / seconds:.0f} a second")
    print(f"p50 {p50:.0f} ms, p95 {p95:.0f} ms, p99 {p99:.0f} ms")
    for what, count in unexpected.most_common(SHOWN):
        print(f"{count} × {what}")
    return 1 if wrong or not elapsed else 0


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value that ``share`` of ``values`` do not exceed; 0 if there is none."""
    return statistics.quantiles(values, n=100, method="inclusive")[round(share * 100) - 1] if len(values) > 1 else sum(values)


def _concurrency(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= MOST:
        raise argparse.ArgumentTypeError(f"must be a number from 1 to {MOST}")
    return int(text)


def _duration(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError:
        seconds = 0.0
    if seconds <= 0:
        raise argparse.ArgumentTypeError("must be a duration above 0, such as 90s or 2m")
    return seconds


def main(arguments: Sequence[str]) -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    add_arguments(parser)
    variables = {name: os.environ.get(f"E2E_STRESS_{name}") for name in ("CONCURRENCY", "DURATION", "REQUEST_TIMEOUT")}
    parser.add_argument("--concurrency", type=_concurrency, default=variables["CONCURRENCY"] or "8", help="requests at once (default: 8)")
    parser.add_argument("--duration", type=_duration, default=variables["DURATION"] or "30s", help="how long (default: 30s)")
    if variables["REQUEST_TIMEOUT"]:
        parser.set_defaults(timeout=_duration(variables["REQUEST_TIMEOUT"]))
    options = parser.parse_args(arguments)
    refused = [f"--{name.replace('_', '-')}" for name, value in vars(options).items() if name not in TAKEN and value]
    if refused or options.base_url is None:
        parser.error(f"{refused[0]} is not for a stress test" if refused else "--base-url is missing")
    try:
        return trio.run(stress, target_of(options_of(options)), options.concurrency, options.duration)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
