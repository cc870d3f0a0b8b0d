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

# A seed by which each bug is found.
FOUND_BY: Final = {
    "reuse-without-quarantine": 198,
    "assertion-is-sent-again": 153,
    "assertion-of-any-client": 139,
    "assertion-for-anybody": 139,
    "caller-is-not-in-the-key": 168,
    "key-without-scope": 15,
    "leader-takes-followers-along": 90,
    "row-kept-after-reset": 13,
    "deadline-without-margin": 2084,
    "kept-past-its-end": 176,
    "one-caller-opens-the-breaker": 820,
    "unreadable-closes-nothing": 13,
    "what-has-no-room-closes-nothing": 136,
    "size-has-no-limit": 136,
    "invalid-entry-closes-nothing": 13,
    "withdrawal-opens-what-others-close": 13,
    "mended-document-stays-closed": 61,
    "denial-is-lost-beside-a-change": 25,
    "quota-opens": 8,
    "granted-on-any-host": 54,
    "closes-outside-its-grants": 8,
    "verdict-outlives-its-key": 5,
    "deletions-are-lost": 15,
    "list-of-another-kind-counts": 1610,
    "event-of-another-kind-counts": 164,
    "waiter-without-deadline": 140,
    "nothing-is-held-back": 5541,
    "late-config-maps-are-not-waited-for": 325,
    "shared-although-single-use": 27,
    "another-endpoint-sees-the-credentials": 16,
    "refusal-of-new-credentials-is-final": 1377,
    "exchange-without-end": 1,
    "stream-overtakes": 195,
    "empty-file-withdraws": 118,
    "missing-folder-withdraws": 92,
    "unreadable-file-withdraws": 148,
    "grants-give-once": 9,
    "unusable-grants-grant-everything": 111,
    "shared-by-all-users": 200,
    "stored-in-clear": 195,
    "born-again-from-the-store": 97,
    "store-is-waited-for": 2291,
    "replicas-find-nothing": 70,
    "verdict-outlives-its-time": 120,
    "active-is-any-word": 179,
    "second-signal-is-ignored": 105,
    "log-holds-the-loop": 88,
    "lost-spans-do-not-count": 2346,
    "viewer-stays": 126,
    "who-leaves-leaves-no-record": 139,
    "former-authorities-are-trusted": 36,
    "certificate-is-read-once": 83,
    "half-a-pair-ends-the-service": 36,
    "secret-is-read-once": 196,
    "polled-secret-is-read-once": 98,
    "anothers-key-signs": 143,
    "refused-token-stays": 163,
    "refusal-takes-all": 133,
    "kept-without-proof": 93,
    "one-good-audience-is-enough": 126,
    "only-the-response-tells-the-scope": 93,
    "told-twice": 857,
    "gone-history-is-watched-on": 134,
    "outage-is-final": 25,
    "cache-without-bound": 18,
    "reads-to-the-end-in-one-turn": 9,
    "reads-policies-in-one-turn": 41,
    "handed-out-without-a-line": 93,
    "torn-line-counts": 2,
    "unwritten-refusals-are-forgotten": 24,
    "one-loss-counts-for-all": 511,
    "lines-left-at-the-end-do-not-count": 218,
    "drain-waits-for-nobody": 30,
    "draining-closes": 30,
    "listeners-close-at-once": 106,
    "unknown-name-escapes": 109,
    "denial-quotes-the-token": 13,
    "free-permit-wakes-nobody": 26,
}

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
# All seeds in ``FOUND_BY``, those of the quick tier first. What a process imports takes as long as most seeds, which it forks for each.
_QUICK_SEEDS: Final = sorted({FOUND_BY[name] for name in QUICK_BUGS})
_OTHER_SEEDS: Final = sorted({*FOUND_BY.values()} - {*_QUICK_SEEDS})
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
    seed = FOUND_BY[name]
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
