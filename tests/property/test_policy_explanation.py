from hypothesis import given
from hypothesis import strategies as st

from exchanger.policy.documents.document import PolicyDocument
from exchanger.policy.explanation import Standing, explain
from exchanger.policy.lookup import CONFLICT, UnreadableReach
from exchanger.values.entry import AllowEntry, DenyEntry, ExchangeEntry, FailClosedRegion
from exchanger.values.headers import HeaderFields
from exchanger.values.verdict import Unhealthy
from tests.property.policy_model import Fields, hosts_above
from tests.property.strategies_policy import header_fields, hosts, methods, odd_paths, policies, reaches, snapshot_of


@given(policies, reaches, hosts, odd_paths, methods, st.booleans(), header_fields)
def test_an_explanation_tells_the_verdict_and_nothing_else_wins_or_blocks(
    policy: list[PolicyDocument],
    reach: UnreadableReach,
    host: str,
    path: str,
    method: str,
    raw: bool,
    fields: Fields,
) -> None:
    snapshot, headers = snapshot_of(policy, reach), HeaderFields(tuple(fields), raw=True)

    found = explain(snapshot, host, path, method, raw=raw, headers=headers)

    by_standing = {standing: [one.claim for one in found.candidates if one.standing is standing] for standing in Standing}
    won, blocks, tied = by_standing[Standing.WON], by_standing[Standing.BLOCKS], by_standing[Standing.CONFLICTS]
    assert found.verdict == snapshot.match(host, path, method, raw=raw, headers=headers)
    if isinstance(found.verdict, AllowEntry | DenyEntry | ExchangeEntry):
        assert won == [found.verdict]
        assert found.candidates[0].won
        assert not blocks
        assert not tied
    elif isinstance(found.verdict, Unhealthy):
        assert not won
        assert all(isinstance(claim, FailClosedRegion) for claim in blocks)
        assert found.verdict.source is None or found.verdict.source in {claim.source for claim in blocks}
        if found.verdict == CONFLICT:
            assert len(tied) > 1
            assert not any(isinstance(claim, FailClosedRegion) for claim in tied)
        else:
            assert blocks
            assert not tied
    else:
        assert not won + blocks + tied
    assert all(candidate.why for candidate in found.candidates)


@given(policies, hosts, odd_paths, methods)
def test_every_claim_on_the_host_is_explained_once(policy: list[PolicyDocument], host: str, path: str, method: str) -> None:
    snapshot = snapshot_of(policy)

    found = [(candidate.claim.source, candidate.claim.index) for candidate in explain(snapshot, host, path, method).candidates]

    in_force = [claim for document in snapshot.documents.values() for claim in (*document.entries, *document.regions)]
    assert sorted(found, key=str) == sorted(
        ((claim.source, claim.index) for claim in in_force if claim.match.host in {None, *hosts_above(host)}), key=str
    )
