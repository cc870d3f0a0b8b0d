"""TCP without waiting: the byte stream under a connection."""

import socket
from typing import ClassVar, Final, Protocol, final

import attrs

# Bytes of one read at most: a hundred usual requests. A session reads less from a peer whose bytes are expensive.
RECEIVE_BYTES: Final = 64 * 1024

# Bytes that the kernel keeps for a peer that does not read, instead of megabytes; it reports progress in steps of half of it. More than all
# answers to one read of small requests.
_UNSENT_BYTES: Final = 256 * 1024

_OPTIONS: Final = (
    ("TCP_NODELAY", 1),
    ("TCP_NOTSENT_LOWAT", _UNSENT_BYTES),
    # Idle connections may stay, so only TCP can detect that a peer is gone: two minutes after its last sign of life (seconds).
    ("TCP_KEEPIDLE", 60),
    ("TCP_KEEPINTVL", 15),
    ("TCP_KEEPCNT", 4),
)


# Anything else, such as a pair of sockets without a network, has no such options.
_TCP: Final = frozenset({socket.AF_INET, socket.AF_INET6})


class StreamEndedError(Exception):
    """The stream itself ended reading; its last bytes for the peer must still be flushed."""


class Transport(Protocol):
    """A connected byte stream that never blocks. Every method but ``close`` raises ``OSError`` when the stream is broken."""

    @property
    def unsent(self) -> bool:
        """Whether ``receive`` produced bytes of the stream's own that wait for ``flush``."""

    @property
    def extra_work(self) -> int:
        """The cost of the last ``receive`` in addition to its bytes, in units of work; see ``reactor.Participant``."""

    def fileno(self) -> int:
        """Return the descriptor whose readiness announces this stream's."""

    def receive(self, limit: int) -> bytes:
        """Return the result of one read of at most ``limit`` bytes from the descriptor, ``b""`` at the end.

        Raises:
            BlockingIOError: nothing has arrived yet
            StreamEndedError: what was read ends the stream
        """

    def send(self, data: bytes) -> bool:
        """Accept all of ``data``; return whether everything was sent. If not, call ``flush`` when writable before sending more."""

    def flush(self) -> bool:
        """Try to send the rest; return whether everything was sent."""

    def finish(self) -> None:
        """Announce that nothing more will be sent. Anything received from then on is meaningless."""

    def close(self) -> None:
        """Give the descriptor back."""


@final
@attrs.define(eq=False)
class SocketTransport:
    """Plain TCP."""

    unsent: ClassVar[bool] = False
    extra_work: ClassVar[int] = 0
    is_whole: ClassVar[bool] = True
    _socket: socket.socket
    _rest: memoryview = attrs.field(default=memoryview(b""), init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._socket.setblocking(False)
        if self._socket.family not in _TCP:
            return
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _OPTIONS:
            if (option := getattr(socket, name, None)) is not None:  # not every platform has all of them
                self._socket.setsockopt(socket.IPPROTO_TCP, option, value)

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._socket.fileno()

    def receive(self, limit: int = RECEIVE_BYTES) -> bytes:
        """Read once."""
        return self._socket.recv(limit)

    def send(self, data: bytes) -> bool:
        """Send what the socket takes, and keep the rest."""
        if self._rest:
            self._rest = memoryview(bytes(self._rest) + data)
            return False
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        if sent == len(data):
            return True
        self._rest = memoryview(data)[sent:]
        return False

    def flush(self) -> bool:
        """Send what the socket takes of the rest."""
        try:
            self._rest = self._rest[self._socket.send(self._rest) :]
        except BlockingIOError:
            return False
        return not self._rest

    def finish(self) -> None:
        """Shut down the sending side."""
        self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
