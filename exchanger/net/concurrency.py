"""The limit on concurrent calls to one issuer, or to one host, with a short and fair queue.

The next permit goes to the party that has the fewest, so that one whose calls hang does not end up with all of them. A party is the
namespace of a policy; at a host, which several issuers may share, it is a namespace and an issuer.

Knows no tasks and no clock, and not what waits: an item that gives up its permit or its wait must say so.
"""

import enum
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Final, Generic, TypeVar, final

import attrs

# Waiting items for each call in progress. One party gets at most half of them: an item behind four rounds of calls has waited for most of
# the time that gateways allow. More would be served too late.
QUEUE_ROUNDS: Final = 8
# Waiting items, however low the limit is: loading a page causes several requests at once.
MIN_QUEUE: Final = 16

T = TypeVar("T", bound=Hashable)


@enum.unique
class AdmissionResult(enum.Enum):
    """What an item gets that asks for a permit."""

    # The call may be made. It takes a permit until ``leave``.
    ADMITTED = "admitted"
    # It waits until ``leave`` or ``resize`` returns it, or until it is cancelled.
    QUEUED = "queued"
    # It may not even wait.
    FULL = "full"


# Looked up once, not for each call.
_ADMITTED: Final = AdmissionResult.ADMITTED


@final
@attrs.define(eq=False)
class ConcurrencyLimit(Generic[T]):
    """At most ``limit`` calls at a time. No two equal items of one party may wait.

    Of the waiting parties, the one with the fewest calls in progress is served first; equal ones take turns, and the items of one keep
    their order. A party may add an item to the queue while it has fewer there than there are free places: one party alone gets half of
    them, and however many are greedy, something is left for the next. A party that anybody can be may add one while it has fewer than a
    ``part`` of the free places.
    """

    limit: int
    in_flight: int = attrs.field(default=0, init=False)
    queued: int = attrs.field(default=0, init=False)
    # Removing from the front of a plain dict gets slower each time, hence ordered ones.
    _waiting: "dict[Hashable, OrderedDict[T, None]]" = attrs.field(factory=dict, init=False, repr=False)
    _calls: dict[Hashable, int] = attrs.field(factory=dict, init=False, repr=False)
    # The waiting parties, by the number of their calls in progress, those whose turn is next first. There are at most 1.5 times the square
    # root of ``limit`` different numbers, since their sum is at most ``limit``.
    _turns: "dict[int, OrderedDict[Hashable, None]]" = attrs.field(factory=dict, init=False, repr=False)

    @property
    def queue_limit(self) -> int:
        """How many may wait."""
        return max(QUEUE_ROUNDS * self.limit, MIN_QUEUE)

    def __iter__(self) -> Iterator[T]:
        """Return what waits."""
        return (item for line in self._waiting.values() for item in line)

    def enter(self, party: Hashable, item: T, part: int = 1) -> AdmissionResult:
        """Return whether ``item``, which ``party`` asks for, may make its call now or waits for a permit."""
        if self.in_flight < self.limit:  # then nothing waits
            self._begin(party)
            return _ADMITTED
        line = self._waiting.get(party)
        if (0 if line is None else len(line) * part) >= self.queue_limit - self.queued:
            return AdmissionResult.FULL
        if line is None:
            line = self._waiting[party] = OrderedDict()
            self._take_turn(party)
        line[item] = None
        self.queued += 1
        return AdmissionResult.QUEUED

    def release(self, party: Hashable) -> T | None:
        """Record that a call of ``party`` has ended, and return the item that has its permit now, ``None`` without one."""
        waits = party in self._waiting
        if waits:
            self._lose_turn(party)
        calls = self._calls[party] - 1
        if calls:
            self._calls[party] = calls
        else:
            del self._calls[party]
        self.in_flight -= 1
        if waits:
            self._take_turn(party)
        return self._admit_next() if self._turns else None

    def cancel(self, party: Hashable, item: T) -> bool:
        """Let ``item`` wait no longer, and return whether it was waiting: it may have got its permit before."""
        line = self._waiting.get(party)
        if line is None or item not in line:
            return False
        del line[item]
        if not line:
            self._lose_turn(party)
            del self._waiting[party]
        self.queued -= 1
        return True

    def resize(self, limit: int) -> tuple[T, ...]:
        """Change the limit, and return the items that have a permit now. Calls in progress and waiting items are not affected."""
        self.limit = limit
        admitted: list[T] = []
        while (item := self._admit_next()) is not None:
            admitted.append(item)
        return tuple(admitted)

    def _admit_next(self) -> T | None:
        if not self._turns or self.in_flight >= self.limit:
            return None
        party = next(iter(self._turns[min(self._turns)]))
        self._lose_turn(party)
        line = self._waiting[party]
        item, _ = line.popitem(last=False)
        self.queued -= 1
        self._begin(party)
        if line:
            self._take_turn(party)
        else:
            del self._waiting[party]
        return item

    def _begin(self, party: Hashable) -> None:
        self.in_flight += 1
        self._calls[party] = self._calls.get(party, 0) + 1

    def _take_turn(self, party: Hashable) -> None:
        self._turns.setdefault(self._calls.get(party, 0), OrderedDict())[party] = None

    def _lose_turn(self, party: Hashable) -> None:
        calls = self._calls.get(party, 0)
        turns = self._turns[calls]
        del turns[party]
        if not turns:
            del self._turns[calls]
