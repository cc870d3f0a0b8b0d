"""Entries tie exactly when a request exists that the snapshot refuses for it."""

import pytest

from exchanger.policy.cell import TIE
from exchanger.policy.conflicts import MAX_PREFIX, MAX_RIVALS, rivals_of
from exchanger.policy.document import PolicyDocument
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.values.entry import Area, DenyEntry, Region, Source


def documents(*areas: Area) -> tuple[PolicySnapshot, list[DenyEntry]]:
    """Return a snapshot with a document for each area, and their entries."""
    entries = [DenyEntry(Source("team", f"p{number}"), 0, area) for number, area in enumerate(areas)]
    snapshot = PolicySnapshot.EMPTY
    for entry in entries:
        snapshot = snapshot.apply(PolicyDocument(entry.source, (entry,)))
    return snapshot, entries


GET, HEAD, POST = frozenset({"GET"}), frozenset({"HEAD"}), frozenset({"POST"})


@pytest.mark.parametrize(
    ("one", "other", "path", "tie"),
    [
        (Area("h", "/a"), Area("h", "/a"), "/a", True),
        (Area("h", "/a", GET), Area("h", "/a"), "/a", True),
        (Area("h", "/a"), Area("h", "/a", GET), "/a", True),
        (Area("h", "/a", GET), Area("h", "/a", GET | POST), "/a", True),
        (Area("h", "/a", GET), Area("h", "/a", POST), "/a", False),
        (Area("h", "/a"), Area("h", "/ab"), "/a", False),
        (Area("h", "/ab"), Area("h", "/a"), "/ab", False),
        (Area("h", "/a"), Area("i", "/a"), "/a", False),
        (Area("h", "/%41"), Area("h", "/A"), "/A", False),
        (Area("h", "/%41"), Area("h", "/A"), "/%41", False),
        (Area("h", "/ä"), Area("h", "/%C3%A4"), "/%C3%A4", True),
        (Area("h", "/A/b"), Area("h", "/a/B", case_insensitive=True), "/A/b", True),
        (Area("h", "/a/B", case_insensitive=True), Area("h", "/A/b"), "/A/b", True),
        (Area("h", "/A", case_insensitive=True), Area("h", "/a", case_insensitive=True), "/a", True),
        (Area("h", "/é/A"), Area("h", "/é/a", case_insensitive=True), "/é/A", True),
        (Area("h", "/A", GET), Area("h", "/a", POST, case_insensitive=True), "/A", False),
        (Area("h", "/A"), Area("h", "/ab", case_insensitive=True), "/A", False),
        (Area("h", "/abc"), Area("h", "/aB", case_insensitive=True), "/abc", False),
        (Area("h", "/aBd", case_insensitive=True), Area("h", "/abc"), "/abc", False),
        (Area("h", "/a", HEAD), Area("h", "/a", GET), "/a", False),
    ],
)
def test_a_tie_is_what_the_snapshot_refuses(one: Area, other: Area, path: str, *, tie: bool) -> None:
    snapshot, (first, second) = documents(one, other)
    assert (snapshot.match("h", path, "GET") is TIE) == tie
    assert rivals_of(first, snapshot) == ((second,) if tie else ())
    assert rivals_of(second, snapshot) == ((first,) if tie else ())


def test_an_entry_is_no_rival_of_itself() -> None:
    snapshot, (only,) = documents(Area("h", "/%41", GET | POST))
    assert rivals_of(only, snapshot) == ()


def test_entries_of_one_document_tie_too() -> None:
    source = Source("team", "p")
    first, second = (DenyEntry(source, index, Area("h", "/a")) for index in range(2))
    snapshot = PolicySnapshot.EMPTY.apply(PolicyDocument(source, (first, second)))
    assert rivals_of(first, snapshot) == (second,)


def test_a_region_where_a_twin_would_be_is_no_rival() -> None:
    snapshot, (entry,) = documents(Area("h", "/a", case_insensitive=True))
    region = Region(Source("other", "p"), Area("h", "/A"), "cannot be read")
    assert rivals_of(entry, snapshot.apply(PolicyDocument(region.source, (), (region,)))) == ()


def test_rivals_are_bounded() -> None:
    snapshot, entries = documents(*[Area("h", "/a")] * 20)
    assert len(rivals_of(entries[0], snapshot)) == MAX_RIVALS


@pytest.mark.parametrize("area", [Area("other", "/a"), Area("h", "/other")])
def test_an_entry_of_another_snapshot_is_a_mistake_of_the_caller(area: Area) -> None:
    snapshot, _ = documents(Area("h", "/a"))
    with pytest.raises(KeyError):
        rivals_of(DenyEntry(Source("team", "p"), 0, area), snapshot)


def test_rivals_at_prefixes_that_no_server_takes_are_not_looked_for() -> None:
    snapshot, (long, _, short, _) = documents(*(Area("h", "/" + "a" * size) for size in (MAX_PREFIX, MAX_PREFIX, 1, 1)))
    assert rivals_of(long, snapshot) == ()
    assert len(rivals_of(short, snapshot)) == 1
