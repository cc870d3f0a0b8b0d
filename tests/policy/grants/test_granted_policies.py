"""What grants leave of documents, in sentences and in the corners that the laws do not reach."""

import attrs
import pytest

from exchanger.model.entry import (
    EVERYWHERE,
    UNKNOWN_NAMESPACE,
    Claim,
    DenyEntry,
    Entry,
    ExchangeEntry,
    FailClosedScope,
    MatchScope,
    PathType,
    Source,
)
from exchanger.model.policy_decision import NO_MATCH, Ambiguous, PolicyDecision, Unhealthy
from exchanger.model.request import HeaderFields
from exchanger.model.selector import parse_selector
from exchanger.policy.documents.document import Labels, PolicyDocument, PolicyRefusal, parse_document
from exchanger.policy.grants import allowance
from exchanger.policy.grants.allowance import Grants, NamespaceGrant, common_hosts
from exchanger.policy.grants.reader import read_grants
from exchanger.policy.namespace import EffectiveDocument
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.policy.table import CONFLICT
from tests.policy.examples import ANYTHING, BLUE, HOST, RED, allow, closed_scope, deny, document_of, exchange, with_documents

RED_ALONE = frozenset({"red"})
OWN = NamespaceGrant(RED_ALONE, None, (HOST,), ("/orders",), issuers=("primary",), scopes=("read:*",))
OWN_GRANTS = Grants((OWN,))
OTHERS = NamespaceGrant(frozenset({"blue"}), None, ANYTHING, issuers=ANYTHING, scopes=ANYTHING)
SEGMENT = PathType.SEGMENT
OUTSIDE = "is outside the hosts and paths that its namespace is granted"


def under(grants: Grants, *claims: Claim, labels: tuple[Labels, ...] = ()) -> PolicySnapshot:
    """Return the policy of one document of red under ``grants``; its claims have indices in this order."""
    return PolicySnapshot(grants=grants).changed({RED: document_of(*claims)}, {"red": labels})


def left(*claims: Claim, grants: Grants = OWN_GRANTS, labels: tuple[Labels, ...] = ()) -> EffectiveDocument:
    """Return what ``grants`` leave of these claims of red."""
    found = under(grants, *claims, labels=labels).document(RED)
    assert found is not None
    return found


def described(*paths_of_each: tuple[str, ...], actions: frozenset[str] = frozenset({"deny"})) -> tuple[Grants, tuple[Labels, ...]]:
    """Return grants of paths by label, and the labels of a namespace that has all of them: what it may do is common to all."""
    selectors = [parse_selector(f"a={number}") for number in range(len(paths_of_each))]
    grants = [NamespaceGrant(None, selectors[number], (HOST,), paths, actions) for number, paths in enumerate(paths_of_each)]
    return Grants(tuple(grants)), tuple((("a", str(number)),) for number in range(len(paths_of_each)))


PATHS = ("/orders", "/orders/x", "/orders/x/y", "/ORDERS/x", "/orders-old", "/order", "/other")
INSIDE = {"/orders", "/orders/x", "/orders/x/y"}


