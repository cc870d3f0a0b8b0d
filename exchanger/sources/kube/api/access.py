"""Access to an API server: connections that another thread can end, and credentials that are renewed while the process runs.

urllib3 cannot end a call that blocks in another thread: closing a connection there is not thread-safe, ``HTTPResponse.shutdown`` works only
after the head of an answer, and a read timeout starts again with each byte. A server that dribbles its answers would keep every thread
busy, and the policy would never change again. So the connection classes here tell the current ``ApiCall`` which socket it uses; shutting
down a duplicate of it wakes the thread while it connects, shakes hands, sends or waits. This overrides ``_new_conn``, the one private part
of urllib3 that is used.

Projected tokens, certificates, credential plugins and occasionally a cluster's CA change while the process runs, so ``ClusterCredentials``
reads them again when the server refuses or cannot be trusted. Many threads use both. Everything blocks, except ``ApiCall.abort``.
"""

import contextlib
import hashlib
import os
import socket
import threading
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final, NoReturn, final

import attrs
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection

from exchanger.model.errors import ConfigurationError
from exchanger.model.secret import Secret
from exchanger.net.network import SYSTEM, RunSync
from exchanger.util.follow_file import POLL_S, FileFollower
from exchanger.util.regular_file import UnusableFile, read_regular

# Addresses of one host name that are tried; each may take the whole connect timeout.
MAX_ADDRESSES: Final = 4
# Seconds between two readings of the configuration. A file costs little, but a credential plugin is a program that must run.
RENEWAL_PAUSE_S: Final = 1.0
# Bytes of a file that are compared: more than any token, certificate or bundle of authorities has.
MAX_FILE_BYTES: Final = 1024 * 1024
# Seconds that a call waits for another call's renewal; calls have 60 in total.
LOCK_S: Final = 30.0


class ClusterError(ConfigurationError):
    """No API server is configured, or the configuration is unusable; the message is a sentence for its author."""

    def __init__(self, sentence: str) -> None:
        super().__init__((sentence,))


class AbortedError(OSError):
    """The call was aborted before it used a socket."""


