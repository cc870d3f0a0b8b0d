"""Laws of versions: any order of changes ends as a fresh start, and a version decides as the previous engine's."""

import random
from unittest import mock

import attrs
import pytest
from exchanger.policy.version import EMPTY, PolicyVersion
from hypothesis import event, given
from hypothesis import strategies as st
from rpds import HashTrieMap

from exchanger.policy import namespace as namespaces
from exchanger.policy import shares
from exchanger.policy.documents.document import PolicyDocument
from exchanger.policy.grants.allowance import Allowance, Grants
from exchanger.policy.limits import NamespaceLimits
from exchanger.policy.revocation import Revocation
from exchanger.policy.routing.lookup import Outcome, Trace
from exchanger.policy.routing.table import VirtualHosts
from exchanger.policy.snapshot import UnreadableReach, stricter
from exchanger.values.entry import BASELINE, AllowEntry, DenyEntry, Entry, MatchScope, Source
from exchanger.values.request import HeaderFields
from exchanger.values.verdict import NO_MATCH, Ambiguous, NoMatch, Unhealthy, Verdict
from tests.examples import examples
from tests.property.policy_fuzz import document, plain, requests
from tests.property.policy_fuzz import policies as random_policies
from tests.property.strategies_policy import header_fields, hosts, methods, odd_paths, plain_paths, policies, queries, reaches, snapshot_of
from tests.property.test_policy_grants import HOSTS, PATHS, all_grants
from tests.property.test_policy_grants import policies as granted_policies
from tests.property.test_policy_namespaces import FREE, NOTHING, OTHER, TEAM, allow, deny, may, refused
from tests.property.test_policy_routing import denial_scopes

MAY = dict.fromkeys(("red", "blue", "team", "other"), (FREE,))


def version_of(
    policy: list[PolicyDocument], reach: UnreadableReach = UnreadableReach.UNMATCHED, baseline: VirtualHosts | None = None
) -> PolicyVersion:
    there = attrs.evolve(EMPTY, is_global=reach is UnreadableReach.GLOBAL, baseline=baseline)
    for one in policy:
        there = there.changed({one.source: one}, MAY)
    return there


def baseline_of(scopes: list[MatchScope]) -> VirtualHosts | None:
    return VirtualHosts.of(DenyEntry(BASELINE, index, scope) for index, scope in enumerate(scopes)) if scopes else None


# Law: a version decides as the previous engine's.


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
def test_a_version_decides_as_the_previous_engine(
    policy: list[PolicyDocument],
    reach: UnreadableReach,
    denied: list[MatchScope],
    host: str,
    path: str,
    method: str,
    fields: list[tuple[str, str]],
    raw: bool,
) -> None:
    baseline, headers = baseline_of(denied), HeaderFields(tuple(fields), raw=raw)
    with mock.patch.object(shares, "MAX_LOOKUPS", 1 << 20):
        before = snapshot_of(policy, reach).with_baseline(baseline)
    there = version_of(policy, reach, baseline=baseline)

    found = there.match(host, path, method, raw=raw, headers=headers)

    event(type(found).__name__)
    assert plain(found) == plain(before.match(host, path, method, raw=raw, headers=headers))


