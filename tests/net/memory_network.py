"""A network in memory: byte streams, their listeners and a selector, without a descriptor of the system."""

import errno
import itertools
import selectors
from collections import deque
from random import Random
from typing import Any, Final, cast, final

import attrs
import trio

from exchanger.net.network import Network

_FDS: Final = itertools.count(1_000_000)
_CAPACITY: Final = 64 * 1024


@final
@attrs.define(eq=False)
class End:
    """One end of a connection, as the reactor uses a socket."""

    network: "MemoryNetwork"
    family: int = -1  # none that has options
    _fd: int = attrs.field(factory=lambda: next(_FDS), init=False)
    _peer: "End | None" = attrs.field(default=None, init=False)
    _inbox: bytearray = attrs.field(factory=bytearray, init=False)
    _ended: bool = attrs.field(default=False, init=False)
    closed: bool = attrs.field(default=False, init=False)

    @classmethod
    def pair(cls, network: "MemoryNetwork") -> "tuple[End, End]":
        one, other = cls(network), cls(network)
        one._peer, other._peer = other, one
        network.open |= {one, other}
        return one, other

    def setblocking(self, _blocking: bool) -> None:
        """It never blocks."""

    def fileno(self) -> int:
        return -1 if self.closed else self._fd

    def getpeername(self) -> tuple[str, int]:
        return "192.0.2.1", self._fd

    def recv(self, limit: int) -> bytes:
        if not self._inbox and not self._ended:
            raise BlockingIOError
        data = bytes(self._inbox[:limit])
        del self._inbox[:limit]
        self.network.moved()
        return data

    def send(self, data: bytes) -> int:
        assert self._peer is not None
        if self.closed or self._peer.closed:
            raise OSError(errno.EPIPE, "gone")
        taken = data[: _CAPACITY - len(self._peer._inbox)]
        if not taken:
            raise BlockingIOError
        self._peer._inbox += taken
        self.network.moved()
        return len(taken)

    def shutdown(self, _how: int) -> None:
        assert self._peer is not None
        self._peer._ended = True
        self.network.moved()

    def close(self) -> None:
        if not self.closed:
            self.shutdown(0)
            self.closed = True
            self.network.open.discard(self)

    def ready(self) -> int:
        assert self._peer is not None
        readable = bool(self._inbox or self._ended)
        writable = self._peer.closed or len(self._peer._inbox) < _CAPACITY
        return selectors.EVENT_READ * readable | selectors.EVENT_WRITE * writable


@final
class Socket(trio.socket.SocketType):
    """The same end for tasks, or a listener."""

    type = trio.socket.SOCK_STREAM

    def __init__(self, network: "MemoryNetwork", end: End | None = None, port: int = 0) -> None:
        self.network, self.end, self.port = network, end, port
        self.queue: deque[End] = deque()

    @property
    def did_shutdown_SHUT_WR(self) -> bool:  # noqa: N802 - Trio's name
        return False

    def getsockopt(self, *_option: int) -> Any:
        return self.end is None

    def setsockopt(self, *_option: object) -> None:
        """There are none."""

    def getsockname(self) -> tuple[str, int]:
        return "192.0.2.2", self.port

    def getpeername(self) -> tuple[str, int]:
        return self._end.getpeername()

    @property
    def _end(self) -> End:
        assert self.end is not None
        return self.end

    async def accept(self) -> tuple["Socket", object]:
        await self.network.until(lambda: self.queue)
        return Socket(self.network, self.queue.popleft()), None

    async def recv(self, limit: int, _flags: int = 0) -> bytes:
        await self.network.until(lambda: self._end.closed or self._end.ready() & selectors.EVENT_READ)
        if self._end.closed:
            raise OSError(errno.EBADF, "closed")
        return self._end.recv(limit)

    async def send(self, data: Any, _flags: int = 0) -> int:
        await self.network.until(lambda: self._end.closed or self._end.ready() & selectors.EVENT_WRITE)
        return self._end.send(bytes(data))

    def shutdown(self, how: int) -> None:
        self._end.shutdown(how)

    def close(self) -> None:
        if self.end is not None:
            self.end.close()
        self.network.listeners.pop(self.port, None)
        self.network.moved()


@final
@attrs.define(eq=False)
class Selector:
    """What the reactor uses of ``selectors.DefaultSelector``."""

    ends: dict[int, End]
    keys: dict[int, selectors.SelectorKey] = attrs.field(factory=dict)

    def register(self, fd: int, events: int, data: object) -> None:
        self.keys[fd] = selectors.SelectorKey(fd, fd, events, data)

    modify = register

    def unregister(self, fd: int) -> None:
        del self.keys[fd]

    def select(self, _timeout: float) -> list[tuple[selectors.SelectorKey, int]]:
        return [(key, mask) for fd, key in self.keys.items() if (mask := self.ends[fd].ready() & key.events)]

    def close(self) -> None:
        assert self.keys == {}


@final
@attrs.define(eq=False)
class MemoryNetwork:
    """``network`` is what components get. ``listeners`` are known by their ports, whatever the host; ``open`` are the ends that are."""

    listeners: dict[int, Socket] = attrs.field(factory=dict)
    open: set[End] = attrs.field(factory=set)
    _ends: dict[int, End] = attrs.field(factory=dict)
    _moved: trio.Event = attrs.field(factory=trio.Event)

    def network(self, wall: float) -> Network:
        """Return all of it: clocks, of which that of the wall stands still, numbers that repeat themselves, and threads as usual."""
        return Network(
            wall=lambda: wall,
            steady=trio.current_time,
            cpu=lambda: 0.0,
            entropy=lambda size: b"\x07" * size,
            random=Random(1),
            run_sync=self.run_sync,
            connect=self.connect,
            listen=self.listen,
            detach=self.detach,
            selector=cast("type[selectors.DefaultSelector]", lambda: Selector(self._ends)),
            readable=self.readable,
        )

    async def run_sync(self, work: Any, *args: object, **options: Any) -> Any:
        return await trio.to_thread.run_sync(work, *args, **options)

    def moved(self) -> None:
        self._moved.set()
        self._moved = trio.Event()

    async def until(self, condition: Any) -> None:
        await trio.lowlevel.checkpoint()
        while not condition():
            await self._moved.wait()

    async def connect(self, _host: str, port: int) -> trio.SocketStream:
        await trio.lowlevel.checkpoint()
        if port not in self.listeners:
            raise OSError(errno.ECONNREFUSED, "refused")
        ours, theirs = End.pair(self)
        self.listeners[port].queue.append(theirs)
        self.moved()
        return trio.SocketStream(Socket(self, ours))

    async def listen(self, _host: str | None, port: int) -> list[trio.SocketListener]:
        await trio.lowlevel.checkpoint()
        self.listeners[port] = Socket(self, port=port)
        return [trio.SocketListener(self.listeners[port])]

    def detach(self, stream: trio.SocketStream) -> Any:
        assert isinstance(stream.socket, Socket)
        end, stream.socket.end = stream.socket._end, None
        self._ends[end.fileno()] = end
        return end

    async def readable(self, selector: Any) -> None:
        await self.until(lambda: selector.select(0))
