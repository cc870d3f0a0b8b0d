"""What depends on the order of turns, with a transport that says what the test wants."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
from trio.testing import MockClock

from exchanger.net.grpc.connection import Connection
from exchanger.net.grpc.routes import Route
from exchanger.net.grpc.session import Session
from exchanger.net.grpc.status import StatusCode
from exchanger.net.reactor import READ, WRITE, Reactor
from tests.net.grpc.frames import (
    DATA,
    PING,
    RST_STREAM,
    raw,
    word,
)
from tests.net.grpc.peer import ECHO, Peer, framed, head, routes


@attrs.define(eq=False)
class Script:
    """A transport: reads ``incoming``, takes ``room`` writes as a whole, and then only part of each."""

    socket: socket.socket
    incoming: list[bytes | Exception] = attrs.field(factory=list)
    sent: list[bytes] = attrs.field(factory=list)
    room: int = 1000
    finished: bool = False
    unsent: bool = False
    extra_work: int = 0
    fault: Exception | None = None

    def fileno(self) -> int:
        return self.socket.fileno()

    def receive(self, limit: int) -> bytes:
        if not self.incoming:
            raise BlockingIOError
        item = self.incoming.pop(0)
        if isinstance(item, Exception):
            raise item
        if len(item) > limit:
            self.incoming.insert(0, item[limit:])
        return item[:limit]

    def send(self, data: bytes) -> bool:
        self.unsent = False
        if self.fault is not None:
            raise self.fault
        self.sent.append(data)
        self.room -= 1
        return self.room >= 0

    def flush(self) -> bool:
        return self.room > 0

    def finish(self) -> None:
        self.finished = True

    def close(self) -> None:
        self.socket.close()


@attrs.define(eq=False)
class Stage:
    reactor: Reactor
    session: Session
    transport: Script
    peer: Peer
    faults: list[BaseException]

    def turn(self, *incoming: bytes | Exception, mask: int = READ) -> int:
        """Let the session serve its transport, and go on in the same round with what it put off; return its work."""
        self.transport.incoming += incoming
        work = self.session.ready(mask, trio.current_time())
        return work + self.rest() - 1 if self.reactor.queue else work

    def turns(self, data: bytes) -> list[int]:
        """Let the session read and parse all of ``data``; return the work of each turn."""
        self.transport.incoming.append(data)
        work = []
        while (self.transport.incoming or self.reactor.queue) and self.transport.socket.fileno() != -1:
            work.append(self.rest() if self.reactor.queue else self.turn())
        return work

    def rest(self) -> int:
        """Let the session go on with what is left of its last read."""
        session, _ = self.reactor.queue.popitem()
        assert session is self.session
        assert not self.reactor.queue
        return self.session.resume(trio.current_time())

    def warm_up(self) -> list[int]:
        """Send cheap bytes, so that the session reads as much as it ever does; return the work of each turn."""
        stream = self.peer.request(body=framed(bytes(300_000))[:5], end=False)
        self.turn(self.peer.send())
        turns = self.turns(b"".join(raw(DATA, 0, stream, bytes(16_000)) for _ in range(14)))
        self.turn(raw(RST_STREAM, 0, stream, word(8)))
        del self.peer.answers[stream]
        return turns

    def hear(self) -> None:
        for data in self.transport.sent:
            if data:
                self.peer.receive(data)
        self.transport.sent.clear()


@asynccontextmanager
async def stage(table: dict[bytes, Route]) -> AsyncIterator[Stage]:
    reactor = Reactor()
    ours, theirs = socket.socketpair()
    faults: list[BaseException] = []
    transport = Script(ours)
    session = Session(transport, Connection(table), reactor, faults.append)
    with ours, theirs:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.run)
            await trio.testing.wait_all_tasks_blocked()
            here = Stage(reactor, session, transport, Peer(), faults)
            here.turn(here.peer.send())
            here.hear()
            here.turn(here.peer.send())
            yield here
            nursery.cancel_scope.cancel()
    reactor.close()
    assert session.tasks == 0


@pytest.mark.parametrize("when", ["reading", "sending", "a later turn"])
@pytest.mark.parametrize(("error", "faults"), [(BrokenPipeError(), 0), (ValueError("a bug"), 1)], ids=["broken", "fault"])
async def test_an_error_ends_the_session_and_only_our_faults_are_reported(when: str, error: Exception, faults: int) -> None:
    async with stage(routes()) as here:
        here.warm_up()
        for _ in range(100 if when == "a later turn" else 1):
            here.peer.call(b"x")
        if when == "reading":
            here.turn(error)
        else:
            if when == "sending":
                here.transport.fault = error
            here.turn(here.peer.send())
            here.transport.fault = error
            here.session.resume(0.0)
        await trio.testing.wait_all_tasks_blocked()
        assert here.transport.socket.fileno() == -1
        assert here.faults == [error] * faults
        here.turn(b"late")
        here.session.begin_drain()
        here.session.terminate()


async def test_unparsed_bytes_of_a_read_wait_while_the_peer_does_not_read() -> None:
    async with stage(routes()) as here:
        here.warm_up()
        here.transport.sent.clear()
        here.transport.room = 0
        here.turn(raw(PING, 0, 0, bytes(8)) * 2000)
        assert here.session.blocked
        assert here.rest() == 1
        assert not here.reactor.queue
        here.transport.room = 1000
        here.turn(mask=WRITE)
        assert sum(len(answer) for answer in here.transport.sent) < 17 * 700  # what one turn may parse, before and after
        while here.reactor.queue:
            here.rest()
        assert sum(len(answer) for answer in here.transport.sent) == 17 * 2000


async def test_an_arrival_deadline_does_not_run_while_nothing_is_read(mock_clock: MockClock) -> None:
    async with stage(routes()) as here:
        late, own = (
            here.peer.request(body=framed(b"late")[:-1], end=False),
            here.peer.request(head(ECHO, (b"grpc-timeout", b"35S")), b"\0", end=False),
        )
        here.turn(here.peer.send())
        mock_clock.jump(25.0)
        here.transport.room = 0
        here.turn(raw(PING, 0, 0, bytes(8)))
        mock_clock.jump(15.0)
        here.session.on_due(trio.current_time())
        here.transport.room = 1000
        here.turn(mask=WRITE)
        here.session.on_due(trio.current_time())
        here.hear()
        assert here.peer.answers[own].status == StatusCode.DEADLINE_EXCEEDED
        assert here.peer.answers[late].status is None
        here.peer.http.send_data(late, b"e", end_stream=True)
        here.turn(here.peer.send())
        here.hear()
        assert here.peer.answers[late].messages == [b"echo late"]
