"""One request to a token endpoint, or for a document of its issuer, as a row: it waits for a connection, is sent, and ends exactly once.

Knows nothing of connections or tokens.
"""

import enum
from collections.abc import Callable, Hashable
from typing import final

import attrs

from exchanger.net.answer import EndpointResponse
from exchanger.net.endpoint import Endpoint, PreparedHead
from exchanger.net.timers import NEVER


@enum.unique
class CallPhase(enum.Enum):
    """The phase of a call; the value follows "timed out while"."""

    QUEUED = "waiting for a free connection"
    DIALLING = "connecting"
    SENT = "waiting for the response"
    READING = "reading the response"


@final
@attrs.frozen
class NoAnswer:
    """A call got no answer, in time or at all; ``why`` is in words for operators, and written by us."""

    timed_out: bool
    why: str


@final
@attrs.define(eq=False)
class EndpointCall:
    """A call. ``landed`` gets the answer, or why there is none, exactly once, unless its caller gives up before.

    Attributes:
        deadline: When it must have ended (seconds of Trio's clock).
        due: When its current phase must have ended.
        header_timeout: Seconds for the head of the answer, if they differ from the default.
        party: Takes turns with others if calls to a host have to queue.
        queued: It had to wait for its turn.
        waited: Seconds for which it has queued, here or before it came here.
        since: When its turn came, or while it queues, when that began.
        apart: The peer may end the connection because of it, so it shares none with usual calls.
        fresh: It requires a connection that was not used before.
        status: That of the answer's head, once received.
        cancel: Ends all work for it, wherever it is, and returns what it waited for; set by its creator.
    """

    endpoint: Endpoint
    head: PreparedHead
    trace: tuple[tuple[str, str], ...] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)
    deadline: float
    landed: Callable[[EndpointResponse | NoAnswer], None]
    header_timeout: float | None = None
    party: Hashable = None
    apart: bool = False
    queued: bool = False
    waited: float = 0.0
    since: float = 0.0
    phase: CallPhase = CallPhase.QUEUED
    due: float = NEVER
    fresh: bool = False
    over: bool = False
    status: int | None = None
    cancel: Callable[["EndpointCall"], str] = lambda call: call.phase.value

    def on_due(self, now: float) -> None:
        """End the call, whose phase takes too long; see ``Timed``."""
        if self.over:
            return
        phase = self.cancel(self)
        if self.is_crowded_out(now):
            phase = CallPhase.QUEUED.value
        if self.status is None:
            self.land(NoAnswer(timed_out=True, why=f"timed out while {phase}"))
        else:
            self.land(EndpointResponse(self.status, (), "", None))

    def is_crowded_out(self, now: float) -> bool:
        """Whether a call that ends at ``now`` before it was sent had to queue for at least half of its time."""
        if self.phase is CallPhase.DIALLING:
            return self.waited > 0 and self.waited >= now - self.since
        return self.phase is CallPhase.QUEUED

    def give_up(self) -> None:
        """End the call without a result: it has no waiters."""
        if not self.over:
            self._end()
            self.cancel(self)

    def land(self, outcome: EndpointResponse | NoAnswer) -> None:
        """The call has ended."""
        if not self.over:
            landed = self.landed
            self._end()
            landed(outcome)

    def _end(self) -> None:
        self.landed = _nowhere  # no cycle is left for the garbage collector
        self.over = True
        self.due = NEVER
        self.body = b""  # a link, an exchange and the next round may still hold the row


def _nowhere(_outcome: EndpointResponse | NoAnswer) -> None:
    """Sentinel: no caller is waiting for this call."""