@pytest.mark.parametrize(
    ("entry", "closed", "reason"),
    [
        (exchange("/orders/x", headers=(("a", "b"),)), set(), ""),
        (exchange("/"), INSIDE, "covers more than its namespace is granted"),
        (exchange("", path_type=SEGMENT), INSIDE, "covers more than its namespace is granted"),
        (exchange("/order", path_type=SEGMENT), None, OUTSIDE),
        (exchange("/orders-old"), None, OUTSIDE),
        (deny("/X", case_insensitive=True), None, OUTSIDE),
        (deny("/orders", host="other.example.com"), None, OUTSIDE),
        (deny("/ORDERS/x", case_insensitive=True), {"/orders/x", "/orders/x/y"}, "covers more than its namespace is granted"),
        (deny("/ORD", case_insensitive=True), INSIDE, "covers more than its namespace is granted"),
        (deny("/orders%2Fx"), {"/orders/x", "/orders/x/y"}, "covers more than its namespace is granted"),
        (
            attrs.evolve(
                exchange("/orders/x"), target=attrs.evolve(exchange("/").target, scope="read:a write:b", audiences=("a", "b", "c"))
            ),
            {"/orders/x", "/orders/x/y"},
            "requests what its namespace is not granted: audience a, audience b, audience c, scope write:b",
        ),
        (
            attrs.evolve(exchange("/orders/x"), target=attrs.evolve(exchange("/").target, audiences=tuple("abcdef"))),
            {"/orders/x", "/orders/x/y"},
            "requests what its namespace is not granted: audience a, audience b, audience c, audience d and 2 more",
        ),
        (allow("/orders/x"), {"/orders/x", "/orders/x/y"}, "requests what its namespace is not granted: the action allow"),
    ],
)
def test_an_entry_takes_effect_or_closes_what_is_granted_or_is_refused(entry: Entry, closed: set[str] | None, reason: str) -> None:
    policy, found = under(OWN_GRANTS, entry), left(entry)
    assert found.entries == ((entry,) if not reason else ())
    assert [problem.reason for problem in found.problems] == [f"entries[0] {reason}"] * bool(closed)
    assert found.refused == ((PolicyRefusal(RED, 0, f"entries[0] {reason}"),) if closed is None else ())
    assert {path for path in PATHS if isinstance(policy.match(HOST, path, "GET"), Unhealthy)} == (closed or set())
    assert policy.match("other.example.com", "/orders", "GET") is NO_MATCH


def test_a_plain_prefix_counts_by_segments_unless_another_grant_covers_it() -> None:
    assert left(deny("/orders")).entries == (deny("/orders"),)
    policy = under(OWN_GRANTS, deny("/orders"))
    assert [policy.match(HOST, path, "GET") for path in ("/orders", "/orders?x", "/orders/x")] == [deny("/orders")] * 3
    assert policy.match(HOST, "/orders-old", "GET") is NO_MATCH
    wide = NamespaceGrant(RED_ALONE, None, (HOST,), ("",), actions=frozenset({"exchange"}))
    (closed,) = left(deny("/orders"), grants=Grants((OWN, wide))).problems
    assert closed.match == MatchScope(HOST, "/orders")
    assert closed.reason == "entries[0] requests what its namespace is not granted: the action deny"


def test_an_unreadable_document_closes_what_is_granted_and_yields_to_other_namespaces() -> None:
    other = deny("/orders/x", source=BLUE)
    policy = with_documents(under(Grants((OWN, OTHERS)), FailClosedScope(RED, EVERYWHERE, "x")), document_of(other, source=BLUE))
    assert policy.match(HOST, "/orders/x", "GET") == other
    assert isinstance(policy.match(HOST, "/orders/y", "GET"), Unhealthy)
    assert policy.match(HOST, "/", "GET") is NO_MATCH
    assert policy.match("other.example.com", "/orders", "GET") is NO_MATCH


def test_an_unreadable_document_of_a_namespace_that_is_granted_nothing_closes_nothing() -> None:
    found = left(FailClosedScope(RED, EVERYWHERE, "x"), grants=Grants())
    assert found.problems == ()
    assert [refusal.reason for refusal in found.refused] == [f"the document {OUTSIDE}; it is invalid too: x"]
    assert under(Grants(), FailClosedScope(RED, EVERYWHERE, "x")).match(HOST, "/", "GET") is NO_MATCH


def test_a_document_of_an_unknown_namespace_closes_everything() -> None:
    source = Source(UNKNOWN_NAMESPACE, "f")
    policy = with_documents(
        PolicySnapshot(grants=OWN_GRANTS), PolicyDocument(source, closed_scopes=(FailClosedScope(source, EVERYWHERE, "x"),))
    )
    for host in (HOST, "other.example.com"):
        assert policy.match(host, "/", "GET") == Unhealthy("x", source)


def test_a_mistake_without_a_host_closes_every_granted_host() -> None:
    hosts = tuple(f"h{number}" for number in range(65))
    crowd = [closed_scope("/orders", host=None, methods=frozenset({f"M{number}"})) for number in range(200)]
    policy = under(Grants((attrs.evolve(OWN, hosts=hosts),)), *crowd)
    assert all(isinstance(policy.match(host, "/orders/x", "M199"), Unhealthy) for host in hosts)
    assert policy.match("h65", "/orders/x", "M199") is NO_MATCH


