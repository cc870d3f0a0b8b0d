"""Resolves host names, each host in separate threads, so that a resolver that hangs for one of them delays no other.

Trio's own resolver shares one limit of 40 threads with all other blocking work of the process. A look-up cannot be interrupted: when its
task gives up, its thread stays until the system's resolver returns. A few dozen of them would stop every other connection, and the
reading of changed files.

Must not know: who connects, or why.
"""

import socket
import weakref
from collections.abc import Callable
from typing import Any, Final, final

import attrs
import trio

# Look-ups of one host at a time. At 20 ms each, this allows 400 new connections a second.
MAX_LOOK_UPS: Final = 8


@final
@attrs.define(eq=False)
class Resolver(trio.abc.HostnameResolver):
    """Resolves names in threads, with a limit for each. A limiter lives as long as a task waits for it, or a thread has a part of it."""

    _limiters: "weakref.WeakValueDictionary[bytes | None, trio.CapacityLimiter]" = attrs.field(
        factory=weakref.WeakValueDictionary, init=False
    )

    async def getaddrinfo(
        self,
        host: bytes | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,  # noqa: A002 - the interface's name
        proto: int = 0,
        flags: int = 0,
    ) -> Any:
        """Return the addresses of ``host`` as ``socket.getaddrinfo`` does; raises ``socket.gaierror``."""
        limiter = self._limiters.get(host)
        if limiter is None:
            limiter = self._limiters[host] = trio.CapacityLimiter(MAX_LOOK_UPS)
        resolve: Callable[..., Any] = socket.getaddrinfo
        return await trio.to_thread.run_sync(
            resolve, host, port, family, type, proto, flags, limiter=limiter, abandon_on_cancel=True, thread_name="resolve"
        )

    async def getnameinfo(self, sockaddr: tuple[str, int] | tuple[str, int, int, int], flags: int) -> tuple[str, str]:
        """Return the name of an address, which nothing here requests."""
        return await trio.to_thread.run_sync(socket.getnameinfo, sockaddr, flags, abandon_on_cancel=True)
