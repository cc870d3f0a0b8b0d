"""The request headers of a call, judged; and the header lists with which a call is answered or refused.

Must not know: the HTTP/2 codec, tasks or clocks.
"""

import math
from typing import Final, final

import attrs

from exchanger.grpc.limits import MAX_HEADER_COUNT, MAX_HEADER_LIST
from exchanger.grpc.routes import CallInfo, Headers
from exchanger.grpc.status import GrpcError, StatusCode, encode_message
from exchanger.grpc.timeout import parse_timeout

_CONTENT_TYPE: Final = (b"content-type", b"application/grpc")
_STATUS_200: Final = (b":status", b"200")

RESPONSE_HEADERS: Final[Headers] = (_STATUS_200, _CONTENT_TYPE)
OK_TRAILERS: Final[Headers] = ((b"grpc-status", b"0"),)

_ENCODINGS: Final[Headers] = ((b"grpc-accept-encoding", b"identity"),)
"""https://github.com/grpc/grpc/blob/master/doc/compression.md"""


@final
@attrs.frozen
class Refusal:
    """What ends a call before it reaches a method: the status it counts as, and the response, which has a body in plain HTTP only."""

    status: StatusCode
    headers: Headers
    body: bytes = b""


def error_trailers(error: GrpcError) -> Headers:
    """Return the trailers for ``error``."""
    status = (b"grpc-status", b"%d" % error.status)
    return (status, (b"grpc-message", encode_message(error.message))) if error.message else (status,)


def refuse(error: GrpcError) -> Refusal:
    """Return ``error`` as a Trailers-Only response (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#responses)."""
    headers = RESPONSE_HEADERS + error_trailers(error)
    if error.status is StatusCode.UNIMPLEMENTED:  # perhaps for a compression, so that it must be said which ones are not
        headers += _ENCODINGS
    return Refusal(error.status, headers)


TOO_LARGE: Final = refuse(GrpcError(StatusCode.RESOURCE_EXHAUSTED, "too much metadata"))
UNKNOWN_METHOD: Final = refuse(GrpcError(StatusCode.UNIMPLEMENTED, "unknown method"))
BAD_TIMEOUT: Final = refuse(GrpcError(StatusCode.INTERNAL, "malformed grpc-timeout"))

_FIELD_OVERHEAD: Final = 32
"""Bytes that each field counts for besides its own: RFC 9113 section 10.5.1."""
_BODY: Final = b"This is a gRPC endpoint: it takes POST with content-type application/grpc.\n"
_PLAIN: Final[Headers] = ((b"content-type", b"text/plain"), (b"content-length", b"%d" % len(_BODY)))

NOT_POST: Final = Refusal(StatusCode.INTERNAL, ((b":status", b"405"), (b"allow", b"POST"), *_PLAIN), _BODY)
NOT_POST_BUT_HEAD: Final = attrs.evolve(NOT_POST, body=b"")
NOT_GRPC: Final = Refusal(StatusCode.INVALID_ARGUMENT, ((b":status", b"415"), *_PLAIN), _BODY)
"""Plain HTTP for what does not speak gRPC: it would take status 200 for a success. Whoever came here by mistake can read where they are."""


def read_head(headers: Headers, now: float) -> CallInfo | Refusal:
    """Return what ``headers`` say about a call that arrived at ``now`` (seconds), or why it is none."""
    if len(headers) > MAX_HEADER_COUNT or sum(_FIELD_OVERHEAD + len(name) + len(value) for name, value in headers) > MAX_HEADER_LIST:
        return TOO_LARGE
    fields = dict(headers)
    if (method := fields.get(b":method")) != b"POST":
        return NOT_POST_BUT_HEAD if method == b"HEAD" else NOT_POST
    if len(fields) != len(headers) and (refusal := _contradiction(headers)) is not None:
        return refusal
    content_type = fields.get(b"content-type")
    if content_type != b"application/grpc" and not _is_grpc(content_type):
        return NOT_GRPC
    deadline = math.inf
    if (timeout := fields.get(b"grpc-timeout")) is not None:
        if (seconds := parse_timeout(timeout)) is None:
            return BAD_TIMEOUT
        deadline = now + seconds
    return CallInfo(fields.get(b":path", b""), deadline, headers)


def _contradiction(headers: Headers) -> Refusal | None:
    """Return why a call is refused that says twice what it may say once: two readers could take different ones (RFC 9110 section 5.3)."""
    names = [name for name, _ in headers]
    if names.count(b"content-type") > 1:
        return NOT_GRPC
    return BAD_TIMEOUT if names.count(b"grpc-timeout") > 1 else None


def _is_grpc(content_type: bytes | None) -> bool:
    """Whether the content type is gRPC with protobuf: ``application/grpc-web`` or ``application/grpc+json`` is another protocol."""
    if content_type is None:
        return False
    media_type = content_type.partition(b";")[0].strip().lower()  # parameters are allowed, and a media type has no case
    return media_type in (b"application/grpc", b"application/grpc+proto")
