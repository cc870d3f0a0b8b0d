import math

from exchanger.exchange.cache.lifetime import Instant, Life, plan_life
from exchanger.exchange.cache.memory_store import ENTRY_BYTES, RENEWAL_LOST_S, Entry, IssuerPartition, MemoryStore
from tests.exchange.cache.examples import START, token

NOW = Instant(1000.0, START)


def life(length: float = 100.0, now: Instant = NOW) -> Life:
    planned = plan_life(now, 0.0, length, math.inf, 0.0)
    assert planned is not None
    return planned


def found(partitions: MemoryStore, partition: IssuerPartition, digest: bytes, after: float = 0.0) -> str | None:
    kept = partitions.get(partition, digest, NOW.steady + after, NOW.wall + after, math.inf)
    return None if kept is None else kept.token.access_token.reveal()


def test_bytes_are_bounded_over_all_partitions_and_the_least_used_goes_first() -> None:
    partitions = MemoryStore(max_bytes=3 * (ENTRY_BYTES + 1))
    one, other = partitions.add_partition(10), partitions.add_partition(10)
    for partition, name in ((one, b"a"), (other, b"b"), (one, b"c")):
        partitions.put(partition, name, Entry.of(token(name.decode()), life()))
    assert found(partitions, one, b"a") == "a"  # which is a use
    partitions.put(one, b"d", Entry.of(token("d"), life()))

    places = ((one, b"a"), (other, b"b"), (one, b"c"), (one, b"d"))
    assert [found(partitions, *place) for place in places] == ["a", None, "c", "d"]
    assert partitions.size == 3 * (ENTRY_BYTES + 1)
    partitions.remove_partition(one)
    assert (len(partitions), partitions.size) == (0, 0)


def test_what_is_larger_than_everything_is_not_kept() -> None:
    partitions = MemoryStore(max_bytes=ENTRY_BYTES + 10)
    partition = partitions.add_partition(10)
    partitions.put(partition, b"a", Entry.of(token("a" * 10), life()))
    partitions.put(partition, b"b", Entry.of(token("b" * 11), life()))

    assert found(partitions, partition, b"a") == "a" * 10
    assert len(partitions) == 1


def test_entries_are_bounded_in_each_partition() -> None:
    partitions = MemoryStore()
    partition = partitions.add_partition(2)
    for name in (b"a", b"b", b"c"):
        partitions.put(partition, name, Entry.of(token(name.decode()), life()))
    assert [found(partitions, partition, name) for name in (b"a", b"b", b"c")] == [None, "b", "c"]


def test_a_renewal_without_an_outcome_is_tried_again_after_a_while() -> None:
    partitions = MemoryStore()
    partition = partitions.add_partition(10)
    entry = Entry.of(token("a"), life(10_000.0))
    entry.renew_at = NOW.steady
    partitions.put(partition, b"a", entry)

    kept = [partitions.get(partition, b"a", NOW.steady + after, NOW.wall, math.inf) for after in (0.0, RENEWAL_LOST_S - 1, RENEWAL_LOST_S)]
    assert [one.renew for one in kept if one is not None] == [True, False, True]


def test_what_is_over_is_dropped_wherever_it_is() -> None:
    partitions = MemoryStore()
    one, other = partitions.add_partition(10), partitions.add_partition(10)
    partitions.put(one, b"short", Entry.of(token("short"), life(10.0)))
    partitions.put(one, b"long", Entry.of(token("long"), life(100.0)))
    partitions.put(other, b"short", Entry.of(token("short"), life(10.0)))
    places = partitions.names()
    partitions.remove(other, b"short")  # in the meantime

    partitions.drop_if_over(iter(places), Instant(NOW.steady + 50, NOW.wall + 50))
    assert partitions.names() == [(one, b"long")]
    assert partitions.size == ENTRY_BYTES + 4
    partitions.clear()
    assert (len(partitions), partitions.size) == (0, 0)
