"""The calls of flights: each is prepared and sent once the actor's token is at hand, and leaves one record whatever becomes of it.

A flight has one call, up to three where the client's credentials were just rotated, and one more where the actor's token may have been
refused. How they ended is told to the flight's owner, who has the place back while a token for another call is asked for.

Must not know: who waits for a flight, how issuers are spared, or what is kept.
"""

import functools
from collections.abc import Callable
from http import HTTPStatus
from typing import final

import attrs
import trio

from exchanger.decision.token_failure import transport_failure
from exchanger.errors import Diagnostic
from exchanger.exchange.breaker import is_oversized
from exchanger.exchange.flight import CROWDED, Flight, Stage
from exchanger.net.answer import Answer
from exchanger.net.call import Call, NoAnswer
from exchanger.net.connections import Connections
from exchanger.net.endpoint import Endpoint
from exchanger.net.reactor import Reactor
from exchanger.oauth.actors import Actors, may_refuse_actor_token
from exchanger.oauth.client_credentials import NO_ACTOR_TOKEN
from exchanger.oauth.preparation import Preparation
from exchanger.oauth.retry_after import read_retry_after
from exchanger.oauth.rotation import Rotations
from exchanger.oauth.settings import TokenClientSettings
from exchanger.oauth.token_response import decode_response, rules_for
from exchanger.typing import ExchangeObserver, Tracer
from exchanger.values.issuer import ActorCredentials
from exchanger.values.secret import Secret
from exchanger.values.token import Cache, ErrorKind, ExchangedToken, ExchangeFailure, ExchangeRecord, TokenCall, TokenOutcome


