"""What the token endpoint is told of the trace, and what the records tell of it."""

import attrs
import trio
import trio.testing

from exchanger.oauth.token_client import TokenClient
from exchanger.telemetry.trace_context import TraceContexts
from exchanger.values.issuer import Credentials
from exchanger.values.secret import Secret
from exchanger.values.token import TokenRequest
from exchanger.values.trace import TraceContext
from tests.oauth.fakes import HTTP, NO_TLS, MemoryEndpoint, Observer, Peer, response, running, success, token_request

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACE = TraceContext(f"00-{TRACE_ID}-b7ad6b7169203331-01", "vendor=state", "key=value")
OTHER = TraceContext(f"00-{'1' * 32}-{'2' * 16}-01")


@attrs.define(eq=False)
class Heads:
    """Answers each request, keeping its headers."""

    body: bytes = success()
    status: int = 200
    seen: list[dict[str, str]] = attrs.Factory(list)

    async def __call__(self, peer: Peer) -> None:
        while True:
            head, _ = await peer.request()
            lines = [line.split(b": ", 1) for line in head.split(b"\r\n")[1:]]
            self.seen.append({name.decode().lower(): value.decode() for name, value in lines})
            await trio.testing.wait_all_tasks_blocked()
            await peer.send(response(self.body, self.status))


async def exchanged(heads: Heads, *requests: TokenRequest, tracer: TraceContexts | None) -> Observer:
    observer = Observer()
    async with trio.open_nursery() as nursery:
        endpoint = MemoryEndpoint(nursery, [heads])
        client = TokenClient(HTTP, observer, dial=endpoint.dial, tls=NO_TLS, tracer=tracer)
        async with running(client), trio.open_nursery() as callers:
            for request in requests:
                callers.start_soon(client.exchange, request)
        nursery.cancel_scope.cancel()
    return observer


def traced(trace: TraceContext = TRACE) -> TokenRequest:
    return attrs.evolve(token_request(), trace=trace)


async def test_without_tracing_the_trace_goes_on_as_it_came() -> None:
    heads = Heads()
    observer = await exchanged(heads, traced(), tracer=None)
    (head,) = heads.seen
    assert (head["traceparent"], head["tracestate"], head["baggage"]) == (TRACE.traceparent, TRACE.tracestate, TRACE.baggage)
    assert [(record.span, record.port) for record in observer.records] == [(None, 80)]


async def test_with_tracing_the_endpoint_is_told_the_call_itself() -> None:
    heads = Heads()
    observer = await exchanged(heads, traced(), tracer=TraceContexts())
    (head,), (record,) = heads.seen, observer.records
    span = record.span
    assert span is not None
    assert (span.trace_id, span.parent_id) == (TRACE_ID, "b7ad6b7169203331")
    assert head["traceparent"] == f"00-{TRACE_ID}-{span.span_id}-01"
    assert (head["tracestate"], head["baggage"]) == (TRACE.tracestate, TRACE.baggage)


async def test_who_shares_a_call_is_told_of_with_both_traces() -> None:
    heads = Heads()
    observer = await exchanged(heads, traced(TRACE), traced(OTHER), tracer=TraceContexts())
    assert len(heads.seen) == len(observer.records) == 1
    (shared,) = observer.shared
    assert {shared.trace, shared.shared} == {TRACE, OTHER}
    (record,) = observer.records
    assert record.span is not None
    assert record.span.trace_id in shared.shared.traceparent


async def test_an_attempt_with_the_credentials_before_is_a_call_of_its_own() -> None:
    heads = Heads(b'{"error":"invalid_client"}', 401)
    issuer = attrs.evolve(token_request().issuer, previous=Credentials("client", Secret("before")))
    observer = await exchanged(heads, attrs.evolve(traced(), issuer=issuer), tracer=TraceContexts())
    spans = [record.span for record in observer.records]
    assert [span and span.parent_id for span in spans] == ["b7ad6b7169203331"] * 2
    assert [head["traceparent"].split("-")[2] for head in heads.seen] == [span and span.span_id for span in spans]
    assert len({span and span.span_id for span in spans}) == 2
