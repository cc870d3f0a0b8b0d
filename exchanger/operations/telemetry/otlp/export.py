"""The loop that exports one signal: it collects, sends, retries within limits, and logs when it cannot.

Telemetry is best effort: nothing waits for it, what cannot be delivered in time is lost, and a collector that is gone or silent causes a
log line. At the end the rest is sent, for ``FLUSH_S`` seconds at most, and not at all if the collector accepted nothing before.
"""

from collections.abc import Awaitable, Callable, Iterator
from random import Random
from typing import Final, Protocol, final

import attrs
import structlog
import trio

from exchanger.net.network import SYSTEM

# For the rest at the end; a small part of the 30 s that Kubernetes gives a pod to stop.
FLUSH_S: Final = 2.0
# Between two log lines about a collector that accepts nothing.
REMIND_S: Final = 600.0
# Before the second attempt, doubled for each further one. Up to half of it is taken off at random, so that many senders take turns.
FIRST_WAIT_S: Final = 1.0


@final
@attrs.frozen
class ExportAccepted:
    """The collector accepted it; ``body`` may say that it did not accept all of it."""

    body: bytes


@final
@attrs.frozen
class ExportRefused:
    """It was not accepted. ``reason`` is for operators and quotes nothing that was sent; ``retry_after`` is in seconds, if known."""

    reason: str
    retryable: bool
    retry_after: float | None = None


ExportResult = ExportAccepted | ExportRefused


@final
@attrs.frozen
class Batch:
    """A body to post and how many items are in it. ``rejected`` reads from the answer how many of them were not accepted."""

    body: bytes
    items: int
    rejected: Callable[[bytes], int]


class TelemetrySource(Protocol):
    """What is exported."""

    async def wait(self) -> None:
        """Return when there is enough for a batch before its time; the wait is bounded by the caller."""

    def batches(self) -> Iterator[Batch]:
        """Yield what there is now; each is made when the previous one was processed."""

    def dropped(self) -> int:
        """Return how many items were lost since the start because there was no room for them."""


@final
@attrs.define(eq=False)
class Export:
    """Exports ``source`` under the name ``signal``; ``post`` sends one body once, and ``address`` is the destination in logs.

    ``interval`` and ``timeout`` are seconds: between two batches, and for a batch with all its attempts. ``delivered`` counts items, and
    ``healthy`` is whether the last batch was accepted.
    """

    signal: str
    address: str
    source: TelemetrySource
    post: Callable[[bytes], Awaitable[ExportResult]]
    interval: float
    timeout: float
    random: Random = SYSTEM.random
    _log: structlog.stdlib.BoundLogger = attrs.field(factory=structlog.get_logger)
    _end: trio.Event = attrs.field(factory=trio.Event, init=False)
    delivered: int = attrs.field(default=0, init=False)
    _undelivered: int = attrs.field(default=0, init=False)
    healthy: bool = attrs.field(default=True, init=False)
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
                last_words.deadline = trio.current_time() + (FLUSH_S if self.healthy else 0.0)

    @property
    def lost(self) -> int:
        """How many items were not delivered since the start."""
        return self._undelivered + self.source.dropped()

    async def _run(self, last_words: trio.CancelScope) -> None:
        with last_words:
            ended = False
            while not ended:
                await self._gather()
                ended = self._end.is_set()  # read here: what arrives while these batches are being sent gets one more round
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

    async def _deliver(self, batch: Batch) -> ExportResult:
        answer: ExportResult = ExportRefused(f"no answer within {self.timeout:g} s", retryable=True)
        with trio.move_on_after(self.timeout) as patience:
            wait = FIRST_WAIT_S
            while True:
                answer = await self.post(batch.body)
                if isinstance(answer, ExportAccepted) or not answer.retryable:
                    return answer
                # The collector may only prolong the pause: `Retry-After: 0` must not make a busy loop.
                pause = max(wait * self.random.uniform(0.5, 1.0), answer.retry_after or 0.0)
                if trio.current_time() + pause >= patience.deadline:
                    return answer
                await trio.sleep(pause)
                wait *= 2
        return answer

    def _settle(self, batch: Batch, answer: ExportResult) -> None:
        now = trio.current_time()
        if isinstance(answer, ExportAccepted):
            rejected = min(batch.items, batch.rejected(answer.body))
            self.delivered += batch.items - rejected
            self._undelivered += rejected
            if not self.healthy:
                self.healthy = True
                self._silent_until = now
                self._log.info("telemetry.export_recovered", signal=self.signal, endpoint=self.address, lost=self._untold())
        else:
            self._undelivered += batch.items
            if self.healthy or now >= self._silent_until:
                self._warn("telemetry.export_failed", now, reason=answer.reason, text="requests are still answered")
            self.healthy = False
        if self.healthy and self.lost > self._told and now >= self._silent_until:
            self._warn("telemetry.items_lost", now, text="no room left, or rejected by the collector")

    def _warn(self, event: str, now: float, **fields: str) -> None:
        self._silent_until = now + REMIND_S
        self._log.warning(event, signal=self.signal, endpoint=self.address, lost=self._untold(), **fields)

    def _untold(self) -> int:
        total = self.lost
        untold, self._told = total - self._told, total
        return untold
