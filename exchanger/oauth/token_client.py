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
from collections.abc import Callable
from http import HTTPStatus
from typing import Final, final

import attrs
import trio

from exchanger.decision.token_exchange import EncodedRequest, decode_response, encode_request, transport_failure
from exchanger.errors import Diagnostic
from exchanger.oauth.answer import Answer
from exchanger.oauth.call import Call, NoAnswer
from exchanger.oauth.connections import ConnectionCounts, ConnectionLimits, Connections
from exchanger.oauth.dial import Dial, DialLimits, TlsContexts
from exchanger.oauth.endpoint import Endpoint, read_endpoint
from exchanger.oauth.settings import TokenClientSettings
from exchanger.oauth.tls import client_tls_context
from exchanger.reactor.reactor import Reactor
from exchanger.reactor.timers import NEVER
from exchanger.typing import ExchangeObserver, Tracer
from exchanger.values.issuer import EndpointProtocol, Issuer
from exchanger.values.proxy import Proxy
from exchanger.values.token import (
    Cache,
    CoalescedRecord,
    ErrorKind,
    ExchangedToken,
    ExchangeRecord,
    TokenCall,
    TokenOutcome,
    TokenRequest,
)
from exchanger.values.trace import SpanContext

__all__ = ["TokenClient", "TokenClientSettings"]

# Parsed endpoints that are remembered, each with its proxy. There is one per issuer profile.
_MAX_ENDPOINTS: Final = 1024

# For who asks outside ``run``, and for everyone who still waits at its end.
_LOST: Final = transport_failure(ErrorKind.CONTEXT_CANCELED, Diagnostic.REQUEST_FAILED, detail="the service ends")
_NO_TIME: Final = transport_failure(ErrorKind.TIMEOUT, Diagnostic.REQUEST_FAILED, detail="the gateway left no time for an exchange")
_GATEWAY_LEAVES: Final = transport_failure(
    ErrorKind.TIMEOUT, Diagnostic.REQUEST_FAILED, detail="timed out: the gateway does not wait any longer"
)


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
class _Waiter:
    """One request's place in a flight; see ``Ticket``. ``joined``: the flight was under way already."""

    flight: "_Flight"
    done: Callable[[TokenOutcome], None]
    joined: bool
    due: float = NEVER

    def leave(self) -> None:
        self.due = NEVER
        self.flight.left(self)

    def on_due(self, _now: float) -> None:
        """The time of this request is up; the flight goes on.

        Its answer may still serve others, tells whether the endpoint lives, and leaves the connection in a state to be used again.
        """
        self.flight.outlives_waiters = True
        self.flight.waiters.remove(self)
        self.done(_GATEWAY_LEAVES)


