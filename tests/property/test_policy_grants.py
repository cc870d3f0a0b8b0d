"""Laws of grants: what they leave of a policy, and what they close."""

from typing import TypeAlias

import attrs
import pytest
from exchanger.policy.grants.restriction import Cut, restrict, restrict_again
from exchanger.policy.lookup import CONFLICT, UnreadableReach
from exchanger.policy.policy_trie import MAX_SIFTED, Hosts
from exchanger.policy.shares import weight
from hypothesis import assume, event, example, given, reject, settings
from hypothesis import strategies as st
from rpds import HashTrieMap

from exchanger.assembly.assembler import changed_allowances
from exchanger.policy.conflicts import contenders, documents_in_conflict
from exchanger.policy.documents.document import PolicyDocument
from exchanger.policy.explanation import explain
from exchanger.policy.grants.allowance import Grants, NamespaceGrant
from exchanger.policy.interpretation import path_interpretations
from exchanger.policy.path import MalformedPath, interpretations_of, read_path
from exchanger.policy.prefix import prefix_spellings, read_prefix
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.values.entry import (
    BASELINE,
    EVERYWHERE,
    AllowEntry,
    Claim,
    DenyEntry,
    Entry,
    ExchangeEntry,
    FailClosedRegion,
    MatchScope,
    PathType,
    Source,
    TokenTarget,
)
from exchanger.values.request import HeaderFields
from exchanger.values.verdict import AMBIGUOUS_PATH, Ambiguous, NoMatch, Unhealthy
from tests.examples import examples
from tests.policy.examples import HOST, RED, deny, exchange
from tests.property.grants_model import GrantsModel, is_asked, is_on
from tests.property.policy_model import answer, begins
from tests.property.strategies_policy import (
    documents,
    header_fields,
    header_sets,
    hosts,
    methods,
    odd_paths,
    path_types,
    plain_paths,
    reaches,
    scopes_over,
    snapshot_of,
    sources,
)
from tests.property.test_policy_matching import said

# Laws: what grants leave of a policy is what a look at every host and path says, and nothing of it lies outside them.
#
# Hosts and paths are few, and each wildcard, prefix and case has one of them to itself, so that areas can be compared one by one.


Policy: TypeAlias = list[PolicyDocument]

HOSTS = ["a.example", "x.a.example", "z.x.a.example", "b.example", "other.test"]
PATHS = ["/", "/a", "/a/", "/ab", "/a/b", "/a/b/", "/a/bc", "/a/c", "/A", "/A/b", "/a/B", "/A/B", "/b", "/ba"]
UNHEARD_OF = ["/a/b/ccc", "/zzz"]  # below and beside every prefix
BROKEN = Source("red", "broken")
UNREADABLE = ["/sale-50%", "/x%0Ay", "/" + "a;" * 9_000, "/a!" * 65]
MODEL = GrantsModel(
    (*HOSTS, "unheard-of.example", "unheard-of.a.example", "unheard-of.b.a.example", "unheard.of"),
    (*PATHS, *UNHEARD_OF),
)

prefixes = st.sampled_from(["/", "/a", "/a/", "/a/b", "/ab", "/b", "/A", "/a/B"])
no_headers = st.just(())
scopes, region_scopes = scopes_over(prefixes, no_headers)
policies = st.lists(documents(scopes=scopes, region_scopes=region_scopes, max_regions=1), max_size=3)
grants_of_one = st.builds(
    NamespaceGrant,
    st.frozensets(st.sampled_from(["red", "blue"]), min_size=1),
    st.none(),
    st.lists(st.sampled_from(["a.example", "x.a.example", "*.example", "*.a.example", "b.example", "*"]), max_size=2).map(tuple),
    st.just(("",)) | st.lists(st.sampled_from(["", "/a", "/a/b", "/b"]), max_size=2).map(tuple),
    st.frozensets(st.sampled_from(["allow", "deny", "exchange"]), min_size=1),
    st.just(("primary",)) | st.just(("*",)),
    scopes=st.just(("r",)) | st.just(("*",)),
)
all_grants = st.lists(grants_of_one, max_size=3).map(lambda given: Grants(tuple(given)))


