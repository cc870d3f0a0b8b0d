"""The changes that wait to be made in the shared store: bounded, in order, and removals are dropped last.

Must not know: tasks, clocks, or how changes are made.
"""

from collections import deque
from typing import Final, final

import attrs

from exchanger.exchange.cache.keys import CacheKey
from exchanger.exchange.cache.sealed_token import StoredToken

# Writes that wait, and their bytes: a second of a busy service. The oldest tokens are dropped first; they would also expire first.
MAX_QUEUED: Final = 2000
MAX_QUEUED_BYTES: Final = 8 * 1024 * 1024
# Writes sent together. 64 take 1 ms of the loop, including sealing.
BATCH: Final = 64


@final
@attrs.frozen
class Job:
    """A change to make. ``digests`` belong to ``keys``, those active when it was queued; without a ``token`` it is a removal.

    ``end`` is when the token's lifetime ends, by the steady clock. ``only`` is the fingerprint of the token to remove, empty for any.
    """

    keys: tuple[CacheKey, ...]
    digests: tuple[bytes, ...]
    token: StoredToken | None = None
    end: float = 0.0
    only: bytes = b""

    @property
    def size(self) -> int:
        """Bytes that count."""
        return 0 if self.token is None else len(self.token.access_token.reveal())


@final
@attrs.define(eq=False)
class WriteQueue:
    """Holds jobs until they are taken, in batches."""

    _jobs: deque[Job] = attrs.field(factory=deque, init=False)
    _bytes: int = attrs.field(default=0, init=False)

    def __len__(self) -> int:
        return len(self._jobs)

    def put(self, job: Job) -> None:
        """Add a job; if there is no room, the oldest token is dropped."""
        self._jobs.append(job)
        self._bytes += job.size
        while len(self._jobs) > MAX_QUEUED or self._bytes > MAX_QUEUED_BYTES:
            # Removals are dropped last: a token that was refused must not come back.
            at = next((at for at, queued in enumerate(self._jobs) if queued.token is not None), 0)
            self._bytes -= self._jobs[at].size
            del self._jobs[at]

    def take(self) -> list[Job]:
        """Remove the oldest jobs from the queue, at most ``BATCH``, and return them."""
        jobs = [self._jobs.popleft() for _ in range(min(BATCH, len(self._jobs)))]
        self._bytes -= sum(job.size for job in jobs)
        return jobs
