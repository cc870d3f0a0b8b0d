"""``python -m tests.simulation``: run the whole service under seeds, and judge every answer. A seed that fails is a bug report."""

import argparse
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tests.simulation.run import Result

# One in so many new seeds runs in another process as well, and its trace must be the same.
_TWICE: Final = 100


def main() -> int:
    """Run what was asked for; the exit status is 1 if a seed has failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--seed", type=int, help="run this seed alone")
    which.add_argument("--seeds", metavar="FIRST-LAST[,…]", help="run these seeds, each in a fork of one process")
    which.add_argument("--cpu", type=float, metavar="SECONDS", help="run new seeds for so much CPU time (default: 60)")
    which.add_argument("--forever", action="store_true", help="run new seeds until interrupted")
    parser.add_argument("--from", type=int, dest="first", metavar="SEED", help="the first of the new seeds (default: any)")
    parser.add_argument("--minutes", type=float, help="how long the storm of each seed is, in simulated minutes")
    parser.add_argument("--trace", action="store_true", help="print one line an event: simulated time, who, what")
    parser.add_argument("--each", action="store_true", help="print a line for each seed, with the digest of its trace")
    parser.add_argument("--shrink", action="store_true", help="look for a smaller world with the same failure")
    parser.add_argument("--planted", metavar="NAME", help="plant a bug first; '?' lists them")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at once (default: one a core)")
    options = parser.parse_args()
    planted = import_module("tests.simulation.planted")  # before anything of the service is imported
    if options.planted == "?":
        print("\n".join(f"{name}: {bug.what}" for name, bug in planted.PLANTED.items()))
        return 0
    if options.planted:
        planted.plant(options.planted)
    run = import_module("tests.simulation.run")
    plans = import_module("tests.simulation.plan")
    fixed = {} if options.minutes is None else {"storm": options.minutes * 60}

    if options.seed is not None:
        plan = plans.Plan.drawn(options.seed, **fixed)
        result = run.simulate(plan, print if options.trace else None)
        _tell(result, result.complaints)
        if result.complaints and options.shrink:
            judge = result.complaints[0].partition(":")[0]
            smaller = plans.shrunk(plan, lambda less: any(told.startswith(judge) for told in next(run.apart([less])).complaints))
            print(f"the same failure with less: {smaller}")
            run.simulate(smaller, print)
        return int(bool(result.complaints))

    return _many(options, run.apart((plans.Plan.drawn(seed, **fixed) for seed in _seeds(options)), options.jobs))


def _many(options: argparse.Namespace, results: "Iterator[Result]") -> int:
    began, spent, failed, count, simulated = time.monotonic(), 0.0, [], 0, 0.0
    summary = ""
    try:
        for count, result in enumerate(results, 1):
            spent, simulated = spent + result.cpu, simulated + result.simulated
            complaints = list(result.complaints)
            if options.seeds is None and count % _TWICE == 1 and (other := _again(result.plan.seed, options)) != result.digest:
                complaints.append(f"determinism: another process's digest is {other}")
            if complaints:
                failed.append(result.plan.seed)
            if complaints or options.each:
                _tell(result, complaints)
            summary = f"{count} seeds, {simulated:.0f} simulated seconds in {spent:.0f} s of CPU, {len(failed)} failed"
            if options.seeds is None and not options.forever and spent >= (options.cpu or 60.0):
                break
            if options.forever and count % _TWICE == 0:
                print(summary, flush=True)
    except KeyboardInterrupt:
        pass
    print(f"{summary}{': ' + ', '.join(map(str, failed)) if failed else ''}; {time.monotonic() - began:.0f} s")
    if failed:
        print(f"replay one with: python -m tests.simulation --trace{''.join(f' {word}' for word in _world(options))} --seed SEED")
    return int(bool(failed))


def _world(options: argparse.Namespace) -> list[str]:
    """Return the options that make another world of a seed."""
    minutes = [] if options.minutes is None else ["--minutes", f"{options.minutes:g}"]
    return minutes if options.planted is None else [*minutes, "--planted", options.planted]


def _again(seed: int, options: argparse.Namespace) -> str:
    """Return the digest of a seed's trace in a process of its own, in which sets and dictionaries have another order."""
    command = [sys.executable, "-m", "tests.simulation", *_world(options), "--seed", str(seed)]
    told = subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": str(seed % 1000)}, capture_output=True, text=True, check=False)
    return told.stdout.partition("digest ")[2].partition(",")[0]


def _seeds(options: argparse.Namespace) -> Iterator[int]:
    if options.seeds:
        for part in options.seeds.split(","):
            first, _, last = part.partition("-")
            yield from range(int(first), int(last or first) + 1)
    else:
        first = random.SystemRandom().randrange(1_000_000_000) if options.first is None else options.first
        print(f"seeds from {first}", flush=True)
        while True:
            yield first
            first += 1


def _tell(result: "Result", complaints: Sequence[str]) -> None:
    print(
        f"seed {result.plan.seed}: digest {result.digest}, {result.events} events, {result.questions} questions, "
        f"{result.requests} requests to issuers, {result.simulated:.1f} simulated s in {result.cpu:.2f} s; {result.decisions}"
    )
    for complaint in complaints:
        print(f"  {complaint}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
