"""What the pipeline offers to those who decide requests, and what it tells those who observe it."""

from collections.abc import Callable
from typing import Protocol

from exchanger.model.secret import Secret
from exchanger.model.token import CoalescedRecord, ExchangeRecord, TokenOutcome, TokenRequest
from exchanger.model.trace import SpanContext, TraceContext


class Ticket(Protocol):
    """A place among those who wait for an outcome."""

    def leave(self) -> None:
        """Wait no more: ``done`` will not be called. Must not be called after it."""


class TokenExchanger(Protocol):
    """Exchanges a subject token for one that is meant for the upstream."""

    def begin(self, request: TokenRequest, deadline: float, done: Callable[[TokenOutcome], None], /) -> TokenOutcome | Ticket:
        """Return the outcome if it is known at once, otherwise call ``done`` with it, later and by ``deadline`` (seconds of Trio's clock).

        Every failure is a value, also that the time was too short; an exception is a fault of the process.
        """


class TokenRecall(Protocol):
    """Lets go of cached tokens that upstreams refuse."""

    def asks_upstream(self, request: TokenRequest, /) -> bool:
        """Return whether to look at the upstream's response if a cached token is the outcome of ``request``."""

    def upstream_answered(self, request: TokenRequest, token: Secret, /, *, refused: bool) -> None:
        """The upstream has refused or accepted ``token``, which was kept for ``request``."""


class ExchangeObserver(Protocol):
    """Learns of each call to a token endpoint, and of each request that joined one."""

    def exchanged(self, record: ExchangeRecord, /) -> None:
        """One call ended; must neither block nor raise."""

    def coalesced(self, record: CoalescedRecord, /) -> None:
        """Take a request that shares a call in progress; must neither block nor raise."""


class Tracer(Protocol):
    """Gives spans their places, before they exist: their content comes with the records, at their end."""

    def below(self, trace: TraceContext, /) -> SpanContext:
        """Return the place of a new span that continues ``trace``, or starts a trace if that is empty; must neither block nor raise."""

    def recorded_below(self, trace: TraceContext, /) -> SpanContext | None:
        """Return the span below ``trace``, ``None`` if it is not recorded, which costs little more than a check of ``trace``."""
