"""TCP without waiting: the byte stream under a connection, and listening sockets."""

import contextlib
import errno
import socket
from collections.abc import AsyncGenerator, Callable
from typing import ClassVar, Final, Protocol, final

import attrs
import trio

# Bytes of one read at most: a hundred usual requests. A session reads less from a peer whose bytes are expensive.
RECEIVE_BYTES: Final = 64 * 1024

# Bytes that the kernel keeps for a peer that does not read, instead of megabytes; it reports progress in steps of half of it. More than all
# answers to one read of small requests.
_UNSENT_BYTES: Final = 256 * 1024

_OPTIONS: Final = (
    ("TCP_NODELAY", 1),
    ("TCP_NOTSENT_LOWAT", _UNSENT_BYTES),
    # Idle connections may stay, so only TCP can find out that a peer is gone: two minutes after its last sign of life (seconds).
    ("TCP_KEEPIDLE", 60),
    ("TCP_KEEPINTVL", 15),
    ("TCP_KEEPCNT", 4),
)

# Connections that wait to be accepted; the kernel caps it at net.core.somaxconn, 4096 on current Linux.
_BACKLOG: Final = 1024

_NO_RESOURCES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

# Seconds before the next attempt when no descriptors are left: long enough to cost nothing, too short to be noticed afterwards.
_NO_RESOURCES_PAUSE: Final = 0.1

# A connection broke before it was accepted, or a firewall took it away: accept(2), "Error handling".
_BROKEN_BEFORE: Final = frozenset(
    getattr(errno, name, 0)  # not every platform has all of them
    for name in (
        *("ECONNABORTED", "EPROTO", "ENOPROTOOPT", "EOPNOTSUPP", "EPERM", "ETIMEDOUT"),
        *("ENETDOWN", "ENETUNREACH", "EHOSTDOWN", "EHOSTUNREACH", "ENONET"),
    )
)

_NOT_HERE: Final = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT})


class StreamEndedError(Exception):
    """The stream itself ended reading; its last words to the peer are still to be flushed."""


class Transport(Protocol):
    """A connected byte stream that never blocks. Every method but ``close`` raises ``OSError`` when the stream is broken."""

    @property
    def unsent(self) -> bool:
        """Whether ``receive`` produced bytes of the stream's own that wait for ``flush``."""

    @property
    def extra_work(self) -> int:
        """What the last ``receive`` cost beyond its bytes, in units of work; see ``reactor.Participant``."""

    def fileno(self) -> int:
        """Return the descriptor whose readiness announces this stream's."""

    def receive(self, limit: int) -> bytes:
        """Return the result of one read of at most ``limit`` bytes from the descriptor, ``b""`` at the end.

        Raises:
            BlockingIOError: there is nothing yet.
            StreamEndedError: what was read ends the stream.
        """

    def send(self, data: bytes) -> bool:
        """Take all of ``data``; return whether everything is on its way. If not, call ``flush`` when writable before sending more."""

    def flush(self) -> bool:
        """Try to send the rest; return whether everything is on its way."""

    def finish(self) -> None:
        """Announce that nothing more will be sent. Anything received from then on is meaningless."""

    def close(self) -> None:
        """Give the descriptor back."""


@final
@attrs.define(eq=False)
class SocketTransport:
    """Plain TCP."""

    unsent: ClassVar[bool] = False
    extra_work: ClassVar[int] = 0
    _socket: socket.socket
    _rest: memoryview = attrs.field(default=memoryview(b""), init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _OPTIONS:
            if (option := getattr(socket, name, None)) is not None:  # not every platform has all of them
                self._socket.setsockopt(socket.IPPROTO_TCP, option, value)

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._socket.fileno()

    def receive(self, limit: int = RECEIVE_BYTES) -> bytes:
        """Read once."""
        return self._socket.recv(limit)

    def send(self, data: bytes) -> bool:
        """Send what the socket takes, and keep the rest."""
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        if sent == len(data):
            return True
        self._rest = memoryview(data)[sent:]
        return False

    def flush(self) -> bool:
        """Send what the socket takes of the rest."""
        try:
            self._rest = self._rest[self._socket.send(self._rest) :]
        except BlockingIOError:
            return False
        return not self._rest

    def finish(self) -> None:
        """Shut down the sending side."""
        self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


async def bind(host: str | None, port: int) -> tuple[socket.socket, ...]:
    """Return listening sockets for ``host`` (``None``: all interfaces, IPv4 and IPv6) on one and the same ``port`` (0: any free one).

    Raises:
        OSError: the host is unknown, or the port is taken.
    """
    addresses = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    problem = OSError(errno.EADDRNOTAVAIL, "no address to bind")
    with contextlib.ExitStack() as stack:
        for family, kind, protocol, _, address in addresses:
            number = sockets[0].getsockname()[1] if sockets else port
            try:
                sockets.append(stack.enter_context(_listen(family, kind, protocol, (address[0], number, *address[2:]))))
            except OSError as error:
                if host is not None or error.errno not in _NOT_HERE:
                    raise
                problem = error  # a machine without IPv6, or without IPv4
        if not sockets:
            raise problem
        stack.pop_all()
    return tuple(sockets)


def _listen(family: int, kind: int, protocol: int, address: tuple[object, ...]) -> socket.socket:
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setblocking(False)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # IPv4 has a socket of its own
        listener.bind(address)
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


async def accepted(listener: socket.socket, on_exhausted: Callable[[], None]) -> AsyncGenerator[socket.socket, None]:
    """Yield accepted sockets; only the caller's cancel scope bounds the wait for the next one.

    ``on_exhausted`` is called each time that one cannot be accepted because no descriptors or no memory are left.

    Raises:
        OSError: the listener itself is broken.
    """
    while True:
        try:
            connected, _ = listener.accept()
        except BlockingIOError:
            await trio.lowlevel.wait_readable(listener)
        except OSError as error:
            if error.errno in _NO_RESOURCES:
                on_exhausted()
                await trio.sleep(_NO_RESOURCES_PAUSE)
            elif error.errno in _BROKEN_BEFORE:
                await trio.lowlevel.checkpoint()
            else:
                raise
        else:
            yield connected
            await trio.lowlevel.checkpoint()
