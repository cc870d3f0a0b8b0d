"""HTTP requests and answers as values, the headers that every answer has, and errors in words. Nothing of a request is ever echoed.

Must not know: sockets, h11, or what handlers answer.
"""

from collections.abc import Awaitable, Callable
from typing import Final, final

import attrs

from exchanger.console.encoding import encode

Headers = tuple[tuple[str, str], ...]

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; font-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PROTECTION: Final[Headers] = (
    ("Content-Security-Policy", _POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
"""https://www.w3.org/TR/CSP3/ and https://fetch.spec.whatwg.org/#cross-origin-resource-policy-header: the page runs and loads its own files
only, stands in no frame, and no other page can read what is here."""

_NO_STORE: Final = ("Cache-Control", "no-store")
"""RFC 9111 section 5.2.2.5: decisions and policy are in no cache."""
_JSON: Final = ("Content-Type", "application/json")


@final
@attrs.frozen
class Request:
    """One request. ``path`` and ``query`` are as they came, undecoded. Headers, with names in lower case, and body are hidden from repr."""

    method: str
    path: str
    query: str = attrs.field(default="", repr=False)
    headers: Headers = attrs.field(default=(), repr=False)
    body: bytes = attrs.field(default=b"", repr=False)

    def values(self, name: str) -> tuple[str, ...]:
        """Return the values of the headers called ``name`` (in lower case), in order."""
        return tuple(value for key, value in self.headers if key == name)

    def value(self, name: str) -> str:
        """Return the value of the header called ``name`` (in lower case), "" when there is none or more than one."""
        values = self.values(name)
        return values[0] if len(values) == 1 else ""


@final
@attrs.frozen
class Response:
    """One answer; whoever sends it adds length and protection. Headers and body are hidden from repr."""

    status: int
    body: bytes = attrs.field(default=b"", repr=False)
    headers: Headers = attrs.field(default=(), repr=False)


Handler = Callable[[Request], Awaitable[Response]]


def json_response(value: object, status: int = 200) -> Response:
    """Return ``value`` as JSON."""
    return json_bytes(encode(value), status)


def json_bytes(body: bytes, status: int = 200) -> Response:
    """Return what is JSON already."""
    return Response(status, body, (_JSON, _NO_STORE))


def error(status: int, text: str, *headers: tuple[str, str]) -> Response:
    """Return an error that people can read; ``text`` never holds anything of the request."""
    return Response(status, encode({"error": text}), (_JSON, _NO_STORE, *headers))


def no_content(*headers: tuple[str, str]) -> Response:
    """Return that it is done."""
    return Response(204, headers=(_NO_STORE, *headers))


def protected(headers: Headers) -> Headers:
    """Return ``headers`` and what protects every answer."""
    return (*headers, *_PROTECTION)
