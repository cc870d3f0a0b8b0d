import math

import pytest

from exchanger.kube.list_watch import ApiFailure, FailureKind
from exchanger.kube.recovery import Attempt, after_failure

K = FailureKind
LISTS_AFRESH = {K.GONE, K.MALFORMED, K.UNSUPPORTED}
ANSWERED = {K.UNAUTHORIZED, K.FORBIDDEN, K.NOT_FOUND, K.GONE, K.UNSUPPORTED, K.MALFORMED}


@pytest.mark.parametrize("kind", FailureKind)
def test_a_list_that_fails_is_listed_again(kind: FailureKind) -> None:
    setback = after_failure(Attempt.LIST, ApiFailure(kind))
    assert (setback.next, setback.lenient) == (Attempt.LIST, kind is K.GONE)


@pytest.mark.parametrize("kind", FailureKind)
def test_a_watch_that_fails_goes_on_unless_its_version_is_lost(kind: FailureKind) -> None:
    setback = after_failure(Attempt.WATCH, ApiFailure(kind))
    assert setback.next is (Attempt.LIST if kind in LISTS_AFRESH else Attempt.PROBE)
    assert setback.lenient is (kind in {K.GONE, K.MALFORMED})


@pytest.mark.parametrize("attempt", [Attempt.PROBE, Attempt.COMPARE])
@pytest.mark.parametrize("kind", FailureKind)
def test_a_look_that_is_refused_does_not_keep_the_watch_back(attempt: Attempt, kind: FailureKind) -> None:
    setback = after_failure(attempt, ApiFailure(kind))
    assert setback.next is (Attempt.WATCH if kind in ANSWERED else Attempt.PROBE)
    assert not setback.lenient


@pytest.mark.parametrize(
    ("asked", "expected"),
    [(None, 0.0), (0.0, 0.0), (-5.0, 0.0), (math.nan, 0.0), (7.0, 7.0), (10.0, 10.0), (86400.0, 10.0), (math.inf, 10.0)],
)
def test_what_the_server_asks_for_is_honoured_within_reason(asked: float | None, expected: float) -> None:
    assert after_failure(Attempt.WATCH, ApiFailure(K.TOO_MANY_REQUESTS, 429, retry_after=asked)).at_least == expected