def test_two_descriptions_close_the_hosts_that_both_are_granted() -> None:
    grants = Grants(
        tuple(NamespaceGrant(None, parse_selector(f"a={hosts}"), tuple(hosts), ("/a",)) for hosts in ("pqr", "qrs")),
    )
    policy = under(grants, FailClosedScope(RED, EVERYWHERE, "x"), labels=((("a", "pqr"),), (("a", "qrs"),)))
    assert [host for host in "pqrs" if isinstance(policy.match(host, "/a", "GET"), Unhealthy)] == ["q", "r"]


def test_an_entry_that_ignores_case_closes_within_the_granted_path() -> None:
    policy = under(OWN_GRANTS, deny("/ORDERS/Admin", case_insensitive=True))
    paths = ("/orders/admin", "/orders/ADMIN/x", "/ORDERS/admin", "/orders/list")
    assert [path for path in paths if isinstance(policy.match(HOST, path, "GET"), Unhealthy)] == ["/orders/admin", "/orders/ADMIN/x"]
    # A byte that a gateway could not put into text may have been dropped.
    masked = ("/orders/adm!n", "/or!ders/admin", "/ORD!ERS/admin")
    assert [path for path in masked if policy.match(HOST, path, "GET") is not NO_MATCH] == ["/or!ders/admin"]


@pytest.mark.parametrize(
    ("second", "closed"),
    [("/orders/admin", ["/orders/admin/x"]), ("", ["/orders/admin/x"]), ("/orders", ["/orders/admin/x"]), ("/other", [])],
)
def test_a_namespace_that_is_described_twice_has_what_both_descriptions_are_granted(second: str, closed: list[str]) -> None:
    grants, labels = described(("/orders",), (second,))
    entry = deny("/ORDERS/Admin/x", case_insensitive=True)
    policy, found = under(grants, entry, labels=labels), left(entry, grants=grants, labels=labels)
    paths = ("/orders/admin/x", "/ORDERS/admin/x", "/orders/admin")
    assert [path for path in paths if policy.match(HOST, path, "GET") is not NO_MATCH] == closed
    assert (bool(found.problems), bool(found.refused)) == (bool(closed), not closed)


def test_of_many_granted_prefixes_those_above_count() -> None:
    many = Grants((attrs.evolve(OWN, path_prefixes=(*(f"/p{number}" for number in range(9)), "/a", "/a/b/c")),))
    entries = (deny("/a/b"), deny("/a/b/c", index=1, path_type=SEGMENT), deny("/p1/", index=2), deny("/a/b/c", index=3))
    assert left(*entries, grants=many).entries == entries
    assert left(deny("/p1", path_type=PathType.EXACT), grants=many).entries
    assert left(deny("/b"), grants=many).refused


def test_wildcards_have_granted_hosts_in_common_below_them() -> None:
    hosts = Grants((attrs.evolve(OWN, hosts=("x.a.example", "*.b.a.example", "a.example", "xa.example"), resources=("urn:x",)),))
    found = left(deny("/orders", host="*.a.example"), grants=hosts)
    assert sorted(host or "" for host in found.routes) == ["*.b.a.example", "x.a.example"]
    wants = attrs.evolve(exchange("/").target, scope="", resources=("urn:x", "urn:y"))
    (closed,) = left(attrs.evolve(exchange("/orders/", host="x.b.a.example"), target=wants), grants=hosts).problems
    assert closed.reason.endswith("is not granted: resource urn:y")


def test_grants_that_only_report_change_nothing_and_say_what_they_would() -> None:
    entries = (deny("/orders"), deny("/", index=1), deny("/x", index=2))
    found = left(*entries, closed_scope("/y", index=3), grants=attrs.evolve(OWN_GRANTS, enforced=False))
    assert (found.entries, found.problems) == (entries, (closed_scope("/y", index=3),))
    assert [(refusal.index, refusal.reason.split(":")[0]) for refusal in found.refused] == [
        (1, "would be invalid"),
        (2, "would be refused"),
    ]


