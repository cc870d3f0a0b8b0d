"""Laws: what grants leave of a policy is what a look at every host and path says, and nothing of it lies outside them.

Hosts and paths are few, and each wildcard, prefix and case has one of them to itself, so that areas can be compared one by one.
"""

from collections.abc import Iterable
from typing import TypeAlias

import attrs
from hypothesis import event, example, given
from hypothesis import strategies as st

from exchanger.policy.documents.document import PolicyDocument
from exchanger.policy.grants.allowance import Grant, Grants
from exchanger.policy.grants.restriction import again, restrict
from exchanger.policy.lookup import UnreadableReach
from exchanger.policy.path import read_path
from exchanger.values.entry import (
    BASELINE,
    EVERYWHERE,
    AllowEntry,
    DenyEntry,
    Entry,
    ExchangeEntry,
    FailClosedRegion,
    MatchScope,
    PathType,
    Source,
    TokenTarget,
)
from exchanger.values.headers import HeaderFields
from exchanger.values.verdict import Ambiguous, NoMatch, Unhealthy
from tests.property.policy_model import answer, begins, hosts_above
from tests.property.strategies_policy import (
    documents,
    header_fields,
    header_sets,
    odd_paths,
    path_types,
    reaches,
    scopes_over,
    snapshot_of,
)
from tests.property.test_policy_match_model import said

Policy: TypeAlias = list[PolicyDocument]

HOSTS = ["a.example", "x.a.example", "z.x.a.example", "b.example", "other.test"]
PATHS = ["/", "/a", "/a/", "/ab", "/a/b", "/a/b/", "/a/bc", "/a/c", "/A", "/A/b", "/a/B", "/A/B", "/b", "/ba"]
UNHEARD_OF = ["/a/b/ccc", "/zzz"]  # below and beside every prefix
BROKEN = Source("red", "broken")
UNREADABLE = ["/sale-50%", "/x%0Ay", "/" + "a;" * 9_000, "/a!" * 65]
EVERYTHING = Grant(None, None, ("*",))
ACTIONS = {AllowEntry: "allow", DenyEntry: "deny", ExchangeEntry: "exchange"}

prefixes = st.sampled_from(["/", "/a", "/a/", "/a/b", "/ab", "/b", "/A", "/a/B"])
no_headers = st.just(())
scopes, region_scopes = scopes_over(prefixes, no_headers)
policies = st.lists(documents(scopes=scopes, region_scopes=region_scopes, max_regions=1), max_size=3)
grants_of_one = st.builds(
    Grant,
    st.frozensets(st.sampled_from(["red", "blue"]), min_size=1),
    st.none(),
    st.lists(st.sampled_from(["a.example", "x.a.example", "*.example", "*.a.example", "b.example", "*"]), max_size=2).map(tuple),
    st.just(("",)) | st.lists(st.sampled_from(["", "/a", "/a/b", "/b"]), max_size=2).map(tuple),
    st.frozensets(st.sampled_from(["allow", "deny", "exchange"]), min_size=1),
    st.just(("primary",)) | st.just(("*",)),
    scopes=st.just(("r",)) | st.just(("*",)),
)
all_grants = st.lists(grants_of_one, max_size=3).map(lambda given: Grants(tuple(given)))


def is_on(host: str, pattern: str | None) -> bool:
    return pattern in {None, "*", *hosts_above(host)}


def paths_of(grant: Grant) -> set[str]:
    return {
        path for path in (*PATHS, *UNHEARD_OF) if any(path == one or path.startswith(one + "/") or not one for one in grant.path_prefixes)
    }


def area(scope: MatchScope) -> set[tuple[str, str]]:
    """Return all hosts and paths of ``scope``, among them a host that nobody names below each wildcard."""
    hosts = [*HOSTS, "unheard-of.example", "unheard-of.a.example", "unheard-of.b.a.example", "unheard.of"]
    return {(host, path) for host in hosts if is_on(host, scope.host) for path in (*PATHS, *UNHEARD_OF) if begins(path, scope)}


def covers(grant: Grant, scope: MatchScope) -> bool:
    paths = paths_of(grant)
    return all(any(is_on(host, pattern) for pattern in grant.hosts) and path in paths for host, path in area(scope))


def common(host: str | None, pattern: str) -> tuple[str | None, ...]:
    """Return the hosts that both have in common."""
    if pattern == "*":
        return (host,)
    if host is None or (host.startswith("*.") and pattern.endswith(host[1:])):
        return (pattern,)
    return (host,) if host == pattern or (pattern.startswith("*.") and host.endswith(pattern[1:])) else ()


