"""Requests and answers of the console on an HTTP/1.1 connection, over h11; every wait and every size is bounded.

Must not know: routes, or who may ask.
"""

from typing import Final

import h11
import trio

from exchanger.console.message import Request, Response, protected
from exchanger.http.connection import HeadLimits, send_bounded

MAX_HEAD: Final = 32 * 1024
"""Bytes of a request line and its headers; a browser on localhost brings the cookies of every other program there."""
MAX_LINES: Final = 128
"""Lines of a head: browsers send some twenty, and proxies add some. Each costs time in the loop that requests are decided in."""
IDLE_S: Final = 30.0
"""Seconds until the first byte of a request; browsers open connections ahead of use and keep them, and there is room for some dozens."""
REQUEST_S: Final = 10.0
"""Seconds for a request to arrive from its first byte on."""
ANSWER_S: Final = 60.0
"""Seconds for an answer to be taken: the largest, some megabytes of a policy with its entries, through a forwarded port."""
HEAD_LIMITS: Final = HeadLimits(MAX_HEAD, MAX_LINES, IDLE_S, REQUEST_S)
_RECEIVE_BYTES: Final = 16 * 1024
_JOINED: Final = 64 * 1024
"""Bytes of a body that goes out with its head; a larger one is not copied for that."""
_VERSIONS: Final = frozenset({b"1.0", b"1.1"})

_REASONS: Final = {
    200: b"OK",
    204: b"No Content",
    304: b"Not Modified",
    400: b"Bad Request",
    401: b"Unauthorized",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    411: b"Length Required",
    413: b"Content Too Large",
    415: b"Unsupported Media Type",
    421: b"Misdirected Request",
    426: b"Upgrade Required",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
}


def read_request(head: h11.Request) -> Request | None:
    """Return the request that ``head`` is, without body; ``None`` when its target is not in origin form (RFC 9112 section 3.2.1).

    Raises:
        h11.RemoteProtocolError: it is of a version that does not exist.
    """
    if head.http_version not in _VERSIONS:
        raise h11.RemoteProtocolError("no version of HTTP/1")
    target = head.target.decode("ascii")
    if not target.startswith("/"):
        return None
    path, _, query = target.partition("?")
    headers = tuple((name.decode("ascii"), value.decode("latin-1")) for name, value in head.headers)
    return Request(head.method.decode("ascii"), path, query, headers)


def has_body(request: Request) -> bool:
    """Tell whether a body follows (RFC 9112 section 6.3)."""
    return is_chunked(request) or request.value("content-length") not in {"", "0"}


def is_chunked(request: Request) -> bool:
    """Tell whether the body's length is not known before it is there.

    Nobody sends so here, and what is in front may see another end of such a request than we do (RFC 9112 sections 6.1 and 11.2).
    """
    return bool(request.values("transfer-encoding"))


def is_longer(request: Request, limit: int) -> bool:
    """Tell whether the body is said to be longer than ``limit``; the length has been judged with the head."""
    return int(request.value("content-length") or 0) > limit


async def receive_body(stream: trio.abc.Stream, protocol: h11.Connection, limit: int) -> bytes | None:
    """Return the body that follows, ``None`` when it is larger than ``limit``.

    Raises:
        h11.RemoteProtocolError: what was received is no HTTP.
        trio.BrokenResourceError: the connection broke, or the peer takes too long.
    """
    body = bytearray()
    with trio.move_on_after(REQUEST_S):
        while True:
            event = protocol.next_event()
            if isinstance(event, h11.Data):
                body += event.data
                if len(body) > limit:
                    return None
            elif event is h11.NEED_DATA:
                if protocol.they_are_waiting_for_100_continue:
                    await stream.send_all(protocol.send(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")) or b"")
                protocol.receive_data(bytes(await stream.receive_some(_RECEIVE_BYTES)))
            elif isinstance(event, h11.EndOfMessage):
                return bytes(body)
            else:
                break
    raise trio.BrokenResourceError("the request did not arrive")


async def send_response(stream: trio.abc.Stream, protocol: h11.Connection, response: Response, *, head_only: bool) -> None:
    """Send ``response``.

    Raises:
        trio.BrokenResourceError: the connection broke, or the peer does not read.
    """
    headers = [(name.encode("ascii"), value.encode("latin-1")) for name, value in protected(response.headers)]
    if response.status not in {204, 304}:  # which have no content (RFC 9110 section 8.6)
        headers.append((b"Content-Length", str(len(response.body)).encode()))
    parts = [protocol.send(h11.Response(status_code=response.status, headers=headers, reason=_REASONS.get(response.status, b""))) or b""]
    if response.body and not head_only:
        parts.append(protocol.send(h11.Data(data=response.body)) or b"")
    parts.append(protocol.send(h11.EndOfMessage()) or b"")
    await send_bounded(stream, *((b"".join(parts),) if len(response.body) <= _JOINED else parts), seconds=ANSWER_S)
