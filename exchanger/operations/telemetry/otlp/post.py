"""Sends one OTLP message to a collector, over HTTP/1.1 or gRPC on a separate connection, and interprets the answer.

Connections are not kept: there is a request every few seconds, a collector behind a load balancer moves, and a connection that is not kept
cannot be stale. No proxy of the environment is used and no redirect is followed: headers may hold a credential for this address alone.
Failures are values, and none quotes what was sent.

Source: https://opentelemetry.io/docs/specs/otlp/
"""

import errno
import gzip
import re
import ssl
from typing import Final, final

import attrs
import h11
import trio

from exchanger import __version__
from exchanger.net.error_text import describe_error, describe_unusable
from exchanger.net.network import SYSTEM
from exchanger.net.stream import Dial, ask, open_stream
from exchanger.net.tls.client import client_tls_context
from exchanger.net.tls.key_pair import load_key_pair
from exchanger.operations.telemetry.otlp.export import ExportAccepted, ExportRefused, ExportResult
from exchanger.operations.telemetry.otlp.grpc_message import send_by_grpc
from exchanger.operations.telemetry.otlp.settings import GZIP_LEVEL, Protocol, Target

# Of a response's body; a usual one is empty, or a sentence about rejected items.
MAX_ANSWER_BYTES: Final = 64 * 1024

_SUCCESS: Final = range(200, 300)
_RETRYABLE: Final = frozenset({429, 502, 503, 504})  # https://opentelemetry.io/docs/specs/otlp/#failures-1
_RETRY_AFTER: Final = re.compile(r"[0-9]{1,6}", re.ASCII)


def tls_context(target: Target) -> ssl.SSLContext:
    """Return the context for connections to ``target``; see ``client_tls_context``. Reads files.

    Raises:
        OSError: a file cannot be read or used; see ``describe_unusable``.
    """
    context = client_tls_context(ca_file=target.ca_file)
    if target.protocol is Protocol.GRPC:
        context.set_alpn_protocols(["h2"])  # as gRPC servers demand
    if target.client_cert_file is not None and (problem := load_key_pair(context, target.client_cert_file, target.client_key_file)):
        raise OSError(errno.EINVAL, problem)
    return context


@final
@attrs.define(eq=False)
class Poster:
    """Posts to one target. The files that it names are read again for each POST, so that a rotation needs no restart."""

    target: Target
    connect: Dial = SYSTEM.connect
    _system_context: ssl.SSLContext | None = attrs.field(default=None, init=False)

    async def post(self, body: bytes) -> ExportResult:
        """Send ``body`` once; the caller bounds the time."""
        target = self.target
        try:
            context = self._context() if target.secure else None
        except OSError as error:
            return ExportRefused(f"TLS files: {describe_unusable(error)}", retryable=True)
        stream: trio.abc.Stream | None = None
        try:
            stream = await open_stream(self.connect, target.host, target.port, context)
            return await (send_by_grpc if target.protocol is Protocol.GRPC else _send_by_http)(stream, target, body)
        except ValueError:  # what no resolver and no TLS library accepts as a name, and targets that are not text of HTTP
            return ExportRefused("the address is not usable", retryable=False)
        except OSError as error:
            return ExportRefused(f"cannot be reached: {describe_error(error)}", retryable=True)
        except trio.BrokenResourceError as error:
            return ExportRefused(
                describe_error(error, "the collector"), retryable=not isinstance(error.__cause__, ssl.SSLCertVerificationError)
            )
        finally:
            if stream is not None:
                await trio.aclose_forcefully(stream)

    def _context(self) -> ssl.SSLContext:
        if self.target.ca_file is not None or self.target.client_cert_file is not None:
            return tls_context(self.target)
        if self._system_context is None:
            self._system_context = tls_context(self.target)  # the trust store takes about 20 ms to read
        return self._system_context


async def _send_by_http(stream: trio.abc.Stream, target: Target, body: bytes) -> ExportResult:
    """Send ``body`` over HTTP/1.1 and return the answer (https://opentelemetry.io/docs/specs/otlp/#otlphttp).

    Raises:
        trio.BrokenResourceError: the connection broke.
    """
    headers = [
        ("Host", target.authority),
        ("Content-Type", "application/x-protobuf"),
        ("Connection", "close"),
        *((name, value.reveal()) for name, value in target.headers),
    ]
    if not any(name.lower() == "user-agent" for name, _ in target.headers):  # there is one at most (RFC 9110 section 10.1.5)
        headers.append(("User-Agent", f"exchanger/{__version__}"))
    if target.gzip:
        body = gzip.compress(body, GZIP_LEVEL)
        headers.append(("Content-Encoding", "gzip"))
    headers.append(("Content-Length", str(len(body))))
    try:
        request = h11.Request(method="POST", target=target.path, headers=headers)
        return _meaning(*await ask(stream, request, body, MAX_ANSWER_BYTES))
    except h11.LocalProtocolError:
        return ExportRefused("the configured headers cannot be sent", retryable=False)
    except h11.RemoteProtocolError:
        return ExportRefused("the answer is not HTTP", retryable=False)


def _meaning(head: h11.Response, body: bytes) -> ExportResult:
    if head.status_code in _SUCCESS:
        return ExportAccepted(body)
    found = next((value.decode("latin-1") for name, value in head.headers if name == b"retry-after"), "")
    retry_after = float(found) if _RETRY_AFTER.fullmatch(found) else None
    return ExportRefused(f"HTTP status {head.status_code}", head.status_code in _RETRYABLE, retry_after)
