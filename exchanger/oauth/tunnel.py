"""A tunnel through an HTTP proxy: CONNECT (RFC 9110 section 9.3.6, https://www.rfc-editor.org/rfc/rfc9110#section-9.3.6).

The proxy is told a host, a port and its own credentials. Its answer is read here to the last byte, so that nothing of it can be taken for
the endpoint's. Knows nothing of TLS, pools or tokens. What the proxy does wrong is a value: h11's messages quote headers.
"""

from base64 import b64encode
from http import HTTPStatus
from typing import Final

import h11
import trio

from exchanger.oauth.http1 import close_at_once
from exchanger.values.secret import Secret

MAX_ANSWER_BYTES: Final = 8 * 1024
"""Bytes of the proxy's answer that are read, interim responses included; a usual one has less than 200."""

_MAX_READS: Final = 64
"""So that an answer in single bytes costs nothing to speak of; a usual one comes in one read."""


async def open_tunnel(stream: trio.abc.Stream, host: str, port: int, credentials: Secret) -> bool:
    """Ask the proxy at the other end of ``stream`` for a tunnel to ``host`` and ``port``; return whether ``stream`` leads there now.

    ``stream`` is closed if not, also when cancelled; how long it takes is the caller's to bound.
    """
    opened = False
    try:
        opened = await _ask(stream, f"[{host}]:{port}" if ":" in host else f"{host}:{port}", credentials.reveal())
    except (h11.ProtocolError, trio.BrokenResourceError):
        pass
    finally:
        if not opened:
            await close_at_once(stream)
    return opened


async def _ask(stream: trio.abc.Stream, authority: str, credentials: str) -> bool:
    codec = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_ANSWER_BYTES)
    headers = [("Host", authority), ("User-Agent", "exchanger")]
    if credentials:
        headers.append(("Proxy-Authorization", f"Basic {b64encode(credentials.encode()).decode()}"))
    head = codec.send(h11.Request(method="CONNECT", target=authority, headers=headers)) or b""
    codec.send(h11.EndOfMessage())
    await stream.send_all(head)
    room = MAX_ANSWER_BYTES
    for _ in range(_MAX_READS):
        data = await stream.receive_some(room)
        codec.receive_data(bytes(data))
        room -= len(data)
        while isinstance(event := codec.next_event(), h11.InformationalResponse):
            pass
        if event is not h11.NEED_DATA:
            # Bytes behind the head are nobody's: the endpoint was not asked anything yet.
            return isinstance(event, h11.Response) and _is_success(event.status_code) and codec.trailing_data == (b"", False)
        if not room:
            break
    return False


def _is_success(status: int) -> bool:
    return HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES
