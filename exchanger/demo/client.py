"""One HTTP/1.1 request on a connection of its own, over h11: what the demo's scenarios need of a client.

Must not know: what is asked, or what the answer means.
"""

import h11
import trio

from exchanger.demo.faults import NoAnswerError
from exchanger.demo.http import MAX_BODY, MAX_HEAD, READ_CHUNK, Request, Response, decode_headers

LOOPBACK = "127.0.0.1"


async def fetch(port: int, request: Request, *, timeout: float) -> Response:  # noqa: ASYNC109 - the bound belongs to the call
    """Send ``request`` to ``port`` on the loopback address and return the answer.

    Args:
        port: TCP port.
        request: must have a ``Host`` header.
        timeout: seconds for all of it, from connecting to the answer's last byte.

    Raises:
        NoAnswerError: connection refused or cut, no answer within ``timeout``, or no valid HTTP.
    """
    try:
        with trio.fail_after(timeout):
            async with await trio.open_tcp_stream(LOOPBACK, port) as stream:
                return await _exchange(stream, request)
    except trio.TooSlowError:
        raise NoAnswerError(f"no answer within {timeout:g} s") from None
    except (OSError, trio.BrokenResourceError, h11.RemoteProtocolError) as error:
        raise NoAnswerError(f"no answer: {type(error).__name__}") from None


async def _exchange(stream: trio.SocketStream, request: Request) -> Response:
    protocol = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
    headers = [*request.headers, ("Connection", "close")]
    if request.body:
        headers.append(("Content-Length", str(len(request.body))))
    data = protocol.send(h11.Request(method=request.method, target=request.target, headers=headers)) or b""
    if request.body:
        data += protocol.send(h11.Data(data=request.body)) or b""
    data += protocol.send(h11.EndOfMessage()) or b""
    await stream.send_all(data)

    head: h11.Response | None = None
    body = bytearray()
    while True:
        event = protocol.next_event()
        if event is h11.NEED_DATA:
            protocol.receive_data(await stream.receive_some(READ_CHUNK))
        elif isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > MAX_BODY:
                raise NoAnswerError(f"answer of more than {MAX_BODY} bytes")
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            return Response(status=head.status_code, headers=decode_headers(head), body=bytes(body))
        elif not isinstance(event, h11.InformationalResponse):
            raise NoAnswerError("no answer: connection closed")  # h11 raises an error of its own first; this ends the loop in any case
