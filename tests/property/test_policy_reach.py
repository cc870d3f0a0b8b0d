"""Law: no document of one namespace changes what a healthy entry of another decides, unless it names the host.

Documents come, break and go; whatever cannot be read of them, or on which host it was meant, closes what nobody else decides. And nothing
opens by that: what a broken document adds is refusals.
"""

from hypothesis import assume, event, given
from hypothesis import strategies as st

from exchanger.policy.documents.document import PolicyDocument
from exchanger.policy.lookup import UnreadableReach
from exchanger.values.entry import EVERYWHERE, DenyEntry, ExchangeEntry, FailClosedRegion, MatchScope, Source
from exchanger.values.verdict import Ambiguous, Unhealthy, Verdict
from tests.property.strategies_policy import (
    documents,
    hosts,
    method_sets,
    methods,
    odd_paths,
    plain_paths,
    policies,
    prefixes,
    snapshot_of,
    targets,
)

A, B = Source("red", "one"), Source("blue", "one")
REQUESTED = "a.example"

unknown = st.builds(MatchScope, st.none(), st.just("") | prefixes, method_sets, st.booleans()) | st.just(EVERYWHERE)
elsewhere = st.builds(MatchScope, st.just("b.example"), prefixes, method_sets, st.booleans())


@st.composite
def strangers(draw: st.DrawFn) -> PolicyDocument:
    """Draw a document of another team that does not name the host: entries for another one, and regions that may be meant for any."""
    entries = [
        DenyEntry(B, index, area) if target is None else ExchangeEntry(B, index, area, target)
        for index, (area, target) in enumerate(draw(st.lists(st.tuples(elsewhere, st.none() | targets), max_size=2)))
    ]
    areas = draw(st.lists(unknown | elsewhere, max_size=2))
    regions = [FailClosedRegion(B, area, "cannot be read", index) for index, area in enumerate(areas, len(entries))]
    return PolicyDocument(B, tuple(entries), tuple(regions))


ours = st.lists(documents(st.builds(Source, st.just("red"), st.sampled_from(["one", "two"])), max_regions=0), max_size=2)


def decides(verdict: Verdict) -> bool:
    return isinstance(verdict, DenyEntry | ExchangeEntry)


@given(ours, strangers(), odd_paths, methods, st.booleans())
def test_a_strangers_document_changes_no_decision(
    policy: list[PolicyDocument],
    theirs: PolicyDocument,
    path: str,
    method: str,
    raw: bool,
) -> None:
    alone, beside = snapshot_of(policy), snapshot_of([*policy, theirs])
    before, after = (snapshot.match(REQUESTED, path, method, raw=raw) for snapshot in (alone, beside))

    event(f"{type(before).__name__} → {type(after).__name__}")
    if decides(before) or decides(after):
        assert before == after
    elif before != after:
        assert isinstance(after, Unhealthy | Ambiguous)
    assert beside.withdraw(B).match(REQUESTED, path, method, raw=raw) == before


@given(policies, unknown, hosts, odd_paths, methods)
def test_a_document_that_breaks_opens_nothing(policy: list[PolicyDocument], area: MatchScope, host: str, path: str, method: str) -> None:
    broken = PolicyDocument(Source("green", "one"), regions=(FailClosedRegion(Source("green", "one"), area, "cannot be read"),))
    snapshot = snapshot_of(policy)
    before, after = snapshot.match(host, path, method), snapshot.apply(broken).match(host, path, method)

    event(f"{type(before).__name__} → {type(after).__name__}")
    assert after == before or isinstance(after, Unhealthy | Ambiguous)


@given(policies, hosts, plain_paths, methods)
def test_what_is_closed_for_less_is_closed_for_everything(policy: list[PolicyDocument], host: str, path: str, method: str) -> None:
    unmatched, everything = (snapshot_of(policy, reach).match(host, path, method) for reach in UnreadableReach)

    assert everything == unmatched or isinstance(everything, Unhealthy)


@given(ours, odd_paths, methods)
def test_a_team_that_breaks_its_own_document_closes_its_own_decisions(policy: list[PolicyDocument], path: str, method: str) -> None:
    broken = PolicyDocument(Source("red", "three"), regions=(FailClosedRegion(Source("red", "three"), EVERYWHERE, "cannot be read"),))
    snapshot = snapshot_of(policy)
    assume(not isinstance(snapshot.match(REQUESTED, path, method), Ambiguous))

    assert isinstance(snapshot.apply(broken).match(REQUESTED, path, method), Unhealthy)
