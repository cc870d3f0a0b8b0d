"""Verifies the caller's token against its issuer's JWKS before the exchange.

Results are kept by the token's digest, so that a token is verified once; they end with the token, with the keys, and with the profile.
Tokens that only their issuer can verify pass on to ``introspect``.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from random import Random
from typing import Final, assert_never, final

import attrs
import trio

from exchanger.exchange.interfaces import Ticket, TokenExchanger
from exchanger.exchange.jwks_cache import JwksCache, JwksCaches, KeySource
from exchanger.exchange.oauth.documents import Documents
from exchanger.exchange.stage import VerifiedRequest
from exchanger.formats.jwt.claims import SubjectPolicy
from exchanger.formats.jwt.compact import looks_like_jwt
from exchanger.formats.jwt.refusal import TokenRefused
from exchanger.formats.jwt.verify import UnknownKey, VerifiedClaims, check_issuer, read_token, verify
from exchanger.model.errors import Diagnostic
from exchanger.model.issuer import Issuer
from exchanger.model.token import ErrorKind, ExchangeFailure, TokenOutcome, TokenRequest, VerificationResult
from exchanger.model.token_failure import subject_refusal, transport_failure
from exchanger.net.network import SYSTEM
from exchanger.net.reactor import Reactor
from exchanger.net.timers import NEVER

# Results that are kept: a digest and some numbers each, 400 bytes.
MAX_RESULTS: Final = 20_000

# Copied for each token: making one takes three times as long.
_NO_DIGEST: Final = hashlib.sha256()

_NO_KEYS: Final = transport_failure(
    ErrorKind.KEYS_UNKNOWN, Diagnostic.KEYS_UNKNOWN, detail="the keys of the token's issuer are not available"
)
_TOO_LATE: Final = attrs.evolve(_NO_KEYS, detail="the keys of the token's issuer were not fetched in time", too_late=True)


@final
@attrs.frozen
class _VerifiedToken:
    """A token of a request to ``issuer`` that passed ``policy`` with the keys of ``version``, until ``until`` (seconds since the epoch)."""

    jwks: JwksCache
    version: int
    issuer: Issuer
    policy: SubjectPolicy
    until: float
    result: VerificationResult


@final
@attrs.define(eq=False)
class SubjectTokenVerifier:
    """Implements ``TokenExchanger`` in front of another one.

    Args:
        behind: Makes the exchanges.
        introspect: Makes those of issuers that are asked about the token first.
        documents: Fetches keys.
        reactor: Requests begin and end in its turns.
        now: Seconds since the epoch.
        random: Spreads the requests for keys.
    """

    behind: TokenExchanger
    introspect: TokenExchanger
    documents: Documents
    reactor: Reactor
    now: Callable[[], float] = SYSTEM.wall
    _random: Random = SYSTEM.random
    keys: JwksCaches = attrs.field(init=False)
    cached: OrderedDict[tuple[str, bytes], _VerifiedToken] = attrs.field(factory=OrderedDict, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.keys = JwksCaches(self.documents, self.reactor.turn, self._random)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow the keys until cancelled."""
        await self.keys.run(task_status=task_status)

    def use_issuers(self, issuers: Mapping[str, Issuer]) -> None:
        """Take over the active issuers."""
        self.cached.clear()  # what passed under other rules need not pass now
        self.keys.use(KeySource(issuer, url, issuer.subject.jwks_uri) for issuer in issuers.values() for url in issuer.subject.issuers)

    def begin(self, request: TokenRequest, deadline: float, done: Callable[[TokenOutcome], None], /) -> TokenOutcome | Ticket:
        issuer = request.issuer
        subject = issuer.subject if issuer.assertion is None else issuer.verifying.subject
        if subject.introspection is not None and not (subject.issuers and looks_like_jwt(request.subject_token.reveal())):
            return self.introspect.begin(request, deadline, done)
        if not subject.issuers:
            return self.behind.begin(request, deadline, done)
        return PendingVerification(request, deadline, done, self).begin()

    def verify(self, request: TokenRequest, *, waited: bool) -> "VerificationResult | ExchangeFailure | JwksCache":
        """Judge the subject token; a ``JwksCache`` if its keys are being fetched and the request has not ``waited`` for them yet."""
        token = request.subject_token.reveal()
        issuer = request.issuer.verifying
        digest = _NO_DIGEST.copy()
        digest.update(token.encode("utf-8", "surrogatepass"))
        place = issuer.name, digest.digest()
        kept = self.cached.get(place)
        now = self.now()
        # A request that waited while its profile was replaced is verified by the rules that it began with, and the result is for it alone.
        if (
            kept is not None
            and now < kept.until
            and kept.version == kept.jwks.version
            and (kept.issuer is request.issuer or kept.policy == _policy_of(request))  # nearly always the same object
        ):
            self.cached.move_to_end(place)
            return kept.result
        policy = _policy_of(request)
        read = read_token(token)
        if isinstance(read, TokenRefused):
            return _refusal(read)
        if (foreign := check_issuer(read, policy)) is not None:
            return _refusal(foreign)
        jwks = self.keys.find(issuer.name, read.issuer)
        if jwks is None:
            return _NO_KEYS
        if jwks.keys is None:
            return jwks if jwks.fetching and not waited else _NO_KEYS
        found = verify(read, jwks.keys, policy, now)
        match found:
            case VerifiedClaims():
                result = VerificationResult(found.actors)
                self._keep(place, _VerifiedToken(jwks, jwks.version, request.issuer, policy, found.until, result))
                return result
            case TokenRefused():
                return _refusal(found)
            case UnknownKey():
                if not waited and jwks.refetch(trio.current_time()):
                    return jwks
                return _NO_KEYS if jwks.failed else subject_refusal("the token is signed by a key that its issuer does not publish")
            case _:
                assert_never(found)

    def _keep(self, place: tuple[str, bytes], kept: _VerifiedToken) -> None:
        self.cached[place] = kept
        if len(self.cached) > MAX_RESULTS:
            self.cached.popitem(last=False)


