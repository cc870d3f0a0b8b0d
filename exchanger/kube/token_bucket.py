"""A token bucket: so many at once, then one in each interval.

Must not know: what is limited, or any clock.
"""

import math
from typing import final

import attrs


@final
@attrs.define(eq=False)
class TokenBucket:
    """Holds ``burst`` tokens when it is full; one comes back every ``interval`` seconds. Times are of any clock that does not go back."""

    burst: int
    interval: float
    _full_at: float = attrs.field(default=-math.inf, init=False)

    def ready_at(self) -> float:
        """Return since when, or from when on, there is a token."""
        return self._full_at - (self.burst - 1) * self.interval

    def take(self, now: float) -> None:
        """Take a token that is there at ``now``."""
        self._full_at = max(self._full_at, now) + self.interval

    def is_full(self, now: float) -> bool:
        """Tell whether it is as good as new."""
        return self._full_at <= now
