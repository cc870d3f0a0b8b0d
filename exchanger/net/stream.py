"""Connections that one task owns, for a single request or a single peer: nothing here is on the path of a request.

Requests to issuers use ``pool``. The exporters of telemetry cannot: they still have something to send when the reactor has ended.
"""

import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Final

import h11
import trio

from exchanger.util.address import tls_server_name

# Opens a TCP connection to a host and port, or raises ``OSError``; see ``Network``.
Dial = Callable[[str, int], Awaitable[trio.abc.Stream]]

# Bytes of one read.
_RECEIVE_BYTES: Final = 64 * 1024


async def open_stream(connect: Dial, host: str, port: int, context: ssl.SSLContext | None, name: str = "") -> trio.abc.Stream:
    """Return a connection, over TLS if there is a ``context``, to a server called ``name`` or like its host. The caller bounds the time.

    Raises:
        OSError: there is no connection.
        trio.BrokenResourceError: there is no TLS.
        ValueError: the host is nothing that a resolver or TLS takes for a name.
    """
    stream = await connect(host, port)
    if isinstance(stream, trio.SocketStream):
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # some wait for ever for their peer's next message
    if context is None:
        return stream
    try:
        # All messages sent over it have explicit lengths, so nothing depends on a close_notify.
        secured = trio.SSLStream(stream, context, server_hostname=tls_server_name(name or host), https_compatible=True)
        await secured.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return secured


async def ask(stream: trio.abc.Stream, request: h11.Request, body: bytes, max_body: int) -> tuple[h11.Response, bytes]:
    """Send a request over HTTP/1.1, and return the head and the body of its response. The caller bounds the time.

    A body that is longer than ``max_body`` is not read to its end.

    Raises:
        h11.LocalProtocolError: the request is not valid HTTP; the message may quote it.
        h11.RemoteProtocolError: the response is not.
        trio.BrokenResourceError: the connection broke, or ended too early.
    """
    codec = h11.Connection(h11.CLIENT)
    await stream.send_all(b"".join(codec.send(event) or b"" for event in (request, h11.Data(data=body), h11.EndOfMessage())))
    head: h11.Response | None = None
    content, ended = bytearray(), False
    while True:
        try:
            event = codec.next_event()
        except h11.RemoteProtocolError as error:
            if ended:
                raise trio.BrokenResourceError from error
            raise
        if event is h11.NEED_DATA:
            data = bytes(await stream.receive_some(_RECEIVE_BYTES))
            ended = not data
            codec.receive_data(data)
        elif isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            content += event.data
        if head is not None and (isinstance(event, h11.EndOfMessage) or len(content) > max_body):
            return head, bytes(content)
