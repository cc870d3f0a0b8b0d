"""The exchange pipeline: token requests in, outcomes out, through stages that are composed here.

It drives its connections itself, because redirects, cookies, ambient proxies, .netrc and a log line per request must not happen to a token,
and because general-purpose clients let a surplus response answer the next request and bound neither the response header nor the idle
connections across hosts.

Failures are values; an exception is a bug, and none contains a secret.
"""

import functools
import ssl
from collections.abc import Callable, Iterable, Mapping
from typing import final

import attrs
import trio

from exchanger.exchange.act import Act, ActorTokenCache, ask_for_client_token
from exchanger.exchange.cache.token_cache import TokenCache
from exchanger.exchange.call import Calls
from exchanger.exchange.chain import Chain
from exchanger.exchange.coalesce import Coalesce
from exchanger.exchange.interfaces import ExchangeObserver, Ticket, Tracer
from exchanger.exchange.introspect import Introspect, IntrospectionCache
from exchanger.exchange.limit import IssuerLimits, Limit
from exchanger.exchange.memory import Memory
from exchanger.exchange.oauth.documents import Documents
from exchanger.exchange.oauth.metadata import Metadata
from exchanger.exchange.oauth.preparation import Preparation
from exchanger.exchange.oauth.rotation import Rotations
from exchanger.exchange.oauth.settings import TokenClientSettings
from exchanger.exchange.prove import Prove
from exchanger.exchange.replicas import Replicas
from exchanger.exchange.rotate import Rotate
from exchanger.exchange.stage import Done
from exchanger.exchange.verify import SubjectTokenVerifier
from exchanger.model.issuer import ClientCertificate, Issuer
from exchanger.model.proxy import Proxy
from exchanger.model.token import IntrospectionRequest, TokenOutcome, TokenRequest
from exchanger.net.dial import DialLimits
from exchanger.net.pool import ConnectionCounts, Connections, PoolLimits
from exchanger.net.proxies import EnvironmentProxies
from exchanger.net.reactor import Reactor
from exchanger.net.tls.client import client_tls_context
from exchanger.net.tls.client_contexts import TlsContexts


@final
@attrs.frozen
class ExchangeCounts:
    """``under_way`` and the requests ``waiting`` for them; the others count since the start."""

    under_way: int
    waiting: int
    started: int
    coalesced: int


