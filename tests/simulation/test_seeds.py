"""Seeds of the whole service: some that must hold, and bugs that must be found.

They run in processes of their own, since a seed must not see what other tests have left behind. Most are left to ``.ci/run``.
"""

import subprocess
import sys
from typing import Final

import pytest

from tests.simulation.plan import Plan, shrunk
from tests.simulation.planted import PLANTED
from tests.tiers import mostly_full

# Seeds that complained, and what was wrong then.
COMPLAINED: Final = {
    194: "policies had entries with the action allow, which no grants file granted",
    1304: "the first version lacked a denial that moved to another Namespace while ConfigMaps were first listed",
    123897333: "an issuer's permits began anew when its endpoint's path changed",
}


# What the quick tier plants: bugs of several rooms whose seeds take two seconds of CPU each.
QUICK_BUGS: Final = (
    "reuse-without-quarantine",
    "unreadable-closes-nothing",
    "denial-is-lost-beside-a-change",
    "granted-on-any-host",
    "handed-out-without-a-line",
)
# All seeds of bugs, those of the quick tier first. What a process imports takes as long as most seeds, which it forks for each.
_QUICK_SEEDS: Final = sorted({PLANTED[name].seed for name in QUICK_BUGS})
_OTHER_SEEDS: Final = sorted({bug.seed for bug in PLANTED.values()} - {*_QUICK_SEEDS})
WITHOUT_BUGS: Final = [",".join(map(str, seeds)) for seeds in (_QUICK_SEEDS, *(_OTHER_SEEDS[start::6] for start in range(6)))]


def simulated(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.simulation", "--jobs", "1", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("seeds", mostly_full(["1-10", "11-20"], ["1-10"]))
def test_seeds_hold(seeds: str) -> None:
    """All kinds of answers are among those of ten seeds."""
    told = simulated("--seeds", seeds, "--minutes", "0.05", "--each")
    assert told.returncode == 0, told.stdout + told.stderr
    for label in ("allow_exchange", "allow_unmatched", "deny_explicit_policy", "deny_exchange_error", "deny_policy_unhealthy"):
        assert label in told.stdout


def test_seeds_that_complained_hold() -> None:
    told = simulated("--seeds", ",".join(map(str, COMPLAINED)))
    assert told.returncode == 0, told.stdout + told.stderr


@pytest.mark.planted
@pytest.mark.parametrize("name", mostly_full(PLANTED, QUICK_BUGS))
def test_planted_bugs_are_found(name: str) -> None:
    seed = PLANTED[name].seed
    told = simulated("--planted", name, "--seed", str(seed))
    assert told.returncode == 1, told.stdout + told.stderr
    assert f"seed {seed}: " in told.stdout


@pytest.mark.planted
@pytest.mark.parametrize("seeds", mostly_full(WITHOUT_BUGS, WITHOUT_BUGS[:1]))
def test_seeds_of_planted_bugs_hold_without_them(seeds: str) -> None:
    """Otherwise the test before could not fail."""
    told = simulated("--seeds", seeds)
    assert told.returncode == 0, told.stdout + told.stderr


def test_a_failure_gets_smaller_until_nothing_can_be_left_out() -> None:
    def fails(plan: Plan) -> bool:
        return plan.users >= 4 and "late" in plan.faults and plan.storm >= 2.5

    smaller = shrunk(Plan(1, users=61), fails)
    assert fails(smaller)
    assert not any(fails(less) for less in smaller.smaller())
    assert (smaller.users, smaller.faults, smaller.rate, smaller.edits, smaller.issuers) == (4, frozenset({"late"}), 1.0, 0.0, 1)


def test_a_trace_has_a_line_for_each_event() -> None:
    told = simulated("--seed", "4", "--minutes", "0.02", "--trace")
    lines = told.stdout.splitlines()
    assert told.returncode == 0
    assert f" {len(lines) - 1} events," in lines[-1]
    assert any("gateway-0 asks user-" in line for line in lines)
