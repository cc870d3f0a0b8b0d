"""``exchanger admission``: the webhook as a separate process, which follows the cluster as the service does.

It is a separate process so that reviews do not slow decisions down, and so that it needs no right to read Secrets. One nursery inside the
other, as in the service: the log and the policy outlive the webhook.
"""

import gc
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import Final, final

import attrs
import structlog
import trio

from exchanger import __version__
from exchanger.app.admission.judgement import KnownPolicy
from exchanger.app.admission.settings import AdmissionSettings, read_admission_settings
from exchanger.app.admission.webhook import PATH, Webhook
from exchanger.app.grants_file import GrantsFile
from exchanger.app.policy_log import log_version
from exchanger.app.serve import USAGE_ERROR, report_fault
from exchanger.exchange.issuers.profile_model import Plan, Rejected
from exchanger.exchange.issuers.profiles_file import ProfilesFile
from exchanger.model.errors import ConfigurationError, ExchangerError
from exchanger.net.http.tls import Tls
from exchanger.net.network import SYSTEM, Network
from exchanger.net.tls.handshake_log import HandshakeLog
from exchanger.net.tls.rotation import Rotation
from exchanger.operations.telemetry.log import Logging, logging_to_stdout
from exchanger.policy.current import CurrentPolicy
from exchanger.policy.documents.document import Labels
from exchanger.policy.grants.allowance import Grants
from exchanger.policy.selection import AnyIssuer
from exchanger.sources.kube.api.connection import ApiConnection
from exchanger.sources.kube.api.resource import PolicyListWatches
from exchanger.sources.kube.namespaces_file import NamespacesFile
from exchanger.sources.kube.source import KubernetesSource
from exchanger.util.address import format_address

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class AdmissionError(ExchangerError):
    """The webhook could not start. The message tells the operator why."""


def run_admission(variables: Mapping[str, str] | None = None) -> int:
    """Run the webhook until a signal arrives; return the exit status. ``variables`` are the environment by default."""
    try:
        settings = read_admission_settings(os.environ if variables is None else variables)
    except ConfigurationError as error:
        sys.stderr.write("".join(("exchanger admission cannot start:\n", *(f"  - {problem}\n" for problem in error.problems))))
        return USAGE_ERROR
    with logging_to_stdout(settings.log) as logging:
        try:
            trio.run(AdmissionProcess(settings, logging).run)
        except BaseException as fault:  # noqa: BLE001 - the outermost handler: it logs the fault and ends the process
            return report_fault(fault)
    return 0


