"""One task that serves all ready connections in turn.

Trio charges for each task that it wakes, which is most of the cost of a small batch. So the sockets are in a selector of their own. Trio
waits for its descriptor only, and one wake-up serves every socket that is ready by then.
"""

import contextlib
import selectors
from typing import Final, Protocol, final

import attrs
import trio

# Units of work in a row before other tasks get their turn: about 1 ms.
_WORK_PER_CHECKPOINT: Final = 128

# TLS handshake steps in one round, of 0.3 ms with an elliptic curve key and 1 ms with an RSA key. When many gateways connect at once, those
# that are connected already wait no longer than this for their turn.
_LONG_PER_ROUND: Final = 4

READ: Final = selectors.EVENT_READ
WRITE: Final = selectors.EVENT_WRITE


class Participant(Protocol):
    """What the reactor serves. Neither method raises, except for a fault that must end the process.

    Both return the work done, at least 1, in units of one call or of half a KiB that was read.
    """

    def fileno(self) -> int:
        """Return the descriptor to watch."""

    def ready(self, mask: int, now: float) -> int:
        """Serve what is ready (``READ`` or ``WRITE``) at ``now`` (seconds), within bounds; ask for ``later`` when something is left."""

    def resume(self, now: float) -> int:
        """Go on with what was left."""


@final
@attrs.define(eq=False)
class Reactor:
    """Serves its participants in rounds, each of them for a bounded piece of work."""

    _selector: selectors.DefaultSelector = attrs.field(factory=selectors.DefaultSelector, init=False)
    _unfinished: list[Participant] = attrs.field(factory=list, init=False)
    _long: int = attrs.field(default=0, init=False)

    def watch(self, participant: Participant, mask: int) -> None:
        """Serve ``participant`` from now on, when its descriptor is ready for ``mask``."""
        self._selector.register(participant.fileno(), mask, participant)

    def change(self, participant: Participant, mask: int) -> None:
        """Watch for ``mask`` instead."""
        self._selector.modify(participant.fileno(), mask, participant)

    def forget(self, participant: Participant) -> None:
        """Serve ``participant`` no more, if it was served. Call this before its descriptor is closed."""
        with contextlib.suppress(KeyError):
            self._selector.unregister(participant.fileno())

    def later(self, participant: Participant) -> None:
        """Call ``resume`` of ``participant`` in the next round."""
        self._unfinished.append(participant)

    def admit(self) -> bool:
        """Return whether one more long piece of work has room in this round.

        A participant that is not admitted leaves its input unread, so it is served again in the next round.
        """
        self._long += 1
        return self._long <= _LONG_PER_ROUND

    def close(self) -> None:
        """Close the selector, after the last participant is gone."""
        self._selector.close()

    async def run(self) -> None:
        """Serve until cancelled. Only the caller's cancel scope bounds the wait: there may be nothing to do."""
        selector = self._selector
        work, now = 0, trio.current_time()
        while True:
            ready = selector.select(0)
            self._long = 0
            if not ready and not self._unfinished:
                await trio.lowlevel.wait_readable(selector.fileno())
                work, now = 0, trio.current_time()
                continue
            unfinished, self._unfinished = self._unfinished, []
            for participant in unfinished:
                work += participant.resume(now)
                if work >= _WORK_PER_CHECKPOINT:
                    await trio.lowlevel.checkpoint()
                    work, now = 0, trio.current_time()
            for key, mask in ready:
                work += key.data.ready(mask, now)
                if work >= _WORK_PER_CHECKPOINT:
                    await trio.lowlevel.checkpoint()
                    work, now = 0, trio.current_time()
