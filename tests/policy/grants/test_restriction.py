"""What is left of a document, in sentences and in the corners that the laws do not reach."""

import attrs
import pytest
from exchanger.policy.grants.restriction import MAX_REGIONS, restrict, restrict_again
from exchanger.policy.lookup import CONFLICT, SEVERAL_REGIONS
from exchanger.policy.policy_trie import Hosts

from exchanger.admission.judgement import KnownPolicy, judge
from exchanger.policy.conflicts import conflicts_with
from exchanger.policy.documents.document import PolicyDocument, PolicyRefusal, parse_document
from exchanger.policy.explanation import Standing, explain
from exchanger.policy.grants import allowance
from exchanger.policy.grants.allowance import Grants, NamespaceGrant, common_hosts
from exchanger.policy.grants.reader import read_grants
from exchanger.policy.selection import Text, read
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.values.entry import (
    EVERYWHERE,
    UNKNOWN_NAMESPACE,
    AllowEntry,
    Claim,
    DenyEntry,
    Entry,
    ExchangeEntry,
    FailClosedRegion,
    GrantedArea,
    MatchScope,
    PathType,
    Source,
)
from exchanger.values.request import HeaderFields
from exchanger.values.selector import parse_selector
from exchanger.values.verdict import NO_MATCH, Ambiguous, NoMatch, Unhealthy, Verdict
from tests.policy.examples import BLUE, HOST, ISSUERS, RED, deny, exchange, region, snapshot_of

OWN = NamespaceGrant(frozenset({"red"}), None, (HOST,), ("/orders",), issuers=("primary",), scopes=("read:*",))
SEGMENT = PathType.SEGMENT


def left(*claims: Entry | FailClosedRegion, grants: Grants = Grants((OWN,))) -> PolicyDocument:  # noqa: B008 - a value
    entries = tuple(claim for claim in claims if not isinstance(claim, FailClosedRegion))
    return restrict(PolicyDocument(RED, entries, tuple(claim for claim in claims if isinstance(claim, FailClosedRegion))), grants, ())


@pytest.mark.parametrize(
    ("entry", "scope", "reason"),
    [
        (exchange("/orders/x", headers=(("a", "b"),)), None, ""),
        (exchange("/"), MatchScope(HOST, "/orders", path_type=SEGMENT), "covers more than its namespace"),
        (exchange("", path_type=SEGMENT), MatchScope(HOST, "/orders", path_type=SEGMENT), "covers more than its namespace"),
        (exchange("/order", path_type=SEGMENT), None, "is outside the hosts and paths that its namespace is granted"),
        (exchange("/orders-old"), None, "is outside the hosts and paths that its namespace is granted"),
        (deny("/X", case_insensitive=True), None, "is outside the hosts and paths that its namespace is granted"),
        (deny("/orders", host="other.example.com"), None, "is outside the hosts and paths that its namespace is granted"),
        (deny("/ORDERS/x", case_insensitive=True), MatchScope(HOST, "/ORDERS/x", None, True, within="/orders"), "covers more than"),
        (deny("/ORD", case_insensitive=True), MatchScope(HOST, "/orders", path_type=SEGMENT), "covers more than"),
        (deny("/orders%2Fx"), MatchScope(HOST, "/orders/x"), "covers more than"),
        (
            attrs.evolve(exchange("/orders/x"), target=attrs.evolve(exchange("/").target, scope="read:a write:b", audiences=("a",))),
            MatchScope(HOST, "/orders/x"),
            "requests what its namespace is not granted: audience a, scope write:b",
        ),
    ],
)
def test_what_is_left_of_an_entry(entry: Entry, scope: MatchScope | None, reason: str) -> None:
    found = left(entry)
    if not reason:
        assert found.entries == (entry,)
    elif scope is None:
        assert found == PolicyDocument(RED, refused=(PolicyRefusal(RED, 0, f"entries[0] {reason}"),))
    else:
        assert [closed.match for closed in found.regions] == [scope]
        assert found.regions[0].reason.startswith(f"entries[0] {reason}")


