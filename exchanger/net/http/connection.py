"""The server's side of an HTTP/1.1 connection: bytes become requests, and responses become bytes. Pure.

Usual requests are read here (``http/fast_path.py``), any other message by a reader of h11 that lives as long as the message.

Source: RFC 9112 (https://www.rfc-editor.org/rfc/rfc9112)
"""

import re
from http import HTTPStatus
from typing import Final, final

import attrs
import h11

from exchanger.net.http.fast_path import WITHOUT_LENGTH, read_request, response_head
from exchanger.net.http.limits import HttpLimits
from exchanger.net.http.message import Headers, Request, Response

_LOOSE_LINE: Final = re.compile(rb"(?<!\r)\n|\n[ \t]")
_VERSIONS: Final = frozenset({b"1.0", b"1.1"})
_REASONS: Final = {status.value: status.phrase.encode() for status in HTTPStatus}
_BAD_REQUEST: Final = 400
_HEAD_TOO_LARGE: Final = 431
_NOT_IMPLEMENTED: Final = 501
_BLANK: Final = 0x20


class BadMessageError(Exception):
    """What arrived is no request that is answered here. The connection ends after a response with ``status``."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@final
@attrs.define(eq=False)
class ServerConnection:
    """Reads one request after another: its head, then the pieces of its body if it has one; then its response is due.

    A request may be answered without its body. The connection ends after that response.
    """

    _limits: HttpLimits
    _pending: bytes = attrs.field(default=b"", init=False, repr=False)
    _reader: h11.Connection | None = attrs.field(default=None, init=False, repr=False)
    _searched: int = attrs.field(default=0, init=False)  # bytes of a head that is not whole, and its lines
    _lines: int = attrs.field(default=0, init=False)
    _at_end: bool = attrs.field(default=False, init=False)

    @property
    def silent(self) -> bool:
        """Whether nothing of the next request has arrived."""
        return self._reader is None and not self._pending

    @property
    def waits(self) -> bool:
        """Whether only the peer can make something of it happen: all that has arrived was read, and that was not the end."""
        return self.silent and not self._at_end

    @property
    def ended(self) -> bool:
        """Whether the peer has sent its last request, and all were read."""
        return self._at_end and self.silent

    @property
    def early(self) -> bytes:
        """What arrived after the present request, up to the last read."""
        return self._pending if self._reader is None else self._reader.trailing_data[0]

    def receive(self, data: bytes) -> None:
        """Add ``data`` of the peer; ``b""`` is the end."""
        self._at_end = self._at_end or not data
        if self._reader is None:
            self._pending += data
        else:
            self._reader.receive_data(data)

    def is_brief(self, lines: int) -> bool:
        """Return whether no more than one head of at most ``lines`` lines has arrived, in one piece."""
        data = self._pending
        return self._reader is None and not self._searched and data.find(b"\r\n\r\n") == len(data) - 4 and data.count(b"\n") <= lines

    def usual_request(self) -> Request | None:
        """Return the next request if it is a usual one, and has arrived in one piece."""
        if self._reader is not None or not self._pending or self._searched:
            return None
        found = read_request(self._pending, self._limits.head_bytes, self._limits.head_lines)
        if found is None:
            return None
        request, size = found
        self._pending = self._pending[size:]
        return request

    def other_request(self) -> Request | None:
        """Return the next request, its head only, of any kind; ``None`` if it is not whole.

        Raises:
            BadMessageError: it is none, or its head is too large.
        """
        if self.silent or not self._is_whole():
            return None
        if self._searched:
            self._searched = 0
            if (request := self.usual_request()) is not None:
                return request
        reader = self._reader = h11.Connection(h11.SERVER, max_incomplete_event_size=self._limits.head_bytes)
        reader.receive_data(self._pending)
        self._pending = b""
        if self._at_end:
            reader.receive_data(b"")
        event = self._next_event(reader)
        if not isinstance(event, h11.Request):
            raise BadMessageError(_BAD_REQUEST)
        headers = tuple((name.decode("ascii"), value.decode("latin-1")) for name, value in event.headers)
        request = Request(event.method.decode("ascii"), event.target.decode("ascii"), headers, version=event.http_version.decode("ascii"))
        if event.http_version not in _VERSIONS:
            raise BadMessageError(_BAD_REQUEST)
        if request.method == "CONNECT":  # a 2xx would turn the connection into a tunnel (RFC 9110 section 9.3.6)
            raise BadMessageError(_NOT_IMPLEMENTED)
        if not request.has_body:
            self._next_event(reader)  # the end of the message, which has already arrived
        return request

    def go_ahead(self) -> bytes:
        """Return what to send to a peer that waits for leave to send the body, or ``b""``."""
        reader = self._reader
        if reader is None or not reader.they_are_waiting_for_100_continue:
            return b""
        return reader.send(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")) or b""

    def body_piece(self) -> bytes | None:
        """Return the next piece of the present request's body, ``b""`` at its end, or ``None`` if that has not arrived.

        Raises:
            BadMessageError: what arrived is not HTTP, or the peer has left in the middle.
        """
        reader = self._reader
        if reader is None:
            return b""
        event = self._next_event(reader)
        if event is h11.NEED_DATA:
            return None
        return bytes(event.data) if isinstance(event, h11.Data) else b""

    def respond(self, response: Response, always: Headers, *, head_only: bool, close: bool) -> tuple[bytes, bytes, bool]:
        """Return head and body of ``response``, and whether the connection ends after it; otherwise the next request may be read.

        ``always`` are further headers. ``close``: the connection ends in any case.

        Raises:
            UnsendableError, h11.LocalProtocolError: a header has characters that no header may have.
        """
        body = b"" if head_only or response.status in WITHOUT_LENGTH else response.body
        close = close or response.closes
        reader = self._reader
        if reader is None:
            return response_head(response, always, ends=close), body, close
        headers = [(name.encode("ascii"), value.encode("latin-1")) for name, value in (*response.headers, *always)]
        if response.status not in WITHOUT_LENGTH:
            headers.append((b"Content-Length", str(len(response.body)).encode()))
        close = close or reader.their_state in {h11.SEND_BODY, h11.ERROR}
        if close:
            headers.append((b"Connection", b"close"))  # what else arrives is not another request
        head = reader.send(h11.Response(status_code=response.status, headers=headers, reason=_REASONS.get(response.status, b""))) or b""
        if body:
            reader.send(h11.Data(data=body))  # as it is: the head has its length
        reader.send(h11.EndOfMessage())
        if close or reader.our_state is not h11.DONE or reader.their_state is not h11.DONE:
            return head, body, True
        self._pending, self._reader = bytes(reader.trailing_data[0]), None
        return head, body, False

    def _is_whole(self) -> bool:
        """Return whether the head is whole, and check its size, and its lines, of which h11 accepts some that others do not.

        A bare LF, or a line that continues the previous one (RFC 9112 sections 2.2 and 5.2), could hide a field from the peer that relayed
        the message. No byte is searched twice, since a head may come byte by byte.
        """
        data, searched = self._pending, self._searched
        before = max(0, searched - 2)
        size = min((at + len(end) for end in (b"\n\r\n", b"\n\n") if (at := data.find(end, before)) >= 0), default=0)
        self._lines += data.count(b"\n", searched, size - 1 if size else len(data))
        if (size or len(data)) > self._limits.head_bytes or self._lines > self._limits.head_lines:
            raise BadMessageError(_HEAD_TOO_LARGE)
        if size:
            if _LOOSE_LINE.search(data, 0, size):
                raise BadMessageError(_BAD_REQUEST)
            self._lines = 0
            return True
        if self._at_end or data[0] <= _BLANK:  # the first bytes of TLS, for example
            raise BadMessageError(_BAD_REQUEST)
        self._searched = len(data)
        return False

    def _next_event(self, reader: h11.Connection) -> object:
        try:
            return reader.next_event()
        except h11.RemoteProtocolError as error:
            raise BadMessageError(_HEAD_TOO_LARGE if error.error_status_hint == _HEAD_TOO_LARGE else _BAD_REQUEST) from None
