"""Counters and histograms as plain numbers: cheap to add to, read when somebody scrapes.

One thread: they are added to and read by the event loop's, so there are no locks. Must not know: what is counted.
"""

from bisect import bisect_left
from typing import final

import attrs


@final
@attrs.frozen
class HistogramStatistics:
    """``cumulative`` has, for each bound and then for infinity, how many observations were at most that; ``total`` is their sum."""

    cumulative: tuple[int, ...]
    total: float


@final
@attrs.define(eq=False)
class Histogram:
    """Counts observations by upper ``bounds``, which belong to their own bucket, as Prometheus has it."""

    _bounds: tuple[float, ...]
    _counts: list[int] = attrs.field(init=False)
    _total: float = attrs.field(default=0.0, init=False)

    def __attrs_post_init__(self) -> None:
        self._counts = [0] * (len(self._bounds) + 1)

    def observe(self, value: float) -> None:
        """Take note of one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._total += value

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self._counts)

    def statistics(self) -> HistogramStatistics:
        """Return the counts in the form in which they are exposed."""
        cumulative: list[int] = []
        count = 0
        for bucket in self._counts:
            count += bucket
            cumulative.append(count)
        return HistogramStatistics(tuple(cumulative), self._total)
