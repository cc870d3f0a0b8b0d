"""How long to wait after a failure: exponentially longer with each one, spread by chance, forgotten after a success or a time without any.

The form and the numbers are those of client-go's reflector (``NewReflectorWithOptions`` and ``wait.Jitter``,
https://github.com/kubernetes/client-go/blob/master/tools/cache/reflector.go), so that an API server in trouble sees no more requests from
this program than from any other informer.

Must not know: what failed, or any clock.
"""

import math
from random import Random
from typing import Final, final

import attrs

# Seconds, before chance is added, to wait after the first failure.
FIRST_S: Final = 0.8
# By how much each further wait is longer.
FACTOR: Final = 2.0
# Seconds that no wait exceeds before chance is added; with it, the longest wait is just below a minute.
CAP_S: Final = 30.0
# Seconds without a failure after which the failures before count no more.
RESET_S: Final = 120.0


@final
@attrs.frozen
class BackOffSettings:
    """Durations in seconds. The defaults are client-go's."""

    first: float = FIRST_S
    factor: float = FACTOR
    cap: float = CAP_S
    reset: float = RESET_S


@final
@attrs.define(eq=False)
class BackOff:
    """Counts failures of one thing that is attempted again and again.

    Waits have full jitter in client-go's sense: as much again as the wait itself is the most that chance adds. Jitter that could make a
    wait arbitrarily short would let a run of bad luck hammer the server; with this one, the number of failures in any hour is bounded.
    """

    settings: BackOffSettings
    random: Random
    _base: float = attrs.field(default=0.0, init=False)
    _until: float = attrs.field(default=-math.inf, init=False)

    def succeeded(self) -> None:
        """Reset the failures: an attempt succeeded."""
        self._base, self._until = 0.0, -math.inf

    def failed(self, now: float, *, at_least: float = 0.0, lenient: bool = False) -> float:
        """Return how many seconds to wait after a failure at ``now`` (seconds of any clock that does not go back).

        Args:
            now: When it failed.
            at_least: Seconds that the other side asked for; the longer of the two waits counts.
            lenient: The first such failure after a time without any is forgiven: no wait, but it counts.
        """
        rested = now - self._until >= self.settings.reset
        if rested and lenient:
            self._base = 0.0
        elif rested:
            self._base = self.settings.first
        else:
            self._base = min(max(self._base * self.settings.factor, self.settings.first), self.settings.cap)
        wait = max(self._base * (1.0 + self.random.random()), at_least)
        self._until = now + wait
        return wait
