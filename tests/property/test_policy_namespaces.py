"""Laws of one namespace's quota and depth: what is over them fails closed, opens nothing, and concerns nobody else."""

import random
from collections.abc import Iterable
from unittest import mock

import attrs
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from exchanger.model.entry import (
    EVERYWHERE,
    AllowEntry,
    Claim,
    DenyEntry,
    Entry,
    ExchangeEntry,
    FailClosedScope,
    MatchScope,
    PathType,
    Source,
    TokenTarget,
)
from exchanger.model.policy_decision import NoMatch, Unhealthy
from exchanger.policy import depth
from exchanger.policy.depth import MAX_DEPTH, closing, depth_of
from exchanger.policy.documents.document import PolicyDocument
from exchanger.policy.grants.allowance import NO_GRANTS, Grants, NamespaceGrant
from exchanger.policy.grants.restriction import routes_of
from exchanger.policy.limits import NamespaceLimits
from exchanger.policy.scope import Route
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.policy.table import VirtualHosts
from tests.policy.examples import EVERYTHING_GRANTED
from tests.property.policy_fuzz import HOSTS, PATHS, said
from tests.property.policy_model import answer, over_quota, parts_of
from tests.property.strategies_policy import contents_of, documents, hosts, methods, path_types, plain_paths, snapshot_of
from tests.property.test_policy_grants import BY_HEADER, OTHER, TEAM, may, refused
from tests.property.test_policy_versions import allow, deny

RED, BLUE = Source("red", "one"), Source("blue", "policy")


def granted(policy: list[PolicyDocument], *grants: NamespaceGrant, limits: NamespaceLimits = NO_GRANTS.limits) -> PolicySnapshot:
    return snapshot_of(policy, grants=Grants(grants, limits=limits))


def limited(policy: list[PolicyDocument], limits: NamespaceLimits) -> PolicySnapshot:
    return snapshot_of(policy, grants=attrs.evolve(EVERYTHING_GRANTED, limits=limits))


def applied(snapshot: PolicySnapshot, *policy: PolicyDocument) -> PolicySnapshot:
    return snapshot.changed({one.source: one for one in policy})


# Laws: what a namespace has over its quota fails closed, and opens nothing; others are not affected; no order matters.

small = st.builds(NamespaceLimits, st.integers(0, 6), st.integers(0, 3), st.integers(0, 2))


def crowd(name: str, count: int) -> st.SearchStrategy[list[PolicyDocument]]:
    of = st.builds(Source, st.just(name), st.sampled_from("abcd"))
    return st.lists(documents(of=of), max_size=count).map(lambda found: list({one.source: one for one in found}.values()))


@given(crowd("red", 4), crowd("blue", 2), small, hosts, plain_paths, methods)
def test_a_namespace_over_its_quota_is_decided_as_the_model_says(
    own: list[PolicyDocument], others: list[PolicyDocument], limits: NamespaceLimits, host: str, path: str, method: str
) -> None:
    snapshot = limited([*own, *others], limits)

    found = snapshot.match(host, path, method)

    event(type(found).__name__)
    assert said(found) == answer(parts_of(over_quota([*own, *others], limits)), snapshot.reach, host, path, method)


@given(crowd("red", 4), crowd("blue", 2), small, hosts, plain_paths, methods, st.randoms(use_true_random=False))
def test_limits_close_and_never_open_in_whatever_order(
    own: list[PolicyDocument], others: list[PolicyDocument], limits: NamespaceLimits, host: str, path: str, method: str, rng: random.Random
) -> None:
    alone, bounded = (limited(own, some).match(host, path, method) for some in (NamespaceLimits(), limits))
    event(type(bounded).__name__)
    assert refused(bounded) or not refused(alone)
    together, both = (limited([*own, *others], some) for some in (NamespaceLimits(), limits))
    shuffled = limited(rng.sample([*own, *others], len([*own, *others])), limits)
    before, found = (one.match(host, path, method) for one in (together, both))
    assert refused(found) or not refused(before) or (isinstance(found, Entry) and found.source.namespace == "blue")
    assert contents_of(both) == contents_of(shuffled)


