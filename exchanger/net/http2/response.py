"""The outcome of a request over HTTP/2, and the response that is being received for it."""

from typing import Final, final

import attrs

from exchanger.net.answer import EndpointResponse, TooLarge, with_cache_control

# The fields of a response that are kept.
_CHALLENGE: Final = b"www-authenticate"
_CACHE_CONTROL: Final = b"cache-control"
KEPT: Final = frozenset({_CHALLENGE, _CACHE_CONTROL, b"retry-after"})


@final
@attrs.frozen
class HeadArrived:
    """The head of a response was received, and its body is incomplete."""

    stream_id: int
    status: int


@final
@attrs.frozen
class ResponseEnded:
    """A request has its answer, or the response was cut off after its head."""

    stream_id: int
    answer: EndpointResponse


@final
@attrs.frozen
class Lost:
    """A request has no answer.

    ``seen``: a part of a response was received. ``safe``: the peer certainly did not process the request, so it may be sent once more on
    another connection (RFC 9113 section 8.7). ``unheard``: the peer closed a connection on which it had sent bytes, but none since the
    request, as when it has just given up an idle connection.
    """

    stream_id: int
    seen: bool
    safe: bool
    unheard: bool = False


Event = HeadArrived | ResponseEnded | Lost


@final
@attrs.define(eq=False)
class PartialResponse:
    """A response whose body is not complete."""

    status: int
    challenges: tuple[str, ...] = attrs.field(default=(), init=False, repr=False)
    retry_after: str = attrs.field(default="", init=False, repr=False)
    cache_control: str = attrs.field(default="", init=False, repr=False)
    body: bytearray = attrs.field(factory=bytearray, init=False, repr=False)
    pieces: int = attrs.field(default=0, init=False)

    def keep(self, name: bytes, value: bytes) -> None:
        """Keep a field whose name is in ``KEPT``."""
        if name == _CHALLENGE:
            self.challenges += (value.decode("latin-1"),)
        elif name == _CACHE_CONTROL:
            self.cache_control = with_cache_control(self.cache_control, value)
        else:
            self.retry_after = self.retry_after or value.decode("latin-1")

    def answer(self, body: bytes | TooLarge | None) -> EndpointResponse:
        """Return the answer with ``body``."""
        return EndpointResponse(self.status, self.challenges, self.retry_after, body, self.cache_control)