@final
@attrs.define(eq=False)
class AdmissionProcess:
    """Builds the webhook and what it needs, over ``network``. Implements ``webhook.Cluster``."""

    settings: AdmissionSettings
    logging: Logging
    network: Network = SYSTEM
    _log: structlog.stdlib.BoundLogger = attrs.field(init=False, factory=structlog.get_logger)
    _policy: CurrentPolicy = attrs.field(init=False, factory=CurrentPolicy)
    _issuers: frozenset[str] = attrs.field(init=False, factory=AnyIssuer)
    _grants: Grants = attrs.field(init=False)
    _source: KubernetesSource | None = attrs.field(init=False, default=None)
    _profiles: ProfilesFile | None = attrs.field(init=False, default=None)
    _rotation: Rotation = attrs.field(init=False)
    _handshakes: HandshakeLog = attrs.field(factory=HandshakeLog, init=False)
    _webhook: Webhook = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        settings, network = self.settings, self.network
        self._grants = settings.grants.grants
        if settings.issuers.path is not None:
            self._profiles = ProfilesFile(settings.issuers.path, settings.issuers.rules, network.run_sync)
        self._rotation = Rotation(settings.tls, network)
        self._webhook = Webhook(
            self,
            settings.policy.namespace_selector,
            settings.policy.configmap_selector,
            named=bool(settings.policy.namespaces),
            tls=Tls(lambda: self._rotation.context, self._handshakes.on_failed),
            run_sync=network.run_sync,
        )

    @property
    def known(self) -> KnownPolicy | None:
        snapshot = self._policy.newest
        return None if snapshot is None else KnownPolicy(snapshot, self._issuers, self._grants)

    def labels_of(self, namespace: str, /) -> tuple[Labels, ...] | None:
        return None if self._source is None else self._source.index.labels_of(namespace)

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then drain; a second signal ends the drain.

        Raises:
            ExchangerError: the port cannot be bound, the certificate cannot be used, or no API server is configured.
        """
        from exchanger.sources.kube.api.client import ClusterConfigSource, connect

        with trio.open_signal_receiver(*SIGNALS) as signals:
            async with trio.open_nursery() as log:
                await log.start(self.logging.writer.run)
                self._announce()
                async with (
                    connect(ClusterConfigSource(context=self.settings.kube_context), network=self.network) as connection,
                    trio.open_nursery() as workers,
                ):
                    await self._rotation.start()
                    workers.start_soon(self._rotation.run)
                    workers.start_soon(self._handshakes.run)
                    workers.start_soon(self._follow, connection)
                    await self._listen(workers)
                    await self._drain_on(signals)
                    workers.cancel_scope.cancel()
                self._log.info("service.stopped")
                log.cancel_scope.cancel()

    async def _follow(self, connection: ApiConnection) -> None:
        """Follow the cluster and the files, until cancelled."""
        settings, run_sync = self.settings, self.network.run_sync
        if self._profiles is not None:
            self._use_profiles(await self._profiles.look())
        self._source = source = KubernetesSource(
            settings.policy,
            self._issuers,
            self._policy,
            PolicyListWatches(connection),
            network=self.network,
            grants=self._grants,
            on_published=partial(log_version, self._log),
        )
        async with trio.open_nursery() as nursery:
            if self._profiles is not None:
                nursery.start_soon(self._follow_profiles, self._profiles)
            if settings.policy.namespaces_file is not None:
                nursery.start_soon(
                    NamespacesFile(settings.policy.namespaces_file, settings.policy.namespaces, source.use_namespaces, run_sync).run
                )
            if settings.grants.path is not None:
                nursery.start_soon(GrantsFile(settings.grants, settings.grants.path, self._use_grants, run_sync).run)
            await nursery.start(source.run)
            # The policy lives as long as the process, so the collector need not traverse it while documents are checked.
            gc.freeze()
            self._log.info("admission.ready", documents=0 if self._policy.newest is None else self._policy.newest.document_count)

    async def _follow_profiles(self, profiles: ProfilesFile) -> None:
        while True:
            await trio.sleep(self.settings.issuers.poll)
            self._use_profiles(await profiles.look())

    def _use_profiles(self, found: Plan | Rejected | None) -> None:
        if isinstance(found, Rejected):
            self._log.error("issuers.file_rejected", reason=found.summary, text="the previous version stays active")
        elif found is not None:
            self._issuers = frozenset(profile.name for profile in found.profiles)
            self._log.info("issuers.loaded", names=sorted(self._issuers))
            if self._source is not None:
                self._source.use_issuers(self._issuers)

    def _use_grants(self, grants: Grants) -> None:
        self._grants = grants
        if self._source is not None:
            self._source.use_grants(grants)

    async def _listen(self, nursery: trio.Nursery) -> None:
        host, port = self.settings.host, self.settings.tls.port
        try:
            listeners = await self.network.listen(host, port)
        except OSError as error:
            raise AdmissionError(f"ADMISSION_PORT cannot be bound: {error.strerror or error}") from None
        bound = await nursery.start(self._webhook.http.run, listeners)
        self._log.info("service.listening", variable="ADMISSION_PORT", address=format_address(host or "", bound), path=PATH)

    async def _drain_on(self, signals: AsyncIterator[int]) -> None:
        """Wait for the first signal, then until every request is answered, the grace period is over, or a second signal arrives."""
        number = await anext(signals)
        self._log.info("service.draining", signal=signal.Signals(number).name, grace_s=self.settings.shutdown_grace)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._cancel_on, signals, nursery.cancel_scope)
            await self._webhook.http.drain(self.settings.shutdown_grace)
            nursery.cancel_scope.cancel()

    async def _cancel_on(self, signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
        await anext(signals)
        self._log.warning("service.drain_cut_short")
        scope.cancel()

    def _announce(self) -> None:
        self._log.info("service.starting", version=__version__, component="admission")
        for variable, text in self.settings.without_effect:
            self._log.warning("config.without_effect", variable=variable, text=text)
        if self._profiles is None:
            self._log.warning(
                "config.no_issuer_profiles",
                text="every issuer name counts as known, since TOKEN_EXCHANGE_ISSUER_PROFILES_FILE is not set",
            )
