"""What a connection's peer may send ahead (RFC 9113 section 5.2): given back as it is consumed, and made up for where it got lost.

Must not know: the codec's module, or what the bytes were.
"""

from typing import Final, Protocol, final

import attrs

from exchanger.grpc.call import Call
from exchanger.grpc.limits import CONNECTION_WINDOW

_MAX_TARGET: Final = 2**30
"""Bytes up to which lost window is made up for: 64 times the window, and half of what the protocol allows."""


class FlowControl(Protocol):
    """The codec's part in this."""

    @property
    def local_window_size(self) -> int:
        """Bytes that the peer may send now."""

    def acknowledge_received_data(self, amount: int, stream_id: int) -> None:
        """Give ``amount`` bytes of a stream back, to it and to the connection."""

    def set_local_window_size(self, window_size: int) -> None:
        """Set the window of the connection as a whole."""


@final
@attrs.define(eq=False)
class ReceiveWindow:
    """The window of one connection; ``unread`` is what was received and not given back yet, in bytes."""

    _http: FlowControl
    unread: int = attrs.field(default=0, init=False)
    _target: int = attrs.field(default=CONNECTION_WINDOW, init=False)

    def __attrs_post_init__(self) -> None:
        self._http.set_local_window_size(self._target)

    def owe(self, call: Call, amount: int) -> None:
        """``call`` has received ``amount`` bytes that nobody has read yet."""
        call.owed += amount
        self.unread += amount

    def settle(self, call: Call) -> None:
        """Give back everything that ``call`` received."""
        owed, call.owed = call.owed, 0
        if owed:
            self.unread -= owed
            self._http.acknowledge_received_data(owed, call.stream_id)

    def restore(self) -> bool:
        """Make up for what was lost, if that is much; return whether the connection can go on.

        The bytes of a DATA frame that a reset cut in two never become an event, and so cannot be given back. With that alone a connection
        would come to a halt after a thousand requests that were too large.
        """
        if self._http.local_window_size + self.unread < CONNECTION_WINDOW // 4:
            if self._target > _MAX_TARGET:
                return False
            self._target += CONNECTION_WINDOW // 2
            self._http.set_local_window_size(self._target)
        return True
