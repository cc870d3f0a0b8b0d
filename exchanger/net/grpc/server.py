"""The gRPC server: listeners with and without TLS, sessions, and the drain."""

import contextlib
import socket
from collections.abc import Callable, Mapping
from typing import Final, final

import attrs
import trio

from exchanger.net.grpc.connection import Connection
from exchanger.net.grpc.limits import Budget, ConnectionAdmission, ConnectionLimits
from exchanger.net.grpc.routes import Route
from exchanger.net.grpc.session import Session
from exchanger.net.grpc.status import StatusCode
from exchanger.net.listening import accepted
from exchanger.net.reactor import Reactor
from exchanger.net.tcp import SocketTransport, Transport
from exchanger.net.tls.listener import TlsListener
from exchanger.net.tls.rotation import RotationStatistics
from exchanger.net.tls.settings import TlsSettings

# Seconds for a peer to learn that it must not open streams (RFC 9113 section 6.8 asks for a round trip). A peer that does not acknowledge
# this would otherwise delay the end for the whole grace period.
_ROUND_TRIP: Final = 1.0

# Seconds for connections to close after the grace period: a session allows one second for its last bytes.
_CLOSE_TIMEOUT: Final = 2.0

Address = tuple[str, int]


@final
@attrs.frozen
class Addresses:
    """Hosts and ports that a server is bound to."""

    plaintext: tuple[Address, ...]
    tls: tuple[Address, ...]

    def __str__(self) -> str:
        kinds = (("plaintext", self.plaintext), ("TLS", self.tls))
        return ", ".join(f"{kind} {f'[{host}]' if ':' in host else host}:{port}" for kind, bound in kinds for host, port in bound)


@final
@attrs.frozen
class ServerSettings:
    """Where to listen (``host`` ``None``: all interfaces; ``port`` 0: any free one, ``None``: only with TLS), and the limits."""

    host: str | None = None
    port: int | None = 3001
    max_connections: int = 4096  # Envoy opens one for each of its worker threads, so this is enough for hundreds of Envoys
    limits: ConnectionLimits = attrs.field(factory=ConnectionLimits)
    tls: TlsSettings | None = None

    def __attrs_post_init__(self) -> None:
        if self.port is None and self.tls is None:
            raise ValueError("a server needs a port, with TLS or without")


@final
@attrs.frozen
class ServerUsage:
    """What the connections of a server hold now."""

    connections: int
    streams: int
    tasks: int
    held_bytes: int
    unread_bytes: int
    queued_bytes: int


