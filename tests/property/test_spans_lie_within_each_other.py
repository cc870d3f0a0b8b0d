"""Spans of one trace lie within each other as what they tell did, whenever they are told and however slowly the clocks are read."""

import attrs
from hypothesis import given
from hypothesis import strategies as st

from exchanger.decision.outcome import DecisionRecord
from exchanger.telemetry.clock import Clock
from exchanger.telemetry.spans import FinishedSpan
from exchanger.telemetry.trace_context import TraceContexts
from exchanger.telemetry.tracing import SpanQueue, Tracing
from exchanger.values.token import ExchangeRecord
from exchanger.values.trace import TraceContext
from tests.telemetry.clocks import Machine
from tests.telemetry.records import ALLOWED, record

CALLER = TraceContext("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
# Nanoseconds; what follows takes a few at least, which is more than numbers of seconds lose.
STEPS = st.integers(10, 10**10)


@given(STEPS, STEPS, STEPS, st.lists(st.integers(0, 10**9), max_size=12))
def test_an_exchange_lies_within_its_decision(before: int, call: int, after: int, pauses: list[int]) -> None:
    machine = Machine()
    spans: list[FinishedSpan] = []

    def encode(span: FinishedSpan) -> bytes:
        spans.append(span)
        return b""

    tracing = Tracing(TraceContexts(), SpanQueue(10, 10), encode, Clock(machine.wall, machine.monotonic).at)
    place = tracing.contexts.below(CALLER)
    arrived = machine.now
    called = arrived + before
    answered = called + call
    done = answered + after
    machine.now, machine.pauses = done, iter(pauses)
    tracing.exchanged(ExchangeRecord("h", None, 200, *_interval(called, answered), span=tracing.contexts.below(place.trace)))
    started, duration = _interval(arrived, done)
    tracing.decided(attrs.evolve(_DECIDED, started=started, duration=duration, span=place))
    client, server = spans
    assert server.start <= client.start <= client.end <= server.end


_DECIDED = DecisionRecord(record(ALLOWED).request, ALLOWED, 0.0, 0.0)


def _interval(start: int, end: int) -> tuple[float, float]:
    """Return start and duration in seconds, as they are measured."""
    return start / 1e9, end / 1e9 - start / 1e9
