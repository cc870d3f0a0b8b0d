"""Entries tie exactly when a request exists that the snapshot refuses for it."""

from itertools import product

import pytest

from exchanger.model.entry import DenyEntry, FailClosedScope, MatchScope, Source
from exchanger.policy.conflicts import (
    MAX_CLAIMS,
    MAX_CONFLICTS,
    MAX_PREFIX,
    MAX_RIVALS,
    MAX_VARIANT_WORK,
    ROUTES_PER_STEP,
    STEP,
    VARIANT_STEP,
    Conflict,
    conflicts_of,
    conflicts_with,
    contenders,
    documents_in_conflict,
)
from exchanger.policy.documents.document import PolicyDocument
from exchanger.policy.grants.allowance import Grants, NamespaceGrant
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.policy.steps import Steps
from exchanger.policy.table import CONFLICT


def documents(*areas: MatchScope) -> tuple[PolicySnapshot, list[DenyEntry]]:
    """Return a snapshot with a document for each area, and their entries."""
    entries = [DenyEntry(Source("team", f"p{number}"), 0, area) for number, area in enumerate(areas)]
    snapshot = PolicySnapshot.EMPTY
    for entry in entries:
        snapshot = snapshot.changed({entry.source: PolicyDocument(entry.source, (entry,))})
    return snapshot, entries


GET, HEAD, POST = frozenset({"GET"}), frozenset({"HEAD"}), frozenset({"POST"})


@pytest.mark.parametrize(
    ("one", "other", "path", "tie"),
    [
        (MatchScope("h", "/a"), MatchScope("h", "/a"), "/a", True),
        (MatchScope("h", "/a", GET), MatchScope("h", "/a"), "/a", True),
        (MatchScope("h", "/a"), MatchScope("h", "/a", GET), "/a", True),
        (MatchScope("h", "/a", GET), MatchScope("h", "/a", GET | POST), "/a", True),
        (MatchScope("h", "/a", GET), MatchScope("h", "/a", POST), "/a", False),
        (MatchScope("h", "/a"), MatchScope("h", "/ab"), "/a", False),
        (MatchScope("h", "/ab"), MatchScope("h", "/a"), "/ab", False),
        (MatchScope("h", "/a"), MatchScope("i", "/a"), "/a", False),
        (MatchScope("h", "/%41"), MatchScope("h", "/A"), "/A", False),
        (MatchScope("h", "/%41"), MatchScope("h", "/A"), "/%41", False),
        (MatchScope("h", "/ä"), MatchScope("h", "/%C3%A4"), "/%C3%A4", True),
        (MatchScope("h", "/A/b"), MatchScope("h", "/a/B", case_insensitive=True), "/A/b", True),
        (MatchScope("h", "/a/B", case_insensitive=True), MatchScope("h", "/A/b"), "/A/b", True),
        (MatchScope("h", "/A", case_insensitive=True), MatchScope("h", "/a", case_insensitive=True), "/a", True),
        (MatchScope("h", "/é/A"), MatchScope("h", "/é/a", case_insensitive=True), "/é/A", True),
        (MatchScope("h", "/A", GET), MatchScope("h", "/a", POST, case_insensitive=True), "/A", False),
        (MatchScope("h", "/A"), MatchScope("h", "/ab", case_insensitive=True), "/A", False),
        (MatchScope("h", "/abc"), MatchScope("h", "/aB", case_insensitive=True), "/abc", False),
        (MatchScope("h", "/aBd", case_insensitive=True), MatchScope("h", "/abc"), "/abc", False),
        (MatchScope("h", "/a", HEAD), MatchScope("h", "/a", GET), "/a", False),
    ],
)
def test_a_tie_is_what_the_snapshot_refuses(one: MatchScope, other: MatchScope, path: str, *, tie: bool) -> None:
    snapshot, (first, second) = documents(one, other)
    assert (snapshot.match("h", path, "GET") is CONFLICT) == tie
    assert conflicts_with(first, snapshot) == ((second,) if tie else ())
    assert conflicts_with(second, snapshot) == ((first,) if tie else ())
    assert contenders(snapshot, "h", path, "GET", raw=True) == ((first, second) if tie else ())


def test_entries_tie_by_their_headers_too() -> None:
    headers = (("a", "1"), ("b", "2"))
    same, (first, second) = documents(MatchScope("h", "/a", headers=headers), MatchScope("h", "/a", headers=headers))
    assert conflicts_with(first, same) == (second,)
    for other in ((), (("a", "1"),), (("a", "1"), ("b", "3")), (("c", "1"),)):
        for folded in (False, True):
            twin = MatchScope("h", "/a", case_insensitive=folded, headers=other)
            different, (first, _) = documents(MatchScope("h", "/a", headers=headers), twin)
            assert conflicts_with(first, different) == ()


