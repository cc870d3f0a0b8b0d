"""Span contexts: traces continued or started, and the sampling decision.

The decision is the same in every process, since it follows the caller's or the trace's own id. Ids identify; they protect nothing.

Sources: https://www.w3.org/TR/trace-context/, https://opentelemetry.io/docs/specs/otel/trace/sdk/#sampling
"""

import enum
from random import Random
from typing import Final, final

import attrs

from exchanger.model.trace import SAMPLED, SpanContext, TraceContext, Traceparent, parse_traceparent
from exchanger.net.network import SYSTEM

# The flag of level 2 (https://www.w3.org/TR/trace-context-2/#random-trace-id-flag): it belongs to the trace's id and is kept.
_RANDOM: Final = 0x02
# The low half of a trace's id is compared with the ratio, as other OpenTelemetry samplers do, so that all keep the same traces.
_RATIO_BITS: Final = 64
_LOW_HALF: Final = (1 << _RATIO_BITS) - 1


@enum.unique
class Sampler(enum.Enum):
    """OTEL_TRACES_SAMPLER: every trace, none, or a share by its id; parent-based ones follow the caller if there is one."""

    ALWAYS_ON = "always_on"
    ALWAYS_OFF = "always_off"
    TRACE_ID_RATIO = "traceidratio"
    PARENT_BASED_ALWAYS_ON = "parentbased_always_on"
    PARENT_BASED_ALWAYS_OFF = "parentbased_always_off"
    PARENT_BASED_TRACE_ID_RATIO = "parentbased_traceidratio"


_RATIOS: Final = frozenset({Sampler.TRACE_ID_RATIO, Sampler.PARENT_BASED_TRACE_ID_RATIO})
_ON: Final = frozenset({Sampler.ALWAYS_ON, Sampler.PARENT_BASED_ALWAYS_ON})
_PARENT_BASED: Final = frozenset({Sampler.PARENT_BASED_ALWAYS_ON, Sampler.PARENT_BASED_ALWAYS_OFF, Sampler.PARENT_BASED_TRACE_ID_RATIO})


@final
@attrs.frozen
class SamplingSettings:
    """OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG; ``ratio`` is used by the samplers by trace id only."""

    sampler: Sampler = Sampler.PARENT_BASED_ALWAYS_ON
    ratio: float = attrs.field(default=1.0, validator=attrs.validators.and_(attrs.validators.ge(0.0), attrs.validators.le(1.0)))


@final
@attrs.define(eq=False)
class TraceContexts:
    """Gives spans their places; see ``typing.Tracer``."""

    _settings: SamplingSettings = attrs.field(factory=SamplingSettings)
    _random: Random = SYSTEM.random
    _bound: int = attrs.field(init=False)
    _follows: bool = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        sampler = self._settings.sampler
        ratio = self._settings.ratio if sampler in _RATIOS else 1.0 if sampler in _ON else 0.0
        self._bound = round(ratio * (1 << _RATIO_BITS))
        self._follows = sampler in _PARENT_BASED

    def below(self, trace: TraceContext, /) -> SpanContext:
        return self._below(trace, parse_traceparent(trace.traceparent))

    def recorded_below(self, trace: TraceContext, /) -> SpanContext | None:
        if not (self._bound or self._follows):
            return None
        found = parse_traceparent(trace.traceparent)
        if found is not None and self._follows:
            if not found[2] & SAMPLED:
                return None
        elif not self._bound:
            return None
        context = self._below(trace, found)
        return context if context.sampled else None

    def _below(self, trace: TraceContext, found: Traceparent | None) -> SpanContext:
        if found is None:
            number = self._new_trace_id()
            # Section 3.3.1.1: without a valid traceparent, tracestate is meaningless. Baggage is independent.
            flags = SAMPLED if self._chosen(number) else 0
            return SpanContext(f"{number:032x}", self._span_id(), "", flags, "", trace.baggage)
        trace_id, parent_id, came = found
        sampled = came & SAMPLED if self._follows else SAMPLED if self._chosen(int(trace_id, 16)) else 0
        return SpanContext(trace_id, self._span_id(), parent_id, came & _RANDOM | sampled, trace.tracestate, trace.baggage)

    def _chosen(self, trace_id: int) -> bool:
        return trace_id & _LOW_HALF < self._bound

    def _new_trace_id(self) -> int:
        return self._random.getrandbits(128) or 1  # zero is not an id

    def _span_id(self) -> str:
        return f"{self._random.getrandbits(64) or 1:016x}"
