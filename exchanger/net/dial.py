"""New connections to token endpoints: TCP, a proxy's tunnel, and TLS with verification, each within its own bound.

Knows nothing of requests or tokens. Failure to reach an endpoint is a value: h11's messages quote headers.
"""

import ssl
from base64 import b64encode
from http import HTTPStatus
from typing import Final, Protocol, final

import attrs
import h11
import trio

from exchanger.model.issuer import ClientCertificate, EndpointProtocol
from exchanger.model.proxy import Proxy
from exchanger.model.secret import Secret
from exchanger.net.error_text import describe_error
from exchanger.net.network import Network
from exchanger.net.tcp import SocketTransport
from exchanger.net.tls.client import ClientTlsTransport, decrypted, encrypted
from exchanger.net.tls.client_contexts import NoTlsContext, TlsContexts
from exchanger.net.tls.layer import TlsLayer
from exchanger.util.address import tls_server_name

# Bytes of a proxy's answer that are read, including interim responses. A usual one has less than 200.
MAX_PROXY_ANSWER_BYTES: Final = 8 * 1024

# This limits the cost of an answer in single bytes. A usual one comes in one read.
_MAX_READS: Final = 64

# Bytes per read: one TLS record (RFC 8446 section 5.1).
_READ_BYTES: Final = 16 * 1024

# ALPN (RFC 7301) for each protocol of token endpoints; the names are those of RFC 9113 section 3.1 and RFC 7301 section 6.
_OFFERS: Final = {
    EndpointProtocol.AUTO: ("h2", "http/1.1"),
    EndpointProtocol.HTTP1: ("http/1.1",),
    EndpointProtocol.HTTP2: ("h2",),
}

# Seconds after which an attempt to connect is no longer relied on: the delay of RFC 8305 section 5
# (https://www.rfc-editor.org/rfc/rfc8305#section-5) before the next address is tried in parallel.
PATIENCE: Final = 0.25


@final
@attrs.frozen(cache_hash=True)
class Origin:
    """Where connections lead, by which protocol, and through which proxy. Equal origins may share connections, different ones never do.

    ``host`` is an A-label or an address, without brackets. ``ca_pem`` are the only authorities that are trusted there, ``None`` those of
    the system. The host may see ``certificate``. Neither is for the proxy. ``apart``: for calls that share no connection with usual ones.
    """

    secure: bool
    host: str
    port: int
    proxy: Proxy | None = None
    protocol: EndpointProtocol = EndpointProtocol.AUTO
    ca_pem: str | None = attrs.field(default=None, repr=False)
    certificate: ClientCertificate | None = None
    apart: bool = False


@final
@attrs.frozen
class DialLimits:
    """Longest time of each phase, in seconds."""

    dial: float
    tls_handshake: float


@final
@attrs.frozen
class Unreachable:
    """There is no connection to an origin; ``why`` is in words for operators, and written by us."""

    why: str
    timed_out: bool = False


@final
@attrs.frozen
class Dialled:
    """A connection to an origin. ``early`` is what the endpoint has sent already; only HTTP/2 servers may send first."""

    transport: SocketTransport | ClientTlsTransport
    http2: bool
    early: bytes = attrs.field(default=b"", repr=False)


@final
@attrs.define(eq=False)
class _Channel:
    """The bytes to and from a peer while a connection is made: a TCP stream below TLS layers, the innermost first."""

    stream: trio.SocketStream
    layers: list[TlsLayer] = attrs.field(factory=list)

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(encrypted(self.layers, data))

    async def receive(self, limit: int = _READ_BYTES) -> bytes:
        """Return the peer's next bytes, b"" at the end."""
        while data := bytes(await self.stream.receive_some(limit)):
            clear, ended, answer = decrypted(self.layers, data)
            if answer:
                await self.stream.send_all(answer)
            if clear or ended:
                return clear
        return b""

    async def secure(self, context: ssl.SSLContext, host: str) -> None:
        """Make the handshake with ``host`` in a layer inside the others."""
        layer = TlsLayer.client(context, tls_server_name(host))
        heard, done = b"", False
        while not done:
            try:
                done = layer.handshake(heard)
            finally:  # also the alert of a handshake that failed
                if words := layer.to_send():
                    await self.send(words)
            if not done:
                heard = await self.receive()
                if not heard:
                    raise trio.BrokenResourceError
        self.layers.insert(0, layer)

    def close(self) -> None:
        """Close at once, without sending anything or waiting."""
        self.stream.socket.close()


