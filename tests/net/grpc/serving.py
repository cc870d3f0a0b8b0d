"""A server on loopback, and a client that talks to it from the same thread, so that nothing depends on real time."""

import errno
import socket
import ssl
from collections.abc import AsyncIterator, Mapping, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio
from structlog.testing import capture_logs
from trio.testing import wait_all_tasks_blocked

from exchanger.net.grpc.limits import ConnectionLimits
from exchanger.net.grpc.routes import Route
from exchanger.net.grpc.server import Addresses, GrpcServer, ServerSettings
from exchanger.net.reactor import Reactor
from exchanger.net.tls.settings import TlsSettings
from tests.lines import Lines
from tests.net.grpc.peer import ECHO, Answer, Peer, head


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

    def take(self, data: bytes) -> None:
        """Take what came, which is not empty."""
        self.peer.receive(data)

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
                self.take(data)
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
class TlsClient(Client):
    """One connection with TLS. ``error`` is what ended it, ``closed`` whether the server said goodbye in TLS too."""

    context: ssl.SSLContext = attrs.field(kw_only=True)
    session: ssl.SSLSession | None = attrs.field(default=None, kw_only=True)
    tls: ssl.SSLObject = attrs.field(init=False)
    incoming: ssl.MemoryBIO = attrs.field(factory=ssl.MemoryBIO, init=False)
    outgoing: ssl.MemoryBIO = attrs.field(factory=ssl.MemoryBIO, init=False)
    secured: bool = attrs.field(default=False, init=False)
    waiting: bytes = attrs.field(default=b"", init=False)
    error: ssl.SSLError | None = attrs.field(default=None, init=False)
    closed: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self.tls = self.context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost", session=self.session)

    def begin(self) -> None:
        """Send the first flight."""
        self._progress()

    def send(self, data: bytes | None = None) -> None:
        self.waiting += self.peer.send() if data is None else data
        self._progress()

    def take(self, data: bytes) -> None:
        self.incoming.write(data)
        self._progress()

    def flight(self) -> bytes:
        """Return what TLS wants to send now."""
        return self.outgoing.read()

    def _progress(self) -> None:
        try:
            if not self.secured:
                self.tls.do_handshake()
                self.secured = True
            waiting, self.waiting = self.waiting, b""
            while waiting:
                waiting = waiting[self.tls.write(waiting) :]
            while clear := self.tls.read(1 << 16):
                self.peer.receive(clear)
            self.closed = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self.error = self.error or error
        if data := self.flight():
            super().send(data)


@attrs.define(eq=False)
class Served:
    """A running server."""

    server: GrpcServer
    reactor: Reactor
    addresses: Addresses
    lines: Lines
    faults: list[BaseException]
    stopped: trio.Event
    clients: list[Client] = attrs.field(factory=list)

    @property
    def port(self) -> int:
        return self.addresses.plaintext[0][1]

    @property
    def tls_port(self) -> int:
        return self.addresses.tls[0][1]

    async def connect(self, *, receive_buffer: int | None = None) -> Client:
        client = Client(self.open(self.port, receive_buffer))
        self.clients.append(client)
        await client.settle()
        return client

    async def connect_tls(
        self, context: ssl.SSLContext, *, receive_buffer: int | None = None, session: ssl.SSLSession | None = None
    ) -> TlsClient:
        client = TlsClient(self.open(self.tls_port, receive_buffer), context=context, session=session)
        self.clients.append(client)
        client.begin()
        await client.settle()
        return client

    def open(self, port: int, receive_buffer: int | None = None) -> socket.socket:
        """Return a socket that is connected and does not block."""
        connected = socket.socket()
        if receive_buffer is not None:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connected.connect(("127.0.0.1", port))
        connected.setblocking(False)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        return connected

    @property
    def failures(self) -> list[str]:
        """Why handshakes failed, as the log says."""
        return [line["reason"] for line in self.lines.entries if line["event"] == "tls.handshake_failed"]

    @property
    def certificates(self) -> list[MutableMapping[str, Any]]:
        """The log's lines of certificates that came into force."""
        return [line for line in self.lines.entries if line["event"] == "tls.certificates_loaded"]

    def at_rest(self) -> bool:
        now = self.server.usage()
        waiting = sum(session.calls.waiting for session in self.server.sessions)
        return (now.streams, now.tasks, now.held_bytes, now.unread_bytes, now.queued_bytes, waiting) == (0, 0, 0, 0, 0, 0)


@asynccontextmanager
async def serving(
    routes: Mapping[bytes, Route], *, limits: ConnectionLimits | None = None, max_connections: int = 100, tls: TlsSettings | None = None
) -> AsyncIterator[Served]:
    faults: list[BaseException] = []
    settings = ServerSettings("127.0.0.1", 0, max_connections, limits or ConnectionLimits(), tls)
    reactor = Reactor()
    server = GrpcServer(settings, routes, reactor, faults.append)
    stopped = trio.Event()

    async def run(*, task_status: trio.TaskStatus[Addresses]) -> None:
        await server.run(task_status=task_status)
        stopped.set()

    with capture_logs() as entries:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reactor.run)
            served = Served(server, reactor, await nursery.start(run), Lines(entries), faults, stopped)
            try:
                yield served
            finally:
                for client in served.clients:
                    client.socket.close()
                nursery.cancel_scope.cancel()
    reactor.close()
    assert served.at_rest()
    assert served.server.connections == 0


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) not in {errno.ECONNREFUSED, errno.ECONNRESET}
