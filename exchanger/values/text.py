"""Texts of requests made fit for a log: bounded, without control characters, without what may carry a credential.

Must not know: log formats or settings.
"""

from typing import Final

from exchanger.values.shown_path import ELLIPSIS, is_plain_host, plain_end, redacted

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

_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"


def printable(text: str, limit: int) -> str:
    """Return at most ``limit`` characters of ``text``, with each one that does not print (controls, bidi marks, surrogates) replaced."""
    if len(text) > limit:
        text = text[: limit - 1] + ELLIPSIS
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _REPLACEMENT for character in text)


def loggable_path(path: str) -> str:
    """Return ``path`` without what any server may read as query, parameters, fragment or user information (see ``values.shown_path``).

    Query and fragment (RFC 3986 section 3.4 and 3.5) leave nothing behind; everything else that is left out leaves an ellipsis.
    """
    end = plain_end(path, PATH_LIMIT)
    return printable(redacted(path, PATH_LIMIT), PATH_LIMIT) if end is None else path[:end]


def loggable_host(host: str) -> str:
    """Return ``host`` without user information (RFC 3986 section 3.2.1), which may be a password, and without what is no host."""
    if not is_plain_host(host):
        host = redacted(f"//{host}", HOST_LIMIT + 2).removeprefix("//")
    return printable(host, HOST_LIMIT)