def test_a_plain_prefix_that_is_granted_by_segments_is_read_so_unless_another_grant_covers_it() -> None:
    wide = NamespaceGrant(frozenset({"red"}), None, (HOST,), ("",), actions=frozenset({"exchange"}))
    assert left(deny("/orders")).entries == (deny("/orders", path_type=SEGMENT, narrowed=True),)
    (closed,) = left(deny("/orders"), grants=Grants((OWN, wide))).regions
    assert (closed.match, closed.reason) == (
        MatchScope(HOST, "/orders"),
        "entries[0] requests what its namespace is not granted: the action deny",
    )


def test_what_nobody_can_read_closes_the_granted_places_and_spares_others() -> None:
    document = left(FailClosedRegion(RED, EVERYWHERE, "x"))
    (closed,) = document.regions
    assert (closed.match, closed.guessed) == (MatchScope(HOST, "/orders", path_type=SEGMENT), True)
    other = DenyEntry(Source("blue", "p"), 0, MatchScope(HOST, "/orders/x"))
    snapshot = PolicySnapshot.EMPTY.apply(document).apply(PolicyDocument(other.source, (other,)))
    assert snapshot.match(HOST, "/orders/x", "GET") == other
    assert not isinstance(snapshot.match(HOST, "/orders/y", "GET"), NoMatch | DenyEntry)
    assert isinstance(snapshot.match(HOST, "/", "GET"), NoMatch)


def test_a_document_of_an_unknown_namespace_closes_everything() -> None:
    unknown = PolicyDocument(Source(UNKNOWN_NAMESPACE, "f"), regions=(FailClosedRegion(Source(UNKNOWN_NAMESPACE, "f"), EVERYWHERE, "x"),))
    assert restrict(unknown, Grants((OWN,)), ()).regions == unknown.regions


MANY = Grants((attrs.evolve(OWN, hosts=tuple(f"h{number}" for number in range(MAX_REGIONS + 1))),))


@pytest.fixture
def inserted(monkeypatch: pytest.MonkeyPatch) -> list[Claim]:
    """Return the claims that are put into any table from now on."""
    found: list[Claim] = []
    insert = Hosts.with_claim

    def with_claim(hosts: Hosts, claim: Claim) -> Hosts:
        found.append(claim)
        return insert(hosts, claim)

    monkeypatch.setattr(Hosts, "with_claim", with_claim)
    return found


def test_too_many_regions_become_all_that_is_granted() -> None:
    crowd = [region("/orders", host=None, index=number, methods=frozenset({f"M{number}"})) for number in range(200)]
    (closed,) = left(*crowd, grants=MANY).regions
    assert (closed.match, closed.index) == (EVERYWHERE, None)
    assert closed.area == MANY.area(MANY.allowance("red", ()))
    assert {part.match.host for part in closed.parts()} == {f"h{number}" for number in range(MAX_REGIONS + 1)}


def test_a_document_makes_no_more_regions_than_its_text_is_long() -> None:
    partly = left(*(deny("/", host=f"h{number}", index=number) for number in range(40)), grants=MANY)
    assert len(partly.regions) == 40
    wildcard = attrs.evolve(OWN, hosts=tuple(f"h{number}.example" for number in range(2 * MAX_REGIONS)))
    assert [closed.area is None for closed in left(deny("/orders", host="*.example"), grants=Grants((wildcard,))).regions] == [False]


def test_all_that_is_granted_is_closed_once_for_all_documents_of_a_namespace(inserted: list[Claim]) -> None:
    snapshot = PolicySnapshot.EMPTY
    sources = [Source("red", f"p{number}") for number in range(20)]
    for source in sources:
        snapshot = snapshot.apply(read(source, Text("version: v2"), ISSUERS, MANY))
    assert len(inserted) == MAX_REGIONS + 1
    assert (snapshot.region_count, snapshot.invalid_documents) == (20, 20)
    assert snapshot.match("h1", "/orders/x", "GET") == SEVERAL_REGIONS
    found = explain(snapshot, "h1", "/orders/x", "GET")
    assert [candidate.claim.source for candidate in found.candidates] == sorted(sources)
    for source in sources[1:]:
        snapshot = snapshot.withdraw(source)
    assert snapshot.match("h1", "/orders/x", "GET") == Unhealthy('the document has version "v2" instead of v1', sources[0], None)
    assert isinstance(snapshot.match("h1", "/other", "GET"), NoMatch)
    assert snapshot.withdraw(sources[0]) == PolicySnapshot.EMPTY


