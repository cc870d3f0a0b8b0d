"""Asks a token endpoint for a token of the client itself, with the client credentials grant (RFC 6749 section 4.4).

Source: https://www.rfc-editor.org/rfc/rfc6749#section-4.4
"""

from typing import Final, final

import attrs
import trio

from exchanger.decision.token_failure import transport_failure
from exchanger.errors import Diagnostic
from exchanger.net.call import NoAnswer
from exchanger.net.connections import Connections
from exchanger.net.reactor import Reactor
from exchanger.net.roundtrip import round_trip
from exchanger.oauth.preparation import Preparation
from exchanger.oauth.rotation import Rotations
from exchanger.oauth.settings import TokenClientSettings
from exchanger.oauth.token_response import decode_response
from exchanger.values.issuer import ActorCredentials, Issuer
from exchanger.values.token import ErrorKind, ExchangedToken, ExchangeFailure, TokenOutcome

NO_ACTOR_TOKEN: Final = transport_failure(
    ErrorKind.NO_ACTOR_TOKEN, Diagnostic.NO_ACTOR_TOKEN, detail="the token endpoint gave no token for the actor"
)


@final
@attrs.define(eq=False)
class ClientCredentials:
    """Makes such requests over the connections of the token client."""

    _settings: TokenClientSettings
    _reactor: Reactor
    _connections: Connections
    _preparation: Preparation
    _rotations: Rotations

    async def ask(self, issuer: Issuer, actor: ActorCredentials) -> TokenOutcome:
        """Return the token, or why there is none, within ``request_timeout``.

        Just after a rotation, other credentials are tried where some are refused. The first refusal is the one to mend.
        """
        ends = trio.current_time() + self._settings.request_timeout
        first = outcome = await self._ask_once(issuer, actor, ends)
        following = self._rotations.following(issuer, issuer, outcome)
        while following is not None and trio.current_time() < ends:
            outcome = await self._ask_once(following, actor, ends)
            following = self._rotations.following(issuer, following, outcome)
        return outcome if isinstance(outcome, ExchangedToken) else first

    async def _ask_once(self, issuer: Issuer, actor: ActorCredentials, ends: float) -> TokenOutcome:
        prepared = self._preparation.client_credentials(issuer, actor)
        if isinstance(prepared, ExchangeFailure):
            return prepared
        endpoint, seconds = prepared.endpoint, ends - trio.current_time()
        answer, _ = await round_trip(self._connections, self._reactor, endpoint, prepared.head, prepared.encoded.body, seconds)
        if isinstance(answer, NoAnswer) or answer.body is None:
            return NO_ACTOR_TOKEN
        return decode_response(answer.status, (), answer.body, attrs.evolve(self._settings.rules, require_issued_token_type=False))
