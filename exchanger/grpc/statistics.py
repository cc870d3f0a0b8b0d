"""What the machines of this package say about themselves."""

from typing import final

import attrs

from exchanger.grpc.rotation import RotationStatistics


@final
@attrs.frozen
class CallTableStatistics:
    """Streams in the table; bytes of incomplete messages; ended calls, by status code."""

    streams: int
    held_bytes: int
    calls: tuple[int, ...]


@final
@attrs.frozen
class ConnectionStatistics:
    """The calls of a connection, bytes of unread messages, and bytes of answers that the peer's flow control keeps back."""

    table: CallTableStatistics
    unread_bytes: int
    queued_bytes: int


@final
@attrs.frozen
class SessionStatistics:
    """A connection, its running tasks, and whether it waits for its peer to read."""

    connection: ConnectionStatistics
    tasks: int
    blocked: bool


@final
@attrs.frozen
class ServerStatistics:
    """The server as a whole, since it started.

    ``connections``, ``streams``, ``tasks`` and the bytes are those of now; ``calls`` are the ended ones, by status code; ``accepted`` and
    ``refused`` count connections, the latter being those that found the server full. ``handshakes`` and ``handshakes_failed`` are those of
    TLS; ``certificates`` is there when there is a TLS listener.
    """

    connections: int
    streams: int
    tasks: int
    held_bytes: int
    unread_bytes: int
    queued_bytes: int
    calls: tuple[int, ...]
    accepted: int
    refused: int
    handshakes: int
    handshakes_failed: int
    certificates: RotationStatistics | None
