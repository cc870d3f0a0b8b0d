"""Sockets that another thread can wake: a call that is blocked, while it dials, shakes hands, sends or waits, ends once it is aborted.

urllib3 opens and keeps the connections; this module gives it connection classes that tell the present call which socket it uses. Thread
side: everything here blocks, except ``Call.abort``. Must not know: requests, answers, credentials.
"""

import contextlib
import os
import socket
import threading
from contextvars import ContextVar
from typing import Any, Final, final

import attrs
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection

MAX_ADDRESSES: Final = 4
"""Addresses of one host name that are tried; each may take the whole time to connect."""


class AbortedError(OSError):
    """The call was aborted before it came to use a socket."""


@final
@attrs.define(eq=False)
class Call:
    """One request, from the first socket that it dials to the last byte of its answer.

    It keeps a descriptor of its own for whatever socket it uses: shutting that down wakes whoever is blocked in the other one, and neither
    TLS nor urllib3 has to be asked, neither of which may be touched while another thread is inside.
    """

    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False)
    _handle: socket.socket | None = attrs.field(default=None, init=False)
    _aborted: bool = attrs.field(default=False, init=False)

    def abort(self) -> None:
        """End the call from any thread; does not block, and does nothing when it is over."""
        with self._lock:
            self._aborted = True
            if self._handle is not None:
                with contextlib.suppress(OSError):  # it is not connected yet, or not any more
                    self._handle.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of the socket; whoever makes the call does it last, in any case."""
        with self._lock:
            handle, self._handle = self._handle, None
        if handle is not None:
            handle.close()

    def use(self, descriptor: int) -> None:
        """Take note that the call uses the socket of ``descriptor`` from now on.

        Raises:
            AbortedError: the call is to end.
        """
        handle = socket.socket(fileno=os.dup(descriptor))
        with self._lock:
            aborted = self._aborted
            if aborted:
                unused: socket.socket | None = handle
            else:
                unused, self._handle = self._handle, handle
        if unused is not None:
            unused.close()
        if aborted:
            raise AbortedError("the call was aborted")

    def dial(self, host: str, port: int, timeout: float | None, options: Any) -> socket.socket:
        """Return a socket that is connected to one of the addresses of ``host``, each tried for ``timeout`` seconds.

        Looking up the addresses is the one thing that cannot be aborted; the system's resolver has a bound of its own for it.

        Raises:
            OSError: no address could be reached.
        """
        failure: OSError = OSError("the host name has no address")
        for family, kind, protocol, _, address in socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[:MAX_ADDRESSES]:
            connection = socket.socket(family, kind, protocol)
            try:
                for option in options or ():
                    connection.setsockopt(*option)
                connection.settimeout(timeout)
                self.use(connection.fileno())
                connection.connect(address)
            except OSError as error:
                connection.close()
                failure = error
                if self._aborted:
                    break
            else:
                return connection
        raise failure


PRESENT: Final[ContextVar[Call]] = ContextVar("PRESENT")
"""The call that this thread makes; urllib3 has no way to hand it down to a connection."""


class _WakeableConnection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return PRESENT.get().dial(self._dns_host, self.port, self.timeout, self.socket_options)

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is not None:  # one that was kept from an earlier call
            PRESENT.get().use(self.sock.fileno())
        super().request(*args, **kwargs)


class _WakeableTlsConnection(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return PRESENT.get().dial(self._dns_host, self.port, self.timeout, self.socket_options)

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is not None:
            PRESENT.get().use(self.sock.fileno())
        super().request(*args, **kwargs)


class _WakeablePool(HTTPConnectionPool):
    ConnectionCls = _WakeableConnection


class _WakeableTlsPool(HTTPSConnectionPool):
    ConnectionCls = _WakeableTlsConnection


def make_wakeable(pools: PoolManager) -> None:
    """Let ``pools``, which have not been used yet, open connections whose calls can be aborted."""
    # The place where urllib3 lets its users put pools of their own:
    # https://urllib3.readthedocs.io/en/stable/advanced-usage.html#customizing-pools-and-connections is about subclasses of these.
    pools.pool_classes_by_scheme = {"http": _WakeablePool, "https": _WakeableTlsPool}


def close_kept(pools: PoolManager) -> None:
    """Close the connections that wait for their next use; those in use close when their calls end, and later calls open new ones."""
    # urllib3 leaves this to the end of the last reference to a pool, which a logged traceback may hold for long.
    kept = [pool for key in pools.pools.keys() if (pool := pools.pools.get(key)) is not None]  # noqa: SIM118 - cannot be iterated itself
    pools.clear()
    for pool in kept:
        pool.close()
