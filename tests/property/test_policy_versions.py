"""Laws of versions: any order of changes ends as a fresh start, the strictest of several versions counts, and the baseline comes first."""

import random
from collections.abc import Iterable

import attrs
import pytest
from hypothesis import event, example, given
from hypothesis import strategies as st
from rpds import HashTrieMap

from exchanger.model.entry import BASELINE, EVERYWHERE, AllowEntry, DenyEntry, Entry, ExchangeEntry, FailClosedScope, MatchScope, Source
from exchanger.model.policy_decision import AMBIGUOUS_AUTHORITY, NO_MATCH, Ambiguous, NoMatch, PolicyDecision, Unhealthy
from exchanger.model.request import HeaderFields
from exchanger.model.selector import parse_selector
from exchanger.policy import depth, expansion
from exchanger.policy.documents.document import Labels, PolicyDocument
from exchanger.policy.grants.allowance import Allowance, Grants, NamespaceGrant
from exchanger.policy.limits import NamespaceLimits
from exchanger.policy.revocation import Revocation
from exchanger.policy.snapshot import PolicySnapshot, UnreadableReach
from exchanger.policy.table import VirtualHosts
from tests.examples import examples
from tests.policy.examples import EVERYTHING_GRANTED
from tests.property.grants_model import HOSTS, PATHS
from tests.property.policy_fuzz import PREFIXES, document, grants, requests, said
from tests.property.strategies_policy import (
    contents_of,
    counters_of,
    header_fields,
    hosts,
    methods,
    odd_paths,
    plain_paths,
    policies,
    queries,
    reaches,
    recounted,
    snapshot_of,
)
from tests.property.test_policy_grants import all_grants
from tests.property.test_policy_grants import policies as granted_policies
from tests.property.test_policy_lookup import denial_scopes

TEAM, OTHER, EVIL = Source("team", "p"), Source("other", "p"), Source("evil", "p")


def deny(source: Source, host: str, prefix: str = "/", index: int = 0) -> DenyEntry:
    return DenyEntry(source, index, MatchScope(host, prefix))


def allow(source: Source, host: str, prefix: str = "/", index: int = 0) -> AllowEntry:
    return AllowEntry(source, index, MatchScope(host, prefix))


def denials_of(scopes: Iterable[MatchScope]) -> tuple[DenyEntry, ...]:
    return tuple(DenyEntry(BASELINE, index, scope) for index, scope in enumerate(scopes))


# Law: the baseline denies before all documents, and changes nothing else.


@example(
    [PolicyDocument(TEAM, closed_scopes=(FailClosedScope(TEAM, EVERYWHERE, "unreadable"),))],
    UnreadableReach.UNMATCHED,
    [MatchScope("a.example", "/")],
    "a b",
    "/a",
    "GET",
    [],
    False,
)
@given(
    policies,
    reaches,
    st.lists(denial_scopes, max_size=1),
    hosts | st.sampled_from(["", "a b", "a.example:80"]),
    st.tuples(plain_paths | odd_paths, queries).map("".join),
    methods,
    header_fields,
    st.booleans(),
)
def test_a_baseline_denies_first_and_changes_nothing_else(
    policy: list[PolicyDocument],
    reach: UnreadableReach,
    denied: list[MatchScope],
    host: str,
    path: str,
    method: str,
    fields: list[tuple[str, str]],
    raw: bool,
) -> None:
    baseline, headers = denials_of(denied), HeaderFields(tuple(fields), raw=raw)
    both, without, alone = (
        one.match(host, path, method, raw=raw, headers=headers)
        for one in (
            snapshot_of(policy, reach, attrs.evolve(EVERYTHING_GRANTED, baseline=baseline)),
            snapshot_of(policy, reach),
            PolicySnapshot(Grants(baseline=baseline)),
        )
    )

    event(type(both).__name__)
    # Documents decide where the baseline does not deny; a host that cannot be read is refused without it, and a document may do so first.
    assert both == (without if not denied or alone in (NO_MATCH, AMBIGUOUS_AUTHORITY) else alone)


# Law: any history of documents, labels and grants ends as a fresh start.


@given(granted_policies, all_grants, all_grants, st.randoms(use_true_random=False), st.sampled_from(HOSTS), st.sampled_from(PATHS))
def test_any_order_of_grants_and_documents_ends_as_a_fresh_start(
    policy: list[PolicyDocument], before: Grants, after: Grants, rng: random.Random, host: str, path: str
) -> None:
    there = {one.source: one for one in policy}
    steps: list[Source | Grants] = [*there, *there, before, after]
    edited = PolicySnapshot.EMPTY
    for step in (*rng.sample(steps, len(steps)), after, *rng.sample([*there], len(there))):
        if isinstance(step, Source):
            edited = edited.changed({step: rng.choice([None, there[step]])}).changed({step: there[step]})
        else:
            edited = edited.with_grants(step)

    fresh = PolicySnapshot(after).changed(there)
    assert contents_of(edited) == contents_of(fresh)
    assert said(edited.match(host, path, "GET")) == said(fresh.match(host, path, "GET"))
    assert counters_of(edited) == recounted(edited)


