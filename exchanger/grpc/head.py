"""The request headers of a call, judged; and the header lists with which a call is answered or refused.

Must not know: the HTTP/2 codec, tasks or clocks.
"""

import math
from typing import Final, final

import attrs

from exchanger.grpc.routes import CallInfo, Headers
from exchanger.grpc.status import GrpcError, StatusCode, encode_message
from exchanger.grpc.timeout import parse_timeout

_CONTENT_TYPE: Final = (b"content-type", b"application/grpc")
_STATUS_200: Final = (b":status", b"200")

RESPONSE_HEADERS: Final[Headers] = (_STATUS_200, _CONTENT_TYPE)
OK_TRAILERS: Final[Headers] = ((b"grpc-status", b"0"),)


@final
@attrs.frozen
class Refusal:
    """What ends a call before it reaches a method: the only header list of the response, and the status it counts as."""

    status: StatusCode
    headers: Headers


def error_trailers(error: GrpcError) -> Headers:
    """Return the trailers for ``error``."""
    status = (b"grpc-status", b"%d" % error.status)
    return (status, (b"grpc-message", encode_message(error.message))) if error.message else (status,)


def refuse(error: GrpcError) -> Refusal:
    """Return ``error`` as a Trailers-Only response (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#responses)."""
    return Refusal(error.status, RESPONSE_HEADERS + error_trailers(error))


UNKNOWN_METHOD: Final = refuse(GrpcError(StatusCode.UNIMPLEMENTED, "unknown method"))
BAD_TIMEOUT: Final = refuse(GrpcError(StatusCode.INTERNAL, "malformed grpc-timeout"))
NOT_POST: Final = Refusal(StatusCode.INTERNAL, ((b":status", b"405"), (b"allow", b"POST")))
NOT_GRPC: Final = Refusal(StatusCode.INVALID_ARGUMENT, ((b":status", b"415"),))
"""Plain HTTP for what does not speak gRPC: it would take status 200 for a success."""


def read_head(headers: Headers, now: float) -> CallInfo | Refusal:
    """Return what ``headers`` say about a call that arrived at ``now`` (seconds), or why it is none."""
    fields = dict(headers)
    if fields.get(b":method") != b"POST":
        return NOT_POST
    content_type = fields.get(b"content-type")
    if content_type != b"application/grpc" and not _is_grpc(content_type):
        return NOT_GRPC
    deadline = math.inf
    if (timeout := fields.get(b"grpc-timeout")) is not None:
        if (seconds := parse_timeout(timeout)) is None:
            return BAD_TIMEOUT
        deadline = now + seconds
    return CallInfo(fields.get(b":path", b""), deadline, headers)


def _is_grpc(content_type: bytes | None) -> bool:
    """Whether the content type is gRPC with protobuf: ``application/grpc-web`` or ``application/grpc+json`` is another protocol."""
    if content_type is None:
        return False
    media_type = content_type.partition(b";")[0].strip().lower()  # parameters are allowed, and a media type has no case
    return media_type in (b"application/grpc", b"application/grpc+proto")