@pytest.mark.parametrize("others", [0, 100])
def test_a_granted_prefixs_decoded_spelling_closes_despite_an_entry_there(others: int) -> None:
    prefixes = ("/a%2Fb", *(f"/{number}" for number in range(others)))
    healthy = under(Grants((attrs.evolve(OWN, path_prefixes=prefixes),)), deny("/a/b/c"))
    assert healthy.entry_count == 1
    unreadable = Source("red", "unreadable")
    policy = with_documents(healthy, PolicyDocument(unreadable, closed_scopes=(FailClosedScope(unreadable, EVERYWHERE, "x"),)))
    assert isinstance(policy.match(HOST, "/a/b/c", "GET"), Unhealthy)
    assert policy.match(HOST, "/a/bc", "GET") is NO_MATCH


def test_a_plain_prefix_denies_what_else_is_granted_and_goes_last_there() -> None:
    both = Grants((attrs.evolve(OWN, path_prefixes=("/api", "/api-v2", "/api-v2/x", "/api/v1", "/b")),))
    entries = (deny("/api"), deny("/api-v2/keys", index=1), exchange("/api-v2/free", index=2))
    assert left(*entries, grants=both).entries == entries
    policy = under(both, *entries)
    decided = [policy.match(HOST, path, "GET") for path in ("/api", "/api/x", "/api-v2", "/api-v2/keys", "/api-v2/free/1")]
    assert decided == [entries[0], entries[0], entries[0], entries[1], entries[2]]
    assert all(policy.match(HOST, path, "GET") is NO_MATCH for path in ("/api-v3", "/api-v22", "/b"))
    exchanged = under(both, exchange("/api"))
    assert [exchanged.match(HOST, path, "GET") for path in ("/api/x", "/api-v2/x", "/api-v3")] == [exchange("/api")] * 2 + [NO_MATCH]


def test_exchanges_and_allows_have_no_effect_on_paths_that_grants_leave_out() -> None:
    denies = attrs.evolve(OWN, path_prefixes=("/orders-v2",), actions=frozenset({"deny"}))
    allows = attrs.evolve(OWN, path_prefixes=("/orders", "/orders-v2"), actions=frozenset({"allow"}))
    for entry, grants in ((exchange("/orders"), Grants((OWN, denies))), (allow("/orders"), Grants((allows,)))):
        policy = under(grants, entry)
        assert policy.match(HOST, "/orders/x", "GET") == entry
        assert policy.match(HOST, "/orders-v2", "GET") is NO_MATCH


def test_each_of_two_wildcards_closes_the_granted_host_below_it() -> None:
    grants = Grants((attrs.evolve(OWN, hosts=("x.a.example", "y.b.example")),))
    policy = under(grants, deny("/orders", host="*.a.example"), deny("/orders", host="*.b.example", index=1))
    assert all(isinstance(policy.match(host, "/orders", "GET"), Unhealthy) for host in ("x.a.example", "y.b.example"))


def test_a_denial_makes_a_path_with_parameters_ambiguous() -> None:
    found = under(OWN_GRANTS, deny("/orders")).match(HOST, "/orders;x/y", "GET", raw=True)
    assert isinstance(found, Ambiguous)


def test_a_plain_prefix_granted_by_segments_keeps_its_rank_among_entries() -> None:
    by_header = exchange("/orders", headers=(("a", "b"),))
    fields = HeaderFields((("a", "b"),), raw=True)

    def decided(*claims: Entry) -> PolicyDecision:
        return under(OWN_GRANTS, *claims).match(HOST, "/orders/x", "GET", headers=fields)

    segments = deny("/orders", index=1, path_type=SEGMENT)
    assert decided(by_header, segments) == segments
    assert decided(exchange("/orders"), segments) == segments
    assert decided(by_header, deny("/orders", index=1)) == by_header
    assert decided(exchange("/orders"), deny("/orders", index=1)) == CONFLICT


def test_plain_prefixes_of_two_namespaces_conflict_where_both_are_granted() -> None:
    rival = exchange("/orders", source=BLUE)
    alone = under(Grants((OWN, OTHERS)), deny("/orders"))
    policy = with_documents(alone, document_of(rival, source=BLUE))
    for path in ("/orders", "/orders/x", "/orders?x", "/%6frders"):
        assert isinstance(policy.match(HOST, path, "GET"), Unhealthy | Ambiguous)
    assert policy.match(HOST, "/orders-old", "GET") == rival
    assert alone.match(HOST, "/orders-old", "GET") is NO_MATCH


