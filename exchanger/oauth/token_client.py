"""The token client: token requests in, outcomes out. Equal requests that overlap share one call.

It drives its HTTP/1.1 connections itself, because redirects, cookies, ambient proxies, .netrc and a log line per request must not happen to
a token, and because general-purpose clients let a surplus response answer the next request and bound neither the response header nor the
idle connections across hosts.

What can fail is a value; an exception is a fault, and none holds a secret.
"""

import functools
import math
import ssl
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Final, final

import attrs
import trio

from exchanger.decision.token_exchange import EncodedRequest, decode_response, encode_request, transport_failure
from exchanger.errors import Diagnostic
from exchanger.oauth.coalescer import Coalescer, CoalescerCounts
from exchanger.oauth.dial import Dial, client_tls_context
from exchanger.oauth.endpoint import Endpoint, post, read_endpoint
from exchanger.oauth.http1 import Bounds, PhaseLimits
from exchanger.oauth.pool import ConnectionCounts, ConnectionPool
from exchanger.oauth.settings import TokenClientSettings
from exchanger.typing import ExchangeObserver, Tracer
from exchanger.values.issuer import Issuer
from exchanger.values.proxy import Proxy
from exchanger.values.token import (
    Cache,
    CoalescedRecord,
    ErrorKind,
    ExchangedToken,
    ExchangeFailure,
    ExchangeRecord,
    TokenCall,
    TokenOutcome,
    TokenRequest,
)
from exchanger.values.trace import SpanContext

__all__ = ["TokenClient", "TokenClientSettings"]

# Parsed endpoints that are remembered, each with its proxy. There is one per issuer profile.
_MAX_ENDPOINTS: Final = 1024


