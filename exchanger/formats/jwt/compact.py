"""Parses a signed JWT in compact form strictly, so that no other reader can read something else.

Bytes have one encoding, members of an object have unique names, and numbers are those of JSON.

Sources: RFC 7515 sections 4 and 5.2 (https://www.rfc-editor.org/rfc/rfc7515#section-5.2), RFC 7519 sections 4 and 7.2, RFC 8259.
"""

import base64
import functools
import json
import re
from collections.abc import Mapping
from typing import Final, final

import attrs

from exchanger.formats.jwt import base64url
from exchanger.formats.jwt.refusal import TokenRefusalReason, TokenRefused
from exchanger.formats.strict_json import certain_object, no_constant, outline, unique_names

# Characters: as many as Envoy lets through in headers.
MAX_TOKEN: Final = 65_536
# Objects and lists within each other: far more than tokens have, and so few that reading cannot exhaust the stack.
MAX_DEPTH: Final = 32
# Objects and lists: tokens have about a hundred at most.
MAX_BRACKETS: Final = 1024
# Strings and structural characters of the header, and of the claims: two for each of 2,000 groups. As many as fit into a token would block
# the event loop for 5 to 15 ms, before anything in it is verified.
MAX_PARTS: Final = 4096

# Those of the compact form.
_DOTS: Final = 2
# Characters of a header that is remembered.
_MAX_KNOWN: Final = 1024

_NOT_BASE64: Final = re.compile(r"[^A-Za-z0-9+/_-]+")
_FROM_BASE64URL: Final = str.maketrans("-_", "+/")
_BRACKET: Final = re.compile(r"[][{}]")


@final
@attrs.frozen(repr=False)
class Compact:
    """The parts of a JWS, not to be shown; ``signed`` is the signing input."""

    header: Mapping[str, object]
    claims: Mapping[str, object]
    signed: bytes
    signature: bytes


# An exchange has two tokens, a chain of two issuers four. Each is read by several stages in one turn.
@functools.lru_cache(maxsize=4)
def read_payload(token: str) -> Mapping[str, object] | TokenRefused:
    """Return the claims of ``token``, as strictly as ``take_apart``, without a look at its signature. Total, whatever an issuer sent."""
    if len(token) > MAX_TOKEN:
        return TokenRefused(TokenRefusalReason.TOO_LONG)
    first, _, rest = token.partition(".")
    middle, _, signature = rest.partition(".")
    if not signature or "." in signature or not (payload := base64url.decode(middle)):
        return TokenRefused(TokenRefusalReason.NOT_COMPACT)
    header = _header(first)
    if isinstance(header, TokenRefused):
        return header
    claims = _object(payload)
    if claims is None:
        return TokenRefused(TokenRefusalReason.CLAIMS)
    # Whatever their values, the claims may be others than those in the payload (RFC 7515 section 4.1.11, RFC 7797).
    return TokenRefused(TokenRefusalReason.EXTENSIONS) if "crit" in header or "b64" in header else claims


def take_apart(token: str) -> Compact | TokenRefused:
    """Return the parts of ``token``. Total, whatever a caller sent."""
    if len(token) > MAX_TOKEN:
        return TokenRefused(TokenRefusalReason.TOO_LONG)
    signed, _, last = token.rpartition(".")
    signature = base64url.decode(last)
    if not signature:
        return TokenRefused(TokenRefusalReason.NOT_COMPACT)
    claims, header = read_payload(token), _header(signed.partition(".")[0])
    if isinstance(claims, TokenRefused):
        return claims
    return header if isinstance(header, TokenRefused) else Compact(header, claims, signed.encode("ascii"), signature)


def _header(segment: str) -> Mapping[str, object] | TokenRefused:
    # The headers of an issuer are few, and the same in all of its tokens.
    return _read_header(segment) if len(segment) <= _MAX_KNOWN else _read_header.__wrapped__(segment)


@functools.lru_cache(maxsize=256)
def _read_header(segment: str) -> Mapping[str, object] | TokenRefused:
    data = base64url.decode(segment)
    if not data:
        return TokenRefused(TokenRefusalReason.NOT_COMPACT)
    return TokenRefused(TokenRefusalReason.HEADER) if (members := _object(data)) is None else members


def looks_like_jwt(token: str) -> bool:
    """Return whether any reader may take ``token`` for a JWT, however carelessly it reads: by its form, or by a header that is an object.

    A token of random characters is opaque, unless it has exactly two dots.
    """
    dots = token.count(".")
    if dots in {0, _DOTS}:
        return dots == _DOTS
    # As the most lenient decoders do, without what is not in the alphabet, or too much.
    header = _NOT_BASE64.sub("", token[: token.index(".")]).translate(_FROM_BASE64URL)
    if len(header) % 4 == 1:
        header = header[:-1]
    decoded = base64.b64decode(header + "=" * (-len(header) % 4)).strip()
    return decoded.startswith(b"{") and decoded.endswith(b"}") and decoded[1:].lstrip().startswith(b'"')


def _object(data: bytes) -> Mapping[str, object] | None:
    """Return the object in JSON text (RFC 8259), ``None`` if it is not one, is nested too deep or has too many parts.

    Names are unique in each of its objects.
    """
    try:
        text = data.decode()
        if not _is_flat(text):
            return None
        value = certain_object(data)
        if value is None:
            value = _JSON.decode(text)
    except ValueError:  # also too many digits, and bytes that are not UTF-8
        return None
    return value if isinstance(value, dict) else None


def _is_flat(text: str) -> bool:
    # A short text cannot have too many parts, nor one with few brackets be nested too deep. Nearly all tokens are such.
    if len(text) <= MAX_PARTS and text.count("{") + text.count("[") <= MAX_DEPTH:
        return True
    outside = outline(text, MAX_PARTS)
    if outside is None or outside.count("{") + outside.count("[") > MAX_BRACKETS:
        return False
    depth = 0
    for bracket in _BRACKET.findall(outside):
        depth += 1 if bracket in "{[" else -1
        if depth > MAX_DEPTH:
            return False
    return True


_JSON: Final = json.JSONDecoder(object_pairs_hook=unique_names, parse_constant=no_constant)
