"""Texts of requests made fit for a log: bounded, without control characters, without what may carry a credential.

Must not know: log formats or settings.
"""

import re
from typing import Final

PATH_LIMIT: Final = 512
"""Characters of a path in a log line; the rest of a longer one tells operators nothing."""
HOST_LIMIT: Final = 255
"""Characters of a host: RFC 1035 section 2.3.4 (https://www.rfc-editor.org/rfc/rfc1035#section-2.3.4) has 255 octets for a name."""
METHOD_LIMIT: Final = 32
"""Characters of a method: the longest registered one has 17 (https://www.iana.org/assignments/http-methods)."""
POLICY_LIMIT: Final = 317
"""Characters of ``namespace/name``: 63, a slash and 253 (https://kubernetes.io/docs/concepts/overview/working-with-objects/names/)."""

DETAIL_LIMIT: Final = 512
"""Characters of what is wrong with a policy; the line about the policy itself has all of it."""

_ELLIPSIS: Final = "…"
_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
_USERINFO: Final = re.compile(r"^((?:[A-Za-z][A-Za-z0-9+.-]*:)?[/\\]{2,}+)[^/]*@")


def printable(text: str, limit: int) -> str:
    """Return at most ``limit`` characters of ``text``, with each one that does not print (controls, bidi marks, surrogates) replaced."""
    if len(text) > limit:
        text = text[: limit - 1] + _ELLIPSIS
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _REPLACEMENT for character in text)


def has_userinfo(path: str) -> bool:
    """Tell whether ``path`` begins with a host that has a name or a password before it (``//user:password@host/``)."""
    return _USERINFO.match(path) is not None


def loggable_path(path: str) -> str:
    """Return ``path`` without query and fragment (RFC 3986 section 3.4 and 3.5), and without user information if it is in absolute form."""
    path = path.partition("?")[0].partition("#")[0]
    if "@" in path:
        path = _USERINFO.sub(rf"\1{_ELLIPSIS}@", path)
    return printable(path, PATH_LIMIT)


def loggable_host(host: str) -> str:
    """Return ``host`` without user information (RFC 3986 section 3.2.1), which may be a password."""
    if "@" in host:
        host = f"{_ELLIPSIS}@{host.rpartition('@')[2]}"
    return printable(host, HOST_LIMIT)
