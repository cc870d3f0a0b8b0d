"""The actor's tokens where this client is the actor: asked for with the client credentials grant, kept until shortly before their end.

One request serves all exchanges that need the token meanwhile. It is not part of any of them: a caller who leaves does not end it.
"""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Final, final

import attrs
import trio

from exchanger.values.issuer import ActorCredentials, Issuer
from exchanger.values.secret import Secret
from exchanger.values.token import ExchangedToken, TokenOutcome

# Seconds, and part of its life, before its end at which a token is no more used: an exchange takes a while, and clocks differ.
_MARGIN_S: Final = 30.0
_MARGIN_PART: Final = 0.2
# Seconds for which a token is used whose issuer does not say how long it lives (RFC 6749 section 5.1).
_UNSAID_S: Final = 60.0
# Seconds for which a token is used at most, however long it lives: what it says of the actor may have changed since.
_LONGEST_S: Final = 3600.0
# Seconds in which the issuer is not asked again: after it gave no token, and after it was asked to replace one.
_PAUSE_S: Final = 1.0
# Refusals of something else than a token: of the client, or of what it asks for (RFC 6749 section 5.2, RFC 8693 section 2.2.2).
_OF_NO_TOKEN: Final = frozenset({"invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope", "invalid_target"})
_REFUSALS: Final = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})


def may_refuse_actor_token(outcome: TokenOutcome) -> bool:
    """Return whether the actor's token may be why an exchange was refused: most endpoints do not say which of two tokens they mean."""
    if isinstance(outcome, ExchangedToken) or outcome.step_up is not None:
        return False
    return outcome.http_status in _REFUSALS and outcome.oauth_error not in _OF_NO_TOKEN


@final
@attrs.frozen
class _Kept:
    """What an issuer gave, ``None`` if that was nothing; it counts until ``until`` (seconds of Trio's clock)."""

    token: Secret | None
    until: float


@final
@attrs.define(eq=False)
class _Asked:
    """A request under way; ``token`` is what came of it when it has ``ended``."""

    ended: trio.Event = attrs.field(factory=trio.Event)
    token: Secret | None = None


@final
@attrs.define(eq=False)
class Actors:
    """Keeps a token for each issuer whose actor is this client. ``ask`` makes the request, within a bound of its own.

    A token that an endpoint may have refused stays in use until there is another one. Its refusal may be the caller's doing, and must not
    take the token from everybody else.
    """

    _ask: Callable[[Issuer, ActorCredentials], Awaitable[TokenOutcome]]
    _kept: dict[Issuer, _Kept] = attrs.field(factory=dict, init=False, repr=False)
    _asked: dict[Issuer, _Asked] = attrs.field(factory=dict, init=False, repr=False)
    # By issuer: when it was last asked for another token because of a refusal.
    _replaced: dict[Issuer, float] = attrs.field(factory=dict, init=False, repr=False)
    # ``None`` until the first issuers are in force.
    _current: frozenset[Issuer] | None = attrs.field(default=None, init=False, repr=False)
    _nursery: trio.Nursery | None = attrs.field(default=None, init=False)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Own the requests until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._nursery = None

    def use_issuers(self, issuers: Mapping[str, Issuer]) -> None:
        """Forget the tokens of issuers that are not in force any more. Requests go on for those who wait, and nothing is kept of them."""
        self._current = current = frozenset(called for issuer in issuers.values() for called in issuer.as_called)
        self._kept = {issuer: kept for issuer, kept in self._kept.items() if issuer in current}
        self._asked = {issuer: asked for issuer, asked in self._asked.items() if issuer in current}
        self._replaced = {issuer: at for issuer, at in self._replaced.items() if issuer in current}

    def at_hand(self, issuer: Issuer) -> Secret | None:
        """Return the token, ``None`` if it has to be asked for."""
        kept = self._kept.get(issuer)
        return kept.token if kept is not None and trio.current_time() < kept.until else None

    async def obtain(self, issuer: Issuer, actor: ActorCredentials) -> Secret | None:
        """Return the token, ``None`` if the issuer gives none."""
        kept = self._kept.get(issuer)
        if kept is not None and trio.current_time() < kept.until:
            return kept.token
        return await self._ask_together(issuer, actor)

    async def replace(self, issuer: Issuer, actor: ActorCredentials, refused: Secret) -> Secret | None:
        """Return another token than ``refused``, with which an exchange was refused; ``None`` if there is no other."""
        token = self.at_hand(issuer)
        if token is None or token == refused:
            now = trio.current_time()
            if issuer not in self._asked:
                if now < self._replaced.get(issuer, -_PAUSE_S) + _PAUSE_S:
                    return None
                self._replaced[issuer] = now
            token = await self._ask_together(issuer, actor)
        return None if token == refused else token

    async def _ask_together(self, issuer: Issuer, actor: ActorCredentials) -> Secret | None:
        """Ask for a token, or wait for the request that is under way."""
        asked = self._asked.get(issuer)
        if asked is None:
            if self._nursery is None:
                return None
            asked = self._asked[issuer] = _Asked()
            self._nursery.start_soon(self._ask_for, issuer, actor, asked)
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
                until = trio.current_time() + _PAUSE_S
            in_use = asked.token is None and self.at_hand(issuer) is not None
            current = self._current is None or issuer in self._current
            if current and self._asked.get(issuer) is asked and not in_use:
                self._kept[issuer] = _Kept(asked.token, until)
        finally:
            if self._asked.get(issuer) is asked:
                del self._asked[issuer]
            asked.ended.set()
