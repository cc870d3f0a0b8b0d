import socket
from collections.abc import Iterator
from typing import ClassVar

import attrs
import pytest
import trio
import trio.testing

from exchanger.net.reactor import READ, WORK_PER_CHECKPOINT, WRITE, Reactor
from exchanger.net.timers import NEVER

Pairs = list[tuple[socket.socket, socket.socket]]


@attrs.define(eq=False)
class Participant:
    """Is always ready to write."""

    first: ClassVar[bool] = False
    reactor: Reactor
    socket: socket.socket
    log: list[str] = attrs.field(factory=list)
    work: int = 1

    def fileno(self) -> int:
        return self.socket.fileno()

    def ready(self, mask: int, now: float) -> int:
        del now
        assert mask == WRITE
        self.log.append("write")
        return self.work

    def resume(self, now: float) -> int:
        raise AssertionError(now)

    def flush(self) -> None:
        self.log.append("flush")


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    reactor = Reactor()
    yield reactor
    reactor.close()


@pytest.fixture
def sockets() -> Iterator[Pairs]:
    pairs = [socket.socketpair() for _ in range(13)]
    yield pairs
    for ends in pairs:
        for end in ends:
            end.close()


@attrs.define(eq=False)
class Laborious(Participant):
    """Has long work, until its socket is read."""

    def ready(self, mask: int, now: float) -> int:
        if not self.reactor.admit():
            self.log.append("waits")
            return 1
        self.socket.recv(10)
        self.log.append("works")
        return self.work


async def test_long_work_lets_others_have_their_turn(reactor: Reactor, sockets: Pairs) -> None:
    order: list[str] = []
    for ours, theirs in sockets[:12]:
        reactor.watch(Laborious(reactor, ours, log=order), READ)
        theirs.send(b"0")
    reactor.watch(Participant(reactor, sockets[12][0], log=order), WRITE)  # always ready
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reactor.run)
        while order.count("works") < 12:
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    rounds = " ".join(order).split("write")
    assert max(each.count("works") for each in rounds) <= 8  # four in one round, and four in the next before the other's turn comes
    assert order.count("write") >= 2


@attrs.define(eq=False)
class Reader(Participant):
    """Decides after everybody has read, and then sends."""

    def ready(self, mask: int, now: float) -> int:
        self.socket.recv(10)
        self.log.append("read")
        self.reactor.afterwards(self._decide)
        return self.work

    def _decide(self) -> None:
        self.log.append("decide")
        self.reactor.schedule_flush(self)


@pytest.mark.parametrize(
    ("work", "order"),
    [
        pytest.param(1, "read read read decide decide decide flush flush flush", id="in-steps"),
        # What was read is decided before other tasks have their turn.
        pytest.param(128, "read decide flush read decide flush read decide flush", id="no-more-than-a-turn"),
    ],
)
async def test_a_round_reads_then_decides_then_sends(reactor: Reactor, sockets: Pairs, work: int, order: str) -> None:
    log: list[str] = []
    for ours, theirs in sockets[:3]:
        reactor.watch(Reader(reactor, ours, log, work), READ)
        theirs.send(b"0")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reactor.run)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert " ".join(log) == order


def test_outside_of_a_turn_nothing_waits(reactor: Reactor, sockets: Pairs) -> None:
    reader = Reader(reactor, sockets[0][0])
    sockets[0][1].send(b"0")
    reader.ready(READ, 0.0)
    assert reader.log == ["read", "decide", "flush"]


@attrs.define(eq=False)
class Resumed(Participant):
    """Goes on as often as it is to, each time with as much work as a turn may have."""

    left: int = 3

    def resume(self, now: float) -> int:
        del now
        self.log.append("resume")
        self.left -= 1
        if self.left:
            self.reactor.later(self)
        return WORK_PER_CHECKPOINT


@attrs.define(eq=False, slots=True, weakref_slot=True)
class Row:
    """Tells when its time has come."""

    log: list[str]
    due: float = NEVER

    def on_due(self, _now: float) -> None:
        self.log.append("due")


@pytest.mark.parametrize("others", [0, 5])
async def test_work_left_outside_a_round_resumes_although_no_socket_is_ready(reactor: Reactor, sockets: Pairs, others: int) -> None:
    log: list[str] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reactor.run)
        await trio.testing.wait_all_tasks_blocked()
        for number in range(others):
            reactor.later(Resumed(reactor, sockets[number][0], log))
        reactor.later(Resumed(reactor, sockets[12][0], log))
        await trio.testing.wait_all_tasks_blocked()
        assert log == ["resume"] * 3 * (others + 1)
        nursery.cancel_scope.cancel()


async def test_rows_that_are_due_together_leave_turns_to_others(reactor: Reactor, autojump_clock: trio.testing.MockClock) -> None:
    log: list[str] = []
    rows = [Row(log) for _ in range(1000)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reactor.run)
        for row in rows:
            reactor.timers.expect(row, trio.current_time() + 1.0)
        await trio.sleep(1.0)
        while log.count("due") < len(rows):
            log.append("others")
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert (
        max(len(turn) for turn in " ".join(log).split("others")) <= len(" due") * 2 * 64 + 1
    )  # the turn of others may be the first or the last


@attrs.define(eq=False)
class Spender(Participant):
    """Does more work than ``ready`` returns, once."""

    def ready(self, mask: int, now: float) -> int:
        self.socket.recv(10)
        self.reactor.spend(WORK_PER_CHECKPOINT)
        self.log.append("spend")
        return super().ready(WRITE, now)


async def test_what_a_turn_has_spent_counts_until_its_end(reactor: Reactor, sockets: Pairs) -> None:
    log: list[str] = []
    for ours, theirs in sockets[:3]:
        reactor.watch(Spender(reactor, ours, log), READ)
        theirs.send(b"0")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reactor.run)
        while log.count("spend") < 3:
            log.append("others")
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert "spend write spend write spend" not in " ".join(log)  # the turn of others may be the first or the last
    assert reactor.spent == 0
