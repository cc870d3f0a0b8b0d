"""The opening handshake of a WebSocket, read before anything is handed to a library, and written anew from the one part that matters.

Must not know: sockets, or the frames that follow.

Source: RFC 6455 section 4.2.1 (https://www.rfc-editor.org/rfc/rfc6455#section-4.2.1)
"""

import re
from typing import Final, final

import attrs

from exchanger.console.message import Request, Response, error

VERSION: Final = "13"
_KEY: Final = re.compile(r"[A-Za-z0-9+/]{21}[AQgw]==", re.ASCII)
"""Base64 of 16 bytes."""


@final
@attrs.frozen
class Handshake:
    """The client's key, which the server's answer proves to have been read."""

    key: str

    def request(self, path: str, host: str) -> bytes:
        """Return an opening request with this key and nothing else of the client's."""
        lines = (
            f"GET {path} HTTP/1.1",
            f"Host: {host}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {self.key}",
            f"Sec-WebSocket-Version: {VERSION}",
        )
        return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


def read_handshake(request: Request) -> Handshake | Response:
    """Return the handshake that ``request`` is, or what it is answered as it is none. Extensions and subprotocols are not taken up."""
    if request.method != "GET" or not (_has(request, "connection", "upgrade") and _has(request, "upgrade", "websocket")):
        return error(426, "this is a WebSocket", ("Upgrade", "websocket"), ("Connection", "Upgrade"))
    if request.values("sec-websocket-version") != (VERSION,):
        return error(426, f"version {VERSION} of the WebSocket protocol is spoken here", ("Sec-WebSocket-Version", VERSION))
    key = request.value("sec-websocket-key")
    return Handshake(key) if _KEY.fullmatch(key) else error(400, "the WebSocket's key is missing or malformed")


def _has(request: Request, name: str, token: str) -> bool:
    return any(part.strip(" \t").lower() == token for value in request.values(name) for part in value.split(","))