@final
@attrs.define(eq=False)
class DialAttempt:
    """One attempt to connect to ``origin``. ``phase`` is the current phase, in words for operators.

    It is relied on until ``patient_until`` (seconds of Trio's clock), and continues within its limits.
    """

    origin: Origin
    limits: DialLimits
    tls: TlsContexts
    network: Network
    phase: str = attrs.field(default="connecting", init=False)
    patient_until: float = attrs.field(factory=lambda: trio.current_time() + PATIENCE, init=False)
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)

    async def run(self) -> Dialled | Unreachable:
        """Return the connection, or why there is none.

        The proxy learns the endpoint's host and port, and for https nothing else: TLS with the endpoint runs inside the tunnel. Names are
        resolved in a worker thread that cannot be interrupted; beyond the bound, it is left to the resolver's own timeout.
        """
        with self._scope:
            proxy = self.origin.proxy
            self._begin(self.limits.dial, "connecting" if proxy is None else "connecting to the proxy")
            try:
                stream = await self.network.connect(*((self.origin.host, self.origin.port) if proxy is None else (proxy.host, proxy.port)))
            except OSError as error:
                return Unreachable(f"{self.phase} failed: {describe_error(error)}")
            channel = _Channel(stream)
            try:
                problem = await self._open(channel)
                return Unreachable(problem) if problem else self._speak(channel)
            finally:
                channel.close()  # unless its socket was given away
        return Unreachable(f"timed out while {self.phase}", timed_out=True)

    def give_up(self) -> None:
        """End it."""
        self._scope.cancel()

    def _begin(self, seconds: float, phase: str) -> None:
        self.phase = phase
        self._scope.deadline = trio.current_time() + seconds

    async def _open(self, channel: _Channel) -> str:
        """Make ``channel`` lead to the origin; return the reason if that fails."""
        origin = self.origin
        if (proxy := origin.proxy) is not None:
            # The issuer's own authorities and the client's certificate are not for the proxy.
            if proxy.secure and (problem := await self._secure(channel, proxy.host, "the proxy", self.tls.offering("http/1.1"))):
                return problem
            self._begin(self.limits.dial, "waiting for the proxy's tunnel")
            if not await open_tunnel(channel, origin.host, origin.port, proxy.credentials):
                return "the proxy refused the tunnel"
        if not origin.secure:
            return ""
        context = self.tls.own(origin.ca_pem, origin.certificate, *_OFFERS[origin.protocol])
        if isinstance(context, NoTlsContext):
            return context.why
        if problem := await self._secure(channel, origin.host, "the token endpoint", context):
            return problem
        if origin.protocol is EndpointProtocol.HTTP2 and channel.layers[0].protocol != "h2":
            return "the token endpoint does not speak HTTP/2"
        return ""

    async def _secure(self, channel: _Channel, host: str, peer: str, context: ssl.SSLContext) -> str:
        self._begin(self.limits.tls_handshake, f"in the TLS handshake with {peer}")
        try:
            await channel.secure(context, host)
        except ssl.SSLError as error:
            return describe_error(error, peer)
        except trio.BrokenResourceError:
            return f"no TLS with {peer}: the connection ended"
        return ""

    def _speak(self, channel: _Channel) -> Dialled | Unreachable:
        """Hand over the connection. Without ALPN, HTTP/2 needs prior knowledge (RFC 9113 section 3.3)."""
        origin, layers = self.origin, channel.layers
        http2 = layers[0].protocol == "h2" if origin.secure else origin.protocol is EndpointProtocol.HTTP2
        try:
            early, ended = layers[0].decrypt(b"") if layers else (b"", False)
            if ended or (early and not http2):
                return Unreachable("the token endpoint sent data before the request")
            connected = self.network.detach(channel.stream)
            try:
                return Dialled(ClientTlsTransport.over(connected, layers), http2, early)
            except OSError as error:
                connected.close()
                return Unreachable(f"{self.phase} failed: {describe_error(error)}")
        except ssl.SSLError as error:
            return Unreachable(describe_error(error, "the token endpoint"))


class Stream(Protocol):
    """The connection that a tunnel is requested on."""

    async def send(self, data: bytes) -> None:
        """Send all of ``data``."""

    async def receive(self, limit: int) -> bytes:
        """Return at most ``limit`` bytes, b"" at the end."""


async def open_tunnel(stream: Stream, host: str, port: int, credentials: Secret) -> bool:
    """Request a tunnel to ``host`` and ``port`` from the proxy at the other end of ``stream``; return whether ``stream`` leads there now.

    This is CONNECT (RFC 9110 section 9.3.6, https://www.rfc-editor.org/rfc/rfc9110#section-9.3.6). The proxy learns host, port and its own
    credentials. Its answer is read to the last byte, so that no part of it can be taken for the endpoint's. Without a tunnel, ``stream``
    cannot be used any more. The caller bounds the time.
    """
    try:
        return await _ask(stream, f"[{host}]:{port}" if ":" in host else f"{host}:{port}", credentials.reveal())
    except (h11.ProtocolError, trio.BrokenResourceError, ssl.SSLError):
        return False


async def _ask(stream: Stream, authority: str, credentials: str) -> bool:
    codec = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_PROXY_ANSWER_BYTES)
    headers = [("Host", authority), ("User-Agent", "exchanger")]
    if credentials:
        headers.append(("Proxy-Authorization", f"Basic {b64encode(credentials.encode()).decode()}"))
    head = codec.send(h11.Request(method="CONNECT", target=authority, headers=headers)) or b""
    codec.send(h11.EndOfMessage())
    await stream.send(head)
    room = MAX_PROXY_ANSWER_BYTES
    for _ in range(_MAX_READS):
        data = await stream.receive(room)
        codec.receive_data(data)
        room -= len(data)
        while isinstance(event := codec.next_event(), h11.InformationalResponse):
            pass
        if event is not h11.NEED_DATA:
            # Bytes after the head belong to no response: nothing has been requested from the endpoint yet.
            return isinstance(event, h11.Response) and _is_success(event.status_code) and codec.trailing_data == (b"", False)
        if room <= 0:
            break
    return False


def _is_success(status: int) -> bool:
    return HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES
