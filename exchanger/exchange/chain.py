"""Two chained issuers: the caller's token becomes an assertion at the first one, and the assertion a token at the second one.

Sources: RFC 7523 section 2.1 (https://www.rfc-editor.org/rfc/rfc7523#section-2.1), draft-ietf-oauth-identity-chaining,
draft-ietf-oauth-identity-assertion-authz-grant.
"""

import functools
from collections.abc import Callable
from typing import Final, Self, final

import attrs

from exchanger.exchange.cache.token_cache import REFUSALS, TokenCache
from exchanger.exchange.oauth.token_request import unrequestable
from exchanger.exchange.oauth.token_response import unusable
from exchanger.exchange.stage import GATEWAY_TIMED_OUT, Done, PassThrough, PendingExchange, Stage
from exchanger.model.entry import TokenTarget
from exchanger.model.errors import Diagnostic
from exchanger.model.issuer import AssertionSource, Issuer
from exchanger.model.secret import Secret
from exchanger.model.token import ErrorKind, ExchangedToken, ExchangeFailure, FirstLeg, TokenOutcome, TokenRequest
from exchanger.model.token_failure import transport_failure, under_code

_UNLINKED: Final = transport_failure(
    ErrorKind.CREATE_REQUEST, Diagnostic.CREATE_REQUEST, detail="the profile that issues the assertion is not active"
)
# The code for an assertion that the second issuer does not accept (RFC 7521 section 4.1.1).
_INVALID: Final = "invalid_grant"
_RETURNED: Final = attrs.evolve(
    unusable(Diagnostic.ISSUED_FOR_OTHERS, ErrorKind.ISSUED_FOR_OTHERS), detail="the second issuer returned the assertion as its token"
)
# The answer of an endpoint that refuses, and says why with an error of RFC 6749.
_REFUSED: Final = frozenset({Diagnostic.OAUTH_ERROR, Diagnostic.APP_ONLY_CALLER})


@final
@attrs.define(eq=False)
class Chain:
    """Gets the assertion for an issuer whose profile has one, and then the token. Both legs share the time of the exchange.

    Each leg is an exchange at its own issuer, with that one's limits, breaker, credentials, connections and records.

    Args:
        behind: Makes the second leg.
        cache: Keeps assertions that may be sent again, in memory alone: they go nowhere but to the second issuer.
        now: Returns seconds of Trio's clock.
        first: Makes the first leg, and verifies its assertion.
    """

    behind: Stage[TokenRequest]
    cache: TokenCache
    now: Callable[[], float]
    first: Stage[TokenRequest] = attrs.field(init=False)

    def begin(self, request: TokenRequest, deadline: float, done: Done, /) -> TokenOutcome | PendingExchange:
        """Begin the first leg. The request's issuer has an assertion."""
        if request.issuer.unrequestable(request.target):
            return unrequestable(request.issuer)
        source = request.issuer.assertion
        if source is None or source.issuer is None:
            return _UNLINKED
        return ChainedExchange(done, self, request, deadline, source.issuer, _first_request(request, source, source.issuer)).begin()


