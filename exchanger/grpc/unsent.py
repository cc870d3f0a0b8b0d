"""What one connection's peer does not take yet: how much that may be, and the streams that are to be reset once it is gone.

Must not know: the codec's module, or what the bytes are.
"""

from typing import Final, Protocol, final

import attrs

from exchanger.grpc.budget import Budget
from exchanger.grpc.limits import ConnectionLimits

_NO_ERROR: Final = 0x0
"""RFC 9113 section 7."""


class Output(Protocol):
    """The codec's part in this."""

    def queued_body_size(self, stream_id: int | None = None) -> int:
        """Bytes that flow control keeps back, of one stream or of all."""

    def reset_stream(self, stream_id: int, error_code: int) -> None:
        """End a stream at once."""


@final
@attrs.define(eq=False)
class Unsent:
    """The answers of one connection that are kept back; ``early`` are the streams that were answered before their requests ended."""

    _http: Output
    _limits: ConnectionLimits
    _budget: Budget
    early: set[int] = attrs.field(factory=set, init=False)
    _queued: int = attrs.field(default=0, init=False)
    _over: bool = attrs.field(default=False, init=False)

    def has_room(self, stream_id: int) -> bool:
        """Whether more may be sent on a stream: neither it nor the connection as a whole has too much unsent."""
        http, limits = self._http, self._limits
        return http.queued_body_size(stream_id) < limits.call_queued_bytes and http.queued_body_size() < limits.queued_bytes // 2

    def overfull(self) -> bool:
        """Count what is unsent; return whether it is too much."""
        queued = self._http.queued_body_size()
        if queued == self._queued == 0 or self._over:  # nearly always
            return False
        if queued != self._queued:
            self._budget.change(queued - self._queued)
            self._queued = queued
        return queued > self._limits.queued_bytes or self._budget.refuses(queued)

    def reset_early(self) -> bool:
        """Reset streams that were answered in full before their requests ended (RFC 9113 section 8.1); return whether there were any."""
        answered = [stream_id for stream_id in self.early if not self._http.queued_body_size(stream_id)]
        for stream_id in answered:
            self._http.reset_stream(stream_id, _NO_ERROR)
        self.early.difference_update(answered)
        return bool(answered)

    def clear(self) -> None:
        """The connection is over, and nothing is kept any more."""
        self._over = True
        self.early.clear()
        self._budget.change(-self._queued)
        self._queued = 0
