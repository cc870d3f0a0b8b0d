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
from exchanger.exchange.introspect import Introspect, VerdictCache
from exchanger.exchange.limit import IssuerLimits, Limit
from exchanger.exchange.memory import Memory
from exchanger.exchange.prove import Prove
from exchanger.exchange.replicas import Replicas
from exchanger.exchange.rotate import Rotate
from exchanger.exchange.stage import Done
from exchanger.exchange.verify import SubjectTokenVerifier
from exchanger.net.dial import DialLimits
from exchanger.net.pool import ConnectionCounts, Connections, PoolLimits
from exchanger.net.proxies import EnvironmentProxies
from exchanger.net.reactor import Reactor
from exchanger.net.tls.client import client_tls_context
from exchanger.net.tls.client_contexts import TlsContexts
from exchanger.oauth.documents import Documents
from exchanger.oauth.metadata import Metadata
from exchanger.oauth.preparation import Preparation
from exchanger.oauth.rotation import Rotations
from exchanger.oauth.settings import TokenClientSettings
from exchanger.typing import ExchangeObserver, Ticket, Tracer
from exchanger.values.issuer import ClientCertificate, Issuer
from exchanger.values.proxy import Proxy
from exchanger.values.token import IntrospectionRequest, TokenOutcome, TokenRequest


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
        cache: Keeps tokens of issuers whose profiles say so.
        previous_left: See ``Rotations``.
        on_client_refused: Called when an endpoint refuses a client's credentials, of which there may be newer ones.

    Attributes:
        documents: Fetches issuers' metadata and keys, over the same connections.
        metadata: The metadata of issuers with ``discovery``.
        limits: The limits of the issuers in force.
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
    _connections: Connections = attrs.field(init=False)
    _preparation: Preparation = attrs.field(init=False)
    _rotations: Rotations = attrs.field(init=False)
    _actor_tokens: ActorTokenCache = attrs.field(init=False)
    _calls: Calls = attrs.field(init=False)
    _limit: Limit = attrs.field(init=False)
    _act: Act = attrs.field(init=False)
    _prove: Prove = attrs.field(init=False)
    _replicas: Replicas = attrs.field(init=False)
    _coalesce: Coalesce[TokenRequest] = attrs.field(init=False)
    _questions: Coalesce[IntrospectionRequest] = attrs.field(init=False)
    _verdicts: VerdictCache = attrs.field(init=False)
    _verify: SubjectTokenVerifier = attrs.field(init=False)
    begin: Callable[[TokenRequest, float, Done], TokenOutcome | Ticket] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        settings, reactor, network = self.settings, self.reactor, self.reactor.network
        self._connections = Connections(connection_limits(settings), reactor, TlsContexts(self.tls))
        self.documents = Documents(settings, self._connections)
        self.metadata = Metadata(self.documents, self._metadata_changed, network.random)
        self._preparation = Preparation(
            settings, network.wall, self.metadata.token_endpoint, network.entropy, self.metadata.introspection_endpoint
        )
        self._rotations = Rotations(self.previous_left, network.wall)
        # From the token endpoint to the caller.
        self._calls = Calls(
            self._connections,
            self._preparation,
            settings.rules,
            self.observers,
            self.tracer,
            network.steady,
            network.wall,
            self.on_client_refused,
        )
        self._limit = Limit(self._calls, reactor)
        self._actor_tokens = ActorTokenCache(functools.partial(ask_for_client_token, self._limit, reactor, settings.request_timeout))
        self._act = Act(self._limit, self._actor_tokens, self._preparation, reactor)
        rotate = Rotate(self._act, self._rotations)
        chain = Chain(rotate, self.cache, reactor.now)
        self._prove = Prove(rotate, chain, self.documents, reactor, self.observers, network.wall, network.random)
        chain.first = self._prove
        self._replicas = Replicas(self.cache, self._prove, reactor)
        self._coalesce = Coalesce(self._replicas, reactor, self.observers, settings.request_timeout)
        memory = Memory(self.cache, self._coalesce)
        # From the introspection endpoint to the caller.
        self._verdicts = VerdictCache(Rotate(self._limit, self._rotations), reactor.now, network.wall)
        self._questions = Coalesce(self._verdicts, reactor, (), settings.request_timeout)
        introspect = Introspect(memory, self._questions, self._verdicts, reactor, settings.request_timeout)
        self._verify = SubjectTokenVerifier(memory, introspect, self.documents, reactor, network.wall, network.random)
        self.begin = self._verify.begin

    def _metadata_changed(self) -> None:
        self._preparation.forget()

    @property
    def in_flight(self) -> dict[str, int]:
        """The number of calls in progress for each endpoint host that has any."""
        return self._calls.in_flight

    @property
    def exchanges(self) -> ExchangeCounts:
        """The numbers of exchanges in progress and of requests that wait for them."""
        coalesce = self._coalesce
        return ExchangeCounts(len(coalesce.under_way), coalesce.waiting, coalesce.started, coalesce.joined)

    @property
    def connections(self) -> ConnectionCounts:
        """The connections to token endpoints."""
        return self._connections.counts()

    @property
    def credentials_refused(self) -> dict[Issuer, bool]:
        """See ``Rotations.refused``."""
        return self._rotations.refused

    @property
    def limits(self) -> Iterable[IssuerLimits]:
        """The limits of the issuers in force that have any."""
        return self._limit

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Own exchanges and connections until cancelled; ``started()`` when exchanges may begin. When it is cancelled, all of them end."""
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.cache.run)
                await nursery.start(self._connections.run)
                await nursery.start(self.metadata.run)
                await nursery.start(self._verify.run)
                await nursery.start(self._prove.run)
                self._give(nursery)
                self._calls.running = True
                task_status.started()
        finally:
            self._give(None)
            self.reactor.turn(self._end)

    def _give(self, nursery: trio.Nursery | None) -> None:
        self._coalesce.nursery = self._questions.nursery = self._replicas.nursery = self._act.nursery = self._actor_tokens.nursery = nursery

    def _end(self) -> None:
        self._calls.end()
        self._questions.end()
        self._coalesce.end()
        self._connections.close()

    def use_issuers(self, issuers: Mapping[str, Issuer]) -> None:
        """Take over the issuers in force: tokens of removed ones are forgotten, and changed limits apply at once."""
        issuers = dict(sorted(issuers.items()))  # the order of persistent maps differs between processes
        self.cache.use_issuers(issuers)
        self.metadata.use_issuers(issuers)
        self._verify.use_issuers(issuers)
        self._verdicts.use_issuers(issuers)
        self._prove.use_issuers(issuers)
        self._actor_tokens.use_issuers(issuers)
        self._preparation.use_issuers(issuers)
        self._rotations.use_issuers(issuers)
        self._connections.use(_certificates_and_proxies(issuers.values(), self.settings.proxies))
        self._limit.use_issuers(issuers)


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
