"""Byte streams between the service, which sees sockets, listeners and a selector, and its peers, which see callbacks.

The bytes of one direction never change their order. Everything else is drawn: delays, the pieces in which bytes arrive, how much a read or
a send takes. What a peer cannot take waits in a window as large as the kernel's would be.
"""

import errno
import itertools
import selectors
from collections import deque
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, Final, Protocol, cast, final

import attrs
import h11
import trio

from exchanger.net.network import Network
from tests.simulation.kernel import Kernel

_WINDOW: Final = 64 * 1024
_ADDRESS: Final = "192.0.2.1"


@final
@attrs.frozen
class Links:
    """How connections behave: seconds of ``delay`` each way and for ``connecting``; how often bytes come in ``pieces``, or a call takes a
    ``part``.
    """

    delay: tuple[float, float] = (0.0002, 0.004)
    connecting: tuple[float, float] = (0.0004, 0.008)
    pieces: float = 0.1
    part: float = 0.1


class Peer(Protocol):
    """What speaks to the service at the other end of a connection."""

    def received(self, data: bytes) -> None:
        """Take bytes from the service."""

    def ended(self) -> None:
        """The service says no more."""

    def lost(self) -> None:
        """The connection is gone."""


class Connection(Protocol):
    """A peer's end of a connection, encrypted or not."""

    def write(self, data: bytes) -> None:
        """Send bytes to the service."""

    def close(self) -> None:
        """End the connection in good order."""

    def abort(self) -> None:
        """Reset it."""


class Host(Protocol):
    """Where the service may connect to."""

    def refuses(self) -> str:
        """Return "" to be connected, "refused", or "silent" if nothing answers."""

    def connected(self, remote: "Remote") -> Peer:
        """Return who answers."""


@final
@attrs.define(eq=False)
class Socket:
    """The service's end of a connection, as a reactor uses it: what comes from ``remote`` is in ``_inbox``."""

    world: "SimulatedNetwork"
    name: str
    family: int = -1  # none that has options
    fd: int = attrs.field(init=False)
    remote: "Remote" = attrs.field(init=False)
    inbox: bytearray = attrs.field(factory=bytearray, init=False)
    at_end: bool = attrs.field(default=False, init=False)
    broken: bool = attrs.field(default=False, init=False)
    closed: bool = attrs.field(default=False, init=False)
    finished: bool = attrs.field(default=False, init=False)
    unread: int = attrs.field(default=0, init=False)
    window: int = attrs.field(default=_WINDOW, init=False)
    selector: "Selector | None" = attrs.field(default=None, init=False)
    # A connection that the service does not know yet.
    on_its_way: bool = attrs.field(default=False, init=False)
    _last: float = attrs.field(default=0.0, init=False)

    def __attrs_post_init__(self) -> None:
        self.fd = next(self.world.numbers)
        self.remote = Remote(self.world, self)
        self.world.sockets[self.fd] = self

    def setblocking(self, _on: bool) -> None:
        """It never blocks."""

    def fileno(self) -> int:
        return -1 if self.closed else self.fd

    def getpeername(self) -> tuple[str, int]:
        return _ADDRESS, self.fd

    def changed(self) -> None:
        """Let those who wait for it look again."""
        if (task := self.world.waiting.get(self.fd)) is not None:
            task.moved()
        if self.selector is not None:
            self.selector.changed(self)

    @property
    def mask(self) -> int:
        """What it is ready for."""
        readable = bool(self.inbox) or self.at_end or self.broken
        return selectors.EVENT_READ * readable | selectors.EVENT_WRITE * (self.broken or self.unread < self.window)

    def recv(self, limit: int) -> bytes:
        if self.closed:
            raise OSError(errno.EBADF, "closed")
        if self.inbox:
            data = bytes(self.inbox[: self.world.part(min(limit, len(self.inbox)))])
            del self.inbox[: len(data)]
            return data
        if self.broken:
            raise OSError(errno.ECONNRESET, "reset")
        if self.at_end:
            return b""
        raise BlockingIOError

    def send(self, data: Any) -> int:
        if self.closed or self.finished or self.broken:
            raise OSError(errno.EBADF if self.closed else errno.EPIPE if self.finished else errno.ECONNRESET, "gone")
        if self.unread >= self.window:
            raise BlockingIOError
        sent = bytes(data[: self.world.part(min(len(data), self.window - self.unread))])
        self.unread += len(sent)
        self.world.kernel.tell(self.name, "sends", sent)
        self._arrives(self.remote.take, sent)
        return len(sent)

    def shutdown(self, _how: int) -> None:
        if self.broken:
            raise OSError(errno.ENOTCONN, "gone")
        self.finished = True
        self._arrives(self.remote.take_end)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            del self.world.sockets[self.fd]
            self.world.kernel.tell(self.name, "is closed")
            self._arrives(self.remote.take_loss if self.inbox else self.remote.take_end)

    def _arrives(self, work: Callable[..., None], *args: object) -> None:
        self._last = max(self._last, self.world.kernel.now + self.world.delay())
        self.world.kernel.at(self._last, work, *args)


