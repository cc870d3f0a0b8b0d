"""Whether a request may be answered at all: the name it addresses, the page that sends it, and its credentials. Pure and total.

A browser sends requests here for any page: via names that resolve to this address (DNS rebinding), forms, images, WebSockets. So the name
must be one that only this console has, and the page must be the console's own. Must not know: sockets, or what is answered.

Sources: RFC 9110 section 7.2 (https://www.rfc-editor.org/rfc/rfc9110#section-7.2), RFC 6454 section 7
(https://www.rfc-editor.org/rfc/rfc6454#section-7), https://www.w3.org/TR/fetch-metadata/, RFC 6265 section 5.4.
"""

import enum
import hashlib
import hmac
import re
from typing import Final

from exchanger.model.secret import Secret
from exchanger.net.http.message import Request
from exchanger.net.http.names import Authority, is_ours, read_host

COOKIE: Final = "exchanger_console"
# A session's cookie is a keyed digest (RFC 2104) of this label: another label ends all sessions.
_LABEL: Final = b"exchanger console session 1"
# Cookies of our name that are looked at: other programs on this host may have set some, and each costs a digest.
_MAX_COOKIES: Final = 8

_ORIGIN: Final = re.compile(r"(https?)://([^/?#@\s]+)", re.ASCII)
# ``none`` is a person: an address typed, a bookmark.
_OWN_SITES: Final = frozenset({"same-origin", "none"})


@enum.unique
class GuardRefusal(enum.Enum):
    """Why a request is not answered, in words for people."""

    HOST = "this console does not serve that host name; add it to CONSOLE_HOSTS"
    ORIGIN = "only the console's own page may send this request"
    SITE = "pages of other sites may not send requests here"


def checked(request: Request, names: frozenset[str]) -> GuardRefusal | None:
    """Return why ``request`` is refused, no matter who sends it, or ``None``."""
    host = read_host(request.value("host"))
    if host is None or not is_ours(host.host, names):
        return GuardRefusal.HOST
    if not all(_is_same_origin(origin, host) for origin in request.values("origin")):
        return GuardRefusal.ORIGIN
    if not all(site in _OWN_SITES for site in request.values("sec-fetch-site")) and not _opens_page(request):
        return GuardRefusal.SITE
    return None


def session_of(token: Secret) -> str:
    """Return the cookie's value for holders of ``token``, which cannot be derived from it."""
    return hmac.new(token.reveal().encode(), _LABEL, hashlib.sha256).hexdigest()


def is_token(text: str, token: Secret) -> bool:
    """Return whether ``text`` is ``token``, in a time that depends on neither."""
    return hmac.compare_digest(_digest(text), _digest(token.reveal()))


def has_session(request: Request, token: Secret) -> bool:
    """Return whether one of the request's cookies is the session of ``token``."""
    session = _digest(session_of(token))
    # All cookies are compared, whichever is right.
    return any([hmac.compare_digest(_digest(value), session) for value in _cookies(request)])  # noqa: C419


def bearer_of(request: Request) -> str:
    """Return the request's bearer token (RFC 6750 section 2.1), or ""."""
    fields = request.value("authorization").split(" ")
    return fields[1] if len(fields) == 2 and fields[0].lower() == "bearer" else ""  # noqa: PLR2004 - scheme and token


def _is_same_origin(origin: str, host: Authority) -> bool:
    parts = _ORIGIN.fullmatch(origin)
    page = None if parts is None else read_host(parts[2])
    return parts is not None and page is not None and page.is_of(host, parts[1])


def _opens_page(request: Request) -> bool:
    """Return whether a link elsewhere leads to the page itself, which holds no data."""
    asked = (request.method, request.path, request.values("sec-fetch-mode"), request.values("sec-fetch-dest"))
    return asked == ("GET", "/", ("navigate",), ("document",)) and not request.values("origin")


def _cookies(request: Request) -> list[str]:
    pairs = (pair.strip(" \t").partition("=") for header in request.values("cookie") for pair in header.split(";"))
    return [value for name, _, value in pairs if name == COOKIE][:_MAX_COOKIES]


def _digest(text: str) -> bytes:
    """Return a digest to compare in place of ``text``: its length does not depend on the text's."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