@final
@attrs.define(eq=False)
class ApiCall:
    """One request, from the first socket it dials to the last byte of its answer.

    It has its own descriptor of the socket in use: shutting that down wakes the thread that is blocked in the other one. Neither TLS nor
    urllib3 is involved, since neither may be touched while another thread is inside.
    """

    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False)
    _handle: socket.socket | None = attrs.field(default=None, init=False)
    _aborted: bool = attrs.field(default=False, init=False)

    def abort(self) -> None:
        """End the call, from any thread. Does not block; does nothing once the call has ended."""
        with self._lock:
            self._aborted = True
            if self._handle is not None:
                with contextlib.suppress(OSError):  # not connected yet, or no longer
                    self._handle.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Release the socket; the thread that makes the call always does this last."""
        with self._lock:
            handle, self._handle = self._handle, None
        if handle is not None:
            handle.close()

    def use(self, descriptor: int) -> None:
        """Record that the call uses the socket of ``descriptor`` from now on.

        Raises:
            AbortedError: the call must end.
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
        """Connect to one of the addresses of ``host``, trying each for ``timeout`` seconds.

        Only the name lookup cannot be aborted; the system's resolver bounds it.

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


# The call that this thread makes: urllib3 has no way to pass it to a connection.
PRESENT: Final[ContextVar[ApiCall]] = ContextVar("PRESENT")


class _Wakeable(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return PRESENT.get().dial(self._dns_host, self.port, self.timeout, self.socket_options)

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is not None:  # kept from an earlier call
            PRESENT.get().use(self.sock.fileno())
        super().request(*args, **kwargs)


class _WakeableTls(_Wakeable, HTTPSConnection):
    pass


class _WakeablePool(HTTPConnectionPool):
    ConnectionCls = _Wakeable


class _WakeableTlsPool(HTTPSConnectionPool):
    ConnectionCls = _WakeableTls


def make_wakeable(pools: PoolManager) -> None:
    """Let ``pools``, not used yet, open connections whose calls can be aborted."""
    # The documented place for custom pools:
    # https://urllib3.readthedocs.io/en/stable/advanced-usage.html#customizing-pools-and-connections
    pools.pool_classes_by_scheme = {"http": _WakeablePool, "https": _WakeableTlsPool}


def close_kept(pools: PoolManager) -> None:
    """Close idle connections. Those in use close when their calls end; later calls open new ones."""
    # urllib3 only does this when the last reference to a pool is gone, which a logged traceback may keep for long.
    kept = [pool for key in pools.pools.keys() if (pool := pools.pools.get(key)) is not None]  # noqa: SIM118 - not iterable itself
    pools.clear()
    for pool in kept:
        pool.close()


@final
@attrs.define(eq=False)
class Access:
    """An API server and how to authenticate to it.

    ``url`` has no trailing slash. ``authorization`` returns the current header value, ``None`` if a client certificate or nothing replaces
    it. ``identity`` is equal for equal client certificates, ``trust`` for the same server with the same trusted CAs. ``files`` are the
    files from which all of this was read.
    """

    url: str
    pools: PoolManager = attrs.field(repr=False)
    authorization: Callable[[], Secret | None] = attrs.field(repr=False)
    identity: bytes = attrs.field(default=b"", repr=False)
    trust: bytes = attrs.field(default=b"", repr=False)
    files: tuple[Path, ...] = ()

    @property
    def is_authenticated(self) -> bool:
        """Whether requests carry an identity: a header or a client certificate."""
        return bool(self.identity) or self.authorization() is not None


@final
@attrs.define(eq=False)
class ClusterCredentials:
    """The current ``Access``. ``load`` reads everything again and raises ``ClusterError``; one thread runs it at a time.

    ``renewals`` counts the refusals, by the server or of the server, that led to a new ``Access``.
    """

    _load: Callable[[], Access] = attrs.field(repr=False)
    _access: Access
    _steady: Callable[[], float] = SYSTEM.steady
    renewals: int = attrs.field(default=0, init=False)
    lock: threading.Lock = attrs.field(factory=threading.Lock, init=False)
    _renewed_at: float = attrs.field(default=float("-inf"), init=False)

    def present(self) -> tuple[Access, Secret | None]:
        """Return the ``Access`` for a call, and the value of its Authorization header.

        Raises:
            TimeoutError: another call's renewal takes too long.
        """
        if not self.lock.acquire(timeout=LOCK_S):
            raise TimeoutError("the credentials are being renewed")
        try:
            return self._access, self._access.authorization()
        finally:
            self.lock.release()

    def renew(self, refused: Access, authorization: Secret | None) -> bool:
        """Return whether there are credentials other than those just refused; read them again if necessary."""
        if not self.lock.acquire(timeout=LOCK_S):
            return False
        try:
            if self._differs(refused, authorization):
                return True  # another call renewed them
            fresh = self._read_again()
            if fresh is None:
                return False
            self._replace(fresh)
            return self._differs(refused, authorization)
        finally:
            self.lock.release()

    def renew_trust(self, distrusting: Access) -> bool:
        """Return whether the trusted authorities or the server differ from those in ``distrusting``, which has just failed.

        New credentials alone are no reason to retry: a plugin may return others each time, and they make the server no more trusted.
        """
        if not self.lock.acquire(timeout=LOCK_S):
            return False
        try:
            if self._access.trust == distrusting.trust:
                fresh = self._read_again()
                if fresh is None or fresh.trust == distrusting.trust:
                    return False
                self._replace(fresh)
            return True
        finally:
            self.lock.release()

    def _read_again(self) -> Access | None:
        """Return the current configuration; ``None`` if it was read a moment ago, or is unusable."""
        now = self._steady()
        if now < self._renewed_at + RENEWAL_PAUSE_S:
            return None
        self._renewed_at = now
        try:
            fresh = self._load()
        except ClusterError:
            return None  # the old one may become valid again, and a file that is being written is complete a moment later
        # A token file that is empty for a moment looks like a configuration without credentials. The anonymous request would get 403, after
        # which the file would never be read again.
        return None if self._access.is_authenticated and not fresh.is_authenticated else fresh

    def _replace(self, fresh: Access) -> None:
        before, self._access = self._access, fresh
        close_kept(before.pools)
        self.renewals += 1

    def _differs(self, refused: Access, authorization: Secret | None) -> bool:
        return self._access.identity != refused.identity or self._access.authorization() != authorization

    async def follow_files(self, changed: Callable[[], None], run_sync: RunSync, interval: float = POLL_S) -> NoReturn:
        """Call ``changed`` whenever a file of the configuration has other content, until cancelled. The content is not read here."""
        follower = FileFollower(self._content, b"", run_sync, interval)
        seen = await follower.look()

        def compare(found: bytes) -> None:
            nonlocal seen
            if found not in {b"", seen}:
                seen = found
                changed()

        await follower.run(compare)

    def _content(self) -> bytes:
        """Return a digest of the files. Blocks."""
        found = hashlib.sha256()
        for path in self._access.files:
            content = read_regular(path, MAX_FILE_BYTES)
            found.update(b"" if isinstance(content, UnusableFile) else hashlib.sha256(content).digest())
        return found.digest()

    def close(self) -> None:
        """Close idle connections; those in use close when their calls end."""
        close_kept(self._access.pools)
