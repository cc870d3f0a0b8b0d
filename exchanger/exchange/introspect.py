"""Asks issuers about callers' tokens that only they can judge, before the exchange (RFC 7662).

    verify ▸ introspect ▸ memory            the request
             coalesce ▸ verdicts ▸ rotate ▸ limit ▸ call        the question

A question belongs to all who have the same token, as an exchange does. Verdicts are kept by the token's digest, and end with the profile.

Source: RFC 7662 sections 2 and 4 (https://www.rfc-editor.org/rfc/rfc7662#section-4)
"""

import hashlib
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final, Self, final

import attrs

from exchanger.decision.token_failure import inactive_subject
from exchanger.exchange.coalesce import Coalesce
from exchanger.exchange.stage import Done, JudgedRequest, Passage, Relay, Stage
from exchanger.net.reactor import Reactor
from exchanger.oauth.introspection import unavailable
from exchanger.typing import Ticket, TokenExchanger
from exchanger.values.issuer import Issuer
from exchanger.values.token import (
    ErrorKind,
    ExchangedToken,
    ExchangeFailure,
    IntrospectionRequest,
    SubjectVerdict,
    TokenOutcome,
    TokenRequest,
)

# Verdicts of each kind that are kept: a digest and some numbers each, 400 bytes. Refusals have a place of their own, so that made-up tokens
# push out no good one; in their second, more of them than this cannot be answered.
MAX_VERDICTS: Final = 20_000
# Seconds before an issuer is asked again about a token that does not pass: callers try again at once, and nothing will have changed.
ASK_AGAIN_S: Final = 1.0


@final
@attrs.frozen
class _Kept:
    """A verdict that counts until ``until`` (seconds of Trio's clock), and while the token is valid: ``expires`` (since the epoch)."""

    verdict: SubjectVerdict | ExchangeFailure
    until: float
    expires: float = math.inf


@final
@attrs.define(eq=False)
class VerdictCache:
    """Keeps what issuers say. A stage of the question: a verdict is kept also if its callers have left.

    Args:
        behind: Asks.
        now: Seconds of Trio's clock.
        wall: Seconds since the epoch.
    """

    behind: Stage[IntrospectionRequest]
    now: Callable[[], float]
    wall: Callable[[], float]
    _passed: OrderedDict[tuple[str, bytes], _Kept] = attrs.field(factory=OrderedDict, init=False, repr=False)
    _refused: OrderedDict[tuple[str, bytes], _Kept] = attrs.field(factory=OrderedDict, init=False, repr=False)
    _issuers: Mapping[str, Issuer] = attrs.field(factory=dict, init=False, repr=False)

    def use_issuers(self, issuers: Mapping[str, Issuer]) -> None:
        """Take over the issuers in force. Verdicts under other rules, or by another client, count no more."""
        same = {name for name, issuer in issuers.items() if self._issuers.get(name) == issuer}
        self._issuers = issuers
        for kept in (self._passed, self._refused):
            for place in [place for place in kept if place[0] not in same]:
                del kept[place]

    def find(self, request: IntrospectionRequest) -> SubjectVerdict | ExchangeFailure | None:
        """Return the verdict, ``None`` if the issuer must be asked."""
        # A request that waited while its profile was replaced is judged by the rules that it began with.
        if self._issuers.get(request.issuer.name) != request.issuer:
            return None
        place = _place(request)
        for verdicts in (self._passed, self._refused):
            kept = verdicts.get(place)
            if kept is None:
                continue
            if self.now() < kept.until and self.wall() < kept.expires:
                verdicts.move_to_end(place)
                return kept.verdict
            if verdicts is self._refused or self.wall() >= kept.expires:
                del verdicts[place]
        return None

    def has_passed(self, request: IntrospectionRequest) -> bool:
        """Return whether the issuer has said that the token is active, and nothing else since then."""
        return _place(request) in self._passed

    def begin(self, request: IntrospectionRequest, deadline: float, done: Done, /) -> TokenOutcome | Passage:
        """See ``Stage``."""
        return _Question(done, self, request).ask(deadline)

    def learn(self, request: IntrospectionRequest, outcome: TokenOutcome) -> None:
        """Keep the verdict, if there is one and its profile is in force."""
        rules = request.issuer.subject.introspection
        if rules is None or self._issuers.get(request.issuer.name) != request.issuer:
            return
        verdict = _verdict_of(outcome)
        if isinstance(outcome, ExchangedToken):
            # The issuer may have looked as soon as it was asked.
            until = self.now() - (0.0 if outcome.call is None else outcome.call.duration) + rules.keep_for
            expires = math.inf if outcome.expires_at is None else float(outcome.expires_at)
            self._keep(self._passed, request, _Kept(verdict, until, expires))
        elif outcome.kind is ErrorKind.SUBJECT_INACTIVE:
            self._keep(self._refused, request, _Kept(verdict, self.now() + ASK_AGAIN_S))
            self._passed.pop(_place(request), None)

    def _keep(self, verdicts: OrderedDict[tuple[str, bytes], _Kept], request: IntrospectionRequest, kept: _Kept) -> None:
        if self.now() < kept.until and self.wall() < kept.expires:
            verdicts[_place(request)] = kept
            if len(verdicts) > MAX_VERDICTS:
                verdicts.popitem(last=False)


