import pytest

from exchanger.telemetry.histogram import Histogram, HistogramStatistics


@pytest.mark.parametrize(
    ("value", "cumulative"),
    [(0.0, (1, 1, 1)), (1.0, (1, 1, 1)), (1.0001, (0, 1, 1)), (2.0, (0, 1, 1)), (2.1, (0, 0, 1)), (float("inf"), (0, 0, 1))],
)
def test_a_bound_belongs_to_its_own_bucket(value: float, cumulative: tuple[int, ...]) -> None:
    histogram = Histogram((1.0, 2.0))
    histogram.observe(value)

    assert histogram.statistics() == HistogramStatistics(cumulative, value)


def test_buckets_are_cumulative() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 0.5, 1.5, 3.0):
        histogram.observe(value)

    assert histogram.statistics() == HistogramStatistics((2, 3, 4), 5.5)
    assert histogram.count == 4


def test_nothing_observed_is_nothing_counted() -> None:
    assert Histogram((1.0,)).statistics() == HistogramStatistics((0, 0), 0.0)
