"""Who may be connected: a bounded number, of whom those who keep us waiting give place to newcomers.

Otherwise a handful of silent connections would keep everybody out, for as long as somebody opens new ones. Must not know: sockets, or
what is waited for.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

import attrs
import trio


@final
@attrs.define(eq=False)
class Seat:
    """One connection's place: everything is done in ``scope``, which is cancelled when the place is given away."""

    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False, repr=False)
    _seats: "Seats"
    lost: bool = attrs.field(default=False, init=False)

    @contextmanager
    def silent(self) -> Iterator[None]:
        """While open, the peer has not asked for anything, or not to the end: these give place first, the longest silent one of all."""
        with self._seats.waiting(self, self._seats.silent):
            yield

    @contextmanager
    def slow(self) -> Iterator[None]:
        """While open, the peer has its answer to take: these give place when nobody is silent."""
        with self._seats.waiting(self, self._seats.slow):
            yield

    def statistics(self) -> bool:
        """Tell whether the place was given away."""
        return self.lost


@final
@attrs.frozen
class SeatsStatistics:
    """``taken`` now; ``displaced``, who gave place, and ``refused``, who got none, since the start."""

    taken: int
    displaced: int
    refused: int


@final
@attrs.define(eq=False)
class Seats:
    """``limit`` places. Sets are dicts, which are in order."""

    limit: int
    silent: dict[Seat, None] = attrs.field(factory=dict, init=False, repr=False)
    slow: dict[Seat, None] = attrs.field(factory=dict, init=False, repr=False)
    _taken: int = attrs.field(default=0, init=False)
    _displaced: int = attrs.field(default=0, init=False)
    _refused: int = attrs.field(default=0, init=False)

    @contextmanager
    def taken(self) -> Iterator[Seat | None]:
        """While open, have a place; ``None`` when nobody gives way. What is in the block ends early when the place is given away."""
        if self._taken >= self.limit and not self._displace():
            self._refused += 1
            yield None
            return
        seat = Seat(self)
        self._taken += 1
        try:
            with seat.scope:
                yield seat
        finally:
            if not seat.lost:
                self._taken -= 1

    @contextmanager
    def waiting(self, seat: Seat, among: dict[Seat, None]) -> Iterator[None]:
        """While open, ``seat`` is one that may be given away."""
        among[seat] = None
        try:
            yield
        finally:
            among.pop(seat, None)

    def statistics(self) -> SeatsStatistics:
        """Tell how many there are, and how many there were too many."""
        return SeatsStatistics(self._taken, self._displaced, self._refused)

    def _displace(self) -> bool:
        among = self.silent or self.slow
        seat = next(iter(among), None)
        if seat is None:
            return False
        del among[seat]
        seat.lost = True
        seat.scope.cancel()
        # It ends before anything else is received: the number is right again within one round of the loop.
        self._taken -= 1
        self._displaced += 1
        return True
