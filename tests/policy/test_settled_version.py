"""The settled version, which a snapshot may not loosen yet: the stricter decision counts, and only hosts that differ are asked again."""

import itertools
from unittest import mock

import attrs

from exchanger.model.entry import AllowEntry, DenyEntry, MatchScope
from exchanger.model.policy_decision import AMBIGUOUS_PATH, NO_MATCH, PolicyDecision, Unhealthy
from exchanger.model.request import HeaderFields
from exchanger.policy import snapshot
from exchanger.policy.lookup import Trace, decide_at_once
from exchanger.policy.revocation import Revocation
from exchanger.policy.snapshot import UnreadableReach, stricter
from tests.policy.examples import (
    BLUE,
    HOST,
    RED,
    closed_scope,
    deny,
    document_of,
    exchange,
    snapshot_of,
    with_baseline,
    with_documents,
    without,
)

# Each lets less pass than those before it.
RANKS: tuple[PolicyDecision, ...] = (
    AllowEntry(RED, 0, MatchScope(HOST, "/")),
    exchange("/"),
    NO_MATCH,
    AMBIGUOUS_PATH,
    Unhealthy("closed"),
    deny("/"),
)


def test_the_decision_that_lets_less_pass_counts_whichever_version_has_it() -> None:
    for lower, higher in itertools.combinations(RANKS, 2):
        assert stricter(lower, higher, refuses_unmatched=True) is higher
        assert stricter(higher, lower, refuses_unmatched=True) is higher


def test_without_a_default_denial_no_match_lets_all_pass() -> None:
    assert stricter(NO_MATCH, exchange("/")) == exchange("/")
    assert stricter(exchange("/"), NO_MATCH) == exchange("/")


def test_of_two_denials_the_newer_counts_of_two_exchanges_the_earlier() -> None:
    assert stricter(deny("/a"), deny("/")) == deny("/a")
    assert stricter(exchange("/a"), exchange("/")) == exchange("/")


def test_versions_are_alike_on_a_host_if_they_decide_alike_there() -> None:
    version = snapshot_of(deny("/"), exchange("/", source=BLUE, host="other.example.com"))
    assert version.is_alike_on(HOST, without(version, BLUE))
    assert not version.is_alike_on(HOST, without(version, RED))
    assert not version.is_alike_on(HOST, with_baseline(version, deny("/")))
    assert not version.is_alike_on(HOST, version.revoked_by(Revocation()))
    wildcard = with_documents(version, document_of(deny("/", host="*.example.com"), source=BLUE))
    assert not version.is_alike_on(HOST, wildcard)
    assert version.is_alike_on("example.net", wildcard)
    everywhere = with_documents(version, document_of(closed_scope("/", host=None), source=BLUE))
    assert not version.is_alike_on("example.net", everywhere)
    assert not version.is_alike_on(None, everywhere)


def test_a_request_gets_the_stricter_decision() -> None:
    earlier = snapshot_of(deny("/"))
    newest = attrs.evolve(snapshot_of(exchange("/", source=BLUE), closed_scope("/x", source=BLUE, index=1)), settled=earlier)
    assert newest.match(HOST, "/a", "GET") == deny("/")
    assert newest.match("other.example.com", "/a", "GET") is NO_MATCH


def test_a_version_that_is_alike_on_a_host_is_not_asked_there() -> None:
    earlier = snapshot_of(deny("/", source=BLUE, host="other.example.com"), exchange("/"))
    newest = attrs.evolve(without(earlier, BLUE), settled=earlier)
    with mock.patch.object(snapshot, "decide_at_once", side_effect=decide_at_once) as looked_up:
        assert newest.match(HOST, "/a", "GET") == exchange("/")
        assert looked_up.call_count == 1
        assert newest.match("other.example.com", "/a", "GET") == deny("/", source=BLUE, host="other.example.com")
        assert looked_up.call_count == 3


def test_an_operators_reach_counts_in_the_settled_version() -> None:
    earlier = snapshot_of(exchange("/"), closed_scope("/", source=BLUE, host=None))
    newest = attrs.evolve(snapshot_of(exchange("/")), settled=earlier)
    assert newest.match(HOST, "/a", "GET") == exchange("/")
    assert isinstance(newest.reaching(UnreadableReach.GLOBAL).match(HOST, "/a", "GET"), Unhealthy)


def test_a_policy_needs_the_headers_that_the_settled_version_names() -> None:
    named = snapshot_of(deny("/", headers=(("x-a", "1"),)))
    newest = attrs.evolve(snapshot_of(exchange("/")), settled=named)
    assert newest.needs_headers
    assert isinstance(newest.match(HOST, "/", "GET", headers=HeaderFields((("x-a", "1"),), raw=True)), DenyEntry)


def test_a_trace_has_the_newest_version_alone() -> None:
    trace, newest = Trace(), attrs.evolve(snapshot_of(exchange("/")), settled=snapshot_of(deny("/", source=BLUE)))
    assert newest.match(HOST, "/a", "GET", trace=trace) == deny("/", source=BLUE)
    assert {route.effect for look in trace.looks for step in look.steps for route in step.level.routes} == {exchange("/")}