@given(crowd("red", 4), crowd("blue", 2), small, hosts, plain_paths, methods)
def test_what_others_decide_stays_unless_a_document_over_quota_names_the_host(
    own: list[PolicyDocument], others: list[PolicyDocument], limits: NamespaceLimits, host: str, path: str, method: str
) -> None:
    limits = attrs.evolve(limits, documents=max(limits.documents, len(others)), entries=20, fail_closed_scopes=20)
    free, bounded = (limited([*own, *others], some) for some in (NamespaceLimits(), limits))
    assert not any(document.is_over_quota for document in bounded.documents() if document.source.namespace == "blue")
    before, after = (one.match(host, path, method) for one in (free, bounded))
    if isinstance(before, Entry) and before.source.namespace == "blue" and before != after:
        assert isinstance(after, Unhealthy)
        assert after.source is None or after.source in bounded.namespaces["red"].over_quota


@pytest.mark.parametrize("count", [1, 65, 200])
def test_a_document_over_quota_closes_its_hosts_for_everybody(count: int) -> None:
    names = [f"h{number}.example" for number in range(count)]
    others = PolicyDocument(OTHER, tuple(allow(OTHER, name, "/", index) for index, name in enumerate(names)))
    own = [deny(TEAM, name, "/admin", index) for index, name in enumerate(names)]
    there = applied(limited([others], NamespaceLimits(entries=300)), PolicyDocument(TEAM, tuple(own)))
    assert isinstance(there.match(names[-1], "/admin", "GET"), DenyEntry)
    more = [deny(TEAM, names[0], f"/x{index}", count + index) for index in range(301)]
    crowded = applied(there, PolicyDocument(TEAM, (*own, *more)))
    assert [*crowded.namespaces["team"].over_quota] == [TEAM]
    assert all(isinstance(crowded.match(name, "/admin", "GET"), Unhealthy) for name in names)
    assert isinstance(crowded.match("elsewhere.example", "/", "GET"), NoMatch)
    assert isinstance(applied(crowded, PolicyDocument(TEAM, tuple(own))).match(names[0], "/x", "GET"), AllowEntry)


@pytest.mark.parametrize("prefixes", [(), ("/team",)])
def test_a_document_over_quota_closes_no_more_than_is_granted(prefixes: tuple[str, ...]) -> None:
    own = PolicyDocument(TEAM, tuple(deny(TEAM, "h", f"/team/{index}", index) for index in range(3)))
    others = PolicyDocument(OTHER, (allow(OTHER, "h"),))
    there = granted([others, own], may("other", "*"), may("team", "h", prefixes=prefixes), limits=NamespaceLimits(entries=2))
    assert isinstance(there.match("h", "/orders", "GET"), AllowEntry)
    assert refused(there.match("h", "/team/7", "GET")) is bool(prefixes)


@given(documents(of=st.just(RED)), documents(of=st.just(BLUE)), st.integers(0, 3), st.sampled_from(HOSTS), st.sampled_from(PATHS))
def test_what_is_denied_by_name_stays_refused_over_quota(
    own: PolicyDocument, other: PolicyDocument, entries: int, host: str, path: str
) -> None:
    limits = NamespaceLimits(entries=entries, fail_closed_scopes=entries)
    free, bounded = (limited([own, other], some).match(host, path, "GET") for some in (NamespaceLimits(), limits))
    assert refused(bounded) or not (isinstance(free, DenyEntry) and free.source.namespace == "red")


# Laws: too many levels of a namespace on a host close what they cover there, and nothing else; a request takes a bounded number of them.

chains = st.lists(
    st.tuples(st.text("ab/", max_size=12), path_types, st.booleans(), st.sampled_from(["deny", "close", "yield"])), min_size=12, max_size=40
)


