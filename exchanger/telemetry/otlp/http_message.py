"""One message of OTLP as a POST over HTTP/1.1. Must not know: how the connection was made, or when to try again.

Source: https://opentelemetry.io/docs/specs/otlp/#otlphttp
"""

import gzip
import re
from typing import Final

import h11
import trio

from exchanger import __version__
from exchanger.telemetry.otlp.answer import Accepted, Answer, Refused
from exchanger.telemetry.otlp.settings import Target

MAX_ANSWER_BYTES: Final = 64 * 1024
"""Of an answer's body; a usual one is empty, or a sentence on what was rejected."""
RECEIVE_BYTES: Final = 4096
"""Of one read; an answer fits."""
GZIP_LEVEL: Final = 1
"""The fastest: spans repeat themselves so much that more effort gains little, and the event loop waits for it."""

_SUCCESS: Final = range(200, 300)
_RETRYABLE: Final = frozenset({429, 502, 503, 504})  # https://opentelemetry.io/docs/specs/otlp/#failures-1
_RETRY_AFTER: Final = re.compile(r"[0-9]{1,6}", re.ASCII)


async def send_by_http(stream: trio.abc.Stream, target: Target, body: bytes) -> Answer:
    """Send ``body`` and return the answer; the caller bounds the time and closes the stream.

    Raises:
        trio.BrokenResourceError: the connection broke.
    """
    try:
        request = _request(target, body)
    except h11.LocalProtocolError:
        return Refused("the headers that are set cannot be sent", retryable=False)
    await stream.send_all(request)
    return await _answer(stream)


def _request(target: Target, body: bytes) -> bytes:
    headers = [
        ("Host", target.authority),
        ("Content-Type", "application/x-protobuf"),
        ("Connection", "close"),
        *((name, value.reveal()) for name, value in target.headers),
    ]
    if not any(name.lower() == "user-agent" for name, _ in target.headers):  # there is one at most (RFC 9110 section 10.1.5)
        headers.append(("User-Agent", f"exchanger/{__version__}"))
    if target.gzip:
        body = gzip.compress(body, GZIP_LEVEL)
        headers.append(("Content-Encoding", "gzip"))
    headers.append(("Content-Length", str(len(body))))
    connection = h11.Connection(h11.CLIENT)
    events = (h11.Request(method="POST", target=target.path, headers=headers), h11.Data(data=body), h11.EndOfMessage())
    return b"".join(connection.send(event) or b"" for event in events)


async def _answer(stream: trio.abc.Stream) -> Answer:
    """Read the answer; of a body that is too long the beginning is enough."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="POST", target="/", headers=[("Host", "")]))
    connection.send(h11.EndOfMessage())
    head: h11.Response | None = None
    body, ended = bytearray(), False
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError:
            return Refused("the connection broke", retryable=True) if ended else Refused("the answer is no HTTP", retryable=False)
        if event is h11.NEED_DATA:
            data = bytes(await stream.receive_some(RECEIVE_BYTES))
            ended = not data
            connection.receive_data(data)
        elif isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        if head is not None and (isinstance(event, h11.EndOfMessage) or len(body) > MAX_ANSWER_BYTES):
            return _meaning(head, bytes(body))


def _meaning(head: h11.Response, body: bytes) -> Answer:
    if head.status_code in _SUCCESS:
        return Accepted(body)
    found = next((value.decode("latin-1") for name, value in head.headers if name == b"retry-after"), "")
    retry_after = float(found) if _RETRY_AFTER.fullmatch(found) else None
    return Refused(f"HTTP status {head.status_code}", head.status_code in _RETRYABLE, retry_after)