@final
@attrs.define(eq=False)
class ChainedExchange(PassThrough):
    """An exchange at two issuers. ``first_leg`` is ``None`` until the first has issued the assertion.

    A caller who leaves does not end a leg that was sent, nor the exchange: others may have joined it, and its token may be kept.
    """

    stage: Chain
    request: TokenRequest
    deadline: float
    issuer: Issuer
    asked: TokenRequest
    first_leg: FirstLeg | None = attrs.field(default=None, init=False)
    _sent_before: bool = attrs.field(default=False, init=False)
    _replaced: bool = attrs.field(default=False, init=False)
    _assertion: Secret | None = attrs.field(default=None, init=False, repr=False)

    @property
    def late(self) -> ExchangeFailure:
        return super().late if self.first_leg is not None else self._without_assertion(super().late)

    def begin(self) -> TokenOutcome | Self:
        """Get the assertion, from memory if one is there that need not be renewed soon."""
        kept = None if self.issuer.cache is None else self.stage.cache.find(self.asked)
        if kept is not None and not kept.renew:
            self._sent_before = True
            return self._go_on(kept.token)
        return self._ask_first()

    def _ask_first(self) -> TokenOutcome | Self:
        begun = self._wait_for(self.stage.first.begin(self.asked, self.deadline, self._asserted))
        return self._go_on(begun) if isinstance(begun, TokenOutcome) else begun

    def _asserted(self, outcome: TokenOutcome) -> None:
        self._behind = None
        found = self._go_on(outcome)
        if isinstance(found, TokenOutcome):
            self._finish(found)

    def _go_on(self, outcome: TokenOutcome) -> TokenOutcome | Self:
        """Ask the second issuer, if the ``outcome`` at the first one is an assertion and there is time left."""
        if isinstance(outcome, ExchangeFailure):
            return self._without_assertion(outcome)
        if self.stage.now() >= self.deadline:
            return self._without_assertion(attrs.evolve(GATEWAY_TIMED_OUT, call=outcome.call, cache=outcome.cache))
        if self.issuer.cache is not None and not self._sent_before:
            self.stage.cache.keep(self.asked, outcome, shared=False)
        self.first_leg = FirstLeg(self.issuer.name, self.issuer.endpoint_host, outcome.call)
        self._assertion = outcome.access_token
        request = attrs.evolve(self.request, assertion=outcome.access_token)
        begun = self._wait_for(self.stage.behind.begin(request, self.deadline, self._landed))
        return self._verify(begun) if isinstance(begun, TokenOutcome) else begun

    def _landed(self, outcome: TokenOutcome) -> None:
        self._behind = None
        found = self._verify(outcome)
        if isinstance(found, TokenOutcome):
            self._finish(found)

    def _verify(self, outcome: TokenOutcome) -> TokenOutcome | Self:
        """Return the outcome; if an assertion was refused that may have come twice, get another one: many servers accept each only once.

        An assertion that comes back is no token of the second issuer, and is for no upstream.
        """
        if isinstance(outcome, ExchangeFailure) and outcome.oauth_error == _INVALID:
            if self.issuer.cache is not None:
                self.stage.cache.refused(self.asked, outcome)
            sent_twice = self._sent_before or (outcome.call is not None and outcome.call.repeated)
            if sent_twice and not self._replaced:
                self._sent_before, self._replaced, self.first_leg = False, True, None
                return self._ask_first()
        if isinstance(outcome, ExchangedToken) and outcome.access_token == self._assertion:
            outcome = attrs.evolve(_RETURNED, call=outcome.call, cache=outcome.cache)
        return attrs.evolve(outcome, first_leg=self.first_leg)

    def _without_assertion(self, failure: ExchangeFailure) -> ExchangeFailure:
        """Return ``failure`` as that of the first leg, under a code of its own if the caller or the client was refused."""
        leg = FirstLeg(self.issuer.name, self.issuer.endpoint_host, failure.call, failed=True)
        refused = failure.oauth_error != "" and (failure.diagnostic in _REFUSED or failure.http_status in REFUSALS)
        named = under_code(failure, Diagnostic.ASSERTION_REFUSED) if refused else failure
        return attrs.evolve(named, first_leg=leg)


def _first_request(request: TokenRequest, source: AssertionSource, issuer: Issuer) -> TokenRequest:
    return attrs.evolve(request, issuer=issuer, target=_first_target(request.target, source.profile, source.audience))


# Policies have as many targets. The same object for equal ones, since preparing a request is quicker for known objects.
@functools.lru_cache(maxsize=4096)
def _first_target(target: TokenTarget, profile: str, audience: str) -> TokenTarget:
    return TokenTarget(profile, target.scope, target.resources, (audience,))
