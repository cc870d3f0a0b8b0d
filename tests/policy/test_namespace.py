"""What grants, quotas and depth leave of the documents of one namespace, and what authors are told of it."""

from unittest import mock

import attrs
import pytest

from exchanger.model.codes.grants import NOT_GRANTED, OUTSIDE_GRANTS, PARTLY_OUTSIDE_GRANTS
from exchanger.model.codes.manifests import DEEP_ENTRIES, MANY_AREAS, MANY_DOCUMENTS, MANY_ENTRIES
from exchanger.model.entry import EVERYWHERE, Claim, Entry, FailClosedScope, MatchScope, PathType, Source
from exchanger.model.policy_decision import NO_MATCH, Unhealthy
from exchanger.model.selector import parse_selector
from exchanger.policy.depth import MAX_DEPTH
from exchanger.policy.documents.document import PolicyDocument
from exchanger.policy.expansion import MAX_EXPANDED
from exchanger.policy.grants.allowance import NO_GRANTS, Grants, NamespaceGrant
from exchanger.policy.limits import NamespaceLimits
from exchanger.policy.namespace import EffectiveDocument
from exchanger.policy.scope import PathSet
from exchanger.policy.snapshot import PolicySnapshot, changed_documents
from tests.policy.comparing import content
from tests.policy.examples import ANYTHING, BLUE, HOST, RED, closed_scope, deny, document_of, exchange, parsed, with_documents, without

GETS, POSTS = frozenset({"GET"}), frozenset({"POST"})
A, B, C = (Source("red", name) for name in "abc")


def within(limits: NamespaceLimits, *documents: PolicyDocument, grants: Grants = NO_GRANTS) -> PolicySnapshot:
    return with_documents(PolicySnapshot(grants=attrs.evolve(grants, limits=limits)), *documents)


def together(*documents: PolicyDocument) -> PolicySnapshot:
    return within(NamespaceLimits(), *documents)


def effective(snapshot: PolicySnapshot, source: Source = RED) -> EffectiveDocument:
    found = snapshot.document(source)
    assert found is not None
    return found


def codes(snapshot: PolicySnapshot, source: Source = RED) -> list[str]:
    return [problem.code.name for problem in effective(snapshot, source).findings]


def nested(count: int, **match: object) -> tuple[Entry, ...]:
    return tuple(deny("/" + "a" * length, **match) for length in range(count))  # type: ignore[arg-type]


MIXED = """version: v1
entries:
- {match: {host: other.example.com, pathPrefix: /}, action: deny}
- {match: {host: api.example.com, pathPrefix: /x}, action: deny}
- {match: {host: api.example.com, pathPrefix: /y}, action: nothing, wrong: 1}
- {match: {host: api.example.com, pathPrefix: /}, action: deny}
- {match: {host: other.example.com, pathPrefix: /z}, action: nothing}
"""
BLUES = NamespaceGrant(frozenset({"blue"}), None, ANYTHING, issuers=ANYTHING, scopes=ANYTHING)
OWN = NamespaceGrant(frozenset({"red"}), None, (HOST,), ("/x", "/y"), frozenset({"deny"}))


def test_a_document_lists_what_is_effective_invalid_and_refused_in_order() -> None:
    document = parsed(MIXED)
    found = effective(with_documents(PolicySnapshot(grants=Grants((OWN,))), document))
    assert (found.source, found.text, found.document) == (RED, MIXED, document)
    assert (found.entry_count, found.entries) == (1, document.entries[1:2])
    assert [problem.index for problem in found.problems] == [2, 3]
    assert [refusal.index for refusal in found.refused] == [0, 4]
    assert [problem.entry for problem in found.findings] == [0, 2, 2, 3, 4, 4]
    assert [problem.line for problem in found.findings] == [3, 5, 5, 6, 7, 7]
    assert [problem.entry for problem in found.findings if problem.code is OUTSIDE_GRANTS] == [0, 4]
    assert [problem.code for problem in found.findings if problem.entry == 3] == [PARTLY_OUTSIDE_GRANTS]


def test_without_grants_a_document_has_its_authors_mistakes_alone() -> None:
    document = parsed(MIXED)
    found = effective(together(document))
    assert (found.entries, found.refused, found.findings) == (document.entries, (), document.findings)
    assert found.problems == document.problems


