"""One message of OTLP as a unary gRPC call.

Source: https://opentelemetry.io/docs/specs/otlp/#otlpgrpc
"""

import gzip
from typing import Final, assert_never

import trio

from exchanger import __version__
from exchanger.net.grpc.client import CallAnswered, CallBroken, CallRefused, UnaryCall, exchange
from exchanger.net.grpc.status import StatusCode
from exchanger.operations.telemetry.otlp.export import ExportAccepted, ExportRefused, ExportResult
from exchanger.operations.telemetry.otlp.settings import GZIP_LEVEL, Target

# https://opentelemetry.io/docs/specs/otlp/#failures; RESOURCE_EXHAUSTED is one only with a RetryInfo, which is not read here.
RETRYABLE: Final = frozenset(
    {
        StatusCode.CANCELLED,
        StatusCode.DEADLINE_EXCEEDED,
        StatusCode.ABORTED,
        StatusCode.OUT_OF_RANGE,
        StatusCode.UNAVAILABLE,
        StatusCode.DATA_LOSS,
    }
)


async def send_by_grpc(stream: trio.abc.Stream, target: Target, body: bytes) -> ExportResult:
    """Send ``body`` and return the answer; the caller bounds the time and closes the stream.

    Raises:
        trio.BrokenResourceError: the connection broke, or does not speak TLS.
    """
    if isinstance(stream, trio.SSLStream) and stream.selected_alpn_protocol() != "h2":
        return ExportRefused("TLS without HTTP/2, which gRPC needs", retryable=False)
    metadata = tuple((name.lower(), value.reveal()) for name, value in target.headers)
    if not any(name == "user-agent" for name, _ in metadata):
        metadata = (("user-agent", f"exchanger/{__version__}"), *metadata)
    message = gzip.compress(body, GZIP_LEVEL) if target.gzip else body
    scheme, encoding = "https" if target.secure else "http", "gzip" if target.gzip else ""
    reply = await exchange(stream, UnaryCall(target.path, message, target.authority, scheme, target.timeout, metadata, encoding))
    match reply:
        case CallAnswered(answer):
            return ExportAccepted(answer)
        case CallRefused(status, _):  # its text is the collector's, and may repeat what was sent
            return ExportRefused(f"gRPC status {status.name}", status in RETRYABLE)
        case CallBroken(reason):
            return ExportRefused(reason, retryable=True)
        case _:
            assert_never(reply)
