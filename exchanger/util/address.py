"""``HOST:PORT`` on a command line.

Must not know: whether the address is to be listened on or to be asked.
"""

from typing import Final

_MAX_PORT: Final = 65_535


def parse_address(text: str) -> tuple[str, int]:
    """Return host ("" when there is none) and port of ``host:port``, ``[IPv6 address]:port`` or ``:port``.

    Raises:
        ValueError: it is none of these.
    """
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if bracketed:
        host = host[1:-1]
    digits = port.isascii() and port.isdigit()
    if not colon or (":" in host) != bracketed or "[" in host or not digits or int(port) > _MAX_PORT:
        raise ValueError("must be HOST:PORT, such as 127.0.0.1:3001, [::1]:3001 or :3001")
    return host, int(port)


def format_address(host: str, port: int) -> str:
    """Return what ``parse_address`` reads; no host is ``*``."""
    return f"[{host}]:{port}" if ":" in host else f"{host or '*'}:{port}"
