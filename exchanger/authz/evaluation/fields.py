"""Builds the request to decide on from header fields and the request line, whatever protocol they came in."""

from collections.abc import Mapping
from typing import Final

from exchanger.model.request import NO_FIELDS, HeaderFields, HttpRequest
from exchanger.model.secret import Secret
from exchanger.model.trace import NO_TRACE, TraceContext
from exchanger.util.frozen import constructor_of

EMPTY_REQUEST: Final = HttpRequest(method="", host="", path="")

# The fields that are read, besides the request line.
READ_FIELDS: Final = frozenset(
    {"access-control-request-method", "authorization", "baggage", "host", "origin", "traceparent", "tracestate", "x-request-id"}
)

_request: Final = constructor_of(HttpRequest)
_USUAL_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def http_request(
    method: str, path: str, host: str, fields: Mapping[str, str], *, path_is_raw: bool = False, every: HeaderFields = NO_FIELDS
) -> HttpRequest:
    """Build the value from lower-cased header ``fields``; ``host`` is used if they have none. ``every`` are all fields, if requested."""
    find = fields.get
    authorization = find("authorization")
    traceparent, baggage = find("traceparent", ""), find("baggage", "")
    return _request(
        method if method in _USUAL_METHODS else canonical_method(method),
        find(":authority") or find("host") or host,
        path,
        Secret(authorization) if authorization else None,
        find("origin", ""),
        find("access-control-request-method", ""),
        TraceContext(traceparent, find("tracestate", ""), baggage) if traceparent or baggage else NO_TRACE,
        "",
        path_is_raw,
        every,
        find("x-request-id", ""),
    )


def canonical_method(method: str) -> str:
    """Return ``method`` in upper case, if it is ASCII. Anything else is not a method and must not become one (``ı`` would be ``I``)."""
    return method.upper() if method.isascii() else method