def test_what_closes_all_that_is_granted_costs_a_judgement_nothing(inserted: list[Claim]) -> None:
    known = KnownPolicy(PolicySnapshot.EMPTY.apply(read(RED, Text("version: v2"), ISSUERS, MANY)), ISSUERS, MANY)
    inserted.clear()
    assert judge(RED, Text("version: v2"), known).refused
    assert judge(RED, Text("version: v1"), known).refused is None
    assert inserted == []


def test_two_descriptions_leave_what_both_are_granted_of_all() -> None:
    hosts = [tuple(f"h{number}" for number in range(start, start + 2 * MAX_REGIONS)) for start in (0, MAX_REGIONS)]
    by_label = Grants(
        tuple(NamespaceGrant(None, parse_selector(f"a={value}"), own, ("/a",)) for value, own in zip("12", hosts, strict=True)),
    )
    found = restrict(PolicyDocument(RED, regions=(FailClosedRegion(RED, EVERYWHERE, "x"),)), by_label, ((("a", "1"),), (("a", "2"),)))
    assert {part.match.host for part in found.regions[0].parts()} == {*hosts[0]} & {*hosts[1]}


def test_a_case_insensitive_part_stays_within_the_granted_path() -> None:
    document = left(deny("/ORDERS/Admin", case_insensitive=True))
    snapshot = PolicySnapshot.EMPTY.apply(document)
    answers = {
        path: type(snapshot.match(HOST, path, "GET", raw=False))
        for path in (
            "/orders/admin",
            "/orders/ADMIN/x",
            "/ORDERS/admin",
            "/orders/list",
            "/orders/adm!n",
            "/or!ders/admin",
            "/ORD!ERS/admin",
        )
    }
    assert [path for path, answer in answers.items() if answer is Unhealthy] == ["/orders/admin", "/orders/ADMIN/x", "/or!ders/admin"]
    found = explain(snapshot, HOST, "/ORDERS/admin", "GET")
    assert [candidate.standing for candidate in found.candidates] == [Standing.OTHER]
    assert snapshot.withdraw(RED).trie == PolicySnapshot.EMPTY.trie


@pytest.mark.parametrize(
    ("second", "within"),
    [("/orders/admin", "/orders/admin"), ("", "/orders"), ("/orders", "/orders"), ("/other", None)],
)
def test_a_namespace_described_twice_has_what_both_are_granted(second: str, within: str | None) -> None:
    by_label = [NamespaceGrant(None, parse_selector(f"a={value}"), (HOST,), (path,)) for value, path in (("1", "/orders"), ("2", second))]
    written = PolicyDocument(RED, (deny("/ORDERS/Admin/x", case_insensitive=True),))
    found = restrict(written, Grants(tuple(by_label)), ((("a", "1"),), (("a", "2"),)))
    assert [closed.match.within for closed in found.regions] == ([] if within is None else [within])
    assert bool(found.refused) == (within is None)


def test_of_many_granted_prefixes_those_above_count() -> None:
    many = Grants((attrs.evolve(OWN, path_prefixes=(*(f"/p{number}" for number in range(9)), "/a", "/a/b/c")),))
    entries = (deny("/a/b"), deny("/a/b/c", index=1, path_type=SEGMENT), deny("/p1/", index=2), deny("/a/b/c", index=3))
    assert left(*entries, grants=many).entries == entries
    assert left(deny("/p1", path_type=PathType.EXACT), grants=many).entries
    assert left(deny("/b"), grants=many).refused


def test_wildcards_have_granted_hosts_in_common_below_them() -> None:
    hosts = Grants((attrs.evolve(OWN, hosts=("x.a.example", "*.b.a.example", "a.example", "xa.example"), resources=("urn:x",)),))
    found = left(deny("/orders", host="*.a.example"), grants=hosts)
    assert sorted(closed.match.host or "" for closed in found.regions) == ["*.b.a.example", "x.a.example"]
    wants = attrs.evolve(exchange("/").target, scope="", resources=("urn:x", "urn:y"))
    (closed,) = left(attrs.evolve(exchange("/orders/", host="x.b.a.example"), target=wants), grants=hosts).regions
    assert closed.reason.endswith("is not granted: resource urn:y")


