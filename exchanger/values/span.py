"""Where a span stands in its trace (https://www.w3.org/TR/trace-context/): ids and what is passed on with them.

Must not know: how ids are made, which traces are sampled, or what becomes of spans.
"""

from typing import Final, final

import attrs

from exchanger.values.request import TraceContext

SAMPLED: Final = 0x01
"""The trace flag that says that the caller may have recorded the trace (section 3.2.2.5.1)."""


@final
@attrs.frozen
class SpanContext:
    """Ids are lower-case hex of 32 and 16 characters; ``parent_id`` is "" where the trace begins here. ``flags`` are W3C's trace flags.

    ``tracestate`` and ``baggage`` are as they came.
    """

    trace_id: str
    span_id: str
    parent_id: str
    flags: int
    tracestate: str = ""
    baggage: str = ""

    @property
    def sampled(self) -> bool:
        """Whether the span is recorded."""
        return bool(self.flags & SAMPLED)

    @property
    def trace(self) -> TraceContext:
        """What is passed on, so that spans elsewhere become children of this one."""
        return TraceContext(f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}", self.tracestate, self.baggage)
