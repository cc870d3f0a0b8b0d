"""What the stages of the pipeline have in common.

Each stage takes a request and reports its outcome later. It knows its own state and the stage behind it; four know a little more, as
``memory`` also starts renewals at ``coalesce``, ``chain`` makes its first leg through ``prove``, ``act`` requests tokens through ``limit``,
and ``limit`` asks the call whether it was queued. From the evaluator to the token endpoint the stages are

    verify ▸ introspect ▸ memory ▸ coalesce ▸ replicas ▸ prove ▸ chain ▸ rotate ▸ act ▸ limit ▸ call

Up to ``coalesce``, a request belongs to one caller, who may leave and has its own time limit. Behind it, an exchange belongs to all who
wait for it, and limits, breaker and caches need to learn of every end. So there the contract is stricter: see ``PendingExchange``.
"""

from collections.abc import Callable
from typing import Final, Protocol, Self, TypeVar

import attrs

from exchanger.exchange.interfaces import Ticket, TokenExchanger
from exchanger.model.errors import Diagnostic
from exchanger.model.token import ErrorKind, ExchangedToken, ExchangeFailure, TokenOutcome, TokenRequest, VerificationResult
from exchanger.model.token_failure import transport_failure
from exchanger.util.frozen import evolver_of

# For requests outside ``run``, and for everything in progress at its end.
STOPPING: Final = transport_failure(ErrorKind.CONTEXT_CANCELED, Diagnostic.REQUEST_FAILED, detail="the service is stopping")
# Its waiters have left, and it was not sent.
NO_WAITERS: Final = transport_failure(ErrorKind.CONTEXT_CANCELED, Diagnostic.REQUEST_FAILED, detail="no request is waiting for it any more")
GATEWAY_TIMED_OUT: Final = attrs.evolve(
    transport_failure(ErrorKind.TIMEOUT, Diagnostic.REQUEST_FAILED, detail="timed out: the gateway's deadline has passed"),
    too_late=True,
)

Done = Callable[[TokenOutcome], None]


@attrs.define(eq=False)
class VerifiedRequest:
    """One caller's request whose token is verified, and afterwards its ``Ticket`` in the next stage. Belongs in front of ``coalesce``."""

    request: TokenRequest
    deadline: float
    done: Done
    _ticket: Ticket | None = attrs.field(default=None, init=False)
    _result: VerificationResult | None = attrs.field(default=None, init=False)

    def leave(self) -> None:
        if self._ticket is not None:
            self._ticket.leave()

    def _pass_on(self, behind: TokenExchanger, result: VerificationResult) -> TokenOutcome | Self:
        """The token passes: exchange it."""
        self._result = result
        begun = behind.begin(self.request, self.deadline, self._exchanged)
        if isinstance(begun, TokenOutcome):
            return _verified(begun, result)
        self._ticket = begun
        return self

    def _exchanged(self, outcome: TokenOutcome) -> None:
        self._ticket = None  # no cycle is left for the garbage collector
        self.done(outcome if self._result is None else _verified(outcome, self._result))


# Of every token for a caller whose own is verified.
_with_result: Final = evolver_of(ExchangedToken, "subject")


def _verified(outcome: TokenOutcome, result: VerificationResult) -> TokenOutcome:
    """Return ``outcome`` with ``result``, or with that of a later stage, which may not know of the actors in the token."""
    later = outcome.subject
    if later is not None:
        result = later if later.actors or later.refusal else attrs.evolve(later, actors=result.actors)
    return _with_result(outcome, result) if type(outcome) is ExchangedToken else attrs.evolve(outcome, subject=result)


class PendingExchange(Protocol):
    """A request's place in a stage behind ``coalesce``. It ends with exactly one call of ``done``, by the time that ``begin`` was given."""

    @property
    def late(self) -> ExchangeFailure:
        """The answer to a caller whose own time is up now."""

    def leave(self) -> None:
        """Cancel the request, which has no waiters: a call that was sent continues, another ends at once. Can be called again."""


@attrs.define(eq=False)
class PassThrough:
    """A pending exchange that passes its request to the next stage, at once or later, and ends with that stage's outcome."""

    done: Done
    _behind: PendingExchange | None = attrs.field(default=None, init=False)
    _is_over: bool = attrs.field(default=False, init=False)

    @property
    def late(self) -> ExchangeFailure:
        return GATEWAY_TIMED_OUT if self._behind is None else self._behind.late

    def leave(self) -> None:
        if self._behind is not None:
            self._behind.leave()
        elif not self._is_over:
            self._finish(NO_WAITERS)

    def _wait_for(self, begun: TokenOutcome | PendingExchange) -> TokenOutcome | Self:
        """Return the outcome if what was ``begun`` behind has already ended, and otherwise wait for it."""
        if isinstance(begun, TokenOutcome):
            return begun
        self._behind = begun
        return self

    def _finish(self, outcome: TokenOutcome) -> None:
        self._behind, self._is_over = None, True
        self.done(outcome)


R_contra = TypeVar("R_contra", contravariant=True)


class Stage(Protocol[R_contra]):
    """A stage behind ``coalesce``, for requests of one kind."""

    def begin(self, request: R_contra, deadline: float, done: Done, /) -> TokenOutcome | PendingExchange:
        """Return the outcome if it is known at once; otherwise ``done`` gets it, by ``deadline`` (seconds of Trio's clock)."""
