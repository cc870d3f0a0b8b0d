"""Just after a rotation, endpoints may accept new credentials only or previous ones only: a refused call is made again with the others."""

from typing import Self, final

import attrs

from exchanger.exchange.act import Act
from exchanger.exchange.stage import GATEWAY_LEAVES, Done, Passage
from exchanger.oauth.rotation import Rotations
from exchanger.values.token import ExchangedToken, ExchangeFailure, TokenOutcome, TokenRequest


@final
@attrs.define(eq=False)
class Rotate:
    """Makes up to three calls where ``rotations`` say so, each wholly with the credentials of one rotation, also for the actor's token."""

    behind: Act
    rotations: Rotations

    def begin(self, request: TokenRequest, ends: float, done: Done, /) -> TokenOutcome | Passage:
        """See ``Stage``."""
        if request.issuer.previous is None:
            return self.behind.begin(request, ends, done)
        return _RotatedCalls(self, request, ends, done).call(request)


@final
@attrs.define(eq=False)
class _RotatedCalls:
    """The calls of one request. ``first`` is the outcome of the first one, while there is another: that is the one to mend."""

    stage: Rotate
    wanted: TokenRequest
    ends: float
    done: Done
    first: TokenOutcome | None = attrs.field(default=None, init=False)
    _made: TokenRequest = attrs.field(init=False)
    _behind: Passage | None = attrs.field(default=None, init=False)

    @property
    def late(self) -> ExchangeFailure:
        return GATEWAY_LEAVES if self._behind is None else self._behind.late

    def leave(self) -> None:
        if self._behind is not None:
            self._behind.leave()

    def call(self, request: TokenRequest) -> TokenOutcome | Self:
        while True:
            self._made = request
            begun = self.stage.behind.begin(request, self.ends, self._landed)
            if not isinstance(begun, ExchangedToken | ExchangeFailure):
                self._behind = begun
                return self
            found = self._judge(begun)
            if isinstance(found, ExchangedToken | ExchangeFailure):
                return found
            request = found

    def _landed(self, outcome: TokenOutcome) -> None:
        self._behind = None
        found = self._judge(outcome)
        if not isinstance(found, ExchangedToken | ExchangeFailure):
            begun = self.call(found)
            if not isinstance(begun, ExchangedToken | ExchangeFailure):
                return
            found = begun
        self.done(found)

    def _judge(self, outcome: TokenOutcome) -> TokenOutcome | TokenRequest:
        """Return the final outcome, or the request for the next call."""
        following = self.stage.rotations.next_credentials(self.wanted.issuer, self._made.issuer, outcome)
        if following is not None:
            self.first = self.first or outcome
            return attrs.evolve(self.wanted, issuer=following)
        return outcome if isinstance(outcome, ExchangedToken) or self.first is None else self.first
