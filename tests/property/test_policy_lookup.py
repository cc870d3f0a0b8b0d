"""Laws of routing: scopes compared, path tries built whole, and a look-up that decides as the model says and tells how."""

import random
from collections.abc import Callable, Iterator

import attrs
import pytest
from hypothesis import event, example, given
from hypothesis import strategies as st

from exchanger.model.authority import read_authority
from exchanger.model.entry import (
    BASELINE,
    AllowEntry,
    Claim,
    DenyEntry,
    FailClosedScope,
    MatchScope,
    PathType,
    Source,
)
from exchanger.model.policy_decision import AMBIGUOUS_HEADER, NO_MATCH, Ambiguous, PolicyDecision, Unhealthy
from exchanger.model.request import NO_FIELDS, HeaderFields
from exchanger.policy.documents.document import PolicyDocument
from exchanger.policy.grants.allowance import Grants
from exchanger.policy.headers import RequestHeaders
from exchanger.policy.lookup import Outcome, Request, Trace, decide, decide_at_once
from exchanger.policy.scope import PathSet, Route, all_readings, covers, covers_host, covers_methods, covers_path
from exchanger.policy.snapshot import PolicySnapshot, UnreadableReach
from exchanger.policy.table import VirtualHost, VirtualHosts
from exchanger.policy.trie import PathTrie
from tests.examples import examples
from tests.property.policy_fuzz import differences, said
from tests.property.policy_model import begins, claims_of, hosts_above
from tests.property.policy_model import covers as is_covered
from tests.property.strategies_policy import (
    documents,
    fail_closed_matches,
    header_fields,
    hosts,
    methods,
    odd_paths,
    plain_paths,
    policies,
    reaches,
    scopes,
    sources,
)

Fields = list[tuple[str, str]]


def decided(
    policy: list[PolicyDocument],
    reach: UnreadableReach,
    host: str,
    path: str,
    method: str,
    fields: HeaderFields = NO_FIELDS,
    *,
    raw: bool = True,
    trace: Trace | None = None,
) -> PolicyDecision:
    asked = Request(read_authority(host), path, method, raw, fields)
    return decide(VirtualHosts.of(claims_of(policy)), asked, is_global=reach is UnreadableReach.GLOBAL, trace=trace)


# Law: a snapshot decides as the model.


@pytest.mark.parametrize("seed", range(4))
def test_random_requests_are_decided_as_the_model_says(seed: int) -> None:
    assert [found for _, found in differences(random.Random(seed), examples(60)) if found is not None] == []


# Law: what is decided at once is decided as by the whole look-up.


@given(policies, reaches, hosts, plain_paths | odd_paths, methods, header_fields, st.booleans())
def test_a_decision_at_once_is_that_of_the_whole_look_up(
    policy: list[PolicyDocument], reach: UnreadableReach, host: str, path: str, method: str, fields: Fields, raw: bool
) -> None:
    known, is_global = VirtualHosts.of(claims_of(policy)), reach is UnreadableReach.GLOBAL
    found = decide_at_once(known, read_authority(host), path, method, raw=raw, is_global=is_global)
    event(type(found).__name__)
    if found is not None:
        asked = Request(read_authority(host), path, method, raw, HeaderFields(tuple(fields), raw=True))
        assert said(found) == said(decide(known, asked, is_global=is_global))


# Law: a trace tells the decision.


@given(policies, reaches, hosts, plain_paths | odd_paths, methods, header_fields)
def test_a_trace_changes_no_decision_and_tells_what_decides(
    policy: list[PolicyDocument], reach: UnreadableReach, host: str, path: str, method: str, fields: Fields
) -> None:
    trace, headers = Trace(), HeaderFields(tuple(fields), raw=True)

    decision = decided(policy, reach, host, path, method, headers, trace=trace)

    event(type(decision).__name__)
    assert decision == decided(policy, reach, host, path, method, headers)
    outcomes = {step.outcome for look in trace.looks for step in look.steps}
    won = [entry for look in trace.looks for entry in look.first(RequestHeaders(headers))]
    if isinstance(decision, Unhealthy):
        assert outcomes & {Outcome.CLOSED, Outcome.WON}
    elif decision is AMBIGUOUS_HEADER:
        assert outcomes & {Outcome.AMBIGUOUS, Outcome.WON}
    elif decision is not NO_MATCH and not isinstance(decision, Ambiguous):
        assert decision in won
    for look in trace.looks:
        assert all(begins_with_its_prefix(look.reading.path, step.level.routes[0]) for step in look.steps)


def begins_with_its_prefix(path: str, route: Route) -> bool:
    scope = attrs.evolve(route.match, path_type=PathType.PREFIX)
    return any(begins(path, attrs.evolve(scope, path_prefix=text)) for text in all_readings(scope.path_prefix))


# Law: a host after edits is the host of what is left.


