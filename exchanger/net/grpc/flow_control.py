"""Flow control of one connection in both directions (RFC 9113 section 5.2): what the peer may send, and what it does not take yet."""

from typing import Final, final

import attrs
import ngh2

from exchanger.net.grpc.call import Call
from exchanger.net.grpc.limits import CONNECTION_WINDOW, Budget, ConnectionLimits

# Bytes up to which lost window is compensated: 64 times the window, and half of what the protocol allows.
_MAX_TARGET: Final = 2**30

# RFC 9113 section 7.
_NO_ERROR: Final = 0x0


@final
@attrs.define(eq=False)
class FlowControl:
    """The receive window. ``unread`` counts the bytes that were received and not given back yet."""

    _http: ngh2.Connection
    unread: int = attrs.field(default=0, init=False)
    _target: int = attrs.field(default=CONNECTION_WINDOW, init=False)

    def __attrs_post_init__(self) -> None:
        self._http.set_local_window_size(self._target)

    def received(self, call: Call, amount: int) -> None:
        """``call`` received ``amount`` bytes that are not read yet."""
        call.unread += amount
        self.unread += amount

    def consumed(self, call: Call) -> None:
        """Give everything that ``call`` received back."""
        amount, call.unread = call.unread, 0
        if amount:
            self.unread -= amount
            self._http.acknowledge_received_data(amount, call.stream_id)

    def restore(self) -> bool:
        """Compensate for lost window, if it is much; return whether the connection can continue.

        The bytes of a DATA frame that a reset cut in two never become an event, so they cannot be returned. Without this, a connection
        would stall after a thousand requests that were too large.
        """
        if self._http.local_window_size + self.unread < CONNECTION_WINDOW // 4:
            if self._target > _MAX_TARGET:
                return False
            self._target += CONNECTION_WINDOW // 2
            self._http.set_local_window_size(self._target)
        return True


@final
@attrs.define(eq=False)
class SendQueue:
    """Answers that the peer's flow control keeps back. ``answered_early`` are streams that were answered before their requests ended."""

    _http: ngh2.Connection
    _limits: ConnectionLimits
    _budget: Budget
    answered_early: set[int] = attrs.field(factory=set, init=False)
    _counted: int = attrs.field(default=0, init=False)
    _cleared: bool = attrs.field(default=False, init=False)

    def has_room(self, stream_id: int) -> bool:
        """Whether more may be sent on a stream: neither it nor the connection as a whole has too much queued."""
        http, limits = self._http, self._limits
        return http.queued_body_size(stream_id) < limits.call_queued_bytes and http.queued_body_size() < limits.queued_bytes // 2

    def overfull(self) -> bool:
        """Count what is queued; return whether it is too much."""
        queued = self._http.queued_body_size()
        if queued == self._counted == 0 or self._cleared:  # nearly always
            return False
        if queued != self._counted:
            self._budget.change(queued - self._counted)
            self._counted = queued
        return queued > self._limits.queued_bytes or self._budget.refuses(queued)

    def reset_answered(self) -> bool:
        """Reset streams that were answered in full before their requests ended (RFC 9113 section 8.1); return whether there were any."""
        answered = [stream_id for stream_id in self.answered_early if not self._http.queued_body_size(stream_id)]
        for stream_id in answered:
            self._http.reset_stream(stream_id, _NO_ERROR)
        self.answered_early.difference_update(answered)
        return bool(answered)

    def clear(self) -> None:
        """The connection has ended: nothing is queued any more."""
        self._cleared = True
        self.answered_early.clear()
        self._budget.change(-self._counted)
        self._counted = 0
