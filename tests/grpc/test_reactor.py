import socket
from collections.abc import Iterator

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from exchanger.grpc.reactor import READ, WRITE, Reactor

Pairs = list[tuple[socket.socket, socket.socket]]


@attrs.define(eq=False)
class Participant:
    reactor: Reactor
    socket: socket.socket
    left: int = 0
    work: int = 1
    log: list[str] = attrs.field(factory=list)

    def fileno(self) -> int:
        return self.socket.fileno()

    def ready(self, mask: int, now: float) -> int:
        del now
        self.log.append({READ: "read", WRITE: "write"}[mask])
        if mask == READ:
            self.left = int(self.socket.recv(10))
        return self._go_on()

    def resume(self, now: float) -> int:
        del now
        self.log.append("resume")
        return self._go_on()

    def _go_on(self) -> int:
        if self.left:
            self.left -= 1
            self.reactor.later(self)
        return self.work


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


async def test_all_that_are_ready_are_served(reactor: Reactor, sockets: Pairs) -> None:
    participants = [Participant(reactor, ours) for ours, _ in sockets[:3]]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reactor.run)
        for participant in participants:
            reactor.watch(participant, READ)
        sockets[0][1].send(b"0")
        sockets[2][1].send(b"0")
        await wait_all_tasks_blocked()
        assert [participant.log for participant in participants] == [["read"], [], ["read"]]
        reactor.change(participants[1], WRITE)
        reactor.forget(participants[0])
        reactor.forget(participants[0])
        sockets[0][1].send(b"0")
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        assert participants[0].log == ["read"]
        assert "write" in participants[1].log
        nursery.cancel_scope.cancel()


async def test_what_is_left_over_takes_turns(reactor: Reactor, sockets: Pairs) -> None:
    greedy, modest = Participant(reactor, sockets[0][0]), Participant(reactor, sockets[1][0])
    order: list[str] = []
    greedy.log = modest.log = order
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reactor.run)
        reactor.watch(greedy, READ)
        sockets[0][1].send(b"5")
        await trio.lowlevel.checkpoint()
        reactor.watch(modest, READ)
        sockets[1][1].send(b"2")
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert order.count("resume") == 7
    assert (greedy.left, modest.left) == (0, 0)


async def test_a_busy_participant_lets_others_run(reactor: Reactor, sockets: Pairs) -> None:
    busy = Participant(reactor, sockets[0][0], work=1000)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reactor.run)
        nursery.start_soon(count)
        reactor.watch(busy, WRITE)  # always ready
        while len(busy.log) < 20:
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert turns >= 10


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
