"""A bounded number of connections, where those that keep the server waiting make room for new ones.

Otherwise a handful of silent connections would keep everyone else out.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, final

import attrs
import trio


class Occupant(Protocol):
    """A connection that has a slot, and counts itself in ``ConnectionSlots.taken``."""

    def displace(self) -> None:
        """End at once: the slot goes to another connection."""


@final
@attrs.define(eq=False)
class Slot:
    """The slot of a connection that is served by a task. Its work runs in ``scope``, which is cancelled when it is displaced."""

    _slots: "ConnectionSlots" = attrs.field(repr=False)
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False, repr=False)
    lost: bool = attrs.field(default=False, init=False)

    def displace(self) -> None:
        """End the work."""
        self.lost = True
        self.scope.cancel()
        # The connection ends before it receives anything else: the number is right again within one round of the event loop.
        self._slots.taken -= 1

    def silent(self) -> AbstractContextManager[None]:
        """While open, the peer owes a request, or the rest of one. These make room first, the one silent longest before others."""
        return _Among(self._slots.silent, self)

    def slow(self) -> AbstractContextManager[None]:
        """While open, the peer must receive a response. These connections make room when none is silent."""
        return _Among(self._slots.slow, self)


@final
@attrs.define(eq=False)
class ConnectionSlots:
    """``limit`` slots, ``taken`` of them now; ``displaced`` and ``refused`` connections are counted from the start.

    The sets are dicts, which keep their order.
    """

    limit: int
    silent: dict[Occupant, None] = attrs.field(factory=dict, init=False, repr=False)
    slow: dict[Occupant, None] = attrs.field(factory=dict, init=False, repr=False)
    taken: int = attrs.field(default=0, init=False)
    displaced: int = attrs.field(default=0, init=False)
    refused: int = attrs.field(default=0, init=False)

    @contextmanager
    def take(self) -> Iterator[Slot | None]:
        """While open, hold a slot, or ``None`` when no connection makes room. The block ends early when the slot is taken away."""
        if not self.has_room():
            yield None
            return
        slot = Slot(self)
        self.taken += 1
        try:
            with slot.scope:
                yield slot
        finally:
            if not slot.lost:
                self.taken -= 1

    def has_room(self) -> bool:
        """Return whether one more connection has room, which another may have to make."""
        if self.taken < self.limit or self._displace():
            return True
        self.refused += 1
        return False

    def end_silent(self) -> None:
        """End the connections whose peers owe a request, or the rest of one."""
        while self.silent:
            occupant, _ = self.silent.popitem()
            occupant.displace()

    def _displace(self) -> bool:
        among = self.silent or self.slow
        occupant = next(iter(among), None)
        if occupant is None:
            return False
        del among[occupant]
        occupant.displace()
        self.displaced += 1
        return True


@final
@attrs.frozen
class _Among:
    """While open, ``slot`` is among ``slots``. A generator would cost four times as much, twice for each request."""

    slots: dict[Occupant, None]
    slot: Slot

    def __enter__(self) -> None:
        self.slots[self.slot] = None

    def __exit__(self, *_: object) -> None:
        self.slots.pop(self.slot, None)
