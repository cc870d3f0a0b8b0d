from exchanger.policy.policy_trie import CONTESTED, MethodTable
from exchanger.values.entry import Entry
from tests.policy.examples import BLUE, RED, deny, exchange

GET = frozenset({"GET"})


def claims_of(*entries: Entry) -> MethodTable[Entry]:
    claims: MethodTable[Entry] = MethodTable()
    for entry in entries:
        claims = claims.with_claim(entry)
    return claims


def test_nobody_claims_an_empty_place() -> None:
    assert claims_of().of("GET") is None


def test_one_claim_is_found_for_its_methods() -> None:
    every, named = deny("/"), deny("/", methods=frozenset({"GET", "PUT"}))

    assert claims_of(every).of("GET") is every
    assert claims_of(named).of("PUT") is named
    assert claims_of(named).of("POST") is None


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


def test_a_claim_never_ties_with_itself() -> None:
    entry = deny("/")

    assert claims_of(entry, entry).of("GET") is entry


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
