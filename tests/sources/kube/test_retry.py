import math
from random import Random

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from exchanger.model.selector import Selector
from exchanger.sources.kube.list_watch import ApiFailure, FailureKind
from exchanger.sources.kube.retry import ReflectorStep, Retry, RetryTimer, WatchHealth, after_failure
from exchanger.sources.kube.settings import MIN_LIMIT_S, KubernetesSettings, ReflectorSettings, settings_for
from tests.sources.kube.fake_api_server import BOOKMARK_S

K = FailureKind
LISTS_AFRESH = {K.GONE, K.MALFORMED, K.UNSUPPORTED}
ANSWERED = {K.UNAUTHORIZED, K.FORBIDDEN, K.NOT_FOUND, K.GONE, K.UNSUPPORTED, K.MALFORMED}


@pytest.mark.parametrize("kind", FailureKind)
def test_a_list_that_fails_is_listed_again(kind: FailureKind) -> None:
    retry = after_failure(ReflectorStep.LIST, ApiFailure(kind))
    assert (retry.next, retry.resync) == (ReflectorStep.LIST, kind is K.GONE)


@pytest.mark.parametrize("kind", FailureKind)
def test_a_watch_that_fails_goes_on_unless_its_version_is_lost(kind: FailureKind) -> None:
    retry = after_failure(ReflectorStep.WATCH, ApiFailure(kind))
    assert retry.next is (ReflectorStep.LIST if kind in LISTS_AFRESH else ReflectorStep.PROBE)
    assert retry.resync is (kind in {K.GONE, K.MALFORMED})


@pytest.mark.parametrize("attempt", [ReflectorStep.PROBE, ReflectorStep.COMPARE])
@pytest.mark.parametrize("kind", FailureKind)
def test_a_look_that_is_refused_does_not_keep_the_watch_back(attempt: ReflectorStep, kind: FailureKind) -> None:
    retry = after_failure(attempt, ApiFailure(kind))
    assert retry.next is (ReflectorStep.WATCH if kind in ANSWERED else ReflectorStep.PROBE)
    assert not retry.resync


@pytest.mark.parametrize(
    ("asked", "expected"),
    [(None, 0.0), (0.0, 0.0), (-5.0, 0.0), (math.nan, 0.0), (7.0, 7.0), (10.0, 10.0), (86400.0, 10.0), (math.inf, 10.0)],
)
def test_what_the_server_asks_for_is_honoured_within_reason(asked: float | None, expected: float) -> None:
    assert after_failure(ReflectorStep.WATCH, ApiFailure(K.TOO_MANY_REQUESTS, 429, retry_after=asked)).at_least == expected


failures = st.builds(
    lambda resync, asked: Retry(ApiFailure(K.GONE, retry_after=asked), ReflectorStep.LIST, resync),
    st.booleans(),
    st.sampled_from([None, 0.5, 4.0, 9.0]),
)


@given(st.lists(st.tuples(failures, st.booleans(), st.booleans()), min_size=1), st.integers())
def test_waits_have_their_bounds_and_begin_anew_after_success(attempts: list[tuple[Retry, bool, bool]], seed: int) -> None:
    settings = settings_for(15.0)
    timer, now, failed = RetryTimer(settings, Random(seed)), 0.0, {True: False, False: False}
    for retry, hurried, succeeded in attempts:
        if succeeded:
            timer.succeeded()
            failed = dict.fromkeys(failed, False)
        timer.hurry(hurried)
        wait = timer.failed(retry, now)
        shortest = 0.0 if retry.resync and not failed[True] else settings.back_off.first
        longest = 2 * settings.back_off.cap if failed[retry.resync] else 2 * shortest
        if retry.resync:
            longest = min(longest, settings.max_resync)
        if hurried:
            longest = min(longest, settings.hurry[1])
        assert max(min(shortest, longest), retry.at_least) <= wait <= max(longest, retry.at_least)
        failed[retry.resync], now = True, now + wait


@pytest.mark.parametrize(
    ("seconds", "asked", "woken", "ends"), [(20.0, 0.0, 0.1, 0.8), (20.0, 5.0, 0.1, 5.0), (20.0, 0.0, 3.0, 3.0), (0.5, 0.0, 0.1, 0.5)]
)
async def test_a_woken_wait_lasts_as_long_as_the_server_requested(
    autojump_clock: MockClock, seconds: float, asked: float, woken: float, ends: float
) -> None:
    timer, began = RetryTimer(ReflectorSettings(), Random(1)), trio.current_time()

    async def wake() -> None:
        await trio.sleep(0.01)
        timer.hurry(False)
        await trio.sleep(woken - 0.01)
        timer.hurry(True)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wake)
        await timer.sleep(seconds, asked)
        assert trio.current_time() - began == pytest.approx(ends)


def test_a_watch_that_is_taken_is_a_sign_unless_there_is_doubt() -> None:
    health = WatchHealth(ReflectorSettings())
    assert health.accepted(10.0)
    assert health.last == 10.0
    health.left(85.0)
    health.left(90.0)
    assert health.quiet == 75.0
    assert health.fell_silent()
    assert not health.fell_silent()
    assert not health.accepted(90.0)
    assert health.last == 10.0


def test_after_another_silence_the_good_end_before_it_counts_no_more() -> None:
    health = WatchHealth(ReflectorSettings())
    health.fell_silent()
    health.accepted(100.0)
    health.ended(130.0)
    assert health.accepted(131.0)
    health.fell_silent()
    assert not health.accepted(170.0)


def test_silence_adds_up_over_watches_until_one_speaks() -> None:
    health = WatchHealth(ReflectorSettings())
    for began in (0.0, 100.0, 200.0):
        assert health.accepted(began)
        health.left(began + 40.0)
    assert (health.quiet, health.silence) == (120.0, 30.0)
    health.accepted(300.0)
    health.left(400.0)
    assert health.silence == 0.0
    health.accepted(400.0)
    health.spoken(410.0)
    assert (health.quiet, health.silence, health.last) == (0.0, 75.0, 410.0)


@pytest.mark.parametrize(
    ("settings", "spoken", "ended", "is_over"),
    [
        (ReflectorSettings(), 129.25, 130.0, False),  # with the end, as from a proxy that collects
        (ReflectorSettings(), 129.0, 130.0, True),
        (settings_for(30.0), None, 108.0, True),  # where watches are short anyway, an end is enough
    ],
)
def test_a_watch_that_ends_well_is_alive_and_trusted_if_it_spoke(
    settings: ReflectorSettings, spoken: float | None, ended: float, is_over: bool
) -> None:
    health = WatchHealth(settings)
    health.fell_silent()
    health.accepted(100.0)
    if spoken is not None:
        health.spoken(spoken)
    health.ended(ended)
    assert (health.doubted, health.last) == (not is_over, ended)
    assert health.by_ends is (not is_over or settings.is_short)
    assert health.accepted(131.0)


@pytest.mark.parametrize("limit", [1.0, 10.0, 30.0, 90.0, 224.0, 225.0, 3600.0])
def test_signs_of_life_are_due_within_the_limit(limit: float) -> None:
    reflector = KubernetesSettings(Selector(), Selector(), max_staleness=limit).reflector
    due = reflector.max_watch if reflector.is_short else BOOKMARK_S
    assert due < reflector.silence < max(limit, MIN_LIMIT_S)
    assert reflector.short_watch[1] < reflector.short_silence < max(limit, MIN_LIMIT_S)


def test_without_a_limit_bookmarks_do() -> None:
    assert KubernetesSettings(Selector(), Selector()).reflector == ReflectorSettings()
