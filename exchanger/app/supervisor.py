"""Opens the nurseries, starts the components in order, and drains them in reverse order.

One nursery inside the other: the infrastructure (log writer, metrics, exports, exchange pipeline) outlives its users (policy source, gRPC
endpoint). A fault in any component ends both nurseries, and with them the process.
"""

import contextlib
import gc
import math
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final, final

import attrs
import structlog
import trio
from rpds import HashTrieMap

from exchanger import __version__
from exchanger.app.drain_delay import DrainDelay
from exchanger.app.grants_file import log_grants
from exchanger.app.policy_sync import PolicySync
from exchanger.app.secrets import Secrets
from exchanger.app.settings import Settings
from exchanger.app.variable_names import as_notices
from exchanger.authz.audit.file import AuditFile
from exchanger.authz.audit.log import AuditLog
from exchanger.authz.envoy.authorization import Authorization
from exchanger.authz.envoy.external_processor import ExternalProcessor
from exchanger.authz.envoy.health import HealthBoard, HealthService
from exchanger.authz.envoy.reflection import REFLECTION_SERVICES, Reflection
from exchanger.authz.evaluation.evaluator import DecisionObserver, Evaluator
from exchanger.authz.http_authz.server import HttpAuthz
from exchanger.exchange.cache.token_cache import TokenCache
from exchanger.exchange.interfaces import ExchangeObserver, Tracer
from exchanger.exchange.pipeline import ExchangePipeline
from exchanger.model.errors import ExchangerError
from exchanger.model.issuer import Issuer
from exchanger.model.notice import Notices
from exchanger.net.grpc.routes import Route, routes_of
from exchanger.net.grpc.server import GrpcServer
from exchanger.net.network import SYSTEM, Network
from exchanger.net.reactor import Reactor
from exchanger.net.tls.rotation import RotationStatistics
from exchanger.operations.console.api import ConsoleFacts
from exchanger.operations.console.broadcast import Totals
from exchanger.operations.console.console import Console, Sources
from exchanger.operations.console.issuer_view import IssuerHealth
from exchanger.operations.console.policy_health import Freshness
from exchanger.operations.telemetry.decision_log import decision_line
from exchanger.operations.telemetry.log import LogDecisions, Logging
from exchanger.operations.telemetry.metrics import CHECK_BUCKETS, Gauges, HttpAuthzCounts, Metrics
from exchanger.operations.telemetry.metrics_server import MetricsServer
from exchanger.operations.telemetry.otlp.exports import Exports
from exchanger.operations.telemetry.render import Stamp
from exchanger.policy.current import CurrentPolicy
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.sources.directory.source import DirectorySettings, Watch, watch_folder
from exchanger.sources.kube.source import ListWatches
from exchanger.util.address import format_address
from exchanger.util.output import Output

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
SERVICES: Final = (
    "envoy.service.auth.v3.Authorization",
    "envoy.service.ext_proc.v3.ExternalProcessor",
    "grpc.health.v1.Health",
    *REFLECTION_SERVICES,
)


class StartError(ExchangerError):
    """A component could not start. The message tells the operator why."""


