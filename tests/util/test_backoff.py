from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanger.util.backoff import BackOff, BackOffSettings

DEFAULTS = BackOffSettings()


class Fixed(Random):
    """Draws the same number each time."""

    def __init__(self, drawn: float) -> None:
        super().__init__()
        self.drawn = drawn

    def random(self) -> float:
        return self.drawn


def waits(back_off: BackOff, count: int, *, lenient: bool = False) -> list[float]:
    """Fail ``count`` times, each time at the end of the wait before."""
    now, found = 0.0, []
    for _ in range(count):
        found.append(back_off.failed(now, lenient=lenient))
        now += found[-1]
    return found


def test_waits_double_up_to_the_cap() -> None:
    """client-go: NewExponentialBackoffManager(800ms, 30s, 2min, 2.0, 1.0)."""
    assert waits(BackOff(DEFAULTS, Fixed(0.0)), 8) == pytest.approx([0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0])


def test_a_success_makes_the_next_failure_the_first() -> None:
    back_off = BackOff(DEFAULTS, Fixed(0.0))
    waits(back_off, 8)
    back_off.succeeded()
    assert waits(back_off, 2) == pytest.approx([0.8, 1.6])


def test_chance_adds_as_much_again() -> None:
    assert waits(BackOff(DEFAULTS, Fixed(0.5)), 3) == pytest.approx([1.2, 2.4, 4.8])
    assert max(waits(BackOff(DEFAULTS, Random(1)), 1000)) < 60.0


def test_two_minutes_without_a_failure_are_a_new_start() -> None:
    back_off = BackOff(DEFAULTS, Fixed(0.0))
    waits(back_off, 4)
    ended = 0.8 + 1.6 + 3.2 + 6.4
    assert back_off.failed(ended + 119.9) == pytest.approx(12.8)
    assert back_off.failed(ended + 119.9 + 12.8 + 120.0) == pytest.approx(0.8)


def test_the_wait_itself_is_no_time_of_health() -> None:
    back_off = BackOff(BackOffSettings(reset=10.0), Fixed(0.0))
    waits(back_off, 6)  # the last one alone is longer than it takes to forget
    assert back_off.failed(0.8 + 1.6 + 3.2 + 6.4 + 12.8 + 25.6) == 30.0


def test_back_off_is_lenient_only_for_the_first_failure() -> None:
    assert waits(BackOff(DEFAULTS, Fixed(0.0)), 4, lenient=True) == pytest.approx([0.0, 0.8, 1.6, 3.2])
    back_off = BackOff(DEFAULTS, Fixed(0.0))
    assert (back_off.failed(0.0), back_off.failed(0.8, lenient=True)) == (0.8, 1.6)


@pytest.mark.parametrize(("asked", "expected"), [(0.0, 0.8), (0.5, 0.8), (20.0, 20.0)])
def test_the_longer_of_two_waits_counts(asked: float, expected: float) -> None:
    assert BackOff(DEFAULTS, Fixed(0.0)).failed(0.0, at_least=asked) == expected


@given(
    st.lists(st.tuples(st.floats(0.0, 400.0), st.booleans()), max_size=300),
    st.integers(0, 2**32),
)
def test_no_hour_has_more_than_160_failures(failures: list[tuple[float, bool]], seed: int) -> None:
    """Six in the first minute, then one each half minute, or a pause of two minutes: whatever is drawn."""
    back_off = BackOff(DEFAULTS, Random(seed))
    now, times = 0.0, []
    for healthy, lenient in failures:
        now += healthy
        times.append(now)
        now += back_off.failed(now, lenient=lenient)
    for start in times:
        assert sum(start <= time < start + 3600 for time in times) <= 160
