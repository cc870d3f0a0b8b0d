"""TLS for connections of the HTTP server, by Trio's own TLS stream: this server needs no speed.

Must not know: certificates and their files.
"""

import ssl
from collections.abc import Callable
from typing import Final, final

import attrs
import trio

from exchanger.net.error_text import describe_handshake_error
from exchanger.net.network import SYSTEM
from exchanger.net.tls.server import EXPIRED, has_expired_since, peer_name

# Seconds for a handshake: three round trips and a few milliseconds of work; a client that needs longer has its own timeout.
HANDSHAKE_S: Final = 10.0
_UNKNOWN_PEER: Final = "unknown"


@final
@attrs.frozen
class Tls:
    """How connections are secured. ``context`` returns the one for a new connection, so that certificates may change meanwhile.

    ``on_failed`` gets the peer and the reason of each handshake that failed, and must neither block nor raise. A peer that leaves without
    sending anything, such as a probe that only connects, is not a failure. ``wall`` returns seconds since the epoch.
    """

    context: Callable[[], ssl.SSLContext] = attrs.field(repr=False)
    on_failed: Callable[[str, str], None] = attrs.field(repr=False)
    handshake_s: float = HANDSHAKE_S
    wall: Callable[[], float] = SYSTEM.wall

    async def secure(self, stream: trio.abc.Stream) -> trio.SSLStream[trio.abc.Stream] | None:
        """Do the TLS handshake on ``stream``; return the secured one, or ``None`` if that failed or took too long."""
        # As HTTPS allows, the end of the transport is the end of the stream: each message has a length (RFC 9112 section 9.8).
        context = self.context()
        secured = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        with trio.move_on_after(self.handshake_s) as patience:
            try:
                await secured.do_handshake()
            except trio.BrokenResourceError as error:
                cause = error.__cause__
                # A peer that has gone is not reported. CPython 3.11.2 has the second name for it.
                if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError):
                    self.on_failed(_peer(stream), describe_handshake_error(cause))
                return None
        if patience.cancelled_caught:
            self.on_failed(_peer(stream), "the handshake took too long")
            return None
        if has_expired_since(context, secured.getpeercert(), self.wall(), reused=bool(secured.session_reused)):
            self.on_failed(_peer(stream), EXPIRED)
            return None
        return secured


def _peer(stream: trio.abc.Stream) -> str:
    """Return address and port of the other side."""
    if not isinstance(stream, trio.SocketStream):
        return _UNKNOWN_PEER
    try:
        return peer_name(stream.socket.getpeername())
    except OSError:
        return _UNKNOWN_PEER
