"""Laws of what people see of a look-up: an explanation is the look-up, and conflicts are requests that no entry can decide."""

from collections.abc import Iterator
from unittest import mock

import attrs
import pytest
from hypothesis import event, example, given
from hypothesis import strategies as st

from exchanger.model.authority import read_authority
from exchanger.model.entry import BASELINE, DenyEntry, Entry, FailClosedScope, MatchScope, PathType, Source
from exchanger.model.policy_decision import Unhealthy
from exchanger.model.request import HeaderFields
from exchanger.model.selector import parse_selector
from exchanger.policy import depth
from exchanger.policy.conflicts import MAX_RIVALS, alike_but_for_case, conflicts_of, conflicts_with, contenders, documents_in_conflict
from exchanger.policy.documents.document import PolicyDocument
from exchanger.policy.explanation import Explanation, Standing, explain
from exchanger.policy.grants.allowance import Grants, NamespaceGrant
from exchanger.policy.grants.restriction import routes_of
from exchanger.policy.interpretation import path_interpretations
from exchanger.policy.path import MalformedPath
from exchanger.policy.prefix import fold, prefix_spellings
from exchanger.policy.snapshot import PolicySnapshot, UnreadableReach
from exchanger.policy.steps import Steps
from exchanger.policy.table import CONFLICT
from tests.property.policy_model import Fields, Model, begins, claims_of, has, hosts_above, in_doubt, parts_of
from tests.property.strategies_policy import (
    documents,
    header_fields,
    hosts,
    methods,
    odd_paths,
    plain_paths,
    policies,
    queries,
    reaches,
    scopes,
    snapshot_of,
)


@pytest.fixture(autouse=True)
def unbounded_depth() -> Iterator[None]:
    with mock.patch.object(depth, "MAX_DEPTH", 1 << 20):
        yield


def check_standings(found: Explanation) -> None:
    """Check that exactly what the decision names has won or blocks."""
    by_standing = {standing: [one.claim for one in found.candidates if one.standing is standing] for standing in Standing}
    won, blocks, tied = by_standing[Standing.WON], by_standing[Standing.BLOCKS], by_standing[Standing.CONFLICTS]
    if isinstance(found.decision, Entry):
        assert [(one.source, one.index) for one in won] == [(found.decision.source, found.decision.index)]
        assert found.candidates[0].won
        assert not blocks
        assert not tied
    elif isinstance(found.decision, Unhealthy):
        assert not won
        assert all(isinstance(claim, FailClosedScope) for claim in blocks)
        assert found.decision.source is None or (found.decision.source, found.decision.index) in {(one.source, one.index) for one in blocks}
        if found.decision == CONFLICT:
            assert len(tied) > 1
            assert not any(isinstance(claim, FailClosedScope) for claim in tied)
        else:
            assert blocks
            assert not tied
    else:
        assert not won + blocks + tied
    standings = [one.standing is Standing.OTHER for one in found.candidates]
    assert standings == sorted(standings)
    assert all(candidate.why for candidate in found.candidates)


# Law: the candidate that won is what a match returns, and what blocks is what fails closed.

ONE = Source("red", "one")
CLOSED_TWICE_FOR_HEAD = PolicyDocument(
    ONE,
    (),
    tuple(
        FailClosedScope(ONE, MatchScope("a.example", "/", methods), "bad", index)
        for index, methods in enumerate((None, frozenset({"HEAD"})))
    ),
)


# A fail-closed scope that yields to other namespaces has the place of an entry of its own.
CLOSED_BESIDE = PolicyDocument(
    ONE,
    (DenyEntry(ONE, 0, MatchScope("a.example", "/")),),
    (FailClosedScope(ONE, MatchScope("a.example", "/"), "bad", 1, guessed=True),),
)


