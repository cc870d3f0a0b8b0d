"""One task that serves all ready connections in rounds.

Trio charges for each task that it wakes, which is most of the cost of a small batch. So the sockets are in a separate selector: Trio waits
only for its descriptor, and one wake-up serves every socket that is ready.

A round has three steps: everything that is ready is read and parsed, then requests are decided, then all bytes are sent. Each step's code
and branches are warm after its first connection; a read or a send between two decisions cools them, and would wake a peer as well. A call
that was answered because of another connection's bytes leaves together with its neighbours.
"""

import contextlib
import math
import selectors
from collections.abc import Callable
from typing import ClassVar, Final, Protocol, final

import attrs
import trio

from exchanger.net.network import SYSTEM, Network
from exchanger.net.timers import NEVER, Timers

# Units of work in a row before other tasks get their turn: about 1 ms.
WORK_PER_CHECKPOINT: Final = 128

# TLS handshake steps in one round, of 0.3 ms with an elliptic curve key and 1 ms with an RSA key. When many gateways connect at once, those
# that are already connected wait no longer than this for their turn.
_LONG_PER_ROUND: Final = 4

READ: Final = selectors.EVENT_READ
WRITE: Final = selectors.EVENT_WRITE


class Flushed(Protocol):
    """What gathers its output until the end of a turn."""

    def flush(self) -> None:
        """Send what there is to send; called after ``touch``."""


class Participant(Flushed, Protocol):
    """A participant of the reactor. No method raises, except for a fault that must end the process.

    ``ready`` and ``resume`` return the work done, at least 1, in units of one call or of half a KiB that was read. Those that go ``first``
    are served before all others that are ready in the same round: what they received may decide whether others can use them.
    """

    first: ClassVar[bool]

    def fileno(self) -> int:
        """Return the descriptor to watch."""

    def ready(self, mask: int, now: float) -> int:
        """Serve what is ready (``READ`` or ``WRITE``) at ``now`` (seconds), within bounds; call ``later`` if something is left."""

    def resume(self, now: float) -> int:
        """Continue with what was left."""


@final
@attrs.define(eq=False)
class Reactor:
    """Serves its participants in rounds, each of them with a bounded amount of work.

    ``timers`` are those of its participants' rows. ``looked_at``: everything that had arrived by that time (seconds) was served, except for
    participants whose turn in this round is still to come. ``in_turn``: a turn is in progress. ``spent`` is what its participants have said
    about it; from ``WORK_PER_CHECKPOINT`` on they leave the rest for ``later``.
    """

    network: Network = SYSTEM
    timers: Timers = attrs.field(init=False)
    _selector: selectors.DefaultSelector = attrs.field(init=False)
    _unfinished: list[Participant] = attrs.field(factory=list, init=False)
    _afterwards: list[Callable[[], None]] = attrs.field(factory=list, init=False)
    _touched: dict[Flushed, None] = attrs.field(factory=dict, init=False)
    in_turn: bool = attrs.field(default=False, init=False)
    spent: int = attrs.field(default=0, init=False)
    due: float = attrs.field(default=NEVER, init=False)
    _in_round: bool = attrs.field(default=False, init=False)
    _now: float = attrs.field(default=0.0, init=False)
    looked_at: float = attrs.field(default=0.0, init=False)
    _long: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self.timers, self._selector = Timers(self.turn), self.network.selector()

    def watch(self, participant: Participant, mask: int) -> None:
        """Serve ``participant`` from now on, when its descriptor is ready for ``mask``."""
        self._selector.register(participant.fileno(), mask, participant)

    def change(self, participant: Participant, mask: int) -> None:
        """Watch for ``mask`` instead."""
        self._selector.modify(participant.fileno(), mask, participant)

    def forget(self, participant: Participant) -> None:
        """Stop serving ``participant``, if it was served. Call this before its descriptor is closed."""
        with contextlib.suppress(KeyError):
            self._selector.unregister(participant.fileno())

    def later(self, participant: Participant) -> None:
        """Call ``resume`` of ``participant`` in the next round, or soon if there may be none."""
        self._unfinished.append(participant)
        if not self._in_round and self.due == NEVER:
            self.timers.expect(self, trio.current_time())

    def on_due(self, now: float) -> None:
        """Continue with what was left outside of a round, which nothing may follow; see ``Timed``."""
        unfinished, self._unfinished = self._unfinished, []
        work = 0
        for index, participant in enumerate(unfinished):
            work += participant.resume(now)
            if work + self.spent >= WORK_PER_CHECKPOINT:
                self._unfinished[:0] = unfinished[index + 1 :]
                break
        if self._unfinished:
            self.timers.expect(self, math.nextafter(now, NEVER))

    def afterwards(self, work: Callable[[], None]) -> None:
        """Do ``work`` in this turn, once all that is ready was read and before anything is sent; at once outside of a turn."""
        if self.in_turn:
            self._afterwards.append(work)
        else:
            work()

    def touch(self, participant: Flushed) -> None:
        """Flush ``participant`` at the end of this turn, after those touched before; at once outside of a turn."""
        if self.in_turn:
            self._touched[participant] = None
        else:
            participant.flush()

    def turn(self, work: Callable[[], None]) -> None:
        """Do ``work``, then flush what it touched. For callers outside a round that touch several participants."""
        if self.in_turn:
            work()
            return
        self.in_turn = True
        try:
            work()
        finally:
            self._end_turn()

    def spend(self, work: int) -> None:
        """Count ``work`` that this turn does in addition to what ``ready`` and ``resume`` return, in their units."""
        self.spent += work

    def now(self) -> float:
        """Return the time (seconds of Trio's clock): in a round that of its beginning, which is at most some milliseconds ago."""
        return self._now if self.in_turn and self._in_round else trio.current_time()

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
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.timers.run)
            await self._serve()

    async def _serve(self) -> None:
        selector, readable = self._selector, self.network.readable
        work = 0
        while True:
            looked_at = trio.current_time()
            ready = selector.select(0)
            self._long = 0
            if not ready and not self._unfinished:
                # Nothing of the last round is kept while nothing happens: a connection may be over, and its credentials withdrawn.
                key = participant = unfinished = None
                await readable(selector)
                work = 0
                continue
            unfinished, self._unfinished = self._unfinished, []
            self.in_turn = self._in_round = True
            self._now = now = looked_at
            try:
                for key, mask in ready:
                    if key.data.first:
                        work += key.data.ready(mask, now)
                self.looked_at = looked_at
                for participant in unfinished:
                    work += participant.resume(now)
                    if work + self.spent >= WORK_PER_CHECKPOINT:
                        work, now = 0, await self._yield()
                for key, mask in ready:
                    if key.data.first:
                        continue
                    work += key.data.ready(mask, now)
                    if work + self.spent >= WORK_PER_CHECKPOINT:
                        work, now = 0, await self._yield()
            finally:
                self._end_turn()
                self._in_round = False

    async def _yield(self) -> float:
        """Flush, let other tasks run, and return the time."""
        self._end_turn()
        self._in_round = False
        await trio.lowlevel.checkpoint()
        self.in_turn = self._in_round = True
        self._now = trio.current_time()
        return self._now

    def _end_turn(self) -> None:
        while self._afterwards or self._touched:  # one flush can end calls, which touches others
            afterwards, self._afterwards = self._afterwards, []
            for work in afterwards:
                work()
            touched, self._touched = self._touched, {}
            for participant in touched:
                participant.flush()
        self.in_turn = False
        self.spent = 0