@final
@attrs.define(eq=False)
class GrpcServer:
    """Serves ``routes`` in the turns of ``reactor``, which must run for longer.

    ``on_fault`` gets every exception that a method should not have raised; it must neither block nor raise.
    """

    _settings: ServerSettings
    _routes: Mapping[bytes, Route]
    _reactor: Reactor
    _on_fault: Callable[[BaseException], None]
    _admission: ConnectionAdmission = attrs.field(init=False)
    _tls: TlsListener | None = attrs.field(default=None, init=False)
    budget: Budget = attrs.field(factory=Budget, init=False)
    sessions: dict[Session, Connection] = attrs.field(factory=dict, init=False)
    _accepting: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    _running: bool = attrs.field(default=False, init=False)
    _stopped: trio.Event = attrs.field(factory=trio.Event, init=False)
    _past_calls: list[int] = attrs.field(factory=lambda: [0] * len(StatusCode), init=False)

    def __attrs_post_init__(self) -> None:
        self._admission = ConnectionAdmission(self._settings.max_connections)
        if self._settings.tls is not None:
            self._tls = TlsListener(self._settings.tls, self._reactor)

    async def run(self, *, task_status: trio.TaskStatus[Addresses] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until drained or cancelled; ``started()`` with the bound addresses. A server runs once.

        Raises:
            OSError: an address cannot be bound; ``filename`` names the port.
            CertificatesError: the certificate files have been unusable for three seconds.
        """
        with contextlib.ExitStack() as stack:
            tls, tls_settings = self._tls, self._settings.tls
            if tls is not None:
                await tls.start()
            plain_listeners = await self._bind(stack, self._settings.port)
            tls_listeners = await self._bind(stack, None if tls_settings is None else tls_settings.port)
            self._running = True
            stack.callback(self._stopped.set)
            # Each is kept longer than its users: certificates longer than sessions, sessions longer than listeners.
            async with trio.open_nursery() as infrastructure:
                if tls is not None:
                    infrastructure.start_soon(tls.run)
                async with trio.open_nursery() as sessions:
                    with self._accepting:
                        async with trio.open_nursery() as accepting:
                            for listener in plain_listeners:
                                accepting.start_soon(self._accept, listener, sessions, SocketTransport)
                            if tls is not None:
                                for listener in tls_listeners:
                                    accepting.start_soon(self._accept, listener, sessions, tls.secure)
                            task_status.started(Addresses(_names(plain_listeners), _names(tls_listeners)))
                    for listener in plain_listeners + tls_listeners:
                        listener.socket.close()
                infrastructure.cancel_scope.cancel()

    async def drain(self, grace: float) -> None:
        """Accept no more connections, let running calls finish for ``grace`` seconds, then end the rest.

        Returns when ``run`` is done, at the latest two seconds after the grace period. May be called again, with another ``grace``.
        """
        if not self._running:
            return
        self._accepting.cancel()
        for session in tuple(self.sessions):
            session.begin_drain()
        with trio.move_on_after(grace):
            with trio.move_on_after(_ROUND_TRIP):
                await self._stopped.wait()
                return
            for session in tuple(self.sessions):
                session.finish_drain()
            await self._stopped.wait()
            return
        for session in tuple(self.sessions):
            session.terminate()
        with trio.move_on_after(_CLOSE_TIMEOUT):
            await self._stopped.wait()

    def usage(self) -> ServerUsage:
        """Inspect every connection, and return what they hold now."""
        found = [connection.usage() for connection in self.sessions.values()]
        return ServerUsage(
            connections=len(found),
            streams=sum(usage.streams for usage in found),
            tasks=sum(session.tasks for session in self.sessions),
            held_bytes=sum(usage.held_bytes for usage in found),
            unread_bytes=sum(usage.unread_bytes for usage in found),
            queued_bytes=sum(usage.queued_bytes for usage in found),
        )

    @property
    def ended_calls(self) -> tuple[int, ...]:
        """The number of ended calls since the start, by status code."""
        present = (connection.ended_calls for connection in self.sessions.values())
        return tuple(map(sum, zip(self._past_calls, *present, strict=True)))

    @property
    def connections(self) -> int:
        """Open connections."""
        return len(self.sessions)

    @property
    def accepted(self) -> int:
        """Connections accepted since the start."""
        return self._admission.accepted

    @property
    def refused(self) -> int:
        """Connections refused since the start, that is, closed at once or left in the queue."""
        return self._admission.refused

    @property
    def handshakes(self) -> tuple[int, int]:
        """TLS handshakes since the start: completed, and failed."""
        return (0, 0) if self._tls is None else (self._tls.handshakes.completed, self._tls.handshakes.failed)

    @property
    def certificate(self) -> RotationStatistics | None:
        """What is known of the TLS certificate and its files; ``None`` without TLS."""
        return None if self._tls is None else self._tls.certificate

    async def _bind(self, stack: contextlib.ExitStack, port: int | None) -> list[trio.SocketListener]:
        if port is None:
            return []
        try:
            listeners = await self._reactor.network.listen(self._settings.host, port)
        except OSError as error:
            error.filename = f"port {port}"
            raise
        for listener in listeners:
            stack.callback(listener.socket.close)
        return listeners

    async def _accept(self, listener: trio.SocketListener, nursery: trio.Nursery, secure: Callable[[socket.socket], Transport]) -> None:
        network, admission = self._reactor.network, self._admission
        streams = accepted(listener, network.detach, lambda: admission.admit(len(self.sessions)), secure, admission.exhausted)
        async with contextlib.aclosing(streams) as transports:
            async for transport in transports:
                connection = Connection(self._routes, self._settings.limits, budget=self.budget)
                session = Session(transport, connection, self._reactor, self._on_fault)
                self.sessions[session] = connection
                nursery.start_soon(self._serve, session, transport)

    async def _serve(self, session: Session, transport: Transport) -> None:
        try:
            await session.run()
        except* Exception as faults:  # noqa: BLE001 - a fault of ours affects only this connection
            self._on_fault(faults)
        finally:
            for status, count in enumerate(self.sessions.pop(session).ended_calls):
                self._past_calls[status] += count
            if self._tls is not None:
                self._tls.note(transport, timed_out=session.timed_out)


def _names(listeners: list[trio.SocketListener]) -> tuple[Address, ...]:
    return tuple(listener.socket.getsockname()[:2] for listener in listeners)
