"""Bearer credentials of a request, and the challenge that asks for them (RFC 6750, https://www.rfc-editor.org/rfc/rfc6750).

Must not know: where the header came from, or what the token is exchanged for.
"""

import enum
import re
from typing import Final

import orjson

from exchanger.model.secret import Secret

# Characters, of subject and access tokens alike. Envoy passes 60 KiB of request headers by default and can be configured to pass more.
MAX_TOKEN_LENGTH: Final = 64 * 1024

# Header lines of one name arrive joined by commas.
_find_bearer: Final = re.compile(r"(?:\A|[\s,])bearer\s+\S", re.IGNORECASE).search


@enum.unique
class NoToken(enum.Enum):
    """Why a request has no usable bearer token."""

    ABSENT = "no Authorization at all"
    NOT_BEARER = "credentials of another kind"
    NOT_ONE = "more than a scheme and a token, with a bearer token among it"
    INVALID = "a bearer token that cannot be one"
    DIFFERENT = "different tokens in several headers"


def is_bearer_token(text: str) -> bool:
    """Return whether ``text`` can be sent as a bearer token: visible ASCII without comma, double quote and backslash, at most 64 KiB.

    RFC 6749 appendix A.12 (https://www.rfc-editor.org/rfc/rfc6749#appendix-A.12) has any VSCHAR. Opaque tokens use that: ``!``, ``|``,
    ``:`` and ``$`` are common. The others end or escape values where headers are read as lists or parameters.
    """
    size = len(text)
    if not (0 < size <= MAX_TOKEN_LENGTH and text.isascii()) or " " in text or "," in text or "\x7f" in text:
        return False
    # JSON escapes the rest of what must not occur. orjson looks for that at 32 characters at once, which takes a fifth of the time of
    # ``bytes.translate``; two quotes are added.
    return len(orjson.dumps(text)) == size + 2


def read_bearer(authorization: Secret | None) -> Secret | NoToken:
    """Return the token of the Authorization value: exactly two fields, the first of them ``Bearer`` in any case."""
    if authorization is None:
        return NoToken.ABSENT
    value = authorization.reveal()
    if value[:7].lower() == "bearer " and is_bearer_token(token := value[7:]):  # as nearly always; a token has no space
        return Secret(token)
    # Three pieces show that there are too many.
    fields = value.split(None, 2)
    if not fields:
        return NoToken.ABSENT
    if len(fields) != 2 or fields[0].lower() != "bearer":  # noqa: PLR2004 - scheme and token
        return NoToken.NOT_ONE if _find_bearer(value) else NoToken.NOT_BEARER
    return Secret(fields[1]) if is_bearer_token(fields[1]) else NoToken.INVALID


def challenge(realm: str, scope: str = "", error: str = "", resource_metadata: str = "", more: tuple[tuple[str, str], ...] = ()) -> str:
    """Return a ``WWW-Authenticate`` value (RFC 6750 section 3): the realm, and the others where given. ``more`` are further parameters.

    ``resource_metadata``: RFC 9728 section 5.1 (https://www.rfc-editor.org/rfc/rfc9728#section-5.1).
    """
    value = f"Bearer realm={_quoted(realm)}"
    if scope:
        value += f", scope={_quoted(scope)}"
    if error:
        value += f", error={_quoted(error)}"
    for name, text in more:
        value += f", {name}={_quoted(text)}"
    if resource_metadata:
        value += f", resource_metadata={_quoted(resource_metadata)}"
    return value


_ESCAPES: Final = {
    '"': '\\"',
    "\\": "\\\\",
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
}
_PLAIN: Final = re.compile(r"[ !#-\[\]-~]*")
_ASCII_END: Final = 0x7F
_BMP_END: Final = 0xFFFF


def _quoted(text: str) -> str:
    """Return a quoted-string. Characters that a header cannot carry are escaped, so that no policy value can end the header."""
    if _PLAIN.fullmatch(text):
        return f'"{text}"'
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    if code <= _ASCII_END:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= _BMP_END else f"\\U{code:08x}"
