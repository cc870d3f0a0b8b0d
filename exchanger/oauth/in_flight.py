"""The limit on calls to one issuer at a time, with a short queue in which the namespaces of the policies take turns.

Knows nothing of tasks, clocks, or what waits: whoever gives up its place or its wait says so.
"""

import enum
from collections import OrderedDict
from collections.abc import Hashable
from typing import Final, Generic, TypeVar, final

import attrs

# Waiting items for each call under way. A namespace alone gets half of them: behind four rounds of calls, an item has waited for most of
# what gateways allow. More would be served too late.
QUEUE_ROUNDS: Final = 8
# Waiting items, however low the limit is: a page that loads makes some requests at once.
MIN_QUEUE: Final = 16

T = TypeVar("T", bound=Hashable)


@enum.unique
class Entered(enum.Enum):
    """What became of an item that wants to make a call."""

    # The call may be made. It takes a place until ``leave``.
    ADMITTED = "admitted"
    # It waits until ``leave`` or ``resize`` returns it, or until it is withdrawn.
    QUEUED = "queued"
    # It may not even wait.
    FULL = "full"


@final
@attrs.define(eq=False)
class InFlight(Generic[T]):
    """At most ``limit`` calls at a time. Items wait by identity or equality: no two that are equal may wait in one namespace.

    Of those that wait, the namespaces are served in turn, and the items of one in order. A namespace gets a place in the queue while it has
    fewer than are free: one alone takes half of them, and however many are greedy, something is left for the next.
    """

    limit: int
    in_flight: int = attrs.field(default=0, init=False)
    queued: int = attrs.field(default=0, init=False)
    # The namespace whose turn is next comes first. Removing from the front of a plain dict gets slower with each time.
    _waiting: "OrderedDict[str, OrderedDict[T, None]]" = attrs.field(factory=OrderedDict, init=False, repr=False)

    @property
    def queue_limit(self) -> int:
        """How many may wait."""
        return max(QUEUE_ROUNDS * self.limit, MIN_QUEUE)

    def enter(self, namespace: str, item: T) -> Entered:
        """Return whether ``item``, which a policy of ``namespace`` asks for, may make its call now or waits for a place."""
        if self.in_flight < self.limit:  # then nothing waits
            self.in_flight += 1
            return Entered.ADMITTED
        line = self._waiting.get(namespace)
        if (0 if line is None else len(line)) >= self.queue_limit - self.queued:
            return Entered.FULL
        if line is None:
            line = self._waiting[namespace] = OrderedDict()
        line[item] = None
        self.queued += 1
        return Entered.QUEUED

    def leave(self) -> T | None:
        """Take note that a call has ended, and return the item that has its place now, ``None`` if there is none."""
        self.in_flight -= 1
        return self._admit_next()

    def withdraw(self, namespace: str, item: T) -> bool:
        """Let ``item`` wait no longer, and return whether it did: it may have got its place before."""
        line = self._waiting.get(namespace)
        if line is None or item not in line:
            return False
        del line[item]
        if not line:
            del self._waiting[namespace]
        self.queued -= 1
        return True

    def resize(self, limit: int) -> tuple[T, ...]:
        """Change the limit, and return the items that have a place now. Calls under way and items that wait stay what they are."""
        self.limit = limit
        admitted: list[T] = []
        while (item := self._admit_next()) is not None:
            admitted.append(item)
        return tuple(admitted)

    def _admit_next(self) -> T | None:
        if not self._waiting or self.in_flight >= self.limit:
            return None
        namespace, line = self._waiting.popitem(last=False)
        item, _ = line.popitem(last=False)
        if line:
            self._waiting[namespace] = line
        self.queued -= 1
        self.in_flight += 1
        return item
