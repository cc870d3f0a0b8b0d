"""One message of OTLP to a collector, over HTTP/1.1 or gRPC on a connection of its own, and what its answer means.

Connections are not kept: there is a request every few seconds, a collector behind a load balancer changes places, and what is not kept
cannot be stale. No proxy of the environment is used and no redirect is followed: headers may hold a credential for this address alone.
Whatever goes wrong is a value. Must not know: what is sent, or when to try again.

Source: https://opentelemetry.io/docs/specs/otlp/
"""

import errno
import os
import ssl
from collections.abc import Awaitable, Callable
from typing import Never, final

import attrs
import trio

from exchanger.telemetry.otlp.answer import Answer, Refused
from exchanger.telemetry.otlp.grpc_message import send_by_grpc
from exchanger.telemetry.otlp.http_message import send_by_http
from exchanger.telemetry.otlp.settings import Protocol, Target
from exchanger.util.address import tls_server_name

Dial = Callable[[str, int], Awaitable[trio.abc.Stream]]
"""Opens a TCP connection to a host and port, or raises ``OSError``."""


def tls_context(target: Target) -> ssl.SSLContext:
    """Return the context for connections to ``target``; certificate and name are verified, and TLS 1.2 is the least. Reads files.

    Raises:
        OSError: a file cannot be read, or is not what it should be (``ssl.SSLError`` is one), or is an encrypted key.
    """
    context = ssl.create_default_context(cafile=None if target.ca_file is None else str(target.ca_file))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if target.protocol is Protocol.GRPC:
        context.set_alpn_protocols(["h2"])  # as gRPC servers demand
    # SSLKEYLOGFILE in the environment would write down the keys to the headers. (The stub does not know that it can be unset.)
    context.keylog_filename = None  # type: ignore[assignment]
    if target.client_cert_file is not None:
        key_file = target.client_key_file or target.client_cert_file

        def no_password() -> Never:
            # Without this, OpenSSL would ask whoever sits at the terminal, and the event loop would wait for the answer.
            raise PermissionError(errno.EACCES, f"the key in {key_file} is encrypted: it must be given without a password")

        context.load_cert_chain(target.client_cert_file, target.client_key_file, no_password)
    return context


def files_reason(error: OSError) -> str:
    """Return in words why ``tls_context`` raised ``error``."""
    return error.strerror or type(error).__name__


@final
@attrs.frozen
class PosterStatistics:
    """``posted``: attempts since the start."""

    posted: int


@final
@attrs.define(eq=False)
class Poster:
    """Posts to one target. The files that it names are read again for each POST, so that a rotation needs no restart."""

    target: Target
    dial: Dial = trio.open_tcp_stream
    _system_context: ssl.SSLContext | None = attrs.field(default=None, init=False)
    _posted: int = attrs.field(default=0, init=False)

    async def post(self, body: bytes) -> Answer:
        """Send ``body`` once; the caller bounds the time."""
        self._posted += 1
        target = self.target
        try:
            context = self._context() if target.secure else None
        except OSError as error:
            return Refused(f"files of TLS: {files_reason(error)}", retryable=True)
        stream: trio.abc.Stream | None = None
        try:
            stream = await self.dial(target.host, target.port)
            if context is not None:
                stream = trio.SSLStream(stream, context, server_hostname=tls_server_name(target.host), https_compatible=True)
            return await (send_by_grpc if target.protocol is Protocol.GRPC else send_by_http)(stream, target, body)
        except ValueError:  # what no resolver and no TLS library takes for a name, and targets that are no text of HTTP
            return Refused("the address is not usable", retryable=False)
        except OSError as error:
            return Refused(f"cannot be reached: {_os_reason(error)}", retryable=True)
        except trio.BrokenResourceError as error:
            cause = error.__cause__
            if isinstance(cause, ssl.SSLError):
                return Refused(f"TLS: {_tls_reason(cause)}", retryable=not isinstance(cause, ssl.SSLCertVerificationError))
            return Refused("the connection broke", retryable=True)
        finally:
            if stream is not None:
                await trio.aclose_forcefully(stream)

    def statistics(self) -> PosterStatistics:
        """Tell how much was sent."""
        return PosterStatistics(self._posted)

    def _context(self) -> ssl.SSLContext:
        if self.target.ca_file is not None or self.target.client_cert_file is not None:
            return tls_context(self.target)
        if self._system_context is None:
            self._system_context = tls_context(self.target)  # the trust store takes some 20 ms to read
        return self._system_context


def _os_reason(error: OSError) -> str:
    """Return what the system calls it; Trio keeps that in the cause, of each address that was tried where there were several."""
    cause = error.__cause__
    causes = cause.exceptions if isinstance(cause, BaseExceptionGroup) else (cause,)
    number = next((one.errno for one in (error, *causes) if isinstance(one, OSError) and one.errno), None)
    if number is None or number < 0 or isinstance(error, ssl.SSLError):  # a resolver's and OpenSSL's numbers are their own
        return error.strerror or type(error).__name__
    return os.strerror(number)


def _tls_reason(error: ssl.SSLError) -> str:
    return getattr(error, "verify_message", "") or error.reason or type(error).__name__