def test_report_mode_keeps_a_document_whole_and_lists_its_refusals() -> None:
    document = parsed(MIXED)
    snapshot = with_documents(PolicySnapshot(grants=Grants((OWN,), enforced=False)), document)
    found = effective(snapshot)
    assert (found.entries, found.problems) == (document.entries, document.problems)
    assert [(refusal.index, refusal.code) for refusal in found.refused] == [(0, OUTSIDE_GRANTS), (3, PARTLY_OUTSIDE_GRANTS)]
    assert snapshot.match("other.example.com", "/", "GET") == document.entries[0]
    assert (snapshot.entry_count, snapshot.invalid_documents, snapshot.refused_count) == (3, 1, 2)


def test_report_mode_needs_a_grant_for_what_lets_requests_pass() -> None:
    text = "version: v1\nentries: [{match: {host: api.example.com, pathPrefix: /x}, action: allow}]"
    snapshot = with_documents(PolicySnapshot(grants=Grants((OWN,), enforced=False)), parsed(text))
    assert isinstance(snapshot.match(HOST, "/x", "GET"), Unhealthy)
    assert (effective(snapshot).entries, codes(snapshot)) == ((), [NOT_GRANTED.name])


def test_labels_that_disagree_leave_what_all_of_them_are_granted() -> None:
    grants = Grants(tuple(NamespaceGrant(None, parse_selector(f"team={team}"), (HOST,), (f"/{team}", "/both")) for team in "xy"))
    document = document_of(deny("/both/a"), deny("/x/a"), deny("/y/a"))
    x, y = ((("team", team),) for team in "xy")
    snapshot = PolicySnapshot(grants=grants).changed({RED: document}, {"red": (x, y)})
    namespace = snapshot.namespace("red")
    assert namespace is not None
    assert (namespace.labels, len(namespace.allowances)) == ((x, y), 2)
    assert (effective(snapshot).entries, [refusal.index for refusal in effective(snapshot).refused]) == (document.entries[:1], [1, 2])
    alone = snapshot.changed({}, {"red": (x,)})
    assert effective(alone).entries == document.entries[:2]
    assert effective(alone.changed({}, {"red": (x, x)})) is effective(alone)
    assert alone.changed({}, {"red": ()}).match(HOST, "/both/a", "GET") is NO_MATCH


def test_labels_that_make_no_difference_now_count_under_later_grants() -> None:
    by_label = Grants((attrs.evolve(OWN, namespaces=None, selector=parse_selector("team=red")),))
    document = document_of(deny("/x/y"))
    snapshot = PolicySnapshot(grants=Grants()).changed({RED: document}, {"red": ((("team", "blue"),),)})
    snapshot = snapshot.changed({}, {"red": ((("team", "red"),),)})
    assert effective(snapshot).entries == ()
    assert effective(snapshot.with_grants(by_label)).entries == document.entries


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        (NamespaceLimits(entries=5), MANY_ENTRIES),
        (NamespaceLimits(fail_closed_scopes=1), MANY_AREAS),
        (NamespaceLimits(documents=1), MANY_DOCUMENTS),
    ],
)
def test_a_document_over_quota_keeps_its_text_and_closes_its_hosts(limits: NamespaceLimits, code: object) -> None:
    other = "elsewhere.example.com"
    claims: list[Claim] = [*(deny(f"/{number}") for number in range(3)), deny("/", host=other), closed_scope("/r")]
    first, second = (document_of(*claims, source=source, text=f"text of {source}") for source in (A, B))
    snapshot = within(limits, second, first)
    assert effective(snapshot, A).entries == first.entries
    found = effective(snapshot, B)
    assert (found.is_over_quota, found.text, found.entries, found.document.entries) == (True, "text of red/b", (), ())
    assert [problem.code for problem in found.findings] == [code]
    assert (found.used_entries, found.used_scopes) == (5, 1)
    for host in (HOST, other):
        assert isinstance(snapshot.match(host, "/anything", "POST"), Unhealthy)
    assert snapshot.match("x.example.com", "/", "GET") is NO_MATCH
    assert (snapshot.entry_count, snapshot.invalid_documents) == (4, 2)
    namespace = snapshot.namespace("red")
    assert namespace is not None
    assert (dict(namespace.over_quota.items()), namespace.to_read_again) == ({B: code}, frozenset())


def test_an_unreadable_document_over_quota_keeps_its_own_reason() -> None:
    snapshot = within(NamespaceLimits(documents=0), parsed("version: v2"))
    assert effective(snapshot).problems == parsed("version: v2").problems
    assert not effective(snapshot).is_over_quota


