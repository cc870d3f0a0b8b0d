"""New connections to token endpoints: TCP, a proxy's tunnel, and TLS with verification, each within its own bound.

Knows nothing of pools, requests or tokens. That an endpoint cannot be reached is a value: h11's messages quote headers.
"""

import os
import socket
import ssl
from base64 import b64encode
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final, final

import attrs
import h11
import trio

from exchanger.errors import leaves
from exchanger.oauth.http1 import Bounds, Http1Connection, close_at_once
from exchanger.oauth.tls_records import Records, has_pending, is_readable
from exchanger.util.address import tls_server_name
from exchanger.values.proxy import Proxy
from exchanger.values.secret import Secret

# Bytes of a proxy's answer that are read, interim responses included. A usual one has less than 200.
MAX_PROXY_ANSWER_BYTES: Final = 8 * 1024

# So that an answer in single bytes costs nothing to speak of. A usual one comes in one read.
_MAX_READS: Final = 64

# Opens a TCP connection to a host and port, or raises ``OSError``.
Dial = Callable[[str, int], Awaitable[trio.abc.Stream]]


@final
@attrs.frozen
class Origin:
    """Where connections go, and via which proxy. Equal origins may share one. ``host`` is an A-label or an address, without brackets."""

    secure: bool
    host: str
    port: int
    proxy: Proxy | None = None


def client_tls_context() -> ssl.SSLContext:
    """Return the context for token endpoints: the system's trust store, or SSL_CERT_FILE and SSL_CERT_DIR as OpenSSL reads them.

    Reads files. Certificate and name are verified, and TLS 1.2 is the least (RFC 9325 section 3.1.1,
    https://www.rfc-editor.org/rfc/rfc9325#section-3.1.1).
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    # SSLKEYLOGFILE in the environment would write down the keys to every token that passes. (The stub does not know that it can be unset.)
    context.keylog_filename = None  # type: ignore[assignment]
    return context


async def connect(origin: Origin, bounds: Bounds, *, tls: ssl.SSLContext, dial: Dial) -> Http1Connection | None:
    """Return a new connection; ``None`` if ``origin`` or its proxy cannot be reached or does not prove who it is.

    The proxy learns the endpoint's host and port, and for https nothing else: TLS with the endpoint runs inside the tunnel. Names are
    looked up in a worker thread that cannot be interrupted; past the bound, it is left to the resolver's own timeout.
    """
    plain = await _reach(origin, bounds, tls, dial)
    if plain is None:
        return None
    # What waits in the layers of two TLS sessions cannot be told apart, so a connection via an https proxy carries one exchange.
    nested = origin.proxy is not None and origin.proxy.secure
    if not origin.secure:
        bounds.end()
        return Http1Connection(plain, lambda: nested or is_readable(plain))
    records = Records(plain)
    stream = await _secured(records, origin.host, bounds, tls, "the token endpoint")
    if stream is None:
        return None
    bounds.end()
    if nested:
        return Http1Connection(stream, lambda: True)
    return Http1Connection(stream, lambda: has_pending(records, stream), lambda: records.is_only_tls(stream))


async def _reach(origin: Origin, bounds: Bounds, tls: ssl.SSLContext, dial: Dial) -> trio.abc.Stream | None:
    """Return a stream whose other end is ``origin``; ``None`` if it cannot be reached."""
    proxy = origin.proxy
    bounds.begin(bounds.limits.dial, "connecting" if proxy is None else "connecting to the proxy")
    try:
        stream = await dial(origin.host, origin.port) if proxy is None else await dial(proxy.host, proxy.port)
    except OSError as error:
        bounds.failure = f"{bounds.phase} failed: {_wrong_with_dial(error)}"
        return None
    if proxy is None:
        return stream
    if proxy.secure:
        secured = await _secured(Records(stream), proxy.host, bounds, tls, "the proxy")
        if secured is None:
            return None
        stream = secured
        bounds.begin(bounds.limits.dial, "waiting for the proxy's tunnel")
    if await open_tunnel(stream, origin.host, origin.port, proxy.credentials):
        return stream
    bounds.failure = "the proxy refused the tunnel"
    return None


async def _secured(records: Records, host: str, bounds: Bounds, tls: ssl.SSLContext, peer: str) -> "trio.SSLStream[Records] | None":
    bounds.begin(bounds.limits.tls_handshake, f"in the TLS handshake with {peer}")
    secured: trio.SSLStream[Records] | None = None
    try:
        stream = trio.SSLStream(records, tls, server_hostname=tls_server_name(host), https_compatible=True)
        await stream.do_handshake()
        secured = stream
    except trio.BrokenResourceError as error:
        bounds.failure = _wrong_with_tls(error.__cause__, peer)
    finally:
        if secured is None:
            await close_at_once(records)
    return secured


def _wrong_with_dial(error: OSError) -> str:
    """Say in the system's words why no address of a host took the connection, each reason once."""
    if isinstance(error, socket.gaierror):
        return f"the name cannot be resolved ({error.strerror})"
    errors = leaves(error.__cause__) if error.__cause__ is not None else [error]
    numbers = dict.fromkeys(one.errno for one in errors if isinstance(one, OSError))
    return ", ".join(os.strerror(number) for number in numbers if number is not None) or "no address answers"


def _wrong_with_tls(error: BaseException | None, peer: str) -> str:
    """Say in OpenSSL's words why there is no TLS session: these quote nothing but our own name for the peer."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate of {peer} is refused: {error.verify_message}"
    reason = error.reason if isinstance(error, ssl.SSLError) else None
    return f"no TLS with {peer}: {reason or 'the connection ended'}"


async def open_tunnel(stream: trio.abc.Stream, host: str, port: int, credentials: Secret) -> bool:
    """Ask the proxy at the other end of ``stream`` for a tunnel to ``host`` and ``port``, and return whether ``stream`` leads there now.

    This is CONNECT (RFC 9110 section 9.3.6, https://www.rfc-editor.org/rfc/rfc9110#section-9.3.6). The proxy learns host, port and its own
    credentials. Its answer is read to the last byte, so that nothing of it can be taken for the endpoint's. Without a tunnel, ``stream`` is
    closed, also when cancelled; the time is the caller's to bound.
    """
    opened = False
    try:
        opened = await _ask(stream, f"[{host}]:{port}" if ":" in host else f"{host}:{port}", credentials.reveal())
    except (h11.ProtocolError, trio.BrokenResourceError):
        pass
    finally:
        if not opened:
            await close_at_once(stream)
    return opened


async def _ask(stream: trio.abc.Stream, authority: str, credentials: str) -> bool:
    codec = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_PROXY_ANSWER_BYTES)
    headers = [("Host", authority), ("User-Agent", "exchanger")]
    if credentials:
        headers.append(("Proxy-Authorization", f"Basic {b64encode(credentials.encode()).decode()}"))
    head = codec.send(h11.Request(method="CONNECT", target=authority, headers=headers)) or b""
    codec.send(h11.EndOfMessage())
    await stream.send_all(head)
    room = MAX_PROXY_ANSWER_BYTES
    for _ in range(_MAX_READS):
        data = await stream.receive_some(room)
        codec.receive_data(bytes(data))
        room -= len(data)
        while isinstance(event := codec.next_event(), h11.InformationalResponse):
            pass
        if event is not h11.NEED_DATA:
            # Bytes behind the head are nobody's: the endpoint was not asked anything yet.
            return isinstance(event, h11.Response) and _is_success(event.status_code) and codec.trailing_data == (b"", False)
        if not room:
            break
    return False


def _is_success(status: int) -> bool:
    return HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES
