"""Host names, addresses and ports: ``HOST:PORT`` as text, which addresses can be dialled, and the name of a TLS server.

Must not know: how connections are made, or to whom.
"""

import re
from ipaddress import ip_address
from typing import Final

_PORTS: Final = range(1, 65_536)
# RFC 1123 section 2.1 (https://www.rfc-editor.org/rfc/rfc1123#section-2.1), and the underscore that container networks allow.
_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST_NAME: Final = re.compile(rf"(?=.{{1,254}}\Z){_LABEL}(?:\.{_LABEL})*\.?")


def parse_address(text: str) -> tuple[str, int]:
    """Return host ("" if there is none) and port of ``host:port``, ``[IPv6 address]:port`` or ``:port``; 0 is a valid port here.

    Raises:
        ValueError: it is none of these
    """
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if bracketed:
        host = host[1:-1]
    digits = port.isascii() and port.isdigit()
    if not colon or (":" in host) != bracketed or "[" in host or not digits or int(port) >= _PORTS.stop:
        raise ValueError("must be HOST:PORT, such as 127.0.0.1:3001, [::1]:3001 or :3001")
    return host, int(port)


def format_address(host: str, port: int) -> str:
    """Return what ``parse_address`` reads; no host is ``*``."""
    return f"[{host}]:{port}" if ":" in host else f"{host or '*'}:{port}"


def is_dialable(host: str, port: int) -> bool:
    """Return whether ``host`` is a name in A-labels or an IP address without a zone, and ``port`` one to connect to.

    For anything that passes, the resolver and the TLS library raise nothing but ``OSError``.
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


def tls_server_name(host: str) -> str:
    """Return the name for SNI and for the server's certificate: ``host`` without the final dot of an absolute name.

    Neither has that dot (RFC 6066 section 3, https://www.rfc-editor.org/rfc/rfc6066#section-3; RFC 5280 section 4.2.1.6). Only the resolver
    uses it, and gets the name as written.
    """
    return host.removesuffix(".")