@final
@attrs.define(eq=False)
class Remote:
    """The peer's end of a connection."""

    world: "SimulatedNetwork"
    socket: Socket
    peer: Peer | None = None
    over: bool = attrs.field(default=False, init=False)
    _stalled: bool = attrs.field(default=False, init=False)
    _last: float = attrs.field(default=0.0, init=False)

    def stall(self, window: int) -> None:
        """Read nothing any more, and have room for ``window`` bytes."""
        self._stalled, self.socket.window = True, window

    def write(self, data: bytes) -> None:
        """Send bytes to the service, in pieces or at once."""
        while data and not self.over:
            chance = self.world.chance
            cut = chance.randrange(1, len(data)) if len(data) > 1 and chance.random() < self.world.links.pieces else len(data)
            self._arrives(self._bytes, data[:cut])
            data = data[cut:]

    def close(self) -> None:
        """End the connection in good order."""
        if not self.over:
            self.over = True
            self._arrives(self._end)

    def abort(self) -> None:
        """Reset it. What was on its way may be lost."""
        if not self.over:
            self.over = True
            self._arrives(self._reset)

    # What comes from the service.

    def take(self, data: bytes) -> None:
        if self._stalled:
            return
        self.socket.unread -= len(data)
        self.socket.changed()
        if not self.over and self.peer is not None:
            self.peer.received(data)

    def take_end(self) -> None:
        if not self.over and self.peer is not None:
            self.peer.ended()

    def take_loss(self) -> None:
        if not self.over:
            self.over = True
            if self.peer is not None:
                self.peer.lost()

    # What goes to the service.

    def _arrives(self, work: Callable[..., None], *args: object) -> None:
        self._last = max(self._last, self.world.kernel.now + self.world.delay())
        self.world.kernel.at(self._last, work, *args)

    def _bytes(self, data: bytes) -> None:
        socket = self.socket
        if socket.closed:
            self.take_loss()  # the kernel answers with a reset
            return
        self.world.kernel.tell(socket.name, "gets", data)
        socket.inbox += data
        socket.changed()

    def _end(self) -> None:
        if not self.socket.closed:
            self.world.kernel.tell(self.socket.name, "is ended by its peer")
            self.socket.at_end = True
            self.socket.changed()

    def _reset(self) -> None:
        socket = self.socket
        if not socket.closed:
            self.world.kernel.tell(socket.name, "is reset by its peer")
            if self.world.chance.random() < 0.5:
                socket.inbox.clear()
            socket.broken = True
            socket.changed()


@attrs.define(eq=False)
class Conversation:
    """What a peer with a connection of its own does about its end. ``over``: it says no more."""

    remote: "Connection"
    over: bool = attrs.field(default=False, init=False)

    def ended(self) -> None:
        """The service says no more, so neither does the peer."""
        self.end()

    def lost(self) -> None:
        """The connection is gone."""
        self.over = True

    def end(self, *, abort: bool = False) -> None:
        """End the connection in good order, or reset it."""
        if not self.over:
            self.over = True
            (self.remote.abort if abort else self.remote.close)()


