"""``python -m tests.simulation``: run the whole service under seeds, and judge every answer. A seed that fails is a bug report."""

import argparse
import os
import random
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.run import Result


def main() -> int:
    """Run what was asked for; the exit status is 1 if a seed has failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--seed", type=int, help="run this seed alone")
    which.add_argument("--seeds", metavar="FIRST-LAST", help="run these seeds")
    which.add_argument("--cpu", type=float, metavar="SECONDS", help="run new seeds for so much CPU time (default: 60)")
    which.add_argument("--forever", action="store_true", help="run new seeds until interrupted")
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
        _tell(result)
        if result.complaints and options.shrink:
            judge = result.complaints[0].partition(":")[0]
            smaller = plans.shrunk(plan, lambda less: any(told.startswith(judge) for told in next(run.apart([less])).complaints))
            print(f"the same failure with less: {smaller}")
            run.simulate(smaller, print)
        return int(bool(result.complaints))

    began, spent, failed, count, simulated = time.monotonic(), 0.0, [], 0, 0.0
    try:
        for result in run.apart((plans.Plan.drawn(seed, **fixed) for seed in _seeds(options)), options.jobs):
            count, spent, simulated = count + 1, spent + result.cpu, simulated + result.simulated
            if result.complaints:
                failed.append(result.plan.seed)
            if result.complaints or options.each:
                _tell(result)
            if options.seeds is None and not options.forever and spent >= (options.cpu or 60.0):
                break
            if options.forever and count % 100 == 0:
                print(f"{count} seeds, {len(failed)} failed, {simulated:.0f} simulated seconds", flush=True)
    except KeyboardInterrupt:
        pass
    print(
        f"{count} seeds, {simulated:.0f} simulated seconds in {spent:.1f} s of CPU and {time.monotonic() - began:.0f} s; "
        f"{len(failed)} failed{': ' + ', '.join(map(str, failed)) if failed else ''}"
    )
    if failed:
        minutes = "" if options.minutes is None else f" --minutes {options.minutes:g}"
        print(f"replay one with: python -m tests.simulation --trace{minutes} --seed SEED")
    return int(bool(failed))


def _seeds(options: argparse.Namespace) -> Iterator[int]:
    if options.seeds:
        first, _, last = options.seeds.partition("-")
        yield from range(int(first), int(last or first) + 1)
    else:
        first = random.SystemRandom().randrange(1_000_000_000)
        print(f"seeds from {first}", flush=True)
        while True:
            yield first
            first += 1


def _tell(result: "Result") -> None:
    print(
        f"seed {result.plan.seed}: digest {result.digest}, {result.events} events, {result.questions} questions, "
        f"{result.requests} requests to issuers, {result.simulated:.1f} simulated s in {result.cpu:.2f} s; {result.decisions}"
    )
    for complaint in result.complaints:
        print(f"  {complaint}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
