"""Laws of the reactor's rounds: what some participants have left to do delays the others by a bounded amount of work."""

import socket
from typing import ClassVar

import attrs
import trio
from hypothesis import given
from hypothesis import strategies as st

from exchanger.net.reactor import READ, WORK_PER_CHECKPOINT, Reactor

# The most that one participant may do in its turn in the queue.
LARGEST_SHARE = 64


@attrs.define(eq=False)
class Busy:
    """Has ``left`` units of work, of which it does its share in each turn; ``turns`` tells whose turn it was and the units."""

    first: ClassVar[bool] = False
    name: int
    left: int
    reactor: Reactor
    turns: list[tuple[int, int]]

    def fileno(self) -> int:
        raise AssertionError

    def ready(self, mask: int, now: float) -> int:
        raise AssertionError(mask, now)

    def resume(self, now: float) -> int:
        del now
        work = min(self.left, self.reactor.share)
        self.left -= work
        self.turns.append((self.name, work))
        if self.left:
            self.reactor.later(self)
        return work

    def flush(self) -> None:
        raise AssertionError


@attrs.define(eq=False)
class Newcomer:
    """Becomes ready when something arrives at its socket; ``turns`` tells that it was served, as -1."""

    first: ClassVar[bool] = False
    socket: socket.socket
    turns: list[tuple[int, int]]

    def fileno(self) -> int:
        return self.socket.fileno()

    def ready(self, mask: int, now: float) -> int:
        del mask, now
        self.socket.recv(1)
        self.turns.append((-1, 1))
        return 1

    def resume(self, now: float) -> int:
        raise AssertionError(now)

    def flush(self) -> None:
        raise AssertionError


@attrs.define(eq=False)
class Arrival(Busy):
    """Does one unit of work, and then something arrives for the newcomer."""

    far: socket.socket

    def resume(self, now: float) -> int:
        self.far.send(b"x")
        return super().resume(now)


loads = st.lists(st.integers(1, 1000), min_size=1, max_size=12) | st.integers(1, 1100).map(lambda count: [3] * count)


async def turns_of(lefts: list[int], arrives: int) -> list[tuple[int, int]]:
    """Return the turns until all work is done. Something arrives for the newcomer in the first turn of the participant ``arrives``."""
    reactor, turns = Reactor(), list[tuple[int, int]]()
    near, far = socket.socketpair()
    with near, far:
        async with trio.open_nursery() as nursery:
            for number, left in enumerate(lefts):
                reactor.later(Arrival(number, 1, reactor, turns, far) if number == arrives else Busy(number, left, reactor, turns))
            reactor.watch(Newcomer(near, turns), READ)
            nursery.start_soon(reactor.run)
            while sum(work for _, work in turns) < sum(lefts) - lefts[arrives] + 2:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    reactor.close()
    return turns


@given(loads, st.data())
async def test_a_new_connection_waits_for_at_most_two_turns_of_work(lefts: list[int], data: st.DataObject) -> None:
    arrives = data.draw(st.integers(0, len(lefts) - 1))
    turns = await turns_of(lefts, arrives)
    arrived, served = (next(place for place, (name, _) in enumerate(turns) if name == wanted) for wanted in (arrives, -1))
    assert sum(work for _, work in turns[arrived:served]) <= 2 * (WORK_PER_CHECKPOINT + LARGEST_SHARE)


@given(loads)
async def test_nobody_has_a_second_turn_before_all_others_had_one(lefts: list[int]) -> None:
    turns = [name for name, _ in await turns_of(lefts, 0) if name >= 0]
    waits = dict.fromkeys(range(len(lefts)), 0)
    for name in turns:
        assert waits[name] == min(waits.values())
        waits[name] += 1
        if waits[name] >= turns.count(name):
            del waits[name]


@given(loads)
async def test_the_last_of_many_connections_resumes_after_a_bounded_amount_of_work(lefts: list[int]) -> None:
    turns = [(name, work) for name, work in await turns_of(lefts, 0) if name >= 0]
    before_last = turns[: 1 + next(place for place, (name, _) in enumerate(turns) if name == len(lefts) - 1)]
    assert sum(work for _, work in before_last) <= 512 + LARGEST_SHARE + len(lefts)
