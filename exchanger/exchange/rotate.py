"""Just after a rotation, endpoints may accept only new or only previous credentials: a refused call is made again with the others."""

from typing import Generic, Self, final

import attrs

from exchanger.exchange.coalesce import R
from exchanger.exchange.oauth.rotation import Rotations, is_answered
from exchanger.exchange.stage import Done, PassThrough, PendingExchange, Stage
from exchanger.model.token import TokenOutcome


@final
@attrs.define(eq=False)
class Rotate(Generic[R]):
    """Makes up to three calls if ``rotations`` say so, each wholly with the credentials of one rotation, also for the actor's token."""

    behind: Stage[R]
    rotations: Rotations

    def begin(self, request: R, deadline: float, done: Done, /) -> TokenOutcome | PendingExchange:
        if request.issuer.previous is None:
            return self.behind.begin(request, deadline, done)
        return _RotatedCalls(done, self, request, deadline).call(request)


@final
@attrs.define(eq=False)
class _RotatedCalls(PassThrough, Generic[R]):
    """The calls of one request. ``_first`` is the outcome of the first one while another is made, which may succeed instead."""

    stage: Rotate[R]
    wanted: R
    deadline: float
    _first: TokenOutcome | None = attrs.field(default=None, init=False)
    _made: R = attrs.field(init=False)

    def call(self, request: R) -> TokenOutcome | Self:
        """Make the call of ``request``, and further ones if it ends at once."""
        next_one: R | TokenOutcome = request
        while not isinstance(next_one, TokenOutcome):
            self._made = next_one
            begun = self._wait_for(self.stage.behind.begin(next_one, self.deadline, self._landed))
            if not isinstance(begun, TokenOutcome):
                return begun
            next_one = self._checked(begun)
        return next_one

    def _landed(self, outcome: TokenOutcome) -> None:
        checked = self._checked(outcome)
        found = checked if isinstance(checked, TokenOutcome) else self.call(checked)
        if isinstance(found, TokenOutcome):
            self._finish(found)

    def _checked(self, outcome: TokenOutcome) -> TokenOutcome | R:
        """Return the final outcome, or the request for the next call."""
        following = self.stage.rotations.next_credentials(self.wanted.issuer, self._made.issuer, outcome)
        if following is not None:
            self._first = self._first or outcome
            return attrs.evolve(self.wanted, issuer=following)
        return outcome if self._first is None or is_answered(outcome) else self._first
