"""New connections to token endpoints: TCP, a proxy's tunnel, and TLS that proves whom we talk to, each within its own bound.

Knows nothing of pools, requests or tokens. That an endpoint cannot be reached is a value.
"""

import contextlib
import ssl
from collections.abc import Awaitable, Callable
from typing import final

import attrs
import trio

from exchanger.oauth.http1 import Bounds, Http1Connection, close_at_once
from exchanger.oauth.tls_records import Records, has_pending, is_readable
from exchanger.oauth.tunnel import open_tunnel
from exchanger.util.address import tls_server_name
from exchanger.values.proxy import Proxy

Dial = Callable[[str, int], Awaitable[trio.abc.Stream]]
"""Opens a TCP connection to a host and port, or raises ``OSError``."""


@final
@attrs.frozen
class Origin:
    """Where connections go, and by which proxy: equal origins may share one. ``host`` is an A-label or an address, without brackets."""

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
    """Return a new connection; ``None`` if ``origin`` cannot be reached or does not prove who it is.

    The same holds for its proxy, which learns host and port of the endpoint, and for https nothing else: TLS with the endpoint runs inside
    the tunnel. A name is looked up in a worker thread that nothing can interrupt; when the bound is reached first, that thread is left to
    end by the resolver's own timeout.
    """
    plain = await _reach(origin, bounds, tls, dial)
    if plain is None:
        return None
    # What waits in the layers of two TLS sessions cannot be told apart, so a connection by way of an https proxy carries one exchange.
    nested = origin.proxy is not None and origin.proxy.secure
    if not origin.secure:
        bounds.end()
        return Http1Connection(plain, lambda: nested or is_readable(plain))
    records = Records(plain)
    stream = await _secured(records, origin.host, bounds, tls)
    if stream is None:
        return None
    bounds.end()
    if nested:
        return Http1Connection(stream, lambda: True)
    return Http1Connection(stream, lambda: has_pending(records, stream), lambda: records.is_only_tls(stream))


async def _reach(origin: Origin, bounds: Bounds, tls: ssl.SSLContext, dial: Dial) -> trio.abc.Stream | None:
    """Return a stream whose other end is ``origin``; ``None`` if it cannot be reached."""
    proxy = origin.proxy
    bounds.begin(bounds.limits.dial)
    try:
        stream = await dial(origin.host, origin.port) if proxy is None else await dial(proxy.host, proxy.port)
    except OSError:
        return None
    if proxy is None:
        return stream
    if proxy.secure:
        secured = await _secured(Records(stream), proxy.host, bounds, tls)
        if secured is None:
            return None
        stream = secured
        bounds.begin(bounds.limits.dial)
    return stream if await open_tunnel(stream, origin.host, origin.port, proxy.credentials) else None


async def _secured(records: Records, host: str, bounds: Bounds, tls: ssl.SSLContext) -> "trio.SSLStream[Records] | None":
    bounds.begin(bounds.limits.tls_handshake)
    secured: trio.SSLStream[Records] | None = None
    try:
        stream = trio.SSLStream(records, tls, server_hostname=tls_server_name(host), https_compatible=True)
        with contextlib.suppress(trio.BrokenResourceError):
            await stream.do_handshake()
            secured = stream
    finally:
        if secured is None:
            await close_at_once(records)
    return secured
