"""``python -m tests.explore``: tries all laws with other and many more examples, and prints how to replay what fails.

Each round runs every law with a new seed, except those that failed before. The last one is cut off when the time is over.
"""

import argparse
import os
import secrets
import shlex
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import attrs
import pytest

# Asks tests/examples.py for other examples than usual, and for so many times as many.
EXPLORE: Final = "EXCHANGER_TESTS_EXPLORE"
HERE: Final = Path(__file__).resolve().parent
# A round takes some twenty minutes of CPU.
TIMES: Final = 10
# Seconds until a round whose time is over is interrupted again: more than pytest takes to end.
REPEATED_S: Final = 30.0
# After these, another round is of use.
GOES_ON: Final = frozenset({pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED})


@attrs.define(eq=False)
class Round:
    """A run of the laws with one seed; a pytest plugin that notes which of them fail."""

    seed: int
    times: int
    failed: dict[str, None] = attrs.field(factory=dict, init=False)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a law that failed."""
        if report.failed:
            self.failed[report.nodeid] = None

    def run(self, processes: str, paths: Iterable[str], without: Iterable[str], due: float) -> pytest.ExitCode:
        """Run the laws in ``paths`` but for those ``without``, until ``due``."""
        os.environ[EXPLORE] = str(self.times)
        options = ["-q", "-rN", "-p", "no:cacheprovider", "-m", "hypothesis", "-n", processes, f"--hypothesis-seed={self.seed}"]
        options += (f"--deselect={law}" for law in without)
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        # Again where an interrupt is lost, as one within a finalizer is.
        signal.setitimer(signal.ITIMER_REAL, max(due - time.monotonic(), 0.001), REPEATED_S)
        try:
            return pytest.ExitCode(pytest.main([*options, *paths], plugins=[self]))
        except KeyboardInterrupt:  # before pytest was ready for it
            return pytest.ExitCode.INTERRUPTED
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def replay(self, law: str) -> str:
        """Return the command that fails in the same way. The ``@reproduce_failure`` that Hypothesis prints does so at once."""
        command = (sys.executable, "-m", "pytest", "-q", f"--hypothesis-seed={self.seed}", law)
        return f"{EXPLORE}={self.times} {shlex.join(command)}"


def main(arguments: list[str] | None = None) -> int:
    """Return 0 if every law held, 1 if one did not, and pytest's status if it could not run them."""
    parser = argparse.ArgumentParser(prog="python -m tests.explore", description="Try all laws with new seeds and many more examples.")
    parser.add_argument("--minutes", type=float, default=60.0, help="how long to try (default: %(default)g)")
    parser.add_argument("--rounds", type=int, help="how many rounds at most (default: as many as there is time for)")
    parser.add_argument("--times", type=int, default=TIMES, help="how many times the usual number of examples (default: %(default)s)")
    parser.add_argument("--seed", type=int, help="the first round's seed; later rounds count up from it (default: a random one)")
    parser.add_argument("--processes", default=str(os.cpu_count() or 1), help="how many at once (default: one per core, %(default)s)")
    parser.add_argument("paths", nargs="*", default=[str(HERE)], help="files or folders of laws (default: all)")
    chosen = parser.parse_args(arguments)
    due = time.monotonic() + 60 * chosen.minutes
    first = secrets.randbits(32) if chosen.seed is None else chosen.seed
    failures: dict[str, str] = {}
    status, rounds = pytest.ExitCode.OK, 0
    while not rounds or (rounds != chosen.rounds and time.monotonic() < due and status in GOES_ON):
        current = Round(first + rounds, chosen.times)
        rounds += 1
        print(f"== round {rounds}, seed {current.seed}", flush=True)
        status = current.run(chosen.processes, chosen.paths, failures, due)
        failures |= {law: current.replay(law) for law in current.failed}
    cut_off = " (the last one was cut off)" if status is pytest.ExitCode.INTERRUPTED else ""
    print(f"== rounds: {rounds}{cut_off}; laws that failed: {len(failures)}")
    for law, replay in failures.items():
        print(f"{law}\n    {replay}")
    if failures:
        return 1
    return 0 if status in {pytest.ExitCode.OK, pytest.ExitCode.INTERRUPTED} else int(status)


if __name__ == "__main__":
    ended = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Not ``sys.exit``: where the end of the time once came within an ``exec``, CPython kills the process by SIGINT at its own end.
    os._exit(ended)
