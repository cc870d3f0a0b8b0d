"""Records made fit to be kept: one whose request is enormous keeps what is shown of it, and lets go of the rest.

A gateway may let megabytes of headers through, and hundreds of records are kept. Must not know: for whom they are kept, or for how long.
"""

from typing import Final

import attrs

from exchanger.console.jwt import MAX_SHOWN_TOKEN
from exchanger.decision.outcome import DecisionRecord
from exchanger.util.text import printable
from exchanger.values.request import HttpRequest
from exchanger.values.text import METHOD_LIMIT, loggable_host, loggable_path
from exchanger.values.trace import NO_TRACE, TraceContext, parse_traceparent

MAX_REQUEST: Final = 64 * 1024
"""Characters of a request that is kept as it came: what Envoy lets through in headers unless it is told otherwise (60 KiB)."""
_MAX_TRACEPARENT: Final = 55
"""Characters of a ``traceparent`` that have a meaning in every version (https://www.w3.org/TR/trace-context/#traceparent-header)."""
_MAX_AUTHORIZATION: Final = MAX_SHOWN_TOKEN + 64
"""Characters of a header with a token that is looked into, and its scheme."""


def trimmed(record: DecisionRecord) -> DecisionRecord:
    """Return ``record``, or one that shows the same where its request is too large. Texts are only measured: 0.2 µs."""
    request = record.request
    trace, credentials = request.trace, request.authorization
    size = (
        len(request.method)
        + len(request.host)
        + len(request.path)
        + len(request.origin)
        + len(request.access_control_request_method)
        + len(request.target_authority)
        + len(trace.traceparent)
        + len(trace.tracestate)
        + len(trace.baggage)
        + (0 if credentials is None else len(credentials.reveal()))
    )
    return record if size <= MAX_REQUEST else attrs.evolve(record, request=_small(request))


def _small(request: HttpRequest) -> HttpRequest:
    """Return what is shown of ``request``: its texts as the log has them, which are the same when they are cut once more."""
    credentials = request.authorization
    fragment = "#" if "#" in request.path.partition("?")[0] else ""  # so that the path still tells that it is not shown whole
    return HttpRequest(
        method=printable(request.method, METHOD_LIMIT),
        host=loggable_host(request.host),
        path=loggable_path(request.path) + fragment,
        authorization=None if credentials is None or len(credentials.reveal()) > _MAX_AUTHORIZATION else credentials,
        trace=_small_trace(request.trace),
        path_is_raw=request.path_is_raw,
    )


def _small_trace(trace: TraceContext) -> TraceContext:
    """Return the part that says which trace it is; what is invalid must not become valid by being cut."""
    return NO_TRACE if parse_traceparent(trace.traceparent) is None else TraceContext(trace.traceparent[:_MAX_TRACEPARENT])
