"""CheckRequest and CheckResponse to and from the decision's values.

Source: https://www.envoyproxy.io/docs/envoy/latest/api-v3/service/auth/v3/external_auth.proto
"""

import functools
from typing import Final, assert_never

from google.protobuf.message import DecodeError

from exchanger._proto.envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption
from exchanger._proto.envoy.service.auth.v3.attribute_context_pb2 import AttributeContext
from exchanger._proto.envoy.service.auth.v3.external_auth_pb2 import (
    CheckRequest,
    CheckResponse,
    DeniedHttpResponse,
    OkHttpResponse,
)
from exchanger._proto.envoy.type.v3.http_status_pb2 import HttpStatus, StatusCode
from exchanger._proto.google.protobuf.wrappers_pb2 import BoolValue
from exchanger._proto.google.rpc.status_pb2 import Status
from exchanger.decision.check import MISSING_HTTP, MISSING_REQUEST
from exchanger.decision.outcome import Allow, Deny, Outcome, Reason
from exchanger.envoy.request_fields import Refused, RequestLine, http_request, joined_fields, request_of_header_map
from exchanger.grpc.status import GrpcError
from exchanger.grpc.status import StatusCode as GrpcStatus
from exchanger.values.request import HttpRequest
from exchanger.values.secret import Secret

EMPTY_REQUEST: Final = HttpRequest(method="", host="", path="")


def decode_check(message: bytes) -> HttpRequest | Deny | Refused:
    """Read a serialised CheckRequest; the answer itself where it has no HTTP request to decide on, or contradicts itself.

    Raises:
        GrpcError: INTERNAL, for bytes that are no CheckRequest.
    """
    try:
        check = CheckRequest.FromString(message)
    except DecodeError:
        raise GrpcError(GrpcStatus.INTERNAL, "malformed CheckRequest") from None
    http = check.attributes.request.http
    # A path can only come from a block that is there, so what Envoy sends needs no further question.
    return _http_request(http) if http.path else _missing(check) or _http_request(http)


def _missing(check: CheckRequest) -> Deny | None:
    if not check.HasField("attributes") or not check.attributes.HasField("request"):
        return MISSING_REQUEST
    return None if check.attributes.request.HasField("http") else MISSING_HTTP


def _http_request(http: AttributeContext.HttpRequest) -> HttpRequest | Refused:
    headers = http.headers
    if http.HasField("header_map"):
        return request_of_header_map(http.header_map, headers, RequestLine(http.method, http.path, http.host))
    names = "".join(headers)
    # Read where it is if it is what Envoy sends, since copying the map costs more than all the rest.
    return http_request(http.method, http.path, http.host, headers if names == names.lower() else joined_fields(headers))


def header_option(name: str, value: str) -> HeaderValueOption:
    """Return a header that replaces whatever the request or answer has; versions of Envoy disagree on which of the two fields they obey."""
    return HeaderValueOption(
        header=HeaderValue(key=name, value=value),
        append=BoolValue(value=False),
        append_action=HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
    )


_OK: Final = CheckResponse(status=Status(code=GrpcStatus.OK), ok_response=OkHttpResponse()).SerializeToString()


def encode_check(outcome: Outcome) -> bytes:
    """Return the serialised CheckResponse; its status is OK or PERMISSION_DENIED, never anything that ``failure_mode_allow`` could open."""
    match outcome:
        case Allow():
            token = outcome.access_token
            return _OK if token is None else _ok_with_token(token)
        case Deny():
            # What came of a token endpoint may be large, and seldom repeats.
            return _denied(outcome) if outcome.reason is Reason.DENY_EXCHANGE_ERROR else _kept_denied(outcome)
        case _:
            assert_never(outcome)


def _ok_with_token(token: Secret) -> bytes:
    response = CheckResponse()
    response.status.code = GrpcStatus.OK
    option = response.ok_response.headers.add()
    option.header.key = "authorization"
    option.header.value = f"Bearer {token.reveal()}"
    option.append.SetInParent()
    option.append_action = HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
    return response.SerializeToString()


def _denied(deny: Deny) -> bytes:
    return CheckResponse(
        status=Status(code=GrpcStatus.PERMISSION_DENIED),
        denied_response=DeniedHttpResponse(
            status=HttpStatus(code=StatusCode.ValueType(deny.status)),
            headers=[header_option("Content-Type", "application/json"), *(header_option(name, value) for name, value in deny.headers)],
            body=deny.body,
        ),
    ).SerializeToString()


_kept_denied: Final = functools.lru_cache(maxsize=4096)(_denied)
"""These repeat: a few constants, a denial or a challenge for each entry of the policy."""
