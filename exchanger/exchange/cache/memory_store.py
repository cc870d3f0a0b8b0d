"""Tokens in memory: one partition per issuer with a limit on entries, and a limit on the bytes of all; the least recently used go first.

Must not know: clocks (times are arguments), keys, stores or tasks.
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final, final

import attrs

from exchanger.exchange.cache.lifetime import Instant, Life
from exchanger.model.token import ExchangedToken

# Bytes of all tokens together: an eighth of the memory that the chart allows, and about 30,000 tokens of a usual size.
MAX_BYTES: Final = 64 * 1024 * 1024
# Bytes that an entry takes in addition to its token's text, measured: the entry, its life, two outcomes, its name, and its place.
ENTRY_BYTES: Final = 800
# Seconds until another renewal may start: after one that failed, and after one without an outcome.
RENEWAL_PAUSE_S: Final = 5.0
RENEWAL_LOST_S: Final = 60.0


@final
@attrs.frozen
class CachedToken:
    """A token that was kept. ``renew``: its receiver must renew it, since nobody else will for a while."""

    token: ExchangedToken
    renew: bool = False


@final
@attrs.define(eq=False)
class Entry:
    """A token in a partition. ``renew_at`` is moved when a renewal begins; ``used`` orders entries across partitions."""

    kept: CachedToken
    life: Life
    size: int
    renew_at: float
    used: int = 0

    @classmethod
    def of(cls, token: ExchangedToken, life: Life) -> "Entry":
        """Return an entry for ``token``, which is returned to callers unchanged."""
        return cls(CachedToken(token), life, len(token.access_token.reveal()) + len(token.scope or "") + ENTRY_BYTES, life.renew_at)


@final
@attrs.define(eq=False)
class IssuerPartition:
    """The tokens of one issuer, the least recently used first."""

    max_entries: int
    entries: OrderedDict[bytes, Entry] = attrs.field(factory=OrderedDict, init=False)


@final
@attrs.define(eq=False)
class MemoryStore:
    """Stores tokens by name. ``max_bytes`` bounds all of them."""

    max_bytes: int = MAX_BYTES
    partitions: list[IssuerPartition] = attrs.field(factory=list, init=False)
    _bytes: int = attrs.field(default=0, init=False)
    _clock: int = attrs.field(default=0, init=False)

    @property
    def size(self) -> int:
        """The bytes that are taken."""
        return self._bytes

    def __len__(self) -> int:
        return sum(len(partition.entries) for partition in self.partitions)

    def add_partition(self, max_entries: int) -> IssuerPartition:
        """Return a new partition."""
        partition = IssuerPartition(max_entries)
        self.partitions.append(partition)
        return partition

    def remove_partition(self, partition: IssuerPartition) -> None:
        """Forget a partition with its tokens."""
        self.partitions.remove(partition)
        self._bytes -= sum(entry.size for entry in partition.entries.values())
        partition.entries.clear()

    def clear(self) -> None:
        """Forget all tokens."""
        for partition in self.partitions:
            partition.entries.clear()
        self._bytes = 0

    def resize(self, partition: IssuerPartition, max_entries: int) -> None:
        """Change the bounds of a partition."""
        partition.max_entries = max_entries
        self._shorten(partition)

    def get(self, partition: IssuerPartition, digest: bytes, steady: float, wall: float, max_age: float) -> CachedToken | None:
        """Return the token of this name if it may be served, at most ``max_age`` seconds after it was issued.

        The moment is passed as two numbers, since this is called for each request.
        """
        entry = partition.entries.get(digest)
        if entry is None:
            return None
        life = entry.life
        if steady >= life.until or wall >= life.wall_until or steady >= life.born + max_age:
            self.remove(partition, digest)
            return None
        partition.entries.move_to_end(digest)
        self._clock = entry.used = self._clock + 1
        if steady < entry.renew_at:
            return entry.kept
        entry.renew_at = steady + RENEWAL_LOST_S
        return CachedToken(entry.kept.token, renew=True)

    def put(self, partition: IssuerPartition, digest: bytes, entry: Entry) -> None:
        """Keep a token under this name, in place of the previous one."""
        if entry.size > self.max_bytes or partition.max_entries < 1:
            return
        self.remove(partition, digest)
        partition.entries[digest] = entry
        self._bytes += entry.size
        self._clock = entry.used = self._clock + 1
        self._shorten(partition)
        while self._bytes > self.max_bytes:
            self._remove_oldest(min((other for other in self.partitions if other.entries), key=_least_used))

    def remove(self, partition: IssuerPartition, digest: bytes) -> bool:
        """Forget the token of this name, and return whether there was one."""
        entry = partition.entries.pop(digest, None)
        if entry is None:
            return False
        self._bytes -= entry.size
        return True

    def peek(self, partition: IssuerPartition, digest: bytes) -> Entry | None:
        """Return the token of this name, with how long it is kept; this does not count as use."""
        return partition.entries.get(digest)

    def renew_later(self, partition: IssuerPartition, digest: bytes, now: Instant) -> None:
        """After a renewal that failed: let another one start in a while."""
        entry = partition.entries.get(digest)
        if entry is not None and entry.renew_at > entry.life.renew_at:
            entry.renew_at = now.steady + RENEWAL_PAUSE_S

    def names(self) -> list[tuple[IssuerPartition, bytes]]:
        """Return where every token is."""
        return [(partition, digest) for partition in self.partitions for digest in partition.entries]

    def drop_if_over(self, places: Iterator[tuple[IssuerPartition, bytes]], now: Instant) -> None:
        """Forget those of the tokens at ``places`` that must no longer be served."""
        for partition, digest in places:
            entry = self.peek(partition, digest)
            if entry is not None and entry.life.is_over(now):
                self.remove(partition, digest)

    def _shorten(self, partition: IssuerPartition) -> None:
        while len(partition.entries) > partition.max_entries:
            self._remove_oldest(partition)

    def _remove_oldest(self, partition: IssuerPartition) -> None:
        _, entry = partition.entries.popitem(last=False)
        self._bytes -= entry.size


def _least_used(partition: IssuerPartition) -> int:
    return next(iter(partition.entries.values())).used
