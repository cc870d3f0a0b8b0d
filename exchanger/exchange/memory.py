"""Tokens in memory: a hit is answered at once, and a token that expires soon is renewed in the background."""

from typing import final

import attrs

from exchanger.exchange.cache.token_cache import TokenCache
from exchanger.exchange.coalesce import Coalesce, ExchangeTicket
from exchanger.exchange.stage import Done
from exchanger.model.token import TokenOutcome, TokenRequest


@final
@attrs.define(eq=False)
class Memory:
    """Answers from the memory of ``cache``. Renewals enter at ``behind``, so that a request which misses beside one shares it."""

    cache: TokenCache
    behind: Coalesce[TokenRequest]

    def begin(self, request: TokenRequest, deadline: float, done: Done, /) -> TokenOutcome | ExchangeTicket:
        if request.issuer.cache is not None and (kept := self.cache.find(request)) is not None:
            if kept.renew:
                self.behind.renew(request)
            return kept.token
        return self.behind.begin(request, deadline, done)
