"""A client's side of one unary call: a sans-IO machine, and the loop that runs it over an open stream, plaintext or TLS.

A health check and an export of telemetry need no more: one connection, one call, one small answer. Whatever the server sends ends in a
reply, never in an exception. The codec ``ngh2`` implements HTTP/2 itself; sources as in ``exchanger.net.grpc.connection``.
"""

from typing import Final, final
from urllib.parse import unquote

import attrs
import ngh2
import trio

from exchanger.net.grpc.framing import PREFIX_BYTES, frame, unpack_prefix
from exchanger.net.grpc.status import StatusCode

# Bytes of an answer's body. A health service's has seven, a collector's a sentence.
_MAX_ANSWER: Final = 64 * 1024

# TimeoutValue has at most 8 digits.
_MAX_TIMEOUT_MS: Final = 99_999_999

# Bytes of one read: an answer has a few hundred.
READ_BYTES: Final = 65_536


@final
@attrs.frozen
class CallAnswered:
    """The call ended with OK and one message."""

    message: bytes


@final
@attrs.frozen
class CallRefused:
    """The server ended the call with another status; ``message`` is the server's text."""

    status: StatusCode
    message: str


@final
@attrs.frozen
class CallBroken:
    """There is no gRPC answer; ``reason`` is a sentence."""

    reason: str


Reply = CallAnswered | CallRefused | CallBroken


@final
@attrs.define(eq=False)
class UnaryCall:
    """One call of ``path`` (``/package.Service/Method``); ``reply`` is set when it has ended.

    ``timeout`` is in seconds, for the server. ``metadata`` has names in lower case and values that HTTP can carry. ``encoding`` names the
    compression of ``message`` (``grpc-encoding``), "" for none.
    """

    path: str
    message: bytes = attrs.field(repr=False)
    authority: str
    scheme: str
    timeout: float
    metadata: tuple[tuple[str, str], ...] = attrs.field(default=(), repr=False)
    encoding: str = ""
    reply: Reply | None = attrs.field(default=None, init=False)
    _http: ngh2.Connection = attrs.field(init=False)
    _status: bytes = attrs.field(default=b"", init=False)
    _fields: dict[bytes, bytes] = attrs.field(factory=dict, init=False, repr=False)
    _body: bytearray = attrs.field(factory=bytearray, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._http = ngh2.Connection(ngh2.Role.CLIENT)
        self._http.initiate_connection()
        headers = (
            (b":method", b"POST"),
            (b":scheme", self.scheme.encode("ascii")),
            (b":authority", self.authority.encode("idna" if not self.authority.isascii() else "ascii")),
            (b":path", self.path.encode("ascii")),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
            (b"grpc-timeout", b"%dm" % min(max(1, round(self.timeout * 1000)), _MAX_TIMEOUT_MS)),
            *(((b"grpc-encoding", self.encoding.encode("ascii")),) if self.encoding else ()),
            *((name.encode("ascii"), value.encode("ascii")) for name, value in self.metadata),
        )
        stream = self._http.send_request(list(headers), end_stream=False)
        self._http.send_data(stream, frame(self.message, compressed=bool(self.encoding)), end_stream=True)

    def data_to_send(self) -> bytes:
        """Return the bytes for the server."""
        try:
            data = self._http.data_to_send()
            self._process()
        except ngh2.NGH2Error as error:
            self._end(CallBroken(f"no HTTP/2: {type(error).__name__}"))
            return b""
        return data

    def receive(self, data: bytes) -> None:
        """Add ``data`` from the server, empty when it has closed the connection."""
        if not data:
            self._end(CallBroken("connection closed by the server before it answered"))
            return
        try:
            self._http.receive_data(data)
            self._process()
        except ngh2.NGH2Error:
            self._end(CallBroken("the server does not speak HTTP/2 here"))

    def _process(self) -> None:
        for event in self._http.events():
            match event:
                case ngh2.ResponseReceived(headers=headers):
                    self._fields = dict(headers)
                    self._status = self._fields.get(b":status", b"")
                case ngh2.TrailersReceived(headers=trailers):
                    self._fields |= dict(trailers)
                case ngh2.DataReceived(data=data):
                    self._body += data
                    if len(self._body) > _MAX_ANSWER:
                        self._end(CallBroken(f"answer of more than {_MAX_ANSWER} bytes"))
                case ngh2.StreamReset(error_code=code):
                    self._end(CallBroken(f"call reset by the server (HTTP/2 error {int(code)})"))
                case ngh2.StreamClosed():
                    self._end(self._check())
                case ngh2.ConnectionClosed():
                    self._end(CallBroken("connection ended by the server before it answered"))

    def _check(self) -> Reply:
        code, body = self._fields.get(b"grpc-status", b""), bytes(self._body)
        if not code:
            return CallBroken(f"no gRPC: HTTP status {self._status.decode('ascii', 'replace') or 'missing'}")
        if code != b"0":
            text = unquote(self._fields.get(b"grpc-message", b"").decode("ascii", "replace"))
            status = StatusCode(int(code)) if code.isdigit() and int(code) in set(StatusCode) else StatusCode.UNKNOWN
            return CallRefused(status, text)
        if len(body) < PREFIX_BYTES or unpack_prefix(body) != (0, len(body) - PREFIX_BYTES):
            return CallBroken("the answer is not one message")
        return CallAnswered(body[PREFIX_BYTES:])

    def _end(self, reply: Reply) -> None:
        if self.reply is None:
            self.reply = reply


async def exchange(stream: trio.abc.Stream, call: UnaryCall) -> Reply:
    """Make ``call`` over ``stream`` and return the reply; the caller bounds the time and closes the stream.

    Raises:
        trio.BrokenResourceError: the connection broke.
    """
    while True:
        if data := call.data_to_send():
            await stream.send_all(data)
        if call.reply is not None:
            return call.reply
        call.receive(bytes(await stream.receive_some(READ_BYTES)))