def _verdict_of(outcome: TokenOutcome) -> SubjectVerdict | ExchangeFailure:
    """Return what ``outcome`` says of the token, or why it says nothing. The call is not the decision's: no token was asked for."""
    if isinstance(outcome, ExchangeFailure):
        return inactive_subject(outcome.detail) if outcome.kind is ErrorKind.SUBJECT_INACTIVE else outcome
    if outcome.subject is None:
        raise AssertionError  # each success of a question has a verdict
    return outcome.subject


def _place(request: IntrospectionRequest) -> tuple[str, bytes]:
    return request.issuer.name, hashlib.sha256(request.subject_token.reveal().encode("utf-8", "surrogatepass")).digest()


@final
@attrs.define(eq=False)
class _Question(Relay):
    """One question to an issuer."""

    stage: VerdictCache
    request: IntrospectionRequest

    def ask(self, deadline: float) -> TokenOutcome | Self:
        """Ask, and learn from the answer."""
        begun = self._goes_on(self.stage.behind.begin(self.request, deadline, self._landed))
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
        questions: Asks about tokens, once for equal ones.
        verdicts: What is known of tokens.
        reactor: Requests begin and end in its turns.
        seconds: How long question and exchange may take together.
    """

    behind: TokenExchanger
    questions: Coalesce[IntrospectionRequest]
    verdicts: VerdictCache
    reactor: Reactor
    seconds: float

    def begin(self, request: TokenRequest, deadline: float, done: Done, /) -> TokenOutcome | Ticket:
        """See ``TokenExchanger``."""
        due = min(deadline, self.reactor.now() + self.seconds)
        return _IntrospectedRequest(request, due, done, self, deadline).begin()


@final
@attrs.define(eq=False)
class _IntrospectedRequest(JudgedRequest):
    """One request whose token its issuer is asked about. ``gateway`` is until when the gateway waits."""

    stage: Introspect
    gateway: float

    def begin(self) -> TokenOutcome | Ticket:
        """Pass on by what is known of the token, or wait for its issuer's word."""
        request = self.request
        question = IntrospectionRequest(request.issuer.verifying, request.subject_token, request.trace, request.namespace)
        found = self.stage.verdicts.find(question)
        if found is None:
            question = attrs.evolve(question, again=self.stage.verdicts.has_passed(question))
            begun = self.stage.questions.begin(question, self.deadline, self._answered)
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

    def _read(self, outcome: TokenOutcome) -> SubjectVerdict | ExchangeFailure:
        found = _verdict_of(outcome)
        if isinstance(found, SubjectVerdict) or found.kind is ErrorKind.SUBJECT_INACTIVE:
            return found
        return unavailable(found, too_late=self.stage.reactor.now() >= self.gateway)