def test_rivals_are_named_where_a_match_finds_them() -> None:
    snapshot, entries = documents(MatchScope("h", "/"), MatchScope("h", "/"))
    for host, path in (("h", "/a"), ("h", "/%zz"), ("a~b", "/a"), ("other", "/a")):
        rivals = entries if snapshot.match(host, path, "GET", raw=True) is CONFLICT else []
        assert contenders(snapshot, host, path, "GET", raw=True) == tuple(rivals)


def test_no_rivals_are_named_where_only_a_mark_hints_at_them() -> None:
    snapshot, _ = documents(MatchScope("h", "/é"), MatchScope("h", "/é"))
    assert contenders(snapshot, "h", "/!", "GET", raw=False) == ()


def test_entries_of_one_document_tie_too() -> None:
    source = Source("team", "p")
    first, second = (DenyEntry(source, index, MatchScope("h", "/a")) for index in range(2))
    snapshot = PolicySnapshot.EMPTY.changed({source: PolicyDocument(source, (first, second))})
    assert conflicts_with(first, snapshot) == (second,)


def test_a_closed_scope_where_a_twin_would_be_is_no_rival() -> None:
    snapshot, (entry,) = documents(MatchScope("h", "/a", case_insensitive=True))
    closed_scope = FailClosedScope(Source("other", "p"), MatchScope("h", "/A"), "cannot be read")
    assert conflicts_with(entry, snapshot.changed({closed_scope.source: PolicyDocument(closed_scope.source, (), (closed_scope,))})) == ()


def test_rivals_are_bounded() -> None:
    snapshot, entries = documents(*[MatchScope("h", "/a")] * 20)
    assert len(conflicts_with(entries[0], snapshot)) == MAX_RIVALS


@pytest.mark.parametrize("area", [MatchScope("other", "/a"), MatchScope("h", "/other")])
def test_an_entry_of_another_snapshot_has_no_rivals(area: MatchScope) -> None:
    snapshot, _ = documents(MatchScope("h", "/a"))
    assert conflicts_with(DenyEntry(Source("other", "p"), 0, area), snapshot) == ()


@pytest.mark.parametrize("case_insensitive", [False, True])
def test_a_very_long_prefix_conflicts_with_those_spelt_alike(case_insensitive: bool) -> None:
    prefixes = ["/" + letter * MAX_PREFIX + "%7E" for letter in ("a", "a", "b")]
    snapshot, (long, twin, _) = documents(*(MatchScope("h", prefix, case_insensitive=case_insensitive) for prefix in prefixes))
    assert conflicts_with(long, snapshot) == (twin,)


def test_both_documents_of_a_conflict_are_listed_if_one_misses_it() -> None:
    many = frozenset(f"M{number:04}" for number in range(20 * MAX_CLAIMS))
    entries = [
        DenyEntry(Source("team", name), 0, MatchScope("h", "/a", methods)) for name, methods in (("p", many), ("q", frozenset({"M0007"})))
    ]
    snapshot = PolicySnapshot.EMPTY
    for entry in entries:
        snapshot = snapshot.changed({entry.source: PolicyDocument(entry.source, (entry,))})
    assert set(documents_in_conflict(snapshot)) - {None} == {entry.source for entry in entries}


def test_prefixes_that_differ_only_in_case_cost_bounded_work(monkeypatch: pytest.MonkeyPatch) -> None:
    letters = "abcdefghijk"
    others = ["".join(chars) for chars in product(*((char, char.upper()) for char in letters))]
    theirs = tuple(DenyEntry(Source("evil", "p"), index, MatchScope("h", f"/{prefix}")) for index, prefix in enumerate(others))
    own = tuple(
        DenyEntry(Source("team", "p"), index, MatchScope("h", f"/{letters}{index:03}", case_insensitive=True)) for index in range(200)
    )
    twin = DenyEntry(Source("team", "p"), len(own), MatchScope("h", "/other", case_insensitive=True))
    blue = DenyEntry(Source("blue", "p"), 0, MatchScope("h", "/OTHER"))
    written = [PolicyDocument(entries[0].source, entries) for entries in (theirs, (twin, *own), (blue,))]
    snapshot = PolicySnapshot.EMPTY.changed({document.source: document for document in written})
    document = snapshot.document(twin.source)
    assert document is not None
    counts, take = [0], Steps.take

    def counted(steps: Steps, number: int) -> bool:
        counts[-1] += number
        return take(steps, number)

    monkeypatch.setattr(Steps, "take", counted)
    found = []
    for conflict in conflicts_of(document, snapshot):
        found += [] if conflict is None else [conflict.entry]
        counts += [0] if conflict is None else []
    longest = len(letters) + 1
    assert found == [twin]
    assert max(counts) <= VARIANT_STEP + MAX_VARIANT_WORK + longest
    assert sum(counts) <= MAX_VARIANT_WORK + sum(2 * len(entry.match.path_prefix) + longest for entry in document.entries)


