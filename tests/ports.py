"""Ports for servers that tests start, without a race for them."""

import atexit
import socket
from collections import deque
from typing import Final

# More than one test has ports, and few of the descriptors that a process may have.
_held: Final[deque[socket.socket]] = deque(maxlen=64)


@atexit.register
def _close() -> None:
    while _held:
        _held.pop().close()


def free_port() -> int:
    """Return a free loopback port that the system gives to nobody else: a socket here stays bound to it, and does not listen.

    A server that is told the port can listen on it all the same, with SO_REUSEADDR, which servers set.
    """
    holder = socket.socket()
    holder.bind(("127.0.0.1", 0))
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # not before: with it, the system may choose a port that is held
    if len(_held) == _held.maxlen:
        _held.popleft().close()
    _held.append(holder)
    port: int = holder.getsockname()[1]
    return port
