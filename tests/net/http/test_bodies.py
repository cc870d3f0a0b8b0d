"""Bodies that arrive beside each other: what is announced costs nothing, and the slowest give way to the others."""

from contextlib import AbstractContextManager
from typing import Final

import attrs
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from exchanger.net.http.bodies import SPAN_S, Bodies, Body
from tests.net.http.test_server import LIMITS, Clock, Served, post

LIMIT: Final = 1000
MIB: Final = 1024 * 1024
# As the webhook has it: bodies of 16 MiB, four of which are all that is held.
WEBHOOK: Final = attrs.evolve(LIMITS, connections=64, body_bytes=16 * MIB, bodies_bytes=64 * MIB)

STEPS: Final = st.lists(
    st.tuples(st.integers(0, 7), st.sampled_from(["grow", "grow", "grow", "end", "arrived"]), st.integers(1, 700), st.floats(0, 2.0)),
    max_size=60,
)


@given(STEPS)
def test_what_is_held_is_bounded_and_only_what_arrives_gives_way(steps: list[tuple[int, str, int, float]]) -> None:
    async def main() -> None:
        bodies = Bodies(LIMIT)
        held: dict[int, tuple[AbstractContextManager[Body], Body]] = {}
        complete = set[int]()
        for number, step, size, pause in steps:
            await trio.sleep(pause)
            if number not in held:
                new = bodies.hold()
                held[number] = new, new.__enter__()
            manager, body = held[number]
            if step == "end" or body.scope.cancel_called:
                manager.__exit__(None, None, None)
                del held[number]
                complete.discard(number)
            elif step == "arrived":
                bodies.arrived(body)
                complete.add(number)
            elif number not in complete:
                bodies.grow(body, size)
            assert bodies.taken == sum(one.size for _, one in held.values())
            largest = max((one.size for _, one in held.values()), default=0)
            assert bodies.taken <= max(LIMIT, largest)
            assert not any(held[number][1].scope.cancel_called for number in complete)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


async def test_the_slowest_of_late_gives_way(autojump_clock: Clock) -> None:
    bodies = Bodies(LIMIT)
    with bodies.hold() as stalled, bodies.hold() as steady, bodies.hold() as new:
        bodies.grow(stalled, 600)  # all at once, and then no more
        for _ in range(3):
            await trio.sleep(SPAN_S)
            bodies.grow(steady, 100)
        bodies.grow(new, 200)
        assert (stalled.scope.cancel_called, steady.scope.cancel_called, new.scope.cancel_called) == (True, False, False)
        assert (bodies.taken, bodies.gave_way) == (500, 1)
    assert bodies.taken == 0


@pytest.mark.parametrize("sent", [1, MIB, 16 * MIB - 1], ids=["a byte", "a mebibyte", "all but a byte"])
@pytest.mark.parametrize("count", [4, 40])
async def test_a_client_that_announces_much_and_sends_little_keeps_nobody_out(sent: int, count: int, autojump_clock: Clock) -> None:
    at = Served(WEBHOOK)
    async with trio.open_nursery() as nursery:
        for _ in range(count if sent < 16 * MIB - 1 else 5):
            client, served = trio.testing.memory_stream_pair()
            nursery.start_soon(at.server.serve, served)
            nursery.start_soon(client.send_all, post(16 * MIB, b"x" * sent))
        await trio.testing.wait_all_tasks_blocked()
        assert at.server.bodies.taken <= 64 * MIB
        await trio.sleep(2.5)
        for _ in range(3):
            answer = await at.talk(post(MIB, b"y" * MIB))
            assert answer.startswith(b"HTTP/1.1 200 ")
        nursery.cancel_scope.cancel()
    assert at.server.bodies.taken == 0