@final
@attrs.define(eq=False)
class FlightCalls:
    """Makes the calls of flights.

    Attributes:
        nursery: That of whoever runs this, ``None`` before and after: in it flights wait for tokens of actors.
    """

    _settings: TokenClientSettings
    _reactor: Reactor
    _connections: Connections
    _preparation: Preparation
    _actors: Actors
    _rotations: Rotations
    _observer: ExchangeObserver
    _tracer: Tracer | None
    _clock: Callable[[], float]
    _now: Callable[[], float]
    nursery: trio.Nursery | None = attrs.field(default=None, init=False)
    _in_flight: dict[str, int] = attrs.field(factory=dict, init=False)

    @property
    def in_flight(self) -> dict[str, int]:
        """The calls under way for each endpoint host that has any."""
        return self._in_flight.copy()

    def make(self, flight: Flight, ended: TokenOutcome | None = None) -> None:
        """Make the call of ``flight.request``, once the actor's token is at hand; ``ended`` is the outcome of the call before it."""
        issuer = flight.request.issuer
        actor, token = issuer.grant.actor, None
        # Where there is no endpoint to ask for the token, there is none for the exchange either, which says so.
        if type(actor) is ActorCredentials and type(self._preparation.endpoint(issuer)) is Endpoint:
            token, flight.actor_token = flight.actor_token or self._actors.at_hand(issuer), None
            if token is None:  # without it, the token that comes would say nothing of the actor
                # Before the first call the place is kept: without the token, no other exchange of this issuer could use it.
                if ended is not None:
                    flight.owner.pause(flight, ended)
                if self.nursery is not None:  # the end lands the flight
                    self.nursery.start_soon(self._obtain_actor_token, flight, actor)
                return
        self._send(flight, token)

    def _send(self, flight: Flight, actor_token: Secret | None) -> None:
        """Send the request, which leaves one record whatever becomes of it."""
        request = flight.request
        host = request.issuer.endpoint_host
        if self._tracer is not None:
            flight.span = self._tracer.below(flight.key.trace)
            request = flight.request = attrs.evolve(request, trace=flight.span.trace)
        flight.started, flight.sent_at, flight.recorded = self._clock(), self._now(), False
        self._in_flight[host] = self._in_flight.get(host, 0) + 1
        endpoint = self._preparation.endpoint(request.issuer)
        if type(endpoint) is ExchangeFailure:
            self._ended(flight, endpoint)
            return
        flight.port = endpoint.origin.port
        prepared = self._preparation.exchange(request, endpoint, actor_token)
        if type(prepared) is ExchangeFailure:
            self._ended(flight, prepared)
            return
        encoded = prepared.encoded
        flight.call = Call(
            endpoint,
            prepared.head,
            prepared.head.fitting(encoded.trace),
            encoded.body,
            flight.ends,
            functools.partial(self._landed, flight, actor_token),
            party=(flight.key.namespace, request.issuer.name),
            apart=is_oversized(request),
        )
        self._connections.begin(flight.call)

    async def _obtain_actor_token(self, flight: Flight, actor: ActorCredentials) -> None:
        issuer, token = flight.request.issuer, None
        with trio.move_on_at(flight.ends):
            token = await self._actors.obtain(issuer, actor)

        def go_on() -> None:
            if flight.stage is Stage.OVER:
                return
            if token is None:
                flight.owner.refuse(flight, flight.first if isinstance(flight.first, ExchangeFailure) else NO_ACTOR_TOKEN)
            elif flight.stage is Stage.PAUSED:
                flight.actor_token = token
                flight.owner.enter(flight)
            else:
                self._send(flight, token)

        self._reactor.turn(go_on)

    async def _replace_actor_token(self, flight: Flight, actor: ActorCredentials, refused: Secret, outcome: TokenOutcome) -> None:
        """Make the call once more with another token of the actor's, if there is one in time; ``outcome`` is final if not."""
        token = None
        with trio.move_on_at(flight.ends):
            token = await self._actors.replace(flight.request.issuer, actor, refused)

        def go_on() -> None:
            if flight.stage is Stage.OVER:
                return
            if token is None:
                self._finish(flight, outcome)
            else:
                flight.actor_token = token
                flight.owner.enter(flight)

        self._reactor.turn(go_on)

    def _landed(self, flight: Flight, actor_token: Secret | None, answer: Answer | NoAnswer) -> None:
        if flight.is_crowded_out:
            self._ended(flight, CROWDED)
        elif type(answer) is NoAnswer:
            kind = ErrorKind.TIMEOUT if answer.timed_out else ErrorKind.TRANSPORT_ERROR
            self._ended(flight, transport_failure(kind, Diagnostic.REQUEST_FAILED, detail=answer.why))
        elif answer.body is None:
            late = trio.current_time() >= flight.ends
            detail = "timed out while reading the answer" if late else "the answer broke off"
            self._ended(flight, transport_failure(ErrorKind.READ_RESPONSE, Diagnostic.READ_RESPONSE, answer.status, detail=detail))
        else:
            outcome = decode_response(
                answer.status, answer.challenges, answer.body, rules_for(flight.request.issuer.grant, self._settings.rules)
            )
            if answer.retry_after and isinstance(outcome, ExchangeFailure):
                outcome = attrs.evolve(outcome, retry_after=read_retry_after(answer.retry_after, self._now()))
            self._ended(flight, outcome, actor_token)

    def _ended(self, flight: Flight, outcome: TokenOutcome, actor_token: Secret | None = None) -> None:
        record = self._record(flight, outcome)
        call = TokenCall(record.duration, record.http_status, record.kind)
        if type(outcome) is ExchangedToken:
            expires_in = outcome.expires_in
            expires_at = None if expires_in is None else int(flight.sent_at) + expires_in
            outcome = ExchangedToken(outcome.access_token, call, expires_in, Cache.MISS, expires_at)
        else:
            outcome = attrs.evolve(outcome, call=call, cache=Cache.MISS)
        following = self._rotations.following(flight.key.issuer, flight.request.issuer, outcome)
        if following is not None:
            flight.first, flight.request = flight.first or outcome, attrs.evolve(flight.request, issuer=following)
            self.make(flight, outcome)
            return
        actor = flight.request.issuer.grant.actor
        refused = actor_token if may_refuse_actor_token(outcome) and not flight.has_other_actor_token else None
        if type(actor) is ActorCredentials and refused is not None and self.nursery is not None:
            flight.has_other_actor_token = True
            flight.owner.pause(flight, outcome)
            self.nursery.start_soon(self._replace_actor_token, flight, actor, refused, outcome)
        else:
            self._finish(flight, outcome)

    def _finish(self, flight: Flight, outcome: TokenOutcome) -> None:
        """Hand ``outcome``, after which no other call is made, to the flight's owner."""
        if flight.first is not None and type(outcome) is not ExchangedToken:
            outcome = flight.first  # the new credentials are what has to be mended
        flight.owner.called(flight, outcome)

    def give_up(self, flight: Flight) -> None:
        """End the call of ``flight``, if it has one. Its owner is not told."""
        if flight.call is not None:
            flight.call.give_up()
        if not flight.recorded:
            self._record(flight, None)

    def _record(self, flight: Flight, outcome: TokenOutcome | None) -> ExchangeRecord:
        """Tell the observer of a call. Without an outcome it was cut off: everyone left before its turn had come, or the process ends."""
        host = flight.request.issuer.endpoint_host
        flight.recorded = True
        self._in_flight[host] -= 1
        if not self._in_flight[host]:
            del self._in_flight[host]
        kind: ErrorKind | None = ErrorKind.CONTEXT_CANCELED
        status: int | None = None
        if isinstance(outcome, ExchangedToken):
            kind, status = None, HTTPStatus.OK
        elif outcome is not None:
            kind, status = outcome.kind, outcome.http_status
        record = ExchangeRecord(host, kind, status, flight.started, self._clock() - flight.started, flight.port, flight.span)
        self._observer.exchanged(record)
        return record