def closing(claim: Entry | FailClosedRegion, grants: Iterable[Grant]) -> tuple[FailClosedRegion, ...]:
    """Return one region for each path of ``claim`` that is granted."""
    found = dict[FailClosedRegion, None]()
    for grant in grants:
        pairs = ((host, path) for pattern in grant.hosts for host in common(claim.match.host, pattern) for path in paths_of(grant))
        for host, path in pairs:
            if begins(path, claim.match):
                scope = MatchScope(host, path, claim.match.methods, path_type=PathType.EXACT)
                guessed = isinstance(claim, FailClosedRegion) and claim.match.host is None and host is not None
                found[FailClosedRegion(claim.source, scope, "", claim.index, guessed=guessed)] = None
    return tuple(found)


def is_asked(entry: Entry, grants: list[Grant]) -> bool:
    target = entry.target if isinstance(entry, ExchangeEntry) else TokenTarget("primary", "r")
    return (
        any(ACTIONS[type(entry)] in grant.actions for grant in grants)
        and (not isinstance(entry, ExchangeEntry) or any(target.issuer_ref in grant.issuers or "*" in grant.issuers for grant in grants))
        and (not isinstance(entry, ExchangeEntry) or any(target.scope in grant.scopes or "*" in grant.scopes for grant in grants))
    )


def model(document: PolicyDocument, grants: Grants) -> PolicyDocument:
    own = [grant for grant in grants.grants if grant.namespaces is not None and document.source.namespace in grant.namespaces]
    entries: list[Entry] = []
    regions = [region for claim in document.regions for region in closing(claim, own)]
    for entry in document.entries:
        scope = entry.match
        covering = [grant for grant in own if covers(grant, scope)]
        if not covering and scope.path_type is PathType.PREFIX:
            scope = attrs.evolve(scope, path_type=PathType.SEGMENT, narrowed=True)
            covering = [grant for grant in own if scope.path_prefix in grant.path_prefixes and covers(grant, scope)]
        if covering and is_asked(entry, covering):
            entries.append(attrs.evolve(entry, match=scope))
        else:
            # What is inside closes its own area, and no other host than its own.
            regions += closing(attrs.evolve(entry, match=scope.closed), [EVERYTHING]) if covering else closing(entry, own)
    return PolicyDocument(document.source, tuple(entries), tuple(regions))


@given(
    policies, all_grants, reaches, st.sampled_from(HOSTS), st.sampled_from([*PATHS, *UNHEARD_OF]), st.sampled_from(["GET", "PUT", "HEAD"])
)
def test_what_grants_leave_is_what_a_look_at_every_place_says(
    policy: Policy, grants: Grants, reach: UnreadableReach, host: str, path: str, method: str
) -> None:
    left = [restrict(document, grants, ()) for document in policy]

    found = snapshot_of(left, reach).match(host, path, method)

    event(type(found).__name__)
    assert said(found) == answer([model(document, grants) for document in policy], reach, host, path, method)


@given(
    policies,
    all_grants,
    reaches,
    st.sampled_from(HOSTS),
    st.sampled_from([*PATHS, *UNHEARD_OF]) | st.sampled_from(UNREADABLE),
    st.sampled_from(["GET", "PUT", "HEAD"]),
    st.booleans(),
)
def test_a_namespace_changes_no_decision_outside_its_hosts_and_paths(
    policy: Policy, grants: Grants, reach: UnreadableReach, host: str, path: str, method: str, unreadable: bool
) -> None:
    if unreadable:
        policy = [*policy, PolicyDocument(BROKEN, regions=(FailClosedRegion(BROKEN, EVERYWHERE, ""),))]
    own = [grant for grant in grants.grants if grant.namespaces is not None and "red" in grant.namespaces]
    left = [restrict(document, grants, ()) for document in policy]
    others = [document for document in left if document.source.namespace != "red"]

    if not any(is_on(host, pattern) for grant in own for pattern in grant.hosts):
        assert snapshot_of(left, reach).match(host, path, method) == snapshot_of(others, reach).match(host, path, method)


CLOSED = (DenyEntry, Unhealthy, Ambiguous)
RED = Source("red", "one")
ON_ONE_HOST = Grants((Grant(frozenset({"red"}), None, ("a.example",), ("/a",), issuers=("*",), scopes=("*",)),))
BY_HEADER = (("x-a", "1"),)
TARGET = TokenTarget("primary", scope="r")
with_headers, regions_beside = scopes_over(prefixes, header_sets)


def of_red(*entries: Entry) -> PolicyDocument:
    return PolicyDocument(RED, entries)


