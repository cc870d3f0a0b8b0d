"""What a request costs while documents leave: each cell is sifted once, and all of them within one budget, counted in claims."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import attrs
import pytest
from exchanger.policy.policy_trie import MAX_LOOKED_AT, MAX_SIFTED, Cell, PolicyTrie

from exchanger.policy import conflicts
from exchanger.policy.documents.document import PolicyDocument
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.values.entry import Claim, DenyEntry, Entry, Source
from exchanger.values.verdict import NO_MATCH, Unhealthy
from tests.policy.examples import BLUE, RED, deny, exchange, snapshot_of

HOST = "a.b.c.example.com"
WILDCARDS = (HOST, "*.b.c.example.com", "*.c.example.com", "*.example.com")
# Below eight prefixes, and sixteen paths for servers.
PATH = "/1/2/3/4/5/6/7/8;x/%61//./k"
PREFIXES = tuple("/" + "/".join("12345678"[:count]) for count in range(1, 9))
GREEN = Source("green", "policy")


@attrs.define(eq=False)
class Counted:
    looked_at: int = 0
    held_back: int = 0


@contextmanager
def counting() -> Iterator[Counted]:
    counted = Counted()
    is_leaving, without_claim = PolicyTrie.is_leaving, Cell.without_claim

    def counted_looks(trie: PolicyTrie, claim: Claim) -> bool:
        counted.looked_at += 1
        return is_leaving(trie, claim)

    def counted_removals(cell: Cell, claim: Claim) -> Cell | None:
        counted.held_back += 1
        return without_claim(cell, claim)

    with mock.patch.object(PolicyTrie, "is_leaving", counted_looks), mock.patch.object(Cell, "without_claim", counted_removals):
        yield counted


def everywhere(source: Source, each: int) -> tuple[Entry, ...]:
    """Return ``each`` entries at each prefix on each host, for one method each."""
    places = [(host, prefix, frozenset({f"M{number}"})) for host in WILDCARDS for prefix in PREFIXES for number in range(each)]
    return tuple(deny(prefix, source=source, index=index, host=host, methods=of) for index, (host, prefix, of) in enumerate(places))


def several(*documents: PolicyDocument) -> PolicySnapshot:
    """Return the documents together, with room for all of their entries."""
    snapshot = PolicySnapshot.EMPTY
    for document in documents:
        snapshot = snapshot._with(document)
    return snapshot


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(("each", "staying"), [(1, 0), (5, 0), (1, 100)])
def test_a_request_beside_leaving_documents_has_one_budget_wherever_their_entries_are(method: str, each: int, staying: int) -> None:
    leaving = PolicyDocument(RED, (*everywhere(RED, each), deny("/", host=HOST, index=9_999)))
    crowd = PolicyDocument(BLUE, everywhere(BLUE, staying))
    newest = several(leaving, crowd).leave(RED)
    snapshot = attrs.evolve(newest, held=(several(leaving, PolicyDocument(GREEN, everywhere(GREEN, 1))).leave(RED),))

    with counting() as counted:
        found = snapshot.match(HOST, PATH, method, raw=True)

    assert counted.looked_at <= MAX_LOOKED_AT + 1
    assert counted.held_back <= MAX_SIFTED
    exceeds = each * len(WILDCARDS) * len(PREFIXES) > MAX_SIFTED or staying > 0
    assert isinstance(found, Unhealthy) == exceeds
    assert exceeds or found is NO_MATCH


def test_each_cell_is_sifted_once_however_often_the_path_can_be_read() -> None:
    snapshot = snapshot_of(deny("/", source=RED, host=HOST), exchange("/1", source=BLUE, host=HOST)).leave(RED)
    with counting() as counted:
        assert snapshot.match(HOST, PATH, "GET", raw=True) == exchange("/1", source=BLUE, host=HOST)
    assert (counted.looked_at, counted.held_back) == (0, 0)  # nothing that leaves decides
    snapshot = snapshot_of(deny("/1/2", source=RED, host=HOST), exchange("/1", source=BLUE, host=HOST)).leave(RED)
    with counting() as counted:
        assert snapshot.match(HOST, PATH, "GET", raw=True) == exchange("/1", source=BLUE, host=HOST)
    assert (counted.looked_at, counted.held_back) == (2, 1)


@pytest.mark.parametrize(
    ("claims", "looked_at"),
    [
        ((deny("/", host=HOST, index=1),), 0),
        ((deny("/1", source=RED, host=HOST, methods=frozenset({"HEAD"})),), 2),
        ((deny("/1", source=RED, host=HOST, methods=frozenset({"GET"})),), 2),
        ((deny("/other", source=RED, host=HOST),), 0),
    ],
)
def test_head_is_sifted_where_one_of_its_decisions_may_not_stay(claims: tuple[Entry, ...], looked_at: int) -> None:
    of_red = tuple(attrs.evolve(claim, source=RED) for claim in claims if claim.match.path_prefix != "/")
    staying = deny("/", source=BLUE, host=HOST)
    snapshot = snapshot_of(*(of_red or (deny("/other", source=RED, host=HOST),)), staying).leave(RED)
    with counting() as counted:
        assert snapshot.match(HOST, "/1", "HEAD") == staying
    assert counted.looked_at == looked_at


def test_a_conflict_is_told_without_what_leaves() -> None:
    rivals = (exchange("/1", source=BLUE, host=HOST), exchange("/1", source=GREEN, host=HOST))
    snapshot = snapshot_of(*rivals, DenyEntry(RED, 0, rivals[0].match)).leave(RED)
    assert set(conflicts.contenders(snapshot, HOST, "/1", "GET", raw=True)) == set(rivals)
