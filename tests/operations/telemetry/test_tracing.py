import attrs
import pytest

from exchanger.authz.decision.outcome import DecisionRecord
from exchanger.model.token import CoalescedRecord, ExchangeRecord
from exchanger.model.trace import NO_TRACE, SpanContext, TraceContext
from exchanger.operations.telemetry.spans import FinishedSpan
from exchanger.operations.telemetry.trace_context import Sampler, SamplingSettings, TraceContexts
from exchanger.operations.telemetry.tracing import MAX_COALESCED, SpanQueue, Tracing
from tests.operations.telemetry.records import ALLOWED, DENIED, record

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
SAMPLED = TraceContext(f"00-{TRACE_ID}-b7ad6b7169203331-01", "vendor=state")
UNSAMPLED = TraceContext(f"00-{TRACE_ID}-b7ad6b7169203331-00")


@attrs.define(eq=False)
class Encoded:
    """Keeps the spans that were to be encoded."""

    spans: list[FinishedSpan] = attrs.Factory(list)

    def __call__(self, span: FinishedSpan) -> bytes:
        self.spans.append(span)
        return b"span"


def tracing(encoded: Encoded, sampler: Sampler = Sampler.PARENT_BASED_ALWAYS_ON) -> Tracing:
    return Tracing(TraceContexts(SamplingSettings(sampler)), SpanQueue(10, 5), encoded, lambda moment: 10**18 + int(moment))


def decided(trace: TraceContext, span: SpanContext | None = None) -> DecisionRecord:
    of = record(DENIED)
    return attrs.evolve(of, request=attrs.evolve(of.request, trace=trace), span=span)


@pytest.mark.parametrize(("trace", "recorded"), [(SAMPLED, 1), (UNSAMPLED, 0), (NO_TRACE, 1)])
def test_a_decision_becomes_a_span_if_its_trace_is_recorded(trace: TraceContext, recorded: int) -> None:
    encoded = Encoded()
    observer = tracing(encoded)
    place = observer.contexts.recorded_below(trace)
    observer.decided(decided(trace, place))
    assert [span.context for span in encoded.spans] == ([] if place is None else [place])
    assert len(encoded.spans) == recorded == observer.queue.waiting


def test_the_place_that_an_exchange_was_given_is_that_of_the_span() -> None:
    encoded = Encoded()
    observer = tracing(encoded)
    place = observer.contexts.below(SAMPLED)
    client = observer.contexts.below(place.trace)
    observer.exchanged(ExchangeRecord("issuer.example.com", None, 200, 0.0, 0.1, 443, client))
    observer.decided(decided(SAMPLED, place))
    exchange, decision = encoded.spans
    assert exchange.context.parent_id == decision.context.span_id == place.span_id
    assert {exchange.context.trace_id, decision.context.trace_id} == {TRACE_ID}


def test_what_is_not_sampled_leaves_nothing_after_an_exchange_either() -> None:
    encoded = Encoded()
    observer = tracing(encoded)
    place = observer.contexts.below(UNSAMPLED)
    observer.exchanged(ExchangeRecord("issuer.example.com", None, 200, 0.0, 0.1, 443, observer.contexts.below(place.trace)))
    observer.exchanged(ExchangeRecord("issuer.example.com", None, 200, 0.0, 0.1))
    observer.decided(decided(UNSAMPLED, place))
    assert encoded.spans == []


def test_a_follower_of_a_shared_exchange_is_linked_to_its_leader() -> None:
    encoded = Encoded()
    observer = tracing(encoded)
    leader, follower = observer.contexts.below(SAMPLED), observer.contexts.below(NO_TRACE)
    observer.coalesced(CoalescedRecord("issuer.example.com", follower.trace, leader.trace))
    for place in (leader, follower):
        observer.decided(DecisionRecord(record(ALLOWED).request, ALLOWED, 0.0, 0.1, span=place))
    assert [span.link for span in encoded.spans] == [None, leader.trace]


def test_answered_followers_that_are_not_sampled_take_no_place() -> None:
    encoded = Encoded()
    observer = tracing(encoded)
    for _ in range(MAX_COALESCED):
        place = observer.contexts.below(UNSAMPLED)
        observer.coalesced(CoalescedRecord("h", place.trace, SAMPLED))
        observer.decided(decided(UNSAMPLED, place))
    last = observer.contexts.below(NO_TRACE)
    observer.coalesced(CoalescedRecord("h", last.trace, SAMPLED))
    observer.decided(decided(NO_TRACE, last))
    assert [span.link for span in encoded.spans] == [SAMPLED]


@pytest.mark.parametrize(("followers", "link"), [(MAX_COALESCED - 1, SAMPLED), (MAX_COALESCED, None)])
def test_links_beyond_the_limit_of_pending_followers_are_left_out(followers: int, link: TraceContext | None) -> None:
    encoded = Encoded()
    observer = tracing(encoded)
    for number in range(followers):
        observer.coalesced(CoalescedRecord("h", TraceContext(f"00-{TRACE_ID}-{number:016x}-01"), SAMPLED))
    last = observer.contexts.below(NO_TRACE)
    observer.coalesced(CoalescedRecord("h", last.trace, SAMPLED))
    observer.decided(DecisionRecord(record(ALLOWED).request, ALLOWED, 0.0, 0.1, span=last))
    assert [span.link for span in encoded.spans] == [link]


def test_span_queue_signals_a_full_batch_and_counts_dropped_spans() -> None:
    queue = SpanQueue(3, 2)
    full = []
    for number in range(5):
        queue.put(bytes([number]))
        full.append(queue.full.is_set())
    assert full == [False, True, True, True, True]
    assert (queue.waiting, queue.dropped) == (3, 2)
    assert queue.take() == [b"\x00", b"\x01"]
    assert not queue.full.is_set()
    assert queue.take() == [b"\x02"]
    assert queue.take() == []
    assert queue.waiting == 0