def test_a_report_tells_and_changes_nothing() -> None:
    entries = (deny("/orders"), deny("/", index=1), deny("/x", index=2))
    found = left(*entries, region("/y", index=3), grants=Grants((OWN,), enforced=False))
    assert (found.entries, found.regions) == (entries, (region("/y", index=3),))
    assert [(refusal.index, refusal.reason.split(":")[0]) for refusal in found.refused] == [
        (1, "would be invalid"),
        (2, "would be refused"),
    ]


def test_labels_count_for_later_grants_although_they_make_no_difference_now() -> None:
    by_label = Grants((attrs.evolve(OWN, namespaces=None, selector=parse_selector("team=red")),))
    written = PolicyDocument(RED, (deny("/orders/x"),))
    before, after = (restrict(written, Grants(), ((("team", team),),)) for team in ("blue", "red"))
    snapshot = PolicySnapshot.EMPTY.apply(before).apply(after)
    assert restrict_again(snapshot.documents[RED], by_label).entries == written.entries


@pytest.mark.parametrize("others", [0, 100])
def test_a_decoded_spelling_of_a_granted_prefix_closes_although_an_entry_is_written_there(others: int) -> None:
    prefixes = ("/a%2Fb", *(f"/{number}" for number in range(others)))
    grants = Grants((attrs.evolve(OWN, path_prefixes=prefixes),))
    healthy = restrict(PolicyDocument(RED, (deny("/a/b/c"),)), grants, ())
    assert healthy.entries
    unreadable = Source("red", "unreadable")
    broken = restrict(PolicyDocument(unreadable, regions=(FailClosedRegion(unreadable, EVERYWHERE, "x"),)), grants, ())
    snapshot = PolicySnapshot.EMPTY.apply(healthy).apply(broken)
    assert isinstance(snapshot.match(HOST, "/a/b/c", "GET"), Unhealthy)
    assert isinstance(snapshot.match(HOST, "/a/bc", "GET"), NoMatch)


def test_a_plain_prefix_denies_beside_its_segments_what_else_is_granted_and_goes_last_there() -> None:
    both = Grants((attrs.evolve(OWN, path_prefixes=("/api", "/api-v2", "/api-v2/x", "/api/v1", "/b")),))
    found = left(deny("/api"), deny("/api-v2/keys", index=1), exchange("/api-v2/free", index=2), grants=both)
    assert found.entries[:2] == (
        deny("/api", path_type=SEGMENT, narrowed=True),
        deny("/api", within="/api-v2"),
    )
    assert (found.entry_count, len(found.entries)) == (3, 4)
    snapshot = PolicySnapshot.EMPTY.apply(found)
    decided = {path: snapshot.match(HOST, path, "GET") for path in ("/api", "/api/x", "/api-v2", "/api-v2/keys", "/api-v2/free/1")}
    assert [type(verdict).__name__ for verdict in decided.values()] == ["DenyEntry"] * 4 + ["ExchangeEntry"]
    assert all(isinstance(snapshot.match(HOST, path, "GET"), NoMatch) for path in ("/api-v3", "/api-v22", "/b"))
    assert snapshot.withdraw(RED).trie == PolicySnapshot.EMPTY.trie
    assert left(exchange("/api"), grants=both).entries == (
        exchange("/api", path_type=SEGMENT, narrowed=True),
        exchange("/api", within="/api-v2"),
    )


def test_an_exchange_covers_beside_its_segments_what_may_be_exchanged_there_and_what_lets_pass_covers_no_more() -> None:
    denies = attrs.evolve(OWN, path_prefixes=("/orders-v2",), actions=frozenset({"deny"}))
    assert left(exchange("/orders"), grants=Grants((OWN, denies))).entries == (exchange("/orders", path_type=SEGMENT, narrowed=True),)
    allows = attrs.evolve(OWN, path_prefixes=("/orders", "/orders-v2"), actions=frozenset({"allow"}))
    allowed = AllowEntry(RED, 0, MatchScope(HOST, "/orders"))
    (found,) = left(allowed, grants=Grants((allows,))).entries
    assert found.match == MatchScope(HOST, "/orders", path_type=SEGMENT, narrowed=True)


