import math

import attrs
import pytest

from exchanger.envoy.gateway_trace import with_gateway_trace
from exchanger.grpc.routes import CallInfo, Headers
from exchanger.values.request import HttpRequest
from exchanger.values.trace import NO_TRACE, TraceContext

CALLER = TraceContext("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "vendor=state", "key=value")
GATEWAY = ((b"traceparent", b"00-11111111111111111111111111111111-2222222222222222-01"), (b"tracestate", b"gateway=state"))


def trace_of(trace: TraceContext, *metadata: tuple[bytes, bytes]) -> TraceContext:
    headers: Headers = ((b":path", b"/x"), (b"user-agent", b"envoy"), *metadata)
    return with_gateway_trace(HttpRequest("GET", "h", "/", trace=trace), CallInfo(b"/x", math.inf, headers)).trace


def test_the_callers_trace_goes_first() -> None:
    assert trace_of(CALLER, *GATEWAY) == CALLER


def test_the_gateways_own_is_continued_where_there_is_none() -> None:
    expected = TraceContext(GATEWAY[0][1].decode(), "gateway=state")
    assert trace_of(NO_TRACE, *GATEWAY) == expected
    assert trace_of(NO_TRACE, GATEWAY[0]).tracestate == ""
    assert trace_of(TraceContext(baggage="a=b"), *GATEWAY).baggage == "a=b"


@pytest.mark.parametrize(
    "invalid", ["garbage", CALLER.traceparent.upper(), f"{CALLER.traceparent}-more", f"{CALLER.traceparent},{CALLER.traceparent}"]
)
def test_an_invalid_one_of_the_callers_counts_as_none_and_its_state_with_it(invalid: str) -> None:
    of_caller = attrs.evolve(CALLER, traceparent=invalid)
    assert trace_of(of_caller, *GATEWAY) == TraceContext(GATEWAY[0][1].decode(), "gateway=state", CALLER.baggage)
    assert trace_of(of_caller, GATEWAY[0]).tracestate == ""
    assert trace_of(of_caller) == of_caller


@pytest.mark.parametrize("trace", [NO_TRACE, TraceContext(baggage="a=b")])
def test_without_either_nothing_changes(trace: TraceContext) -> None:
    assert trace_of(trace, (b"tracestate", b"alone")) == trace


def test_bytes_that_are_no_text_do_not_matter() -> None:
    assert trace_of(NO_TRACE, (b"traceparent", b"\xff")).traceparent == "ÿ"
