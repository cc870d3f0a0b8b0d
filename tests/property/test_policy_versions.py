"""Law: a policy is the set of its newest documents, whatever order they came in, and a version never changes.

Sources make a new version, requests read the current one, nothing is ever changed in place.
"""

from hypothesis import given
from hypothesis import strategies as st

from exchanger.policy.documents.document import PolicyDocument
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.values.entry import Source
from tests.property.strategies_policy import documents, hosts, methods, plain_paths, policies, snapshot_of, sources

requests = st.lists(st.tuples(hosts, plain_paths, methods), min_size=1, max_size=5)
changes = st.lists(documents() | sources, max_size=8)  # a document comes, or a source's document goes


def changed(snapshot: PolicySnapshot, change: PolicyDocument | Source) -> PolicySnapshot:
    return snapshot.withdraw(change) if isinstance(change, Source) else snapshot.apply(change)


@given(st.data(), policies, requests)
def test_the_order_of_documents_makes_no_difference(
    data: st.DataObject, policy: list[PolicyDocument], requests: list[tuple[str, str, str]]
) -> None:
    in_force = list({document.source: document for document in policy}.values())
    first, second = snapshot_of(policy), snapshot_of(data.draw(st.permutations(in_force)))

    assert first == second
    for host, path, method in requests:
        assert first.match(host, path, method) == second.match(host, path, method)


@given(changes)
def test_a_policy_is_its_newest_documents(changes: list[PolicyDocument | Source]) -> None:
    snapshot = PolicySnapshot.EMPTY
    in_force: dict[Source, PolicyDocument] = {}
    for change in changes:
        snapshot = changed(snapshot, change)
        if isinstance(change, Source):
            in_force.pop(change, None)
        else:
            in_force[change.source] = change

    assert snapshot == snapshot_of(list(in_force.values()))
    assert dict(snapshot.documents.items()) == in_force
    assert snapshot.entry_count == sum(len(document.entries) for document in in_force.values())
    assert snapshot.region_count == sum(len(document.regions) for document in in_force.values())
    assert snapshot.invalid_documents == sum(bool(document.regions) for document in in_force.values())
    for source in in_force:
        snapshot = snapshot.withdraw(source)
    assert snapshot == PolicySnapshot.EMPTY


@given(policies, changes, requests)
def test_old_versions_stay(
    policy: list[PolicyDocument], changes: list[PolicyDocument | Source], requests: list[tuple[str, str, str]]
) -> None:
    old = snapshot_of(policy)
    before = [old.match(*request) for request in requests]
    new = old
    for change in changes:
        new = changed(new, change)

    assert [old.match(*request) for request in requests] == before
    assert old == snapshot_of(policy)
