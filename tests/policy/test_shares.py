"""The share of a namespace: what exceeds it closes its own area, and what a request costs stays below a bound."""

from collections.abc import Iterable, Iterator
from functools import partial

import attrs
import pytest
from exchanger.policy.grants.restriction import closed_whole, restrict_again
from exchanger.policy.shares import MAX_CLOSING, MAX_LOOKUPS, Division, NamespaceLimits, Whole, _closing, shared
from rpds import HashTrieMap

from exchanger.codes.manifests import DEEP_ENTRIES, MANY_ENTRIES
from exchanger.policy import snapshot as snapshot_module
from exchanger.policy.documents.document import PolicyDocument
from exchanger.policy.grants.allowance import NO_GRANTS, Grants
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.values.entry import EVERYWHERE, Entry, FailClosedRegion, MatchScope, PathType, Source
from exchanger.values.verdict import NO_MATCH, Unhealthy
from tests.policy.examples import BLUE, HOST, RED, deny, exchange

GETS, POSTS = frozenset({"GET"}), frozenset({"POST"})
WHOLE = partial(closed_whole, NO_GRANTS)


def together(*documents: PolicyDocument, limits: NamespaceLimits | None = None) -> PolicySnapshot:
    return PolicySnapshot.EMPTY.with_limits(limits or NamespaceLimits()).changed({document.source: document for document in documents})


def document(*entries: Entry, name: str = "policy", namespace: str = "red") -> PolicyDocument:
    source = Source(namespace, name)
    return PolicyDocument(source, tuple(attrs.evolve(entry, source=source, index=index) for index, entry in enumerate(entries)))


def nested(count: int, **match: object) -> tuple[Entry, ...]:
    return tuple(deny("/" + "a" * length, **match) for length in range(count))  # type: ignore[arg-type]


def codes(snapshot: PolicySnapshot, source: Source = RED) -> list[str]:
    return [problem.code.name for problem in snapshot.documents[source].findings]


def test_nested_prefixes_are_in_force_up_to_the_share_and_closed_beyond() -> None:
    snapshot = together(document(*nested(MAX_LOOKUPS + 3)))
    inside, beyond = "/" + "a" * (MAX_LOOKUPS - 1), "/" + "a" * MAX_LOOKUPS
    assert snapshot.match(HOST, inside, "GET") == deny(inside, index=MAX_LOOKUPS - 1)
    assert isinstance(snapshot.match(HOST, beyond, "GET"), Unhealthy)
    assert isinstance(snapshot.match(HOST, beyond + "b", "GET"), Unhealthy)
    assert snapshot.match(HOST, "/b", "GET") == deny("/")
    assert codes(snapshot) == [DEEP_ENTRIES.name] * 3


@pytest.mark.parametrize(
    "entries",
    [
        nested(MAX_LOOKUPS),
        tuple(deny(f"/{number}", index=number) for number in range(500)),
        tuple(deny("/mcp", headers=(("mcp-method", "tools/call"), ("mcp-name", f"tool-{number}"))) for number in range(500)),
        tuple(deny("/", host=f"{number}.example.com") for number in range(500)),
        tuple(deny(f"/{number}", host="*.example.com") for number in range(500)) + nested(MAX_LOOKUPS - 3),
        (deny("/", headers=tuple((f"x-{number}", "1") for number in range(8))),),
        tuple(deny(f"/%C3%A9/{number}", case_insensitive=True) for number in range(500)),
    ],
)
def test_width_takes_nothing_from_the_share(entries: tuple[Entry, ...]) -> None:
    assert codes(together(document(*entries))) == []


