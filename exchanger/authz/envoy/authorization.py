"""``envoy.service.auth.v3.Authorization``: Check as a synchronous route, and its messages to and from the decision's values.

Source: https://www.envoyproxy.io/docs/envoy/latest/api-v3/service/auth/v3/external_auth.proto
"""

import functools
from typing import Final, assert_never, final

import attrs
from google.protobuf.message import DecodeError

from exchanger._proto.envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption
from exchanger._proto.envoy.service.auth.v3.attribute_context_pb2 import AttributeContext
from exchanger._proto.envoy.service.auth.v3.external_auth_grpc import AuthorizationServicer
from exchanger._proto.envoy.service.auth.v3.external_auth_pb2 import (
    CheckRequest,
    CheckResponse,
    DeniedHttpResponse,
    OkHttpResponse,
)
from exchanger._proto.envoy.type.v3.http_status_pb2 import HttpStatus, StatusCode
from exchanger._proto.google.protobuf.wrappers_pb2 import BoolValue
from exchanger._proto.google.rpc.status_pb2 import Status
from exchanger.authz.decision.check import DENY_UNHEALTHY, MISSING_HTTP, MISSING_REQUEST
from exchanger.authz.decision.outcome import Allow, DecisionReason, Deny, ExchangePending, Filter, Outcome
from exchanger.authz.envoy.metadata import described
from exchanger.authz.envoy.request_fields import (
    RefusedRequest,
    RequestLine,
    joined_fields,
    request_of_header_map,
    with_gateway_trace,
)
from exchanger.authz.envoy.wire import REPLACES, field, field_header, removals, varint
from exchanger.authz.evaluation.evaluator import Evaluator, WaitingRequest
from exchanger.authz.evaluation.fields import EMPTY_REQUEST, http_request
from exchanger.model.request import NO_FIELDS, HeaderFields, HttpRequest
from exchanger.model.secret import Secret
from exchanger.net.deferred import Deferred
from exchanger.net.grpc.routes import CallInfo, Immediate, Route
from exchanger.net.grpc.status import GrpcError
from exchanger.net.grpc.status import StatusCode as GrpcStatus

CHECK_PATH: Final = b"/envoy.service.auth.v3.Authorization/Check"

# Looking up a member of an enum takes 0.2 µs, and these are needed for every request.
_EXT_AUTHZ: Final = Filter.EXT_AUTHZ
_EXCHANGE_ERROR: Final = DecisionReason.DENY_EXCHANGE_ERROR


def decode_check(message: bytes, *, with_headers: bool = False) -> HttpRequest | Deny | RefusedRequest:
    """Read a serialised CheckRequest. One without an HTTP request, or that contradicts itself, is answered here.

    ``with_headers``: the request has all header fields; otherwise none, and does not keep the message alive.

    Raises:
        GrpcError: INTERNAL, for bytes that are not a CheckRequest.
    """
    try:
        check = CheckRequest.FromString(message)
    except DecodeError:
        raise GrpcError(GrpcStatus.INTERNAL, "malformed CheckRequest") from None
    http = check.attributes.request.http
    # Only an existing block can have a path, so Envoy's messages need no further check.
    return (None if http.path else _missing(check)) or _http_request(http, with_headers=with_headers)


def _missing(check: CheckRequest) -> Deny | None:
    if not check.HasField("attributes") or not check.attributes.HasField("request"):
        return MISSING_REQUEST
    return None if check.attributes.request.HasField("http") else MISSING_HTTP


def _http_request(http: AttributeContext.HttpRequest, *, with_headers: bool) -> HttpRequest | RefusedRequest:
    headers = http.headers
    if http.HasField("header_map"):
        return request_of_header_map(http.header_map, headers, RequestLine(http.method, http.path, http.host), with_headers=with_headers)
    names = "".join(headers)
    # Envoy sends lower case. Then the map is not copied, which would cost more than everything else.
    fields = headers if names == names.lower() else joined_fields(headers)
    return http_request(http.method, http.path, http.host, fields, every=HeaderFields(tuple(fields.items())) if with_headers else NO_FIELDS)


def _header(name: str, value: str) -> HeaderValueOption:
    """Return a header that replaces any other of its name. Versions of Envoy disagree on which of the two fields they use."""
    return HeaderValueOption(
        header=HeaderValue(key=name, value=value),
        append=BoolValue(value=False),
        append_action=HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
    )