def test_a_denial_counts_on_each_of_very_many_granted_prefixes() -> None:
    many = Grants((attrs.evolve(OWN, path_prefixes=("/api", *(f"/api-{number}" for number in range(1_000)))),))
    policy = under(many, deny("/api"))
    assert policy.match(HOST, "/api-7/x", "GET") == deny("/api")
    assert policy.match(HOST, "/api-1000", "GET") is NO_MATCH


def test_a_denial_counts_where_two_descriptions_of_its_namespace_agree() -> None:
    grants, labels = described(("/api", "/api-v2"), ("/api-v2/x",))
    policy = under(grants, deny("/api"), labels=labels)
    assert isinstance(policy.match(HOST, "/api-v2/x/y", "GET"), DenyEntry | Unhealthy)
    assert policy.match(HOST, "/api-v2/y", "GET") is NO_MATCH
    grants, labels = described(("/api", "/api-v2"), ("/api-v2",))
    policy = under(grants, deny("/api"), labels=labels)
    assert isinstance(policy.match(HOST, "/api-v2/y", "GET"), DenyEntry | Unhealthy)
    assert policy.match(HOST, "/api/y", "GET") is NO_MATCH


def test_a_plain_prefix_denies_everything_it_covers_on_a_fully_granted_host() -> None:
    wide = attrs.evolve(OWN, hosts=("*.example.com",), path_prefixes=("/api",))
    narrow = attrs.evolve(OWN, hosts=(HOST,), path_prefixes=("", "/x"))
    policy = under(Grants((wide, narrow)), deny("/api", host="*.example.com"))
    assert isinstance(policy.match(HOST, "/api-v2", "GET"), DenyEntry)
    assert isinstance(policy.match("other.example.com", "/api/x", "GET"), DenyEntry)
    assert policy.match("other.example.com", "/api-v2", "GET") is NO_MATCH
    by_label = tuple(attrs.evolve(grant, namespaces=None, selector=parse_selector("a=1")) for grant in (wide, narrow))
    second = NamespaceGrant(None, parse_selector("a=2"), ANYTHING, ("/api-v2",))
    policy = under(Grants((*by_label, second)), deny("/api", host="*.example.com"), labels=((("a", "1"),), (("a", "2"),)))
    assert isinstance(policy.match(HOST, "/api-v2", "GET"), DenyEntry | Unhealthy)
    assert policy.match(HOST, "/api", "GET") is NO_MATCH


@pytest.mark.parametrize("host", ["a.x b.x c.x d.x e.x f.x g.x h.x i.x", "https://orders,user@a.x"])
def test_a_host_that_is_granted_and_perhaps_another_closes_as_both(host: str) -> None:
    """One fail-closed scope is on the named host, and one is where the author may have meant any: the same scope, for different reasons."""
    grants = read_grants("version: v1\ngrants: [{namespaces: [a], hosts: [a.x], pathPrefixes: [/api], actions: [deny]}]", has_labels=True)
    assert isinstance(grants, Grants)
    source = Source("a", "p")
    text = f'version: v1\nentries: [{{match: {{host: "{host}", pathPrefix: /api}}, action: deny}}]'
    found = with_documents(PolicySnapshot(grants=grants), parse_document(source, text, frozenset())).document(source)
    assert found is not None
    assert {route.yields_to_others for routes in found.routes.values() for route in routes} == {False, True}
    assert len(found.problems) == 1


def test_hosts_that_are_not_granted_have_nothing_in_common_with_a_grant() -> None:
    assert list(common_hosts("b.example.net", frozenset({"a.example.com"}))) == []
    assert list(common_hosts("a.example.com", frozenset({"*.example.com"}))) == ["a.example.com"]


def test_areas_are_counted_exactly_once_an_allowance_is_known() -> None:
    grants = Grants((NamespaceGrant(frozenset({"red"}), None, ("a.example.com", "b.example.com"), ("/a", "/b", "/c")),))
    assert (grants.area_count("red", ()), grants.area_count("blue", ())) == (6, 0)
    assert grants.allowance("blue", ()).area_count == grants.area_count("blue", ()) == 0
    assert grants.allowance("red", ()).area_count == grants.area_count("red", ()) == 6
    assert Grants(limited=False).area_count("red", ()) == 0
    described = Grants((*grants.grants, NamespaceGrant(None, parse_selector("a=1"), ("c.example.com",))))
    assert described.allowance("red", ()).area_count == 6
    assert (described.area_count("red", ()), described.area_count("red", ((("a", "1"),),))) == (6, 7)


