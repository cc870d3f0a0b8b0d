"""Baseline denials: they come before every policy, on every reading of the path."""

import pytest

from exchanger.model.entry import BASELINE, DenyEntry, MatchScope, PathType
from exchanger.model.policy_decision import AMBIGUOUS_AUTHORITY, AMBIGUOUS_PATH, NO_MATCH, NoMatch, PolicyDecision, Unhealthy
from exchanger.policy.explanation import explain
from exchanger.policy.snapshot import PolicySnapshot
from tests.policy.examples import BLUE, HOST, RED, closed_scope, exchange, snapshot_of, with_baseline

INTERNAL = DenyEntry(BASELINE, 0, MatchScope("*.example.com", "/internal", None, True, PathType.SEGMENT))
EVERYWHERE = DenyEntry(BASELINE, 1, MatchScope(None, "/-/", frozenset({"GET"})))
OPENS = exchange("/internal/open")


def denied(path: str, method: str = "POST", host: str = HOST, *, raw: bool = True) -> PolicyDecision:
    policies = snapshot_of(OPENS, closed_scope("/internal/broken", source=BLUE))
    return with_baseline(policies, INTERNAL, EVERYWHERE).match(host, path, method, raw=raw)


@pytest.mark.parametrize(
    "path",
    [
        "/internal",
        "/internal/open",
        "/internal/broken",
        "/INTERNAL/x?y",
        "/x/../internal/open",
        "/%69nternal",
        "/x/..;/internal",
        "//internal",
        "/internal%2Fx",
    ],
)
def test_no_policy_and_no_spelling_opens_what_the_baseline_denies(path: str) -> None:
    assert denied(path) == INTERNAL


@pytest.mark.parametrize(
    ("path", "decision"),
    [
        ("/inter!nal", INTERNAL),  # a byte that the server drops
        ("/internals", NO_MATCH),
        ("/" + "!" * 100, AMBIGUOUS_PATH),
        ("/%zz", AMBIGUOUS_PATH),
        ("/internal/#x", INTERNAL),  # refused in any case: what is known of it is denied
        ("", AMBIGUOUS_PATH),
    ],
)
def test_a_path_that_cannot_be_read_passes_no_host_with_a_baseline(path: str, decision: PolicyDecision) -> None:
    assert denied(path, raw=False) == decision


def test_a_baseline_has_hosts_and_methods_too() -> None:
    assert denied("/-/x", "GET", "other.test") == denied("/-/x", "HEAD", "other.test") == EVERYWHERE
    assert denied("/-/x", "PUT", "other.test") is denied("/internal", host="example.com") is NO_MATCH
    assert denied("/internal", host="a~b") is AMBIGUOUS_AUTHORITY
    assert denied("/-/x", "GET", "a~b") == EVERYWHERE


def test_a_baseline_entry_for_other_methods_does_not_hide_the_next() -> None:
    reads = DenyEntry(BASELINE, 0, MatchScope(HOST, "/internal/x", frozenset({"GET"}), True))
    snapshot = with_baseline(PolicySnapshot.EMPTY, reads, INTERNAL)
    assert snapshot.match(HOST, "/internal/x", "GET") == reads
    assert snapshot.match(HOST, "/internal/X", "POST") == INTERNAL
    only_reads = with_baseline(PolicySnapshot.EMPTY, reads)
    assert only_reads.match(HOST, "/internal/X", "POST") is NO_MATCH


def test_too_much_to_tell_is_refused() -> None:
    crowd = tuple(
        DenyEntry(BASELINE, number, MatchScope(HOST, f"/{chr(0x4E00 + number)}xy", frozenset({"PUT"}))) for number in range(2_000)
    )
    snapshot = with_baseline(PolicySnapshot.EMPTY, *crowd)
    assert snapshot.match(HOST, "/!xy", "GET") == AMBIGUOUS_PATH
    assert snapshot.match(HOST, "/!x", "GET") is NO_MATCH  # none of them could be meant
    assert isinstance(snapshot.match("other.test", "/!y", "GET"), NoMatch)


def test_an_explanation_names_the_baseline() -> None:
    snapshot = with_baseline(snapshot_of(OPENS), INTERNAL)
    found = explain(snapshot, HOST, "/internal/open", "POST")
    assert [(candidate.claim, candidate.won) for candidate in found.candidates] == [(INTERNAL, True), (OPENS, False)]
    assert found.candidates[1].why == "the platform's baseline denies the request before any policy applies"
    assert not isinstance(found.decision, Unhealthy)
    assert snapshot.document(RED) is not None
