"""The trie with its cells and tables of methods: what is found where claims meet, and that removing undoes adding."""

from itertools import permutations

import attrs
import pytest
from exchanger.policy.lookup import CONFLICT, SEVERAL_REGIONS, Beyond, Found, UnreadableReach, find
from exchanger.policy.methods import CONTESTED, MethodTable
from exchanger.policy.policy_trie import PolicyTrie
from exchanger.policy.trie import PrefixTrie

from exchanger.policy.headers import RequestHeaders
from exchanger.policy.interpretation import Interpretation
from exchanger.values.entry import EVERYWHERE, Claim, Entry, GrantedArea, MatchScope, Source
from exchanger.values.request import NO_FIELDS
from exchanger.values.verdict import Unhealthy
from tests.policy.examples import BLUE, HOST, deny, exchange, region

GET, HEAD, PUT = (frozenset({method}) for method in ("GET", "HEAD", "PUT"))


def trie_of(*claims: Claim) -> PolicyTrie:
    trie = PolicyTrie()
    for claim in claims:
        trie = trie.with_claim(claim)
    return trie


def found(trie: PolicyTrie, path: str, method: str = "GET", host: str | None = HOST, *, rewritten: bool = False) -> Found | None:
    headers = RequestHeaders(NO_FIELDS)
    beyond = Beyond(trie, host, UnreadableReach.GLOBAL)
    return find(trie, trie.hosts.places(host), beyond, Interpretation(path, rewritten), method, headers)


def table_of(*entries: Entry) -> MethodTable[Entry]:
    table: MethodTable[Entry] = MethodTable()
    for entry in entries:
        table = table.with_claim(entry)
    return table


EVERY, GETS, HEADS = deny("/"), deny("/", methods=GET, index=1), deny("/", methods=HEAD, source=BLUE)


@pytest.mark.parametrize(
    ("entries", "answers"),
    [
        ([], {"GET": None}),
        ([EVERY], {"GET": EVERY, "HEAD": EVERY}),
        ([EVERY, EVERY], {"GET": EVERY}),
        ([EVERY, exchange("/", source=BLUE)], {"GET": CONTESTED}),
        ([EVERY, GETS], {"GET": CONTESTED, "PUT": EVERY, "HEAD": EVERY}),
        ([GETS, deny("/", methods=GET | PUT, source=BLUE)], {"GET": CONTESTED, "HEAD": None, "POST": None}),
        ([GETS], {"GET": GETS, "HEAD": None, "get": None, "OPTIONS": None, "": None}),
        ([GETS, HEADS], {"GET": GETS, "HEAD": HEADS}),
        ([HEADS], {"GET": None}),
    ],
)
def test_claims_meet_method_by_method(entries: list[Entry], answers: dict[str, object]) -> None:
    assert {method: table_of(*entries).of(method) for method in answers} == answers


@pytest.mark.parametrize("order", [*permutations([EVERY, GETS, deny("/", methods=GET | PUT, index=2), exchange("/", source=BLUE)])])
def test_a_removed_claim_leaves_nothing_in_its_table(order: tuple[Entry, ...]) -> None:
    table: MethodTable[Entry] | None = table_of(*order)
    for count, entry in enumerate(order, start=1):
        assert table is not None
        table = table.without_claim(entry)
        assert table == (table_of(*order[count:]) if order[count:] else None)


def test_removing_what_is_not_there_changes_nothing() -> None:
    table, trie, strangers = table_of(EVERY), trie_of(exchange("/a")), (deny("/", source=BLUE), deny("/", source=BLUE, methods=GET))
    assert [table.without_claim(stranger) for stranger in strangers] == [table, table]
    for claim in (*strangers, deny("/b", source=BLUE, host="other.example.com"), region("", source=BLUE, host=None)):
        assert trie.without_claim(claim) == trie


