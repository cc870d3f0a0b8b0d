"""New connections to token endpoints: TCP, and TLS that proves whom we talk to, each within its own bound.

Knows nothing of pools, requests or tokens. That an endpoint cannot be reached is a value.
"""

import contextlib
import re
import ssl
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from typing import Final, final

import attrs
import trio

from exchanger.oauth.http1 import Bounds, Http1Connection, close_at_once
from exchanger.oauth.tls_records import Records, has_pending, is_readable
from exchanger.values.server_name import tls_server_name

# RFC 1123 section 2.1 (https://www.rfc-editor.org/rfc/rfc1123#section-2.1), and the underscore that container networks allow.
_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST_NAME: Final = re.compile(rf"(?=.{{1,254}}\Z){_LABEL}(?:\.{_LABEL})*\.?")
_PORTS: Final = range(1, 65_536)

Dial = Callable[[str, int], Awaitable[trio.abc.Stream]]
"""Opens a TCP connection to a host and port, or raises ``OSError``."""


@final
@attrs.frozen
class Origin:
    """Where connections go: equal origins may share one. ``host`` is an A-label or an address, without brackets."""

    secure: bool
    host: str
    port: int


def is_dialable(host: str, port: int) -> bool:
    """Return whether ``host`` is a name in A-labels or an IP address without a zone, and ``port`` one to connect to.

    What passes here makes neither the resolver nor the TLS library raise anything but ``OSError``.
    """
    if port not in _PORTS:
        return False
    if _HOST_NAME.fullmatch(host):
        return True
    try:
        ip_address(host)
    except ValueError:
        return False
    return "%" not in host


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

    A name is looked up in a worker thread that nothing can interrupt; when the bound is reached first, that thread is left to end by the
    resolver's own timeout.
    """
    bounds.begin(bounds.limits.dial)
    try:
        plain = await dial(origin.host, origin.port)
    except OSError:
        return None
    if not origin.secure:
        bounds.end()
        return Http1Connection(plain, lambda: is_readable(plain))
    records = Records(plain)
    stream = await _secured(records, origin.host, bounds, tls)
    if stream is None:
        return None
    bounds.end()
    return Http1Connection(stream, lambda: has_pending(records, stream), lambda: records.is_only_tls(stream))


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