def test_a_document_is_to_be_read_again_when_there_is_room() -> None:
    first, second = (document_of(*(deny(f"/{name}{number}") for number in range(4)), source=Source("red", name)) for name in "ab")
    limits = NamespaceLimits(entries=6)
    both = within(limits, first, second)
    for there in (without(both, A), both.with_grants(NO_GRANTS)):
        namespace = there.namespace("red")
        assert namespace is not None
        assert namespace.to_read_again == {B}
        assert isinstance(there.match(HOST, "/b0", "GET"), Unhealthy)  # until it is
        again = with_documents(there, second)
        assert again.match(HOST, "/b0", "GET") == second.entries[0]
        renewed = again.namespace("red")
        assert renewed is not None
        assert renewed.to_read_again == frozenset()
    assert content(with_documents(without(both, A), second)) == content(within(limits, second))
    back = with_documents(without(both, A), first).namespace("red")
    assert back is not None
    assert (back.to_read_again, dict(back.over_quota.items())) == (frozenset(), {B: MANY_ENTRIES})


def test_a_change_of_one_document_tells_those_that_quotas_and_depth_affect() -> None:
    first, second, third = (document_of(*nested(10)[start:], source=source) for start, source in ((0, A), (5, B), (9, C)))
    other = document_of(deny("/"), source=BLUE)
    limits = NamespaceLimits(entries=16)
    before = within(limits, first, second, other)
    fits = with_documents(before, third)
    assert set(changed_documents(before, fits, [C])) == {C}
    crowded = with_documents(fits, document_of(*nested(14), source=A))
    assert set(changed_documents(fits, crowded, [A])) == {A, B, C}
    assert not effective(crowded, A).is_like(effective(fits, A))
    assert changed_documents(crowded, without(crowded, A), [A])[A] is None
    assert changed_documents(fits, fits, [A, BLUE], ["red", "green"]) == {}


@pytest.mark.parametrize(
    "entries",
    [
        nested(MAX_DEPTH),
        tuple(deny(f"/{number}", index=number) for number in range(500)),
        tuple(deny("/mcp", headers=(("mcp-method", "tools/call"), ("mcp-name", f"tool-{number}"))) for number in range(500)),
        tuple(deny("/", headers=((f"x-{number}", "1"),)) for number in range(MAX_DEPTH - 5)) + nested(1),
        tuple(deny("/", host=f"{number}.example.com") for number in range(500)),
        tuple(deny(f"/{number}", host="*.example.com") for number in range(500)) + nested(MAX_DEPTH),
        tuple(deny("/", host="*." + ".".join("a" * labels)) for labels in range(1, MAX_DEPTH + 2)),
        (deny("/", headers=tuple((f"x-{number}", "1") for number in range(8))),),
        tuple(deny(f"/%C3%A9/{number}", case_insensitive=True) for number in range(500)),
    ],
)
def test_width_adds_no_depth(entries: tuple[Entry, ...]) -> None:
    assert codes(together(document_of(*entries))) == []


