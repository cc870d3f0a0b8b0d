"""HTTP/1.1 to a token endpoint as pure functions and one machine: the bytes of a request, and the response to it.

The usual response, with a plain head and a ``Content-Length``, is read here: it takes 2 µs, compared to a hundred with h11. h11 checks
everything else (RFC 9112, https://www.rfc-editor.org/rfc/rfc9112). A peer's mistake is a value, never an exception: h11's messages
quote header values. Knows nothing of sockets, connections or tokens.
"""

import functools
import re
from http import HTTPStatus
from typing import Final, final

import attrs
import h11

from exchanger.net.answer import MAX_RESPONSE_BYTES, EndpointResponse, TooLarge, is_redirect, with_cache_control
from exchanger.util.frozen import constructor_of

# Longest response head, or chunk line, that is accepted, give or take one read; common servers send 8 KiB at most.
_MAX_HEAD_BYTES: Final = 64 * 1024

# Most 1xx responses before the real one; none is expected, as no ``Expect`` is sent.
_MAX_INTERIM_RESPONSES: Final = 8

# Most pieces a body may come in, so that a megabyte of one-byte chunks does not cost a second of CPU. A usual body comes in one or two.
_MAX_BODY_PIECES: Final = 4096

# RFC 9112 sections 4 and 5 without anything that readers might understand in two ways: no folded lines, no white space before a colon.
_USUAL_HEAD: Final = re.compile(
    rb"HTTP/1\.1 ([245][0-9][0-9]) [\t\x20-\x7e]*\r\n((?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n)*)\r\n"
)
_LENGTH: Final = re.compile(rb"[0-9]{1,7}")
# Of responses that are not usual: without a body, or no answer (RFC 9110 section 15.5.9). As numbers, since looking up and comparing
# members of HTTPStatus takes a third of the time of reading a head.
_REQUEST_TIMEOUT: Final = int(HTTPStatus.REQUEST_TIMEOUT)
_UNUSUAL_STATUSES: Final = frozenset({int(HTTPStatus.NO_CONTENT), int(HTTPStatus.RESET_CONTENT), _REQUEST_TIMEOUT})

# Longest head that is remembered.
_MAX_KNOWN_BYTES: Final = 1024

# Fields besides the length that affect framing and connections; a response with one of them is not usual.
_UNUSUAL: Final = frozenset({b"transfer-encoding", b"upgrade", b"trailer"})
# All fields that are read.
_READ: Final = _UNUSUAL | {b"content-length", b"connection", b"www-authenticate", b"retry-after", b"cache-control"}

_response: Final = constructor_of(EndpointResponse)

# Of a usual response: its status, its length, and the other fields of ``EndpointResponse`` before and after the body.
_Usual = tuple[int, int, tuple[str, ...], str, str]


def read_whole(data: bytes) -> EndpointResponse | None:
    """Return the response in ``data``, if that is exactly one, and usual. Nearly all are; ``Http1Response`` accepts any."""
    end = data.find(b"\r\n\r\n") + 4
    usual = _read_known(data[:end]) if end <= _MAX_KNOWN_BYTES else _read_usual(data[:end])
    if usual is None:
        return None
    status, length, challenges, retry_after, cache_control = usual
    body = data[end:]
    return _response(status, challenges, retry_after, body, cache_control) if len(body) == length else None


def _read_usual(data: bytes) -> _Usual | None:
    """Read ``data``, a whole head."""
    head = _USUAL_HEAD.fullmatch(data)
    if head is None:
        return None
    status, length, retry_after, cache_control = int(head[1]), -1, "", ""
    challenges: tuple[str, ...] = ()
    for line in head[2].splitlines():
        name, _, value = line.partition(b":")
        name = name.lower()
        if name not in _READ:
            continue
        value = value.strip(b"\t ")
        if name == b"content-length":
            if length >= 0 or not _LENGTH.fullmatch(value):
                return None
            length = int(value)
        elif name == b"connection":
            if value.lower() != b"keep-alive":
                return None
        elif name in _UNUSUAL:
            return None
        elif name == b"www-authenticate":
            challenges = (*challenges, value.decode("latin-1"))
        elif name == b"retry-after":
            retry_after = retry_after or value.decode("latin-1")
        else:
            cache_control = with_cache_control(cache_control, value)
    if length < 0 or length > MAX_RESPONSE_BYTES or status in _UNUSUAL_STATUSES:
        return None
    return status, length, challenges, retry_after, cache_control


# Within a second, an endpoint's heads are often the same to the byte, and finding one takes a quarter of reading it.
_read_known: Final = functools.lru_cache(maxsize=64)(_read_usual)


