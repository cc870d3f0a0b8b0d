"""The level that replicas share: look-ups that take milliseconds at most, and writes that nothing waits for.

A connection is used while it answers in time. Failures and timeouts add up, successes reduce the count; when there are too many, the
connection is closed and the level is not used, so that a look-up costs nothing, until a task in the background has another connection that
answers in time. So the breaker has no separate state: it is whether there is a connection in use. While requests want it, the task tries
every second; otherwise it backs off.

Nothing here is an error for a request: any failure is a miss.
"""

import enum
import ssl
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol, final

import attrs
import structlog
import trio

from exchanger.exchange.cache.files import StoreFiles, read_files
from exchanger.exchange.cache.keys import CacheKey
from exchanger.exchange.cache.sealed_token import MAX_SEALED_BYTES, StoredToken, fingerprint, seal, unseal
from exchanger.exchange.cache.settings import SharedSettings
from exchanger.exchange.cache.store import StoreConnection, StoreFailure, Write
from exchanger.exchange.cache.write_queue import Job, WriteQueue
from exchanger.model.secret import Secret
from exchanger.net.network import Network
from exchanger.net.stream import Dial
from exchanger.net.tls.client import client_tls_context
from exchanger.util.backoff import BackOff, BackOffSettings
from exchanger.util.follow_file import HANGS, FileFollower
from exchanger.util.regular_file import UnusableFile

# Seconds for a look-up: what a call to a near token endpoint takes. The store is to save time, not to cost it.
FIND_S: Final = 0.02
# Seconds for writes and their batch. Nothing waits for them.
WRITE_S: Final = 1.0
# Look-ups at a time; further ones find nothing. At 0.5 ms each, the usual time of a store, this is more than a process can request.
MAX_FINDS: Final = 128
# Failures that close the connection if they add up. A success offsets a quarter of one, so a fifth of all look-ups may fail.
MOST_FAILURES: Final = 3.0
SUCCESS: Final = 0.25
# Seconds between two checks whether the connection is in step.
CHECK_S: Final = 1.0
# Seconds from one attempt to connect to the next while requests miss the store. Each costs it a handshake and three commands.
HURRY_S: Final = 1.0
_SLOW: Final = f"did not answer within {1000 * FIND_S:.0f} ms"
_NOT_TAKEN: Final = StoreFailure(f"did not take a value within {WRITE_S:.0f} s")
_RETRY: Final = BackOffSettings(first=0.5, factor=2.0, cap=15.0, reset=60.0)


@enum.unique
class EmptyLookup(enum.Enum):
    """Why a look-up found nothing; the value is the ``result`` of the metric."""

    MISS = "miss"
    ERROR = "error"


class Connected(Protocol):
    """An open connection to the store; see ``StoreConnection``."""

    closed: trio.Event

    @property
    def in_step(self) -> bool:
        """Whether it is open, and holds no unexpected answer."""

    async def read(self, keys: Sequence[bytes], max_bytes: int) -> list[tuple[bytes, int]] | StoreFailure:
        """Return values and the milliseconds that they have left."""

    async def write(self, writes: Sequence[Write]) -> StoreFailure | None:
        """Make changes."""


OpenStore = Callable[[trio.Nursery, Dial, SharedSettings, Secret | None, ssl.SSLContext | None], Awaitable[Connected | StoreFailure]]


