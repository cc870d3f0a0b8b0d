"""ProcessingRequest and ProcessingResponse to and from the decision's values.

Source: https://www.envoyproxy.io/docs/envoy/latest/api-v3/service/ext_proc/v3/external_processor.proto
"""

import functools
from collections.abc import Callable, Mapping
from typing import Final, assert_never, final

import attrs

from exchanger._proto.envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption
from exchanger._proto.envoy.extensions.filters.http.ext_proc.v3.processing_mode_pb2 import ProcessingMode
from exchanger._proto.envoy.service.ext_proc.v3.external_processor_pb2 import (
    BodyResponse,
    CommonResponse,
    HeaderMutation,
    HeadersResponse,
    ImmediateResponse,
    ProcessingRequest,
    ProcessingResponse,
    TrailersResponse,
)
from exchanger._proto.envoy.type.v3.http_status_pb2 import HttpStatus, StatusCode
from exchanger._proto.google.protobuf.struct_pb2 import Struct, Value
from exchanger._proto.google.protobuf.wrappers_pb2 import BoolValue
from exchanger.authz.decision.check import MISSING_HTTP
from exchanger.authz.decision.outcome import Allow, DecisionReason, Deny, Outcome
from exchanger.authz.envoy.metadata import described
from exchanger.authz.envoy.request_fields import RefusedRequest, RequestLine, request_of_header_map
from exchanger.authz.envoy.wire import authorization, field, removals
from exchanger.model.authority import split_absolute_form
from exchanger.model.request import HttpRequest
from exchanger.model.secret import Secret

# Envoy's access log shows this as the response code details of a denial.
DENIED_DETAILS: Final = "ext_proc_token_exchange_denied"

# The key under which Envoy's own filter sends its attributes, unless it was given another name, and under which it gets metadata.
_FILTER: Final = "envoy.filters.http.ext_proc"

# Method, host and path.
_PARTS: Final = 3

# The fields that may wrap a single value, in this order, and how deep.
_WRAPPED: Final = ("value", "string_value", "stringValue")
_MAX_WRAPPERS: Final = 4

_OF_RESPONSES: Final = frozenset({":status", "www-authenticate"})

_NO_HEADERS: Final[Mapping[str, str]] = {}
_NO_ATTRIBUTES: Final = RequestLine("", "", "")

# Only request headers matter, so Envoy is asked to send nothing else, whatever its configuration says.
_REQUEST_HEADERS_ONLY: Final = ProcessingMode(
    request_header_mode=ProcessingMode.SEND,
    response_header_mode=ProcessingMode.SKIP,
    request_body_mode=ProcessingMode.NONE,
    response_body_mode=ProcessingMode.NONE,
    request_trailer_mode=ProcessingMode.SKIP,
    response_trailer_mode=ProcessingMode.SKIP,
)
# As above, and the response's headers: that is all that is ever asked for beyond a request's.
_RESPONSE_HEADERS_TOO: Final = ProcessingMode()
_RESPONSE_HEADERS_TOO.CopyFrom(_REQUEST_HEADERS_ONLY)
_RESPONSE_HEADERS_TOO.response_header_mode = ProcessingMode.SEND
_CONTINUE: Final = CommonResponse(status=CommonResponse.CONTINUE)
_UNCHANGED_HEADERS: Final = HeadersResponse(response=_CONTINUE)
_UNCHANGED_TRAILERS: Final = TrailersResponse(header_mutation=HeaderMutation())

# Serialised answers to messages that need no decision, by the name of the request's oneof member. They have no mode override: Envoy accepts
# one only with an answer to headers, and only before the parts that it turns off have begun.
CONTINUED: Final[Mapping[str | None, bytes]] = {
    kind: response.SerializeToString()
    for kind, response in {
        "response_headers": ProcessingResponse(response_headers=_UNCHANGED_HEADERS),
        "request_body": ProcessingResponse(request_body=BodyResponse(response=_CONTINUE)),
        "response_body": ProcessingResponse(response_body=BodyResponse(response=_CONTINUE)),
        "request_trailers": ProcessingResponse(request_trailers=_UNCHANGED_TRAILERS),
        "response_trailers": ProcessingResponse(response_trailers=_UNCHANGED_TRAILERS),
    }.items()
}