@pytest.mark.parametrize(
    "entries",
    [
        nested(MAX_DEPTH // 2) + nested(MAX_DEPTH // 2 + 1, case_insensitive=True),
        tuple(deny("/", headers=((f"x{'-' * number}a", "1"),)) for number in range(MAX_DEPTH - 4)),
        tuple(deny(f"/{'a' * number}", headers=(("x", "1"),)) for number in range(5)),
        tuple(deny("/" + "a" * number, path_type=path_type) for number in range(1, 13) for path_type in (PathType.PREFIX, PathType.EXACT))
        + nested(1),
        nested(MAX_DEPTH + 1, host="*.example.com"),
    ],
)
def test_depth_counts_wherever_it_comes_from(entries: tuple[Entry, ...]) -> None:
    snapshot = together(document_of(*entries))
    assert codes(snapshot) == [DEEP_ENTRIES.name] * len(entries)
    assert (snapshot.entry_count, snapshot.invalid_documents) == (0, 1)


def test_a_host_over_depth_closes_only_its_prefixes_for_all_methods() -> None:
    own = document_of(*nested(MAX_DEPTH + 1, methods=GETS), deny("/b", methods=GETS), deny("/", host="other.example.com"))
    snapshot = with_documents(together(own), document_of(exchange("/"), source=BLUE))
    namespace = snapshot.namespace("red")
    assert namespace is not None
    assert namespace.over_depth == {HOST}
    assert [route.match.path_prefix for route in namespace.on(HOST)] == ["/"]
    for method in ("GET", "POST"):
        assert isinstance(snapshot.match(HOST, "/aaa", method), Unhealthy)
    assert snapshot.match("other.example.com", "/", "GET") == own.entries[-1]
    found = effective(snapshot)
    assert found.entries == own.entries[-1:]
    assert {problem.code for problem in found.findings} == {DEEP_ENTRIES}
    assert [problem.entry for problem in found.findings] == list(range(MAX_DEPTH + 2))
    narrower = with_documents(snapshot, document_of(*own.entries[1:]))
    assert narrower.match(HOST, "/aaa", "GET") == narrower.document(RED).entries[2]  # type: ignore[union-attr]
    assert narrower.match(HOST, "/aaa", "POST") == exchange("/", source=BLUE)


def test_over_depth_a_prefix_in_any_case_covers_the_one_as_written() -> None:
    own = document_of(*nested(MAX_DEPTH + 1), deny("/", case_insensitive=True), deny("/A"))
    namespace = together(own).namespace("red")
    assert namespace is not None
    assert [route.match for route in namespace.on(HOST)] == [MatchScope(HOST, "/", case_insensitive=True)]


def test_depth_adds_up_over_documents_and_not_over_namespaces() -> None:
    low, high = document_of(*nested(20), source=A), document_of(*nested(30)[20:], source=B)
    other = document_of(*nested(30)[20:], source=BLUE)
    assert codes(together(low, other), A) == []
    both = together(low, high)
    assert {*codes(both, A), *codes(both, B)} == {DEEP_ENTRIES.name}
    assert content(without(both, A)) == content(together(high))
    assert without(both, A).match(HOST, "/" + "a" * 29, "GET") == high.entries[-1]


def test_a_change_of_text_alone_keeps_routes_and_is_shown() -> None:
    own = document_of(*nested(MAX_DEPTH + 3))
    first = together(own)
    second = with_documents(first, attrs.evolve(own, text="# the same"))
    assert effective(second).text == "# the same"
    assert codes(second) == codes(first)
    assert content(second) == content(together(attrs.evolve(own, text="# the same")))


def test_a_version_has_documents_namespaces_and_counts() -> None:
    snapshot = PolicySnapshot.EMPTY
    assert (list(snapshot.documents()), snapshot.namespace("red"), snapshot.document(RED)) == ([], None, None)
    snapshot = together(parsed(MIXED), document_of(exchange("/"), source=BLUE), document_of(source=A))
    assert {one.source for one in snapshot.documents()} == {RED, BLUE, A}
    assert (snapshot.document_count, snapshot.entry_count, snapshot.invalid_documents) == (3, 4, 1)
    assert snapshot.document(Source("red", "other")) is None
    assert without(snapshot, RED, A).namespace("red") is None


def test_what_is_unreadable_yields_to_others_while_its_namespace_is_over_quota() -> None:
    """A document over quota closes its hosts for everybody; one that closes an unknown host alone does not."""
    unreadable = FailClosedScope(B, EVERYWHERE, "x")
    own = PolicyDocument(B, (), (unreadable, attrs.evolve(unreadable, index=1)))
    other = document_of(exchange("/"), source=BLUE)
    snapshot = within(NamespaceLimits(fail_closed_scopes=1), own, other, document_of(deny("/q"), source=A))
    assert snapshot.match(HOST, "/", "GET") == exchange("/", source=BLUE)
    assert isinstance(snapshot.match("other.example.com", "/", "GET"), Unhealthy)
    named = within(NamespaceLimits(entries=0), document_of(deny("/q"), source=A), other)
    assert isinstance(named.match(HOST, "/", "GET"), Unhealthy)
    guessed = PolicyDocument(B, (), tuple(FailClosedScope(B, MatchScope(HOST), "x", index, guessed=True) for index in (0, 1)))
    yielding = within(NamespaceLimits(fail_closed_scopes=1), guessed, other)
    assert effective(yielding, B).is_over_quota
    assert yielding.match(HOST, "/", "GET") == exchange("/", source=BLUE)


MANY_HOSTS = tuple(f"h{number}.example.com" for number in range(500))


def test_documents_that_close_all_that_is_granted_cost_that_once() -> None:
    """Twenty of 500 granted hosts each made 10,000 routes; 60 of 9,900 hosts would take half a gigabyte."""
    grants = Grants((attrs.evolve(OWN, hosts=MANY_HOSTS), BLUES))
    broken = [parsed("version: v2", Source("red", f"p{number:02}")) for number in range(40)]
    few = with_documents(PolicySnapshot(grants=grants), *broken[:20])
    many = with_documents(
        few, *broken[20:], document_of(deny("/x"), source=A), document_of(exchange("/x/y", host="h3.example.com"), source=BLUE)
    )
    for snapshot, closed in ((few, 0), (many, len(MANY_HOSTS))):
        namespace = snapshot.namespace("red")
        assert namespace is not None
        assert len(namespace.expansion.closed) == closed
        assert sum(there.count for there in namespace.routes.values()) <= MAX_EXPANDED
        for host in (MANY_HOSTS[0], MANY_HOSTS[-1]):
            assert isinstance(snapshot.match(host, "/x/z", "GET"), Unhealthy)
            assert snapshot.match(host, "/z", "GET") is NO_MATCH
        assert snapshot.match("other.example.com", "/x", "GET") is NO_MATCH
    assert many.match("h3.example.com", "/x/y", "GET") == exchange("/x/y", host="h3.example.com", source=BLUE)
    assert (many.invalid_documents, effective(many, broken[-1].source).problems) == (40, broken[-1].problems)
    back = without(many, *(one.source for one in broken[20:]), A, BLUE)
    assert content(back) == content(few)
    assert set(changed_documents(many, without(many, broken[0].source), [broken[0].source])) == {broken[0].source}
    assert {one.source for one in broken} <= set(changed_documents(many, back, [A]))


def test_entries_on_wildcards_above_many_granted_hosts_close_these_hosts_for_everybody() -> None:
    grants = Grants((attrs.evolve(OWN, hosts=MANY_HOSTS), BLUES))
    own = document_of(*(deny(f"/x/{number}", host="*.example.com") for number in range(21)), deny("/y", host="h3.example.com"))
    snapshot = with_documents(PolicySnapshot(grants=grants), own, document_of(exchange("/", host="h3.example.com"), source=BLUE))
    assert isinstance(snapshot.match("h3.example.com", "/x/99", "GET"), Unhealthy)
    assert snapshot.match("h3.example.com", "/z", "GET") == exchange("/", host="h3.example.com", source=BLUE)
    assert codes(snapshot) == [MANY_AREAS.name, *[PARTLY_OUTSIDE_GRANTS.name] * 21]
    assert effective(snapshot).entries == own.entries[-1:]


def test_a_granted_wildcard_counts_beside_many_granted_hosts_below_it() -> None:
    grants = Grants((attrs.evolve(OWN, hosts=("*.example.com",), path_prefixes=("",)), attrs.evolve(OWN, hosts=MANY_HOSTS)))
    own = document_of(*(deny(f"/x/{number}", host="*.example.com") for number in range(30)))
    snapshot = with_documents(PolicySnapshot(grants=grants), own)
    assert effective(snapshot).entries == own.entries
    assert snapshot.match("h3.example.com", "/x/7", "GET") == own.entries[7]


def test_grants_that_only_report_look_at_one_granted_host_of_each_entry() -> None:
    grants = Grants((attrs.evolve(OWN, hosts=MANY_HOSTS),), enforced=False)
    own = document_of(*(deny(f"/x/{number}", host="*.example.com") for number in range(30)), deny("/z", host="*.example.com"))
    with mock.patch.object(PathSet, "intersects", autospec=True, side_effect=PathSet.intersects) as compared:
        snapshot = with_documents(PolicySnapshot(grants=grants), own)
    assert compared.call_count <= 2 * 30 + len(MANY_HOSTS) + 1
    assert codes(snapshot) == [PARTLY_OUTSIDE_GRANTS.name] * 30 + [OUTSIDE_GRANTS.name]
    assert snapshot.match("other.example.com", "/z", "GET") == own.entries[-1]


def test_an_entry_that_names_a_granted_host_twice_closes_it_once() -> None:
    grants = Grants((OWN, BLUES))
    other = document_of(exchange("/"), deny("/admin", methods=frozenset({"HEAD"})), source=BLUE)
    scopes = [MatchScope(host, "/x", GETS) for host in (HOST, "*.example.com")]
    once, twice = (
        PolicyDocument(RED, (), tuple(FailClosedScope(RED, scope, "invalid", 0) for scope in own)) for own in (scopes[:1], scopes)
    )
    before = with_documents(PolicySnapshot(grants=grants), other)
    after = without(with_documents(with_documents(before, once), twice), RED)
    assert content(after) == content(before)
    assert after.match(HOST, "/admin", "HEAD") == other.entries[1]
