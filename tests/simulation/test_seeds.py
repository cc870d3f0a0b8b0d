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
    "reuse-without-quarantine": 6,
    "assertion-is-sent-again": 5,
    "assertion-of-any-client": 92,
    "assertion-for-anybody": 5,
    "caller-is-not-in-the-key": 5,
    "key-without-scope": 2,
    "leader-takes-followers-along": 46,
    "row-kept-after-reset": 2,
    "deadline-without-margin": 2,
    "kept-past-its-end": 51,
    "one-caller-opens-the-breaker": 59,
    "unreadable-closes-nothing": 1,
    "what-has-no-room-closes-nothing": 8,
    "size-has-no-limit": 20,
    "invalid-entry-closes-nothing": 16,
    "withdrawal-opens-what-others-close": 8,
    "mended-document-stays-closed": 20,
    "denial-is-lost-beside-a-change": 1,
    "quota-opens": 19,
    "granted-on-any-host": 43,
    "closes-outside-its-grants": 43,
    "verdict-outlives-its-key": 2,
    "deletions-are-lost": 1,
    "list-of-another-kind-counts": 56,
    "event-of-another-kind-counts": 15,
    "waiter-without-deadline": 2,
    "nothing-is-held-back": 20,
    "late-config-maps-are-not-waited-for": 214,
    "shared-although-single-use": 72,
    "another-endpoint-sees-the-credentials": 187,
    "refusal-of-new-credentials-is-final": 24,
    "exchange-without-end": 133,
    "stream-overtakes": 2,
    "empty-file-withdraws": 9,
    "missing-folder-withdraws": 94,
    "unreadable-file-withdraws": 5,
    "grants-give-once": 24,
    "unusable-grants-grant-everything": 66,
    "shared-by-all-users": 5,
    "stored-in-clear": 67,
    "born-again-from-the-store": 98,
    "store-is-waited-for": 15,
    "replicas-find-nothing": 155,
    "verdict-outlives-its-time": 3,
    "active-is-any-word": 3,
    "second-signal-is-ignored": 29,
    "log-holds-the-loop": 67,
    "lost-spans-do-not-count": 19,
    "viewer-stays": 3,
    "who-leaves-leaves-no-record": 18,
    "former-authorities-are-trusted": 42,
    "certificate-is-read-once": 41,
    "half-a-pair-ends-the-service": 42,
    "secret-is-read-once": 48,
    "polled-secret-is-read-once": 10,
    "anothers-key-signs": 24,
    "refused-token-stays": 42,
    "refusal-takes-all": 42,
    "kept-without-proof": 57,
    "one-good-audience-is-enough": 22,
    "only-the-response-tells-the-scope": 59,
    "told-twice": 2,
    "gone-history-is-watched-on": 1,
    "outage-is-final": 1,
    "cache-without-bound": 32,
    "reads-to-the-end-in-one-turn": 22,
    "reads-policies-in-one-turn": 22,
    "handed-out-without-a-line": 78,
    "torn-line-counts": 18,
    "unwritten-refusals-are-forgotten": 78,
}

# Seeds that complained, and what was wrong then.
COMPLAINED: Final = {
    74: "an exchange that waits for its turn at an issuer twice had no time left, and the judge saw no reason",
    161: "a question about a token, or an exchange that was shared, had no turn at its issuer, and the judge saw no reason",
    163: "the model knew no state between the watches of Namespaces and of ConfigMaps",
    108221098: "the model read a ConfigMap at once that had room again",
    959884475: "a gateway went on talking on a stream that the service had ended at its drain, with the answer before it",
    298314112: "questions of one stream were each to be answered as if there were no others before them",
    298314429: "the same, with questions about the tokens",
    320000224: "who closes one side of a connection over HTTP still gets an answer, and was taken for gone",
    320000269: "a random id had the three bytes by which tokens begin",
    320000574: "nothing shows that watches come apart after an API server stood still",
    320000693: "questions about tokens had no turn at their issuer, also in the quiet, and the judge saw no reason",
    330000167: "a set of keys was fetched first, which takes its time although all is well",
    340000516: "the last of a crowd arrive later than others, or never, and were to be answered, and seen, as soon",
    312000038: "a gateway waited while it shook hands, of which the service cannot know",
    298314428: "streams went on in the turn of the answer that they waited for, and look-ups in held versions did not count",
    298314473: "a token came when no time was left for its line of the audit log, and the judge saw no reason",
    108221137: "calls that came while two were looked at again were counted as beside them",
}


# What the quick tier plants: bugs of several rooms whose seeds take two seconds of CPU each.
QUICK_BUGS: Final = (
    "reuse-without-quarantine",
    "unreadable-closes-nothing",
    "denial-is-lost-beside-a-change",
    "granted-on-any-host",
    "handed-out-without-a-line",
)


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


@pytest.mark.parametrize("seed", mostly_full(COMPLAINED, [163]))
def test_seeds_that_complained_hold(seed: int) -> None:
    told = simulated("--seed", str(seed))
    assert told.returncode == 0, told.stdout + told.stderr


@pytest.mark.planted
@pytest.mark.parametrize("name", mostly_full(PLANTED, QUICK_BUGS))
def test_planted_bugs_are_found(name: str) -> None:
    seed = FOUND_BY[name]
    told = simulated("--planted", name, "--seed", str(seed))
    assert told.returncode == 1, told.stdout + told.stderr
    assert f"seed {seed}: " in told.stdout


@pytest.mark.planted
@pytest.mark.parametrize("seed", mostly_full(sorted({*FOUND_BY.values()}), {FOUND_BY[name] for name in QUICK_BUGS}))
def test_seeds_of_planted_bugs_hold_without_them(seed: int) -> None:
    """Otherwise the test before could not fail."""
    told = simulated("--seed", str(seed))
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