@example(
    of_red(
        ExchangeEntry(RED, 0, MatchScope("a.example", "/a", headers=BY_HEADER), TARGET),
        DenyEntry(RED, 1, MatchScope("a.example", "/a", path_type=PathType.SEGMENT)),
    ),
    ON_ONE_HOST,
    "a.example",
    "/a/b",
    "GET",
    list(BY_HEADER),
)
@given(
    documents(st.just(RED), scopes=with_headers, region_scopes=regions_beside),
    all_grants,
    st.sampled_from(HOSTS),
    st.sampled_from([*PATHS, *UNHEARD_OF]),
    st.sampled_from(["GET", "PUT", "HEAD"]),
    header_fields,
)
def test_inside_its_grants_a_namespace_lets_no_more_pass_than_without_them(
    written: PolicyDocument, grants: Grants, host: str, path: str, method: str, fields: list[tuple[str, str]]
) -> None:
    """Whatever its entries are together: what grants leave of each keeps its place among them."""
    headers = HeaderFields(tuple(fields), raw=True)
    own = [grant for grant in grants.grants if grant.namespaces is not None and "red" in grant.namespaces]
    left = restrict(written, grants, ())

    alone = snapshot_of([written]).match(host, path, method, headers=headers)
    found = snapshot_of([left]).match(host, path, method, headers=headers)

    if not any(is_on(host, pattern) and path in paths_of(grant) for grant in own for pattern in grant.hosts):
        event("outside")
        assert isinstance(found, NoMatch)
    elif isinstance(alone, CLOSED):
        event("closed inside")
        assert isinstance(found, CLOSED)
    elif isinstance(alone, ExchangeEntry):
        event("exchanged inside")
        assert not isinstance(found, AllowEntry)
        inside = [grant for grant in own if path in paths_of(grant) and any(is_on(host, pattern) for pattern in grant.hosts)]
        assert not isinstance(found, NoMatch) or not any(is_asked(alone, [grant]) for grant in inside)


@given(policies, all_grants, all_grants)
def test_grants_that_change_lead_where_a_fresh_start_does(policy: Policy, before: Grants, after: Grants) -> None:
    for document in policy:
        assert again(restrict(document, before, ()), after) == restrict(document, after, ())


@given(policies)
def test_without_grants_nothing_changes_but_what_lets_pass(policy: Policy) -> None:
    for document in policy:
        left = restrict(document, Grants(limited=False), ())
        assert left.entries == tuple(entry for entry in document.entries if not isinstance(entry, AllowEntry))
        assert {region.match for region in left.regions} == {
            claim.match for claim in (*document.regions, *document.entries) if isinstance(claim, FailClosedRegion | AllowEntry)
        }


@given(policies, all_grants, st.sampled_from(HOSTS), st.sampled_from(PATHS))
def test_a_report_changes_nothing_but_what_lets_pass(policy: Policy, grants: Grants, host: str, path: str) -> None:
    report = attrs.evolve(grants, enforced=False)
    plain = [restrict(document, Grants(limited=False), ()) for document in policy]

    found = snapshot_of([restrict(document, report, ()) for document in policy]).match(host, path, "GET")

    if not any(isinstance(entry, AllowEntry) for document in policy for entry in document.entries):
        assert said(found) == said(snapshot_of(plain).match(host, path, "GET"))
    elif isinstance(found, AllowEntry):
        assert not isinstance(snapshot_of([restrict(document, grants, ()) for document in policy]).match(host, path, "GET"), NoMatch)


@given(policies, st.sampled_from(["a.example", "*.example", None]), prefixes, path_types, st.sampled_from(HOSTS), odd_paths, st.booleans())
def test_no_reading_passes_the_baseline(
    policy: Policy,
    denied_host: str | None,
    prefix: str,
    path_type: PathType,
    host: str,
    path: str,
    raw: bool,
) -> None:
    scope = MatchScope(denied_host, prefix.rstrip("/") if path_type is PathType.SEGMENT else prefix, path_type=path_type)
    baseline = Grants(baseline=(DenyEntry(BASELINE, 0, scope),))
    snapshot = snapshot_of(policy).with_baseline(baseline.denials)

    found = snapshot.match(host, path, "GET", raw=raw)

    texts = read_path(path, "GET")
    covered = is_on(host, denied_host) and isinstance(texts, tuple) and any(begins(text, scope) for text in texts)
    if covered:
        assert found == DenyEntry(BASELINE, 0, scope)
    elif found != DenyEntry(BASELINE, 0, scope) and raw and isinstance(texts, tuple):
        assert found == snapshot_of(policy).match(host, path, "GET", raw=raw)
