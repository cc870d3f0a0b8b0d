"""One message of OTLP to a collector, over HTTP/1.1 or gRPC on a connection of its own, and what its answer means.

Connections are not kept: there is a request every few seconds, a collector behind a load balancer changes places, and what is not kept
cannot be stale. No proxy of the environment is used and no redirect is followed: headers may hold a credential for this address alone.
Failures are values, and none has a word of what was sent.

Source: https://opentelemetry.io/docs/specs/otlp/
"""

import errno
import gzip
import re
import ssl
from collections.abc import Awaitable, Callable
from typing import Final, final

import attrs
import h11
import trio

from exchanger import __version__
from exchanger.net.tls.client import client_tls_context
from exchanger.net.tls.key_pair import load_key_pair
from exchanger.net.why import why, why_unusable
from exchanger.telemetry.otlp.export import Accepted, Answer, Refused
from exchanger.telemetry.otlp.grpc_message import send_by_grpc
from exchanger.telemetry.otlp.settings import GZIP_LEVEL, Protocol, Target
from exchanger.util.address import tls_server_name

# Of a response's body; a usual one is empty, or a sentence on what was rejected.
MAX_ANSWER_BYTES: Final = 64 * 1024
# Of one read; a response fits.
RECEIVE_BYTES: Final = 4096

_SUCCESS: Final = range(200, 300)
_RETRYABLE: Final = frozenset({429, 502, 503, 504})  # https://opentelemetry.io/docs/specs/otlp/#failures-1
_RETRY_AFTER: Final = re.compile(r"[0-9]{1,6}", re.ASCII)

# Opens a TCP connection to a host and port, or raises ``OSError``.
Dial = Callable[[str, int], Awaitable[trio.abc.Stream]]


def tls_context(target: Target) -> ssl.SSLContext:
    """Return the context for connections to ``target``; see ``client_tls_context``. Reads files.

    Raises:
        OSError: a file cannot be read or used; see ``why_unusable``.
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
    dial: Dial = trio.open_tcp_stream
    _system_context: ssl.SSLContext | None = attrs.field(default=None, init=False)

    async def post(self, body: bytes) -> Answer:
        """Send ``body`` once; the caller bounds the time."""
        target = self.target
        try:
            context = self._context() if target.secure else None
        except OSError as error:
            return Refused(f"files of TLS: {why_unusable(error)}", retryable=True)
        stream: trio.abc.Stream | None = None
        try:
            stream = await self.dial(target.host, target.port)
            if context is not None:
                stream = trio.SSLStream(stream, context, server_hostname=tls_server_name(target.host), https_compatible=True)
            return await (send_by_grpc if target.protocol is Protocol.GRPC else _send_by_http)(stream, target, body)
        except ValueError:  # what no resolver and no TLS library takes for a name, and targets that are not text of HTTP
            return Refused("the address is not usable", retryable=False)
        except OSError as error:
            return Refused(f"cannot be reached: {why(error)}", retryable=True)
        except trio.BrokenResourceError as error:
            return Refused(why(error, "the collector"), retryable=not isinstance(error.__cause__, ssl.SSLCertVerificationError))
        finally:
            if stream is not None:
                await trio.aclose_forcefully(stream)

    def _context(self) -> ssl.SSLContext:
        if self.target.ca_file is not None or self.target.client_cert_file is not None:
            return tls_context(self.target)
        if self._system_context is None:
            self._system_context = tls_context(self.target)  # the trust store takes some 20 ms to read
        return self._system_context


async def _send_by_http(stream: trio.abc.Stream, target: Target, body: bytes) -> Answer:
    """Send ``body`` over HTTP/1.1 and return the answer (https://opentelemetry.io/docs/specs/otlp/#otlphttp).

    Raises:
        trio.BrokenResourceError: the connection broke.
    """
    try:
        request = _request(target, body)
    except h11.LocalProtocolError:
        return Refused("the headers that are set cannot be sent", retryable=False)
    await stream.send_all(request)
    return await _answer(stream)


def _request(target: Target, body: bytes) -> bytes:
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
    connection = h11.Connection(h11.CLIENT)
    events = (h11.Request(method="POST", target=target.path, headers=headers), h11.Data(data=body), h11.EndOfMessage())
    return b"".join(connection.send(event) or b"" for event in events)


async def _answer(stream: trio.abc.Stream) -> Answer:
    """Read the answer; the beginning of a body that is too long is enough."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="POST", target="/", headers=[("Host", "")]))
    connection.send(h11.EndOfMessage())
    head: h11.Response | None = None
    body, ended = bytearray(), False
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError:
            return Refused("the connection broke", retryable=True) if ended else Refused("the answer is not HTTP", retryable=False)
        if event is h11.NEED_DATA:
            data = bytes(await stream.receive_some(RECEIVE_BYTES))
            ended = not data
            connection.receive_data(data)
        elif isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        if head is not None and (isinstance(event, h11.EndOfMessage) or len(body) > MAX_ANSWER_BYTES):
            return _meaning(head, bytes(body))


def _meaning(head: h11.Response, body: bytes) -> Answer:
    if head.status_code in _SUCCESS:
        return Accepted(body)
    found = next((value.decode("latin-1") for name, value in head.headers if name == b"retry-after"), "")
    retry_after = float(found) if _RETRY_AFTER.fullmatch(found) else None
    return Refused(f"HTTP status {head.status_code}", head.status_code in _RETRYABLE, retry_after)
