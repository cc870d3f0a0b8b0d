"""The trace that a gateway began itself, for requests whose caller brought none, or none that is valid.

Envoy tells it to the upstream and, as metadata of its own calls, to services like this one, but the headers that it asks about are those
that it got. Source: https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/observability/tracing#trace-context-propagation
"""

import attrs

from exchanger.grpc.routes import CallInfo
from exchanger.values.request import HttpRequest
from exchanger.values.trace import TraceContext, parse_traceparent


def with_gateway_trace(request: HttpRequest, call: CallInfo) -> HttpRequest:
    """Return ``request`` in the trace of the gateway's call, unless it is in one already. Baggage stays the caller's."""
    trace = request.trace
    if parse_traceparent(trace.traceparent) is not None:
        return request
    found = dict(call.metadata)
    traceparent = found.get(b"traceparent")
    if traceparent is None:
        return request
    tracestate = found.get(b"tracestate", b"")
    return attrs.evolve(request, trace=TraceContext(traceparent.decode("latin-1"), tracestate.decode("latin-1"), trace.baggage))
