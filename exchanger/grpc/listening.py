"""Listening sockets."""

import contextlib
import errno
import socket
from collections.abc import AsyncGenerator, Callable
from typing import Final

import trio

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
