import pytest

from exchanger.oauth.pool import LEAST_REST, UNKNOWN_REST, Rest

MANY = 100
"""Answers that are enough."""


def known(*, longest: float = 10.0, now: float = 0.0) -> Rest:
    """Return the rest of an endpoint that answers at once."""
    rest = Rest(longest)
    for _ in range(MANY):
        rest.measured(now, 0.0, answered=True)
    return rest


def test_before_any_answer_nothing_is_known() -> None:
    assert Rest(10.0).seconds(0.0) == UNKNOWN_REST


def test_nor_after_a_few() -> None:
    rest = Rest(10.0)
    for _ in range(MANY - 1):
        rest.measured(0.0, 0.03, answered=True)
    assert rest.seconds(0.0) == UNKNOWN_REST
    rest.measured(0.0, 0.03, answered=True)
    assert rest.seconds(0.0) == LEAST_REST


def test_what_was_not_answered_tells_little_of_answers() -> None:
    rest = Rest(10.0)
    for _ in range(2 * MANY):
        rest.measured(0.0, 0.03, answered=False)
    assert rest.seconds(0.0) == UNKNOWN_REST


@pytest.mark.parametrize("answered", [True, False])
def test_but_the_longest_counts_whatever_became_of_it(answered: bool) -> None:
    rest = known()
    rest.measured(0.0, 3.0, answered=answered)
    rest.measured(0.0, 2.0, answered=True)
    assert rest.seconds(0.0) == 3.0


def test_it_is_bounded_by_the_longest_exchange() -> None:
    rest = known(longest=0.75)
    assert rest.seconds(0.0) == LEAST_REST
    rest.measured(0.0, 0.8, answered=True)
    assert rest.seconds(0.0) == 0.75
    assert Rest(0.75).seconds(0.0) == 0.75


def test_and_never_less_than_the_least() -> None:
    assert Rest(0.001).seconds(0.0) == LEAST_REST


@pytest.mark.parametrize("at", [0.0, 1.0, 59.0])
def test_a_slow_answer_counts_for_a_minute_and_two_at_most(at: float) -> None:
    rest = known()
    rest.measured(at, 3.0, answered=True)
    for now in range(int(at) + 1, int(at) + 61):
        for _ in range(MANY):
            rest.measured(float(now), 0.03, answered=True)
        assert rest.seconds(float(now)) == 3.0
    for now in range(int(at) + 61, int(at) + 121):
        rest.measured(float(now), 0.03, answered=True)
    assert rest.seconds(at + 120.0) == LEAST_REST


def test_an_endpoint_that_was_not_asked_for_long_is_unknown_again() -> None:
    assert not known().is_unknown(119.0)
    assert known().is_unknown(120.0)
    assert known().seconds(60.0) == LEAST_REST
    assert known().seconds(120.0) == UNKNOWN_REST
