"""HTTP/1.1 for the demo's small servers: one message as a value, and a bounded server over h11.

Must not know: tokens, Envoy, or what the handlers answer.
"""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import final

import attrs
import h11
import trio

Headers = tuple[tuple[str, str], ...]

READ_CHUNK = 65_536  # bytes: what one read takes from the socket at most
MAX_HEAD = 131_072  # bytes of request or status line and headers: twice the 60 KiB of headers that Envoy lets through, and room
MAX_BODY = 262_144  # bytes: a token request with a subject token of 64 KiB, percent-encoded, fits
MAX_CONNECTIONS = 256  # the demo's clients open a few dozen; more is a mistake, and is closed at once
READ_TIMEOUT = 120.0  # seconds: longer than the 90 s for which the service keeps an idle connection, so that the client closes first
WRITE_TIMEOUT = 10.0  # seconds: answers are a few KiB on loopback


@final
@attrs.frozen
class Request:
    """One request; ``target`` is the path with its query. Headers are hidden from repr: they carry tokens."""

    method: str
    target: str
    headers: Headers = attrs.field(default=(), repr=False)
    body: bytes = attrs.field(default=b"", repr=False)

    def header(self, name: str) -> str:
        """Return the first header of that name (in lower case), "" if there is none."""
        return next(iter(values_of(self.headers, name)), "")


@final
@attrs.frozen
class Response:
    """One answer. Headers and body are hidden from repr: they carry tokens."""

    status: int
    headers: Headers = attrs.field(default=(), repr=False)
    body: bytes = attrs.field(default=b"", repr=False)

    def values(self, name: str) -> tuple[str, ...]:
        """Return all headers of that name (in lower case), in order."""
        return values_of(self.headers, name)


Handler = Callable[[Request], Awaitable[Response]]


def values_of(headers: Headers, name: str) -> tuple[str, ...]:
    """Return the values of the headers called ``name`` (in lower case), in order."""
    return tuple(value for key, value in headers if key.lower() == name)


async def serve_http(
    handler: Handler, host: str | None, port: int, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED
) -> None:
    """Answer HTTP/1.1 on ``host`` (``None``: all interfaces) until cancelled; ``started()`` has the port, a free one for ``port`` 0.

    Raises:
        OSError: the address cannot be bound.
    """
    listeners = await trio.open_tcp_listeners(port, host=host)
    connections = trio.CapacityLimiter(MAX_CONNECTIONS)

    async def connection(stream: trio.SocketStream) -> None:
        async with stream:
            try:
                connections.acquire_on_behalf_of_nowait(stream)
            except trio.WouldBlock:
                return
            try:
                await _serve_connection(handler, stream)
            except (trio.BrokenResourceError, trio.TooSlowError):
                return  # the client left, or sends nothing: its connection is all that ends
            finally:
                connections.release_on_behalf_of(stream)

    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, connection, listeners)
        task_status.started(listeners[0].socket.getsockname()[1])


async def _serve_connection(handler: Handler, stream: trio.abc.Stream) -> None:
    protocol = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
    while True:
        try:
            with trio.fail_after(READ_TIMEOUT):
                request = await _receive_request(protocol, stream)
        except h11.RemoteProtocolError as error:
            if protocol.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
                await _send(protocol, stream, Response(error.error_status_hint), head_only=False)
            return
        if request is None:
            return
        response = await handler(request)
        await _send(protocol, stream, response, head_only=request.method == "HEAD")
        if protocol.our_state is not h11.DONE or protocol.their_state is not h11.DONE:
            return
        protocol.start_next_cycle()


async def _receive_request(protocol: h11.Connection, stream: trio.abc.Stream) -> Request | None:
    """Read one request, ``None`` when the client has closed."""
    head: h11.Request | None = None
    body = bytearray()
    while True:
        event = protocol.next_event()
        if event is h11.NEED_DATA:
            if protocol.they_are_waiting_for_100_continue:
                await stream.send_all(protocol.send(h11.InformationalResponse(status_code=HTTPStatus.CONTINUE, headers=[])) or b"")
            protocol.receive_data(bytes(await stream.receive_some(READ_CHUNK)))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > MAX_BODY:
                raise h11.RemoteProtocolError("body too large", error_status_hint=HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            return Request(
                method=head.method.decode("ascii"), target=head.target.decode("latin-1"), headers=decode_headers(head), body=bytes(body)
            )
        else:  # ConnectionClosed, or PAUSED, which asks for nothing more
            return None


async def _send(protocol: h11.Connection, stream: trio.abc.Stream, response: Response, *, head_only: bool) -> None:
    headers = [*response.headers, ("Content-Length", str(len(response.body)))]
    data = protocol.send(h11.Response(status_code=response.status, headers=headers)) or b""
    if response.body and not head_only:
        data += protocol.send(h11.Data(data=response.body)) or b""
    data += protocol.send(h11.EndOfMessage()) or b""
    with trio.fail_after(WRITE_TIMEOUT):
        await stream.send_all(data)


def decode_headers(message: h11.Request | h11.Response) -> Headers:
    """Return the headers of an h11 message as text; names are in lower case."""
    return tuple((name.decode("ascii"), value.decode("latin-1")) for name, value in message.headers)
