"""A token endpoint's answer, over any version of HTTP."""

import enum
from http import HTTPStatus
from typing import Final, final

import attrs

from exchanger.util.frozen import fast_init

# Longest body that is read, in bytes; a usual token response is a few KiB.
MAX_RESPONSE_BYTES: Final = 1024 * 1024

# Characters of Cache-Control that are kept. A usual one has less than 60.
_MAX_CACHE_CONTROL_CHARS: Final = 256


@final
@enum.unique
class TooLarge(enum.Enum):
    """A body that was not read to its end because it is too long."""

    TOO_LARGE = "too large"


@final
@fast_init
@attrs.frozen(weakref_slot=False)
class EndpointResponse:
    """One response. Everything except the status is text of the endpoint, so it is hidden from ``repr``.

    ``challenges`` are the values of WWW-Authenticate, ``retry_after`` that of Retry-After and ``cache_control`` the list of Cache-Control,
    "" without one, all decoded as ISO 8859-1. ``body`` is the content as sent, ``None`` if it broke off. The content of a redirect is
    omitted.
    """

    status: int
    challenges: tuple[str, ...] = attrs.field(repr=False)
    retry_after: str = attrs.field(repr=False)
    body: bytes | TooLarge | None = attrs.field(repr=False)
    cache_control: str = attrs.field(default="", repr=False)


def is_redirect(status: int) -> bool:
    """Return whether ``status`` is a redirection, which is never followed."""
    return HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST


def with_cache_control(known: str, value: bytes) -> str:
    """Return the list of Cache-Control with one more field's ``value``, which is omitted if it is too long.

    Several fields are one list (RFC 9110 section 5.3, https://www.rfc-editor.org/rfc/rfc9110#section-5.3).
    """
    if len(known) + len(value) > _MAX_CACHE_CONTROL_CHARS:
        return known
    text = value.decode("latin-1")
    return f"{known}, {text}" if known else text