@example([CLOSED_BESIDE], UnreadableReach.UNMATCHED, [], "a.example", ("/", ""), "GET", True, [])
@example([CLOSED_TWICE_FOR_HEAD], UnreadableReach.UNMATCHED, [], "a.example", ("/a", ""), "HEAD", True, [])
@given(
    policies,
    reaches,
    st.lists(scopes, max_size=1),
    hosts,
    st.tuples(plain_paths | odd_paths, queries),
    methods,
    st.booleans(),
    header_fields,
)
def test_an_explanation_tells_the_decision_and_nothing_else_wins_or_blocks(
    policy: list[PolicyDocument],
    reach: UnreadableReach,
    denied: list[MatchScope],
    host: str,
    path: tuple[str, str],
    method: str,
    raw: bool,
    fields: Fields,
) -> None:
    snapshot, headers = snapshot_of(policy, reach), HeaderFields(tuple(fields), raw=True)
    baseline = tuple(DenyEntry(BASELINE, index, attrs.evolve(scope, headers=())) for index, scope in enumerate(denied))
    snapshot = snapshot.with_grants(attrs.evolve(snapshot.grants, baseline=baseline))

    found = explain(snapshot, host, "".join(path), method, raw=raw, headers=headers)

    event(type(found.decision).__name__)
    assert found.decision == snapshot.match(host, "".join(path), method, raw=raw, headers=headers)
    check_standings(found)


# Law: an explanation lists what covers the path on all hosts, and nothing whose prefix does not begin a reading of the path.


NAMED = tuple(DenyEntry(ONE, index, MatchScope("a.example", "/", headers=(("x-a", f"{index}"),))) for index in range(2))


@example(
    [PolicyDocument(ONE, (*NAMED, DenyEntry(ONE, 2, MatchScope("a.example", "/a"))))],
    UnreadableReach.UNMATCHED,
    "a.example",
    ("/a", ""),
    "GET",
    [("x-a", "1")],
)
@given(policies, reaches, hosts, st.tuples(plain_paths, queries), methods, header_fields)
def test_everything_that_covers_the_path_is_listed_once(
    policy: list[PolicyDocument], reach: UnreadableReach, host: str, path: tuple[str, str], method: str, fields: Fields
) -> None:
    text, headers = "".join(path), HeaderFields(tuple(fields), raw=True)

    candidates = explain(snapshot_of(policy, reach), host, text, method, headers=headers).candidates

    found = [(one.claim.source, one.claim.index) for one in candidates]
    near = [claim for claim in claims_of(policy) if claim.match.host in {None, *hosts_above(host)}]
    begun = [claim for claim in near if begins(text, attrs.evolve(claim.match, path_type=PathType.PREFIX))]
    assert len(found) == len(set(found))
    assert set(found) >= {(claim.source, claim.index) for claim in near if begins(text, claim.match)}
    assert set(found) <= {(claim.source, claim.index) for claim in begun}
    for one in candidates:
        lacks = not has(one.claim.match, fields) or in_doubt(one.claim.match, fields)
        assert lacks or not one.why.startswith("the request does not have its headers")
        assert not lacks or not one.why.startswith("an entry with ")


@given(policies, hosts, st.tuples(odd_paths, queries), methods)
def test_nothing_is_listed_that_begins_no_reading_of_the_path(
    policy: list[PolicyDocument], host: str, path: tuple[str, str], method: str
) -> None:
    text = "".join(path)
    found = explain(snapshot_of(policy), host, text, method, raw=True)
    read = path_interpretations(read_authority(host), text, method, raw=True)
    readings = [text] if isinstance(read, MalformedPath) else [one.path for one in read]
    for candidate in found.candidates:
        scope = attrs.evolve(candidate.claim.match, path_type=PathType.PREFIX)
        spellings = [attrs.evolve(scope, path_prefix=spelling) for spelling in prefix_spellings(scope.path_prefix).all]
        assert any(begins(reading, spelling) for reading in readings for spelling in spellings)


# Law: what grants leave of an entry is explained as the entry that its author wrote, and does not conflict with itself.

granted_hosts = st.sampled_from(["a.example", "*.example", "*.a.example", "b.example", "*"])
granted_prefixes = st.sampled_from(["", "/a", "/aa", "/a/b", "/b"])
everything = ("*",)


def granting(hosts: set[str], prefixes: set[str], actions: set[str], label: str | None) -> NamespaceGrant:
    selector = None if label is None else parse_selector(f"a={label}")
    return NamespaceGrant(
        None, selector, tuple(sorted(hosts)), tuple(sorted(prefixes)), frozenset(actions), everything, everything, everything, everything
    )


