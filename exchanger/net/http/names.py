"""The name that a request addresses, and whether only this server can have it (DNS rebinding). Pure and total.

A browser sends any page's requests to a name that resolves to this address, so the name must be one that only this server has.

Source: RFC 9110 section 7.2 (https://www.rfc-editor.org/rfc/rfc9110#section-7.2).
"""

import re
from ipaddress import IPv4Address, ip_address
from typing import Final, final

import attrs

from exchanger.model.authority import normalise_policy_host, read_authority

LOCALHOST: Final = "localhost"

_PORT: Final = re.compile(r"[0-9]{0,5}", re.ASCII)
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}


@final
@attrs.frozen
class Authority:
    """Host in canonical form, and port as written ("" for the scheme's default)."""

    host: str
    port: str

    def is_of(self, other: "Authority", scheme: str) -> bool:
        """Return whether both are the same for ``scheme``."""
        default = _DEFAULT_PORTS[scheme]
        return self.host == other.host and (self.port or default) == (other.port or default)


def read_host(text: str) -> Authority | None:
    """Return the authority in ``text``, or ``None`` if it is not one."""
    host = read_authority(text)
    if not host or text != text.strip():
        return None
    _, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        return Authority(host, "")
    return Authority(host, port) if _PORT.fullmatch(port) else None


def is_ours(host: str, names: frozenset[str]) -> bool:
    """Return whether only this server can have the name ``host``.

    An address literal qualifies: a page that was loaded from it was loaded from here.
    """
    return host == LOCALHOST or _is_literal(host) or host in names


def names_of(host: str, hosts: frozenset[str]) -> frozenset[str]:
    """Return the names of a server on ``host``, ``hosts`` included."""
    own = normalise_policy_host(host)
    return hosts | {own} if own else hosts


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches what listens on ``host``: ``localhost``, or an address literal of the loopback network."""
    if host.lower() == LOCALHOST:
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _is_literal(host: str) -> bool:
    try:
        address = ip_address(host[1:-1] if host.startswith("[") else host)
    except ValueError:
        return False
    return isinstance(address, IPv4Address) != host.startswith("[")
