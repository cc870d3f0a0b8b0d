"""The tokens of all replicas: asked once for all who wait, before an exchange, and told how the exchange ended."""

from typing import Self, final

import attrs
import trio

from exchanger.exchange.cache.token_cache import TokenCache
from exchanger.exchange.stage import ABANDONED, GATEWAY_LEAVES, Done, Passage, Stage
from exchanger.net.reactor import Reactor
from exchanger.values.token import ExchangedToken, ExchangeFailure, TokenOutcome, TokenRequest


@final
@attrs.define(eq=False)
class Shared:
    """Asks the shared level of ``cache`` first, and has the cache keep or forget by how an exchange ended.

    ``nursery``: that in which the shared level is asked, ``None`` where exchanges do not run.
    """

    cache: TokenCache
    behind: Stage
    reactor: Reactor
    nursery: trio.Nursery | None = attrs.field(default=None, init=False)

    def begin(self, request: TokenRequest, ends: float, done: Done, /) -> TokenOutcome | Passage:
        """See ``Stage``."""
        if request.issuer.cache is None:
            return self.behind.begin(request, ends, done)
        passage = _CachedPassage(self, request, ends, done)
        if self.nursery is not None and self.cache.asks_shared(request):
            self.nursery.start_soon(passage.ask)
            return passage
        return passage.go_on()


@final
@attrs.define(eq=False)
class _CachedPassage:
    """An exchange of an issuer whose tokens are kept."""

    stage: Shared
    request: TokenRequest
    ends: float
    done: Done
    _behind: Passage | None = attrs.field(default=None, init=False)
    _over: bool = attrs.field(default=False, init=False)

    @property
    def late(self) -> ExchangeFailure:
        return GATEWAY_LEAVES if self._behind is None else self._behind.late

    def leave(self) -> None:
        if self._behind is not None:
            self._behind.leave()
        elif not self._over:
            self._over = True
            self.stage.cache.refused(self.request, ABANDONED)
            self.done(ABANDONED)

    async def ask(self) -> None:
        kept = await self.stage.cache.find_shared(self.request)

        def go_on() -> None:
            if self._over:
                return
            begun = kept.token if kept is not None else self.go_on()
            if isinstance(begun, ExchangedToken | ExchangeFailure):
                self._over = True
                self.done(begun)

        self.stage.reactor.turn(go_on)

    def go_on(self) -> TokenOutcome | Self:
        begun = self.stage.behind.begin(self.request, self.ends, self._landed)
        if isinstance(begun, ExchangedToken | ExchangeFailure):
            self._learn(begun)
            return begun
        self._behind = begun
        return self

    def _landed(self, outcome: TokenOutcome) -> None:
        self._behind, self._over = None, True
        self._learn(outcome)
        self.done(outcome)

    def _learn(self, outcome: TokenOutcome) -> None:
        if isinstance(outcome, ExchangedToken):
            self.stage.cache.keep(self.request, outcome)
        else:
            self.stage.cache.refused(self.request, outcome)
