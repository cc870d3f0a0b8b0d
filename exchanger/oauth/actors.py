"""The actor's tokens where this client is the actor: asked for with the client credentials grant, kept until shortly before their end.

One request serves all exchanges that need the token meanwhile. It is not part of any of them: a caller who leaves does not end it.
"""

from collections.abc import Awaitable, Callable, Mapping
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
# Seconds after a failure in which the issuer is not asked again.
_PAUSE_S: Final = 1.0


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
    """Keeps a token for each issuer whose actor is this client. ``ask`` makes the request, within a bound of its own."""

    _ask: Callable[[Issuer, ActorCredentials], Awaitable[TokenOutcome]]
    _kept: dict[Issuer, _Kept] = attrs.field(factory=dict, init=False, repr=False)
    _asked: dict[Issuer, _Asked] = attrs.field(factory=dict, init=False, repr=False)
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
        current = set(issuers.values())
        self._kept = {issuer: kept for issuer, kept in self._kept.items() if issuer in current}
        self._asked = {issuer: asked for issuer, asked in self._asked.items() if issuer in current}

    def at_hand(self, issuer: Issuer) -> Secret | None:
        """Return the token, ``None`` if it has to be asked for."""
        kept = self._kept.get(issuer)
        return kept.token if kept is not None and trio.current_time() < kept.until else None

    async def obtain(self, issuer: Issuer, actor: ActorCredentials) -> Secret | None:
        """Return the token, ``None`` if the issuer gives none."""
        kept = self._kept.get(issuer)
        if kept is not None and trio.current_time() < kept.until:
            return kept.token
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
                asked.token, until = outcome.access_token, sent + life - min(_MARGIN_S, _MARGIN_PART * life)
            else:
                until = trio.current_time() + _PAUSE_S
            if self._asked.get(issuer) is asked:
                self._kept[issuer] = _Kept(asked.token, until)
        finally:
            if self._asked.get(issuer) is asked:
                del self._asked[issuer]
            asked.ended.set()