def test_a_plain_prefix_that_is_narrowed_keeps_its_place_among_entries() -> None:
    narrowed = exchange("/orders", headers=(("a", "b"),))
    fields = HeaderFields((("a", "b"),), raw=True)

    def decided(*claims: Entry) -> Verdict:
        document = left(*claims)
        found = PolicySnapshot.EMPTY.apply(document).match(HOST, "/orders/x", "GET", headers=fields)
        assert found in document.entries or found == CONFLICT
        return found

    segments = deny("/orders", index=1, path_type=SEGMENT)
    assert decided(narrowed, segments) == segments
    assert isinstance(decided(exchange("/orders"), segments), DenyEntry)
    assert isinstance(decided(narrowed, deny("/orders", index=1)), ExchangeEntry)
    assert decided(exchange("/orders"), deny("/orders", index=1)) == CONFLICT


def test_what_is_narrowed_conflicts_with_a_plain_prefix_of_another_namespace() -> None:
    """As both do without grants. Either is told of the other, and none covers what it is not granted."""
    (narrowed,) = left(deny("/orders")).entries
    rival = exchange("/orders", source=BLUE)
    snapshot = snapshot_of(narrowed, rival)
    for path in ("/orders", "/orders/x", "/orders?x", "/%6frders"):
        assert isinstance(snapshot.match(HOST, path, "GET"), Unhealthy | Ambiguous)
    assert snapshot.match(HOST, "/orders-old", "GET") == rival
    assert conflicts_with(narrowed, snapshot) == (rival,)
    assert conflicts_with(rival, snapshot) == (narrowed,)
    assert snapshot_of(narrowed).match(HOST, "/orders-old", "GET") is NO_MATCH
    assert snapshot.withdraw(BLUE).trie == snapshot_of(narrowed).trie


def test_a_denial_beside_very_many_granted_prefixes_closes_instead() -> None:
    many = Grants((attrs.evolve(OWN, path_prefixes=("/api", *(f"/api-{number}" for number in range(MAX_REGIONS + 1)))),))
    found = left(deny("/api"), grants=many)
    assert not found.entries
    assert isinstance(PolicySnapshot.EMPTY.apply(found).match(HOST, "/api-7", "GET"), Unhealthy)


def test_a_part_of_an_entry_is_held_against_the_second_description_of_its_namespace() -> None:
    by_label = [
        NamespaceGrant(None, parse_selector(f"a={value}"), (HOST,), paths)
        for value, paths in (("1", ("/api", "/api-v2")), ("2", ("/api-v2/x",)))
    ]
    found = restrict(PolicyDocument(RED, (deny("/api"),)), Grants(tuple(by_label)), ((("a", "1"),), (("a", "2"),)))
    snapshot = PolicySnapshot.EMPTY.apply(found)
    assert isinstance(snapshot.match(HOST, "/api-v2/x/y", "GET"), DenyEntry | Unhealthy)
    assert isinstance(snapshot.match(HOST, "/api-v2/y", "GET"), NoMatch)
    wide = attrs.evolve(by_label[1], path_prefixes=("/api-v2",))
    found = restrict(PolicyDocument(RED, (deny("/api"),)), Grants((by_label[0], wide)), ((("a", "1"),), (("a", "2"),)))
    assert [entry.match.within for entry in found.entries] == ["/api-v2"]


def test_a_plain_prefix_denies_all_that_it_covers_on_a_host_where_everything_is_granted() -> None:
    wide, narrow = (
        attrs.evolve(OWN, hosts=("*.example.com",), path_prefixes=("/api",)),
        attrs.evolve(OWN, hosts=(HOST,), path_prefixes=("", "/x")),
    )
    found = left(deny("/api", host="*.example.com"), grants=Grants((wide, narrow)))
    snapshot = PolicySnapshot.EMPTY.apply(found)
    assert isinstance(snapshot.match(HOST, "/api-v2", "GET"), DenyEntry)
    assert isinstance(snapshot.match("other.example.com", "/api/x", "GET"), DenyEntry)
    assert isinstance(snapshot.match("other.example.com", "/api-v2", "GET"), NoMatch)
    assert (found.entry_count, [entry.match.within for entry in found.entries]) == (1, ["", "/"])
    by_label = tuple(attrs.evolve(grant, namespaces=None, selector=parse_selector("a=1")) for grant in (wide, narrow))
    second = NamespaceGrant(None, parse_selector("a=2"), ("*",), ("/api-v2",))
    found = restrict(
        PolicyDocument(RED, (deny("/api", host="*.example.com"),)), Grants((*by_label, second)), ((("a", "1"),), (("a", "2"),))
    )
    assert isinstance(PolicySnapshot.EMPTY.apply(found).match(HOST, "/api-v2", "GET"), DenyEntry | Unhealthy)
    assert isinstance(PolicySnapshot.EMPTY.apply(found).match(HOST, "/api", "GET"), NoMatch)


