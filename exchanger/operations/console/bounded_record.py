"""Records of bounded size: for an enormous request, only what the console shows of it is kept.

A gateway may let megabytes of headers through, and hundreds of records are kept.
"""

from typing import Final

import attrs

from exchanger.authz.decision.outcome import DecisionRecord
from exchanger.model.request import NO_FIELDS, HttpRequest
from exchanger.model.text import METHOD_LIMIT, loggable_host, loggable_path, loggable_request_id
from exchanger.model.trace import NO_TRACE, TraceContext, parse_traceparent
from exchanger.util.text import printable

# Characters of a request that is kept unchanged: what Envoy lets through in headers by default (60 KiB).
MAX_REQUEST: Final = 64 * 1024
# Characters of a token that is decoded for the demo: longer ones cost the loop more than a page is worth. A header also has its scheme.
MAX_SHOWN_TOKEN: Final = 16 * 1024
_MAX_AUTHORIZATION: Final = MAX_SHOWN_TOKEN + 64
# Characters of a ``traceparent`` that have a meaning in every version (https://www.w3.org/TR/trace-context/#traceparent-header).
_MAX_TRACEPARENT: Final = 55


def bounded(record: DecisionRecord) -> DecisionRecord:
    """Return ``record``, or one that shows the same if its request is too large or has all of its header fields, which are not shown.

    Texts are only measured: 0.2 µs.
    """
    request = record.request
    trace, credentials = request.trace, request.authorization
    size = (
        len(request.method)
        + len(request.host)
        + len(request.path)
        + len(request.origin)
        + len(request.access_control_request_method)
        + len(request.target_authority)
        + len(request.request_id)
        + len(trace.traceparent)
        + len(trace.tracestate)
        + len(trace.baggage)
        + (0 if credentials is None else len(credentials.reveal()))
    )
    exchange = record.exchange if record.outcome.issuer else None  # which names an issuer if the entry exchanges
    if exchange is not None and exchange.scope:
        size += len(exchange.scope)
    if size <= MAX_REQUEST and request.fields is NO_FIELDS:
        return record
    small = None if exchange is None else attrs.evolve(exchange, subject_token=None, scope=None)
    return attrs.evolve(record, request=_small(request), exchange=small)


def _small(request: HttpRequest) -> HttpRequest:
    """Return the visible part of ``request``: its texts as the log has them. Cutting these once more changes nothing."""
    credentials = request.authorization
    fragment = "#" if "#" in request.path.partition("?")[0] else ""  # marks a path that is not shown completely
    return HttpRequest(
        method=printable(request.method, METHOD_LIMIT),
        host=loggable_host(request.host),
        path=loggable_path(request.path) + fragment,
        authorization=None if credentials is None or len(credentials.reveal()) > _MAX_AUTHORIZATION else credentials,
        trace=_small_trace(request.trace),
        path_is_raw=request.path_is_raw,
        request_id=loggable_request_id(request.request_id),
    )


def _small_trace(trace: TraceContext) -> TraceContext:
    """Return the part that identifies the trace. A cut must not make an invalid one valid."""
    return NO_TRACE if parse_traceparent(trace.traceparent) is None else TraceContext(trace.traceparent[:_MAX_TRACEPARENT])
