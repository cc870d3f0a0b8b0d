"""Builds one HTTP request from what a gateway reports: header fields, the request line as text attributes, and the gateway's own trace.

A HeaderMap has the request line as raw bytes, as the upstream gets it. Attributes are text, in which Envoy replaces each byte that is not
UTF-8 with ``!``. The raw bytes decide. If anything contradicts them, it is unknown what the upstream will see, and the request is refused.

Source: https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/core/v3/base.proto#config-core-v3-headermap
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final, final

import attrs

from exchanger._proto.envoy.config.core.v3.base_pb2 import HeaderMap
from exchanger.authz.decision.check import DENY_AMBIGUOUS
from exchanger.authz.decision.outcome import Deny
from exchanger.authz.evaluation.fields import READ_FIELDS, canonical_method, http_request
from exchanger.model.authority import read_authority
from exchanger.model.policy_decision import AmbiguousPart
from exchanger.model.request import NO_FIELDS, HeaderFields, HttpRequest
from exchanger.model.trace import TraceContext, parse_traceparent
from exchanger.net.grpc.routes import CallInfo
from exchanger.util.frozen import evolver_of

# The pseudo-headers of the request line, and the name of each in a refusal.
_PARTS: Final = {":authority": AmbiguousPart.AUTHORITY, ":method": AmbiguousPart.METHOD, ":path": AmbiguousPart.PATH}


def _refusals(detail: str) -> dict[str, Deny]:
    """Return the refusal for each pseudo-header. The client learns which part of its request is at fault, the operator what is wrong."""
    return {name: attrs.evolve(DENY_AMBIGUOUS[part], detail=detail.format(name)) for name, part in _PARTS.items()}


_TWICE: Final = _refusals("the gateway sent {} twice")  # RFC 9113 section 8.3 (https://www.rfc-editor.org/rfc/rfc9113#section-8.3)
_NOT_UTF8: Final = _refusals("{} is not UTF-8")
_CONTRADICTED: Final = _refusals("the gateway's attributes contradict {}")

# Of every request, where there are traces.
_in_trace: Final = evolver_of(HttpRequest, "trace")

# PEP 383 (https://peps.python.org/pep-0383/): each byte that is not UTF-8 is one of these characters.
_BAD_BYTE: Final = re.compile("[\udc80-\udcff]")


@final
@attrs.frozen
class RequestLine:
    """The request line in a gateway's attributes, "" for missing ones. ``whole_path`` is false if a query may be missing."""

    method: str
    path: str
    host: str
    whole_path: bool = True


@final
@attrs.frozen
class RefusedRequest:
    """A request that is refused because of how the gateway describes it. ``request`` is for the records: what could be read of it."""

    request: HttpRequest
    deny: Deny


def joined_fields(headers: Mapping[str, str]) -> dict[str, str]:
    """Return ``headers`` by lower-cased name. Two spellings of one name are joined with a comma, even if one is empty."""
    found: dict[str, list[str]] = {}
    for key, value in headers.items():
        found.setdefault(key.lower(), []).append(value)
    return {name: ",".join(values) for name, values in found.items()}


def request_of_header_map(
    header_map: HeaderMap, headers: Mapping[str, str], line: RequestLine, *, with_headers: bool = False
) -> HttpRequest | RefusedRequest:
    """Read a request whose headers are in ``header_map``; refuse it if it is uncertain what the upstream will get.

    ``raw_value`` wins over ``value``. Repeated fields, in any spelling and even if empty, are joined with a comma, those of ``headers``
    first: a joined credential is not a credential. Missing pseudo-headers are taken from ``line``, and the authority from ``headers``
    before that. Nothing may contradict the result. ``with_headers``: the request has all of its fields.
    """
    fields = joined_fields(headers) if headers else {}
    again: dict[str, list[str]] = {}
    raw_line: dict[str, str] = {}
    path_is_raw, deny = False, None
    for header in header_map.headers:
        name = header.key.lower()
        if name in READ_FIELDS:  # most are not, so their values are not even looked at
            raw = header.raw_value
            value = raw.decode("utf-8", "replace") if raw else header.value
            if name in fields:
                again.setdefault(name, [fields[name]]).append(value)
            else:
                fields[name] = value
        elif name in _PARTS:
            if name in raw_line:
                deny = _TWICE[name]
            raw = header.raw_value
            # Bytes that are not UTF-8 must stay visible: an upstream may read them differently, or drop them.
            raw_line[name] = raw.decode("utf-8", "surrogateescape") if raw else header.value
            path_is_raw = path_is_raw or (name == ":path" and raw != b"")
    for name, values in again.items():
        fields[name] = ",".join(values)
    method, path = raw_line.get(":method", line.method), raw_line.get(":path", line.path)
    deny = deny or _doubt(":method", method, canonical_method, line.method, fields.get(":method"))
    deny = deny or _doubt(":path", path, _masked, _with_query(line, raw_line), fields.get(":path"))
    authority, named = fields.pop(":authority", ""), fields.pop("host", "")
    host = raw_line.get(":authority", authority or named or line.host)
    deny = deny or _doubt(":authority", host, _canonical, authority, named, line.host)
    every = HeaderFields(tuple(_every_field(header_map, headers)), raw=True) if with_headers else NO_FIELDS
    request = http_request(method, path, host, fields, path_is_raw=path_is_raw, every=every)
    return request if deny is None else RefusedRequest(request, deny)


def _every_field(header_map: HeaderMap, headers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield all fields of a map and those that contradict it or that it lacks, since it is unknown which one the upstream gets."""
    known = set[tuple[str, str]]()
    for header in header_map.headers:
        raw = header.raw_value
        field = header.key.lower(), raw.decode("utf-8", "surrogateescape") if raw else header.value
        known.add(field)
        yield field
    yield from (field for name, value in headers.items() if (field := (name.lower(), value)) not in known)


def _doubt(name: str, found: str, canonical: Callable[[str], str], *others: str | None) -> Deny | None:
    """Return the refusal if ``found`` is unreadable, or one of ``others`` that is not empty means something else."""
    if name != ":path" and not found.isascii() and _BAD_BYTE.search(found):  # an unreadable path is refused later
        return _NOT_UTF8[name]
    for other in others:
        if other and other != found and canonical(other) != canonical(found):
            return _CONTRADICTED[name]
    return None


def _with_query(line: RequestLine, raw_line: Mapping[str, str]) -> str:
    """Return the path of ``line``, with the query of the raw path where ``line`` may lack it."""
    path = line.path
    if line.whole_path or not path or "?" in path or ":path" not in raw_line:
        return path
    return path + "".join(raw_line[":path"].partition("?")[1:])


def _masked(path: str) -> str:
    """Return ``path`` in the form of Envoy's text attributes."""
    return _BAD_BYTE.sub("!", path)


def _canonical(host: str) -> str:
    authority = read_authority(host)
    return host if authority is None else authority


def with_gateway_trace(request: HttpRequest, call: CallInfo) -> HttpRequest:
    """Return ``request`` in the trace of the gateway's ``call``, unless its caller brought a valid one. Baggage stays the caller's.

    Envoy sends a trace that it began itself to the upstream and, as metadata, to services like this one. The headers that it asks about are
    the caller's. https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/observability/tracing#trace-context-propagation
    """
    trace = request.trace
    if parse_traceparent(trace.traceparent) is not None:
        return request
    found = dict(call.metadata)
    traceparent = found.get(b"traceparent")
    if traceparent is None:
        return request
    tracestate = found.get(b"tracestate", b"")
    return _in_trace(request, TraceContext(traceparent.decode("latin-1"), tracestate.decode("latin-1"), trace.baggage))
