import pytest

from exchanger.operations.telemetry.clock import TOLERANCE, Clock
from tests.operations.telemetry.clocks import Machine

SECOND = 1_000_000_000
FINE = 1000  # what seconds since 1970 are exact to, as floats


@pytest.mark.parametrize(
    ("pauses", "step"),
    [
        ((), 0),
        ((SECOND, 0, 0), 0),
        ((0, SECOND, 0), 0),
        ((0, 0, SECOND), 0),
        ((SECOND, SECOND, SECOND), 0),
        ((), 2 * TOLERANCE),
        ((), -2 * TOLERANCE),
        ((), 86_400 * SECOND),
        ((), -86_400 * SECOND),
    ],
)
def test_a_moment_keeps_its_wall_time_until_the_clock_is_set(pauses: tuple[int, ...], step: int) -> None:
    machine = Machine()
    clock = Clock(machine.wall, machine.steady)
    told = clock.at(5.25)
    assert told == pytest.approx(machine.distance + 5_250_000_000, rel=0, abs=FINE)
    machine.now += 3600 * SECOND
    machine.pauses = iter(pauses)
    machine.distance += step
    assert clock.at(5.25) == pytest.approx(told + step, rel=0, abs=FINE)
    assert clock.at(6.25) == clock.at(5.25) + SECOND


@pytest.mark.parametrize("pauses", [(SECOND, 0), (0, SECOND)])
def test_a_pause_at_the_start_is_corrected_at_the_first_look(pauses: tuple[int, ...]) -> None:
    machine = Machine(iter(pauses))
    epoch = Clock(machine.wall, machine.steady)
    assert epoch.at(5.25) == pytest.approx(machine.distance + 5_250_000_000, abs=TOLERANCE * SECOND)
