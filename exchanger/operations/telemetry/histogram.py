"""Counters and histograms as plain numbers, cheap to add to, and the metric families made of them for a scrape.

Single-threaded: the event loop's thread adds to them and reads them, so there are no locks.
"""

from bisect import bisect_left
from collections.abc import Mapping
from itertools import accumulate
from typing import final

import attrs
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

Labels = tuple[str, ...]


@final
@attrs.define(eq=False)
class Histogram:
    """Counts observations by upper ``bounds``, each of which belongs to its own bucket, as in Prometheus. ``total`` is their sum."""

    _bounds: tuple[float, ...]
    total: float = attrs.field(default=0.0, init=False)
    _counts: list[int] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._counts = [0] * (len(self._bounds) + 1)

    def observe(self, value: float) -> None:
        """Add one observation."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        """The number of observations."""
        return sum(self._counts)

    def cumulative(self) -> tuple[int, ...]:
        """Return for each bound, and then for infinity, the number of observations up to it."""
        return tuple(accumulate(self._counts))


def counter(name: str, documentation: str, values: Mapping[Labels, int], labels: Labels = ()) -> Metric:
    """Return a family of counters."""
    family = CounterMetricFamily(name, documentation, labels=labels)
    for of, value in values.items():
        family.add_metric(of, value)
    return family


def gauge(name: str, documentation: str, values: Mapping[Labels, float], labels: Labels = ()) -> Metric:
    """Return a family of gauges."""
    family = GaugeMetricFamily(name, documentation, labels=labels)
    for of, value in values.items():
        family.add_metric(of, value)
    return family


def histogram(name: str, documentation: str, series: Mapping[Labels, Histogram], bounds: tuple[float, ...], labels: Labels) -> Metric:
    """Return a family of histograms with these ``bounds``."""
    texts = (*(f"{bound:g}" for bound in bounds), "+Inf")
    family = HistogramMetricFamily(name, documentation, labels=labels)
    for of, one in series.items():
        family.add_metric(of, tuple(zip(texts, one.cumulative(), strict=True)), one.total)
    return family