@given(chains, st.text("ab/", max_size=14))
def test_a_host_over_depth_refuses_what_it_refused(chain: list[tuple[str, PathType, bool, str]], path: str) -> None:
    claims: list[Claim] = [FailClosedScope(TEAM, MatchScope("h"), "unreadable", guessed=True)]
    for index, (prefix, path_type, ignores_case, what) in enumerate(chain):
        match = MatchScope("h", "/" + prefix, None, ignores_case, path_type)
        closed = FailClosedScope(TEAM, match, "bad", index, guessed=what == "yield")
        claims.append(DenyEntry(TEAM, index, match) if what == "deny" else closed)
    routes, other = tuple(map(Route, claims)), Route(allow(OTHER, "h"))
    free, crowded = (on_host("h", other, *own).match("h", "/" + path, "GET", raw=True) for own in (routes, closing(routes)))
    event(type(free).__name__)
    assert refused(crowded) or not refused(free)
    with mock.patch.object(depth, "MAX_DEPTH", 1 << 20):
        outermost = closing(routes)
    with mock.patch.object(depth, "MAX_DEPTH", depth_of(outermost)):
        assert closing(routes) == outermost
    with mock.patch.object(depth, "MAX_DEPTH", depth_of(outermost) - 1):
        assert {one.match for one in closing(routes)} == {MatchScope("h")}


def on_host(host: str, *routes: Route) -> PolicySnapshot:
    return PolicySnapshot(hosts=VirtualHosts().replaced(host, (), routes))


def test_an_unreadable_document_opens_no_host_over_depth() -> None:
    entries = tuple(deny(TEAM, "h", "/" + "a" * number, number) for number in range(1, MAX_DEPTH + 2))
    broken = Source("team", "broken")
    unreadable = PolicyDocument(broken, closed_scopes=(FailClosedScope(broken, EVERYWHERE, "unreadable"),))
    policy = [PolicyDocument(OTHER, (allow(OTHER, "h"),)), PolicyDocument(TEAM, entries), unreadable]
    there = granted(policy, may("other", "*"), may("team", "h"))
    assert there.namespaces["team"].over_depth == {"h"}
    assert refused(there.match("h", "/a", "GET"))
    assert isinstance(there.match("h", "/other", "GET"), AllowEntry)
    mended = applied(there, PolicyDocument(TEAM, entries[:1]))
    assert mended.namespaces["team"].over_depth == frozenset()
    assert mended.match("h", "/a", "GET") == Unhealthy("unreadable", broken)


@pytest.mark.parametrize(
    "prefixes", [["/" + "a" * n for n in range(1, 200)], ["/" + "a" * n + "%61" for n in range(200)], ["/" + "a/" * n for n in range(200)]]
)
@pytest.mark.parametrize("path_type", PathType)
@pytest.mark.parametrize("granted_prefixes", [("",), ("/a", "/aaa", "/aaaa"), ("/aa/a",)])
def test_no_namespace_makes_more_levels_than_it_may(prefixes: list[str], path_type: PathType, granted_prefixes: tuple[str, ...]) -> None:
    entries = [
        DenyEntry(TEAM, index, MatchScope("h", prefix.rstrip("/") if path_type is PathType.SEGMENT else prefix, path_type=path_type))
        for index, prefix in enumerate(prefixes)
    ]
    there, free = (
        granted([PolicyDocument(TEAM, own)], may("team", "h", prefixes=granted_prefixes)) for own in (tuple(entries), (entries[-1],))
    )
    assert depth_of(there.namespaces["team"].on("h")) <= MAX_DEPTH
    assert refused(there.match("h", prefixes[-1], "GET", raw=True)) or not refused(free.match("h", prefixes[-1], "GET", raw=True))


long_prefixes = st.lists(st.sampled_from(["a", "b", "/", "%61"]), max_size=40).map("".join)
deep = st.lists(st.tuples(long_prefixes, path_types, st.booleans(), st.booleans()), min_size=20, max_size=60)


def most_levels(routes: Iterable[Route]) -> int:
    """Count the levels that a look-up of the worst path meets, and what their headers cost."""
    there, most = VirtualHosts().replaced("h", (), routes).by_name["h"], 0
    for text in {*there.exact.prefixes, *there.folded.prefixes}:
        met = [level for trie in (there.exact, there.folded) for levels in trie.covering(text) for level in levels]
        named = [{tuple(name for name, _ in route.match.headers) for route in level.routes} - {()} for level in met]
        most = max(most, sum(1 + 4 * bool(names) + len(names) for names in named))
    return most


