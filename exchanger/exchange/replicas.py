"""The tokens of all replicas: looked up once for all who wait, before an exchange, and updated with its outcome."""

from typing import Self, final

import attrs
import trio

from exchanger.exchange.cache.token_cache import TokenCache
from exchanger.exchange.stage import Done, PassThrough, PendingExchange, Stage
from exchanger.model.token import ExchangedToken, TokenOutcome, TokenRequest
from exchanger.net.reactor import Reactor


@final
@attrs.define(eq=False)
class Replicas:
    """Asks the shared level of ``cache`` first, and makes the cache keep or forget the token depending on how an exchange ended.

    ``nursery``: where the shared level is asked, ``None`` where exchanges do not run.
    """

    cache: TokenCache
    behind: Stage[TokenRequest]
    reactor: Reactor
    nursery: trio.Nursery | None = attrs.field(default=None, init=False)

    def begin(self, request: TokenRequest, deadline: float, done: Done, /) -> TokenOutcome | PendingExchange:
        if request.issuer.cache is None:
            return self.behind.begin(request, deadline, done)
        pending = _SharedLookup(done, self, request, deadline)
        if self.nursery is not None and self.cache.asks_shared(request):
            self.nursery.start_soon(pending.ask)
            return pending
        return pending.go_on()


@final
@attrs.define(eq=False)
class _SharedLookup(PassThrough):
    """An exchange of an issuer whose tokens are kept."""

    stage: Replicas
    request: TokenRequest
    deadline: float

    async def ask(self) -> None:
        """Ask the shared level, and continue if it has no token."""
        kept = await self.stage.cache.find_shared(self.request)

        def go_on() -> None:
            if not self._is_over:
                begun = self.go_on() if kept is None else kept.token
                if isinstance(begun, TokenOutcome):
                    self._finish(begun)

        self.stage.reactor.turn(go_on)

    def go_on(self) -> TokenOutcome | Self:
        """Exchange the token."""
        begun = self._wait_for(self.stage.behind.begin(self.request, self.deadline, self._landed))
        if isinstance(begun, TokenOutcome):
            self._learn(begun)
        return begun

    def _landed(self, outcome: TokenOutcome) -> None:
        self._learn(outcome)
        self._finish(outcome)

    def _learn(self, outcome: TokenOutcome) -> None:
        if isinstance(outcome, ExchangedToken):
            self.stage.cache.keep(self.request, outcome)
        else:
            self.stage.cache.refused(self.request, outcome)
