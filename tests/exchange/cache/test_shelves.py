import math

from exchanger.exchange.cache.lifetime import Instant, Life, plan_life
from exchanger.exchange.cache.shelves import ENTRY_BYTES, RENEWAL_LOST_S, Entry, Shelf, Shelves
from tests.exchange.cache.examples import START, token

NOW = Instant(1000.0, START)


def life(length: float = 100.0, now: Instant = NOW) -> Life:
    planned = plan_life(now, 0.0, length, math.inf, 0.0)
    assert planned is not None
    return planned


def found(shelves: Shelves, shelf: Shelf, digest: bytes, after: float = 0.0) -> str | None:
    kept = shelves.get(shelf, digest, NOW.steady + after, NOW.wall + after, math.inf)
    return None if kept is None else kept.token.access_token.reveal()


def test_bytes_are_bounded_over_all_shelves_and_the_least_used_goes_first() -> None:
    shelves = Shelves(max_bytes=3 * (ENTRY_BYTES + 1))
    one, other = shelves.add_shelf(10), shelves.add_shelf(10)
    for shelf, name in ((one, b"a"), (other, b"b"), (one, b"c")):
        shelves.put(shelf, name, Entry.of(token(name.decode()), life()))
    assert found(shelves, one, b"a") == "a"  # which is a use
    shelves.put(one, b"d", Entry.of(token("d"), life()))

    assert [found(shelves, shelf, name) for shelf, name in ((one, b"a"), (other, b"b"), (one, b"c"), (one, b"d"))] == ["a", None, "c", "d"]
    assert shelves.size == 3 * (ENTRY_BYTES + 1)
    shelves.remove_shelf(one)
    assert (len(shelves), shelves.size) == (0, 0)


def test_what_is_larger_than_everything_is_not_kept() -> None:
    shelves = Shelves(max_bytes=ENTRY_BYTES + 10)
    shelf = shelves.add_shelf(10)
    shelves.put(shelf, b"a", Entry.of(token("a"), life()))
    shelves.put(shelf, b"b", Entry.of(token("b" * 11), life()))

    assert found(shelves, shelf, b"a") == "a"
    assert len(shelves) == 1


def test_a_renewal_of_which_nothing_is_heard_does_not_stand_in_the_way_for_ever() -> None:
    shelves = Shelves()
    shelf = shelves.add_shelf(10)
    entry = Entry.of(token("a"), life(10_000.0))
    entry.renew_at = NOW.steady
    shelves.put(shelf, b"a", entry)

    kept = [shelves.get(shelf, b"a", NOW.steady + after, NOW.wall, math.inf) for after in (0.0, RENEWAL_LOST_S - 1, RENEWAL_LOST_S)]
    assert [one.renew for one in kept if one is not None] == [True, False, True]


def test_what_is_over_is_dropped_wherever_it_is() -> None:
    shelves = Shelves()
    one, other = shelves.add_shelf(10), shelves.add_shelf(10)
    shelves.put(one, b"short", Entry.of(token("short"), life(10.0)))
    shelves.put(one, b"long", Entry.of(token("long"), life(100.0)))
    shelves.put(other, b"short", Entry.of(token("short"), life(10.0)))
    places = shelves.names()
    shelves.remove(other, b"short")  # in the meantime

    shelves.drop_if_over(iter(places), Instant(NOW.steady + 50, NOW.wall + 50))
    assert shelves.names() == [(one, b"long")]
    assert shelves.size == ENTRY_BYTES + 4
    shelves.clear()
    assert (len(shelves), shelves.size) == (0, 0)