@pytest.mark.parametrize(
    "entries",
    [
        nested(MAX_LOOKUPS // 2) + nested(MAX_LOOKUPS // 2 + 1, case_insensitive=True),
        tuple(deny("/", host="*." + ".".join("a" * labels)) for labels in range(1, MAX_LOOKUPS + 2)),
        tuple(deny("/", headers=((f"x{'-' * number}a", "1"),)) for number in range(MAX_LOOKUPS)),
        tuple(deny("/" + "a" * number, path_type=path_type) for number in range(1, 13) for path_type in (PathType.PREFIX, PathType.EXACT))
        + nested(1),
    ],
)
def test_depth_counts_wherever_it_comes_from(entries: tuple[Entry, ...]) -> None:
    assert DEEP_ENTRIES.name in codes(together(document(*entries)))


def test_what_exceeds_does_not_depend_on_the_order_of_documents_or_on_other_namespaces() -> None:
    entries = nested(MAX_LOOKUPS + 8)
    documents = [document(*entries[start::4], name=f"policy-{start}") for start in range(4)]
    other = document(*(attrs.evolve(entry, source=BLUE) for entry in entries), namespace="blue")
    first = together(*documents)
    assert sum(len(one.regions) for one in first.documents.values()) == 8
    for order in (documents, documents[::-1], [documents[2], other, documents[0], documents[3], documents[1]]):
        snapshot = PolicySnapshot.EMPTY
        for one in order:
            snapshot = snapshot.apply(one)
        assert snapshot.withdraw(other.source) == first
    assert first.withdraw(documents[0].source) == together(*documents[1:])
    assert all(one.alone is None for one in first.withdraw(documents[0].source).documents.values())


def test_an_excess_is_mended_when_something_else_goes_away() -> None:
    low, high = document(*nested(20), name="a"), document(*nested(30)[20:], name="b")
    both = together(low, high)
    assert isinstance(both.match(HOST, "/" + "a" * 29, "GET"), Unhealthy)
    assert both.withdraw(low.source) == together(high)
    assert both.withdraw(low.source).match(HOST, "/" + "a" * 29, "GET") == high.entries[-1]
    assert restrict_again(both.documents[high.source], Grants(limited=False)) == high


def test_a_namespace_has_so_many_entries_and_the_rest_is_closed() -> None:
    documents = [document(*(deny(f"/{name}/{number}") for number in range(4)), name=name) for name in "ab"]
    snapshot = together(*documents[::-1], limits=NamespaceLimits(entries=6))
    assert codes(snapshot, documents[0].source) == []
    assert codes(snapshot, documents[1].source) == [MANY_ENTRIES.name] * 2
    assert snapshot.match(HOST, "/b/1", "GET") == documents[1].entries[1]
    assert isinstance(snapshot.match(HOST, "/b/3", "GET"), Unhealthy)
    assert snapshot.match(HOST, "/c", "GET") is NO_MATCH


def test_more_areas_than_a_namespace_may_close_without_grants_close_what_nobody_else_decides() -> None:
    regions = tuple(FailClosedRegion(RED, MatchScope(HOST, f"/{number}"), "broken") for number in range(2))
    (changed,) = shared([PolicyDocument(RED, regions=regions, text="version: v2")], NamespaceLimits(areas=1), WHOLE).changed.values()
    assert [region.match for region in changed.regions] == [EVERYWHERE]
    assert changed.aside is not None
    # Setting one aside that closes a single area would close more, and keep as much.
    sources = [Source("red", name) for name in "ab"]
    single = [PolicyDocument(source, regions=(attrs.evolve(regions[0], source=source),), text="version: v2") for source in sources]
    assert not shared(single, NamespaceLimits(areas=1), WHOLE).changed


def test_an_area_is_closed_for_its_own_methods_and_paths() -> None:
    deep = (
        *nested(MAX_LOOKUPS, methods=GETS),
        deny("/" + "a" * MAX_LOOKUPS, methods=GETS),
        deny("/" + "a" * (MAX_LOOKUPS + 1), methods=POSTS),
    )
    snapshot = together(document(*deep))
    path = "/" + "a" * MAX_LOOKUPS
    assert isinstance(snapshot.match(HOST, path, "GET"), Unhealthy)
    assert snapshot.match(HOST, path, "POST") is NO_MATCH
    assert isinstance(snapshot.match(HOST, path + "a", "POST"), Unhealthy)
    assert isinstance(snapshot.match(HOST, path + "a", "GET"), Unhealthy)


def closing(snapshot: PolicySnapshot) -> Iterator[MatchScope]:
    for one in snapshot.documents.values():
        yield from (region.match for region in one.closing or ())


def test_what_closes_is_not_nested_deeply_itself() -> None:
    same = together(document(*nested(200)))
    assert [scope.path_prefix for scope in closing(same)] == ["/" + "a" * MAX_LOOKUPS]
    methods = together(document(*(deny("/" + "a" * number, methods=frozenset({f"M{number}"})) for number in range(200))))
    assert len(list(closing(methods))) <= 8
    assert isinstance(methods.match(HOST, "/" + "a" * 199, "M199"), Unhealthy)


def test_nothing_is_shared_out_where_nothing_exceeds() -> None:
    assert shared([document(exchange("/"), *nested(MAX_LOOKUPS - 1)[1:])], NamespaceLimits(), WHOLE) == Division(
        HashTrieMap(), MAX_LOOKUPS - 1
    )


def test_what_closes_for_another_document_stays_until_that_is_closed_again() -> None:
    deep = nested(MAX_LOOKUPS + 4)
    first, low = document(*deep[MAX_LOOKUPS : MAX_LOOKUPS + 1], name="a"), document(*deep[:MAX_LOOKUPS], name="b")
    high = document(*deep[MAX_LOOKUPS + 1 :], name="c")
    path = "/" + "a" * (MAX_LOOKUPS + 3)
    snapshot = together(first, low, high)
    assert list(snapshot.documents[high.source].closing or ()) == []
    leaving = snapshot.leave(first.source)
    assert isinstance(snapshot.match(HOST, path, "GET"), Unhealthy)
    assert isinstance(leaving.match(HOST, path, "GET"), Unhealthy)
    assert leaving.swept(first.source) == together(low, high)
    assert isinstance(leaving.swept(first.source).match(HOST, path, "GET"), Unhealthy)


def test_what_is_closed_for_another_reason_is_not_closed_together() -> None:
    """A region that a part of another entry makes keeps its own area, however many are nested: none of them covers it."""
    scopes = [MatchScope(HOST, "/" + "a" * length, frozenset({f"M{length}"})) for length in range(MAX_CLOSING)]
    nested_regions = [FailClosedRegion(RED, scope, "closed", index) for index, scope in enumerate(scopes)]
    guessed = FailClosedRegion(RED, MatchScope(HOST, "/" + "a" * 20), "closed", 20, guessed=True)
    kept = _closing([*nested_regions, guessed])
    assert guessed in kept.values()
    assert len(kept) == MAX_CLOSING + 1


def test_a_document_beyond_its_share_may_come_again_with_another_text() -> None:
    beyond = document(*nested(MAX_LOOKUPS + 3))
    again_with = attrs.evolve(beyond, text="# the same")
    snapshot = together(beyond).apply(again_with)
    assert snapshot == together(again_with)
    assert codes(snapshot) == [DEEP_ENTRIES.name] * 3


@pytest.fixture
def divided(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of documents of each division."""
    found: list[int] = []

    def counted(documents: Iterable[PolicyDocument], limits: NamespaceLimits, whole: Whole) -> Division:
        all_of_them = list(documents)
        found.append(len(all_of_them))
        return shared(all_of_them, limits, whole)

    monkeypatch.setattr(snapshot_module, "shared", counted)
    return found


def test_a_share_is_divided_again_once_in_as_many_changes_as_it_has_room_for(divided: list[int]) -> None:
    snapshot = PolicySnapshot.EMPTY
    for number in range(10 * MAX_LOOKUPS):
        snapshot = snapshot.apply(document(deny(f"/{number}"), deny(f"/{number}/a"), name=f"policy-{number}"))
    assert 0 < len(divided) <= 10 * 2 + 1
    for number in range(10 * MAX_LOOKUPS - 1):
        snapshot = snapshot.withdraw(Source("red", f"policy-{number}"))
    assert len(divided) <= 10 * 2 + 1
    assert snapshot == together(document(deny(f"/{number + 1}"), deny(f"/{number + 1}/a"), name=f"policy-{number + 1}"))


def test_documents_on_hosts_of_their_own_add_nothing_to_one_another(divided: list[int]) -> None:
    snapshot = PolicySnapshot.EMPTY
    for number in range(10 * MAX_LOOKUPS):
        entries = (deny("/", host=f"h{number}.example.com"), deny("/a", host=f"h{number}.example.com"))
        snapshot = snapshot.apply(document(*entries, name=f"policy-{number}"))
    assert divided == []
    # What covers them all counts on each of them.
    depth = [deny("/" + "a" * length, host="*.example.com") for length in range(1, MAX_LOOKUPS)]
    snapshot = snapshot.apply(document(*depth, name="wildcard"))
    assert divided == [10 * MAX_LOOKUPS + 1]
    assert snapshot.invalid_documents == 10 * MAX_LOOKUPS
