"""Which hosts and ports a connection can be opened to. Must not know: how connections are made, or to whom."""

import re
from ipaddress import ip_address
from typing import Final

# RFC 1123 section 2.1 (https://www.rfc-editor.org/rfc/rfc1123#section-2.1), and the underscore that container networks allow.
_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST_NAME: Final = re.compile(rf"(?=.{{1,254}}\Z){_LABEL}(?:\.{_LABEL})*\.?")
_PORTS: Final = range(1, 65_536)


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