NAMES = [Source(namespace, name) for namespace in ("red", "blue") for name in "abcd"]
LABELS: list[tuple[Labels, ...]] = [(), ((),), ((("tier", "gold"),),), ((("tier", "gold"),), (("tier", "tin"),))]


def drawn_grants(rng: random.Random) -> Grants:
    """Draw grants within limits, some of them for labels, which report sometimes, with a baseline sometimes."""
    limits = NamespaceLimits(rng.randint(2, 12), rng.randint(0, 4), rng.randint(1, 4))
    found = grants(rng).grants
    for_labels = tuple(attrs.evolve(one, namespaces=None, selector=parse_selector("tier=gold")) for one in grants(rng).grants)
    baseline = denials_of([MatchScope("a.example", rng.choice(PREFIXES))] if rng.random() < 0.2 else [])
    everything = attrs.evolve(EVERYTHING_GRANTED, limits=limits)
    return rng.choice(
        [Grants((*found, *for_labels), baseline, rng.random() < 0.8, limits=limits), everything, Grants(limited=False, limits=limits)]
    )


@pytest.mark.parametrize("seed", range(3))
def test_random_histories_end_as_a_fresh_start_within_limits(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(depth, "MAX_DEPTH", 6)
    monkeypatch.setattr(expansion, "MAX_EXPANDED", 1 + 4 * seed)
    rng = random.Random(seed)
    for _ in range(examples(60)):
        granted, reach = drawn_grants(rng), rng.choice(list(UnreadableReach))
        written, labels = dict[Source, PolicyDocument](), dict[str, tuple[Labels, ...]]()
        edited = PolicySnapshot(granted, reach)
        for _ in range(rng.randint(1, 12)):
            changes = {source: None if rng.random() < 0.3 else document(rng, source) for source in rng.sample(NAMES, rng.randint(0, 3))}
            described = {rng.choice(["red", "blue"]): rng.choice(LABELS)} if rng.random() < 0.4 else {}
            written = {source: one for source, one in {**written, **changes}.items() if one is not None}
            if rng.random() < 0.3:
                granted = drawn_grants(rng)
                edited = edited.with_grants(granted)
            labels = {name: one for name, one in {**labels, **described}.items() if any(source.namespace == name for source in written)}
            edited = with_room(edited.changed(changes, described), written)
        fresh = PolicySnapshot(granted, reach).changed(written, labels)
        assert contents_of(edited) == contents_of(fresh)
        assert counters_of(edited) == recounted(edited)
        for asked in rng.sample(list(requests(rng)), 10):
            one, other = (
                there.match(asked.host, asked.path, asked.method, raw=asked.raw, headers=asked.fields) for there in (edited, fresh)
            )
            assert said(one) == said(other)


def with_room(snapshot: PolicySnapshot, written: dict[Source, PolicyDocument]) -> PolicySnapshot:
    """Return the version in which documents are read again for which there is room, as readers do."""
    while lacking := [source for one in snapshot.namespaces.values() for source in one.to_read_again]:
        snapshot = snapshot.changed({source: written[source] for source in lacking})
    return snapshot


def grant(namespace: str, host: str) -> Grants:
    return Grants((NamespaceGrant(frozenset({namespace}), None, (host,)),))


def test_grants_that_come_before_the_first_document_count_and_outlive_the_last() -> None:
    taken = PolicyDocument(EVIL, (deny(EVIL, "victim.example"),))
    first = PolicySnapshot.EMPTY.with_grants(grant("evil", "evil.example"))
    assert first.changed({EVIL: taken}).match("victim.example", "/", "GET") is NO_MATCH
    again = first.changed({EVIL: taken}).changed({EVIL: None}).changed({EVIL: taken})
    assert again.match("victim.example", "/", "GET") is NO_MATCH


def test_with_a_grants_file_an_unknown_namespace_is_granted_nothing() -> None:
    taken = PolicyDocument(EVIL, (deny(EVIL, "victim.example"),))
    assert PolicySnapshot(grant("team", "*")).changed({EVIL: taken}).match("victim.example", "/", "GET") is NO_MATCH
    assert isinstance(PolicySnapshot.EMPTY.changed({EVIL: taken}).match("victim.example", "/", "GET"), DenyEntry)


# Law: of several versions the strictest decision counts, the newest of equal ones, but the earliest of exchanges.


def rank(decision: PolicyDecision, *, refuses_unmatched: bool) -> int:
    order: list[type[PolicyDecision] | tuple[type[PolicyDecision], ...]] = [
        (AllowEntry, NoMatch),
        ExchangeEntry,
        Ambiguous,
        Unhealthy,
        DenyEntry,
    ]
    if refuses_unmatched:
        order[:2] = [AllowEntry, ExchangeEntry, NoMatch]
    return next(place for place, kinds in enumerate(order) if isinstance(decision, kinds))


@given(policies, policies, st.booleans(), hosts, plain_paths, methods)
def test_the_stricter_decision_of_two_versions_counts(
    after: list[PolicyDocument], before: list[PolicyDocument], refuses: bool, host: str, path: str, method: str
) -> None:
    newest, settled = snapshot_of(after), snapshot_of(before)

    found = attrs.evolve(newest, settled=settled).match(host, path, method, refuses_unmatched=refuses)

    own, earlier = (one.match(host, path, method) for one in (newest, settled))
    event(f"{type(own).__name__} {type(earlier).__name__}")
    strictness, others = (rank(one, refuses_unmatched=refuses) for one in (own, earlier))
    assert found == (earlier if others > strictness or (others == strictness and isinstance(own, ExchangeEntry)) else own)
    assert attrs.evolve(newest, settled=newest).match(host, path, method, refuses_unmatched=refuses) == own


def test_an_uncovered_request_is_stricter_than_an_allow_under_default_denial() -> None:
    allowed = PolicyDocument(TEAM, (allow(TEAM, "h"),))
    there = attrs.evolve(snapshot_of([allowed]), settled=snapshot_of([]))
    assert isinstance(there.match("h", "/admin", "GET"), AllowEntry)
    assert isinstance(there.match("h", "/admin", "GET", refuses_unmatched=True), NoMatch)


def test_versions_are_alike_on_hosts_where_they_share_everything() -> None:
    version = snapshot_of([PolicyDocument(TEAM, (deny(TEAM, "h"),)), PolicyDocument(OTHER, (allow(OTHER, "other"),))])
    assert version.is_alike_on("h", version.changed({OTHER: None}))
    assert not version.is_alike_on("h", version.changed({TEAM: None}))
    baseline = denials_of([MatchScope("h", "/")])
    assert not version.is_alike_on("h", version.with_grants(attrs.evolve(EVERYTHING_GRANTED, baseline=baseline)))
    assert not version.is_alike_on("h", version.revoked_by(Revocation()))


# Law: a revoked right passes nothing, in no version.


@given(
    granted_policies,
    granted_policies,
    all_grants,
    all_grants,
    st.booleans(),
    st.sampled_from(HOSTS),
    st.sampled_from(PATHS) | odd_paths,
    st.sampled_from(["GET", "PUT", "HEAD"]),
)
def test_a_revoked_right_passes_nothing_in_any_version(
    policy: list[PolicyDocument],
    earlier: list[PolicyDocument],
    before: Grants,
    after: Grants,
    enforced: bool,
    host: str,
    path: str,
    method: str,
) -> None:
    after = attrs.evolve(after, enforced=enforced)
    allowances = {name: (after.allowance(name, ()),) for name in ("red", "blue")}
    revocation = Revocation(HashTrieMap(allowances), after.denials, enforced)
    newest, settled = (snapshot_of(one, grants=before).revoked_by(revocation) for one in (policy, earlier))

    found = attrs.evolve(newest, settled=settled).match(host, path, method)

    event(type(found).__name__)
    each = [said(snapshot_of(one, grants=before).match(host, path, method)) for one in (policy, earlier)]
    assert isinstance(found, Unhealthy) or said(found) in each
    if isinstance(found, Entry):
        left = [snapshot_of(one, grants=after) for one in (policy, earlier)]
        routes = [route.effect for one in left for route in one.hosts.routes()]
        assert any((found.source, found.index) == (one.source, one.index) and isinstance(one, Entry) for one in routes)


def test_a_revocation_counts_in_every_look_up_and_its_denials_come_first() -> None:
    version = snapshot_of([PolicyDocument(TEAM, (deny(TEAM, "h", "/x"), allow(TEAM, "h", "/", 1)))])
    allowance = Grants((NamespaceGrant(frozenset({"team"}), None, ("h",), ("/y",)),)).allowance("team", ())
    rights: HashTrieMap[str, tuple[Allowance, ...]] = HashTrieMap({"team": (allowance,)})
    revoked = version.revoked_by(Revocation(rights, VirtualHosts.of(denials_of([MatchScope("h", "/y")]))))
    decisions: list[PolicyDecision] = [revoked.match("h", path, method) for path in ("/x", "/z") for method in ("GET", "HEAD")]
    assert all(isinstance(one, Unhealthy) for one in decisions)
    assert isinstance(revoked.match("h", "/y", "GET"), DenyEntry)
    assert isinstance(revoked.match("h", "/%zz", "GET"), Unhealthy | Ambiguous)
    assert revoked.match("elsewhere", "/", "GET") is NO_MATCH
