"""Request coalescing: callers with equal keys that overlap in time share one flight, which belongs to none of them.

A flight is a task in the coalescer's own nursery, so the caller who started it may leave without ending it for the others. When the last
caller leaves, it is cancelled. Its result is a value, forgotten when it lands: nothing is cached, not even failures.

Knows nothing of tokens or HTTP.
"""

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar, final

import attrs
import trio

K = TypeVar("K")
V = TypeVar("V")


@final
@attrs.frozen
class CoalescerCounts:
    """``flights`` under way (also those being cancelled) and the ``waiters`` for them; the others count since the start."""

    flights: int
    waiters: int
    started: int
    coalesced: int


@final
@attrs.define(eq=False)
class _Flight(Generic[K, V]):
    """Waiters get ``result`` when ``landed`` is set; it begins as the coalescer's ``lost`` value. ``open``: others may join.

    ``key`` is that of the caller who started it: equal keys may differ in parts that do not count.
    """

    key: K
    result: V
    open: bool = True
    waiters: int = 0
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    landed: trio.Event = attrs.field(factory=trio.Event)


@final
@attrs.define(eq=False)
class Coalescer(Generic[K, V]):
    """Shares flights between callers.

    Args:
        lost: The result of a flight that was cancelled from above or ended in a fault; it must never mean success.
        on_join: Called for each caller who joins a flight under way, with the caller's key and the key that started it; must not raise.
    """

    lost: V
    on_join: Callable[[K, K], None]
    _nursery: trio.Nursery | None = attrs.field(default=None, init=False)
    _flights: dict[K, _Flight[K, V]] = attrs.field(factory=dict, init=False)
    _running: int = attrs.field(default=0, init=False)
    _waiting: int = attrs.field(default=0, init=False)
    _started: int = attrs.field(default=0, init=False)
    _coalesced: int = attrs.field(default=0, init=False)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Own the flights until cancelled; ``started()`` when callers may join.

        An exception that leaves a flight is a fault and leaves ``run``, in an exception group, after every other flight was cancelled.
        """
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:  # before the nursery closes: it takes no task after that
                self._nursery = None

    async def join(self, key: K, flight: Callable[[], Awaitable[V]]) -> V:
        """Return the result of the flight for ``key`` that is under way, or else of a new one made by calling ``flight``.

        The flight bounds the wait: it must end in its own time and return its timeout as a value. A caller leaves sooner by being
        cancelled. Outside ``run`` there are no flights, and the result is ``lost``.
        """
        await trio.lowlevel.checkpoint_if_cancelled()  # a caller who has already left starts nothing
        # From here to the wait nothing is awaited: between look-up and insertion no other caller can run.
        current = self._flights.get(key)
        if current is not None:
            self.on_join(key, current.key)
            self._coalesced += 1
        elif self._nursery is None:
            return self.lost
        else:
            current = _Flight(key, self.lost)
            self._nursery.start_soon(self._fly, current, flight)
            self._flights[key] = current
            self._running += 1
            self._started += 1
        current.waiters += 1
        self._waiting += 1
        try:
            await current.landed.wait()
        finally:
            current.waiters -= 1
            self._waiting -= 1
            if not current.waiters:
                # Closed first: the next caller starts anew instead of joining a flight that is being cancelled.
                self._close(current)
                current.scope.cancel()
        return current.result

    def under_way(self, key: K) -> bool:
        """Return whether ``join`` would share a flight if called now."""
        return key in self._flights

    def counts(self) -> CoalescerCounts:
        """Return the present counts; at rest ``flights`` and ``waiters`` are zero."""
        return CoalescerCounts(self._running, self._waiting, self._started, self._coalesced)

    async def _fly(self, current: _Flight[K, V], flight: Callable[[], Awaitable[V]]) -> None:
        try:
            with current.scope:
                current.result = await flight()
        finally:
            self._running -= 1
            self._close(current)
            current.landed.set()

    def _close(self, current: _Flight[K, V]) -> None:
        if current.open:
            current.open = False
            del self._flights[current.key]
