"""Asks issuers about callers' tokens that only they can verify, before the exchange (RFC 7662).

    verify ▸ introspect ▸ memory            the request
             coalesce ▸ results ▸ rotate ▸ limit ▸ call        the introspection request

An introspection request belongs to all who have the same token, as an exchange does. Results are kept by the token's digest, and end with
the profile.

Issuers answer fewer requests than callers can cause with made-up tokens. So these requests take turns by what is remembered of the token
(``TokenHistory``). Nothing else in a request tells a new caller from a made-up token, except that the caller comes again.

Source: RFC 7662 sections 2 and 4 (https://www.rfc-editor.org/rfc/rfc7662#section-4)
"""

import hashlib
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final, Self, TypeVar, final

import attrs

from exchanger.exchange.coalesce import Coalesce
from exchanger.exchange.interfaces import Ticket, TokenExchanger
from exchanger.exchange.oauth.introspection import unavailable
from exchanger.exchange.stage import NO_WAITERS, Done, PassThrough, PendingExchange, Stage, VerifiedRequest
from exchanger.model.issuer import Issuer
from exchanger.model.token import (
    ErrorKind,
    ExchangedToken,
    ExchangeFailure,
    IntrospectionRequest,
    TokenHistory,
    TokenOutcome,
    TokenRequest,
    VerificationResult,
)
from exchanger.model.token_failure import inactive_subject
from exchanger.net.reactor import Reactor

T = TypeVar("T")

# Results of each kind that are kept, and digests of active tokens and of those turned away: 400 and 250 bytes each. Each kind has a limit
# of its own, so that made-up tokens push out no good one. More refusals than this cannot be answered in their second, and with 1,500
# made-up tokens a second, callers that were turned away have 13 s to come again.
MAX_RESULTS: Final = 20_000
# Seconds before an issuer is asked again about a token that does not pass: callers try again at once, and nothing will have changed.
ASK_AGAIN_S: Final = 1.0


@final
@attrs.frozen
class _Kept:
    """A result that counts until ``until`` (seconds of Trio's clock), and while the token is valid: ``expires`` (since the epoch)."""

    result: VerificationResult | ExchangeFailure
    until: float
    expires: float = math.inf


@final
@attrs.define(eq=False)
class IntrospectionCache:
    """Keeps what issuers say. A stage of introspection: a result is kept also if its callers have left.

    Args:
        behind: Asks.
        now: Seconds of Trio's clock.
        wall: Seconds since the epoch.
    """

    behind: Stage[IntrospectionRequest]
    now: Callable[[], float]
    wall: Callable[[], float]
    passed: OrderedDict[tuple[str, bytes], _Kept] = attrs.field(factory=OrderedDict, init=False, repr=False)
    refused: OrderedDict[tuple[str, bytes], _Kept] = attrs.field(factory=OrderedDict, init=False, repr=False)
    # Tokens that were active when their issuer was last asked, with their expiry (since the epoch), and those that found no room.
    active: OrderedDict[tuple[str, bytes], float] = attrs.field(factory=OrderedDict, init=False, repr=False)
    turned_away: OrderedDict[tuple[str, bytes], None] = attrs.field(factory=OrderedDict, init=False, repr=False)
    _issuers: Mapping[str, Issuer] = attrs.field(factory=dict, init=False, repr=False)

    def use_issuers(self, issuers: Mapping[str, Issuer]) -> None:
        """Take over the active issuers. Results under other rules, or by another client, count no more."""
        same = {name for name, issuer in issuers.items() if self._issuers.get(name) == issuer}
        self._issuers = issuers
        for known in (self.passed, self.refused, self.active, self.turned_away):
            for place in [place for place in known if place[0] not in same]:
                del known[place]

    def find(self, request: IntrospectionRequest) -> VerificationResult | ExchangeFailure | None:
        """Return the result, ``None`` if the issuer must be asked."""
        # A request that waited while its profile was replaced is verified by the rules that it began with.
        if self._issuers.get(request.issuer.name) != request.issuer:
            return None
        place = _place(request)
        for results in (self.passed, self.refused):
            kept = results.get(place)
            if kept is None:
                continue
            if self.now() < kept.until and self.wall() < kept.expires:
                results.move_to_end(place)
                return kept.result
            del results[place]
        return None

    def history(self, request: IntrospectionRequest) -> TokenHistory:
        """Return what the token was when it last came, however long the result counted."""
        place = _place(request)
        if self.wall() < self.active.get(place, -math.inf):
            return TokenHistory.ACTIVE
        return TokenHistory.TURNED_AWAY if place in self.turned_away else TokenHistory.UNKNOWN

    def begin(self, request: IntrospectionRequest, deadline: float, done: Done, /) -> TokenOutcome | PendingExchange:
        return _Question(done, self, request).ask(deadline)

    def learn(self, request: IntrospectionRequest, outcome: TokenOutcome) -> None:
        """Keep the result, if there is one and its profile is active."""
        rules = request.issuer.subject.introspection
        if rules is None or self._issuers.get(request.issuer.name) != request.issuer:
            return
        place = _place(request)
        if isinstance(outcome, ExchangedToken):
            # The issuer may have looked as soon as it was asked.
            until = self.now() - (0.0 if outcome.call is None else outcome.call.duration) + rules.cache_ttl
            expires = math.inf if outcome.expires_at is None else float(outcome.expires_at)
            self._keep(self.passed, place, _Kept(_result_of(outcome), until, expires))
            self.turned_away.pop(place, None)
            _remember(self.active, place, expires)
        elif outcome.kind is ErrorKind.SUBJECT_INACTIVE:
            self._keep(self.refused, place, _Kept(_result_of(outcome), self.now() + ASK_AGAIN_S))
            for known in (self.passed, self.active, self.turned_away):
                known.pop(place, None)
        elif outcome.kind is ErrorKind.OVERLOADED or outcome is NO_WAITERS:
            _remember(self.turned_away, place, None)

    def _keep(self, results: OrderedDict[tuple[str, bytes], _Kept], place: tuple[str, bytes], kept: _Kept) -> None:
        if self.now() < kept.until and self.wall() < kept.expires:
            _remember(results, place, kept)