@pytest.mark.parametrize("host", ["a.x b.x c.x d.x e.x f.x g.x h.x i.x", "https://orders,user@a.x"])
def test_a_host_that_is_granted_and_perhaps_another_closes_as_both(host: str) -> None:
    """One region is on the named host, and one is where the author may have meant any: the same scope, for different reasons."""
    grants = read_grants("version: v1\ngrants: [{namespaces: [a], hosts: [a.x], pathPrefixes: [/api], actions: [deny]}]", has_labels=True)
    assert isinstance(grants, Grants)
    text = f'version: v1\nentries: [{{match: {{host: "{host}", pathPrefix: /api}}, action: deny}}]'
    left = restrict(parse_document(Source("a", "p"), text, frozenset()), grants, ())
    assert {region.guessed for region in left.regions} == {False, True}


def test_parts_of_a_denial_may_be_invalid_under_another_description_of_the_namespace() -> None:
    """An entry of which a part is invalid closes as a whole, so that it stands for one thing."""
    grants = read_grants(
        """version: v1
grants:
- {namespaceSelector: "t=x", hosts: [h], pathPrefixes: [/api, /api-v2], actions: [deny]}
- {namespaceSelector: "t=y", hosts: [h], pathPrefixes: [/api, /api-v2/x], actions: [deny]}""",
        has_labels=True,
    )
    assert isinstance(grants, Grants)
    document = parse_document(Source("a", "p"), "version: v1\nentries: [{match: {host: h, pathPrefix: /api}, action: deny}]", frozenset())
    left = restrict(document, grants, ((("t", "x"),), (("t", "y"),)))
    assert (bool(left.entries), bool(left.regions)) == (False, True)


def test_a_region_within_a_prefix_keeps_what_another_description_grants_of_it() -> None:
    """Parts of an entry that ignores case are held against each description in turn."""
    within = attrs.evolve(region("/orders/x"), match=MatchScope(HOST, "/ORDERS", None, True, within="/orders/x"))
    assert left(within).regions == (within,)
    assert not left(attrs.evolve(within, match=attrs.evolve(within.match, within="/other"))).regions


def test_a_closed_area_of_which_nothing_is_granted_any_more_is_no_region() -> None:
    area = GrantedArea((MatchScope("other.example.com", "/x"),))
    assert left(attrs.evolve(region(""), match=EVERYWHERE, area=area)).regions == ()


def test_hosts_that_are_not_granted_have_nothing_in_common_with_a_grant() -> None:
    assert list(common_hosts("b.example.net", frozenset({"a.example.com"}))) == []


def test_areas_are_worked_out_again_where_too_many_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allowance, "_KEPT", 1)
    grants = Grants((OWN, attrs.evolve(OWN, namespaces=frozenset({"blue"}), hosts=("b.example.com",))))
    first, second = (grants.allowance(name, ()) for name in ("red", "blue"))
    assert grants.area(first) == grants.area(first)
    assert grants.area(second) != grants.area(first)
    assert grants.area(first).scopes


def test_a_prefix_above_one_spelling_of_a_granted_one_closes_that_spelling_alone() -> None:
    grants = Grants((attrs.evolve(OWN, path_prefixes=("/a%2Fb",)),))
    assert {closed.match.path_prefix for closed in left(deny("/a/"), grants=grants).regions} == {"/a/b"}


def test_a_part_of_an_entry_has_no_rivals_of_its_own() -> None:
    part = attrs.evolve(deny("/a"), match=attrs.evolve(deny("/a").match, within="/a"))
    assert conflicts_with(part, snapshot_of(part, attrs.evolve(exchange("/a"), source=BLUE))) == ()


def test_a_leaving_document_that_closed_a_whole_grant_closes_nothing() -> None:
    grants = Grants((OWN,))
    area = grants.area(grants.allowance("red", ()))
    snapshot = snapshot_of(attrs.evolve(region(""), match=EVERYWHERE, index=None, area=area))
    assert isinstance(snapshot.match(HOST, "/orders", "GET"), Unhealthy)
    assert isinstance(snapshot.leave(RED).match(HOST, "/orders", "GET"), NoMatch)
