"""What all connections of a process may hold together.

Each connection has limits of its own; four thousand of them at their limits would be more than any machine has. A connection says here what
it holds, request data and answers alike, and asks before it holds more. Nothing is asked for a request that comes in one piece.

Must not know: connections, calls, or what is held.
"""

from typing import Final, final

import attrs

_LIMIT: Final = 256 * 1024 * 1024
"""Bytes; 16 connections at the limits of their own. A gateway's checks come in one piece and hold nothing here."""

_FREE_BYTES: Final = 64 * 1024
"""Bytes that a connection may hold whatever the others do, so that none is refused for what it has no part in: a check with large headers,
or one call's answers. With 4096 connections that is another 256 MiB, and twice the limit is the most that is ever held."""


@final
@attrs.frozen
class BudgetStatistics:
    """Bytes held now, and the limit."""

    used: int
    limit: int


@final
@attrs.define(eq=False)
class Budget:
    """Bytes held by all connections that share it."""

    _limit: int = _LIMIT
    _used: int = attrs.field(default=0, init=False)

    def change(self, amount: int) -> None:
        """Hold ``amount`` bytes more, or less when it is negative."""
        self._used += amount

    def refuses(self, own: int) -> bool:
        """Whether a connection that holds ``own`` bytes, already counted, holds too much."""
        return self._used > self._limit and own > _FREE_BYTES

    def statistics(self) -> BudgetStatistics:
        """Return what is held now."""
        return BudgetStatistics(self._used, self._limit)