@attrs.define(eq=False)
class HttpConversation(Conversation):
    """A peer that is asked over HTTP/1.1: the ``head`` and the ``body`` of the newest request."""

    codec: h11.Connection = attrs.field(factory=lambda: h11.Connection(h11.SERVER), init=False)
    head: h11.Request | None = attrs.field(default=None, init=False)
    body: bytes = attrs.field(default=b"", init=False)

    def received(self, data: bytes) -> None:
        if not self.over:
            self.codec.receive_data(data)
            self.read()

    def read(self) -> None:
        """Read what has arrived."""
        while (event := self.codec.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            if isinstance(event, h11.Request):
                self.head, self.body = event, b""
            elif isinstance(event, h11.Data):
                self.body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                self.asked()
            elif isinstance(event, h11.ConnectionClosed):
                self.end()
                return

    def asked(self) -> None:
        """A request is there."""
        raise NotImplementedError

    @property
    def target(self) -> str:
        """What the newest request is about."""
        assert self.head is not None
        return self.head.target.decode()

    def response(self, status: int, fields: list[tuple[str, str]], *bodies: bytes) -> bytes:
        """Return the bytes of a response."""
        head = h11.Response(status_code=status, headers=fields)
        events = (head, *(h11.Data(data=body) for body in bodies), h11.EndOfMessage())
        return b"".join(self.codec.send(event) or b"" for event in events)


@final
@attrs.define(eq=False)
class Selector:
    """Level-triggered, as epoll is. Of the sockets that are ready, the order is drawn."""

    world: "SimulatedNetwork"
    keys: dict[int, selectors.SelectorKey] = attrs.field(factory=dict)
    woken: trio.Event = attrs.field(factory=trio.Event)
    _maybe: dict[int, None] = attrs.field(factory=dict)

    def register(self, fd: int, events: int, data: object) -> None:
        self.world.sockets[fd].selector = self
        self.keys[fd] = selectors.SelectorKey(fd, fd, events, data)
        self.changed(self.world.sockets[fd])  # it may be ready already

    modify = register

    def unregister(self, fd: int) -> None:
        del self.keys[fd]
        self._maybe.pop(fd, None)

    def changed(self, socket: Socket) -> None:
        """Look at ``socket`` again."""
        key = self.keys.get(socket.fd)
        if key is not None:
            self._maybe[socket.fd] = None
            if socket.mask & key.events:
                self.woken.set()

    def select(self, _timeout: float) -> list[tuple[selectors.SelectorKey, int]]:
        ready = []
        for fd in tuple(self._maybe):
            key = self.keys[fd]
            if mask := self.world.sockets[fd].mask & key.events:
                ready.append((key, mask))
            else:
                del self._maybe[fd]
        if len(ready) > 1:
            self.world.chance.shuffle(ready)
        return ready

    def close(self) -> None:
        assert self.keys == {}


@final
class TaskSocket(trio.socket.SocketType):
    """A connection for tasks, or a listener, where ``socket`` is ``None``."""

    type = trio.socket.SOCK_STREAM

    def __init__(self, world: "SimulatedNetwork", socket: Socket | None, port: int = 0) -> None:
        self.world, self.socket, self.port = world, socket, port
        self.queue: deque[Socket] = deque()
        self._woken = trio.Event()

    @property
    def did_shutdown_SHUT_WR(self) -> bool:  # noqa: N802 - Trio's name
        return self.socket is not None and self.socket.finished

    def getsockopt(self, *_option: int) -> Any:
        return self.socket is None  # whether it listens

    def setsockopt(self, *_option: object) -> None:
        """There are none."""

    def fileno(self) -> int:
        return self.own.fileno()

    def getsockname(self) -> tuple[str, int]:
        return _ADDRESS, self.port

    def getpeername(self) -> tuple[str, int]:
        return self.own.getpeername()

    @property
    def own(self) -> Socket:
        assert self.socket is not None
        return self.socket

    def moved(self) -> None:
        """Let all who wait look again."""
        self._woken.set()
        self._woken = trio.Event()

    async def _until(self, ready: Callable[[], object]) -> None:
        await trio.lowlevel.checkpoint()
        while not ready():
            await self._woken.wait()

    async def accept(self) -> tuple["TaskSocket", object]:
        await self._until(lambda: self.queue)
        return TaskSocket(self.world, self.queue.popleft()), None

    async def recv(self, limit: int, _flags: int = 0) -> bytes:
        self.world.waiting[self.own.fd] = self
        await self._until(lambda: self.own.closed or self.own.mask & selectors.EVENT_READ)
        return self.own.recv(limit)

    async def send(self, data: Any, _flags: int = 0) -> int:
        self.world.waiting[self.own.fd] = self
        await self._until(lambda: self.own.closed or self.own.mask & selectors.EVENT_WRITE)
        return self.own.send(data)

    def shutdown(self, how: int) -> None:
        self.own.shutdown(how)

    def close(self) -> None:
        if self.socket is not None:
            self.world.waiting.pop(self.socket.fd, None)
            self.socket.close()
        elif self.world.listeners.get(self.port) is self:
            del self.world.listeners[self.port]
            for socket in self.queue:  # the kernel resets what nobody has accepted
                self.world.refuse(socket)
        self.moved()


@final
@attrs.define(eq=False)
class SimulatedNetwork:
    """The network around the service. ``hosts`` are what it may connect to, by name; ``listeners`` what it listens on, by port;
    ``refused`` when somebody connected to where nobody listens, or does any more (seconds).
    """

    kernel: Kernel
    links: Links = attrs.field(factory=Links)
    hosts: dict[str, Host] = attrs.field(factory=dict)
    listeners: dict[int, TaskSocket] = attrs.field(factory=dict, init=False)
    sockets: dict[int, Socket] = attrs.field(factory=dict, init=False)
    waiting: dict[int, TaskSocket] = attrs.field(factory=dict, init=False)
    refused: set[float] = attrs.field(factory=set, init=False)
    numbers: Iterator[int] = attrs.field(factory=lambda: itertools.count(1_000), init=False)
    chance: Random = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.chance = self.kernel.random("network")

    @property
    def held(self) -> list[str]:
        """The sockets that the service has, by name."""
        return sorted(socket.name for socket in self.sockets.values() if not socket.on_its_way)

    def network(self, replica: str = "") -> Network:
        """Return what a service gets; each ``replica``, and each of its lives, has numbers of its own."""
        kernel = self.kernel
        return Network(
            wall=kernel.wall,
            steady=kernel.steady,
            cpu=kernel.steady,
            entropy=kernel.random("entropy" + replica).randbytes,
            random=kernel.random("service" + replica),
            run_sync=kernel.run_sync,
            connect=self.connect,
            listen=self.listen,
            detach=self.detach,
            selector=cast("type[selectors.DefaultSelector]", lambda: Selector(self)),
            readable=self.readable,
        )

    def delay(self) -> float:
        """Draw the seconds from one end to the other."""
        return self.chance.uniform(*self.links.delay)

    def part(self, size: int) -> int:
        """Draw how many of ``size`` bytes a call takes."""
        return self.chance.randrange(1, size) if size > 1 and self.chance.random() < self.links.part else size

    def enter(self, port: int, peer: Peer | None, name: str) -> Remote:
        """Connect a peer to the service; what is not listened on is lost a moment later."""
        socket = Socket(self, name)
        socket.remote.peer, socket.on_its_way = peer, True
        self.kernel.after(self.delay(), self._arrive, port, socket)
        return socket.remote

    def _arrive(self, port: int, socket: Socket) -> None:
        socket.on_its_way = False
        if (listener := self.listeners.get(port)) is None:
            self.refuse(socket)
        else:
            listener.queue.append(socket)
            listener.moved()

    def refuse(self, socket: Socket) -> None:
        """Reset a connection that nobody accepts."""
        self.refused.add(self.kernel.now)
        socket.close()
        socket.remote.take_loss()

    async def connect(self, host: str, port: int) -> trio.SocketStream:
        there = self.hosts.get(host)
        answer = "refused" if there is None else there.refuses()
        if answer == "silent":
            await trio.sleep_forever()
        await trio.sleep(self.chance.uniform(*self.links.connecting))
        if there is None or answer == "refused":
            raise OSError(errno.ECONNREFUSED, "refused")
        socket = Socket(self, f"{host}:{port}/{next(self.numbers)}")
        socket.remote.peer = there.connected(socket.remote)
        return trio.SocketStream(TaskSocket(self, socket))

    async def listen(self, _host: str | None, port: int) -> list[trio.SocketListener]:
        await trio.lowlevel.checkpoint()
        self.listeners[port] = TaskSocket(self, None, port)
        return [trio.SocketListener(self.listeners[port])]

    def detach(self, stream: trio.SocketStream) -> Any:
        """Give the socket of a task to the reactor."""
        held = cast("TaskSocket", stream.socket)
        socket = held.own
        held.socket = None
        held.port = -1
        self.waiting.pop(socket.fd, None)
        return socket

    async def readable(self, selector: Any) -> None:
        await trio.lowlevel.checkpoint()
        if not selector.select(0):
            selector.woken = trio.Event()
            await selector.woken.wait()