def _hidden(there: VirtualHost) -> Iterator[tuple[str, tuple[tuple[tuple[str, bool], int], ...]]]:
    return zip(there.hidden.prefixes, there.hidden.nodes, strict=True)


@given(st.lists(documents(), max_size=6), st.lists(sources, max_size=3), reaches, hosts, plain_paths, methods)
def test_edits_lead_where_a_fresh_start_does(
    policy: list[PolicyDocument], gone: list[Source], reach: UnreadableReach, host: str, path: str, method: str
) -> None:
    edited, known = VirtualHosts(), dict[Source, PolicyDocument]()
    for source, document in [*((one.source, one) for one in policy), *((source, None) for source in gone)]:
        before = known.pop(source, None)
        if document is not None:
            known[source] = document
        removed, added = (claims_of([] if one is None else [one]) for one in (before, document))
        for on in {claim.match.host: None for claim in (*removed, *added)}:
            edited = edited.replaced(
                on,
                [Route(claim) for claim in removed if claim.match.host == on],
                [Route(claim) for claim in added if claim.match.host == on],
            )
    fresh = VirtualHosts.of(claims_of(list(known.values())))
    assert {name: dict(_hidden(there)) for name, there in edited.by_name.items()} == {
        name: dict(_hidden(there)) for name, there in fresh.by_name.items()
    }
    assert set(edited.by_name) == set(fresh.by_name)
    assert bool(edited) == bool(fresh) == bool(known)
    assert (edited.wildcards, edited.yielding) == (fresh.wildcards, fresh.yielding)
    is_global = reach is UnreadableReach.GLOBAL
    one, other = (decide(there, Request(host, path, method), is_global=is_global) for there in (edited, fresh))
    assert said(one) == said(other)


texts = st.text("ab/", max_size=5)


@given(st.dictionaries(texts, st.integers()), st.dictionaries(texts, st.none() | st.integers()), texts)
def test_a_path_trie_finds_all_prefixes_whatever_was_replaced(nodes: dict[str, int], changes: dict[str, int | None], path: str) -> None:
    trie = PathTrie.of(nodes).replaced(changes)
    expected = {key: node for key, node in {**nodes, **changes}.items() if node is not None}

    found = sorted((prefix for prefix in expected if path.startswith(prefix)), key=len, reverse=True)
    assert list(trie.prefixes_of(path)) == found
    assert trie.covering(path) == [expected[prefix] for prefix in found]
    assert trie.get(path) == expected.get(path)
    assert trie.has_below(path) == any(prefix.startswith(path) for prefix in expected)
    assert bool(trie) == bool(expected)
    assert trie.prefixes == tuple(sorted(expected))


def test_an_edit_at_known_prefixes_shares_the_links() -> None:
    trie = PathTrie.of({"/": 1, "/a": 2})
    assert trie.replaced({"/a": 3}).parents is trie.parents
    assert trie.replaced({"/b": None}).prefixes == trie.prefixes


# Laws of scopes.


@given(scopes | fail_closed_matches, scopes | fail_closed_matches, hosts, plain_paths, methods)
def test_a_scope_that_covers_another_has_all_its_requests(one: MatchScope, other: MatchScope, host: str, path: str, method: str) -> None:
    is_on = (other.host is None or other.host in hosts_above(host)) and is_covered(other, path, method)
    event(f"covers {covers(one, other)}, in the other {is_on}")
    assert covers(one, one)
    if covers(one, other):
        assert covers_host(one.host, other.host)
        assert covers_path(one, other)
        assert covers_methods(one, other)
        if is_on:
            assert one.host is None or one.host in hosts_above(host)
            assert is_covered(one, path, method)


segments = st.lists(st.sampled_from(["a", "ab", "b", "é", "%C3%A9", "a%2Fb"]), max_size=3).map(
    lambda parts: "".join(f"/{part}" for part in parts)
)


@given(st.lists(segments, min_size=1, max_size=3), segments, st.sampled_from(PathType), st.booleans(), segments | plain_paths)
def test_a_set_of_paths_covers_and_intersects_what_it_says(
    granted: list[str], prefix: str, path_type: PathType, ignores_case: bool, path: str
) -> None:
    paths, scope = PathSet.of(granted), MatchScope("h", prefix, None, ignores_case, path_type)
    is_covering = begins(path, scope)
    event(f"covers {paths.covers(scope)}, intersects {paths.intersects(scope)}")
    assert not paths.covers(scope) or paths.intersects(scope)
    if is_covering and paths.covers(scope):
        assert path in paths
    if is_covering and path in paths:
        assert paths.intersects(scope)
    if path_type is PathType.SEGMENT and not ignores_case and not any("%" in text or "é" in text for text in (prefix, *granted)):
        assert paths.intersects(scope) == any(f"{one}/".startswith(f"{prefix}/") or f"{prefix}/".startswith(f"{one}/") for one in granted)
    assert (path in paths) == any(path == one or path.startswith(f"{one}/") for one in granted)


