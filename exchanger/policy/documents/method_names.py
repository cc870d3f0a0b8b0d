"""The registered HTTP methods, and which of them a misspelt method was probably meant to be. Pure."""

from typing import Final

from exchanger.util.text import distance

# RFC 9110 section 9, and PATCH (RFC 5789).
_COMMON: Final = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "CONNECT", "TRACE")
# The rest of IANA's registry (RFC 9110 section 16.1, https://www.iana.org/assignments/http-methods): WebDAV and its relatives.
_OTHERS: Final = (
    "ACL",
    "BASELINE-CONTROL",
    "BIND",
    "CHECKIN",
    "CHECKOUT",
    "COPY",
    "LABEL",
    "LINK",
    "LOCK",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MKREDIRECTREF",
    "MKWORKSPACE",
    "MOVE",
    "ORDERPATCH",
    "PRI",
    "PROPFIND",
    "PROPPATCH",
    "QUERY",
    "REBIND",
    "REPORT",
    "SEARCH",
    "UNBIND",
    "UNCHECKOUT",
    "UNLINK",
    "UNLOCK",
    "UPDATE",
    "UPDATEREDIRECTREF",
    "VERSION-CONTROL",
)
REGISTERED: Final = (*_COMMON, *_OTHERS)
# Methods that no registry has and that servers know: TRACK and DEBUG of IIS, PURGE and BAN of caches.
_IN_USE: Final = frozenset({"BAN", "DEBUG", "PURGE", "TRACK"})
_KNOWN: Final = frozenset(REGISTERED) | _IN_USE
# Edits between a method and its misspelling. Two only for long methods that are common: four letters have many neighbours.
_EDITS: Final = {"DELETE": 2, "OPTIONS": 2, "CONNECT": 2}


def meant_method(method: str) -> str:
    """Return the registered method that the upper-case ``method`` was probably meant to be, "" if it is known or near none."""
    if method in _KNOWN:
        return ""
    found = ((distance(method, known), known) for known in REGISTERED)
    near = (pair for pair in found if pair[0] <= _EDITS.get(pair[1], 1))
    return min(near, key=lambda pair: pair[0], default=(0, ""))[1]