def test_the_conflicts_of_a_document_come_in_steps_and_are_bounded() -> None:
    crowded, apart = Source("team", "p"), Source("team", "q")
    snapshot = PolicySnapshot.EMPTY
    for source, prefixes in ((crowded, ["/a"] * 5 * STEP), (apart, [f"/b{number:03}" for number in range(5 * STEP)])):
        entries = tuple(DenyEntry(source, index, MatchScope("h", prefix)) for index, prefix in enumerate(prefixes))
        snapshot = snapshot.changed({source: PolicyDocument(source, entries)})
    found = list(conflicts_of(snapshot.document(crowded), snapshot))
    assert [conflict.entry.index for conflict in found if conflict is not None] == list(range(MAX_CONFLICTS))
    assert list(conflicts_of(snapshot.document(apart), snapshot)) == [None] * 6
    assert list(conflicts_of(None, snapshot)) == [None]
    assert [source for source in documents_in_conflict(snapshot) if source is not None] == [crowded]


def test_a_conflict_names_its_rivals() -> None:
    here, there = DenyEntry(Source("team", "p"), 1, MatchScope("h", "/a")), DenyEntry(Source("team", "q"), 2, MatchScope("h", "/a"))
    assert str(Conflict(here, (here, there))) == (
        "entries[1] shares a host, method and pathPrefix with entries[1], team/q entries[2]: such requests are refused"
    )


def test_rivals_are_found_among_thousands_of_entries_of_one_place() -> None:
    count = 4_000
    written = [
        PolicyDocument(
            source, tuple(DenyEntry(source, index, MatchScope("h", "/a", headers=(("x", f"{value}"),))) for index, value in values)
        )
        for source, values in ((Source("red", "p"), enumerate(range(count))), (Source("blue", "p"), enumerate(reversed(range(count)))))
    ]
    snapshot = PolicySnapshot.EMPTY.changed({document.source: document for document in written})
    first = next(conflict for conflict in conflicts_of(snapshot.document(Source("red", "p")), snapshot) if conflict is not None)
    assert [(rival.source.namespace, rival.index) for rival in first.rivals] == [("blue", count - 1)]
    assert set(documents_in_conflict(snapshot)) - {None} == {document.source for document in written}


def test_entries_conflict_where_written_although_grants_keep_them_apart() -> None:
    grants = Grants(
        tuple(
            NamespaceGrant(frozenset({name}), None, (host,), (path,))
            for name, own in (("red", "/ab"), ("blue", "/ac"))
            for host, path in (("*.example", "/a"), ("h.example", own))
        )
    )
    entries = [DenyEntry(Source(name, "p"), 0, MatchScope("*.example", "/a")) for name in ("red", "blue")]
    outside = DenyEntry(entries[0].source, 1, MatchScope("elsewhere", "/a"))
    documents = [PolicyDocument(entries[0].source, (entries[0], outside)), PolicyDocument(entries[1].source, (entries[1],))]
    snapshot = PolicySnapshot(grants).changed({document.source: document for document in documents})
    assert (conflicts_with(entries[0], snapshot), conflicts_with(outside, snapshot)) == ((entries[1],), ())
    assert isinstance(snapshot.match("h.example", "/ab", "GET"), DenyEntry)


@pytest.mark.parametrize("steps", range(4))
def test_a_step_of_the_budget_finds_rivals_among_so_many_entries(steps: int) -> None:
    count = steps * ROUTES_PER_STEP
    for others, is_found in ((count - 2, steps > 0), (count - 1, False)):
        between = [MatchScope("h", "/a", headers=(("x", f"{number}"),)) for number in range(others)]
        snapshot, (first, *_, last) = documents(MatchScope("h", "/a"), *between, MatchScope("h", "/a"))
        assert conflicts_with(first, snapshot, Steps(steps)) == ((last,) if is_found else ())