# What attacks found.

TEAM = Source("team", "p")


def by_header(index: int, allowed: frozenset[str] | None) -> Route:
    return Route(DenyEntry(TEAM, index, MatchScope("h", "/x", allowed, headers=(("x-tool", f"t{index}"),))))


def test_entries_for_every_method_are_shared_by_named_methods() -> None:
    """10,000 entries of which each second one named a method took 2.5 GB."""
    count = 400
    host = VirtualHost().replaced((), [by_header(index, frozenset({f"M{index}"}) if index % 2 else None) for index in range(count)])
    assert host is not None
    ((level,),) = host.exact.nodes
    assert level.named is not None
    assert level.every is not None
    kept = [level.every, *level.named.values()]
    assert sum(len(values) for rules in kept for _, values, _ in rules.by_headers) == count


def test_withdrawing_many_entries_at_one_prefix_compares_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """10,000 of them took 12 s."""
    compared = 0
    equal: Callable[[MatchScope, object], bool] = MatchScope.__eq__

    def counted(one: MatchScope, other: object) -> bool:
        nonlocal compared
        compared += 1
        return equal(one, other)

    count = 500
    host = VirtualHost().replaced((), [by_header(index, None) for index in range(count)])
    assert host is not None
    monkeypatch.setattr(MatchScope, "__eq__", counted)
    left = host.replaced([by_header(index, None) for index in range(1, count)], ())
    monkeypatch.undo()
    assert left is not None
    assert [route for levels in left.exact.nodes for level in levels for route in level.routes] == [by_header(0, None)]
    assert compared <= 4 * count


some = st.lists(
    st.tuples(
        st.sampled_from(["deny", "allow", "close", "yield"]),
        st.sampled_from([None, frozenset({"GET"}), frozenset({"PUT", "GET"})]),
        st.sampled_from([(), (("x-a", "1"),), (("x-a", "2"),), (("x-b", "1"),), (("x-a", "1"), ("x-b", "1"))]),
    ),
    min_size=2,
    max_size=6,
)


@given(some, st.sampled_from(["GET", "PUT", "POST"]), header_fields)
def test_shared_rules_decide_as_if_each_method_had_its_own(
    drawn: list[tuple[str, frozenset[str] | None, tuple[tuple[str, str], ...]]], method: str, fields: Fields
) -> None:
    claims: list[Claim] = []
    for index, (what, allowed, headers) in enumerate(drawn):
        source, match = Source(f"ns{index % 3}", "p"), MatchScope("h", "/x", allowed)
        if what in {"close", "yield"}:
            claims.append(FailClosedScope(source, match, "bad", index, guessed=what == "yield"))
        else:
            claims.append((DenyEntry if what == "deny" else AllowEntry)(source, index, attrs.evolve(match, headers=headers)))
    own = [claim for claim in claims if claim.match.methods is None or method in claim.match.methods]
    asked = Request("h", "/x", method, fields=HeaderFields(tuple(fields), raw=True))
    shared, alone = (decide(VirtualHosts.of(these), asked) for these in (claims, own))
    assert said(shared) == said(alone)


# Law: the baseline denies what one of its entries covers, in whatever reading.

denial_scopes = st.builds(lambda scope: attrs.evolve(scope, headers=()), scopes)


@example([MatchScope("a.example", "/é")], "a.example", "/orders", "GET", False)
@example([MatchScope("a.example", "/é")], "a.example", "/!", "GET", False)
@given(st.lists(denial_scopes, max_size=4), hosts, plain_paths | odd_paths, methods, st.booleans())
def test_the_baseline_denies_what_one_of_its_entries_covers(denied: list[MatchScope], host: str, path: str, method: str, raw: bool) -> None:
    entries = [DenyEntry(BASELINE, index, scope) for index, scope in enumerate(denied)]
    alone = [PolicySnapshot(Grants(baseline=(entry,))).match(host, path, method, raw=raw) for entry in entries]

    found = PolicySnapshot(Grants(baseline=tuple(entries))).match(host, path, method, raw=raw)

    event(type(found).__name__)
    denials = [one for one in alone if isinstance(one, DenyEntry)]
    if denials:
        assert found in denials
    else:
        assert found == next((one for one in alone if isinstance(one, Ambiguous)), NO_MATCH)


def test_a_baseline_beyond_ascii_denies_nothing_without_a_mark() -> None:
    policy = PolicySnapshot(Grants(baseline=(DenyEntry(BASELINE, 0, MatchScope("h", "/é")),)))
    assert policy.match("h", "/orders", "GET") is NO_MATCH
    assert isinstance(policy.match("h", "/!", "GET"), DenyEntry)
    assert isinstance(policy.match("h", "/é/x", "GET", raw=True), DenyEntry)
