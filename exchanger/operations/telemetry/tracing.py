"""The observer that turns records into spans, for traces that are recorded, and queues them.

The place of a span, and whether it is recorded, was chosen before there was a record, so all readers of the record agree on it. Spans are
encoded at once: the queue holds bytes of a known size and nothing of a request.
"""

from collections import deque
from collections.abc import Callable
from typing import Final, final

import attrs
import trio

from exchanger.authz.decision.outcome import DecisionRecord
from exchanger.model.token import CoalescedRecord, ExchangeRecord
from exchanger.model.trace import SpanContext, TraceContext
from exchanger.operations.telemetry.spans import FinishedSpan, decision_span, exchange_span
from exchanger.operations.telemetry.trace_context import TraceContexts

# The span's id within a ``traceparent`` of ours.
SPAN_ID: Final = slice(36, 52)
# Requests that share another's exchange and are remembered until they are answered; more than one process has in flight.
MAX_COALESCED: Final = 10_000


@final
@attrs.define(eq=False)
class SpanQueue:
    """Encoded spans that wait to be exported; what does not fit is dropped and counted in ``dropped``."""

    max_size: int
    batch_size: int
    full: trio.Event = attrs.field(factory=trio.Event, init=False)
    _spans: deque[bytes] = attrs.field(factory=deque, init=False)
    dropped: int = attrs.field(default=0, init=False)

    def put(self, span: bytes) -> None:
        """Add one span; ``full`` is set when there are enough for a batch."""
        count = len(self._spans)
        if count >= self.max_size:
            self.dropped += 1
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

    @property
    def waiting(self) -> int:
        """How many spans wait."""
        return len(self._spans)


@final
@attrs.define(eq=False)
class Tracing:
    """Observes decisions and exchanges; see ``typing``. ``at`` returns the nanoseconds since 1970 of a reading of the records' clock."""

    contexts: TraceContexts
    queue: SpanQueue
    _encode: Callable[[FinishedSpan], bytes]
    _at: Callable[[float], int]
    _leaders: dict[str, TraceContext] = attrs.field(factory=dict, init=False)

    def decided(self, record: DecisionRecord, /) -> None:
        context = record.span
        if context is None:
            return
        leader = self._leaders.pop(context.span_id, None) if self._leaders else None
        if context.sampled:
            self._record(decision_span(record, context, self._at(record.started), leader))

    def exchanged(self, record: ExchangeRecord, /) -> None:
        context: SpanContext | None = record.span
        if context is not None and context.sampled:
            self._record(exchange_span(record, context, self._at(record.started)))

    def coalesced(self, record: CoalescedRecord, /) -> None:
        """Hold the record for the span of the decision, which is made later."""
        if len(self._leaders) < MAX_COALESCED:
            self._leaders[record.trace.traceparent[SPAN_ID]] = record.leader

    def _record(self, span: FinishedSpan) -> None:
        self.queue.put(self._encode(span))
