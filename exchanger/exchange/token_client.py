"""The token client: token requests in, outcomes out. Equal requests that overlap share one call.

A flight is a row, not a task: it is launched in the turn of the request that needs it, and lands in the turn in which its answer arrives,
with everyone who waits for it. It belongs to none of them.

It drives its connections itself, because redirects, cookies, ambient proxies, .netrc and a log line per request must not happen to a token,
and because general-purpose clients let a surplus response answer the next request and bound neither the response header nor the idle
connections across hosts.

What can fail is a value; an exception is a fault, and none holds a secret.
"""

import ssl
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Final, final

import attrs
import trio

from exchanger.decision.token_failure import transport_failure
from exchanger.errors import Diagnostic
from exchanger.exchange.breaker import caller_of, health_of, is_oversized
from exchanger.exchange.cache.token_cache import TokenCache
from exchanger.exchange.flight import OVERLOADED, Flight, Stage, Waiter
from exchanger.exchange.flight_calls import FlightCalls
from exchanger.exchange.guards import Guard, Guards
from exchanger.net.concurrency import Entered
from exchanger.net.connections import ConnectionCounts, Connections
from exchanger.net.dial import Dial, DialLimits
from exchanger.net.host import ConnectionLimits
from exchanger.net.proxies import EnvironmentProxies
from exchanger.net.reactor import Reactor
from exchanger.net.timers import NEVER
from exchanger.net.tls.client import client_tls_context
from exchanger.net.tls.client_contexts import TlsContexts
from exchanger.oauth.actors import Actors
from exchanger.oauth.client_credentials import ClientCredentials
from exchanger.oauth.documents import Documents
from exchanger.oauth.metadata import Metadata, MetadataObserver, NoMetadataObserver
from exchanger.oauth.preparation import Preparation
from exchanger.oauth.rotation import OnRotation, Rotations, ignored
from exchanger.oauth.settings import TokenClientSettings
from exchanger.typing import ExchangeObserver, Tracer
from exchanger.values.issuer import ClientCertificate, Issuer
from exchanger.values.proxy import Proxy
from exchanger.values.token import CoalescedRecord, ErrorKind, ExchangedToken, ExchangeFailure, TokenOutcome, TokenRequest

__all__ = ["TokenClient", "TokenClientSettings"]

# For who asks outside ``run``, and for everyone who still waits at its end.
_LOST: Final = transport_failure(ErrorKind.CONTEXT_CANCELED, Diagnostic.REQUEST_FAILED, detail="the service ends")
_NO_TIME: Final = attrs.evolve(
    transport_failure(ErrorKind.TIMEOUT, Diagnostic.REQUEST_FAILED, detail="the gateway left no time for an exchange"), too_late=True
)
_BREAKER_OPEN: Final = transport_failure(ErrorKind.BREAKER_OPEN, Diagnostic.BREAKER_OPEN, detail="the token endpoint failed too often")


@final
@attrs.frozen
class FlightCounts:
    """``flights`` under way and the ``waiters`` for them; the others count since the start."""

    flights: int
    waiters: int
    started: int
    coalesced: int


