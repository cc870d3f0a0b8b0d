from hypothesis import given
from hypothesis import strategies as st

from exchanger.policy.document import PolicyDocument
from exchanger.policy.explanation import explain
from exchanger.policy.lookup import UnreadableReach
from exchanger.values.entry import AllowEntry, DenyEntry, ExchangeEntry, FailClosedRegion
from exchanger.values.headers import HeaderFields
from exchanger.values.verdict import Unhealthy
from tests.property.policy_model import Fields, hosts_above
from tests.property.strategies_policy import header_fields, hosts, methods, odd_paths, policies, reaches, snapshot_of


@given(policies, reaches, hosts, odd_paths, methods, st.booleans(), header_fields)
def test_an_explanation_tells_the_verdict_and_nothing_else_wins(
    policy: list[PolicyDocument],
    reach: UnreadableReach,
    host: str,
    path: str,
    method: str,
    raw: bool,
    fields: Fields,
) -> None:
    snapshot, headers = snapshot_of(policy, reach), HeaderFields(lambda: fields, raw=True)

    found = explain(snapshot, host, path, method, raw=raw, headers=headers)

    won = [candidate.claim for candidate in found.candidates if candidate.won]
    assert found.verdict == snapshot.match(host, path, method, raw=raw, headers=headers)
    if isinstance(found.verdict, AllowEntry | DenyEntry | ExchangeEntry):
        assert won == [found.verdict]
        assert found.candidates[0].won
    elif isinstance(found.verdict, Unhealthy):
        assert all(isinstance(claim, FailClosedRegion) for claim in won)
        assert found.verdict.source is None or found.verdict.source in {claim.source for claim in won}
    else:
        assert not won
    assert all(candidate.why for candidate in found.candidates)


@given(policies, hosts, odd_paths, methods)
def test_every_claim_on_the_host_is_explained_once(policy: list[PolicyDocument], host: str, path: str, method: str) -> None:
    snapshot = snapshot_of(policy)

    found = [(candidate.claim.source, candidate.claim.index) for candidate in explain(snapshot, host, path, method).candidates]

    in_force = [claim for document in snapshot.documents.values() for claim in (*document.entries, *document.regions)]
    assert sorted(found, key=str) == sorted(
        ((claim.source, claim.index) for claim in in_force if claim.match.host in {None, *hosts_above(host)}), key=str
    )
