"""What it takes to talk to an API server, and how it is renewed: projected tokens, certificates and plugins give new ones all the time.

Now and then a cluster's authority is replaced, too. Used by many threads at once. Must not know: where the configuration comes from (a
function that loads it is given), or what is asked.
"""

import threading
import time
from collections.abc import Callable
from typing import Final, final

import attrs
from urllib3 import PoolManager

from exchanger.errors import ConfigurationError
from exchanger.kube.sockets import close_kept
from exchanger.values.secret import Secret

RENEWAL_PAUSE_S: Final = 1.0
"""Seconds between two readings, whatever they are for: a file costs little to read, a credential plugin is a program to run."""
LOCK_S: Final = 30.0
"""Seconds that a call waits for a renewal that another one makes; calls have 60 in all."""


class ClusterError(ConfigurationError):
    """No API server is configured, or what is configured cannot be used; the message is a sentence for whoever configured it."""

    def __init__(self, sentence: str) -> None:
        super().__init__((sentence,))


@final
@attrs.define(eq=False)
class Access:
    """An API server and the way in.

    ``url`` has no slash at its end. ``authorization`` returns the header's value as of now, ``None`` where a client certificate or
    nothing takes its place. ``identity`` tells whether another ``Access`` has the same client certificate, ``trust`` whether it leads to
    the same server and trusts the same authorities.
    """

    url: str
    pools: PoolManager = attrs.field(repr=False)
    authorization: Callable[[], Secret | None] = attrs.field(repr=False)
    identity: bytes = attrs.field(default=b"", repr=False)
    trust: bytes = attrs.field(default=b"", repr=False)

    @property
    def is_authenticated(self) -> bool:
        """Whether requests say who makes them: by a header, or by a client certificate."""
        return bool(self.identity) or self.authorization() is not None


@final
@attrs.define(eq=False)
class Credentials:
    """The present ``Access``. ``load`` reads everything anew and raises ``ClusterError``; it blocks, and one thread runs it at a time."""

    _load: Callable[[], Access] = attrs.field(repr=False)
    _access: Access
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False)
    _renewed_at: float = attrs.field(default=float("-inf"), init=False)
    _renewals: int = attrs.field(default=0, init=False)

    @property
    def renewals(self) -> int:
        """How many times a refusal, by the server or of the server, led to others being read."""
        return self._renewals

    def present(self) -> tuple[Access, Secret | None]:
        """Return what a call is to use, and the Authorization header's value for it.

        Raises:
            TimeoutError: another call's renewal takes too long.
        """
        if not self._lock.acquire(timeout=LOCK_S):
            raise TimeoutError("the credentials are being renewed")
        try:
            return self._access, self._access.authorization()
        finally:
            self._lock.release()

    def renew(self, refused: Access, authorization: Secret | None) -> bool:
        """Return whether there are others than those which the server has just refused, reading them anew when need be."""
        if not self._lock.acquire(timeout=LOCK_S):
            return False
        try:
            if self._differs(refused, authorization):
                return True  # another call's renewal
            fresh = self._read_anew()
            if fresh is None:
                return False
            self._replace(fresh)
            return self._differs(refused, authorization)
        finally:
            self._lock.release()

    def renew_trust(self, distrusting: Access) -> bool:
        """Return whether other authorities are trusted, or another server is meant, than by ``distrusting``, which has just led nowhere.

        New credentials alone are no reason to ask again: a plugin may give others each time, and the server is trusted no more for them.
        """
        if not self._lock.acquire(timeout=LOCK_S):
            return False
        try:
            if self._access.trust == distrusting.trust:
                fresh = self._read_anew()
                if fresh is None or fresh.trust == distrusting.trust:
                    return False
                self._replace(fresh)
            return True
        finally:
            self._lock.release()

    def _read_anew(self) -> Access | None:
        """Return what is configured now; ``None`` when that was looked at a moment ago, or cannot be used."""
        now = time.monotonic()
        if now < self._renewed_at + RENEWAL_PAUSE_S:
            return None
        self._renewed_at = now
        try:
            fresh = self._load()
        except ClusterError:
            return None  # what there is may become good again, and a file that is being written is complete a moment later
        # A token file that is empty for a moment reads like a configuration without credentials. An anonymous request would be answered
        # with 403, after which nobody would look at the file again.
        return None if self._access.is_authenticated and not fresh.is_authenticated else fresh

    def _replace(self, fresh: Access) -> None:
        before, self._access = self._access, fresh
        close_kept(before.pools)
        self._renewals += 1

    def _differs(self, refused: Access, authorization: Secret | None) -> bool:
        return self._access.identity != refused.identity or self._access.authorization() != authorization

    def close(self) -> None:
        """Close the connections that are kept; those in use close when their calls end."""
        close_kept(self._access.pools)
