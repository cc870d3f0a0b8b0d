import socket
from collections.abc import Iterator
from typing import ClassVar

import attrs
import pytest
import trio

from exchanger.net.reactor import READ, WRITE, Reactor

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
