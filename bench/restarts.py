"""Restarts and certificate rotations under load, through a real Envoy, twenty of each: no request may get a wrong answer.

Usage: python bench/restarts.py [--count 20] [--only restarts|rotations] [--mode ext_authz|ext_proc]

For each run it prints the number of requests and of wrong answers, with the first three of them and when they came. The exit status is 1 if
there were any. The tests do the same with a count of four and pauses between requests.
"""

import argparse
import sys
import tempfile
from functools import partial
from pathlib import Path

import trio

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from exchanger.commands.demo.envoy import FilterMode
from tests.e2e.churn import Load, restarts_under_load, rotations_under_load


def main() -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--only", choices=("restarts", "rotations"))
    parser.add_argument("--mode", choices=tuple(mode.value for mode in FilterMode))
    options = parser.parse_args()
    wrong = 0
    for mode in FilterMode:
        churn = {"mode": mode, "count": options.count, "pause": 0.0}
        runs = {
            "restarts": partial(restarts_under_load, **churn),
            "rotations": partial(rotations_under_load, **churn, mutual=mode is FilterMode.EXT_AUTHZ),
        }
        for name, run in runs.items():
            if options.only in {None, name} and options.mode in {None, mode.value}:
                with tempfile.TemporaryDirectory(prefix="exchanger-bench-") as folder:
                    load: Load = trio.run(run, Path(folder))
                print(
                    f"{mode.value}: {options.count} {name}, {load.asked} requests: {load.summary() or 'all answers as expected'}",
                    flush=True,
                )
                wrong += len(load.wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
