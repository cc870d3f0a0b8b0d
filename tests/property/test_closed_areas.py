"""Law: closing all that a namespace is granted is one value for the namespace, and nobody can tell it from a region for each part.

Documents share it: it comes with the first and goes with the last of them, whatever their order.
"""

import attrs
from hypothesis import event, given
from hypothesis import strategies as st

from exchanger.policy.documents.document import PolicyDocument
from exchanger.policy.explanation import explain
from exchanger.policy.grants.allowance import Grants
from exchanger.policy.lookup import UnreadableReach
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.values.entry import EVERYWHERE, FailClosedRegion, Source
from exchanger.values.verdict import Unhealthy
from tests.property.strategies_policy import odd_paths, reaches, snapshot_of
from tests.property.test_grants import HOSTS, PATHS, UNHEARD_OF, all_grants, policies

closing_sources = st.sampled_from([Source(namespace, name) for namespace in ("red", "blue") for name in ("x", "y")])
paths = st.sampled_from([*PATHS, *UNHEARD_OF]) | odd_paths


def closing(source: Source, grants: Grants) -> PolicyDocument:
    """Return a document that closes all that its namespace is granted."""
    area = grants.area(grants.allowance(source.namespace, ()))
    regions = (FailClosedRegion(source, EVERYWHERE, f"{source}", area=area),) if area.scopes else ()
    return PolicyDocument(source, regions=regions)


def in_parts(document: PolicyDocument) -> PolicyDocument:
    return attrs.evolve(document, regions=tuple(part for region in document.regions for part in region.parts()))


@given(
    policies,
    st.lists(closing_sources, min_size=1, unique=True),
    all_grants,
    reaches,
    st.sampled_from(HOSTS),
    paths,
    st.sampled_from(["GET", "PUT"]),
    st.booleans(),
)
def test_a_closed_area_is_its_parts(
    policy: list[PolicyDocument],
    sources: list[Source],
    grants: Grants,
    reach: UnreadableReach,
    host: str,
    path: str,
    method: str,
    raw: bool,
) -> None:
    closed = [closing(source, grants) for source in sources]
    whole, parts = snapshot_of([*policy, *closed], reach), snapshot_of([*policy, *map(in_parts, closed)], reach)

    found = whole.match(host, path, method, raw=raw)

    event(type(found).__name__)
    assert found == parts.match(host, path, method, raw=raw)
    shown, expected = (explain(one, host, path, method, raw=raw) for one in (whole, parts))
    assert {(one.claim, one.standing, one.why) for one in shown.candidates} == {
        (one.claim, one.standing, one.why) for one in expected.candidates
    }
    if isinstance(found, Unhealthy) and found.source is not None:
        assert found.source in {document.source for document in (*policy, *closed)}


@given(st.data(), policies, st.lists(closing_sources, min_size=1, unique=True), all_grants)
def test_it_comes_with_the_first_document_and_goes_with_the_last(
    data: st.DataObject, policy: list[PolicyDocument], sources: list[Source], grants: Grants
) -> None:
    documents = [*policy, *(closing(source, grants) for source in sources)]
    snapshot = snapshot_of(documents)

    assert snapshot == snapshot_of(data.draw(st.permutations(list({document.source: document for document in documents}.values()))))
    for source in data.draw(st.permutations(sources)):
        snapshot = snapshot.withdraw(source)
    assert snapshot == snapshot_of(
        [document for document in {one.source: one for one in policy}.values() if document.source not in sources]
    )
    assert PolicySnapshot.EMPTY.trie.closed == snapshot.trie.closed