def decode_request_headers(message: ProcessingRequest, *, with_headers: bool = False) -> HttpRequest | Deny | RefusedRequest:
    """Read a message whose member is ``request_headers``. One without a request, or with a contradictory one, is answered here.

    Attributes replace missing pseudo-headers. A path in absolute form is reduced to the path that a server looks up, and its authority is
    kept separately. ``with_headers`` as for ``decode_check``.
    """
    line = _attributes(message) if message.attributes else _NO_ATTRIBUTES
    request = request_of_header_map(message.request_headers.headers, _NO_HEADERS, line, with_headers=with_headers)
    if isinstance(request, RefusedRequest):
        return request
    # If a gateway left these out, everything would pass as unmatched. A path may be missing: CONNECT has none.
    if not (request.method and request.host):
        return MISSING_HTTP
    target = split_absolute_form(request.path)
    # Without an authority (``http:///orders``) it is not an http URI (RFC 9110 section 4.2.1) and stays a path without readings.
    if target is None or not target[0]:
        return request
    authority, path = target
    return attrs.evolve(request, path=path, target_authority=authority)


def _attributes(message: ProcessingRequest) -> RequestLine:
    """Return the request line from the attributes.

    Envoy sends one Struct of attributes under the name of its filter. There may be others, and other callers send each attribute under its
    own name. Those of Envoy's filter come first, then the other Structs by name, then single attributes. Envoy's ``request.path`` has the
    query; that of other callers may not.

    https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/advanced/attributes#request-attributes
    """
    found: dict[str, str] = {}
    by_filter = [message.attributes[name] for name in sorted(message.attributes, key=lambda name: (name != _FILTER, name))]
    sources: list[Callable[[str], str]] = [functools.partial(_attribute, attributes) for attributes in by_filter]
    sources.append(functools.partial(_own_attribute, message))
    for attribute in sources:
        path, query = attribute("request.path"), attribute("request.query")
        if path and query and "?" not in path:
            path = f"{path}?{query}"
        for part, value in ("method", attribute("request.method")), ("host", attribute("request.host")), ("path", path):
            if value:
                found.setdefault(part, value)
        if len(found) == _PARTS:
            break
    return RequestLine(found.get("method", ""), found.get("path", ""), found.get("host", ""), whole_path=False)


def _attribute(attributes: Struct, name: str) -> str:
    """Return a string attribute; "" when it is missing or of another kind."""
    fields = attributes.fields
    return fields[name].string_value if name in fields else ""  # indexing a protobuf map adds missing keys


def _own_attribute(message: ProcessingRequest, name: str) -> str:
    """Return an attribute that is sent under its own name, unwrapped from any form seen in practice; "" without one."""
    return _unwrapped(message.attributes[name]) if name in message.attributes else ""


def _unwrapped(wrapper: Struct) -> str:
    for _ in range(_MAX_WRAPPERS):
        fields = wrapper.fields
        value = next((fields[name] for name in _WRAPPED if name in fields and _scalar(fields[name]) != ""), None)
        if value is None and len(fields) == 1:
            (value,) = fields.values()
        if value is None:
            return ""
        if value.WhichOneof("kind") != "struct_value":
            return _scalar(value) or ""
        wrapper = value.struct_value
    return ""


def _scalar(value: Value) -> str | None:
    """Return the text of a string, number or boolean; ``None`` for a Struct, "" for anything else."""
    match value.WhichOneof("kind"):
        case "string_value":
            return value.string_value
        case "number_value":
            return f"{value.number_value:.15g}"
        case "bool_value":
            return "true" if value.bool_value else "false"
        case "struct_value":
            return None
        case _:
            return ""


@final
@attrs.frozen
class ResponseHead:
    """What is read of a response's headers. ``whole``: nothing shows that the gateway forwards only some of them."""

    status: str
    challenges: tuple[str, ...]
    whole: bool