@final
@attrs.define(eq=False)
class Http1Response:
    """The response to one request. Feed it bytes until ``is_over``; then either there is an ``answer`` or it is not HTTP.

    Attributes:
        status: That of the head, once received.
        seen: Any byte of it was received.
        answer: The answer, even if it broke off after its head.
        is_over: It needs no more bytes.
        clean: It is exactly one answer, whose end all readers agree on, and the connection may be reused.
    """

    status: int | None = attrs.field(default=None, init=False)
    seen: bool = attrs.field(default=False, init=False)
    answer: EndpointResponse | None = attrs.field(default=None, init=False)
    is_over: bool = attrs.field(default=False, init=False)
    clean: bool = attrs.field(default=False, init=False)
    _challenges: tuple[str, ...] = attrs.field(default=(), init=False, repr=False)
    _retry_after: str = attrs.field(default="", init=False, repr=False)
    _cache_control: str = attrs.field(default="", init=False, repr=False)
    _missing: int = attrs.field(default=0, init=False)  # bytes of a usual body that are still to come
    _parts: list[bytes] = attrs.field(factory=list, init=False, repr=False)
    _codec: h11.Connection | None = attrs.field(default=None, init=False, repr=False)
    _interim: int = attrs.field(default=0, init=False)
    _room: int = attrs.field(default=MAX_RESPONSE_BYTES, init=False)
    _unambiguous: bool = attrs.field(default=True, init=False)

    def feed(self, data: bytes) -> None:
        """Add received bytes; none at the end of the connection."""
        if self.is_over:
            self.clean = False
        elif self._codec is not None:
            self._feed_codec(self._codec, data)
        elif not data:
            self._end(None)
        elif self.status is not None:
            self._feed_body(data)
        else:
            self.seen = True
            end = data.find(b"\r\n\r\n") + 4
            usual = _read_usual(data[:end])
            if usual is None:
                self._begin_codec(data)
                return
            self.status, self._missing, self._challenges, self._retry_after, self._cache_control = usual
            if (rest := data[end:]) or not self._missing:
                self._feed_body(rest)

    # The usual response.

    def _feed_body(self, data: bytes) -> None:
        missing = self._missing - len(data)
        if missing > 0:
            self._missing = missing
            self._parts.append(data)
        else:
            body = data if missing == 0 else data[:missing]
            self.clean = missing == 0
            self._end(b"".join((*self._parts, body)) if self._parts else body)

    def _end(self, body: bytes | TooLarge | None) -> None:
        self.is_over = True
        self._parts.clear()
        if self.status is not None:
            self.answer = EndpointResponse(self.status, self._challenges, self._retry_after, body, self._cache_control)

    # Any other response.

    def _begin_codec(self, data: bytes) -> None:
        codec = self._codec = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEAD_BYTES)
        codec.send(h11.Request(method="POST", target="/", headers=[("Host", "localhost"), ("Content-Length", "0")]))
        codec.send(h11.EndOfMessage())
        self._feed_codec(codec, data)

    def _feed_codec(self, codec: h11.Connection, data: bytes) -> None:
        try:
            codec.receive_data(data)
            while not self.is_over and (event := codec.next_event()) is not h11.NEED_DATA:
                self._on_event(codec, event)
        except h11.RemoteProtocolError:
            self._end(None)

    def _on_event(self, codec: h11.Connection, event: object) -> None:
        if isinstance(event, h11.InformationalResponse):
            self._interim += 1
            if self._interim > _MAX_INTERIM_RESPONSES:
                self._end(None)
        elif isinstance(event, h11.Response):
            self._on_head(event)
        elif isinstance(event, h11.Data):
            self._room -= len(event.data)
            self._parts.append(bytes(event.data))
            if self._room < 0 or len(self._parts) > _MAX_BODY_PIECES:
                self._end(TooLarge.TOO_LARGE)
        elif isinstance(event, h11.EndOfMessage):
            self.clean = self._unambiguous and not self._interim and codec.their_state is h11.DONE and codec.trailing_data == (b"", False)
            self._end(b"".join(self._parts))
        else:
            self._end(None)

    def _on_head(self, head: h11.Response) -> None:
        """Read the head of an unusual response.

        If it has two kinds of framing, one takes precedence, but the sender may have meant the other (RFC 9112 section 6.3,
        https://www.rfc-editor.org/rfc/rfc9112#section-6.3). A 408 reports a connection that was idle for too long, and a request that
        crosses it may still be answered (RFC 9110 section 15.5.9, https://www.rfc-editor.org/rfc/rfc9110#section-15.5.9).
        """
        self.status = head.status_code
        named = [(name, value.decode("latin-1")) for name, value in head.headers]
        self._challenges = tuple(value for name, value in named if name == b"www-authenticate")
        self._retry_after = next((value for name, value in named if name == b"retry-after"), "")
        for name, value in head.headers:
            if name == b"cache-control":
                self._cache_control = with_cache_control(self._cache_control, value)
        names = {name for name, _ in named}
        self._unambiguous = head.status_code != _REQUEST_TIMEOUT and not {b"content-length", b"transfer-encoding"} <= names
        if is_redirect(head.status_code):  # nothing that it says is of use
            self._end(b"")
