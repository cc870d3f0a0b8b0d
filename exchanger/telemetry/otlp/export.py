"""The loop that exports one signal: gathers, sends, tries again within bounds, and says so when it cannot.

Telemetry is a courtesy: nobody waits for it, what cannot be delivered in time is lost, and a collector that is gone or silent costs a log
line. At the end what is left is sent, for ``FLUSH_S`` seconds at most, and not at all where nothing was taken before.

Must not know: what is exported, or HTTP.
"""

import random
from collections.abc import Awaitable, Callable, Iterator
from typing import Final, Protocol, final

import attrs
import structlog
import trio

from exchanger.telemetry.otlp.answer import Accepted, Answer, Refused

FLUSH_S: Final = 2.0
"""For what is left at the end; a small part of the 30 s that Kubernetes gives a pod to stop."""
REMIND_S: Final = 600.0
"""Between two lines about a collector that does not take anything."""
FIRST_WAIT_S: Final = 1.0
"""Before the second attempt, doubled for each further one; up to half of it is taken off by chance, so that many senders come in turns."""


@final
@attrs.frozen
class Batch:
    """A body to post and how many items are in it. ``rejected`` reads from the answer how many of them were not taken."""

    body: bytes
    items: int
    rejected: Callable[[bytes], int]


class Source(Protocol):
    """What is exported."""

    async def wait(self) -> None:
        """Return when there is enough for a batch before its time; the wait is bounded by the caller."""

    def batches(self) -> Iterator[Batch]:
        """Yield what there is now; each is made when the one before was dealt with."""

    def dropped(self) -> int:
        """Return how many items were lost since the start because there was no room for them."""


@final
@attrs.frozen
class ExportStatistics:
    """Items since the start, and whether the last batch was taken; ``lost`` are those that were not delivered."""

    delivered: int
    lost: int
    healthy: bool


@final
@attrs.define(eq=False)
class Export:
    """Exports ``source`` under the name ``signal``; ``post`` sends one body once, and ``address`` is what logs say of where.

    ``interval`` and ``timeout`` are seconds: between two batches, and for a batch with all its attempts.
    """

    signal: str
    address: str
    source: Source
    post: Callable[[bytes], Awaitable[Answer]]
    interval: float
    timeout: float
    _log: structlog.stdlib.BoundLogger = attrs.field(factory=structlog.get_logger)
    _end: trio.Event = attrs.field(factory=trio.Event, init=False)
    _delivered: int = attrs.field(default=0, init=False)
    _lost: int = attrs.field(default=0, init=False)
    _healthy: bool = attrs.field(default=True, init=False)
    _told: int = attrs.field(default=0, init=False)
    _silent_until: float = attrs.field(default=0.0, init=False)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Export until cancelled, then once more. Runs once."""
        last_words = trio.CancelScope(shield=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._run, last_words)
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self._end.set()
                last_words.deadline = trio.current_time() + (FLUSH_S if self._healthy else 0.0)

    def statistics(self) -> ExportStatistics:
        """Tell what became of the items."""
        return ExportStatistics(self._delivered, self._lost + self.source.dropped(), self._healthy)

    async def _run(self, last_words: trio.CancelScope) -> None:
        with last_words:
            ended = False
            while not ended:
                await self._gather()
                ended = self._end.is_set()  # not later: what came while these batches were on their way is for one more round
                for batch in self.source.batches():
                    self._settle(batch, await self._deliver(batch))

    async def _gather(self) -> None:
        """Return after the interval, or sooner when there is a full batch or the end has come."""

        async def until(wait: Callable[[], Awaitable[None]]) -> None:
            await wait()
            nursery.cancel_scope.cancel()

        with trio.move_on_after(self.interval):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(until, self.source.wait)
                nursery.start_soon(until, self._end.wait)

    async def _deliver(self, batch: Batch) -> Answer:
        answer: Answer = Refused(f"no answer within {self.timeout:g} s", retryable=True)
        with trio.move_on_after(self.timeout) as patience:
            wait = FIRST_WAIT_S
            while True:
                answer = await self.post(batch.body)
                if isinstance(answer, Accepted) or not answer.retryable:
                    return answer
                # What the collector asks for is the least: with `Retry-After: 0` it would be asked in a loop.
                pause = max(wait * random.uniform(0.5, 1.0), answer.retry_after or 0.0)  # noqa: S311 - no secret
                if trio.current_time() + pause >= patience.deadline:
                    return answer
                await trio.sleep(pause)
                wait *= 2
        return answer

    def _settle(self, batch: Batch, answer: Answer) -> None:
        now = trio.current_time()
        if isinstance(answer, Accepted):
            rejected = min(batch.items, batch.rejected(answer.body))
            self._delivered += batch.items - rejected
            self._lost += rejected
            if not self._healthy:
                self._healthy = True
                self._silent_until = now
                self._log.info("telemetry.export_recovered", signal=self.signal, endpoint=self.address, lost=self._untold())
        else:
            self._lost += batch.items
            if self._healthy or now >= self._silent_until:
                self._warn("telemetry.export_failed", now, reason=answer.reason, text="requests are answered all the same")
            self._healthy = False
        if self._healthy and self._lost + self.source.dropped() > self._told and now >= self._silent_until:
            self._warn("telemetry.items_lost", now, text="more than there is room for, or rejected by the collector")

    def _warn(self, event: str, now: float, **fields: str) -> None:
        self._silent_until = now + REMIND_S
        self._log.warning(event, signal=self.signal, endpoint=self.address, lost=self._untold(), **fields)

    def _untold(self) -> int:
        total = self._lost + self.source.dropped()
        untold, self._told = total - self._told, total
        return untold