def decode_response_headers(message: ProcessingRequest) -> ResponseHead:
    """Read a message whose member is ``response_headers``.

    Envoy does not say whether its ``forward_rules`` leave headers out. But a list of those that this service needs leaves nothing of a
    response except its status, while every server sends a length, a type or a date.
    """
    status, challenges, whole = "", list[str](), False
    for header in message.response_headers.headers.headers:
        name = header.key.lower()
        whole = whole or not name.startswith(":")
        if name in _OF_RESPONSES:
            value = (header.raw_value or header.value.encode()).decode("latin-1")
            if name == "www-authenticate":
                challenges.append(value)
            else:
                status = value
    return ResponseHead(status, tuple(challenges), whole)


# The fields of ProcessingResponse are request_headers = 1, dynamic_metadata = 8 and mode_override = 9, of HeadersResponse response = 1, of
# CommonResponse header_mutation = 2, and of HeaderMutation set_headers = 1 and remove_headers = 2.
_COMMON: Final = CommonResponse(status=CommonResponse.CONTINUE, clear_route_cache=True).SerializeToString()
_MODE: Final = ProcessingResponse(mode_override=_REQUEST_HEADERS_ONLY).SerializeToString()
MODE_WITH_RESPONSE: Final = ProcessingResponse(mode_override=_RESPONSE_HEADERS_TOO).SerializeToString()
_NAMESPACE: Final = field(b"\x0a", _FILTER.encode("ascii"))


def encode_request_headers(outcome: Outcome, mode: bytes = _MODE) -> bytes:
    """Return the serialised answer to request headers: continue, with or without another token, or an immediate response to the caller.

    ``mode`` is the field for the parts that Envoy is to send, where there is another token.
    """
    match outcome:
        case Allow():
            token = outcome.access_token
            return _kept_unchanged(outcome) if token is None else _allowed_with_token(outcome, token, mode)
        case Deny():
            # A token endpoint's answer may be large, and is seldom repeated.
            return _denied(outcome) if outcome.reason is DecisionReason.DENY_EXCHANGE_ERROR else _kept_denied(outcome)
        case _:
            assert_never(outcome)


def _unchanged(allow: Allow) -> bytes:
    response = ProcessingResponse(request_headers=_UNCHANGED_HEADERS, mode_override=_REQUEST_HEADERS_ONLY)
    return response.SerializeToString() + _metadata(allow)


def _allowed_with_token(allow: Allow, token: Secret, mode: bytes) -> bytes:
    mutation = field(b"\x0a", authorization(token, b"\x1a")) + (removals(allow.removed, b"\x12") if allow.removed else b"")
    common = _COMMON + field(b"\x12", mutation)
    return b"%b%b%b" % (field(b"\x0a", field(b"\x0a", common)), mode, _metadata(allow))


def _denied(deny: Deny) -> bytes:
    answer = ImmediateResponse(
        status=HttpStatus(code=StatusCode.ValueType(deny.status)),
        headers=HeaderMutation(
            set_headers=[_header("Content-Type", "application/json"), *(_header(name, value) for name, value in deny.headers)]
        ),
        body=deny.body.encode("utf-8"),
        details=DENIED_DETAILS,
    )
    return ProcessingResponse(immediate_response=answer).SerializeToString() + _metadata(deny)


def _metadata(outcome: Outcome) -> bytes:
    """Return the field with the metadata. Envoy treats each of its fields as a namespace, and its configuration must allow that."""
    return field(b"\x42", field(b"\x0a", _NAMESPACE + field(b"\x12", field(b"\x2a", described(outcome)))))


# These repeat: a few constants, and a denial, a challenge or a preflight for each entry of the policy. None of them contains a token.
_kept_unchanged: Final = functools.lru_cache(maxsize=4096)(_unchanged)
_kept_denied: Final = functools.lru_cache(maxsize=4096)(_denied)


def _header(name: str, value: str) -> HeaderValueOption:
    """Return a header that replaces any other of its name. Versions of Envoy disagree on which of the two fields they use."""
    return HeaderValueOption(
        header=HeaderValue(key=name, raw_value=value.encode("utf-8")),
        append=BoolValue(value=False),
        append_action=HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
    )
