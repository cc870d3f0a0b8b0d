import pytest

from exchanger.telemetry.clock import TOLERANCE, Epoch
from tests.telemetry.clocks import Machine

SECOND = 1_000_000_000


def test_a_moment_is_told_in_the_time_of_day() -> None:
    machine = Machine()
    epoch = Epoch(machine.wall, machine.monotonic)
    assert epoch.at(5.25) == machine.distance + 5_250_000_000


def test_what_passes_before_it_is_told_changes_nothing() -> None:
    machine = Machine()
    epoch = Epoch(machine.wall, machine.monotonic)
    told = epoch.at(5.25)
    machine.now += 3600 * SECOND
    assert epoch.at(5.25) == told


@pytest.mark.parametrize("pauses", [(SECOND, 0, 0), (0, SECOND, 0), (0, 0, SECOND), (SECOND, SECOND, SECOND)])
def test_a_pause_between_the_readings_is_not_taken_for_a_clock_that_was_set(pauses: tuple[int, ...]) -> None:
    machine = Machine()
    epoch = Epoch(machine.wall, machine.monotonic)
    told = epoch.at(5.25)
    machine.pauses = iter(pauses)
    assert epoch.at(5.25) == told


@pytest.mark.parametrize("step", [2 * TOLERANCE, -2 * TOLERANCE, 86_400 * SECOND, -86_400 * SECOND])
def test_a_clock_that_was_set_is_followed(step: int) -> None:
    machine = Machine()
    epoch = Epoch(machine.wall, machine.monotonic)
    told = epoch.at(5.25)
    machine.distance += step
    assert epoch.at(5.25) == told + step
    assert epoch.at(6.25) == told + step + SECOND


@pytest.mark.parametrize("pauses", [(SECOND, 0), (0, SECOND)])
def test_a_pause_at_the_start_is_mended_at_the_first_look(pauses: tuple[int, ...]) -> None:
    machine = Machine(iter(pauses))
    epoch = Epoch(machine.wall, machine.monotonic)
    assert epoch.at(5.25) == pytest.approx(machine.distance + 5_250_000_000, abs=TOLERANCE)
