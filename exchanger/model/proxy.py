"""HTTP proxies: what their URLs say.

Must not know: how connections are made, or which endpoints they lead to.
"""

import re
from typing import Final, final
from urllib.parse import unquote

import attrs

from exchanger.model.secret import Secret
from exchanger.util.address import is_dialable

_MAX_URL: Final = 4096
_URL: Final = re.compile(r"(?i:(http|https))://(?:([^@/?#\\\s]*)@)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{0,5}))?/?")
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_ESCAPES: Final = re.compile(r"(?:[^%]|%[0-9A-Fa-f]{2})*")
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f]")


@final
@attrs.frozen
class Proxy:
    """A proxy that opens tunnels (CONNECT), over TLS if ``secure``. ``host`` is in lower case and without brackets.

    ``credentials`` is user name and password with a colon between them, or "".
    """

    secure: bool
    host: str
    port: int
    credentials: Secret = attrs.field(default=Secret(""))


@final
@attrs.frozen
class ProxyProblem:
    """Why a proxy's URL is not usable, in words that follow its name, without the URL, which may contain a password."""

    reason: str


def read_proxy(text: str) -> Proxy | ProxyProblem:
    """Read the URL of a proxy: scheme (http or https), optional user information, host, and optional port."""
    scheme = _SCHEME.match(text)
    if scheme is None or len(text) > _MAX_URL:
        return ProxyProblem("is not a URL such as http://proxy.example.com:3128")
    if scheme[1].lower() not in ("http", "https"):
        return ProxyProblem("must begin with http:// or https://; no other kind of proxy is supported")
    found = _URL.fullmatch(text)
    if found is None:
        return ProxyProblem("must have a host, may have a user, a password and a port, and nothing else; escape special characters with %")
    secure = found[1].lower() == "https"
    host = found[3].strip("[]").lower()
    port = int(found[4] or (443 if secure else 80))
    if not is_dialable(host, port):
        return ProxyProblem("has no usable host and port")
    credentials = _credentials(found[2] or "")
    return credentials if isinstance(credentials, ProxyProblem) else Proxy(secure, host, port, credentials)


def _credentials(user_information: str) -> Secret | ProxyProblem:
    """Read user name and password, as Basic has them (RFC 7617 section 2, https://www.rfc-editor.org/rfc/rfc7617#section-2)."""
    if not user_information:
        return Secret("")
    name, _, password = user_information.partition(":")
    if not _ESCAPES.fullmatch(user_information):
        return ProxyProblem("has a % in its user or password that does not begin an escape; write %25")
    try:
        name, password = unquote(name, errors="strict"), unquote(password, errors="strict")
        f"{name}{password}".encode()
    except UnicodeError:
        return ProxyProblem("has a user or password that is not UTF-8")
    if ":" in name:
        return ProxyProblem("has a colon in its user name, which Basic authentication cannot carry")
    if _CONTROLS.search(name + password):
        return ProxyProblem("has a control character in its user or password")
    return Secret(f"{name}:{password}")