@pytest.mark.parametrize("seed", range(2))
def test_versions_decide_random_requests_as_the_previous_engine(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(examples(60)):
        policy, reach = random_policies(rng), rng.choice(list(UnreadableReach))
        with mock.patch.object(shares, "MAX_LOOKUPS", 1 << 20):
            before = snapshot_of(policy, reach)
        there = version_of(policy, reach)
        for asked in requests(rng):
            verdicts = [one.match(asked.host, asked.path, asked.method, raw=asked.raw, headers=asked.fields) for one in (before, there)]
            assert plain(verdicts[0]) == plain(verdicts[1]), (policy, asked)


@given(policies, hosts, plain_paths | odd_paths, methods, header_fields)
def test_a_trace_changes_no_verdict_of_a_version(
    policy: list[PolicyDocument], host: str, path: str, method: str, fields: list[tuple[str, str]]
) -> None:
    there, trace, headers = version_of(policy), Trace(), HeaderFields(tuple(fields), raw=True)
    verdict = there.match(host, path, method, headers=headers, trace=trace)
    assert verdict == there.match(host, path, method, headers=headers)
    if isinstance(verdict, Entry):
        assert verdict in [route.effect for step in trace.steps if step.outcome is Outcome.WON for route in step.level.routes]


# Law: any order of grants and documents ends as a fresh start.


@given(granted_policies, all_grants, all_grants, st.randoms(use_true_random=False), st.sampled_from(HOSTS), st.sampled_from(PATHS))
def test_any_order_of_grants_and_documents_ends_as_a_fresh_start(
    policy: list[PolicyDocument], before: Grants, after: Grants, rng: random.Random, host: str, path: str
) -> None:
    there = {one.source: one for one in policy}
    base = attrs.evolve(EMPTY, unknown=(NOTHING,))
    last = {name: (after.allowance(name, ()),) for name in ("red", "blue")}
    fresh = base.changed(there, last)
    steps: list[tuple[dict[Source, PolicyDocument | None], dict[str, tuple[Allowance, ...] | None]]] = []
    steps += [({source: document}, {}) for source in there for document in (None, there[source])]
    steps += [({}, {name: one}) for name in last for one in ((before.allowance(name, ()),), last[name], None)]
    ends: list[tuple[dict[Source, PolicyDocument | None], dict[str, tuple[Allowance, ...] | None]]] = []
    ends += [({source: document}, {}) for source, document in there.items()]
    ends += [({}, {name: one}) for name, one in last.items()]
    edited = base
    for documents, allowances in (*rng.sample(steps, len(steps)), *rng.sample(ends, len(ends))):
        edited = edited.changed(documents, allowances)
    one, other = (version.match(host, path, "GET") for version in (edited, fresh))
    assert one == other or isinstance(one, Unhealthy) is isinstance(other, Unhealthy) is True
    assert set(edited.namespaces) == set(fresh.namespaces)
    assert set(edited.hosts.by_name) == set(fresh.hosts.by_name)


NAMES = [Source(namespace, name) for namespace in ("red", "blue") for name in "abcd"]
SETS = [("",), ("/a",), ("/a", "/ab"), ("/é",), ("/b",)]


def some_allowances(rng: random.Random) -> tuple[Allowance, ...]:
    """Draw what a namespace is granted, by one or two descriptions."""
    few = may("a.example", "*.a.example", prefixes=rng.choice(SETS))
    return tuple(rng.choice([FREE, NOTHING, few, may("*", actions=["deny", "exchange"])]) for _ in range(rng.choice([1, 1, 1, 2])))


@pytest.mark.parametrize("seed", range(2))
def test_random_histories_end_as_a_fresh_start_within_limits(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(namespaces, "MAX_DEPTH", 6)
    rng = random.Random(seed)
    for _ in range(examples(60)):
        limits = NamespaceLimits(rng.randint(2, 12), rng.randint(0, 4), rng.randint(1, 4))
        base = attrs.evolve(EMPTY, limits=limits, unknown=(NOTHING,), is_global=rng.random() < 0.3)
        documents, allowances, edited = dict[Source, PolicyDocument](), dict[str, tuple[Allowance, ...]](), base
        for _ in range(rng.randint(1, 12)):
            changes = {source: None if rng.random() < 0.3 else document(rng, source) for source in rng.sample(NAMES, rng.randint(0, 3))}
            given_now = {rng.choice(["red", "blue"]): some_allowances(rng)} if rng.random() < 0.4 else {}
            documents = {source: one for source, one in {**documents, **changes}.items() if one is not None}
            allowances.update(given_now)
            edited = edited.changed(changes, given_now)
        fresh = base.changed(documents, allowances)
        assert set(edited.hosts.by_name) == set(fresh.hosts.by_name)
        assert (edited.hosts.wildcards, edited.hosts.yielding) == (fresh.hosts.wildcards, fresh.hosts.yielding)
        for name in (*edited.namespaces, *fresh.namespaces):
            one, other = (
                (there.over_quota, there.over_depth, there.entries, there.regions)
                for there in (edited.namespaces[name], fresh.namespaces[name])
            )
            assert one == other
        for asked in rng.sample(list(requests(rng)), 10):
            verdicts = [
                plain(there.match(asked.host, asked.path, asked.method, raw=asked.raw, headers=asked.fields)) for there in (edited, fresh)
            ]
            assert verdicts[0] == verdicts[1]


EVIL = Source("evil", "p")


def test_grants_that_come_before_the_first_document_count_and_outlive_the_last() -> None:
    taken = PolicyDocument(EVIL, (deny(EVIL, "victim.example"),))
    first = EMPTY.changed({}, {"evil": (may("evil.example"),)})
    assert first.changed({EVIL: taken}).match("victim.example", "/", "GET") is NO_MATCH
    again = first.changed({EVIL: taken}).changed({EVIL: None}).changed({EVIL: taken})
    assert again.match("victim.example", "/", "GET") is NO_MATCH


def test_with_a_grants_file_an_unknown_namespace_is_granted_nothing() -> None:
    taken = PolicyDocument(EVIL, (deny(EVIL, "victim.example"),))
    assert attrs.evolve(EMPTY, unknown=(NOTHING,)).changed({EVIL: taken}).match("victim.example", "/", "GET") is NO_MATCH
    assert refused(EMPTY.changed({EVIL: taken}).match("victim.example", "/", "GET"))


# Law: of two versions the stricter verdict counts.


@given(policies, policies, st.booleans(), hosts, plain_paths, methods)
def test_a_version_that_is_not_settled_gives_the_stricter_of_two_verdicts(
    policy: list[PolicyDocument], earlier: list[PolicyDocument], refuses: bool, host: str, path: str, method: str
) -> None:
    settled, newest = version_of(earlier), version_of(policy)

    found = attrs.evolve(newest, settled=settled).match(host, path, method, refuses_unmatched=refuses)

    each = [one.match(host, path, method) for one in (newest, settled)]
    event(" ".join(type(one).__name__ for one in each))
    assert found == stricter(*each, refuses_unmatched=refuses)
    assert attrs.evolve(newest, settled=newest).match(host, path, method, refuses_unmatched=refuses) == each[0]


def test_what_no_entry_covers_is_stricter_than_an_allow_under_the_default_denial() -> None:
    allowed = PolicyDocument(TEAM, (allow(TEAM, "h"),))
    there = attrs.evolve(version_of([allowed]), settled=EMPTY)
    assert isinstance(there.match("h", "/admin", "GET"), AllowEntry)
    assert isinstance(there.match("h", "/admin", "GET", refuses_unmatched=True), NoMatch)


def test_versions_are_alike_on_hosts_where_they_share_everything() -> None:
    version = version_of([PolicyDocument(TEAM, (deny(TEAM, "h"),)), PolicyDocument(OTHER, (allow(OTHER, "other"),))])
    assert version.is_alike_on("h", version.changed({OTHER: None}))
    assert not version.is_alike_on("h", version.changed({TEAM: None}))
    assert not version.is_alike_on("h", attrs.evolve(version, baseline=baseline_of([MatchScope("h", "/")])))
    assert not version.is_alike_on("h", attrs.evolve(version, revocation=Revocation()))


def test_a_revocation_counts_in_every_look_up_and_its_denials_come_first() -> None:
    version = version_of([PolicyDocument(TEAM, (deny(TEAM, "h", "/x"), allow(TEAM, "h", "/", 1)))])
    revocation = Revocation(HashTrieMap({"team": (may("h", prefixes=["/y"]),)}), baseline_of([MatchScope("h", "/y")]))
    revoked = attrs.evolve(version, revocation=revocation)
    verdicts: list[Verdict] = [revoked.match("h", path, method) for path in ("/x", "/z") for method in ("GET", "HEAD")]
    assert all(isinstance(one, Unhealthy) for one in verdicts)
    assert isinstance(revoked.match("h", "/y", "GET"), DenyEntry)
    assert isinstance(revoked.match("h", "/%zz", "GET"), Unhealthy | Ambiguous)
    assert revoked.match("elsewhere", "/", "GET") is NO_MATCH
