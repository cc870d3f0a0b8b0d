"""Selects the proxy for an endpoint if the environment names proxies: the rules of HTTPS_PROXY, HTTP_PROXY and NO_PROXY.

They are those of Go's programs (https://pkg.go.dev/golang.org/x/net/http/httpproxy#Config), except that the dot at the end of an absolute
name makes no difference. Pure: knows neither connections nor variables.
"""

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, Self, assert_never, final

import attrs

from exchanger.model.proxy import Proxy

_CIDR: Final = re.compile(r"[0-9a-f:.]+/[0-9]{1,3}")

# Bits before an IPv4 address that is mapped into IPv6 (RFC 4291 section 2.5.5.2).
_MAPPED_BITS: Final = 96
_WITH_PORT: Final = re.compile(r"(\[[^\[\]]*\]|[^\[\]:]*):([^:]*)")

Address = IPv4Address | IPv6Address


@final
@attrs.frozen
class _Everything:
    """``*``."""


@final
@attrs.frozen
class _Domain:
    """A name and everything below it; ``port`` "" is any."""

    name: str
    port: str
    only_below: bool


@final
@attrs.frozen
class _Host:
    """One address; ``port`` "" is any."""

    address: Address
    port: str


@final
@attrs.frozen
class _Network:
    network: IPv4Network | IPv6Network


_Exception = _Everything | _Domain | _Host | _Network


@final
@attrs.frozen
class NoProxy:
    """The hosts that are reached without a proxy: the list in NO_PROXY, and always this machine itself."""

    _exceptions: tuple[_Exception, ...] = ()

    @classmethod
    def of(cls, text: str) -> Self:
        """Read a comma-separated list; unreadable items match nothing. Total.

        ``example.com`` matches the name and everything below it, ``.example.com`` and ``*.example.com`` only what is below it. An address
        matches itself, ``10.0.0.0/8`` a network, and ``*`` everything. All but networks may have a port.
        """
        found = (_exception(item.strip().lower()) for item in text.split(","))
        return cls(tuple(exception for exception in found if exception is not None))

    def covers(self, host: str, port: int) -> bool:
        """Return whether ``host``, a name or an address without brackets, is reached without a proxy."""
        name = host.lower().removesuffix(".")
        address = _address(name)
        if name == "localhost" or (address is not None and address.is_loopback):
            return True
        return any(_matches(exception, name, address, str(port)) for exception in self._exceptions)


@final
@attrs.frozen
class EnvironmentProxies:
    """The proxies for https and for http endpoints, and the hosts that are reached without them."""

    https: Proxy | None = None
    http: Proxy | None = None
    no_proxy: NoProxy = NoProxy()

    def proxy_for(self, host: str, port: int, *, secure: bool) -> Proxy | None:
        """Return the proxy that leads to an endpoint, ``None`` if it is reached without one."""
        proxy = self.https if secure else self.http
        return None if proxy is None or self.no_proxy.covers(host, port) else proxy


def _exception(item: str) -> _Exception | None:
    if item == "*":
        return _Everything()
    if _CIDR.fullmatch(item):
        try:
            return _Network(_network(item))
        except ValueError:
            return None
    with_port = _WITH_PORT.fullmatch(item)
    host, port = (with_port[1].removeprefix("[").removesuffix("]"), with_port[2]) if with_port is not None else (item, "")
    address = _address(host)
    if address is not None:
        return _Host(address, port)
    below = host[1:] if host.startswith("*.") else host
    name = _ascii(below.removeprefix(".").removesuffix("."))
    return _Domain(name, port, only_below=below.startswith(".")) if name else None


def _matches(exception: _Exception, name: str, address: Address | None, port: str) -> bool:
    match exception:
        case _Everything():
            return True
        case _Domain():
            inside = name.endswith(f".{exception.name}") or (not exception.only_below and name == exception.name)
            return inside and exception.port in ("", port)
        case _Host():
            return address == exception.address and exception.port in ("", port)
        case _Network():
            return address is not None and address in exception.network
        case _:
            assert_never(exception)


def _address(text: str) -> Address | None:
    """Return the address in ``text``; an IPv4 address that is mapped into IPv6 is returned as that IPv4 address."""
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found


def _network(text: str) -> IPv4Network | IPv6Network:
    """Return the network in ``text``, or raise ``ValueError``; as with addresses, an IPv4-mapped one is IPv4."""
    found = ip_network(text, strict=False)
    mapped = found.network_address.ipv4_mapped if isinstance(found, IPv6Network) else None
    return found if mapped is None or found.prefixlen < _MAPPED_BITS else IPv4Network((mapped, found.prefixlen - _MAPPED_BITS))


def _ascii(name: str) -> str:
    """Return a domain in A-labels, like the names of endpoints, where that is possible."""
    if name.isascii():
        return name
    try:
        return name.encode("idna").decode("ascii")
    except UnicodeError:
        return name