def test_allowances_are_computed_again_where_too_many_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allowance, "_KEPT", 1)
    grants = Grants((OWN, attrs.evolve(OWN, namespaces=frozenset({"blue"}), hosts=("b.example.com",))))
    first, second = (grants.allowance(name, ()) for name in ("red", "blue"))
    assert grants.allowance("red", ()) == first != second


def test_a_prefix_above_one_spelling_of_a_grant_closes_only_it() -> None:
    policy = under(Grants((attrs.evolve(OWN, path_prefixes=("/a%2Fb",)),)), deny("/a/"))
    assert [path for path in ("/a/b", "/a/b/c", "/a/c", "/a/") if policy.match(HOST, path, "GET") is not NO_MATCH] == ["/a/b", "/a/b/c"]


def test_an_entry_that_two_grants_cover_only_together_has_no_effect() -> None:
    """Two grants that cover it only together do not."""
    halves = Grants((attrs.evolve(OWN, path_prefixes=("/a",)), attrs.evolve(OWN, path_prefixes=("/b",))))
    assert left(deny("/"), grants=halves).entries == ()
    assert isinstance(under(halves, exchange("/")).match(HOST, "/b/x", "GET"), Unhealthy)
    assert not isinstance(under(halves, exchange("/")).match(HOST, "/c", "GET"), ExchangeEntry)


@pytest.mark.parametrize("text", ["version: v1\nentries: [{}]\n", "version: v2\nentries: [{}]\n"])
def test_only_issuer_profiles_that_the_namespace_is_granted_are_suggested(text: str) -> None:
    match = f"match: {{host: {HOST}, pathPrefix: /orders}}"
    entries = (f"{{{match}, action: exchange, exchange: {{issuerRef: {name}, scope: read:a}}}}" for name in ("primery", "merger-adviser"))
    written = parse_document(RED, text.format(", ".join(entries)), frozenset({"primary", "merger-advisor"}))
    policy = PolicySnapshot(grants=OWN_GRANTS).changed({RED: written})
    assert suggested(policy) == {"primary"}
    policy = policy.with_grants(Grants((attrs.evolve(OWN, issuers=("merger-*",)),), enforced=False))
    assert suggested(policy) == {"merger-advisor"}
    assert suggested(policy.with_grants(Grants(limited=False))) == {"primary", "merger-advisor"}


def suggested(policy: PolicySnapshot) -> set[str]:
    """Return what anything known of red's document suggests."""
    document = policy.document(RED)
    assert document is not None
    scopes = (
        *document.problems,
        *document.document.closed_scopes,
        *(route.effect for routes in document.routes.values() for route in routes),
    )
    found = [*document.findings, *(one for scope in scopes if isinstance(scope, FailClosedScope) for one in scope.problems)]
    return {text for problem in found for text in (problem.hint, problem.instead)} - {"", "v1"}


@pytest.mark.parametrize(
    ("entry", "hint"),
    [
        (deny("/orders", host="api.exmaple.com"), HOST),
        (deny("/orders", host="elsewhere.example"), ""),
        (deny("/oders"), "/orders"),
        (deny("/payments"), ""),
        (attrs.evolve(deny("/payments"), match=MatchScope(None, "/payments")), ""),
    ],
)
def test_what_is_outside_the_grants_suggests_only_what_is_granted(entry: Entry, hint: str) -> None:
    (refusal,) = left(entry).refused
    assert (refusal.hint, hint in refusal.coded) == (hint, True)


def test_nothing_is_suggested_for_a_namespace_with_two_descriptions() -> None:
    grants, labels = described(("/orders",), ("/orders/x",))
    assert [refusal.hint for refusal in left(deny("/oders"), grants=grants, labels=labels).refused] == [""]


def test_entries_outside_the_grants_get_a_bounded_number_of_suggestions() -> None:
    grants = Grants((attrs.evolve(OWN, hosts=(*OWN.hosts, *(f"h{number}.example" for number in range(300)))),))
    refused = left(*(deny("/orders", host="api.exmaple.com") for _ in range(4)), grants=grants).refused
    assert [refusal.hint for refusal in refused] == [HOST, "", "", ""]
