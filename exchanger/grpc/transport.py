"""The byte stream under a connection, without waiting: what a session asks of one, and plain TCP.

Must not know: HTTP/2, tasks, or who waits for readiness.
"""

import socket
from typing import ClassVar, Final, Protocol, final

import attrs

_RECEIVE_BYTES: Final = 64 * 1024
"""One read: a hundred usual requests, and the most that one peer can make this process parse in one turn."""

_UNSENT_BYTES: Final = 256 * 1024
"""Bytes that the kernel keeps for a peer that does not read, instead of megabytes; half of it is the step in which it tells of progress.
That is more than all answers to one read of small requests."""

_OPTIONS: Final = (
    ("TCP_NODELAY", 1),
    ("TCP_NOTSENT_LOWAT", _UNSENT_BYTES),
    # Idle connections may stay, so that only TCP can find out that a peer is gone: two minutes after its last sign of life (seconds).
    ("TCP_KEEPIDLE", 60),
    ("TCP_KEEPINTVL", 15),
    ("TCP_KEEPCNT", 4),
)


class StreamEndedError(Exception):
    """Nothing more can be read, and that is the stream's own finding: its last words to the peer are still to be flushed."""


class Transport(Protocol):
    """A connected byte stream that never blocks. Every method but ``close`` raises ``OSError`` when the stream is broken."""

    @property
    def unsent(self) -> bool:
        """Whether ``receive`` has left something that waits for ``flush``, for a stream that has words of its own."""

    @property
    def surcharge(self) -> int:
        """What the last ``receive`` cost beyond what its bytes tell, in units of work; see ``reactor.Participant``."""

    def fileno(self) -> int:
        """Return the descriptor whose readiness announces this stream's."""

    def receive(self) -> bytes:
        """Return all that one read from the descriptor amounts to, ``b""`` at the end.

        Raises:
            BlockingIOError: that is nothing.
            StreamEndedError: it is something that ends the stream.
        """

    def send(self, data: bytes) -> bool:
        """Take all of ``data``; return whether everything is on its way. If not, call ``flush`` when writable before sending more."""

    def flush(self) -> bool:
        """Try to send what is left; return whether everything is on its way."""

    def finish(self) -> None:
        """Announce that nothing more will be sent. What is received from then on has no meaning any more."""

    def close(self) -> None:
        """Give the descriptor back."""


@final
@attrs.define(eq=False)
class SocketTransport:
    """Plain TCP."""

    unsent: ClassVar[bool] = False
    surcharge: ClassVar[int] = 0
    _socket: socket.socket
    _rest: memoryview = attrs.field(default=memoryview(b""), init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _OPTIONS:
            if (option := getattr(socket, name, None)) is not None:  # not every platform has all of them
                self._socket.setsockopt(socket.IPPROTO_TCP, option, value)

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._socket.fileno()

    def receive(self) -> bytes:
        """Read once."""
        return self._socket.recv(_RECEIVE_BYTES)

    def send(self, data: bytes) -> bool:
        """Send what the socket takes, and keep the rest."""
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
