import pytest

from exchanger.telemetry.histogram import Histogram


@pytest.mark.parametrize(
    ("value", "cumulative"),
    [(0.0, (1, 1, 1)), (1.0, (1, 1, 1)), (1.0001, (0, 1, 1)), (2.0, (0, 1, 1)), (2.1, (0, 0, 1)), (float("inf"), (0, 0, 1))],
)
def test_a_bound_belongs_to_its_own_bucket(value: float, cumulative: tuple[int, ...]) -> None:
    histogram = Histogram((1.0, 2.0))
    histogram.observe(value)

    assert (histogram.cumulative(), histogram.total) == (cumulative, value)


def test_buckets_are_cumulative() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 0.5, 1.5, 3.0):
        histogram.observe(value)

    assert (histogram.cumulative(), histogram.total) == ((2, 3, 4), 5.5)
    assert histogram.count == 4
