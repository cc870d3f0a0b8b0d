"""Follows a Secret by reading it again and again: all that a right to ``get`` by name is good for, and as much as client secrets need.

Must not know: how a Secret is read, or what its values are for.
"""

from collections.abc import Callable
from random import Random
from typing import Final, NoReturn, final

import attrs
import trio

from exchanger.issuers.secrets import SecretData, SecretFault, SecretName, SecretProblem, SecretReader

POLL_S: Final = 10.0
"""Seconds between reads of a Secret. What it held before is good for ``ROTATION_GRACE_S`` after a change, so that nothing hangs on a few
seconds; and a read a Secret every ten seconds is less than what a single idle kubelet asks of the same server."""
JITTER: Final = 0.2
"""How much longer an interval may become by chance, so that instances which started together do not ask together."""
READ_S: Final = 10.0
"""Seconds for one read. An API server answers a get within milliseconds, so one that takes this long will not."""
FIRST_RETRY_S: Final = 0.8
"""Seconds, before chance is added, to wait after the first failure; this and the next two are client-go's numbers, as for policy."""
RETRY_FACTOR: Final = 2.0
"""By how much each further wait is longer."""
RETRY_CAP_S: Final = 30.0
"""Seconds that no wait exceeds before chance is added."""

_NO_ANSWER: Final = SecretProblem(SecretFault.UNREACHABLE, f"was not read within {READ_S:.0f} seconds")


@final
@attrs.frozen
class PollingStatistics:
    """Reads since the start, and how many of them failed."""

    reads: int
    failed: int


@final
@attrs.define(eq=False)
class PollingSecrets:
    """Implements ``secrets.SecretFollower`` on top of a reader."""

    _reader: SecretReader
    _random: Random = attrs.field(factory=Random)
    _reads: int = attrs.field(default=0, init=False)
    _failed: int = attrs.field(default=0, init=False)

    async def follow(self, secret: SecretName, learn: Callable[[SecretData | SecretProblem], None], /) -> NoReturn:
        """See ``secrets.SecretFollower``."""
        last: SecretData | SecretProblem | None = None
        retry = FIRST_RETRY_S
        while True:
            found = await self._read(secret)
            if found != last:
                learn(found)
                last = found
            if isinstance(found, SecretData):
                retry = FIRST_RETRY_S
                await trio.sleep(POLL_S * (1.0 + JITTER * self._random.random()))
            else:
                # As much again as the wait itself is the most that chance adds: a run of luck cannot make the waits short.
                await trio.sleep(retry * (1.0 + self._random.random()))
                retry = min(retry * RETRY_FACTOR, RETRY_CAP_S)

    def statistics(self) -> PollingStatistics:
        """Return the counts so far."""
        return PollingStatistics(self._reads, self._failed)

    async def _read(self, secret: SecretName) -> SecretData | SecretProblem:
        self._reads += 1
        found: SecretData | SecretProblem = _NO_ANSWER
        with trio.move_on_after(READ_S):
            found = await self._reader.read(secret)
        self._failed += isinstance(found, SecretProblem)
        return found
