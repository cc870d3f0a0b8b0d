"""The console's responses: JSON, errors in words, and the headers that protect every response. Nothing of a request is echoed."""

from collections.abc import Callable, Mapping
from typing import Final, final

import attrs
import orjson
import trio

from exchanger.net.http.message import Headers, Response

# Levels of objects and lists, beyond which there is an ellipsis: the encoder has a limit (254), and so has Python's stack.
MAX_DEPTH: Final = 64
_ELLIPSIS: Final = "…"

# Seconds of work at a time. A request waits that long at most, of the 200 ms that a gateway grants.
SLICE_S: Final = 0.002

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; font-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# The page runs and loads only its own files and cannot be framed, and no other page can read the responses. See
# https://www.w3.org/TR/CSP3/ and https://fetch.spec.whatwg.org/#cross-origin-resource-policy-header.
PROTECTION: Final[Headers] = (
    ("Content-Security-Policy", _POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
# Decisions and policy are never cached (RFC 9111 section 5.2.2.5).
_NO_STORE: Final = ("Cache-Control", "no-store")
_JSON: Final = ("Content-Type", "application/json")


def encode(value: object) -> bytes:
    """Return ``value``, which consists of JSON's types, as JSON in UTF-8. No text makes it fail."""
    try:
        return orjson.dumps(value)
    except TypeError:  # a lone surrogate, an integer beyond 64 bits, or too many levels
        return orjson.dumps(_plain(value, MAX_DEPTH))


def json_response(value: object, status: int = 200) -> Response:
    """Return ``value`` as JSON."""
    return json_bytes(encode(value), status)


def json_bytes(body: bytes, status: int = 200) -> Response:
    """Return ``body``, which is JSON already."""
    return Response(status, (_JSON, _NO_STORE), body)


def error(status: int, text: str, *headers: tuple[str, str]) -> Response:
    """Return an error for people; ``text`` never contains anything of the request."""
    return Response(status, (_JSON, _NO_STORE, *headers), encode({"error": text}))


def no_content(*headers: tuple[str, str]) -> Response:
    """Return success without content."""
    return Response(204, (_NO_STORE, *headers))


@final
@attrs.define(eq=False)
class TimeSlice:
    """Divides long work into slices, so that other tasks wait for a slice and not for all of it."""

    _clock: Callable[[], float] = trio.current_time
    _began: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._began = self._clock()

    async def step(self) -> None:
        """Let other tasks run when the slice is over. To be called between steps that are small against a slice."""
        if self._clock() - self._began >= SLICE_S:
            await trio.lowlevel.checkpoint()
            self._began = self._clock()


def _plain(value: object, levels: int) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, Mapping | list | tuple) and not levels:
        return _ELLIPSIS
    if isinstance(value, Mapping):
        return {str(_plain(key, 0)): _plain(part, levels - 1) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part, levels - 1) for part in value]
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**64 else float(value) if abs(value) < 2**1023 else None
    return _plain(str(value), 0)
