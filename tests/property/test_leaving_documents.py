"""Law: a document that leaves counts for nothing from then on, whether its claims are swept up already or not."""

import attrs
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from exchanger.policy.conflicts import contenders, documents_in_conflict
from exchanger.policy.documents.document import PolicyDocument
from exchanger.policy.explanation import explain
from exchanger.policy.grants.allowance import Grants
from exchanger.policy.interpretation import path_interpretations
from exchanger.policy.lookup import CONFLICT, UnreadableReach
from exchanger.policy.path import MalformedPath
from exchanger.policy.policy_trie import MAX_SIFTED, Hosts
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.values.entry import Claim, DenyEntry, MatchScope, Source
from exchanger.values.headers import HeaderFields
from exchanger.values.verdict import AMBIGUOUS_PATH, NoMatch, Unhealthy
from tests.examples import examples
from tests.property.strategies_policy import (
    documents,
    header_fields,
    hosts,
    methods,
    odd_paths,
    plain_paths,
    reaches,
    snapshot_of,
    sources,
)
from tests.property.test_closed_areas import closing, closing_sources
from tests.property.test_grants import all_grants

policies = st.lists(documents(), min_size=1, max_size=4)


@settings(max_examples=examples(200))
@given(
    policies,
    st.lists(closing_sources, unique=True, max_size=2),
    all_grants,
    st.sets(sources | closing_sources, min_size=1),
    reaches,
    st.tuples(hosts, plain_paths | odd_paths, methods),
    header_fields,
    st.booleans(),
)
def test_what_leaves_decides_nothing(
    policy: list[PolicyDocument],
    closed: list[Source],
    grants: Grants,
    leaving: set[Source],
    reach: UnreadableReach,
    request: tuple[str, str, str],
    fields: list[tuple[str, str]],
    raw: bool,
) -> None:
    before = snapshot_of([*policy, *(closing(source, grants) for source in closed)], reach)
    after = without = before
    for source in leaving:
        after, without = after.leave(source), without.withdraw(source)
    headers = HeaderFields(tuple(fields), raw=True)

    found, expected = (one.match(*request, raw=raw, headers=headers) for one in (after, without))

    event(f"{type(before.match(*request, raw=raw, headers=headers)).__name__}, then {type(found).__name__}")
    if found != expected:  # a host has a policy for as long, so a path that cannot be read is refused there
        assert (found, expected) == (AMBIGUOUS_PATH, NoMatch())
        assert isinstance(path_interpretations(*request, raw=raw), MalformedPath)
    if found == expected:
        assert explain(after, *request, raw=raw, headers=headers) == explain(without, *request, raw=raw, headers=headers)
    if found == CONFLICT:
        assert contenders(after, *request, raw=raw, headers=headers) == contenders(without, *request, raw=raw, headers=headers)
    assert {*documents_in_conflict(after)} == {*documents_in_conflict(without)}
    assert attrs.evolve(after, trie=without.trie) == without


@given(st.data(), policies, st.lists(documents() | sources, max_size=6))
def test_sweeping_leads_where_withdrawing_does(
    data: st.DataObject, policy: list[PolicyDocument], changes: list[PolicyDocument | Source]
) -> None:
    after = without = snapshot_of(policy)
    for change in changes:
        if isinstance(change, Source):
            after, without = after.leave(change), without.withdraw(change)
        else:
            after, without = after.apply(change), without.apply(change)
        if data.draw(st.booleans()) and after.trie.leaving:
            after = after.swept(data.draw(st.sampled_from(sorted(after.trie.leaving))))
    for source in list(after.trie.leaving):
        after = after.swept(source)

    assert after == without


def test_leaving_costs_the_same_for_any_document(monkeypatch: pytest.MonkeyPatch) -> None:
    removed: list[Claim] = []
    remove = Hosts.without_claim

    def without_claim(table: Hosts, claim: Claim) -> Hosts:
        removed.append(claim)
        return remove(table, claim)

    monkeypatch.setattr(Hosts, "without_claim", without_claim)
    source, other = Source("red", "p"), Source("blue", "p")
    many = PolicyDocument(source, tuple(DenyEntry(source, index, MatchScope("h", f"/{index}")) for index in range(500)))
    at_one_place = PolicyDocument(other, tuple(DenyEntry(other, index, MatchScope("h", "/x")) for index in range(MAX_SIFTED + 1)))
    snapshot = PolicySnapshot.EMPTY.apply(many).apply(at_one_place).leave(source).leave(other)
    assert isinstance(snapshot.match("h", "/1", "GET"), NoMatch)
    assert isinstance(snapshot.match("h", "/x", "GET"), Unhealthy)  # rather than telling more claims apart than a request may cost
    assert (removed, len(snapshot.documents), snapshot.entry_count) == ([], 0, 0)
    assert snapshot.swept(source).swept(other) == PolicySnapshot.EMPTY
    assert len(removed) == 500 + MAX_SIFTED + 1