@given(deep, long_prefixes, methods)
def test_a_request_takes_a_bounded_number_of_levels(drawn: list[tuple[str, PathType, bool, bool]], path: str, method: str) -> None:
    entries = tuple(
        AllowEntry(TEAM, index, MatchScope("h", "/" + prefix, None, ignores_case, kind, BY_HEADER if named else ()))
        for index, (prefix, kind, ignores_case, named) in enumerate(drawn)
    )
    there = snapshot_of([PolicyDocument(TEAM, entries)])
    own = there.namespaces["team"]
    event(f"over depth {bool(own.over_depth)}")
    assert depth_of(own.on("h")) <= MAX_DEPTH
    assert depth_of(map(Route, entries)) == most_levels(map(Route, entries))
    found, free = (one.match("h", "/" + path, method, raw=True) for one in (there, on_host("h", *map(Route, entries))))
    assert refused(found) or found == free


# A plain prefix beside what it is granted.


def test_a_plain_prefix_exchanges_for_no_scope_that_is_granted_elsewhere_only() -> None:
    entry = ExchangeEntry(TEAM, 0, MatchScope("h", "/a"), TokenTarget("primary", scope="w"))
    policy = [PolicyDocument(TEAM, (entry,))]
    there = granted(policy, may("team", "h", prefixes=["/a"]), may("team", "h", prefixes=["/a", "/ab"], scopes=("r",)))
    assert there.match("h", "/a/x", "GET") == entry
    assert isinstance(there.match("h", "/ab", "GET"), NoMatch)


def test_a_wildcard_denial_applies_to_other_paths_granted_on_one_host() -> None:
    policy = [PolicyDocument(TEAM, (deny(TEAM, "*.example", "/a"),))]
    there = granted(policy, may("team", "*.example", prefixes=["/a"]), may("team", "a.example", prefixes=["/ab"]))
    assert refused(there.match("a.example", "/ab/c", "GET"))
    assert refused(there.match("b.example", "/a", "GET"))
    assert isinstance(there.match("b.example", "/ab", "GET"), NoMatch)
    assert isinstance(there.match("a.example", "/abc", "GET"), NoMatch)


def test_an_ungranted_denial_fails_closed_on_every_granted_path_below_it() -> None:
    policy = [PolicyDocument(TEAM, (deny(TEAM, "*.example", "/a"),))]
    exchanges = (may("team", "b.example", actions=["exchange"]), may("team", "*.example", actions=["exchange"], prefixes=["/a"]))
    there = granted(policy, *exchanges)
    assert isinstance(there.match("b.example", "/ab", "GET"), Unhealthy)
    assert isinstance(there.match("c.example", "/a/b", "GET"), Unhealthy)
    assert isinstance(there.match("c.example", "/ab", "GET"), NoMatch)


def test_a_path_that_a_mark_may_hide_among_granted_paths_closes() -> None:
    policy = [PolicyDocument(TEAM, (deny(TEAM, "h"),)), PolicyDocument(OTHER, (allow(OTHER, "h"),))]
    there = granted(policy, may("team", "h", prefixes=["/é"]), may("other", "*"))
    assert refused(there.match("h", "/é/x", "GET", raw=True))
    assert refused(there.match("h", "/!/x", "GET"))
    assert isinstance(there.match("h", "/x!", "GET"), AllowEntry)


def test_a_reason_names_some_of_what_is_not_granted() -> None:
    entry = ExchangeEntry(TEAM, 3, MatchScope("h", "/a"), TokenTarget("primary", scope=" ".join("abcdefg")), line=7)
    (route,) = routes_of(entry, [Grants((may("team", "h", scopes=()),)).allowance("team", ())])
    assert isinstance(route.effect, FailClosedScope)
    assert route.effect.reason == (
        "entries[3] requests what its namespace is not granted: " + ", ".join(f"scope {scope}" for scope in "abcd") + " and 3 more"
    )
    assert [(problem.code.name, problem.entry, problem.line) for problem in route.effect.problems] == [("POL-2003", 3, 7)]