actions = st.sets(st.sampled_from(["deny", "allow", "exchange"]), min_size=1)
labels = st.sampled_from([None, None, "1", "2"])
some_grants = st.lists(
    st.builds(granting, st.sets(granted_hosts, min_size=1), st.sets(granted_prefixes, min_size=1), actions, labels), min_size=1, max_size=4
).map(lambda own: Grants(tuple(own)))
TWICE = ((("a", "1"),), (("a", "2"),))


def restricted(policy: list[PolicyDocument], grants: Grants) -> PolicySnapshot:
    """Return the snapshot in which ``red`` is described twice."""
    return PolicySnapshot.EMPTY.with_grants(grants).changed({one.source: one for one in policy}, {"red": TWICE})


@given(policies, some_grants, hosts, plain_paths | odd_paths, methods, st.booleans(), header_fields)
def test_what_grants_leave_is_explained_as_it_was_written(
    policy: list[PolicyDocument], grants: Grants, host: str, path: str, method: str, raw: bool, fields: Fields
) -> None:
    snapshot, headers = restricted(policy, grants), HeaderFields(tuple(fields), raw=True)

    found = explain(snapshot, host, path, method, raw=raw, headers=headers)

    event(type(found.decision).__name__)
    assert found.decision == snapshot.match(host, path, method, raw=raw, headers=headers)
    check_standings(found)
    shown = [one.claim for one in found.candidates if not isinstance(one.claim, FailClosedScope)]
    assert len(shown) == len(set(shown))
    assert set(shown) <= {claim for claim in claims_of(policy) if not isinstance(claim, FailClosedScope)}


ON_ALL = DenyEntry(Source("red", "one"), 0, MatchScope("*.example", "/a"))
NESTED = Grants(
    (
        granting({"x.a.example"}, {"/ab", "/a"}, {"deny"}, "1"),
        granting({"*.example"}, {"/a"}, {"deny"}, "1"),
        granting({"*.a.example"}, {"/a"}, {"deny"}, "1"),
        granting({"x.a.example"}, {"/a/b", "/ab"}, {"deny"}, "2"),
        granting({"*.a.example"}, {"/a"}, {"deny"}, "2"),
    )
)


# One description closes all of a host, of which the other one leaves a part.
WHOLE_BELOW = Grants(
    (
        granting({"*.example"}, {"/a"}, {"exchange"}, "1"),
        granting({"*.example"}, {"/a/b"}, {"exchange"}, "2"),
        granting({"x.a.example"}, {""}, {"exchange"}, None),
    )
)


@example(PolicyDocument(ON_ALL.source, (ON_ALL,)), NESTED, "x.a.example", "/a/b", "GET", [])
@example(PolicyDocument(ON_ALL.source, (ON_ALL,)), WHOLE_BELOW, "x.a.example", "/a/b", "GET", [])
@given(documents(max_closed_scopes=0), some_grants, hosts, plain_paths, methods, header_fields)
def test_what_grants_leave_of_one_entry_conflicts_with_nothing(
    document: PolicyDocument, grants: Grants, host: str, path: str, method: str, fields: Fields
) -> None:
    alone = attrs.evolve(document, source=Source("red", "one"), entries=())
    entry = attrs.evolve(document.entries[0], source=alone.source)
    snapshot = restricted([attrs.evolve(alone, entries=(entry,))], grants)

    assert snapshot.match(host, path, method, headers=HeaderFields(tuple(fields), raw=True)) is not CONFLICT
    assert conflicts_with(entry, snapshot) == ()
    on = [(route.match.host, route.effect) for route in routes_of(entry, grants.allowances("red", TWICE))]
    assert len(on) == len(set(on))


@given(policies, some_grants, hosts, plain_paths, methods, header_fields)
def test_a_conflict_under_grants_names_two_entries_and_is_known_beforehand(
    policy: list[PolicyDocument], grants: Grants, host: str, path: str, method: str, fields: Fields
) -> None:
    policy = [*policy, *(attrs.evolve(one, source=Source("red", "two"), closed_scopes=(), entries=moved(one)) for one in policy[:1])]
    snapshot, headers = restricted(policy, grants), HeaderFields(tuple(fields), raw=True)

    found = contenders(snapshot, host, path, method, raw=True, headers=headers)

    event(f"{len(found)} named")
    places = {(one.source, one.index) for one in found}
    assert len(places) == (2 if snapshot.match(host, path, method, raw=True, headers=headers) is CONFLICT else 0)
    own = [one for document in snapshot.documents() for one in document.entries if (one.source, one.index) in places]
    rivals = {(rival.source, rival.index) for one in own for rival in conflicts_with(one, snapshot)}
    assert places & rivals or not places