@final
@attrs.define(eq=False)
class Supervisor:
    """Builds the components from their settings, over ``network``, and connects them through the Protocols of the rooms that use them.

    ``console_shows_tokens`` makes the console decode tokens. Only the demo sets it, whose tokens are worthless; no setting does.
    ``list_watches`` and ``secrets`` stand for the API server where policy comes from a cluster; ``watch`` tells of changes where it comes
    from a folder. ``audit_file`` makes the file of the audit log, ``audit``. The components that it builds are public: the code that runs
    it can measure them.
    """

    settings: Settings
    logging: Logging
    network: Network = SYSTEM
    console_shows_tokens: bool = attrs.field(default=False, kw_only=True)
    list_watches: ListWatches | None = attrs.field(default=None, kw_only=True)
    secrets: Secrets | None = attrs.field(default=None, kw_only=True)
    watch: Watch = attrs.field(default=watch_folder, kw_only=True)
    audit_file: Callable[[Path], Output] = attrs.field(default=AuditFile, kw_only=True)
    _log: structlog.stdlib.BoundLogger = attrs.field(init=False, factory=structlog.get_logger)
    policy: CurrentPolicy = attrs.field(init=False)
    board: HealthBoard = attrs.field(init=False, factory=HealthBoard)
    metrics: Metrics = attrs.field(init=False)
    exports: Exports = attrs.field(init=False)
    _reactor: Reactor = attrs.field(init=False)
    pipeline: ExchangePipeline = attrs.field(init=False)
    audit: AuditLog | None = attrs.field(init=False)
    evaluator: Evaluator = attrs.field(init=False)
    server: GrpcServer = attrs.field(init=False)
    _http_authz: HttpAuthz | None = attrs.field(init=False)
    _sync: PolicySync = attrs.field(init=False)
    _drain_delay: DrainDelay = attrs.field(init=False)
    console: Console | None = attrs.field(init=False)
    _frozen: bool = attrs.field(init=False, default=False)
    _was_missing: bool = attrs.field(init=False, default=False)
    _listening: bool = attrs.field(init=False, default=False)
    _said_started: bool = attrs.field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        settings, network = self.settings, self.network
        self._reactor = Reactor(network)
        self.policy = CurrentPolicy(required=settings.policy_required, reach=settings.unreadable_reach)
        self.metrics = Metrics(
            __version__,
            Gauges(
                check_in_flight=lambda: self.evaluator.in_flight,
                exchanges_in_flight=lambda: self.pipeline.in_flight,
                policy_entries=lambda: self._snapshot().entry_count,
                policy_invalid_documents=lambda: self._snapshot().invalid_documents,
                policy_entries_not_granted=lambda: self._snapshot().refused_count,
                policy_snapshot_age=lambda: self._sync.state().age,
                policy_source_connected=lambda: self._sync.state().connected,
                policy_namespaces_unreadable=lambda: dict(self._sync.state().named),
                policy_unreadable_objects=lambda: len(self._unreadable()),
                config_without_effect=lambda: len(settings.without_effect),
                log_lines_dropped=lambda: self.logging.writer.dropped,
                tls_certificate_expiry=self._certificate_expiry,
                tls_certificate_rejected=self._certificate_rejected,
                issuer_profiles_rejected=lambda: self._sync.profiles_rejected,
                issuer_values_missing=lambda: self._sync.issuer_values_missing,
                grpc_connections=lambda: self.server.connections,
                grpc_connections_refused=lambda: self.server.refused,
                http_authz=self._http_authz_counts,
                breakers_open=self._breakers_open,
                exchanges_queued=self._exchanges_queued,
                credentials_rejected=lambda: {
                    (one.name, one.endpoint_host): told for one, told in self.pipeline.credentials_rejected.items()
                },
                token_cache_entries=lambda: self.pipeline.cache.entries,
                token_cache_store_connected=lambda: self.pipeline.cache.store_connected,
                token_cache_requests=lambda: self.pipeline.cache.requests,
                token_cache_refused=lambda: self.pipeline.cache.upstream_refusals,
                audit=lambda: None if self.audit is None else self.audit.counts,
            ),
        )
        self.exports = Exports.of(settings.otlp, __version__, self.metrics.collect, network)
        tracing = self.exports.tracing
        self.console = self._make_console()
        self.audit = self._make_audit()
        tracer: Tracer | None = None if tracing is None else tracing.contexts
        observers: tuple[ExchangeObserver, ...] = (self.metrics,) if tracing is None else (self.metrics, tracing)
        self._sync = PolicySync(
            settings, self.policy, self._use_issuers, self.on_stale, self._log, network, self.list_watches, self.secrets, self.watch
        )
        client = settings.token_client
        cache = TokenCache(client.rules, client.proxies, settings.token_cache, network)
        self.pipeline = ExchangePipeline(
            client,
            observers,
            self._reactor,
            tracer=tracer,
            cache=cache,
            previous_left=self._sync.previous_credentials_left,
            on_client_refused=self._sync.retry_secrets,
        )
        self.evaluator = Evaluator(
            self.policy,
            settings.decision,
            self.pipeline,
            self._observers(),
            network.steady,
            tracer,
            self._reactor.now,
            self.audit if self.audit is not None and self.audit.required else None,
            self._reactor.spend,
        )
        self._drain_delay = DrainDelay(lambda: self.evaluator.answered)
        self.server = GrpcServer(settings.grpc, self._routes(), self._reactor, self._handler_fault)
        self._http_authz = self._make_http_authz()
        if self.console is not None:
            self.policy.on_change(self.console.published)
        self.policy.on_change(self._ready)

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then drain; a second signal ends the drain.

        Raises:
            ExchangerError: a port cannot be bound, the policy folder does not exist, or no API server is configured.
        """
        gc.collect()  # garbage left by imports would be frozen with the first policy version, and stay
        with trio.open_signal_receiver(*SIGNALS) as signals, contextlib.closing(self._reactor):
            async with trio.open_nursery() as infrastructure:
                await infrastructure.start(self.logging.writer.run)
                self._announce()
                if self.audit is not None:
                    await infrastructure.start(self.audit.run)
                await infrastructure.start(self.exports.run)
                infrastructure.start_soon(self._reactor.run)
                await infrastructure.start(self.pipeline.run)
                metrics, console = self.settings.metrics, self.settings.console
                if metrics.enabled:
                    await self._start(infrastructure, MetricsServer(metrics, self.metrics, self.network.listen).run, "METRICS_PORT")
                if self.console is not None and console is not None:
                    await self._start(infrastructure, self.console.run, "CONSOLE_ADDRESS", console.host)
                settings = self.settings.http_authz
                async with trio.open_nursery() as workers:
                    workers.start_soon(self._sync.run)
                    await self._start(workers, self.server.run, "GRPC_PORT, GRPC_TLS_PORT")
                    if self._http_authz is not None and settings is not None:
                        await self._start(workers, self._http_authz.run, "HTTP_AUTHZ_PORT", settings.host)
                    self._listening = True
                    self._say_started()
                    await self._drain_on(signals)
                    workers.cancel_scope.cancel()
                self._log.info("service.stopped")
                infrastructure.cancel_scope.cancel()

    def _use_issuers(self, issuers: "HashTrieMap[str, Issuer]") -> None:
        self.pipeline.use_issuers(issuers)
        self.evaluator.rules = attrs.evolve(self.evaluator.rules, issuers=issuers)

    def on_stale(self, stale: bool) -> None:  # noqa: FBT001 - the signature that the source calls
        """Decide by no policy while the policy is older than ``POLICY_MAX_STALENESS`` allows."""
        if stale:  # the version that ends it also makes the service ready again
            self.policy.clear()
            self.board.set_unready()

    @property
    def serving(self) -> bool:
        """Whether the health service reports SERVING."""
        return self.board.serving

    async def _start(self, nursery: trio.Nursery, run: object, variable: str, host: str | None = None) -> None:
        """Start a listener and log its address; with a ``host``, the listener reports only its port."""
        try:
            bound = await nursery.start(run)  # type: ignore[arg-type]  # reports a port or addresses
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            raise StartError(f"{variable} cannot be bound{where}: {error.strerror or error}") from None
        self._log.info("service.listening", variable=variable, address=str(bound) if host is None else format_address(host, bound))

    async def _drain_on(self, signals: AsyncIterator[int]) -> None:
        """Wait for the first signal, then until every call has ended, the grace period is over, or a second signal arrives."""
        number = await anext(signals)
        self._log.info("service.draining", signal=signal.Signals(number).name, grace_s=self.settings.shutdown_grace)
        self.board.set_draining()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._cancel_on, signals, nursery.cancel_scope)
            deadline = trio.current_time() + self.settings.shutdown_grace
            await self._drain_delay.run(self.settings.shutdown_grace / 4)
            with trio.CancelScope(deadline=deadline) as grace:
                async with trio.open_nursery() as servers:
                    servers.start_soon(self.server.drain, math.inf)
                    if self._http_authz is not None:
                        servers.start_soon(self._http_authz.http.drain, math.inf)
            if grace.cancelled_caught:
                self._say_cut("the grace period is over")
                await self.server.drain(0.0)
            nursery.cancel_scope.cancel()

    async def _cancel_on(self, signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
        await anext(signals)
        self._say_cut("a second signal arrived")
        scope.cancel()

    def _say_cut(self, reason: str) -> None:
        self._log.warning("service.drain_cut_short", reason=reason, requests=self.evaluator.in_flight)

    def _observers(self) -> tuple[DecisionObserver, ...]:
        observers: tuple[DecisionObserver, ...] = (self.metrics,)
        if self.exports.tracing is not None:
            observers = (*observers, self.exports.tracing)
        if self.console is not None:
            observers = (*observers, self.console.feed)
        if self.settings.log.decisions is not LogDecisions.OFF:
            self.logging.decisions.schedule_flush = self._reactor.schedule_flush
            observers = (*observers, self.logging.decisions)
        if self.audit is not None:
            observers = (*observers, self.audit)
        if self.settings.insecure_log_tokens:
            observers = (*observers, self.logging.insecure_tokens)
        return observers

    def _make_audit(self) -> AuditLog | None:
        audit = self.settings.audit
        if audit is None:
            return None
        output = self.logging.output if audit.path is None else self.audit_file(audit.path)
        return AuditLog(audit, output, self._reactor, Stamp(self.network.wall), self.network)

    def _make_http_authz(self) -> HttpAuthz | None:
        settings = self.settings.http_authz
        if settings is None:
            return None
        return HttpAuthz(settings, self.evaluator, self._reactor, lambda: self.board.serving, self._http_checked)

    def _http_checked(self, serving: bool) -> None:  # noqa: FBT001 - the signature that the authorization port calls
        self._drain_delay.checked("", serving=serving)

    def _certificate_expiry(self) -> int | None:
        """Return when the first of the certificates in use expires."""
        return min((found.expiry for found in self._certificates() if found.expiry is not None), default=None)

    def _certificate_rejected(self) -> bool | None:
        """Return whether the files of one of the certificates in use are rejected as they are now."""
        return max((found.doubted for found in self._certificates()), default=None)

    def _certificates(self) -> list[RotationStatistics]:
        servers = (self.server, self._http_authz)
        return [found for server in servers if server is not None and (found := server.certificate) is not None]

    def _http_authz_counts(self) -> HttpAuthzCounts | None:
        port = self._http_authz
        return None if port is None else HttpAuthzCounts(port.connections, port.connections_ended, port.unauthorized)

    def _make_console(self) -> Console | None:
        settings = self.settings
        if settings.console is None:
            return None
        source = "directory" if isinstance(settings.policy, DirectorySettings) else "kubernetes"
        policy = self.policy
        sources = Sources(
            snapshot=lambda: policy.newest,
            totals=self._totals,
            line=decision_line,
            is_missing=lambda: policy.is_missing,
            notices=self.all_notices,
            freshness=self.freshness,
            issuers=self._issuer_health,
            rules=lambda: self.evaluator.rules,
            is_discovered=lambda issuer: bool(self.pipeline.metadata.token_endpoint(issuer)),
        )
        about = ConsoleFacts(version=__version__, policy_source=source)
        return Console(
            settings.console,
            sources,
            about,
            self.network,
            show_tokens=self.console_shows_tokens,
        )

    def _totals(self) -> Totals:
        seen = self.metrics.overview()
        return Totals(seen.decisions, seen.exchanges, seen.coalesced, CHECK_BUCKETS, seen.durations, seen.errors)

    def _breakers_open(self) -> dict[str, bool]:
        found: dict[str, bool] = {}
        for limits in self.pipeline.limits:
            if limits.breaker is not None:
                found[limits.endpoint_host] = limits.is_open or found.get(limits.endpoint_host, False)
        return found

    def _exchanges_queued(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for limits in self.pipeline.limits:
            if limits.permits is not None:
                found[limits.endpoint_host] = found.get(limits.endpoint_host, 0) + limits.queued
        return found

    def _issuer_health(self) -> tuple[IssuerHealth, ...]:
        now = trio.current_time()
        return tuple(
            IssuerHealth(
                limits.name,
                limits.endpoint_host,
                limits.is_open,
                0.0 if limits.breaker is None else limits.breaker.retry_in(now),
                limits.queued,
                0 if limits.permits is None else limits.permits.in_flight,
                None if limits.permits is None else limits.permits.limit,
            )
            for limits in self.pipeline.limits
        )

    def freshness(self) -> Freshness:
        """Return how old the policy is, and what cannot be read as it is now."""
        state = self._sync.state()
        return Freshness(state.age, tuple(name for name, unreadable in state.named if unreadable), self._unreadable())

    def _unreadable(self) -> tuple[str, ...]:
        """Return what cannot be read as it is now: names of files in the policy's folder, and variables that name other files."""
        parts = (self._sync, self.pipeline.cache, self.audit, self._http_authz, self.console)
        return tuple(name for part in parts if part is not None for name in part.unreadable)

    def _routes(self) -> dict[bytes, Route]:
        health = HealthService(self.board, frozenset(SERVICES), self._health_checked)
        return {
            **Authorization(self.evaluator).routes(),
            **ExternalProcessor(self.evaluator, self.pipeline.cache).routes(),
            **routes_of(health.service),
            **Reflection(SERVICES).routes(),
        }

    def _snapshot(self) -> PolicySnapshot:
        return self.policy.newest or PolicySnapshot.EMPTY

    def all_notices(self) -> tuple[Notices, ...]:
        """Return the notices about variables and about the policy."""
        return Notices.of(as_notices(self.settings.without_effect)), self.policy.notices

    def _ready(self, _snapshot: PolicySnapshot) -> None:
        missing, was_missing = self.policy.is_missing, self._was_missing
        self._was_missing = missing
        if missing:
            if not was_missing:
                self._log.error("policy.missing", text="no entry is active and POLICY_REQUIRED is on: every check is refused")
            self.board.set_unready()
            return
        if was_missing:
            self._log.info("policy.restored")
        if not self._frozen:
            self._frozen = True
            # Everything built so far, mostly policy, lives as long as the process and is shared by later versions, so the collector need
            # not traverse it while requests are answered. There is no collection first: with 10,000 documents it would block the loop.
            gc.freeze()
        self.board.set_ready()
        self._say_started()

    def _say_started(self) -> None:
        """Log the start once, when checks are answered by a policy: listeners alone refuse everything."""
        if self._listening and self.board.serving and not self._said_started:
            self._said_started = True
            self._log.info("service.started", version=__version__)

    def _health_checked(self, service: str, serving: bool) -> None:  # noqa: FBT001 - the signature that Health calls
        self._drain_delay.checked(service, serving=serving)
        if self.settings.log_health_checks:
            self._log.info("grpc.health_checked", service=service, serving=serving)

    def _handler_fault(self, fault: BaseException) -> None:
        # Only the type: the message may contain request data.
        self._log.error("grpc.handler_failed", error=type(fault).__qualname__)

    def _announce(self) -> None:
        if self.settings.insecure_log_tokens:
            self._log.critical(  # at any other level, LOG_LEVEL could hide that this log contains tokens
                "config.insecure_log_tokens", text="TOKEN_EXCHANGE_INSECURE_LOG_TOKENS IS ON: BEARER TOKENS ARE WRITTEN TO THIS LOG"
            )
        grants = self.settings.grants
        if grants.path is None:
            self._log.warning(
                "config.no_grants", text="every namespace may claim every host, issuer, audience and scope; POLICY_GRANTS_FILE limits them"
            )
        else:
            log_grants(self._log, grants.grants)
        for variable, text in self.settings.without_effect:
            self._log.warning("config.without_effect", variable=variable, text=text)
        if self.console_shows_tokens:
            self._log.warning("console.shows_tokens", text="THE CONSOLE DECODES TOKENS")
        if self.settings.token_client.allow_http:
            self._log.warning("config.http_token_endpoints", text="token endpoints without TLS are allowed")
