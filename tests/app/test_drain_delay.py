import pytest
import trio
from trio.testing import MockClock

from exchanger.app.drain_delay import CHECKED_S, FADE_S, KNOWN_S, QUIET_S, DrainDelay
from exchanger.authz.envoy.health import LIVENESS


async def duration(fade: DrainDelay, longest: float = 10.0) -> float:
    start = trio.current_time()
    await fade.run(longest)
    return trio.current_time() - start


async def test_silence_ends_it(autojump_clock: MockClock) -> None:
    assert await duration(DrainDelay(lambda: 7)) == pytest.approx(QUIET_S)


async def test_requests_keep_it_going_up_to_its_bound(autojump_clock: MockClock) -> None:
    numbers = iter(range(10_000))
    fade = DrainDelay(lambda: next(numbers))
    assert await duration(fade) == pytest.approx(FADE_S)
    assert await duration(fade, longest=0.5) == pytest.approx(0.5)


async def test_the_drain_delay_ends_shortly_after_the_gateway_has_seen_the_drain(autojump_clock: MockClock) -> None:
    """Its checks go on; the first one counts."""
    fade = DrainDelay(lambda: 7)
    fade.checked("", serving=True)
    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(later, fade, 1.0 + number / 10)
        assert await duration(fade) == pytest.approx(1.0 + KNOWN_S, abs=QUIET_S / 2)
        nursery.cancel_scope.cancel()
    assert await duration(fade) == pytest.approx(FADE_S)


async def later(fade: DrainDelay, seconds: float) -> None:
    await trio.sleep(seconds)
    fade.checked("", serving=False)


@pytest.mark.parametrize(("service", "age"), [("", CHECKED_S + 1), (LIVENESS, 0.0)])
async def test_nobody_waits_for_checks_that_steer_no_traffic(autojump_clock: MockClock, service: str, age: float) -> None:
    fade = DrainDelay(lambda: 7)
    fade.checked(service, serving=True)
    await trio.sleep(age)
    assert await duration(fade) == pytest.approx(QUIET_S)


async def test_a_stall_is_not_taken_for_silence(mock_clock: MockClock) -> None:
    """One long pause of the whole process is a single look without requests."""
    fade = DrainDelay(lambda: 7)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fade.run, 10.0)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(QUIET_S)
        await trio.testing.wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 1
        mock_clock.rate = 1000.0
