"""One HTTP/1.1 request on a connection of its own, over h11, plain or by TLS: what the scenarios need of a client.

Must not know: what is asked, or what the answer means.
"""

import os
import socket
import ssl

import h11
import trio

from exchanger.demo.faults import NoAnswerError
from exchanger.demo.http import MAX_BODY, MAX_HEAD, READ_CHUNK, Request, Response, decode_headers
from exchanger.util.address import tls_server_name

LOOPBACK = "127.0.0.1"


async def fetch(port: int, request: Request, *, timeout: float) -> Response:  # noqa: ASYNC109 - the bound belongs to the call
    """Send ``request`` to ``port`` on the loopback address and return the answer; see ``fetch_from``."""
    return await fetch_from(LOOPBACK, port, request, timeout=timeout)


async def fetch_from(
    host: str,
    port: int,
    request: Request,
    *,
    timeout: float,  # noqa: ASYNC109 - the bound belongs to the call
    tls: ssl.SSLContext | None = None,
    server_name: str = "",
) -> Response:
    """Send ``request`` and return the answer.

    Args:
        host: name or address to connect to.
        port: TCP port.
        request: must have a ``Host`` header.
        timeout: seconds for all of it, from connecting to the answer's last byte.
        tls: how the connection is secured, ``None`` for not at all.
        server_name: the name in the server's certificate, which it is also told (SNI); "" for ``host``.

    Raises:
        NoAnswerError: connection refused or cut, no answer within ``timeout``, or no valid HTTP.
    """
    try:
        with trio.fail_after(timeout):
            async with await trio.open_tcp_stream(host, port) as connected:
                if tls is None:
                    return await _exchange(connected, request)
                # Where an answer ends is told by HTTP, so that servers which close without close_notify are understood as well.
                name = tls_server_name(server_name or host)
                secured = trio.SSLStream(connected, tls, server_hostname=name, https_compatible=True)
                return await _exchange(secured, request)
    except trio.TooSlowError:
        raise NoAnswerError(f"no answer within {timeout:g} s") from None
    except h11.LocalProtocolError:
        raise NoAnswerError("not sent: the request is no valid HTTP") from None
    except (OSError, trio.BrokenResourceError, h11.RemoteProtocolError) as error:
        raise NoAnswerError(f"no answer: {_reason(error)}") from None


async def _exchange(stream: trio.abc.Stream, request: Request) -> Response:
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
            protocol.receive_data(bytes(await stream.receive_some(READ_CHUNK)))
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


def _reason(error: Exception) -> str:
    """Return why, in the system's or the TLS library's words, which never hold what was sent."""
    cause = error.__cause__
    while isinstance(cause, BaseExceptionGroup):  # several addresses were tried: the last one speaks for all
        cause = cause.exceptions[-1]
    for known in (cause, error):
        match known:
            case ssl.SSLCertVerificationError():
                return f"certificate not accepted: {known.verify_message}"
            case ssl.SSLError():
                return f"TLS failed: {known.reason or 'no reason given'}"
            case socket.gaierror():
                return f"the name is not known: {known.strerror or 'no reason given'}"
            case OSError() if known.errno:
                return os.strerror(known.errno).lower()
    return type(error).__name__
