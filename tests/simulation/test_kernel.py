"""Time and chance of the simulation: all that happens follows from the seed."""

import os
import signal
import ssl
import subprocess
import sys

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from tests.simulation.kernel import START, Kernel, StuckError, can_seed_openssl, seeded


@given(st.lists(st.floats(0.0, 100.0), max_size=20))
def test_what_is_due_happens_in_its_order_and_takes_no_time(delays: list[float]) -> None:
    kernel, seen = Kernel(1), list[tuple[float, int]]()
    for number, delay in enumerate(delays):
        kernel.after(delay, lambda number=number: seen.append((kernel.now, number)))

    async def wait() -> float:
        await trio.sleep(100.5)
        return trio.current_time()

    assert kernel.run(wait) == START + 100.5
    assert seen == sorted((START + delay, number) for number, delay in enumerate(delays))


def test_tasks_that_are_woken_run_before_time_goes_on() -> None:
    kernel, seen = Kernel(1), list[float]()

    async def wait() -> None:
        for _ in range(3):
            woken = trio.Event()
            kernel.after(1.0, woken.set)
            await woken.wait()
            seen.append(trio.current_time() - START)

    kernel.after(2.5, lambda: seen.append(kernel.now - START))
    kernel.run(wait)
    assert seen == [1.0, 2.0, 2.5, 3.0]


def test_a_signal_is_heard_before_time_goes_on() -> None:
    kernel = Kernel(1)

    async def wait() -> float:
        with trio.open_signal_receiver(signal.SIGTERM) as received:
            kernel.after(1.0, signal.raise_signal, signal.SIGTERM)
            for moment in (1.5, 2.0):
                kernel.after(moment, kernel.tell, "world", "goes on")
            async for _ in received:
                break
        return trio.current_time() - START

    assert kernel.run(wait) == 1.0


def test_a_run_in_which_nothing_can_happen_ends() -> None:
    with pytest.raises(StuckError, match="sleep_forever"):
        Kernel(1).run(trio.sleep_forever)


def test_an_event_that_makes_itself_for_ever_ends_the_run() -> None:
    kernel = Kernel(1)

    def again() -> None:
        kernel.after(0.0, again)

    again()
    with pytest.raises(StuckError, match="stands still"):
        kernel.run(trio.sleep_forever)


def test_what_an_event_raises_ends_the_run() -> None:
    kernel = Kernel(1)

    def broken() -> None:
        raise KeyError("broken")

    kernel.after(1.0, broken)
    with pytest.raises(KeyError, match="broken"):
        kernel.run(trio.sleep_forever)


def drawn(seed: int) -> list[object]:
    """Return what tasks, threads and OpenSSL do under a seed."""
    kernel, seen = Kernel(seed), list[object]()

    async def work(number: int) -> None:
        for _ in range(5):
            await trio.sleep(1.0)
            seen.append(number)
            seen.append(await kernel.run_sync(lambda: kernel.now))

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(work, number)

    with seeded(seed):
        kernel.run(main)
    return seen


def test_everything_follows_from_the_seed() -> None:
    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def nonce(seed: int) -> bytes:
    with seeded(seed):
        return ssl.RAND_bytes(8)


@pytest.mark.skipif(not can_seed_openssl(), reason="this Python's OpenSSL lets nobody choose its numbers")
def test_what_openssl_draws_follows_from_the_seed() -> None:
    assert nonce(1) == nonce(1)
    assert nonce(1) != nonce(2)
    assert ssl.RAND_bytes(8) != ssl.RAND_bytes(8)


def digests(hash_seed: str) -> list[str]:
    command = [sys.executable, "-m", "tests.simulation", "--seeds", "13-15", "--minutes", "0.03", "--each", "--jobs", "1"]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    return [line.partition(",")[0] for line in told.splitlines() if line.startswith("seed ")]


@pytest.mark.full
def test_another_process_sees_the_same_to_the_last_byte() -> None:
    """Two processes differ in the hashes of text and in the addresses of objects."""
    found = digests("1")
    assert len(set(found)) == 3
    assert found == digests("777")
