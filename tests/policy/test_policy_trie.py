import pytest

from exchanger.policy.lookup import CONFLICT, SEVERAL_REGIONS, Found, Reading, UnreadableReach, find
from exchanger.policy.policy_trie import CONTESTED, Cell, MethodTable, PolicyTrie
from exchanger.values.entry import Claim, Entry, Source
from exchanger.values.verdict import NO_MATCH, Unhealthy
from tests.policy.examples import BLUE, HOST, RED, deny, exchange, region

GET = frozenset({"GET"})
PUT = frozenset({"PUT"})


def trie_of(*claims: Claim) -> PolicyTrie:
    trie = PolicyTrie()
    for claim in claims:
        trie = trie.with_claim(claim)
    return trie


def found(trie: PolicyTrie, path: str, method: str = "GET", host: str | None = HOST, *, rewritten: bool = False) -> Found | None:
    return find(trie, None if host is None else trie.hosts.get(host), UnreadableReach.GLOBAL, Reading(path, rewritten), method)


def test_the_longest_prefix_among_matching_methods_wins() -> None:
    short, long = exchange("/a"), deny("/a/b", index=1, methods=PUT)
    trie = trie_of(short, long)

    assert found(trie, "/a/b/c", "PUT") is long
    assert found(trie, "/a/b/c", "GET") is short
    assert found(trie, "/b") is NO_MATCH
    assert found(trie, "/a", host="other.example.com") is NO_MATCH


def test_a_longer_prefix_breaks_a_tie() -> None:
    winner = deny("/a/b", index=1)

    assert found(trie_of(exchange("/a"), exchange("/a", source=BLUE), winner), "/a/b") is winner


@pytest.mark.parametrize("where", ["", "/", "/a", "/a/b/c"])
def test_a_region_wins_over_everything_inside_it(where: str) -> None:
    trie = trie_of(exchange("/a/b"), region(where, source=BLUE))

    assert found(trie, "/a/b/c") == Unhealthy(f"region of {BLUE}", BLUE, 0)


def test_a_region_for_all_hosts_reaches_every_request() -> None:
    trie = trie_of(exchange("/a"), region("/b", source=BLUE, host=None))

    assert found(trie, "/b", host=HOST) == Unhealthy(f"region of {BLUE}", BLUE, 0)
    assert found(trie, "/b", host="") == Unhealthy(f"region of {BLUE}", BLUE, 0)
    assert found(trie, "/b", host=None) == Unhealthy(f"region of {BLUE}", BLUE, 0)
    assert found(trie, "/a", host=HOST) == exchange("/a")
    assert found(trie, "/a", host=None) is NO_MATCH


def test_several_regions_in_one_place_name_no_source() -> None:
    assert found(trie_of(region("/a"), region("/a", source=BLUE)), "/a") is SEVERAL_REGIONS


def test_an_entry_is_found_under_each_spelling_and_does_not_tie_with_itself() -> None:
    entry = exchange("/a%2fb")
    trie = trie_of(entry)

    assert found(trie, "/a%2fb/c") is entry
    assert found(trie, "/a/b/c") is entry
    assert found(trie, "/a/b/c", rewritten=True) is entry
    assert trie.without_claim(entry) == PolicyTrie()


def test_a_decoded_spelling_comes_after_what_is_written() -> None:
    escaped, short, same = deny("/a%2fb", source=BLUE), exchange("/a"), exchange("/a/b", index=1)
    trie = trie_of(escaped, short)

    assert found(trie, "/a/b") is short
    assert found(trie, "/a/b", rewritten=True) is escaped
    assert found(trie.with_claim(same), "/a/b", rewritten=True) is same
    assert trie.with_claim(same).without_claim(escaped) == trie_of(short, same)
    assert trie.with_claim(same).without_claim(same) == trie


def test_a_decoded_region_closes_rewritten_paths_and_those_where_nothing_is_written() -> None:
    closed, short = region("/a%2fb", source=BLUE), exchange("/a")
    alone, beside = trie_of(closed), trie_of(closed, short)

    assert isinstance(found(alone, "/a/b"), Unhealthy)
    assert found(beside, "/a/b") is short
    assert isinstance(found(beside, "/a/b", rewritten=True), Unhealthy)
    assert beside.without_claim(closed) == trie_of(short)


