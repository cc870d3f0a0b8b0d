"""HTTP requests and responses as values.

Source: RFC 9110 (https://www.rfc-editor.org/rfc/rfc9110)
"""

from collections.abc import Awaitable, Callable
from typing import final

import attrs

Headers = tuple[tuple[str, str], ...]


@final
@attrs.frozen
class Request:
    """One request; ``target`` is undecoded, header names are in lower case. Headers and body are hidden from repr: they may be secret."""

    method: str
    target: str = attrs.field(repr=False)
    headers: Headers = attrs.field(default=(), repr=False)
    body: bytes = attrs.field(default=b"", repr=False)
    version: str = "1.1"

    @property
    def path(self) -> str:
        """The target up to its query."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """The target after its first question mark."""
        return self.target.partition("?")[2]

    @property
    def has_body(self) -> bool:
        """Whether a body follows the head (RFC 9112 section 6.3)."""
        return bool(self.values("transfer-encoding")) or self.value("content-length") not in {"", "0"}

    @property
    def has_faulty_framing(self) -> bool:
        """Whether readers may see the body's end in different places, which smuggles another request (RFC 9112 section 6.1).

        It has two lengths, or a transfer coding in HTTP/1.0, which knows none.
        """
        return bool(self.values("transfer-encoding")) and (self.version == "1.0" or bool(self.values("content-length")))

    def values(self, name: str) -> tuple[str, ...]:
        """Return the values of the headers called ``name`` (in lower case), in order."""
        return tuple(value for key, value in self.headers if key.lower() == name)

    def value(self, name: str) -> str:
        """Return the value of the header called ``name`` (in lower case), or "" unless there is exactly one."""
        values = self.values(name)
        return values[0] if len(values) == 1 else ""


@final
@attrs.frozen
class Response:
    """One response; the server adds its length. Headers and body are hidden from repr: they may be secret.

    ``closes``: the connection ends after it.
    """

    status: int
    headers: Headers = attrs.field(default=(), repr=False)
    body: bytes = attrs.field(default=b"", repr=False)
    closes: bool = False

    def values(self, name: str) -> tuple[str, ...]:
        """Return the values of the headers called ``name`` (in lower case), in order."""
        return tuple(value for key, value in self.headers if key.lower() == name)


# Answers one request, body included.
Handler = Callable[[Request], Awaitable[Response]]
