"""The token client: token requests in, outcomes out; equal requests that overlap share one call. The door to httpx.

It speaks httpx's transport API (https://www.python-httpx.org/advanced/transports/) and leaves ``httpx.AsyncClient`` out on purpose:
redirects, cookies, ambient proxies, .netrc and a log line a request live in that class, and none of them may happen to a token. The
transport is the room's own (``http1``, ``connections``), because httpx's looks at every connection for every request, lets a surplus
response answer the next request, and has a limit neither for the response header nor for idle connections across hosts.

Requests and exceptions of httpx hold secrets; none of them leaves this module. What can fail is a value; an exception is a fault.
"""

import functools
import math
import ssl
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Final, Self, cast, final

import attrs
import h11
import httpx
import trio

from exchanger.decision.token_exchange import (
    MAX_RESPONSE_BYTES,
    EncodedRequest,
    TooLarge,
    decode_response,
    encode_request,
    transport_failure,
)
from exchanger.errors import Diagnostic
from exchanger.oauth.coalescer import Coalescer, CoalescerStatistics
from exchanger.oauth.connections import ConnectionPool, ConnectionStatistics, Lease
from exchanger.oauth.dial import Dial, Origin, client_tls_context
from exchanger.oauth.endpoint import Endpoint, read_endpoint
from exchanger.oauth.http1 import Bounds, Broken, PhaseLimits
from exchanger.oauth.previous_client import as_before
from exchanger.oauth.settings import TokenClientSettings
from exchanger.typing import ExchangeObserver, Tracer
from exchanger.values.issuer import Issuer
from exchanger.values.proxy import Proxy
from exchanger.values.token import (
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

__all__ = ["TokenClient", "TokenClientSettings", "TokenClientStatistics"]

_MAX_BODY_PIECES: Final = 4096
"""Most pieces a body may come in, so that a megabyte of one-byte chunks does not cost a second of CPU; a usual body comes in one or two."""

_MAX_ENDPOINTS: Final = 1024
"""Parsed endpoints that are remembered, each with its proxy; there is one an issuer profile."""


@final
@attrs.frozen
class TokenClientStatistics:
    """``in_flight`` has the calls under way for each endpoint host that has any, sorted by host."""

    in_flight: tuple[tuple[str, int], ...]
    coalescer: CoalescerStatistics
    connections: ConnectionStatistics


@final
@attrs.define(eq=False)
class TokenClient:
    """Exchanges tokens at token endpoints.

    Args:
        settings: Its limits and choices.
        observer: Told of each call that ended and of each request that shares one.
        clock: Seconds, for the records of calls.
        dial: Opens TCP connections.
        tls: The context for https; making the default one reads the trust store.
        tracer: Gives each call a place of its own in its trace, below the request's, and the token endpoint is told that one.
    """

    settings: TokenClientSettings
    observer: ExchangeObserver
    clock: Callable[[], float] = time.perf_counter
    dial: Dial = trio.open_tcp_stream
    tls: ssl.SSLContext = attrs.field(factory=client_tls_context)
    tracer: Tracer | None = None
    _pool: ConnectionPool = attrs.field(init=False)
    _coalescer: Coalescer[TokenRequest, TokenOutcome] = attrs.field(init=False)
    _limits: PhaseLimits = attrs.field(init=False)
    _endpoints: dict[tuple[str, Proxy | None], "_Endpoint | None"] = attrs.field(factory=dict, init=False)
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
        self._coalescer = Coalescer(
            lost=transport_failure(ErrorKind.CONTEXT_CANCELED, Diagnostic.REQUEST_FAILED),
            on_join=self._joined,
        )
        self._limits = PhaseLimits(settings.dial_timeout, settings.tls_handshake_timeout, settings.response_header_timeout)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Own calls and connections until cancelled; ``started()`` when exchanges may begin. Every connection is closed on the way out."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pool.expire)
                await self._coalescer.run(task_status=task_status)
        finally:
            await self._pool.aclose()

    async def exchange(self, request: TokenRequest, /) -> TokenOutcome:
        """Return the outcome of ``request``, of a call of its own or of an equal request's that is under way.

        It takes ``request_timeout`` at most. Outside ``run`` the outcome is a failure.
        """
        fly = self._fly if request.issuer.previous is None else self._fly_with_previous
        # Between look-up and joining nothing is awaited: no other caller can run.
        shared = self._coalescer.under_way(request)
        outcome = await self._coalescer.join(request, functools.partial(fly, request))
        if shared and outcome.call is not None:
            return attrs.evolve(outcome, call=attrs.evolve(outcome.call, shared=True))
        return outcome

    def statistics(self) -> TokenClientStatistics:
        """Return the present counts."""
        return TokenClientStatistics(tuple(sorted(self._in_flight.items())), self._coalescer.statistics(), self._pool.statistics())

    async def _fly_with_previous(self, request: TokenRequest) -> TokenOutcome:
        """As ``_fly``, and where the client is refused, once more as the client that it was before, within the same time.

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
        started = self.clock()
        self._in_flight[host] = self._in_flight.get(host, 0) + 1
        outcome: TokenOutcome | None = None
        try:
            outcome = await self._call(request, expires)
        finally:
            self._in_flight[host] -= 1
            if not self._in_flight[host]:
                del self._in_flight[host]
            record = _record(request, outcome, started, self.clock() - started, self._port(request), span)
            self.observer.exchanged(record)
        return attrs.evolve(outcome, call=TokenCall(record.duration, record.http_status, record.kind))

    def _joined(self, request: TokenRequest, shared: TokenRequest) -> None:
        self.observer.coalesced(CoalescedRecord(request.issuer.endpoint_host, request.trace, shared.trace))

    def _port(self, request: TokenRequest) -> int | None:
        endpoint = self._endpoint(request.issuer)
        return None if endpoint is None else endpoint.address.origin.port

    async def _call(self, request: TokenRequest, expires: float) -> TokenOutcome:
        endpoint = self._endpoint(request.issuer)
        if endpoint is None:
            return transport_failure(ErrorKind.INVALID_TOKEN_ENDPOINT, Diagnostic.INVALID_TOKEN_ENDPOINT)
        encoded = encode_request(request)
        if not isinstance(encoded, EncodedRequest):
            return encoded
        bounds = Bounds(min(expires, trio.current_time() + self.settings.request_timeout), self._limits)
        try:
            with bounds.scope:
                response = await endpoint.transport.handle_async_request(endpoint.request(encoded, bounds))
        except httpx.LocalProtocolError:
            return transport_failure(ErrorKind.CREATE_REQUEST, Diagnostic.CREATE_REQUEST)
        except httpx.TransportError:
            return transport_failure(ErrorKind.TRANSPORT_ERROR, Diagnostic.REQUEST_FAILED)
        if bounds.scope.cancelled_caught:
            return transport_failure(ErrorKind.TIMEOUT, Diagnostic.REQUEST_FAILED)
        return await self._outcome(response, bounds.expires)

    async def _outcome(self, response: httpx.Response, expires: float) -> TokenOutcome:
        """Return what ``response`` means; a body that has not come by ``expires`` could not be read."""
        status = response.status_code
        body: bytes | TooLarge | None = None
        try:
            with trio.CancelScope(deadline=expires):
                body = b"" if response.is_redirect else await _read(response)  # nothing that a redirect says is of use
        except httpx.TransportError:
            pass  # it broke off
        finally:
            await response.aclose()
        if body is None:
            return transport_failure(ErrorKind.READ_RESPONSE, Diagnostic.READ_RESPONSE, status)
        challenges = [value.decode("latin-1") for name, value in response.headers.raw if name.lower() == b"www-authenticate"]
        return decode_response(status, challenges, body, self.settings.rules)

    def _endpoint(self, issuer: Issuer) -> "_Endpoint | None":
        key = (issuer.token_endpoint, issuer.proxy)
        if key not in self._endpoints:
            if len(self._endpoints) >= _MAX_ENDPOINTS:
                self._endpoints.clear()
            found = read_endpoint(issuer.token_endpoint, allow_http=self.settings.allow_http)
            self._endpoints[key] = self._reached(found, issuer.proxy) if isinstance(found, Endpoint) else None
        return self._endpoints[key]

    def _reached(self, endpoint: Endpoint, proxy: Proxy | None) -> "_Endpoint":
        """Return ``endpoint`` with the way there: its issuer's ``proxy``, else the environment's, else directly."""
        origin = endpoint.origin
        if proxy is None:
            proxy = self.settings.proxies.proxy_for(origin.host, origin.port, secure=origin.secure)
        return _Endpoint(endpoint, _Transport(attrs.evolve(origin, proxy=proxy), self._pool), self.settings.connection_reuse)


@final
@attrs.define(eq=False)
class _Endpoint:
    """A valid token endpoint, with what all requests to it have in common."""

    address: Endpoint
    transport: httpx.AsyncBaseTransport
    reuse: bool

    def request(self, encoded: EncodedRequest, bounds: Bounds) -> httpx.Request:
        """Return the POST of ``encoded``; ``bounds`` travels with it to the transport."""
        url = self.address.url
        headers = [("Host", url.netloc.decode("ascii")), ("Content-Length", str(len(encoded.body))), *encoded.headers]
        if not self.reuse:  # RFC 9112 section 9.3: who does not reuse connections has to say so
            headers.append(("Connection", "close"))
        return httpx.Request("POST", url, headers=headers, stream=httpx.ByteStream(encoded.body), extensions={"bounds": bounds})


@final
@attrs.define(eq=False)
class _Transport(httpx.AsyncBaseTransport):
    """httpx's transport to one origin, over the connections of a pool."""

    origin: Origin
    pool: ConnectionPool

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send ``request`` within the bounds it brings along, and return its response with the body still to be read.

        Raises ``httpx.LocalProtocolError`` if ``request`` is not valid HTTP, another ``httpx.TransportError`` if there is no response.
        """
        head = _head(request)
        if head is None:
            raise httpx.LocalProtocolError("the request is not valid HTTP")
        lease = await self.pool.lease(self.origin)
        answer: h11.Response | Broken | None = None
        try:
            answer = await _first_answer(lease, head, request.read(), request.extensions["bounds"])
        finally:
            if not isinstance(answer, h11.Response):
                await lease.release()
        if not isinstance(answer, h11.Response):
            raise httpx.NetworkError("the token endpoint did not answer")
        return httpx.Response(answer.status_code, headers=answer.headers.raw_items(), stream=_Body(lease))


@final
@attrs.define(eq=False)
class _Body(httpx.AsyncByteStream):
    """A response's body as it comes. An iterator rather than a generator: it can be left at any point without a trace."""

    lease: Lease

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        connection = self.lease.connection
        piece = await connection.next_piece() if connection else Broken(answered=True)
        if isinstance(piece, Broken):
            raise httpx.ReadError("the response broke off")
        if not piece:
            raise StopAsyncIteration
        return piece

    async def aclose(self) -> None:
        """Give the connection back, or close it when the body was not read to its end."""
        await self.lease.release()


def _head(request: httpx.Request) -> h11.Request | None:
    try:
        return h11.Request(method=request.method, target=request.url.raw_path, headers=request.headers.raw)
    except h11.LocalProtocolError:  # its message may quote a header
        return None


async def _first_answer(lease: Lease, head: h11.Request, body: bytes, bounds: Bounds) -> h11.Response | Broken | None:
    """Send on a connection that was used before, else on a fresh one; ``None`` if there is no connection to be had.

    A used connection that ends without a byte of response was closed by the peer before it saw the request (RFC 9112 section 9.3.1,
    https://www.rfc-editor.org/rfc/rfc9112#section-9.3.1), so the request is sent once more, and not on another used one. So it is after a
    408, with which the peer ends a connection that was idle (RFC 9110 section 15.5.9,
    https://www.rfc-editor.org/rfc/rfc9110#section-15.5.9): it answers no request.
    """
    used = await lease.reuse()
    if used is not None:
        answer = await used.send(head, body, bounds)
        ended = answer.status_code == HTTPStatus.REQUEST_TIMEOUT if isinstance(answer, h11.Response) else not answer.answered
        if not ended:
            return answer
        await lease.discard()
    fresh = await lease.connect(bounds)
    return await fresh.send(head, body, bounds) if fresh is not None else None


async def _read(response: httpx.Response) -> bytes | TooLarge:
    """Return the body as it was sent, without any decoding, or stop where it gets too long."""
    pieces: list[bytes] = []
    room = MAX_RESPONSE_BYTES
    async for piece in cast("httpx.AsyncByteStream", response.stream):  # an async transport gives no other
        room -= len(piece)
        if room < 0 or len(pieces) == _MAX_BODY_PIECES:
            return TooLarge.TOO_LARGE
        pieces.append(piece)
    return b"".join(pieces)


def _record(
    request: TokenRequest, outcome: TokenOutcome | None, started: float, duration: float, port: int | None, span: SpanContext | None
) -> ExchangeRecord:
    """Without an outcome, the call was cut off: those who waited for it left, or the process ends."""
    host = request.issuer.endpoint_host
    match outcome:
        case None:
            return ExchangeRecord(host, ErrorKind.CONTEXT_CANCELED, None, started, duration, port, span)
        case ExchangedToken():
            return ExchangeRecord(host, None, HTTPStatus.OK, started, duration, port, span)
        case ExchangeFailure():
            return ExchangeRecord(host, outcome.kind, outcome.http_status, started, duration, port, span)