@final
@attrs.define(eq=False)
class ExchangePipeline:
    """Exchanges tokens at token endpoints, in the turns of ``reactor``, which must run for longer, and over its network.

    Args:
        settings: Its limits and choices.
        observers: Get a record of each call that ended and of each request that shares one.
        tls: Makes contexts for https, a new one each time, which reads the trust store.
        tracer: Gives each call a span below the request's, which the token endpoint continues.
        cache: Caches tokens of issuers whose profiles say so.
        previous_left: See ``Rotations``.
        on_client_refused: Called when an endpoint refuses a client's credentials, of which there may be newer ones.

    Attributes:
        documents: Fetches issuers' metadata and keys, over the same connections.
        metadata: The metadata of issuers with ``discovery``.
        limits: The limits of the active issuers.
        pool: The connections to token endpoints.
        begin: Exchanges a token; see ``TokenExchanger``. It takes ``request_timeout`` at most. Outside ``run`` the outcome is a failure.
    """

    settings: TokenClientSettings
    observers: tuple[ExchangeObserver, ...]
    reactor: Reactor
    tls: Callable[[], ssl.SSLContext] = client_tls_context
    tracer: Tracer | None = None
    cache: TokenCache = attrs.field(factory=TokenCache)
    previous_left: Callable[[str], float | None] = lambda _: None
    on_client_refused: Callable[[], None] = lambda: None
    documents: Documents = attrs.field(init=False)
    metadata: Metadata = attrs.field(init=False)
    pool: Connections = attrs.field(init=False)
    preparation: Preparation = attrs.field(init=False)
    rotations: Rotations = attrs.field(init=False)
    actor_tokens: ActorTokenCache = attrs.field(init=False)
    calls: Calls = attrs.field(init=False)
    limit: Limit = attrs.field(init=False)
    act: Act = attrs.field(init=False)
    prove: Prove = attrs.field(init=False)
    replicas: Replicas = attrs.field(init=False)
    coalesce: Coalesce[TokenRequest] = attrs.field(init=False)
    introspections: Coalesce[IntrospectionRequest] = attrs.field(init=False)
    results: IntrospectionCache = attrs.field(init=False)
    verify: SubjectTokenVerifier = attrs.field(init=False)
    begin: Callable[[TokenRequest, float, Done], TokenOutcome | Ticket] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        settings, reactor, network = self.settings, self.reactor, self.reactor.network
        self.pool = Connections(connection_limits(settings), reactor, TlsContexts(self.tls))
        self.documents = Documents(settings, self.pool)
        self.metadata = Metadata(self.documents, self._metadata_changed, network.random)
        self.preparation = Preparation(
            settings, network.wall, self.metadata.token_endpoint, network.entropy, self.metadata.introspection_endpoint
        )
        self.rotations = Rotations(self.previous_left, network.wall)
        # From the token endpoint to the caller.
        self.calls = Calls(
            self.pool,
            self.preparation,
            settings.rules,
            self.observers,
            self.tracer,
            network.steady,
            network.wall,
            self.on_client_refused,
        )
        self.limit = Limit(self.calls, reactor)
        self.actor_tokens = ActorTokenCache(functools.partial(ask_for_client_token, self.limit, reactor, settings.request_timeout))
        self.act = Act(self.limit, self.actor_tokens, self.preparation, reactor)
        rotate = Rotate(self.act, self.rotations)
        chain = Chain(rotate, self.cache, reactor.now)
        self.prove = Prove(rotate, chain, self.documents, reactor, self.observers, network.wall, network.random)
        chain.first = self.prove
        self.replicas = Replicas(self.cache, self.prove, reactor)
        self.coalesce = Coalesce(self.replicas, reactor, self.observers, settings.request_timeout)
        memory = Memory(self.cache, self.coalesce)
        # From the introspection endpoint to the caller.
        self.results = IntrospectionCache(Rotate(self.limit, self.rotations), reactor.now, network.wall)
        self.introspections = Coalesce(self.results, reactor, (), settings.request_timeout)
        introspect = Introspect(memory, self.introspections, self.results, reactor, settings.request_timeout)
        self.verify = SubjectTokenVerifier(memory, introspect, self.documents, reactor, network.wall, network.random)
        self.begin = self.verify.begin

    def _metadata_changed(self) -> None:
        self.preparation.forget()

    @property
    def in_flight(self) -> dict[str, int]:
        """The number of calls in progress for each endpoint host that has any."""
        return self.calls.in_flight

    @property
    def exchanges(self) -> ExchangeCounts:
        """The numbers of exchanges in progress and of requests that wait for them."""
        coalesce = self.coalesce
        return ExchangeCounts(len(coalesce.under_way), coalesce.waiting, coalesce.started, coalesce.joined)

    @property
    def connections(self) -> ConnectionCounts:
        """The connections to token endpoints."""
        return self.pool.counts()

    @property
    def credentials_rejected(self) -> dict[Issuer, bool]:
        return self.rotations.refused

    @property
    def limits(self) -> Iterable[IssuerLimits]:
        """The limits of the active issuers that have any."""
        return self.limit

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Own exchanges and connections until cancelled; ``started()`` when exchanges may begin. When it is cancelled, all of them end."""
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.cache.run)
                await nursery.start(self.pool.run)
                await nursery.start(self.metadata.run)
                await nursery.start(self.verify.run)
                await nursery.start(self.prove.run)
                self._give(nursery)
                self.calls.running = True
                task_status.started()
        finally:
            self._give(None)
            self.reactor.turn(self.end)

    def _give(self, nursery: trio.Nursery | None) -> None:
        self.coalesce.nursery = self.introspections.nursery = self.replicas.nursery = self.act.nursery = self.actor_tokens.nursery = nursery

    def end(self) -> None:
        """End all calls and whatever waits for them."""
        self.calls.end()
        self.introspections.end()
        self.coalesce.end()
        self.pool.close()

    def use_issuers(self, issuers: Mapping[str, Issuer]) -> None:
        """Take over the active issuers: tokens of removed ones are forgotten, and changed limits apply at once."""
        issuers = dict(sorted(issuers.items()))  # the order of persistent maps differs between processes
        self.cache.use_issuers(issuers)
        self.metadata.use_issuers(issuers)
        self.verify.use_issuers(issuers)
        self.results.use_issuers(issuers)
        self.prove.use_issuers(issuers)
        self.actor_tokens.use_issuers(issuers)
        self.preparation.use_issuers(issuers)
        self.rotations.use_issuers(issuers)
        self.pool.use(_certificates_and_proxies(issuers.values(), self.settings.proxies))
        self.limit.use_issuers(issuers)


def connection_limits(settings: TokenClientSettings) -> PoolLimits:
    """Return the part of ``settings`` about connections."""
    return PoolLimits(
        dial=DialLimits(settings.dial_timeout, settings.tls_handshake_timeout),
        response_header=settings.response_header_timeout,
        max_idle=settings.max_idle_connections,
        max_idle_per_host=settings.max_idle_connections_per_host,
        idle_timeout=settings.idle_connection_timeout,
        longest_call=settings.request_timeout,
        reuse=settings.connection_reuse,
        max_quarantined=settings.max_quarantined_connections,
    )


def _certificates_and_proxies(issuers: Iterable[Issuer], environment: EnvironmentProxies) -> frozenset[ClientCertificate | Proxy]:
    """Return what connections may be made with."""
    pairs = (credentials for issuer in issuers for credentials in (issuer.credentials, issuer.previous) if credentials)
    proxies = (environment.https, environment.http, *(issuer.proxy for issuer in issuers))
    proofs = (credentials.proof for credentials in pairs)
    return frozenset(part for part in (*proxies, *proofs) if isinstance(part, ClientCertificate | Proxy))
