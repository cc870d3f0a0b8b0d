"""Cuts a request path so that it can be shown: nothing that a server may read as a query, a parameter, a fragment or user information.

A path is shown up to the first delimiter, or the first character or escape that could decode to one. Every percent sign in the rest is
followed by two digits or by something that no decoder takes for a digit, so that one search finds where user information begins, however
often servers decode.

Must not know: policy, or what a path is matched with.
"""

import re
from typing import Final

from exchanger.util.text import ELLIPSIS

_ESCAPE: Final = "%(?:25)*(?!25)"  # also one that is escaped again
# Of an ASCII character, or of a byte of characters that NFKC does not turn into a delimiter: not the first bytes of U+0340, U+2040, U+2100,
# U+2A40, U+F000 and what follows them, or those of overlong forms (RFC 3629 section 10).
_HARMLESS: Final = (
    "[0-7][0-9A-Fa-f](?<!23|3[bBfF])|[89ABabCcDdEe][0-9A-Fa-f](?<![Cc][01dD]|[Ee][02fF])"
    f"|[Ee]2(?={_ESCAPE}(?!81|84|[Aa]9)[89ABab][0-9A-Fa-f])"
)
# A percent sign before one of these begins no escape in any server, also not ``%u003F``.
_NO_DIGIT: Final = rf"[G-TV-Zg-tv-z/._~?#{ELLIPSIS}-]|\Z"
# What NFKC turns into a delimiter, with neighbours, and bytes that were not UTF-8 (PEP 383, https://peps.python.org/pep-0383/).
_ODD: Final = "\u037e\u2047-\u2049\u2100-\u2106\u2a74\ufe13-\ufe19\ufe54-\ufe6b\uff03-\uff3c\udc80-\udcff"
_DELIMITER: Final = f";|{_ESCAPE}(?:23|3[bBfF])"
_shown: Final = re.compile(f"(?:[^?#;%{_ODD}]++|{_ESCAPE}(?:{_HARMLESS}|(?={_NO_DIGIT})))*({_DELIMITER})?").match
_find_ats: Final = re.compile(f"@|{_ESCAPE}40").finditer

_SLASH: Final = rf"(?:[/\\]|{_ESCAPE}(?:2[Ff]|5[Cc]))"
# What servers drop or trim. ``!`` may replace a byte that the gateway has masked.
_BLANK: Final = rf"(?:[^\x21-\x7e]|!|{_ESCAPE}(?:[01].|2[01]|7[Ff]|[89A-Fa-f].))"
# User information may begin at the start of a path without a slash, after two slashes (RFC 3986 section 4.2), or with a segment that has a
# colon: the two slashes before it may have been merged.
_find_userinfo: Final = re.compile(
    rf"^(?![/\\])(?:[A-Za-z][A-Za-z0-9+.-]*+:[/\\]++)?()"
    rf"|{_SLASH}{_BLANK}*{_SLASH}(?:{_SLASH}|{_BLANK})*()"
    rf"|(?<![^/])(?=[^/]*?(?::|{_ESCAPE}3[Aa])())"
).finditer
_COLON: Final = 3  # the group that ends behind the colon


def redacted(path: str, limit: int) -> str:
    """Return at most ``limit`` characters of ``path`` that may be shown; characters that do not print are unchanged.

    An ellipsis marks omissions, except of query and fragment. The result stays the same when it is redacted again.
    """
    end, delimiter = _shown_to(path, limit + 1)
    if end > limit or (end == limit and path[end : end + 1] not in "?#"):
        end, delimiter = _shown_to(path, limit - 1)
    text, rest = path[:end], path[end : end + 2]
    queried, tail = rest[:1] == "?", "" if rest[:1] in {"", "?", "#"} else ELLIPSIS
    at_follows = rest not in {"", ELLIPSIS} and _may_have_at(path, end, escaped=not queried)
    # Unless the end is known to be one, the last segment may have a colon after it.
    last = text.rfind("/") + 1 if at_follows and tail and not delimiter and rest[0] != "/" else end
    at = max((found.start() for found in _find_ats(text)), default=-1)
    for found in _find_userinfo(text) if at >= 0 or at_follows else ():
        begin, group = found.end(), found.lastindex or 0
        if at_follows and begin < end and (group != _COLON or not queried):
            return text[: min(begin, last)] + ELLIPSIS
        if begin < at >= found.end(group):
            return text[:begin] + ELLIPSIS + ("" if at_follows else text[at:] + tail)
    return text[:last] + (ELLIPSIS if last < end else tail)


def _shown_to(path: str, limit: int) -> tuple[int, bool]:
    """Return where the part that may be shown ends, apart from user information, and whether it ends with a delimiter."""
    found = _shown(path, 0, limit)
    return (0, False) if found is None else (found.end(), found[1] is not None)


def _may_have_at(path: str, begin: int, *, escaped: bool) -> bool:
    """Return whether an ``@`` may follow ``begin``, also ``escaped``."""
    return path.find("@", begin) >= 0 or (escaped and (path.find("%", begin) >= 0 or not path.isascii()))