def encode_check(outcome: Outcome) -> bytes:
    """Return the serialised CheckResponse; its status is OK or PERMISSION_DENIED, never one that ``failure_mode_allow`` lets pass."""
    match outcome:
        case Allow():
            token = outcome.access_token
            return _kept_unchanged(outcome) if token is None else _ok_with_token(outcome, token)
        case Deny():
            # A token endpoint's answer may be large, and is seldom repeated.
            return _denied(outcome) if outcome.reason is _EXCHANGE_ERROR else _kept_denied(outcome)
        case _:
            assert_never(outcome)


# CheckResponse: status = 1, ok_response = 3, dynamic_metadata = 4; OkHttpResponse: headers = 2, headers_to_remove = 5.
_OK: Final = CheckResponse(status=Status(code=GrpcStatus.OK)).SerializeToString()
_UNCHANGED: Final = CheckResponse(status=Status(code=GrpcStatus.OK), ok_response=OkHttpResponse()).SerializeToString()
_METADATA: Final = b"\x22"


def _unchanged(allow: Allow) -> bytes:
    return _UNCHANGED + field(_METADATA, described(allow))


def _ok_with_token(allow: Allow, token: Secret) -> bytes:
    value, removed = token.reveal().encode("ascii"), removals(allow.removed, b"\x2a") if allow.removed else b""
    return b"%b%b%b%b%b" % (_before_token(len(value), len(removed)), value, REPLACES, removed, field(_METADATA, described(allow)))


# Lengths of tokens repeat.
@functools.lru_cache(maxsize=4096)
def _before_token(size: int, removed: int) -> bytes:
    """Return the bytes before a token of ``size`` bytes in the answer; names of ``removed`` bytes follow it."""
    option = field_header(size, b"\x12")
    header = b"\x12" + varint(len(option) + size + len(REPLACES)) + option
    return _OK + b"\x1a" + varint(len(header) + size + len(REPLACES) + removed) + header


def _denied(deny: Deny) -> bytes:
    response = CheckResponse(
        status=Status(code=GrpcStatus.PERMISSION_DENIED),
        denied_response=DeniedHttpResponse(
            status=HttpStatus(code=StatusCode.ValueType(deny.status)),
            headers=[_header("Content-Type", "application/json"), *(_header(name, value) for name, value in deny.headers)],
            body=deny.body,
        ),
    )
    return response.SerializeToString() + field(_METADATA, described(deny))


# These repeat: a few constants, and a denial, a challenge or a preflight for each entry of the policy.
_kept_unchanged: Final = functools.lru_cache(maxsize=4096)(_unchanged)
_kept_denied: Final = functools.lru_cache(maxsize=4096)(_denied)


_BROKEN: Final = encode_check(DENY_UNHEALTHY)


@final
@attrs.define(eq=False)
class Authorization(AuthorizationServicer):
    """Envoy's ext_authz over gRPC (https://www.envoyproxy.io/docs/envoy/latest/api-v3/service/auth/v3/external_auth.proto)."""

    evaluator: Evaluator

    def routes(self) -> dict[bytes, Route]:
        """Return the route of Check. A fault of ours is answered with a denial: a gateway may let requests pass on a gRPC error."""
        return {CHECK_PATH: Immediate(self.check, instead=_BROKEN)}

    def check(self, message: bytes, call: CallInfo) -> bytes | Deferred:
        """Answer a serialised CheckRequest with a serialised CheckResponse, at once unless an exchange is needed.

        Raises:
            GrpcError: INTERNAL, for bytes that are not a CheckRequest.
        """
        evaluator = self.evaluator
        started = evaluator.clock()
        request = decode_check(message, with_headers=evaluator.needs_headers())
        if type(request) is not HttpRequest:
            seen, deny = (request.request, request.deny) if isinstance(request, RefusedRequest) else (EMPTY_REQUEST, request)
            evaluator.decided(seen, deny, started, _EXT_AUTHZ)
            return encode_check(deny)
        if evaluator.tracer is not None:
            request = with_gateway_trace(request, call)
        outcome = evaluator.begin(request, started, _EXT_AUTHZ)
        if isinstance(outcome, ExchangePending):
            return WaitingRequest(evaluator, request, outcome, started, _EXT_AUTHZ, encode_check).begin(call.deadline)
        return encode_check(outcome)
