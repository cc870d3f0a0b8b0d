"""What the connections of a TLS listener share: the active certificate, and the record of their handshakes."""

import socket
from typing import final

import attrs
import trio

from exchanger.net.reactor import Reactor
from exchanger.net.tcp import Transport
from exchanger.net.tls.handshake_log import HandshakeLog
from exchanger.net.tls.rotation import Rotation, RotationStatistics
from exchanger.net.tls.server import ServerTlsTransport, TlsPhase
from exchanger.net.tls.settings import TlsSettings


@final
@attrs.define(eq=False)
class TlsListener:
    """Secures accepted connections, which the reactor will serve."""

    _settings: TlsSettings
    _reactor: Reactor
    handshakes: HandshakeLog = attrs.field(factory=HandshakeLog, init=False)
    rotation: Rotation = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.rotation = Rotation(self._settings, self._reactor.network)

    @property
    def certificate(self) -> RotationStatistics:
        """What is known of the certificate and its files."""
        return self.rotation.statistics()

    async def start(self) -> None:
        """Load the certificate.

        Raises:
            CertificatesError: the files have been unusable for three seconds.
        """
        await self.rotation.start()

    async def run(self) -> None:
        """Follow the files, and log failed handshakes, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.rotation.run)
            nursery.start_soon(self.handshakes.run)

    def secure(self, connected: socket.socket) -> ServerTlsTransport:
        """Return the TLS stream over ``connected``.

        Raises:
            OSError: the socket broke already.
        """
        reactor, on_secured, protocol = self._reactor, self.handshakes.on_completed, self._settings.required_protocol
        return ServerTlsTransport(connected, self.rotation.context, reactor.admit, on_secured, reactor.network.wall, protocol)

    def note(self, transport: Transport, *, timed_out: bool) -> None:
        """``transport`` has ended, because the peer's time was up (``timed_out``) or for another reason."""
        if not isinstance(transport, ServerTlsTransport):
            return
        failure = "timeout" if timed_out and transport.phase is TlsPhase.HANDSHAKE else transport.failure
        if failure is not None:
            self.handshakes.on_failed(transport.peer, failure)
