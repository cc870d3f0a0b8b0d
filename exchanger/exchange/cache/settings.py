"""Operators' settings for the store that replicas share: TOKEN_CACHE_URL and related variables."""

import re
from pathlib import Path
from typing import Final, final

import attrs

from exchanger.util.address import is_dialable
from exchanger.util.text import printable

DEFAULT_NAMESPACE: Final = "exchanger"
_MAX_URL: Final = 1024
_DEFAULT_PORT: Final = 6379  # https://www.iana.org/assignments/service-names-port-numbers (redis)
_SECURE: Final = {"redis": False, "valkey": False, "rediss": True, "valkeys": True}
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_REST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?(?:/([0-9]{1,4})?)?")
_NAMESPACE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


@final
@attrs.frozen
class StoreAddress:
    """The address of the store. ``host`` is in lower case and without brackets; ``database`` is the one to select."""

    secure: bool
    host: str
    port: int
    database: int = 0


@final
@attrs.frozen
class SharedSettings:
    """The shared level. ``namespace`` names the deployment: only replicas with the same one, and a common key, share tokens."""

    address: StoreAddress
    key_file: Path
    namespace: str = DEFAULT_NAMESPACE
    username: str = ""
    password_file: Path | None = None
    ca_file: Path | None = None


def parse_store_url(text: str) -> StoreAddress:
    """Return the address in a URL such as ``rediss://cache.example.com:6379/0``.

    Credentials are not allowed in it: URLs end up in manifests and in the output of ``kubectl describe``.

    Raises:
        ValueError: it cannot be used. The message does not repeat the URL.
    """
    scheme = _SCHEME.match(text)
    if scheme is None or len(text) > _MAX_URL or scheme[1].lower() not in _SECURE:
        raise ValueError("must begin with redis://, rediss://, valkey:// or valkeys://")
    rest = text[scheme.end() :]
    if "@" in rest:
        raise ValueError("must not have a user or password; use TOKEN_CACHE_USERNAME and TOKEN_CACHE_PASSWORD_FILE")
    found = _REST.fullmatch(rest)
    if found is None:
        raise ValueError("must have a host, may have a port and a database number, and nothing else")
    host, port = found[1].strip("[]").lower(), int(found[2] or _DEFAULT_PORT)
    if not is_dialable(host, port):
        raise ValueError("has no usable host and port")
    return StoreAddress(_SECURE[scheme[1].lower()], host, port, int(found[3] or 0))


def parse_username(text: str) -> str:
    """Return the user name for the store.

    Raises:
        ValueError: it has characters that no user of a store can have.
    """
    if text != printable(text, len(text)) or not text.isascii() or " " in text:
        raise ValueError("must be visible ASCII characters without blanks")
    return text


def parse_namespace(text: str) -> str:
    """Return the name of the deployment, which is the beginning of each key in the store.

    Raises:
        ValueError: it is longer than 63 characters, or has characters other than letters, digits, dots, dashes and underscores.
    """
    if not _NAMESPACE.fullmatch(text):
        raise ValueError("must be 1 to 63 letters, digits, dots, dashes and underscores, and begin with a letter or digit")
    return text