@pytest.mark.parametrize("where", ["", "/", "/a", "/a/b/c"])
def test_a_region_wins_over_everything_inside_it(where: str) -> None:
    assert found(trie_of(exchange("/a/b"), region(where, source=BLUE)), "/a/b/c") == Unhealthy(f"region of {BLUE}", BLUE, 0)
    assert found(trie_of(region(where), region(where, source=BLUE)), "/a/b/c") is SEVERAL_REGIONS


def test_an_entry_is_found_under_each_spelling_and_does_not_conflict_with_itself() -> None:
    entry = exchange("/a%2fb")
    trie = trie_of(entry)
    assert found(trie, "/a%2fb/c") is found(trie, "/a/b/c") is found(trie, "/a/b/c", rewritten=True) is entry
    assert trie.without_claim(entry) == PolicyTrie()


def test_a_decoded_spelling_comes_after_a_written_one() -> None:
    escaped, short, same = deny("/a%2fb", source=BLUE), exchange("/a"), exchange("/a/b", index=1)
    trie = trie_of(escaped, short)
    assert found(trie, "/a/b") is short
    assert found(trie, "/a/b", rewritten=True) is escaped
    assert found(trie.with_claim(same), "/a/b", rewritten=True) is same
    assert trie.with_claim(same).without_claim(escaped) == trie_of(short, same)
    assert trie.with_claim(same).without_claim(same) == trie


def test_a_decoded_region_closes_rewritten_paths_and_those_without_a_written_match() -> None:
    closed, short = region("/a%2fb", source=BLUE), exchange("/a")
    beside = trie_of(closed, short)
    assert isinstance(found(trie_of(closed), "/a/b"), Unhealthy)
    assert found(beside, "/a/b") is short
    assert isinstance(found(beside, "/a/b", rewritten=True), Unhealthy)
    assert beside.without_claim(closed) == trie_of(short)


def test_thousands_of_contenders_are_one_conflict() -> None:
    crowd = [deny("/a", source=Source("team", str(number))) for number in range(2_000)]
    trie = trie_of(*crowd)
    assert found(trie, "/a") is CONFLICT
    for claim in crowd[1:]:
        trie = trie.without_claim(claim)
    assert found(trie, "/a") is crowd[0]


def put(trie: PrefixTrie[int], key: str, value: int | None) -> PrefixTrie[int]:
    return trie.updated(key, lambda _: value)


def test_the_trie_of_prefixes_has_no_depth_that_exhausts_the_stack_and_shares_what_an_update_leaves_alone() -> None:
    depth = 2_000  # twice Python's recursion limit
    trie: PrefixTrie[int] = PrefixTrie()
    for length in range(depth, 0, -1):
        trie = put(trie, "a" * length, length)
    other = put(put(trie, "a" * depth, 0), "a" * depth, depth)
    assert len(trie.prefixes_of("a" * 100_000)) == depth
    assert other == trie != dict(trie.items())
    assert "a" * 100_000 in dict(put(trie, "a" * 100_000, 1).items())
    assert put(trie, "b", 1)._root.children[0] is trie._root.children[0]
    for length in range(1, depth + 1):
        trie = put(trie, "a" * length, None)
    assert not trie


def test_a_claim_that_is_not_there_takes_nothing_away() -> None:
    within = attrs.evolve(deny("/a"), match=attrs.evolve(deny("/a").match, within="/a"))
    other = attrs.evolve(within, match=attrs.evolve(within.match, within="/b"))
    trie = trie_of(within)
    assert trie.without_claim(other) == trie
    area = GrantedArea((MatchScope(HOST, "/a"),))
    closing = attrs.evolve(region("", host=None), match=EVERYWHERE, area=area)
    assert trie.without_claim(closing) is trie
    assert trie.with_claim(closing).without_claim(closing) == trie


def test_head_is_found_without_anything_to_hold_it_against() -> None:
    assert found(trie_of(deny("/")), "/a", "HEAD") == deny("/")
