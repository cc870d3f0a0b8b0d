"""Law: what new grants take from a namespace is taken before its documents are held against them, and nothing else is.

Until then a version is the old one, cut: it decides as before, or refuses, and lets nothing pass that is not left of a document.
"""

import attrs
from hypothesis import event, given
from hypothesis import strategies as st
from rpds import HashTrieMap

from exchanger.assembly.assembler import changed_allowances
from exchanger.policy.documents.document import PolicyDocument
from exchanger.policy.grants.allowance import Grants
from exchanger.policy.grants.restriction import Cut, again, restrict
from exchanger.values.entry import AllowEntry, DenyEntry, ExchangeEntry, PathType
from exchanger.values.verdict import Unhealthy
from tests.property.strategies_policy import odd_paths, snapshot_of
from tests.property.test_grants import HOSTS, PATHS, UNHEARD_OF, all_grants, policies


@given(
    policies,
    all_grants,
    all_grants,
    st.booleans(),
    st.sampled_from(HOSTS),
    st.sampled_from([*PATHS, *UNHEARD_OF]) | odd_paths,
    st.sampled_from(["GET", "PUT", "HEAD"]),
)
def test_a_cut_lets_nothing_pass_that_is_not_left_and_refuses_nothing_else(
    policy: list[PolicyDocument], before: Grants, after: Grants, enforced: bool, host: str, path: str, method: str
) -> None:
    after = attrs.evolve(after, enforced=enforced)
    held = list({document.source: restrict(document, before, ()) for document in policy}.values())
    old = snapshot_of(held)
    allowances = changed_allowances(old, {}, before, after)
    left = {document.source: again(document, after) for document in held}

    found = old.cut_by(Cut(HashTrieMap(allowances), after.denials, after.enforced)).match(host, path, method)

    event(type(found).__name__)
    expected = old.match(host, path, method)
    assert found == expected or isinstance(found, Unhealthy)
    if isinstance(found, AllowEntry | ExchangeEntry | DenyEntry):
        segment = attrs.evolve(found, match=attrs.evolve(found.match, path_type=PathType.SEGMENT, narrowed=True))
        assert {found, segment} & set(left[found.source].entries)
    if all(left[document.source] == document for document in held):
        assert found == expected