@final
@attrs.define(eq=False)
class SharedLevel:
    """The shared level.

    Args:
        settings: Its address, and its files.
        on_keys_gone: Called when a key that may have written tokens is no longer active.
        network: Leads to the store. ``put`` gets times of its steady clock.
        open_store: Opens connections.

    ``unreadable``: one of the files cannot be used as it is now.
    """

    settings: SharedSettings
    on_keys_gone: Callable[[], None]
    network: Network
    open_store: OpenStore = StoreConnection.open
    log: structlog.stdlib.BoundLogger = attrs.field(factory=structlog.get_logger)
    keys: tuple[CacheKey, ...] = attrs.field(default=(), init=False)
    _files: StoreFiles | None = attrs.field(default=None, init=False)
    unreadable: bool = attrs.field(default=False, init=False)
    _follower: FileFollower[StoreFiles | UnusableFile] = attrs.field(init=False)
    _changed: trio.Event = attrs.field(factory=trio.Event, init=False)
    _store: Connected | None = attrs.field(default=None, init=False)
    _hurried: trio.Event = attrs.field(factory=trio.Event, init=False)
    _tls: ssl.SSLContext | None = attrs.field(default=None, init=False)
    _tripped: trio.Event = attrs.field(factory=trio.Event, init=False)
    _failures: float = attrs.field(default=0.0, init=False)
    _reason: str = attrs.field(default="", init=False)
    _reported: str = attrs.field(default="", init=False)
    _finding: int = attrs.field(default=0, init=False)
    _queue: WriteQueue = attrs.field(factory=WriteQueue, init=False)
    _wake: trio.Event = attrs.field(factory=trio.Event, init=False)
    _refusing: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._follower = FileFollower(lambda: read_files(self.settings), UnusableFile(HANGS), self.network.run_sync, first_at_once=True)

    @property
    def in_use(self) -> bool:
        """Whether a look-up may find something."""
        return self._store is not None and self._finding < MAX_FINDS

    def wanted(self) -> bool:
        """Return whether a look-up may find something; without a connection, the next attempt follows at once, or after ``HURRY_S``."""
        if self._store is None:
            self._hurried.set()
        return self.in_use

    @property
    def connected(self) -> bool:
        """Whether the store is in use."""
        return self._store is not None

    @property
    def queued(self) -> int:
        """The writes that wait."""
        return len(self._queue)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Own the connection and the writer until cancelled. Starting does not wait for the store."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follower.run_settled, self.learn)
            nursery.start_soon(self._stay_connected)
            nursery.start_soon(self._write_queued)
            task_status.started()

    async def find(self, digests: tuple[bytes, ...]) -> tuple[StoredToken, float] | EmptyLookup:
        """Return the token with one of these names, and the seconds that it has left according to the store.

        ``digests`` has one name for each of ``keys``, in order. This takes ``FIND_S`` at most.
        """
        store, keys = self._store, self.keys
        if store is None or len(digests) != len(keys):
            return EmptyLookup.MISS
        self._finding += 1
        try:
            with trio.move_on_after(FIND_S):
                found = await store.read([self._name(digest) for digest in digests], MAX_SEALED_BYTES)
                if isinstance(found, StoreFailure):
                    self._failed(store, found.reason)
                    return EmptyLookup.ERROR
                self._failures = max(0.0, self._failures - SUCCESS)
                return _opened(keys, digests, found) or EmptyLookup.MISS
            self._failed(store, _SLOW)
            return EmptyLookup.ERROR
        finally:
            self._finding -= 1

    def put(self, digests: tuple[bytes, ...], token: StoredToken, end: float) -> None:
        """Queue a token for storing under the first name until ``end``. Only to be called while the level is ``in_use``."""
        if digests:
            self._queue.put(Job(self.keys, digests[:1], token, end))
            self._wake.set()

    def remove(self, digests: tuple[bytes, ...], only: bytes = b"") -> None:
        """Queue the removal of the token under all of its names, or of the one with the fingerprint ``only``, whatever is there by then.

        It waits until the store is used again.
        """
        if digests:
            self._queue.put(Job(self.keys, digests, only=only))
            self._wake.set()

    # Files

    def learn(self, found: StoreFiles | UnusableFile) -> None:
        """Use the keys and the password in the files from now on; the connection is opened again with them."""
        files = None if isinstance(found, UnusableFile) else found
        keys = () if files is None else files.keys
        gone = set(self.keys) - set(keys)
        self._files, self.keys, self.unreadable = files, keys, files is None
        if gone:
            self.on_keys_gone()
        if isinstance(found, UnusableFile):
            self.log.error("token_cache.files_unusable", reason=found.reason, text="no token is shared or read until the files are usable")
        else:
            self.log.info("token_cache.files_loaded", keys=len(keys))
        self._lose(self._store)
        self._tls = None
        self._hurried.set()
        self._changed.set()
        self._changed = trio.Event()

    # Connection

    async def _stay_connected(self) -> None:
        back_off = BackOff(_RETRY, self.network.random)
        while True:
            files = self._files
            if files is None:
                await self._changed.wait()
                continue
            self._hurried, began = trio.Event(), trio.current_time()
            reason = await self._use_connection(files, self._changed)
            if reason is not None:
                self._report_lost(reason)
                with trio.move_on_after(back_off.failed(trio.current_time())):
                    await self._hurried.wait()
                    await trio.sleep_until(began + HURRY_S)

    async def _use_connection(self, files: StoreFiles, changed: trio.Event) -> str | None:
        """Use one connection as long as it works; return why it no longer does, ``None`` if other files are active."""
        if self.settings.address.secure and self._tls is None:  # once for each version: a whole trust store takes 30 ms
            tls = await self.network.run_sync(client_tls_context, files.ca_pem, abandon_on_cancel=True)
            if changed.is_set():
                return None
            self._tls = tls
        self._tripped = trio.Event()
        self._failures, self._reason = 0.0, ""
        async with trio.open_nursery() as nursery:
            try:
                store = await self.open_store(nursery, self.network.connect, self.settings, files.password, self._tls)
                if isinstance(store, StoreFailure):
                    return store.reason
                if (reason := await self._probe(store)) is not None:
                    return reason
                if changed.is_set():
                    return None
                self._store = store
                self.log.info("token_cache.store_restored" if self._reported else "token_cache.store_ready")
                self._reported = ""
                self._wake.set()
                nursery.start_soon(self._trip_when_lost, store)
                await self._tripped.wait()
                return None if changed.is_set() else self._reason
            finally:
                self._store = None
                nursery.cancel_scope.cancel()

    async def _probe(self, store: Connected) -> str | None:
        """Return why the store cannot be used: it must answer a look-up's commands in time."""
        probe = self._name(b"\0" * 32)
        with trio.move_on_after(WRITE_S):
            await store.read([probe], 1)  # the first answer on a connection may take longer
        with trio.move_on_after(FIND_S):
            found = await store.read([probe], 1)
            return found.reason if isinstance(found, StoreFailure) else None
        return _SLOW

    async def _trip_when_lost(self, store: Connected) -> None:
        while not store.closed.is_set():
            with trio.move_on_after(CHECK_S):
                await store.closed.wait()
            if not store.in_step:
                break
        self._reason = self._reason or "closed the connection"
        self._lose(store)

    def _failed(self, store: Connected, reason: str) -> None:
        if store is not self._store:
            return
        self._failures += 1.0
        if self._failures >= MOST_FAILURES:
            self._reason = reason
            self._lose(store)

    def _lose(self, store: Connected | None) -> None:
        """Stop using the connection at once; its owner closes it."""
        if store is not None and store is self._store:
            self._store = None
            self._tripped.set()

    def _report_lost(self, reason: str) -> None:
        if reason != self._reported:
            self._reported = reason
            self.log.warning(
                "token_cache.store_lost", reason=reason, text="tokens are kept only in memory until the store responds in time"
            )

    # Writes

    async def _write_queued(self) -> None:
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            while self._queue and (store := self._store) is not None:
                failure: StoreFailure | None = _NOT_TAKEN
                with trio.move_on_after(WRITE_S) as scope:
                    failure = await self._write_batch(store, self._queue.take())
                if scope.cancelled_caught:
                    self._failed(store, _NOT_TAKEN.reason)
                self._report_refusal(failure)
                await trio.lowlevel.checkpoint()

    async def _write_batch(self, store: Connected, jobs: list[Job]) -> StoreFailure | None:
        failure: StoreFailure | None = None
        writes: list[Write] = []
        for job in jobs:
            if job.only:  # what it is compared with is what the changes before it leave
                failure = (await store.write(writes) if writes else None) or failure
                found = await store.read([self._name(digest) for digest in job.digests], MAX_SEALED_BYTES)
                if isinstance(found, StoreFailure):
                    return found
                writes = self._removals(job, found)
            else:
                writes += self._writes(job)
        return (await store.write(writes) if writes else None) or failure

    def _removals(self, job: Job, found: list[tuple[bytes, int]]) -> list[Write]:
        """Return what removes the token of ``job`` where it was ``found``, unless something else is there by then."""
        removals = []
        for key, digest, (value, _) in zip(job.keys, job.digests, found, strict=True):
            token = unseal(key, digest, value)
            if token is not None and fingerprint(token.access_token) == job.only:
                removals.append(Write(self._name(digest), only=value))
        return removals

    def _writes(self, job: Job) -> list[Write]:
        if job.token is None:
            return [Write(self._name(digest)) for digest in job.digests]
        left = int(1000 * (job.end - self.network.steady()))
        if left < 1 or job.keys[0] not in self.keys:
            return []
        value = seal(job.keys[0], job.digests[0], job.token, self.network.entropy)
        return [] if value is None else [Write(self._name(job.digests[0]), value, left)]

    def _report_refusal(self, failure: StoreFailure | None) -> None:
        if failure is not None and not self._refusing:
            self.log.warning(
                "token_cache.store_write_failed",
                reason=failure.reason,
                text="changes are not made in the store; the tokens that it has are still used",
            )
        self._refusing = failure is not None

    def _name(self, digest: bytes) -> bytes:
        """Return the key in the store: printable, and beginning with the deployment's name, for the store's access rules."""
        return f"{self.settings.namespace}:token:{urlsafe_b64encode(digest).decode().rstrip('=')}".encode()


def _opened(keys: tuple[CacheKey, ...], digests: tuple[bytes, ...], found: list[tuple[bytes, int]]) -> tuple[StoredToken, float] | None:
    for key, digest, (value, left_ms) in zip(keys, digests, found, strict=True):
        # Without a TTL, it was not written by a replica.
        token = unseal(key, digest, value) if value and left_ms > 0 else None
        if token is not None:
            return token, left_ms / 1000
    return None
