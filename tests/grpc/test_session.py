"""What depends on the order of turns, with a transport that says what the test wants."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio

from exchanger.grpc.connection import Connection
from exchanger.grpc.routes import CallInfo, Route
from exchanger.grpc.session import Session
from exchanger.grpc.status import StatusCode
from exchanger.net.reactor import READ, Reactor
from tests.grpc.frames import DATA, RST_STREAM, WINDOW_UPDATE, raw, word
from tests.grpc.later import Pending
from tests.grpc.peer import Peer, echo, framed, routes


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
    session: Session
    transport: Script
    peer: Peer
    faults: list[BaseException]

    def turn(self, *incoming: bytes | Exception, mask: int = READ) -> int:
        self.transport.incoming += incoming
        return self.session.ready(mask, trio.current_time())

    def turns(self, data: bytes) -> list[int]:
        """Let the session read all of ``data``; return the work of each turn."""
        self.transport.incoming.append(data)
        work = []
        while self.transport.incoming and self.transport.socket.fileno() != -1:
            work.append(self.turn())
        return work

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
            here = Stage(session, transport, Peer(), faults)
            here.turn(here.peer.send())
            here.hear()
            here.turn(here.peer.send())
            yield here
            nursery.cancel_scope.cancel()
    reactor.close()
    assert session.tasks == 0


async def test_nothing_is_read_while_calls_of_the_last_batch_are_undecided() -> None:
    decided: list[bytes] = []

    def handler(message: bytes, call: CallInfo) -> bytes | Pending:
        decided.append(message)
        return echo(message, call)

    async with stage(routes(handler)) as here:
        here.warm_up()
        here.transport.sent.clear()
        for number in range(150):
            here.peer.call(b"%d" % number)
        here.turn(here.peer.send())
        assert decided == [b"%d" % number for number in range(64)]
        assert len(here.transport.sent) == 1
        here.peer.call(b"new")
        here.turn(here.peer.send())
        assert len(here.transport.incoming) == 1
        here.session.resume(0.0)
        assert len(decided) == 128
        here.session.resume(0.0)
        assert len(decided) == 150
        here.turn()
        assert decided[-1] == b"new"
        here.hear()
        assert all(answer.status == 0 for answer in here.peer.answers.values())


@pytest.mark.parametrize("when", ["reading", "sending", "a later turn"])
@pytest.mark.parametrize(("error", "faults"), [(BrokenPipeError(), 0), (ValueError("a bug"), 1)], ids=["broken", "fault"])
async def test_an_error_ends_the_session_and_is_reported_if_it_is_a_fault_of_ours(when: str, error: Exception, faults: int) -> None:
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


async def test_after_the_last_bytes_input_is_read_and_thrown_away() -> None:
    async with stage(routes()) as here:
        here.turn(b"\0\0\4\3\0\0\0\0\0\0\0\0\0")
        assert here.transport.finished
        here.turn(b"whatever")
        assert here.transport.socket.fileno() != -1
        here.turn(b"")
        assert here.transport.socket.fileno() == -1
        assert here.session._connection.ended_calls[StatusCode.OK] == 0


async def test_words_of_the_transport_itself_are_sent_and_its_work_counts() -> None:
    async with stage(routes()) as here:
        here.transport.extra_work = 50
        assert here.turn() == 51
        here.peer.call(b"x")
        assert here.turn(here.peer.send()) == 52
        here.transport.sent.clear()
        here.turn()
        assert here.transport.sent == []
        here.transport.unsent = True
        here.transport.room = 0
        here.turn()
        assert here.transport.sent == [b""]
        assert here.session.blocked


async def test_expensive_bytes_are_read_in_small_pieces_so_others_get_their_turn() -> None:
    async with stage(routes()) as here:
        stream = here.peer.request(end=False)
        here.turn(here.peer.send())
        flood = here.turns(raw(DATA, 0, stream) * 4000)
        assert sum(flood) > 2000  # each turn reports its cost
        assert max(flood) < 140
        for _ in range(20):
            here.turn(raw(WINDOW_UPDATE, 0, 0, word(1)))  # small reads prove nothing
        assert max(here.turns(raw(DATA, 0, stream) * 900)) < 140


async def test_cheap_bytes_are_read_in_growing_pieces_until_they_get_expensive() -> None:
    async with stage(routes()) as here:
        assert len(here.warm_up()) < 12
        stream = here.peer.request(end=False)
        here.turn(here.peer.send())
        flood = here.turns(raw(DATA, 0, stream) * 4000)
        assert [work > 140 for work in flood] == [True] + [False] * (len(flood) - 1)  # only the first one was of full size
