"""The actor's token where this client is the actor: requested with the client credentials grant, kept until shortly before it expires.

One request serves all exchanges that need the token meanwhile. It belongs to none of them: a caller who leaves does not end it.
"""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Final, Self, final

import attrs
import trio

from exchanger.exchange.call import ClientTokenRequest
from exchanger.exchange.limit import Limit
from exchanger.exchange.oauth.preparation import Preparation
from exchanger.exchange.oauth.rotation import refuses_client
from exchanger.exchange.stage import STOPPING, Done, PassThrough, PendingExchange
from exchanger.model.errors import Diagnostic
from exchanger.model.issuer import ActorCredentials, Issuer
from exchanger.model.secret import Secret
from exchanger.model.token import ErrorKind, ExchangedToken, ExchangeFailure, TokenOutcome, TokenRequest
from exchanger.model.token_failure import transport_failure
from exchanger.net.endpoint import Endpoint
from exchanger.net.reactor import Reactor
from exchanger.util.frozen import evolver_of

NO_ACTOR_TOKEN: Final = transport_failure(
    ErrorKind.NO_ACTOR_TOKEN, Diagnostic.NO_ACTOR_TOKEN, detail="the token endpoint returned no actor token"
)

# Seconds, and part of its lifetime, before its end at which a token is no longer used: an exchange takes a while, and clocks differ.
_MARGIN_S: Final = 30.0
_MARGIN_PART: Final = 0.2
# Seconds for which a token is used if its issuer does not say how long it is valid (RFC 6749 section 5.1).
_UNSAID_S: Final = 60.0
# Seconds for which a token is used at most, however long its lifetime: the actor's rights may have changed since.
_LONGEST_S: Final = 3600.0
# Seconds before the issuer is asked again: after it gave no token, and after it was asked to replace one.
_PAUSE_S: Final = 1.0
# Refusals that are not about a token but about the client or its request (RFC 6749 section 5.2, RFC 8693 section 2.2.2).
_OF_NO_TOKEN: Final = frozenset({"invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope", "invalid_target"})
_REFUSALS: Final = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
# The issuer's limits refused the request for the actor's token, as they would refuse the exchange: reported like that.
_with_actor: Final = evolver_of(TokenRequest, "actor_token")
_beside_actor: Final = evolver_of(ExchangedToken, "actor_token")
_LIMITED: Final = frozenset({ErrorKind.BREAKER_OPEN, ErrorKind.OVERLOADED})


def may_refuse_actor_token(outcome: TokenOutcome) -> bool:
    """Return whether the actor's token may be why an exchange was refused: most endpoints do not say which of two tokens they mean."""
    if isinstance(outcome, ExchangedToken) or outcome.step_up is not None:
        return False
    return outcome.http_status in _REFUSALS and outcome.oauth_error not in _OF_NO_TOKEN


@final
@attrs.define(eq=False)
class Act:
    """Adds the actor's token to exchanges. No permit is held while that is requested, since the request itself needs one.

    ``nursery``: exchanges wait for tokens in it, ``None`` outside ``run``.
    """

    behind: Limit
    tokens: "ActorTokenCache"
    preparation: Preparation
    reactor: Reactor
    nursery: trio.Nursery | None = attrs.field(default=None, init=False)

    def begin(self, request: TokenRequest, deadline: float, done: Done, /) -> TokenOutcome | PendingExchange:
        actor = request.issuer.grant.actor
        # Without an endpoint to request the token from, the exchange has none either, and its failure says so.
        if not isinstance(actor, ActorCredentials) or not isinstance(self.preparation.endpoint(request.issuer), Endpoint):
            return self.behind.begin(request, deadline, done)
        pending = _ActingExchange(done, self, request, actor, deadline)
        token = self.tokens.at_hand(request.issuer)
        if token is not None:
            return pending.go_on(token)
        if self.nursery is None:
            return STOPPING
        self.nursery.start_soon(pending.obtain)
        return pending


