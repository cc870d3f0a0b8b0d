"""Judges each token that was issued, before it is kept or handed out: whether it is the one that was requested."""

from collections.abc import Callable, Mapping
from random import Random
from typing import Self, final

import attrs
import trio

from exchanger.exchange.interfaces import ExchangeObserver
from exchanger.exchange.jwks_cache import JwksCache, JwksCaches, KeySource
from exchanger.exchange.oauth.documents import Documents
from exchanger.exchange.oauth.issued_token import (
    ID_JAG_TYPES,
    NO_KEYS,
    UNSIGNED,
    IssuedFault,
    is_opaque,
    judge_issued,
    mismatch,
    unreadable,
)
from exchanger.exchange.stage import Done, PassThrough, PendingExchange, Stage
from exchanger.formats.jwt.refusal import TokenRefused
from exchanger.formats.jwt.verify import TYPES, read_token
from exchanger.model.issuer import IssuedTokenRules, Issuer
from exchanger.model.token import ExchangedToken, ExchangeFailure, ExchangeRecord, TokenOutcome, TokenRequest
from exchanger.net.reactor import Reactor
from exchanger.net.timers import NEVER


@final
@attrs.define(eq=False)
class Prove:
    """Judges the tokens of issuers whose profile has ``issuedToken``. Those in the caches passed before they were kept.

    A cache names a token by everything in its issuer, rules included: with other rules, no token from before is found.

    Args:
        behind: Makes the exchanges.
        chain: Makes those at two chained issuers. Its place is here, so that other exchanges do not pass through it.
        documents: Fetches keys.
        reactor: Exchanges begin and end in its turns.
        observers: Get a record of each token that failed; its call succeeded.
        now: Seconds since the epoch.
        random: Spreads the requests for keys.
    """

    behind: Stage[TokenRequest]
    chain: Stage[TokenRequest]
    documents: Documents
    reactor: Reactor
    observers: tuple[ExchangeObserver, ...]
    now: Callable[[], float]
    _random: Random
    _keys: JwksCaches = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._keys = JwksCaches(self.documents, self.reactor.turn, self._random)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow the keys until cancelled."""
        await self._keys.run(task_status=task_status)

    def use_issuers(self, issuers: Mapping[str, Issuer]) -> None:
        """Take over the active issuers."""
        self._keys.use(
            KeySource(issuer, issuer.issued.keys_of, issuer.issued.jwks_uri)
            for issuer in issuers.values()
            if issuer.issued is not None and issuer.issued.signature
        )

    def begin(self, request: TokenRequest, deadline: float, done: Done, /) -> TokenOutcome | PendingExchange:
        rules = request.issuer.issued
        behind = self.behind if request.issuer.assertion is None else self.chain
        if rules is None:
            return behind.begin(request, deadline, done)
        return CheckedExchange(done, self, behind, request, rules, deadline).begin()

    def verify(
        self, rules: IssuedTokenRules, request: TokenRequest, issued: ExchangedToken, *, waited: bool
    ) -> ExchangedToken | ExchangeFailure | JwksCache:
        """Return ``issued`` if it passes; a ``JwksCache`` if its keys are being fetched, and were not ``waited`` for yet."""
        found = judge_issued(rules, request, issued, self.now())
        if found is None and rules.signature and not is_opaque(issued.access_token.reveal()):
            fault = self._signature_fault(rules, request, issued, waited=waited)
            if isinstance(fault, JwksCache):
                return fault
            found = None if fault is None else mismatch(fault, rules, request, issued)
        if found is None:
            return issued if issued.actor_token is None else attrs.evolve(issued, actor_token=None)
        record = ExchangeRecord(request.issuer.endpoint_host, found.kind, found.http_status, self.reactor.network.steady(), 0.0)
        for observer in self.observers:
            observer.exchanged(record)
        return found

    def _signature_fault(
        self, rules: IssuedTokenRules, request: TokenRequest, issued: ExchangedToken, *, waited: bool
    ) -> IssuedFault | JwksCache | None:
        read = read_token(issued.access_token.reveal(), TYPES if rules.assertion is None else TYPES | ID_JAG_TYPES)
        if isinstance(read, TokenRefused):
            return unreadable(read)
        jwks = self._keys.find(request.issuer.name, rules.keys_of)
        if jwks is None or (jwks.keys is None and (waited or not jwks.fetching)):
            return NO_KEYS
        if jwks.keys is None:
            return jwks
        signed = read.is_signed_by_one_of(jwks.keys)
        if signed is None and not waited and jwks.refetch(trio.current_time()):
            return jwks
        if signed is None and jwks.failed:
            return NO_KEYS
        return None if signed else UNSIGNED


@final
@attrs.define(eq=False)
class CheckedExchange(PassThrough):
    """An exchange whose token is verified. ``due`` is set while that waits for the issuer's keys."""

    stage: Prove
    next_stage: Stage[TokenRequest]
    request: TokenRequest
    rules: IssuedTokenRules
    deadline: float
    due: float = attrs.field(default=NEVER, init=False)
    _issued: ExchangedToken | None = attrs.field(default=None, init=False)
    _jwks: JwksCache | None = attrs.field(default=None, init=False)

    def begin(self) -> TokenOutcome | Self:
        """Make the exchange."""
        begun = self._wait_for(self.next_stage.begin(self.request, self.deadline, self._landed))
        found = self._verify(begun) if isinstance(begun, TokenOutcome) else None
        return self if found is None else found

    def leave(self) -> None:
        """Give up the request, unless its token has arrived and waits for keys: it may still be cached."""
        if self._jwks is None:
            super().leave()

    def fetched(self) -> None:
        """The fetch of the keys has ended; see ``JwksCache.wait``."""
        issued = self._issued
        if self._jwks is not None and issued is not None:
            self.due, self._jwks = NEVER, None
            found = self.stage.verify(self.rules, self.request, issued, waited=True)
            self._finish(mismatch(NO_KEYS, self.rules, self.request, issued) if isinstance(found, JwksCache) else found)

    def on_due(self, _now: float) -> None:
        """The time is up; see ``Timed``."""
        if self._jwks is not None:
            self._jwks.leave(self.fetched)
            self.fetched()

    def _landed(self, outcome: TokenOutcome) -> None:
        self._behind = None
        found = self._verify(outcome)
        if found is not None:
            self._finish(found)

    def _verify(self, outcome: TokenOutcome) -> TokenOutcome | None:
        """Return the outcome, ``None`` while keys are awaited."""
        if not isinstance(outcome, ExchangedToken):
            return outcome
        found = self.stage.verify(self.rules, self.request, outcome, waited=False)
        if not isinstance(found, JwksCache):
            return found
        self._issued, self._jwks = outcome, found
        found.wait(self.fetched)
        self.stage.reactor.timers.expect(self, self.deadline)
        return None
