"""``exchanger health``: checks a gRPC health service once and prints its status. Exits with 0 for SERVING, 1 for anything else.

For exec probes and for tests after an installation; Kubernetes' own gRPC probes do not need it. Exits with 2 for a wrong option or an
unusable file. ``--timeout`` bounds the wait. Source: https://github.com/grpc/grpc/blob/master/doc/health-checking.md
"""

import ssl
import sys
from typing import Final, assert_never

import trio
from google.protobuf.message import DecodeError

from exchanger._proto.grpc.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from exchanger.commands.health.options import HealthOptions
from exchanger.model.errors import ConfigurationError
from exchanger.net.error_text import describe_error, describe_unusable
from exchanger.net.grpc.client import CallAnswered, CallBroken, CallRefused, Reply, UnaryCall, exchange
from exchanger.net.grpc.status import StatusCode
from exchanger.net.network import SYSTEM
from exchanger.net.stream import open_stream
from exchanger.net.tls.client import client_tls_context
from exchanger.net.tls.key_pair import load_key_pair
from exchanger.util.address import format_address
from exchanger.util.text import printable

METHOD: Final = "/grpc.health.v1.Health/Check"
SERVING: Final = 0
NOT_SERVING: Final = 1
USAGE: Final = 2


async def run_health(options: HealthOptions) -> int:
    """Check once, print the status, and return the exit status."""
    try:
        context = tls_context(options) if options.tls else None
    except ConfigurationError as error:
        for problem in error.problems:
            sys.stderr.write(f"exchanger health: {problem}\n")
        return USAGE
    word, reason = status_of(await ask(options, context))
    if reason:
        sys.stderr.write(f"exchanger health: {format_address(*options.address)}: {reason}\n")
    if word:
        sys.stdout.write(f"{word}\n")
    return SERVING if word == "SERVING" else NOT_SERVING


async def ask(options: HealthOptions, context: ssl.SSLContext | None) -> Reply:
    """Check the service, over TLS if there is a ``context``. A failure to get an answer is a reply too."""
    host, port = options.address
    try:
        with trio.fail_after(options.timeout):
            async with await open_stream(SYSTEM.connect, host, port, context, options.server_name) as stream:
                if isinstance(stream, trio.SSLStream) and stream.selected_alpn_protocol() != "h2":
                    return CallBroken("no h2 in ALPN: TLS, but no gRPC")
                return await _call(stream, options)
    except trio.TooSlowError:
        return CallBroken(f"no answer within {options.timeout:g} s")
    except trio.BrokenResourceError as error:
        return CallBroken(describe_error(error))
    except OSError as error:
        return CallBroken(f"no connection: {describe_error(error)}")


async def _call(stream: trio.abc.Stream, options: HealthOptions) -> Reply:
    host, port = options.address
    authority = format_address(options.server_name or host, port)
    scheme = "https" if options.tls else "http"
    message = HealthCheckRequest(service=options.service).SerializeToString()
    return await exchange(stream, UnaryCall(METHOD, message, authority, scheme, options.timeout))


def status_of(reply: Reply) -> tuple[str, str]:
    """Return the status in the protocol's word, "" without one, and the reason why it is not SERVING, if known."""
    match reply:
        case CallAnswered(message):
            try:
                return HealthCheckResponse.ServingStatus.Name(HealthCheckResponse.FromString(message).status), ""
            except (DecodeError, ValueError):
                return "", "the response is not a health status"
        case CallRefused(StatusCode.NOT_FOUND, _):
            return "SERVICE_UNKNOWN", "the server does not know this service"
        case CallRefused(status, text):
            return "", f"{status.name}: {printable(text)}" if text else status.name
        case CallBroken(reason):
            return "", reason
        case _:
            assert_never(reply)


def tls_context(options: HealthOptions) -> ssl.SSLContext:
    """Return the TLS settings.

    Raises:
        ConfigurationError: a file cannot be used.
    """
    if problems := options.problems():
        raise ConfigurationError(problems)
    try:
        context = client_tls_context(ca_file=options.ca_file or options.pinned)
    except OSError as error:
        named = f"--ca-file {options.ca_file}" if options.ca_file else f"GRPC_TLS_CERT_FILE {options.pinned}"
        raise ConfigurationError((f"{named}: {describe_unusable(error)}",)) from None
    if options.pinned is not None:
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # a self-signed certificate may lack what an authority's needs
    context.set_alpn_protocols(["h2"])
    if options.cert_file:
        try:
            problem = load_key_pair(context, options.cert_file, options.key_file)
        except OSError as error:
            problem = describe_unusable(error)
        if problem:
            raise ConfigurationError((f"--cert-file, --key-file: {problem}",))
    return context
