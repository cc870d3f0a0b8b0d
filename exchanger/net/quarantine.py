"""The quarantine of an HTTP/1.1 connection between two calls.

HTTP/1.1 answers do not name the request that they belong to (RFC 9112 section 9.3,
https://www.rfc-editor.org/rfc/rfc9112#section-9.3). A surplus answer, from a proxy that sent a request twice or a late thread, would be
taken for the answer to the next request, which is another caller's. The second copy of a request takes about as long as requests take. So
after an answer, a connection is not reused for the longest time that an answer took lately, and a byte that arrives meanwhile ends it.
"""

from typing import Final, final

import attrs

# Seconds. However quick an endpoint is, a garbage collection, a busy scheduler or a delayed acknowledgement (40 ms on Linux) delays an
# answer by tens of milliseconds. At 1,000 calls a second this takes 100 open connections.
LEAST_QUARANTINE: Final = 0.1

# Seconds, while few answers were measured: the longest of a few says little about later ones. If calls are rare, so are connections, and a
# longer quarantine costs nothing.
UNKNOWN_QUARANTINE: Final = 1.0

# Answers after which the longest of them is relied on: it is then longer than all but one in a hundred.
_ENOUGH_ANSWERS: Final = 100

# Seconds for which a measurement counts at least, and twice as long at most: long enough to contain an endpoint's slow moments, and short
# enough that the pool does not stay large because of one of them.
_SPAN: Final = 60.0


@final
@attrs.define(eq=False)
class ReuseQuarantine:
    """The quarantine that one host's connections need, in seconds; ``now`` never goes back.

    ``longest`` is the longest that a call may take. No answer that is waited for takes longer, so no quarantine does either, unless
    ``longest`` is less than ``LEAST_QUARANTINE``.
    """

    longest: float
    _ends: float = attrs.field(default=0.0, init=False)
    _slowest: float = attrs.field(default=0.0, init=False)
    _slowest_before: float = attrs.field(default=0.0, init=False)
    _answers: int = attrs.field(default=0, init=False)
    _answers_before: int = attrs.field(default=0, init=False)

    def measured(self, now: float, took: float, *, answered: bool) -> None:
        """Count a call that took ``took`` until ``now``; one that was given up would have taken at least that long."""
        if now >= self._ends:
            self._turn(now)
        self._answers += answered
        if took > self._slowest:
            self._slowest = took

    def seconds(self, now: float) -> float:
        """Return how long a connection must have been in quarantine by ``now``."""
        if now >= self._ends:
            self._turn(now)
        few = self._answers + self._answers_before < _ENOUGH_ANSWERS
        measured = UNKNOWN_QUARANTINE if few else LEAST_QUARANTINE
        if self._slowest > measured:
            measured = self._slowest
        if self._slowest_before > measured:
            measured = self._slowest_before
        if measured > self.longest:
            measured = self.longest
        return measured if measured > LEAST_QUARANTINE else LEAST_QUARANTINE

    def is_unknown(self, now: float) -> bool:
        """Return whether nothing that was measured counts any more."""
        if now >= self._ends:
            self._turn(now)
        return not (self._answers or self._answers_before or self._slowest or self._slowest_before)

    def _turn(self, now: float) -> None:
        follows = now < self._ends + _SPAN
        self._slowest_before, self._slowest = (self._slowest if follows else 0.0), 0.0
        self._answers_before, self._answers = (self._answers if follows else 0), 0
        self._ends = now + _SPAN
