"""Authorities in one canonical form: what a policy's ``host`` and a request's ``Host`` or ``:authority`` are compared as.

A name is in lower case without port and trailing dot; an IPv6 literal is in brackets and spelled as RFC 5952 has it.

Must not know: policy entries, or which header an authority comes from.
"""

import re
import string
from ipaddress import IPv6Address
from typing import Final

# Every quantifier below is possessive: a text is read once, from left to right, whatever its length.
NAME: Final = r"[A-Za-z0-9_-]++(?:\.[A-Za-z0-9_-]++)*+"
LITERAL: Final = r"\[[0-9A-Fa-f:.]{2,45}+\]"  # 45: the longest IPv6 address, six groups and a dotted quad

# The common case first: most requests name their host in canonical form, and a match without groups is the cheapest question (0.2 µs).
# A cache would not be faster, and would keep texts that strangers chose.
_is_canonical_name: Final = re.compile(NAME.replace("A-Z", "")).fullmatch

# RFC 3986 section 3.2.2 and 3.2.3 (https://www.rfc-editor.org/rfc/rfc3986#section-3.2), without percent escapes and sub-delims, which no
# host has, and without userinfo, which RFC 9110 section 4.2.4 forbids here. A port may be empty. Blanks around are those of RFC 9110 OWS.
_match_authority: Final = re.compile(rf"[ \t]*+(?:({NAME})\.?|({LITERAL}))(?::[0-9]*+)?[ \t]*+").fullmatch

# What stands behind a policy host's first colon, blanks around it allowed. It is dropped, so it has to be what a port can be.
_match_with_port: Final = re.compile(rf"((?:{NAME}\.?)|{LITERAL})[ \t]*+:[ \t]*+([^ \t]*+)").fullmatch
_is_port: Final = re.compile(r"[0-9]*+|\*").fullmatch
# RFC 6335 section 5.1 (https://www.rfc-editor.org/rfc/rfc6335#section-5.1): at most 15 characters, one of them a letter.
_is_service: Final = re.compile(r"(?=.{1,15}\Z)(?=.*[A-Za-z])[A-Za-z0-9]++(?:-[A-Za-z0-9]++)*+").fullmatch

SCHEMES: Final = frozenset(["http", "https", "ws", "wss", "grpc", "grpcs", "h2", "h2c", "tcp", "tls"])
"""Names that stand for a scheme where a name follows their colon: ``http:orders`` is about ``orders``."""

_ASCII_LOWER: Final = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def read_authority(text: str) -> str | None:
    """Return the canonical form of a request's authority, ``None`` when it is malformed.

    The empty (or blank) authority is "", which is in order but no host of any policy.
    """
    if _is_canonical_name(text):
        return text
    parts = _match_authority(text)
    if parts is None:
        return None if text.strip(" \t") else ""
    name, literal = parts.groups()
    return _canonical_ipv6(literal[1:-1]) if name is None else name.lower()


def normalise_policy_host(text: str) -> str:
    """Return the canonical form of a policy's host; total and idempotent.

    A port is dropped: digits, a service name, or ``*``, so that a deny for ``api.example.com:*`` denies. Any text that is no host is only
    trimmed and lower-cased: ``is_host`` says so, and no request's authority equals it.
    """
    text = text.strip()
    if host := read_authority(text) or _canonical_ipv6(text):
        return host
    if parts := _match_with_port(text):
        name, port = parts.groups()
        if _is_port(port) or (_is_service(port) and name.lower() not in SCHEMES):
            return read_authority(name) or text.translate(_ASCII_LOWER)
    return text.translate(_ASCII_LOWER)


def is_host(text: str) -> bool:
    """Tell whether a normalised policy host can equal a request's authority."""
    return bool(text) and read_authority(text) == text


def _canonical_ipv6(text: str) -> str | None:
    """Return the bracketed RFC 5952 form of an address without zone (RFC 9110 has no zones), ``None`` if it is none."""
    if "%" in text:
        return None
    try:
        return f"[{IPv6Address(text).compressed}]"
    except ValueError:
        return None
