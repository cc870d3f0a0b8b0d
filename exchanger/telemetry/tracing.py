"""The observer that turns records into spans, for traces that are recorded, and queues them.

Where a span belongs, and whether it is recorded, was chosen before there was a record, so that whoever else reads that says the same.
Spans are encoded where they are made, so that a queue holds bytes of a known size and nothing of a request. Must not know: wire formats, or
where spans go.
"""

from collections import deque
from collections.abc import Callable
from typing import Final, final

import attrs
import trio

from exchanger.decision.outcome import DecisionRecord
from exchanger.telemetry.spans import FinishedSpan, decision_span, exchange_span
from exchanger.telemetry.trace_context import TraceContexts
from exchanger.typing import ExchangeObserver
from exchanger.values.token import CoalescedRecord, ExchangeRecord
from exchanger.values.trace import SpanContext, TraceContext

SPAN_ID: Final = slice(36, 52)
"""Where a ``traceparent`` of ours has the span's id."""
MAX_SHARED: Final = 10_000
"""Requests that wait for an exchange of another one, and are remembered until they are answered; more than one process has in flight."""


@final
@attrs.frozen
class SpanQueueStatistics:
    """``waiting`` now; ``dropped`` since the start, because there was no room."""

    waiting: int
    dropped: int


@final
@attrs.define(eq=False)
class SpanQueue:
    """Encoded spans that wait to be exported; what does not fit is dropped and counted."""

    max_size: int
    batch_size: int
    full: trio.Event = attrs.field(factory=trio.Event, init=False)
    _spans: deque[bytes] = attrs.field(factory=deque, init=False)
    _dropped: int = attrs.field(default=0, init=False)

    def put(self, span: bytes) -> None:
        """Take one span; ``full`` is set when there are enough for a batch."""
        count = len(self._spans)
        if count >= self.max_size:
            self._dropped += 1
            return
        self._spans.append(span)
        if count + 1 >= self.batch_size:
            self.full.set()

    def take(self) -> list[bytes]:
        """Return the oldest spans, a batch at most."""
        batch = [self._spans.popleft() for _ in range(min(self.batch_size, len(self._spans)))]
        if len(self._spans) < self.batch_size and self.full.is_set():
            self.full = trio.Event()
        return batch

    def statistics(self) -> SpanQueueStatistics:
        """Tell what waits and what was lost."""
        return SpanQueueStatistics(len(self._spans), self._dropped)


@final
@attrs.frozen
class TracingStatistics:
    """``recorded``: spans made since the start; ``sharing``: requests now that wait for an exchange of another one."""

    recorded: int
    sharing: int


@final
@attrs.define(eq=False)
class Tracing:
    """Observes decisions and exchanges; see ``typing``. ``at`` returns the nanoseconds since 1970 of a reading of the records' clock."""

    contexts: TraceContexts
    queue: SpanQueue
    _encode: Callable[[FinishedSpan], bytes]
    _at: Callable[[float], int]
    _shared: dict[str, TraceContext] = attrs.field(factory=dict, init=False)
    _recorded: int = attrs.field(default=0, init=False)

    def decided(self, record: DecisionRecord, /) -> None:
        """See ``typing.DecisionObserver``."""
        context = record.span
        if context is None:
            return
        shared = self._shared.pop(context.span_id, None) if self._shared else None
        if context.sampled:
            self._record(decision_span(record, context, self._at(record.started), shared))

    def exchanged(self, record: ExchangeRecord, /) -> None:
        """See ``typing.ExchangeObserver``."""
        context: SpanContext | None = record.span
        if context is not None and context.sampled:
            self._record(exchange_span(record, context, self._at(record.started)))

    def coalesced(self, record: CoalescedRecord, /) -> None:
        """See ``typing.ExchangeObserver``. What it tells belongs to the span of the decision, which is made later."""
        if len(self._shared) < MAX_SHARED:
            self._shared[record.trace.traceparent[SPAN_ID]] = record.shared

    def statistics(self) -> TracingStatistics:
        """Tell how much was recorded."""
        return TracingStatistics(self._recorded, len(self._shared))

    def _record(self, span: FinishedSpan) -> None:
        self._recorded += 1
        self.queue.put(self._encode(span))


@final
@attrs.frozen
class ExchangeObservers:
    """Tells several observers of exchanges, in order."""

    _observers: tuple[ExchangeObserver, ...]

    def exchanged(self, record: ExchangeRecord, /) -> None:
        """See ``typing.ExchangeObserver``."""
        for observer in self._observers:
            observer.exchanged(record)

    def coalesced(self, record: CoalescedRecord, /) -> None:
        """See ``typing.ExchangeObserver``."""
        for observer in self._observers:
            observer.coalesced(record)