@final
@attrs.define(eq=False)
class TokenClient:
    """Exchanges tokens at token endpoints, in the turns of ``reactor``, which has to run for longer.

    Args:
        settings: Its limits and choices.
        observer: Learns of each call that ended and of each request that shares one.
        clock: Seconds, for the records of calls.
        now: Seconds since the epoch, from which the lifetimes of tokens count.
        dial: Opens TCP connections.
        tls: Makes contexts for https, a new one each time, which reads the trust store.
        tracer: Gives each call a span below the request's, and the token endpoint gets that one.
        cache: Keeps tokens of issuers whose profiles say so.
        metadata_observer: Learns how the metadata of issuers are.
        on_rotation: Learns of new credentials that are refused; see ``Rotations``.
        on_client_refused: Called when an endpoint refuses a client's credentials, of which there may be newer ones.

    Attributes:
        documents: Fetches what issuers publish, over the same connections.
        metadata: What issuers with ``discovery`` publish.
    """

    settings: TokenClientSettings
    observer: ExchangeObserver
    reactor: Reactor
    clock: Callable[[], float] = time.perf_counter
    now: Callable[[], float] = time.time
    dial: Dial = trio.open_tcp_stream
    tls: Callable[[], ssl.SSLContext] = client_tls_context
    tracer: Tracer | None = None
    cache: TokenCache = attrs.field(factory=TokenCache)
    metadata_observer: MetadataObserver = attrs.field(factory=NoMetadataObserver)
    on_rotation: OnRotation = ignored
    on_client_refused: Callable[[], None] = lambda: None
    documents: Documents = attrs.field(init=False)
    _connections: Connections = attrs.field(init=False)
    _guards: Guards[Flight] = attrs.field(factory=Guards, init=False)
    _admitted: deque[Flight] = attrs.field(factory=deque, init=False)
    _admitting: bool = attrs.field(default=False, init=False)
    _nursery: trio.Nursery | None = attrs.field(default=None, init=False)
    _flights: dict[TokenRequest, Flight] = attrs.field(factory=dict, init=False)
    # Flights that have landed, while those who waited for them are told.
    _telling: dict[Flight, None] = attrs.field(factory=dict, init=False)
    _started: int = attrs.field(default=0, init=False)
    _coalesced: int = attrs.field(default=0, init=False)
    metadata: Metadata = attrs.field(init=False)
    _preparation: Preparation = attrs.field(init=False)
    _rotations: Rotations = attrs.field(init=False)
    _actors: Actors = attrs.field(init=False)
    _calls: FlightCalls = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        settings = self.settings
        limits = ConnectionLimits(
            dial=DialLimits(settings.dial_timeout, settings.tls_handshake_timeout),
            response_header=settings.response_header_timeout,
            max_idle=settings.max_idle_connections,
            max_idle_per_host=settings.max_idle_connections_per_host,
            idle_timeout=settings.idle_connection_timeout,
            longest_exchange=settings.request_timeout,
            reuse=settings.connection_reuse,
            max_resting=settings.max_resting_connections,
        )
        self._connections = Connections(limits, self.reactor, TlsContexts(self.tls), self.dial)
        self.documents = Documents(settings, self.reactor, self._connections)
        self.metadata = Metadata(self.documents, self.metadata_observer, self._metadata_changed)
        self._preparation = Preparation(settings, self.now, self.metadata.token_endpoint)
        calling = settings, self.reactor, self._connections, self._preparation
        self._rotations = Rotations(self.on_rotation, self.on_client_refused)
        self._actors = Actors(ClientCredentials(*calling, self._rotations).ask)
        self._calls = FlightCalls(*calling, self._actors, self._rotations, self.observer, self.tracer, self.clock, self.now)

    def _metadata_changed(self) -> None:
        self._preparation.forget()

    @property
    def in_flight(self) -> dict[str, int]:
        """The calls under way for each endpoint host that has any."""
        return self._calls.in_flight

    @property
    def flights(self) -> FlightCounts:
        """The flights under way and the requests that wait for them."""
        waiters = sum(len(flight.waiters) for flight in self._flights.values())
        return FlightCounts(len(self._flights), waiters, self._started, self._coalesced)

    @property
    def connections(self) -> ConnectionCounts:
        """The connections to token endpoints."""
        return self._connections.counts()

    @property
    def credentials_refused(self) -> dict[Issuer, bool]:
        """See ``Rotations.refused``."""
        return self._rotations.refused

    @property
    def guards(self) -> Iterable[Guard[Flight]]:
        """How the issuers with limits are spared now."""
        return self._guards

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Own flights and connections until cancelled; ``started()`` when exchanges may begin. On the way out all of them end."""
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.cache.run)
                await nursery.start(self._connections.run)
                await nursery.start(self._actors.run)
                await nursery.start(self.metadata.run)
                self._nursery = self._calls.nursery = nursery
                task_status.started()
        finally:
            self._nursery = self._calls.nursery = None
            self.reactor.turn(self._end)
            self.reactor.turn(self._connections.close)

    def use_issuers(self, issuers: Mapping[str, Issuer]) -> None:
        """Take over the issuers in force: tokens of those that are gone are forgotten, and limits change at once."""
        self.cache.use_issuers(issuers)
        self.metadata.use_issuers(issuers)
        self._actors.use_issuers(issuers)
        self._preparation.use_issuers(issuers)
        self._rotations.use_issuers(issuers)
        self._connections.use(_certificates_and_proxies(issuers.values(), self.settings.proxies))
        self._admitted.extend(self._guards.use(issuers))
        self.reactor.turn(self._begin_admitted)

    def begin(self, request: TokenRequest, due: float, done: Callable[[TokenOutcome], None], /) -> TokenOutcome | Waiter:
        """Exchange ``request``; see ``TokenExchanger``. It takes ``request_timeout`` at most. Outside ``run`` the outcome is a failure."""
        if request.issuer.cache is not None and (kept := self.cache.find(request)) is not None:
            if kept.renew:
                self._renew(request)
            return kept.token
        now = self.reactor.now()
        if due <= now:
            return _NO_TIME
        flight = self._flights.get(request)
        joined = flight is not None
        if flight is None:
            if self._nursery is None:
                return _LOST
            flight = self._launch(request, now)
            if flight.outcome is not None:
                return flight.outcome
        else:
            self._coalesced += 1
            self.observer.coalesced(CoalescedRecord(request.issuer.endpoint_host, request.trace, flight.key.trace))
        waiter = Waiter(flight, done, joined)
        flight.waiters[waiter] = None
        if due < flight.ends:
            self.reactor.timers.expect(waiter, due)
        return waiter

    def _renew(self, request: TokenRequest) -> None:
        """Renew a kept token ahead of its end, in the background."""
        if self._nursery is None:
            self.cache.renewal_failed(request)
        elif request not in self._flights:
            self._launch(request, trio.current_time(), renews=True)

    def _launch(self, request: TokenRequest, now: float, *, renews: bool = False) -> Flight:
        flight = Flight(self, request, request, now + self.settings.request_timeout, renews)
        flight.outlives_waiters = renews
        self._flights[request] = flight
        self._started += 1
        if self._nursery is not None and request.issuer.cache is not None and self.cache.asks_shared(request):
            self._nursery.start_soon(self._ask_shared, flight)
        else:
            self.enter(flight)
        return flight

    async def _ask_shared(self, flight: Flight) -> None:
        find = self.cache.find_renewed if flight.renews else self.cache.find_shared
        kept = await find(flight.key)

        def go_on() -> None:
            if flight.stage is Stage.ASKING:
                if kept is not None:
                    self._land(flight, kept.token)
                else:
                    self.enter(flight)

        self.reactor.turn(go_on)

    # Calls, as far as the issuer is to be called.

    def enter(self, flight: Flight) -> None:
        """See ``flight.Owner``. After a pause it queues behind what its namespace has asked for meanwhile."""
        guard = flight.guard = self._guards.of(flight.key.issuer)
        if guard is None or guard.places is None:
            self._begin_call(flight)
            return
        entered = guard.places.enter(flight.key.namespace, flight)
        if entered is Entered.ADMITTED:
            self._begin_call(flight)
        elif entered is Entered.FULL:
            self.refuse(flight, _BREAKER_OPEN if guard.is_open else OVERLOADED)
        elif guard.is_open:  # it would wait for nothing
            guard.places.withdraw(flight.key.namespace, flight)
            self.refuse(flight, _BREAKER_OPEN)
        else:
            flight.stage = Stage.QUEUED
            self.reactor.timers.expect(flight, flight.ends)

    def _begin_call(self, flight: Flight) -> None:
        """Make the call of ``flight``, which has its place now if places are limited."""
        guard = flight.guard
        flight.queued |= flight.stage is Stage.QUEUED
        flight.stage, flight.due = Stage.CALLING, NEVER
        if self._nursery is None:  # the end, which lands it
            return
        if guard is not None and guard.breaker is not None:
            flight.admission = guard.breaker.admit(self.reactor.now(), caller_of(flight.key), oversized=is_oversized(flight.key))
            if flight.admission is None:
                self.refuse(flight, _BREAKER_OPEN)
                return
            flight.outlives_waiters |= flight.admission.is_probe
        self._calls.make(flight)

    def pause(self, flight: Flight, outcome: TokenOutcome) -> None:
        """See ``flight.Owner``."""
        flight.stage, flight.outlives_waiters = Stage.PAUSED, flight.renews
        self._give_place_back(flight, outcome)
        if not flight.waiters and not flight.outlives_waiters and flight.stage is Stage.PAUSED:
            self.abandoned(flight)

    def refuse(self, flight: Flight, failure: ExchangeFailure) -> None:
        """See ``flight.Owner``."""
        if flight.renews:
            self.cache.renewal_failed(flight.key)
        self._land(flight, failure)

    def late(self, flight: Flight) -> None:
        """See ``flight.Owner``."""
        self._leave_queue(flight)
        self.refuse(flight, OVERLOADED)

    def _leave_queue(self, flight: Flight) -> None:
        if flight.stage is Stage.QUEUED and flight.guard is not None and flight.guard.places is not None:
            flight.guard.places.withdraw(flight.key.namespace, flight)

    def called(self, flight: Flight, outcome: TokenOutcome) -> None:
        """See ``flight.Owner``."""
        if flight.key.issuer.cache is not None:
            if type(outcome) is ExchangedToken:
                self.cache.keep(flight.key, outcome)
            else:
                self.cache.refused(flight.key, outcome)
        self._land(flight, outcome)

    def abandoned(self, flight: Flight) -> None:
        """See ``flight.Owner``."""
        self._give_up(flight)
        self._close(flight, None)

    def _land(self, flight: Flight, outcome: TokenOutcome) -> None:
        self._close(flight, outcome)
        flight.outcome = outcome
        flight.tell_some()
        if flight.waiters:
            self._telling[flight] = None
            if self._nursery is not None:  # otherwise the end tells the rest
                self._nursery.start_soon(self._tell_rest, flight)

    async def _tell_rest(self, flight: Flight) -> None:
        """Tell those who still wait for a flight that has landed. Others get their turns in between."""
        while flight.waiters:
            await trio.lowlevel.checkpoint()
            self.reactor.turn(flight.tell_some)
        self._telling.pop(flight, None)

    def _close(self, flight: Flight, outcome: TokenOutcome | None) -> None:
        """Forget ``flight``, which nobody can join any more, and give its place to the next one."""
        del self._flights[flight.key]
        called, flight.stage, flight.due = flight.stage is Stage.CALLING, Stage.OVER, NEVER
        if called:
            self._give_place_back(flight, outcome)

    def _give_place_back(self, flight: Flight, outcome: TokenOutcome | None) -> None:
        guard = flight.guard
        if guard is None:
            return
        if flight.admission is not None and guard.breaker is not None:
            retry_after = outcome.retry_after if isinstance(outcome, ExchangeFailure) else None
            hurried = flight.queued or (flight.call is not None and flight.call.queued)
            guard.breaker.ended(flight.admission, health_of(outcome, flight.key), self.reactor.now(), retry_after, hurried=hurried)
        if guard.places is not None and (following := guard.places.leave(flight.key.namespace)) is not None:
            self._admitted.append(following)
            self._begin_admitted()

    def _begin_admitted(self) -> None:
        # In a loop: one that is refused at once gives its place to the next.
        if not self._admitting:
            self._admitting = True
            while self._admitted:
                self._begin_call(self._admitted.popleft())
            self._admitting = False

    def _end(self) -> None:
        while self._flights:
            flight = next(iter(self._flights.values()))
            self._give_up(flight)
            self._land(flight, _LOST)
        for flight in self._telling:
            while flight.waiters:
                flight.tell_some()
        self._telling.clear()

    def _give_up(self, flight: Flight) -> None:
        self._leave_queue(flight)
        if flight.renews:
            self.cache.renewal_failed(flight.key)
        self._calls.give_up(flight)


def _certificates_and_proxies(issuers: Iterable[Issuer], environment: EnvironmentProxies) -> frozenset[ClientCertificate | Proxy]:
    """Return what connections may be made with."""
    pairs = (credentials for issuer in issuers for credentials in (issuer.credentials, issuer.previous) if credentials)
    proxies = (environment.https, environment.http, *(issuer.proxy for issuer in issuers))
    proofs = (credentials.proof for credentials in pairs)
    return frozenset(part for part in (*proxies, *proofs) if isinstance(part, ClientCertificate | Proxy))