@final
@attrs.define(eq=False)
class _ActingExchange(PassThrough):
    """An exchange with an actor's token, or two if the first token may have been refused."""

    stage: Act
    request: TokenRequest
    actor: ActorCredentials
    deadline: float
    _token: Secret | None = attrs.field(default=None, init=False)
    _replaced: bool = attrs.field(default=False, init=False)

    def go_on(self, token: Secret) -> TokenOutcome | Self:
        """Exchange with ``token``."""
        self._token = token
        begun = self._wait_for(self.stage.behind.begin(_with_actor(self.request, token), self.deadline, self._landed))
        return self._to_compare(begun) if isinstance(begun, TokenOutcome) else begun

    def _to_compare(self, outcome: TokenOutcome) -> TokenOutcome:
        """Return a token with that of its actor, if ``prove`` will compare them, and take that off again."""
        is_compared = self.request.issuer.issued is not None and type(outcome) is ExchangedToken
        return _beside_actor(outcome, self._token) if is_compared else outcome

    async def obtain(self) -> None:
        """Wait for the token, then make the exchange."""
        found: Secret | ExchangeFailure = NO_ACTOR_TOKEN
        with trio.move_on_at(self.deadline):
            found = await self.stage.tokens.obtain(self.request.issuer, self.actor)
        self.stage.reactor.turn(lambda: self._obtained(found))

    def _obtained(self, found: Secret | TokenOutcome) -> None:
        if not self._is_over:
            begun = self.go_on(found) if isinstance(found, Secret) else found
            if isinstance(begun, TokenOutcome):
                self._finish(begun)

    def _landed(self, outcome: TokenOutcome) -> None:
        self._behind = None
        nursery, refused = self.stage.nursery, self._token
        if self._replaced or nursery is None or refused is None or not may_refuse_actor_token(outcome):
            self._finish(self._to_compare(outcome))
        else:
            self._replaced = True
            nursery.start_soon(self._replace, refused, outcome)

    async def _replace(self, refused: Secret, outcome: TokenOutcome) -> None:
        """Exchange once more with another token, if there is one in time; otherwise ``outcome`` is final."""
        token = None
        with trio.move_on_at(self.deadline):
            token = await self.stage.tokens.replace(self.request.issuer, self.actor, refused)
        found = outcome if token is None else token
        self.stage.reactor.turn(lambda: self._obtained(found))


@final
@attrs.frozen
class _KeptActorToken:
    """An issuer's token for the actor, valid until ``until`` (seconds of Trio's clock)."""

    token: Secret | ExchangeFailure
    until: float


@final
@attrs.define(eq=False)
class _Asked:
    """A request in progress; ``token`` is its result once it has ``ended``."""

    ended: trio.Event = attrs.field(factory=trio.Event)
    token: Secret | ExchangeFailure = NO_ACTOR_TOKEN