@final
@attrs.define(eq=False)
class TokenClient:
    """Exchanges tokens at token endpoints.

    Args:
        settings: Its limits and choices.
        observer: Learns of each call that ended and of each request that shares one.
        clock: Seconds, for the records of calls.
        now: Seconds since the epoch, from which the lifetimes of tokens count.
        dial: Opens TCP connections.
        tls: The context for https; making the default one reads the trust store.
        tracer: Gives each call a span below the request's, and the token endpoint gets that one.
    """

    settings: TokenClientSettings
    observer: ExchangeObserver
    clock: Callable[[], float] = time.perf_counter
    now: Callable[[], float] = time.time
    dial: Dial = trio.open_tcp_stream
    tls: ssl.SSLContext = attrs.field(factory=client_tls_context)
    tracer: Tracer | None = None
    _pool: ConnectionPool = attrs.field(init=False)
    _coalescer: Coalescer[TokenRequest, TokenOutcome] = attrs.field(init=False)
    _limits: PhaseLimits = attrs.field(init=False)
    _endpoints: dict[tuple[str, Proxy | None], Endpoint | None] = attrs.field(factory=dict, init=False)
    _in_flight: dict[str, int] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        settings = self.settings
        self._pool = ConnectionPool(
            max_idle=settings.max_idle_connections,
            max_idle_per_host=settings.max_idle_connections_per_host,
            idle_timeout=settings.idle_connection_timeout,
            longest_exchange=settings.request_timeout,
            reuse=settings.connection_reuse,
            tls=self.tls,
            dial=self.dial,
        )
        lost = transport_failure(ErrorKind.CONTEXT_CANCELED, Diagnostic.REQUEST_FAILED)
        self._coalescer = Coalescer(lost, on_join=self._joined)
        self._limits = PhaseLimits(settings.dial_timeout, settings.tls_handshake_timeout, settings.response_header_timeout)

    @property
    def in_flight(self) -> dict[str, int]:
        """The calls under way for each endpoint host that has any."""
        return self._in_flight.copy()

    @property
    def flights(self) -> CoalescerCounts:
        """The calls under way and the requests that share them."""
        return self._coalescer.counts()

    @property
    def connections(self) -> ConnectionCounts:
        """The connections to token endpoints."""
        return self._pool.counts()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Own calls and connections until cancelled; ``started()`` when exchanges may begin. Every connection is closed on the way out."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pool.expire)
                await self._coalescer.run(task_status=task_status)
        finally:
            await self._pool.aclose()

    async def exchange(self, request: TokenRequest, /) -> TokenOutcome:
        """Return the outcome of ``request``, from a call of its own or from an equal request's that is under way.

        It takes ``request_timeout`` at most. Outside ``run`` the outcome is a failure.
        """
        fly = self._fly if request.issuer.previous is None else self._fly_with_previous
        # Between look-up and joining nothing is awaited: no other caller can run.
        shared = self._coalescer.under_way(request)
        outcome = await self._coalescer.join(request, functools.partial(fly, request))
        return attrs.evolve(outcome, cache=Cache.SHARED) if shared else outcome

    async def _fly_with_previous(self, request: TokenRequest) -> TokenOutcome:
        """As ``_fly``, and where the client is refused, once more with its previous credentials, within the same time.

        If that does not succeed either, the outcome is the first one: the new credentials are what has to be mended.
        """
        expires = trio.current_time() + self.settings.request_timeout
        outcome = await self._fly(request, expires)
        earlier = as_before(request, outcome)
        if earlier is None:
            return outcome
        second = await self._fly(earlier, expires)
        return second if isinstance(second, ExchangedToken) else outcome

    async def _fly(self, request: TokenRequest, expires: float = math.inf) -> TokenOutcome:
        """Make one call that ends by ``expires``, and leave one record of it whatever becomes of it."""
        host = request.issuer.endpoint_host
        span: SpanContext | None = None
        if self.tracer is not None:
            span = self.tracer.below(request.trace)
            request = attrs.evolve(request, trace=span.trace)
        started, sent_at = self.clock(), self.now()
        self._in_flight[host] = self._in_flight.get(host, 0) + 1
        outcome: TokenOutcome | None = None
        try:
            outcome = await self._call(request, expires)
        finally:
            self._in_flight[host] -= 1
            if not self._in_flight[host]:
                del self._in_flight[host]
            endpoint = self._endpoint(request.issuer)
            port = None if endpoint is None else endpoint.origin.port
            record = _record(host, outcome, started, self.clock() - started, port, span)
            self.observer.exchanged(record)
        call = TokenCall(record.duration, record.http_status, record.kind)
        if isinstance(outcome, ExchangedToken) and outcome.expires_in is not None:
            outcome = attrs.evolve(outcome, expires_at=int(sent_at) + outcome.expires_in)
        return attrs.evolve(outcome, call=call, cache=Cache.MISS)

    def _joined(self, request: TokenRequest, shared: TokenRequest) -> None:
        self.observer.coalesced(CoalescedRecord(request.issuer.endpoint_host, request.trace, shared.trace))

    async def _call(self, request: TokenRequest, expires: float) -> TokenOutcome:
        endpoint = self._endpoint(request.issuer)
        if endpoint is None:
            return transport_failure(ErrorKind.INVALID_TOKEN_ENDPOINT, Diagnostic.INVALID_TOKEN_ENDPOINT)
        encoded = encode_request(request)
        if not isinstance(encoded, EncodedRequest):
            return encoded
        head = endpoint.head(encoded, reuse=self.settings.connection_reuse)
        if head is None:
            return transport_failure(ErrorKind.CREATE_REQUEST, Diagnostic.CREATE_REQUEST)
        bounds = Bounds(min(expires, trio.current_time() + self.settings.request_timeout), self._limits)
        answer = await post(endpoint, self._pool, head, encoded.body, bounds)
        if answer is None:
            if bounds.scope.cancelled_caught:
                return transport_failure(ErrorKind.TIMEOUT, Diagnostic.REQUEST_FAILED, detail=f"timed out while {bounds.phase}")
            return transport_failure(ErrorKind.TRANSPORT_ERROR, Diagnostic.REQUEST_FAILED, detail=bounds.failure)
        if answer.body is None:
            late = trio.current_time() >= bounds.expires
            detail = "timed out while reading the answer" if late else "the answer broke off"
            return transport_failure(ErrorKind.READ_RESPONSE, Diagnostic.READ_RESPONSE, answer.status, detail=detail)
        return decode_response(answer.status, answer.challenges, answer.body, self.settings.rules)

    def _endpoint(self, issuer: Issuer) -> Endpoint | None:
        """Return the issuer's endpoint, with the proxy that leads there: the issuer's own, else the environment's, else none."""
        key = (issuer.token_endpoint, issuer.proxy)
        if key not in self._endpoints:
            if len(self._endpoints) >= _MAX_ENDPOINTS:
                self._endpoints.clear()
            found = read_endpoint(issuer.token_endpoint, allow_http=self.settings.allow_http)
            self._endpoints[key] = self._via(found, issuer.proxy) if isinstance(found, Endpoint) else None
        return self._endpoints[key]

    def _via(self, endpoint: Endpoint, proxy: Proxy | None) -> Endpoint:
        origin = endpoint.origin
        if proxy is None:
            proxy = self.settings.proxies.proxy_for(origin.host, origin.port, secure=origin.secure)
        return attrs.evolve(endpoint, origin=attrs.evolve(origin, proxy=proxy))


def _record(
    host: str, outcome: TokenOutcome | None, started: float, duration: float, port: int | None, span: SpanContext | None
) -> ExchangeRecord:
    """Without an outcome, the call was cut off: everyone who waited for it left, or the process ends."""
    match outcome:
        case None:
            return ExchangeRecord(host, ErrorKind.CONTEXT_CANCELED, None, started, duration, port, span)
        case ExchangedToken():
            return ExchangeRecord(host, None, HTTPStatus.OK, started, duration, port, span)
        case ExchangeFailure():
            return ExchangeRecord(host, outcome.kind, outcome.http_status, started, duration, port, span)


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
