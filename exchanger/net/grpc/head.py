"""Header lists: those of requests, checked, and those that answer or refuse a call.

Source: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
"""

import functools
import math
from typing import Final, final

import attrs

from exchanger.net.grpc.limits import MAX_HEADER_COUNT, MAX_HEADER_LIST
from exchanger.net.grpc.routes import CallInfo, Headers
from exchanger.net.grpc.status import GrpcError, StatusCode

_CONTENT_TYPE: Final = (b"content-type", b"application/grpc")
_STATUS_200: Final = (b":status", b"200")

RESPONSE_HEADERS: Final[Headers] = (_STATUS_200, _CONTENT_TYPE)
OK_TRAILERS: Final[Headers] = ((b"grpc-status", b"0"),)

# https://github.com/grpc/grpc/blob/master/doc/compression.md
_ENCODINGS: Final[Headers] = ((b"grpc-accept-encoding", b"identity"),)

# Characters of a message that are sent: 6 kB if each is escaped and four bytes long. gRPC clients accept 8 KiB of headers.
_MESSAGE_CHARACTERS: Final = 500


@final
@attrs.frozen
class HeadRefusal:
    """Ends a call before it reaches a method: the status it counts as, and the response, which has a body in plain HTTP only."""

    status: StatusCode
    headers: Headers
    body: bytes = b""


def encode_message(message: str) -> bytes:
    """Return the beginning of ``message`` as the value of ``grpc-message``: UTF-8; ``%`` and all but printable ASCII percent-encoded."""
    text = message[:_MESSAGE_CHARACTERS].encode("utf-8", "replace")
    return b"".join(bytes((byte,)) if 0x20 <= byte <= 0x7E and byte != 0x25 else b"%%%02X" % byte for byte in text)  # noqa: PLR2004 - the specification's ranges


def error_trailers(error: GrpcError) -> Headers:
    """Return the trailers for ``error``."""
    status = (b"grpc-status", b"%d" % error.status)
    return (status, (b"grpc-message", encode_message(error.message))) if error.message else (status,)


def refuse(error: GrpcError) -> HeadRefusal:
    """Return ``error`` as a Trailers-Only response."""
    headers = RESPONSE_HEADERS + error_trailers(error)
    if error.status is StatusCode.UNIMPLEMENTED:  # perhaps because of a compression; then the supported ones must be named
        headers += _ENCODINGS
    return HeadRefusal(error.status, headers)


TOO_LARGE: Final = refuse(GrpcError(StatusCode.RESOURCE_EXHAUSTED, "too much metadata"))
UNKNOWN_METHOD: Final = refuse(GrpcError(StatusCode.UNIMPLEMENTED, "unknown method"))
BAD_TIMEOUT: Final = refuse(GrpcError(StatusCode.INTERNAL, "malformed grpc-timeout"))

# Clients that do not speak gRPC get plain HTTP: they would take status 200 for a success. The body says what server this is.
_BODY: Final = b"This is a gRPC endpoint: it takes POST with content-type application/grpc.\n"
_PLAIN: Final[Headers] = ((b"content-type", b"text/plain"), (b"content-length", b"%d" % len(_BODY)))
NOT_POST: Final = HeadRefusal(StatusCode.INTERNAL, ((b":status", b"405"), (b"allow", b"POST"), *_PLAIN), _BODY)
NOT_POST_BUT_HEAD: Final = attrs.evolve(NOT_POST, body=b"")
NOT_GRPC: Final = HeadRefusal(StatusCode.INVALID_ARGUMENT, ((b":status", b"415"), *_PLAIN), _BODY)

# Bytes that each field counts in addition to its own: RFC 9113 section 10.5.1.
_FIELD_OVERHEAD: Final = 32


def read_head(headers: Headers, now: float) -> CallInfo | HeadRefusal:
    """Read the ``headers`` of a call that arrived at ``now`` (seconds)."""
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
    timeout = fields.get(b"grpc-timeout")
    seconds = math.inf if timeout is None else parse_timeout(timeout)
    if seconds is None:
        return BAD_TIMEOUT
    return CallInfo(fields.get(b":path", b""), now + seconds, headers, seconds)


def _contradiction(headers: Headers) -> HeadRefusal | None:
    """Refuse a call that repeats a field that may occur once: two readers could use different ones (RFC 9110 section 5.3)."""
    names = [name for name, _ in headers]
    if names.count(b"content-type") > 1:
        return NOT_GRPC
    return BAD_TIMEOUT if names.count(b"grpc-timeout") > 1 else None


def _is_grpc(content_type: bytes | None) -> bool:
    """Whether the content type is gRPC with protobuf: ``application/grpc-web`` or ``application/grpc+json`` is another protocol."""
    if content_type is None:
        return False
    media_type = content_type.partition(b";")[0].strip().lower()  # parameters are allowed, and case does not matter
    return media_type in (b"application/grpc", b"application/grpc+proto")


_UNIT_SECONDS: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}

# TimeoutValue is a positive integer of at most 8 digits; one letter for the unit follows.
_MAX_TIMEOUT_LENGTH: Final = 9

# Callers use a few timeouts again and again. Keys are short: longer ones are refused before.
_KEPT_TIMEOUTS: Final = 256


def parse_timeout(value: bytes) -> float | None:
    """Return the ``grpc-timeout`` in seconds, or ``None`` if it is malformed."""
    return _parse_timeout(value) if len(value) <= _MAX_TIMEOUT_LENGTH else None


@functools.lru_cache(maxsize=_KEPT_TIMEOUTS)
def _parse_timeout(value: bytes) -> float | None:
    digits, unit = value[:-1], _UNIT_SECONDS.get(value[-1:])
    return int(digits) * unit if unit is not None and digits.isdigit() else None
