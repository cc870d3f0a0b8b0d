"""A server on loopback, and a client that talks to it from the same thread, so that nothing depends on real time."""

import errno
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import attrs
import trio
from trio.testing import wait_all_tasks_blocked

from exchanger.grpc.limits import ConnectionLimits
from exchanger.grpc.routes import Route
from exchanger.grpc.server import GrpcServer, ServerSettings
from tests.grpc.peer import ECHO, Answer, Peer, head


@attrs.define(eq=False)
class Client:
    """One connection to the server."""

    socket: socket.socket
    peer: Peer = attrs.field(factory=Peer)
    eof: bool = False

    def send(self, data: bytes | None = None) -> None:
        """Send all of ``data``, or what the peer has to say; the socket's buffer must be large enough."""
        data = self.peer.send() if data is None else data
        try:
            assert self.socket.send(data) == len(data)
        except (BrokenPipeError, ConnectionResetError):
            self.eof = True

    def receive(self) -> bool:
        """Take what is there; return whether that was anything."""
        found = False
        while not self.eof:
            try:
                data = self.socket.recv(1 << 20)
            except BlockingIOError:
                break
            except ConnectionResetError:
                data = b""
            if data:
                found = True
                self.peer.receive(data)
            else:
                self.eof = True
        return found

    async def settle(self) -> None:
        """Pass bytes until the server, its tasks and this client have nothing more to do."""
        while True:
            data = self.peer.send()
            if data:
                self.send(data)
            await wait_all_tasks_blocked()
            if not self.receive() and not data:
                return

    async def ask(self, message: bytes, *extra: tuple[bytes, bytes]) -> Answer:
        stream = self.peer.call(message, ECHO, *extra)
        await self.settle()
        return self.peer.answers[stream]

    async def start(self, path: bytes, body: bytes, *extra: tuple[bytes, bytes], end: bool = True) -> tuple[int, Answer]:
        stream = self.peer.request(head(path, *extra), body, end=end)
        await self.settle()
        return stream, self.peer.answers[stream]


@attrs.define(eq=False)
class Served:
    """A running server."""

    server: GrpcServer
    port: int
    faults: list[BaseException]
    stopped: trio.Event
    clients: list[Client] = attrs.field(factory=list)

    async def connect(self, *, receive_buffer: int | None = None) -> Client:
        connected = socket.socket()
        if receive_buffer is not None:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connected.connect(("127.0.0.1", self.port))
        connected.setblocking(False)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        client = Client(connected)
        self.clients.append(client)
        await client.settle()
        return client

    def at_rest(self) -> bool:
        now = self.server.statistics()
        return (now.streams, now.tasks, now.held_bytes, now.unread_bytes, now.queued_bytes) == (0, 0, 0, 0, 0)


@asynccontextmanager
async def serving(
    routes: Mapping[bytes, Route], *, limits: ConnectionLimits | None = None, max_connections: int = 100
) -> AsyncIterator[Served]:
    faults: list[BaseException] = []
    settings = ServerSettings("127.0.0.1", 0, max_connections, limits or ConnectionLimits())
    server = GrpcServer(settings, routes, faults.append)
    stopped = trio.Event()

    async def run(*, task_status: trio.TaskStatus[list[tuple[str, int]]]) -> None:
        await server.run(task_status=task_status)
        stopped.set()

    async with trio.open_nursery() as nursery:
        addresses = await nursery.start(run)
        served = Served(server, addresses[0][1], faults, stopped)
        try:
            yield served
        finally:
            for client in served.clients:
                client.socket.close()
            nursery.cancel_scope.cancel()
    assert served.at_rest()
    assert served.server.statistics().connections == 0


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) not in {errno.ECONNREFUSED, errno.ECONNRESET}
