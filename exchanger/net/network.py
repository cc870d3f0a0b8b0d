"""Everything that the service uses of the outside world except files and signals: sockets, clocks, random numbers and worker threads.

The supervisor gets one ``Network``, and gives each component what it needs of it. So a whole service can run on another one, for example in
memory, with clocks, numbers and bytes that follow from a seed. Nothing else in the package opens a socket, reads a clock, draws a number or
starts a thread. Trio's own clock (``trio.current_time``, sleeps and deadlines) is already an argument of ``trio.run``.
"""

import functools
import os
import selectors
import socket
import time
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, Final, Protocol, TypeVar, final

import attrs
import trio

from exchanger.net.listening import listen
from exchanger.net.resolver import Resolver

T = TypeVar("T")


class RunSync(Protocol):
    """Runs a function in a worker thread; see ``trio.to_thread.run_sync``."""

    def __call__(self, sync_fn: Callable[..., T], /, *args: Any, **options: Any) -> Awaitable[T]:
        """Return the function's result."""


# Opens a TCP connection to a host and port, or raises ``OSError``.
Connect = Callable[[str, int], Awaitable[trio.SocketStream]]

# Returns listeners for a host (``None``: all interfaces) and port (0: any free one, the same for all addresses), or raises ``OSError``.
Listen = Callable[[str | None, int], Awaitable[list[trio.SocketListener]]]

# A clock that also counts while the machine sleeps, if there is one.
_STEADY: Final[Callable[[], float]] = (
    functools.partial(time.clock_gettime, time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic
)


async def _connect(host: str, port: int) -> trio.SocketStream:
    trio.socket.set_custom_hostname_resolver(_RESOLVER)  # in this run of Trio
    return await trio.open_tcp_stream(host, port)


def _detach(stream: trio.SocketStream) -> socket.socket:
    return socket.socket(fileno=stream.socket.detach())


_RESOLVER: Final = Resolver()


@final
@attrs.define(eq=False)
class Network:
    """The real one, unless parts of it are given.

    Args:
        wall: Seconds since the epoch; the clock may be set.
        steady: Seconds of a clock that never goes back, and counts while the machine sleeps.
        cpu: Seconds of CPU that the calling thread has used.
        entropy: Returns the given number of unpredictable bytes.
        random: Spreads load, and draws ids that are no secrets.
        run_sync: Runs a function in a worker thread.
        connect: Connects a stream for a task.
        listen: Listens.
        detach: Takes the socket of a stream, for the reactor; the stream is then unusable.
        selector: Makes selectors, which tell which sockets are ready.
        readable: Returns when a selector has sockets that are ready.
    """

    wall: Callable[[], float] = time.time
    steady: Callable[[], float] = _STEADY
    cpu: Callable[[], float] = time.thread_time
    entropy: Callable[[int], bytes] = os.urandom
    random: Random = attrs.field(factory=Random, repr=False)
    run_sync: RunSync = trio.to_thread.run_sync
    connect: Connect = _connect
    listen: Listen = listen
    detach: Callable[[trio.SocketStream], socket.socket] = _detach
    selector: Callable[[], selectors.DefaultSelector] = selectors.DefaultSelector
    readable: Callable[[selectors.DefaultSelector], Awaitable[None]] = trio.lowlevel.wait_readable


SYSTEM: Final = Network()