@final
@attrs.define(eq=False)
class ActorTokenCache:
    """Keeps a token for each issuer whose actor is this client. ``ask`` makes the bounded request, in ``nursery``.

    A token that an endpoint may have refused stays in use until there is another one: the refusal may be due to one caller, and must not
    affect the others.
    """

    _ask: Callable[[Issuer, ActorCredentials], Awaitable[TokenOutcome]]
    cached: dict[Issuer, _KeptActorToken] = attrs.field(factory=dict, init=False, repr=False)
    _asked: dict[Issuer, _Asked] = attrs.field(factory=dict, init=False, repr=False)
    # By issuer: when it was last asked for another token because of a refusal.
    _replaced: dict[Issuer, float] = attrs.field(factory=dict, init=False, repr=False)
    # ``None`` until the first issuers are active.
    _current: frozenset[Issuer] | None = attrs.field(default=None, init=False, repr=False)
    nursery: trio.Nursery | None = attrs.field(default=None, init=False)

    def use_issuers(self, issuers: Mapping[str, Issuer]) -> None:
        """Forget the tokens of issuers that are no longer active. Requests continue for their waiters; their results are not kept."""
        self._current = current = frozenset(called for issuer in issuers.values() for called in issuer.as_called)
        self.cached = {issuer: kept for issuer, kept in self.cached.items() if issuer in current}
        self._asked = {issuer: asked for issuer, asked in self._asked.items() if issuer in current}
        self._replaced = {issuer: at for issuer, at in self._replaced.items() if issuer in current}

    def at_hand(self, issuer: Issuer) -> Secret | None:
        """Return the token, ``None`` if it must be requested."""
        kept = self._recent(issuer)
        return kept if isinstance(kept, Secret) else None

    def _recent(self, issuer: Issuer) -> Secret | ExchangeFailure | None:
        kept = self.cached.get(issuer)
        return kept.token if kept is not None and trio.current_time() < kept.until else None

    async def obtain(self, issuer: Issuer, actor: ActorCredentials) -> Secret | ExchangeFailure:
        """Return the token, or the reason why there is none."""
        recent = self._recent(issuer)
        return await self._ask_together(issuer, actor) if recent is None else recent

    async def replace(self, issuer: Issuer, actor: ActorCredentials, refused: Secret) -> Secret | None:
        """Return a token other than ``refused``, with which an exchange was refused; ``None`` if there is none."""
        token: Secret | ExchangeFailure | None = self.at_hand(issuer)
        if token is None or token == refused:
            now = trio.current_time()
            if issuer not in self._asked:
                if now < self._replaced.get(issuer, -_PAUSE_S) + _PAUSE_S:
                    return None
                self._replaced[issuer] = now
            token = await self._ask_together(issuer, actor)
        return token if isinstance(token, Secret) and token != refused else None

    async def _ask_together(self, issuer: Issuer, actor: ActorCredentials) -> Secret | ExchangeFailure:
        """Request a token, or wait for the request in progress."""
        asked = self._asked.get(issuer)
        if asked is None:
            if self.nursery is None:
                return STOPPING
            asked = self._asked[issuer] = _Asked()
            self.nursery.start_soon(self._ask_for, issuer, actor, asked)
        await asked.ended.wait()  # the request's own time is its bound
        return asked.token

    async def _ask_for(self, issuer: Issuer, actor: ActorCredentials, asked: _Asked) -> None:
        sent = trio.current_time()
        try:
            outcome = await self._ask(issuer, actor)
            if isinstance(outcome, ExchangedToken):
                life = _UNSAID_S if outcome.expires_in is None else float(outcome.expires_in)
                asked.token, until = outcome.access_token, sent + min(life - min(_MARGIN_S, _MARGIN_PART * life), _LONGEST_S)
            else:
                asked.token = outcome if outcome.kind in _LIMITED else _none(outcome)
                until = trio.current_time() + _PAUSE_S
            in_use = isinstance(asked.token, ExchangeFailure) and self.at_hand(issuer) is not None
            current = self._current is None or issuer in self._current
            if current and self._asked.get(issuer) is asked and not in_use:
                self.cached[issuer] = _KeptActorToken(asked.token, until)
        finally:
            if self._asked.get(issuer) is asked:
                del self._asked[issuer]
            asked.ended.set()


def _none(outcome: ExchangeFailure) -> ExchangeFailure:
    """Return that there is no token, and why if the client was refused, which may have other credentials."""
    return attrs.evolve(NO_ACTOR_TOKEN, oauth_error=outcome.oauth_error or "invalid_client") if refuses_client(outcome) else NO_ACTOR_TOKEN


async def ask_for_client_token(stage: Limit, reactor: Reactor, seconds: float, issuer: Issuer, actor: ActorCredentials) -> TokenOutcome:
    """Return a token for the client itself from ``stage``, or why there is none, within ``seconds``."""
    outcomes: list[TokenOutcome] = []
    ended = trio.Event()

    def done(outcome: TokenOutcome) -> None:
        outcomes.append(outcome)
        ended.set()

    def begin() -> None:
        begun = stage.begin(ClientTokenRequest(issuer, actor), trio.current_time() + seconds, done)
        if isinstance(begun, TokenOutcome):
            done(begun)
        else:
            requests.append(begun)

    requests: list[PendingExchange] = []
    reactor.turn(begin)
    try:
        await ended.wait()  # its own time is its bound
    finally:
        if not outcomes:
            for pending in requests:
                reactor.turn(pending.leave)
    return outcomes[0]