def moved(document: PolicyDocument) -> tuple[Entry, ...]:
    return tuple(attrs.evolve(entry, source=Source("red", "two")) for entry in document.entries)


# Law: while an earlier version counts, the explanation is that of the version that decides.


@given(policies, policies, hosts, plain_paths, methods)
def test_an_explanation_is_of_the_version_that_decides(
    before: list[PolicyDocument], after: list[PolicyDocument], host: str, path: str, method: str
) -> None:
    snapshot = attrs.evolve(snapshot_of(after), settled=snapshot_of(before))

    found = explain(snapshot, host, path, method)

    assert found.decision == snapshot.match(host, path, method)
    check_standings(found)


# Law: a conflict is what a scan of all entries says, and two of those that conflict are named.


@given(policies, hosts, plain_paths, queries, methods)
def test_a_conflict_can_be_told_and_names_two_that_tie(policy: list[PolicyDocument], host: str, path: str, query: str, method: str) -> None:
    policy = [attrs.evolve(document, closed_scopes=()) for document in policy]
    snapshot = snapshot_of(policy)
    model = Model(parts_of(policy), list(hosts_above(host)), snapshot.reach, [])
    names = model.hosts
    asked = ["GET", "HEAD"] if method == "HEAD" else [method]
    tied: list[Entry | str] = []
    for one in asked:
        here, count, _ = model.on_hosts(names, path + query, one)
        names = names[:count]
        tied += here if len(here) > 1 else []

    found = contenders(snapshot, host, path + query, method, raw=True)

    event(f"{len(found)} named")
    assert set(found) <= set(tied)
    assert len(found) == (2 if snapshot.match(host, path + query, method, raw=True) is CONFLICT else 0)


def are_rivals(one: MatchScope, other: MatchScope) -> bool:
    ignores_case = one.case_insensitive or other.case_insensitive
    prefixes = [fold(scope.path_prefix) if ignores_case else scope.path_prefix for scope in (one, other)]
    meets = one.methods is None or other.methods is None or one.methods & other.methods
    same = (one.host, one.path_type, one.headers) == (other.host, other.path_type, other.headers)
    return bool(same and meets and prefixes[0] == prefixes[1])


some_policies = st.lists(documents(max_closed_scopes=0, max_entries=6), max_size=4)


@given(some_policies)
def test_conflicts_are_what_a_scan_of_all_entries_says(policy: list[PolicyDocument]) -> None:
    snapshot, entries = snapshot_of(policy), [claim for claim in claims_of(policy) if not isinstance(claim, FailClosedScope)]
    in_conflict = set[Source]()

    for entry in entries:
        expected = [one for one in entries if one is not entry and are_rivals(entry.match, one.match)]
        found = conflicts_with(entry, snapshot)
        event(f"{min(len(expected), MAX_RIVALS)} rivals")
        assert set(found) <= set(expected)
        assert len(found) == min(len(expected), MAX_RIVALS)
        assert list(found) == sorted(found, key=lambda one: (one.source, one.index))
        in_conflict |= {entry.source} if expected else set()

    assert set(documents_in_conflict(snapshot)) - {None} == in_conflict
    for document in snapshot.documents():
        assert bool([one for one in conflicts_of(document, snapshot) if one is not None]) is (document.source in in_conflict)


@given(st.sets(st.text("aAbBé/", max_size=4)), st.text("abé/", max_size=4))
def test_prefixes_that_differ_in_case_are_those_of_a_scan(prefixes: set[str], folded: str) -> None:
    begun = {prefix[:end] for prefix in {"", *prefixes} for end in range(len(prefix) + 1) if folded.startswith(fold(prefix[:end]))}
    expected = sorted(prefix for prefix in prefixes if fold(prefix) == folded)

    assert sorted(alike_but_for_case(sorted(prefixes), folded, steps := Steps(len(begun)))) == expected
    assert steps.left == 0
