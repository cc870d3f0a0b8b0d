"""One task that serves all ready connections in rounds.

Trio charges for each task that it wakes, which is most of the cost of a small batch. So the sockets are in a separate selector: Trio waits
only for its descriptor, and one wake-up serves every socket that is ready.

A round has three steps: everything that is ready is read and parsed, then requests are decided, then all bytes are sent. Each step's code
and branches are warm after its first connection; a read or a send between two decisions cools them, and would wake a peer as well. A call
that was answered because of another connection's bytes leaves together with its neighbours.

However much some connections send, it does not delay others. A participant that becomes ready serves one request at once. If there is more,
it waits in a queue whose members get equal shares of the work, and after each turn the reactor looks for participants that became ready. So
a request waits for at most one request of each connection that became ready earlier, and for one turn of the queue's work.
"""

import contextlib
import math
import selectors
from collections import OrderedDict
from collections.abc import Callable
from typing import ClassVar, Final, Protocol, final

import attrs
import trio

from exchanger.net.network import SYSTEM, Network
from exchanger.net.timers import NEVER, Timers

# Units of work in a row before other tasks get their turn: about 1 ms.
WORK_PER_CHECKPOINT: Final = 128

# Units of a participant when it becomes ready: one request, and a look whether there is more.
_AT_ONCE: Final = 2

# Units that the queue's members share until the first one has its next turn, and the most for one of them. Larger shares need fewer sends;
# smaller ones keep the turn of the last of a thousand members within 20 to 40 ms.
_WORK_PER_CYCLE: Final = 512
_LARGEST_SHARE: Final = 64

# TLS handshake steps in one round, of 0.3 ms with an elliptic curve key and 1 ms with an RSA key. When many gateways connect at once, those
# that are already connected wait no longer than this for their turn.
_LONG_PER_ROUND: Final = 4

READ: Final = selectors.EVENT_READ
WRITE: Final = selectors.EVENT_WRITE


class Flushed(Protocol):
    """What gathers its output until the end of a turn."""

    def flush(self) -> None:
        """Send what there is to send; called after ``schedule_flush``."""


class Participant(Flushed, Protocol):
    """A participant of the reactor. No method raises, except for a fault that must end the process.

    ``ready`` and ``resume`` return the work done, at least 1, in units of one call or of half a KiB that was read. They do no more than
    ``Reactor.share`` allows, and call ``later`` if something is left. Those that go ``first`` are served before all others that are ready
    in the same round: what they received may decide whether others can use them.
    """

    first: ClassVar[bool]

    def fileno(self) -> int:
        """Return the descriptor to watch."""

    def ready(self, mask: int, now: float) -> int:
        """Serve what is ready (``READ`` or ``WRITE``) at ``now`` (seconds). Not called while the participant is in the queue."""

    def resume(self, now: float) -> int:
        """Continue with what was left."""


@final
@attrs.define(eq=False)
class Reactor:
    """Serves its participants in rounds, each of them with a bounded amount of work.

    ``timers`` are those of its participants' rows. ``looked_at``: everything that had arrived by that time (seconds) was served, except for
    participants whose turn in this round is still to come. ``in_turn``: a turn is in progress. ``share``: the units of work that the
    participant whose turn it is may do; it may finish a request that it has begun. ``spent`` is what participants have said about this turn
    in addition; from ``WORK_PER_CHECKPOINT`` on they leave the rest for ``later``.
    """

    network: Network = SYSTEM
    timers: Timers = attrs.field(init=False)
    _selector: selectors.DefaultSelector = attrs.field(init=False)
    queue: OrderedDict[Participant, None] = attrs.field(factory=OrderedDict, init=False)
    _afterwards: list[Callable[[], None]] = attrs.field(factory=list, init=False)
    _touched: dict[Flushed, None] = attrs.field(factory=dict, init=False)
    in_turn: bool = attrs.field(default=False, init=False)
    share: int = attrs.field(default=_LARGEST_SHARE, init=False)
    spent: int = attrs.field(default=0, init=False)
    due: float = attrs.field(default=NEVER, init=False)
    _in_round: bool = attrs.field(default=False, init=False)
    _idle: bool = attrs.field(default=False, init=False)
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
        """Call ``resume`` of ``participant`` once, after those that are in the queue already: in this round or a later one, or soon."""
        self.queue[participant] = None
        if self._idle and self.due == NEVER:
            self.timers.expect(self, trio.current_time())

    def on_due(self, now: float) -> None:
        """Continue with what came into the queue while nothing is ready, since no round may follow; see ``Timed``."""
        self._resume(now, 0)
        if self.queue and self._idle:
            self.timers.expect(self, math.nextafter(now, NEVER))

    def _resume(self, now: float, work: int) -> int:
        """Give the queue's members their shares, each at most once, until the turn has done enough work; return all of it."""
        queue = self.queue
        self.share = min(max(_WORK_PER_CYCLE // (len(queue) or 1), 1), _LARGEST_SHARE)
        for _ in range(len(queue)):
            if work + self.spent >= WORK_PER_CHECKPOINT:
                break
            participant, _ = queue.popitem(last=False)
            work += participant.resume(now)
        return work

    def afterwards(self, work: Callable[[], None]) -> None:
        """Do ``work`` in this turn, once all that is ready was read and before anything is sent; at once outside of a turn."""
        if self.in_turn:
            self._afterwards.append(work)
        else:
            work()

    def schedule_flush(self, participant: Flushed) -> None:
        """Flush ``participant`` at the end of this turn, after those touched before; at once outside of a turn."""
        if self.in_turn:
            self._touched[participant] = None
        else:
            participant.flush()

    def turn(self, work: Callable[[], None]) -> None:
        """Do ``work``, then flush what it touched. For callers outside a round that schedule_flush several participants."""
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
        selector, readable, queue = self._selector, self.network.readable, self.queue
        work = 0
        while True:
            looked_at = trio.current_time()
            ready = selector.select(0)
            self._long = 0
            if not ready and not queue:
                # Nothing of the last round is kept while nothing happens: a connection may be over, and its credentials withdrawn.
                key, self._idle = None, True
                await readable(selector)
                work, self._idle = 0, False
                continue
            self.in_turn = self._in_round = True
            self._now = now = looked_at
            self.share = _AT_ONCE
            try:
                for key, mask in ready:
                    if key.data.first:
                        work += key.data.ready(mask, now)
                self.looked_at = looked_at
                for key, mask in ready:
                    if key.data.first or (queue and key.data in queue):
                        continue
                    work += key.data.ready(mask, now)
                    if work + self.spent >= WORK_PER_CHECKPOINT:
                        work, now = 0, await self._yield()
                if queue:
                    work = self._resume(now, work)
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
