"""Listening sockets, and the connections that they accept."""

import contextlib
import errno
import socket
from collections.abc import AsyncGenerator, Callable
from typing import Final

import trio

from exchanger.net.tcp import Transport

# Connections that wait to be accepted; the kernel caps it at net.core.somaxconn, 4096 on current Linux.
_BACKLOG: Final = 1024

_NO_RESOURCES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

# Seconds before the next attempt when no descriptors are left: long enough to cost nothing, too short to be noticed afterwards.
_NO_RESOURCES_PAUSE: Final = 0.1

_NOT_HERE: Final = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT})


async def listen(host: str | None, port: int) -> list[trio.SocketListener]:
    """Return listeners for ``host`` (``None``: all interfaces, IPv4 and IPv6) on one and the same ``port`` (0: any free one).

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
                sockets.append(stack.enter_context(listen_at(family, kind, protocol, (address[0], number, *address[2:]))))
            except OSError as error:
                if host is not None or error.errno not in _NOT_HERE:
                    raise
                problem = error  # a machine without IPv6, or without IPv4
        if not sockets:
            raise problem
        stack.pop_all()
    return [trio.SocketListener(trio.socket.from_stdlib_socket(listener)) for listener in sockets]


def listen_at(family: int, kind: int, protocol: int, address: tuple[object, ...]) -> socket.socket:
    """Return a socket that listens at ``address``.

    Raises:
        OSError: the address is in use, or this machine has none of its family.
    """
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setblocking(False)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # IPv4 has a separate socket
        listener.bind(address)
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


async def accepted(
    listener: trio.SocketListener,
    detach: Callable[[trio.SocketStream], socket.socket],
    admit: Callable[[], bool],
    secure: Callable[[socket.socket], Transport],
    on_exhausted: Callable[[], None],
) -> AsyncGenerator[Transport]:
    """Yield accepted connections for the reactor; only the caller's cancel scope bounds the wait for the next one.

    ``admit`` returns whether there is room for one more; otherwise it is closed at once. ``detach``: see ``Network``. ``secure`` makes the
    transport, or raises ``OSError``. ``on_exhausted`` is called each time that a connection cannot be accepted because no descriptors or no
    memory are left.

    Raises:
        OSError: the listener itself is broken.
    """
    while True:
        try:
            stream = await listener.accept()
        except OSError as error:
            if error.errno not in _NO_RESOURCES:
                raise
            on_exhausted()
            await trio.sleep(_NO_RESOURCES_PAUSE)
            continue
        if not admit():
            stream.socket.close()
            continue
        connected = detach(stream)
        try:
            transport = secure(connected)
        except OSError:  # it broke already
            connected.close()
            continue
        yield transport