@final
@attrs.define(eq=False)
class _Flight:
    """One exchange under way: one call, or two where the client's credentials were just rotated.

    ``key`` is the request that started it: equal ones may differ in parts that do not count. ``request`` is that of the present call.
    ``outcome`` is set when it has landed.
    """

    client: "TokenClient"
    key: TokenRequest
    request: TokenRequest
    ends: float
    waiters: list[_Waiter] = attrs.field(factory=list)
    outlives_waiters: bool = False
    outcome: TokenOutcome | None = None
    call: Call | None = None
    port: int | None = None
    span: SpanContext | None = None
    started: float = 0.0
    sent_at: float = 0.0
    first: TokenOutcome | None = None
    recorded: bool = False

    def left(self, waiter: _Waiter) -> None:
        """``waiter`` waits no more."""
        self.waiters.remove(waiter)
        if not self.waiters and not self.outlives_waiters:
            self.client.abandon(self)

    def landed(self, answer: Answer | NoAnswer) -> None:
        """The call is over."""
        self.client.landed(self, answer)


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
        tls: Makes contexts for https, which reads the trust store.
        tracer: Gives each call a span below the request's, and the token endpoint gets that one.
    """

    settings: TokenClientSettings
    observer: ExchangeObserver
    reactor: Reactor
    clock: Callable[[], float] = time.perf_counter
    now: Callable[[], float] = time.time
    dial: Dial = trio.open_tcp_stream
    tls: Callable[[], ssl.SSLContext] = client_tls_context
    tracer: Tracer | None = None
    _connections: Connections = attrs.field(init=False)
    _flights: dict[TokenRequest, _Flight] = attrs.field(factory=dict, init=False)
    _running: bool = attrs.field(default=False, init=False)
    _started: int = attrs.field(default=0, init=False)
    _coalesced: int = attrs.field(default=0, init=False)
    _endpoints: dict[tuple[str, Proxy | None, EndpointProtocol], Endpoint | None] = attrs.field(factory=dict, init=False)
    _in_flight: dict[str, int] = attrs.field(factory=dict, init=False)

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
        )
        self._connections = Connections(limits, self.reactor, TlsContexts(self.tls), self.dial)

    @property
    def in_flight(self) -> dict[str, int]:
        """The calls under way for each endpoint host that has any."""
        return self._in_flight.copy()

    @property
    def flights(self) -> FlightCounts:
        """The flights under way and the requests that wait for them."""
        waiters = sum(len(flight.waiters) for flight in self._flights.values())
        return FlightCounts(len(self._flights), waiters, self._started, self._coalesced)

    @property
    def connections(self) -> ConnectionCounts:
        """The connections to token endpoints."""
        return self._connections.counts()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Own flights and connections until cancelled; ``started()`` when exchanges may begin. On the way out all of them end."""
        self._running = True
        try:
            await self._connections.run(task_status=task_status)
        finally:
            self._running = False
            self.reactor.turn(self._end)
            self.reactor.turn(self._connections.close)

    def begin(self, request: TokenRequest, due: float, done: Callable[[TokenOutcome], None], /) -> TokenOutcome | _Waiter:
        """Exchange ``request``; see ``TokenExchanger``. It takes ``request_timeout`` at most. Outside ``run`` the outcome is a failure."""
        now = trio.current_time()
        if due <= now:
            return _NO_TIME
        flight = self._flights.get(request)
        joined = flight is not None
        if flight is None:
            if not self._running:
                return _LOST
            flight = self._launch(request, now)
            if flight.outcome is not None:
                return flight.outcome
        else:
            self._coalesced += 1
            self.observer.coalesced(CoalescedRecord(request.issuer.endpoint_host, request.trace, flight.key.trace))
        waiter = _Waiter(flight, done, joined)
        flight.waiters.append(waiter)
        if due < flight.ends:
            self.reactor.timers.expect(waiter, due)
        return waiter

    def _launch(self, request: TokenRequest, now: float) -> _Flight:
        flight = _Flight(self, request, request, now + self.settings.request_timeout)
        self._flights[request] = flight
        self._started += 1
        self._make_call(flight)
        return flight

    def _make_call(self, flight: _Flight) -> None:
        """Make the call of ``flight.request``, which leaves one record whatever becomes of it."""
        request = flight.request
        host = request.issuer.endpoint_host
        if self.tracer is not None:
            flight.span = self.tracer.below(flight.key.trace)
            request = flight.request = attrs.evolve(request, trace=flight.span.trace)
        flight.started, flight.sent_at, flight.recorded = self.clock(), self.now(), False
        self._in_flight[host] = self._in_flight.get(host, 0) + 1
        endpoint = self._endpoint(request.issuer)
        if endpoint is None:
            self._call_ended(flight, transport_failure(ErrorKind.INVALID_TOKEN_ENDPOINT, Diagnostic.INVALID_TOKEN_ENDPOINT))
            return
        flight.port = endpoint.origin.port
        encoded = encode_request(request)
        if type(encoded) is not EncodedRequest:
            self._call_ended(flight, encoded)
            return
        head = endpoint.head(encoded.headers)
        if head is None:
            self._call_ended(flight, transport_failure(ErrorKind.CREATE_REQUEST, Diagnostic.CREATE_REQUEST))
            return
        flight.call = Call(endpoint, head, encoded.trace, encoded.body, flight.ends, flight.landed)
        self._connections.begin(flight.call)

    def landed(self, flight: _Flight, answer: Answer | NoAnswer) -> None:
        """For flights: the call is over."""
        if type(answer) is NoAnswer:
            kind = ErrorKind.TIMEOUT if answer.timed_out else ErrorKind.TRANSPORT_ERROR
            self._call_ended(flight, transport_failure(kind, Diagnostic.REQUEST_FAILED, detail=answer.why))
        elif answer.body is None:
            late = trio.current_time() >= flight.ends
            detail = "timed out while reading the answer" if late else "the answer broke off"
            self._call_ended(flight, transport_failure(ErrorKind.READ_RESPONSE, Diagnostic.READ_RESPONSE, answer.status, detail=detail))
        else:
            self._call_ended(flight, decode_response(answer.status, answer.challenges, answer.body, self.settings.rules))

    def _call_ended(self, flight: _Flight, outcome: TokenOutcome) -> None:
        record = self._record(flight, outcome)
        call = TokenCall(record.duration, record.http_status, record.kind)
        if type(outcome) is ExchangedToken:
            expires_in = outcome.expires_in
            expires_at = None if expires_in is None else int(flight.sent_at) + expires_in
            outcome = ExchangedToken(outcome.access_token, call, expires_in, Cache.MISS, expires_at)
        else:
            outcome = attrs.evolve(outcome, call=call, cache=Cache.MISS)
        if flight.first is None:
            earlier = as_before(flight.request, outcome)
            if earlier is not None:
                flight.first, flight.request = outcome, earlier
                self._make_call(flight)
                return
        elif type(outcome) is not ExchangedToken:
            outcome = flight.first  # the new credentials are what has to be mended
        self._land(flight, outcome)

    def abandon(self, flight: _Flight) -> None:
        """For flights: the last caller has left, or ``run`` ends."""
        self._give_up(flight)
        self._close(flight)

    def _land(self, flight: _Flight, outcome: TokenOutcome) -> None:
        self._close(flight)
        flight.outcome = outcome
        waiters, flight.waiters = flight.waiters, []
        shared: TokenOutcome | None = None
        for waiter in waiters:
            waiter.due = NEVER
            if not waiter.joined:
                waiter.done(outcome)
            else:
                shared = shared or attrs.evolve(outcome, cache=Cache.SHARED)
                waiter.done(shared)

    def _close(self, flight: _Flight) -> None:
        # Closed first: the next caller starts anew instead of joining a flight that is over.
        del self._flights[flight.key]

    def _end(self) -> None:
        for flight in list(self._flights.values()):
            self._give_up(flight)
            self._land(flight, _LOST)

    def _give_up(self, flight: _Flight) -> None:
        if flight.call is not None:
            flight.call.give_up()
        if not flight.recorded:
            self._record(flight, None)

    def _record(self, flight: _Flight, outcome: TokenOutcome | None) -> ExchangeRecord:
        """Tell the observer of a call. Without an outcome it was cut off: everyone who waited for it left, or the process ends."""
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
        record = ExchangeRecord(host, kind, status, flight.started, self.clock() - flight.started, flight.port, flight.span)
        self.observer.exchanged(record)
        return record

    def _endpoint(self, issuer: Issuer) -> Endpoint | None:
        """Return the issuer's endpoint, with the proxy that leads there: the issuer's own, else the environment's, else none."""
        key = (issuer.token_endpoint, issuer.proxy, issuer.protocol)
        if key not in self._endpoints:
            if len(self._endpoints) >= _MAX_ENDPOINTS:
                self._endpoints.clear()
            found = read_endpoint(issuer.token_endpoint, allow_http=self.settings.allow_http)
            self._endpoints[key] = self._reached(found, issuer) if isinstance(found, Endpoint) else None
        return self._endpoints[key]

    def _reached(self, endpoint: Endpoint, issuer: Issuer) -> Endpoint:
        origin, proxy = endpoint.origin, issuer.proxy
        if proxy is None:
            proxy = self.settings.proxies.proxy_for(origin.host, origin.port, secure=origin.secure)
        origin = attrs.evolve(origin, proxy=proxy, protocol=issuer.protocol)
        return Endpoint(origin, endpoint.authority, endpoint.target, self.settings.connection_reuse)


def as_before(request: TokenRequest, outcome: TokenOutcome) -> TokenRequest | None:
    """Return ``request`` with the issuer's previous credentials; ``None`` if it has none or ``outcome`` does not refuse the client."""
    issuer = request.issuer
    if issuer.previous is None or not _refuses_client(outcome):
        return None
    return attrs.evolve(request, issuer=attrs.evolve(issuer, credentials=issuer.previous, previous=None))


def _refuses_client(outcome: TokenOutcome) -> bool:
    """Return whether the endpoint refused the client's credentials.

    It does so with ``invalid_client`` under any status (RFC 6749 section 5.2, https://www.rfc-editor.org/rfc/rfc6749#section-5.2), or with
    a 401 that says nothing else: a token request authenticates the client only.
    """
    if isinstance(outcome, ExchangedToken):
        return False
    if outcome.diagnostic is Diagnostic.OAUTH_ERROR:
        return outcome.oauth_error == "invalid_client"
    return outcome.diagnostic is Diagnostic.UNRECOGNISED_401
