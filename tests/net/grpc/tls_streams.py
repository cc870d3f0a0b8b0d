"""A TLS transport and its far end, joined by loopback, without a server around them."""

import select
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import attrs

from exchanger.net.tcp import StreamEndedError
from exchanger.net.tls.server import ServerTlsTransport, TlsPhase


@attrs.define(eq=False)
class Ends:
    """``transport`` is the server's; ``received`` is what it has made of what came."""

    transport: ServerTlsTransport
    far: socket.socket
    tls: ssl.SSLObject
    incoming: ssl.MemoryBIO
    outgoing: ssl.MemoryBIO
    received: bytes = b""
    broken: bool = False
    heard_goodbye: bool = False
    secured: list[int] = attrs.field(factory=list)

    def deliver(self, data: bytes) -> None:
        """Send raw bytes, and let the transport read until there is nothing left."""
        if data:
            self.far.sendall(data)
            select.select([self.transport.fileno()], [], [], 10)
        while not self.broken:
            try:
                part = self.transport.receive()
            except BlockingIOError:
                return
            except (StreamEndedError, OSError):
                self.broken = True
                return
            if not part or self.transport.phase is TlsPhase.OVER:
                return
            self.received += part

    def hear(self) -> bytes:
        """Return the clear text of what the transport has sent."""
        self.take()
        clear = b""
        try:
            while part := self.tls.read(1 << 16):
                clear += part
            self.heard_goodbye = True
        except ssl.SSLWantReadError:
            pass
        return clear

    def take(self) -> bytes:
        """Pass on what the transport has sent, and return it."""
        taken = b""
        try:
            while data := self.far.recv(1 << 20):
                taken += data
        except BlockingIOError:
            pass
        self.incoming.write(taken)
        return taken

    def flight(self) -> bytes:
        """Return what the client wants to send now."""
        if self.tls.version() is None or self.transport.phase is TlsPhase.HANDSHAKE:
            with suppress(ssl.SSLWantReadError):
                self.tls.do_handshake()
        return self.outgoing.read()

    def shake(self) -> None:
        """Do the handshake."""
        while self.transport.phase is TlsPhase.HANDSHAKE:
            self.deliver(self.flight())
            self.take()

    def encrypted(self, data: bytes) -> bytes:
        while data:
            data = data[self.tls.write(data) :]
        return self.outgoing.read()


@contextmanager
def ends(
    server: ssl.SSLContext, client: ssl.SSLContext, *, send_buffer: int | None = None, receive_buffer: int | None = None
) -> Iterator[Ends]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with socket.socket() as far:
            if receive_buffer is not None:
                far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            far.connect(listener.getsockname())
            near, _ = listener.accept()
            with near:
                if send_buffer is not None:
                    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
                far.setblocking(False)
                far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
                secured: list[int] = []
                transport = ServerTlsTransport(near, server, lambda: True, lambda: secured.append(1))
                incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
                tls = client.wrap_bio(incoming, outgoing, server_hostname="localhost")
                yield Ends(transport, far, tls, incoming, outgoing, secured=secured)