def test_removing_gives_back_the_trie_before() -> None:
    kept: list[Claim] = [exchange("/a"), region("/a/b", index=1), deny("/x", index=2, host="other.example.com")]
    more: list[Claim] = [
        deny("/a", source=BLUE),
        region("/a/b/c", source=BLUE, index=1),
        region("", source=BLUE, index=2, host=None),
    ]
    before = trie_of(*kept)
    trie = trie_of(*kept, *more)
    for claim in more:
        trie = trie.without_claim(claim)

    assert trie == before
    assert trie_of(*reversed(kept)) == before
    for claim in kept:
        trie = trie.without_claim(claim)
    assert trie == PolicyTrie()


def test_an_entry_and_a_region_share_a_cell() -> None:
    entry, closed = exchange("/a"), region("/a", index=1)
    cell = Cell().with_claim(entry).with_claim(closed)

    assert cell.without_claim(closed) == Cell().with_claim(entry)
    assert cell.without_claim(entry) == Cell().with_claim(closed)
    assert Cell().with_claim(entry).without_claim(closed) == Cell().with_claim(entry)
    assert Cell().with_claim(closed).without_claim(entry) == Cell().with_claim(closed)


def test_removing_what_is_not_there_changes_nothing() -> None:
    trie = trie_of(exchange("/a"))

    assert trie.without_claim(deny("/b", source=BLUE)) == trie
    assert trie.without_claim(deny("/b", source=BLUE, host="other.example.com")) == trie
    assert trie.without_claim(region("", source=BLUE, host=None)) == trie


def test_thousands_of_ties_are_one_tie() -> None:
    crowd = [deny("/a", source=Source("team", str(number))) for number in range(2_000)]
    trie = trie_of(*crowd)

    assert found(trie, "/a") is CONFLICT
    for claim in crowd[1:]:
        trie = trie.without_claim(claim)
    assert found(trie, "/a") is crowd[0]
    assert RED not in {claim.source for claim in crowd}


GET = frozenset({"GET"})


def claims_of(*entries: Entry) -> MethodTable[Entry]:
    claims: MethodTable[Entry] = MethodTable()
    for entry in entries:
        claims = claims.with_claim(entry)
    return claims


def test_two_claims_are_several() -> None:
    every, other = deny("/"), exchange("/", source=BLUE)
    named, named_too = deny("/", methods=GET, index=1), deny("/", methods=GET, source=BLUE, index=1)

    assert claims_of(every, other).of("GET") is CONTESTED
    assert claims_of(named, named_too).of("GET") is CONTESTED
    assert claims_of(named, named_too).of("PUT") is None
    assert claims_of(every, named).of("GET") is CONTESTED
    assert claims_of(every, named).of("PUT") is every


def test_claims_on_get_are_claims_on_head_where_none_covers_head_itself() -> None:
    get, head, every = deny("/", methods=GET), deny("/", methods=frozenset({"HEAD"}), source=BLUE), exchange("/", source=BLUE)
    other = exchange("/", methods=GET, index=1)

    assert claims_of(get).of("HEAD") is get
    assert claims_of(get, other).of("HEAD") is CONTESTED
    assert claims_of(get, head).of("HEAD") is head
    assert claims_of(get, every).of("HEAD") is every
    assert claims_of(head).of("GET") is None
    assert [claims_of(get).of(method) for method in ("head", "OPTIONS", "")] == [None] * 3


def test_a_claim_that_leaves_is_gone_and_others_stay() -> None:
    entries = [deny("/", source=source, index=index) for source in (RED, BLUE) for index in (0, 1)]
    claims: MethodTable[Entry] | None = claims_of(*entries)

    for count, entry in enumerate(entries[:-1], start=1):
        assert claims is not None
        claims = claims.without_claim(entry)
        assert claims == claims_of(*entries[count:])
    assert claims is not None
    assert claims.of("GET") is entries[-1]
    assert claims.without_claim(entries[-1]) is None


def test_methods_without_claims_are_forgotten() -> None:
    get, both = deny("/", methods=GET), deny("/", methods=frozenset({"GET", "PUT"}), index=1)

    claims = claims_of(get, both).without_claim(both)

    assert claims == claims_of(get)
    assert claims is not None
    assert len(claims.named) == 1
    assert claims.without_claim(get) is None


def test_one_who_never_came_cannot_leave() -> None:
    claims = claims_of(deny("/"))

    assert claims.without_claim(deny("/", source=BLUE)) == claims
    assert claims.without_claim(deny("/", source=BLUE, methods=GET)) == claims
    assert MethodTable[Entry]().without_claim(deny("/")) is None