def _remember(known: OrderedDict[tuple[str, bytes], T], place: tuple[str, bytes], value: T) -> None:
    """Put ``value`` last, and forget what came first if it is too much."""
    known[place] = value
    known.move_to_end(place)
    if len(known) > MAX_RESULTS:
        known.popitem(last=False)


def _result_of(outcome: TokenOutcome) -> VerificationResult | ExchangeFailure:
    """Return what ``outcome`` says of the token, or why it says nothing. The call is not the decision's: no token was asked for."""
    if isinstance(outcome, ExchangeFailure):
        return inactive_subject(outcome.detail) if outcome.kind is ErrorKind.SUBJECT_INACTIVE else outcome
    if outcome.subject is None:
        raise AssertionError  # each success has a result
    return outcome.subject


def _place(request: IntrospectionRequest) -> tuple[str, bytes]:
    return request.issuer.name, hashlib.sha256(request.subject_token.reveal().encode("utf-8", "surrogatepass")).digest()


@final
@attrs.define(eq=False)
class _Question(PassThrough):
    """One introspection request to an issuer."""

    stage: IntrospectionCache
    request: IntrospectionRequest

    def ask(self, deadline: float) -> TokenOutcome | Self:
        """Ask, and learn from the answer."""
        begun = self._wait_for(self.stage.behind.begin(self.request, deadline, self._landed))
        if isinstance(begun, TokenOutcome):
            self.stage.learn(self.request, begun)
        return begun

    def _landed(self, outcome: TokenOutcome) -> None:
        self.stage.learn(self.request, outcome)
        self._finish(outcome)


@final
@attrs.define(eq=False)
class Introspect:
    """Implements ``TokenExchanger`` in front of another one, for issuers that are asked about each token that comes here.

    Args:
        behind: Makes the exchanges.
        introspections: Asks about tokens, once for equal ones.
        results: What is known of tokens.
        reactor: Requests begin and end in its turns.
        seconds: How long introspection and exchange can take together.
    """

    behind: TokenExchanger
    introspections: Coalesce[IntrospectionRequest]
    results: IntrospectionCache
    reactor: Reactor
    seconds: float

    def begin(self, request: TokenRequest, deadline: float, done: Done, /) -> TokenOutcome | Ticket:
        due = min(deadline, self.reactor.now() + self.seconds)
        return _IntrospectedRequest(request, due, done, self, deadline).begin()


@final
@attrs.define(eq=False)
class _IntrospectedRequest(VerifiedRequest):
    """One request whose token its issuer is asked about. ``gateway`` is until when the gateway waits."""

    stage: Introspect
    gateway: float

    def begin(self) -> TokenOutcome | Ticket:
        """Pass on by what is known of the token, or wait for its issuer's word."""
        request = self.request
        introspection = IntrospectionRequest(request.issuer.verifying, request.subject_token, request.trace, request.namespace)
        found = self.stage.results.find(introspection)
        if found is None:
            introspection = attrs.evolve(introspection, history=self.stage.results.history(introspection))
            begun = self.stage.introspections.begin(introspection, self.deadline, self._answered)
            if not isinstance(begun, TokenOutcome):
                self._ticket = begun
                return self
            found = self._read(begun)
        return found if isinstance(found, ExchangeFailure) else self._pass_on(self.stage.behind, found)

    def _answered(self, outcome: TokenOutcome) -> None:
        self._ticket = None
        found = self._read(outcome)
        begun = found if isinstance(found, ExchangeFailure) else self._pass_on(self.stage.behind, found)
        if isinstance(begun, TokenOutcome):
            self.done(begun)

    def _read(self, outcome: TokenOutcome) -> VerificationResult | ExchangeFailure:
        found = _result_of(outcome)
        if isinstance(found, VerificationResult) or found.kind is ErrorKind.SUBJECT_INACTIVE:
            return found
        return unavailable(found, too_late=self.stage.reactor.now() >= self.gateway)