def _policy_of(request: TokenRequest) -> SubjectPolicy:
    subject = request.issuer.verifying.subject
    return SubjectPolicy(subject.issuers, subject.audiences, request.issuer.grant.actor is not None, subject.max_actors)


def _refusal(refused: TokenRefused) -> ExchangeFailure:
    return subject_refusal(f"the token {refused.reason.value}")


@final
@attrs.define(eq=False)
class PendingVerification(VerifiedRequest):
    """One request whose token is verified."""

    verifier: SubjectTokenVerifier
    due: float = NEVER
    _jwks: JwksCache | None = None

    def begin(self) -> TokenOutcome | Ticket:
        """Judge the token, or wait for the keys."""
        found = self.verifier.verify(self.request, waited=False)
        if isinstance(found, JwksCache):
            self._jwks = found
            found.wait(self.fetched)
            self.verifier.reactor.timers.expect(self, self.deadline)
            return self
        return self._go_on(found)

    def fetched(self) -> None:
        """The fetch of the keys has ended; see ``JwksCache.wait``."""
        if self._jwks is None:  # it left while others were told
            return
        self.due, self._jwks = NEVER, None
        found = self.verifier.verify(self.request, waited=True)
        outcome = self._go_on(_NO_KEYS if isinstance(found, JwksCache) else found)
        if isinstance(outcome, TokenOutcome):
            self.done(outcome)

    def on_due(self, _now: float) -> None:
        """The time is up; see ``Timed``."""
        if self._jwks is not None:
            self._jwks.leave(self.fetched)
            self._jwks = None
        self.done(_TOO_LATE)

    def leave(self) -> None:
        self.due = NEVER
        if self._jwks is not None:
            self._jwks.leave(self.fetched)
            self._jwks = None
        else:
            super().leave()

    def _go_on(self, found: VerificationResult | ExchangeFailure) -> TokenOutcome | Ticket:
        if isinstance(found, ExchangeFailure):
            return found
        introspection = self.request.issuer.verifying.subject.introspection
        always = introspection is not None and introspection.always
        return self._pass_on(self.verifier.introspect if always else self.verifier.behind, found)