@given(
    policies, all_grants, reaches, st.sampled_from(HOSTS), st.sampled_from([*PATHS, *UNHEARD_OF]), st.sampled_from(["GET", "PUT", "HEAD"])
)
def test_what_grants_leave_is_what_a_look_at_every_place_says(
    policy: Policy, grants: Grants, reach: UnreadableReach, host: str, path: str, method: str
) -> None:
    left = [restrict(document, grants, ()) for document in policy]

    found = snapshot_of(left, reach).match(host, path, method)

    event(type(found).__name__)
    assert said(found) == answer([MODEL.left(document, grants.grants) for document in policy], reach, host, path, method)


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
ONE_OF_RED = Source("red", "one")
ON_ONE_HOST = Grants((NamespaceGrant(frozenset({"red"}), None, ("a.example",), ("/a",), issuers=("*",), scopes=("*",)),))
BY_HEADER = (("x-a", "1"),)
TARGET = TokenTarget("primary", scope="r")
with_headers, regions_beside = scopes_over(prefixes, header_sets)


def of_red(*entries: Entry) -> PolicyDocument:
    return PolicyDocument(ONE_OF_RED, entries)


@example(  # granted beside the whole segments of an entry, which gets nothing above them
    of_red(DenyEntry(ONE_OF_RED, 0, MatchScope("a.example", "/a/b"))),
    Grants((NamespaceGrant(frozenset({"red"}), None, ("a.example",), ("/a/b", "/a/bz")),)),
    "a.example",
    "/a/bc",
    "GET",
    [],
)
@example(
    of_red(
        ExchangeEntry(ONE_OF_RED, 0, MatchScope("a.example", "/a", headers=BY_HEADER), TARGET),
        DenyEntry(ONE_OF_RED, 1, MatchScope("a.example", "/a", path_type=PathType.SEGMENT)),
    ),
    ON_ONE_HOST,
    "a.example",
    "/a/b",
    "GET",
    list(BY_HEADER),
)
@given(
    documents(st.just(ONE_OF_RED), scopes=with_headers, region_scopes=regions_beside),
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

    if not any(is_on(host, pattern) and path in MODEL.granted(grant) for grant in own for pattern in grant.hosts):
        event("outside")
        assert isinstance(found, NoMatch)
    elif isinstance(alone, CLOSED):
        event("closed inside")
        assert isinstance(found, CLOSED)
    elif isinstance(alone, ExchangeEntry):
        event("exchanged inside")
        assert not isinstance(found, AllowEntry)
        inside = [grant for grant in own if path in MODEL.granted(grant) and any(is_on(host, pattern) for pattern in grant.hosts)]
        assert not isinstance(found, NoMatch) or not any(is_asked(alone, [grant]) for grant in inside)


@given(policies, all_grants, all_grants)
def test_grants_that_change_lead_where_a_fresh_start_does(policy: Policy, before: Grants, after: Grants) -> None:
    for document in policy:
        assert restrict_again(restrict(document, before, ()), after) == restrict(document, after, ())


@given(policies, all_grants)
def test_what_grants_refuse_counts_all_the_same(policy: Policy, grants: Grants) -> None:
    for document in policy:
        assert weight(restrict(document, grants, ())).entries == weight(document).entries
    at_most = grants.area_count("red", ())
    assert grants.allowance("red", ()).area_count == grants.area_count("red", ()) <= at_most


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


# Laws: grants take the spellings of a path as the look-up does, so no deny is lost inside them, and nothing closes outside.


# Granted prefixes, the scopes of entries, and the path of a request.
Places: TypeAlias = tuple[tuple[str, ...], tuple[MatchScope, ...], str]

BLUE = Source("blue", "policy")
# Each character in spellings that servers take for one another; the last of each take two decodings.
SPELLINGS = {
    "a": ("a", "A", "%61", "%41", "%2561"),
    "é": ("é", "é", "%C3%A9", "%c3%a9", "%25C3%25A9"),
    "/": ("/", "/", "%2F", "%2f", "%252F"),
}

segments = st.sampled_from(["a", "aa", "é"])
any_path_types = st.sampled_from(PathType)
ends = st.sampled_from(["", "", "/", "/a", "/é", "a", "%2Fa", "?a", "/%61", "%2561"])


@st.composite
def spellings(draw: st.DrawFn, plain: str) -> str:
    """Draw a legal prefix that is ``plain``, without its slash at the beginning, in another spelling."""
    found = "/" + "".join(draw(st.sampled_from(SPELLINGS[char])) for char in plain)
    assume(not read_prefix(found).problem)
    return found


@st.composite
def places(draw: st.DrawFn) -> Places:
    """Draw granted prefixes, scopes of entries and the path of a request, all of them spellings of a few nested prefixes."""
    way = draw(st.lists(segments, min_size=1, max_size=3))

    def prefix() -> str:
        chosen = "/".join(way[: draw(st.integers(0, len(way)))])
        chosen += draw(st.sampled_from(["", "", "", "a"]))
        return draw(spellings(chosen)) if chosen else ""

    granted = tuple(prefix() for _ in range(draw(st.integers(1, 2))))
    scopes = tuple(MatchScope(HOST, prefix(), None, draw(st.booleans()), draw(any_path_types)) for _ in range(draw(st.integers(1, 3))))
    path = prefix() + draw(ends)
    return granted, scopes, ("" if path.startswith("/") else "/") + path


def granting(*path_prefixes: str, denies: bool = True) -> Grants:
    everything = ("*",)
    actions = frozenset({"deny", "exchange"} if denies else {"exchange"})
    return Grants(
        (NamespaceGrant(frozenset({RED.namespace}), None, (HOST,), path_prefixes, actions, everything, everything, everything, everything),)
    )


def is_inside(path: str, path_prefixes: tuple[str, ...]) -> bool:
    """Tell whether an interpretation of ``path`` is below a spelling of a granted prefix."""
    interpretations = interpretations_of(path.partition("?")[0])
    if isinstance(interpretations, MalformedPath):
        reject()
    known = {spelling for prefix in path_prefixes for spelling in prefix_spellings(prefix).all}
    return any(one == prefix or one.startswith(f"{prefix}/") for one in interpretations for prefix in known)


def written_by(source: Source, scopes: tuple[MatchScope, ...], does: list[str]) -> PolicyDocument:
    entries: list[DenyEntry | ExchangeEntry] = []
    regions: list[FailClosedRegion] = []
    for index, (scope, what) in enumerate(zip(scopes, does, strict=False)):
        if what == "region":
            regions.append(FailClosedRegion(source, scope, "", index))
        else:
            entry = exchange("/", index=index) if what == "exchange" else deny("/", index=index)
            entries.append(attrs.evolve(entry, source=source, match=scope))
    return PolicyDocument(source, tuple(entries), tuple(regions))


def place(granted: str, prefix: str, path: str, path_type: PathType = PathType.PREFIX, *, ignores_case: bool = False) -> Places:
    return (granted,), (MatchScope(HOST, "/other"), MatchScope(HOST, prefix, None, ignores_case, path_type))[::-1], path


@example(drawn=place("/b", "/b%2Fx", "/b/x", ignores_case=True), what="deny", raw=True, denies=True)
@example(drawn=place("/é", "/%C3%A9", "/é", ignores_case=True), what="deny", raw=True, denies=True)
@example(drawn=place("/%C3%A9", "/é", "/%C3%A9/x", ignores_case=True), what="region", raw=True, denies=True)
@example(drawn=place("/b", "/%62", "/%62/x", ignores_case=True), what="region", raw=True, denies=True)
@example(drawn=(("/a", "/ab"), (MatchScope(HOST, "/a"),), "/ab/c"), what="deny", raw=True, denies=True)
@example(drawn=(("/a", "/ab"), (MatchScope(HOST, "/a"),), "/ab/c"), what="deny", raw=True, denies=False)
@example(drawn=(("/a", "/ab/c"), (MatchScope(HOST, "/a"),), "/ab/c/d"), what="deny", raw=True, denies=True)
@example(drawn=place("/b", "/b%3Fx", "/b?x"), what="deny", raw=True, denies=True)
@example(drawn=place("/b", "/b%252Fx", "/b%252Fx"), what="region", raw=True, denies=True)
@example(drawn=place("/b%252Fx", "/b/x", "/b%252Fx"), what="region", raw=True, denies=True)
@given(places(), st.sampled_from(["deny", "region"]), st.booleans(), st.booleans())
def test_what_an_entry_closes_inside_the_grants_stays_closed_in_every_spelling(drawn: Places, what: str, raw: bool, denies: bool) -> None:
    granted, scopes, path = drawn
    written = written_by(RED, scopes[:1], [what])
    left = restrict(written, granting(*granted, denies=denies), ())

    alone = snapshot_of([written]).match(HOST, path, "GET", raw=raw)
    found = snapshot_of([left]).match(HOST, path, "GET", raw=raw)

    if not is_inside(path, granted):
        event("outside")
        assert isinstance(found, NoMatch)
    elif isinstance(alone, DenyEntry | Unhealthy):
        event("closed inside")
        # A plain prefix that is now one of whole segments covers /a%2Fb in one of its interpretations.
        in_doubt = left.entries != written.entries and isinstance(found, Ambiguous)
        assert in_doubt or isinstance(found, DenyEntry | Unhealthy)


@example(drawn=(("/a%2Fb",), (MatchScope(HOST, "/a/b/c"), MatchScope(HOST)), "/a/b/c"), does=["region"], what="exchange")
@given(places(), st.lists(st.sampled_from(["exchange", "deny", "region"]), min_size=3, max_size=3), st.sampled_from(["exchange", "deny"]))
def test_grants_let_nothing_pass_that_is_closed_without_them(drawn: Places, does: list[str], what: str) -> None:
    granted, scopes, path = drawn
    written, other = written_by(RED, scopes[1:], does), written_by(BLUE, scopes[:1], [what])
    left = restrict(written, granting(*granted), ())

    alone = snapshot_of([written, other]).match(HOST, path, "GET", raw=True)
    found = snapshot_of([left, other]).match(HOST, path, "GET", raw=True)

    if not is_inside(path, granted):
        event("outside")
        assert found == snapshot_of([other]).match(HOST, path, "GET", raw=True)
    elif isinstance(alone, DenyEntry | Unhealthy):
        event("closed inside")
        assert isinstance(found, DenyEntry | Unhealthy | Ambiguous)


@example(
    drawn=(("/a",), (MatchScope(HOST, "/a"), MatchScope(HOST, "/a", path_type=PathType.SEGMENT)), "/a/b"),
    does=["exchange", "deny"],
    with_headers=[True, False],
)
@given(
    places(),
    st.lists(st.sampled_from(["exchange", "deny", "region"]), min_size=3, max_size=3),
    st.lists(st.booleans(), min_size=3, max_size=3),
)
def test_the_entries_of_a_namespace_keep_their_order_inside_the_grants(drawn: Places, does: list[str], with_headers: list[bool]) -> None:
    granted, scopes, path = drawn
    written = written_by(RED, scopes, does)
    entries = [
        attrs.evolve(entry, match=attrs.evolve(entry.match, headers=BY_HEADER)) if with_headers[entry.index] else entry
        for entry in written.entries
    ]
    written = attrs.evolve(written, entries=tuple(entries))
    left = restrict(written, granting(*granted), ())

    headers = HeaderFields(BY_HEADER, raw=True)
    alone, found = (snapshot_of([one]).match(HOST, path, "GET", raw=True, headers=headers) for one in (written, left))

    if not is_inside(path, granted):
        event("outside")
        assert isinstance(found, NoMatch)
    elif isinstance(alone, DenyEntry | Unhealthy):
        event("closed inside")
        assert isinstance(found, DenyEntry | Unhealthy | Ambiguous)
    elif isinstance(alone, ExchangeEntry):
        event("exchanged inside")
        assert isinstance(found, ExchangeEntry | DenyEntry | Unhealthy | Ambiguous)


@example(drawn=place("/a%2Fb", "/a/b/c", ""), what="exchange", more=[])
@given(places(), st.sampled_from(["exchange", "deny"]), st.lists(spellings("a/é"), max_size=2))
def test_more_granted_prefixes_never_allow_less(drawn: Places, what: str, more: list[str]) -> None:
    granted, scopes, _ = drawn
    written = written_by(RED, scopes[:1], [what])
    left = restrict(written, granting(*granted), ())

    assert not left.entries or restrict(written, granting(*granted, *more), ()).entries
    # Nor does it matter how many others there are.
    others = tuple(f"/other{number}" for number in range(20))
    crowded = restrict(written, granting(*granted, *others), ())
    assert set(crowded.regions) >= set(left.regions)
    assert crowded.entries == left.entries


# Law: what new grants take from a namespace is taken before its documents are held against them, and nothing else is.
#
# Until then a version is the old one, cut: it decides as before, or refuses, and lets nothing pass that is not left of a document.


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
    left = {document.source: restrict_again(document, after) for document in held}

    found = old.cut_by(Cut(HashTrieMap(allowances), after.denials, after.enforced)).match(host, path, method)

    event(type(found).__name__)
    expected = old.match(host, path, method)
    assert found == expected or isinstance(found, Unhealthy)
    if isinstance(found, AllowEntry | ExchangeEntry | DenyEntry):
        segment = attrs.evolve(found, match=attrs.evolve(found.match, path_type=PathType.SEGMENT, narrowed=True))
        assert {found, segment} & set(left[found.source].entries)
    if all(left[document.source] == document for document in held):
        assert found == expected


# Law: closing all that a namespace is granted is one value for the namespace, and nobody can tell it from a region for each part.
#
# Documents share it: it comes with the first and goes with the last of them, whatever their order.


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


# Law: a document that leaves counts for nothing from then on, whether its claims are swept up already or not.


policies_before = st.lists(documents(), min_size=1, max_size=4)


@settings(max_examples=examples(200))
@given(
    policies_before,
    st.lists(closing_sources, unique=True, max_size=2),
    all_grants,
    st.sets(sources | closing_sources, min_size=1),
    reaches,
    st.tuples(hosts, plain_paths | odd_paths, methods),
    header_fields,
    st.booleans(),
)
def test_what_leaves_decides_nothing(
    policy: list[PolicyDocument],
    closed: list[Source],
    grants: Grants,
    leaving: set[Source],
    reach: UnreadableReach,
    request: tuple[str, str, str],
    fields: list[tuple[str, str]],
    raw: bool,
) -> None:
    before = snapshot_of([*policy, *(closing(source, grants) for source in closed)], reach)
    after = without = before
    for source in leaving:
        after, without = after.leave(source), without.withdraw(source)
    headers = HeaderFields(tuple(fields), raw=True)

    found, expected = (one.match(*request, raw=raw, headers=headers) for one in (after, without))

    event(f"{type(before.match(*request, raw=raw, headers=headers)).__name__}, then {type(found).__name__}")
    if any(part.exceeds for part in before.namespaces.values()):  # what exceeds a share stays closed until there is room after a sweep
        assert found == expected or isinstance(found, DenyEntry | Unhealthy | Ambiguous)
        return
    if found != expected:  # a host has a policy for as long, so a path that cannot be read is refused there
        assert (found, expected) == (AMBIGUOUS_PATH, NoMatch())
        assert isinstance(path_interpretations(*request, raw=raw), MalformedPath)
    if found == expected:
        assert explain(after, *request, raw=raw, headers=headers) == explain(without, *request, raw=raw, headers=headers)
    if found == CONFLICT:
        assert contenders(after, *request, raw=raw, headers=headers) == contenders(without, *request, raw=raw, headers=headers)
    assert {*documents_in_conflict(after)} == {*documents_in_conflict(without)}
    assert attrs.evolve(after, trie=without.trie) == without


@given(st.data(), policies_before, st.lists(documents() | sources, max_size=6))
def test_sweeping_leads_where_withdrawing_does(
    data: st.DataObject, policy: list[PolicyDocument], changes: list[PolicyDocument | Source]
) -> None:
    after = without = snapshot_of(policy)
    for change in changes:
        if isinstance(change, Source):
            after, without = after.leave(change), without.withdraw(change)
        else:
            after, without = after.apply(change), without.apply(change)
        if data.draw(st.booleans()) and after.trie.leaving:
            after = after.swept(data.draw(st.sampled_from(sorted(after.trie.leaving))))
    for source in list(after.trie.leaving):
        after = after.swept(source)

    assert after == without


def test_leaving_costs_the_same_for_any_document(monkeypatch: pytest.MonkeyPatch) -> None:
    source, other = Source("red", "p"), Source("blue", "p")
    removed: list[Claim] = []
    remove = Hosts.without_claim

    def without_claim(table: Hosts, claim: Claim) -> Hosts:
        if claim.source in {source, other}:  # a thread that another test left may remove claims, too
            removed.append(claim)
        return remove(table, claim)

    monkeypatch.setattr(Hosts, "without_claim", without_claim)
    many = PolicyDocument(source, tuple(DenyEntry(source, index, MatchScope("h", f"/{index}")) for index in range(500)))
    at_one_place = PolicyDocument(other, tuple(DenyEntry(other, index, MatchScope("h", "/x")) for index in range(MAX_SIFTED + 1)))
    snapshot = PolicySnapshot.EMPTY.apply(many).apply(at_one_place).leave(source).leave(other)
    assert isinstance(snapshot.match("h", "/1", "GET"), NoMatch)
    assert isinstance(snapshot.match("h", "/x", "GET"), Unhealthy)  # rather than telling more claims apart than a request may cost
    assert (removed, len(snapshot.documents), snapshot.entry_count) == ([], 0, 0)
    assert snapshot.swept(source).swept(other) == PolicySnapshot.EMPTY
    assert len(removed) == 500 + MAX_SIFTED + 1
