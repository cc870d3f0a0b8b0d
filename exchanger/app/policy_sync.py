"""Watches issuer profiles and, once they are complete, the policy that refers to them, in a cluster or in a folder."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Final, final

import attrs
import structlog
import trio
from rpds import HashTrieMap

from exchanger.app.grants_file import GrantsFile
from exchanger.app.policy_log import ConflictLog, log_notices, log_problems, log_version
from exchanger.app.secrets import ApiSecrets, Secrets, WatchingSecrets
from exchanger.app.settings import Settings
from exchanger.exchange.issuers.source import IssuerSource
from exchanger.model.entry import Source
from exchanger.model.issuer import Issuer
from exchanger.model.notice import Notices
from exchanger.net.network import Network
from exchanger.policy.current import CurrentPolicy
from exchanger.policy.selection import Change
from exchanger.sources.directory.folder import FOLDER
from exchanger.sources.directory.source import DirectorySettings, DirectorySource, Watch, watch_folder
from exchanger.sources.kube.api.connection import ApiConnection
from exchanger.sources.kube.api.resource import PolicyListWatches
from exchanger.sources.kube.event_writer import EventWriter
from exchanger.sources.kube.events import PolicyEvents
from exchanger.sources.kube.namespaces_file import NamespacesFile
from exchanger.sources.kube.settings import KubernetesSettings
from exchanger.sources.kube.source import KubernetesSource, ListWatches
from exchanger.sources.publish.conflict_watch import ConflictWatch

_WITHOUT_CLUSTER: Final = "; to read policies from a folder, set POLICY_SOURCE=directory"


@final
@attrs.frozen
class SyncState:
    """How current the policy is.

    ``age``: seconds since the active policy was last known to be current, ``None`` before the first version. ``connected``: it is current
    now. ``named``: each Namespace configured by name, and whether reading it is forbidden.
    """

    age: float | None
    connected: bool
    named: tuple[tuple[str, bool], ...] = ()


@final
@attrs.define(eq=False)
class PolicySync:
    """Publishes to ``policy``, and passes each set of issuers to ``on_issuers``.

    ``on_stale(True)`` means that the policy is too old to enforce; the next published version ends that state.
    """

    settings: Settings
    policy: CurrentPolicy
    on_issuers: "Callable[[HashTrieMap[str, Issuer]], None]"
    on_stale: Callable[[bool], None]
    _log: structlog.stdlib.BoundLogger
    _network: Network
    _list_watches: ListWatches | None = None
    _read_secrets: Secrets | None = None
    _watch: Watch = watch_folder
    _source: DirectorySource | KubernetesSource | None = attrs.field(init=False, default=None)
    _issuers: IssuerSource | None = attrs.field(init=False, default=None)
    _secrets: WatchingSecrets | None = attrs.field(init=False, default=None)
    _namespaces: NamespacesFile | None = attrs.field(init=False, default=None)
    _grants: GrantsFile | None = attrs.field(init=False, default=None)

    async def run(self) -> None:
        """Watch until cancelled. Nothing is published until issuers and policy are both complete.

        Raises:
            ExchangerError: the policy folder does not exist, or no API server is configured.
        """
        async with self._cluster() as connection:
            readable = self._read_secrets if connection is None else ApiSecrets(connection)
            secrets = self._secrets = None if readable is None else WatchingSecrets(readable, self._network.random)
            self._issuers = issuers = IssuerSource(self.settings.issuers, secrets, self._use_issuers, run_sync=self._network.run_sync)
            events = self._policy_events(connection)
            conflicts = ConflictWatch((ConflictLog(self._log), *(() if events is None else (events,))))

            def published(change: Change) -> None:
                log_problems(self._log, change)
                log_version(self._log, change)
                if events is not None:
                    events.published(change)
                conflicts.published(change)

            self._source = source = self._policy_source(connection, published)
            async with trio.open_nursery() as nursery:
                if connection is not None:
                    nursery.start_soon(connection.credentials.follow_files, self._retry_now, self._network.run_sync)
                await nursery.start(issuers.run)
                nursery.start_soon(conflicts.run)
                if events is not None:
                    await nursery.start(events.run)
                if (file := self._namespaces_file(source)) is not None:
                    self._namespaces = file
                    nursery.start_soon(file.run)
                if (path := self.settings.grants.path) is not None:
                    self._grants = GrantsFile(self.settings.grants, path, source.use_grants, self._network.run_sync)
                    nursery.start_soon(self._grants.run)
                await nursery.start(source.run)

    def retry_secrets(self) -> None:
        """End the waits of failing requests for Secrets: an issuer refuses the credentials that are known."""
        if self._secrets is not None:
            self._secrets.retry_now()

    def _retry_now(self) -> None:
        """End all waits for the API server: other CA certificates or credentials may be what they wait for."""
        self.retry_secrets()
        if isinstance(self._source, KubernetesSource):
            self._source.retry_now()

    def previous_credentials_left(self, issuer: str) -> float | None:
        """Return for how long the previous credentials of ``issuer`` still count. Call it from a Trio task."""
        return None if self._issuers is None else self._issuers.previous_credentials_left(issuer)

    @property
    def profiles_rejected(self) -> bool:
        """Whether the file of issuer profiles cannot be used as it is now."""
        return self._issuers is not None and self._issuers.rejected

    @property
    def issuer_values_missing(self) -> int:
        """How many values in Secrets and files that profiles refer to cannot be used."""
        return 0 if self._issuers is None else self._issuers.missing

    @property
    def unreadable(self) -> tuple[str, ...]:
        """What cannot be read as it is now, so that an earlier version is active: files of the folder by name, others by variable."""
        found: list[str] = []
        if isinstance(self._source, DirectorySource):
            found += ("POLICY_DIRECTORY" if name == FOLDER else name for name in self._source.unreadable)
        if self._grants is not None and self._grants.rejected:
            found.append("POLICY_GRANTS_FILE")
        if self._namespaces is not None and self._namespaces.rejected:
            found.append("POLICY_NAMESPACES_FILE")
        return tuple(found)

    def state(self) -> SyncState:
        """Return how current the policy is. Call it from a Trio task."""
        if isinstance(self._source, KubernetesSource):
            return SyncState(self._source.snapshot_age(), self._source.is_connected, self._source.named)
        published = self.policy.newest is not None
        listed = isinstance(self._source, DirectorySource) and self._source.is_listed
        return SyncState(0.0 if published else None, published and listed)  # a folder is polled all the time

    @asynccontextmanager
    async def _cluster(self) -> AsyncGenerator[ApiConnection | None]:
        if not isinstance(self.settings.policy, KubernetesSettings) or self._list_watches is not None:
            yield None
            return
        from exchanger.sources.kube.api.client import ClusterConfigSource, connect

        origin = ClusterConfigSource(context=self.settings.kube_context, otherwise=_WITHOUT_CLUSTER)
        async with connect(origin, network=self._network) as connection:
            yield connection

    def _policy_events(self, connection: ApiConnection | None) -> PolicyEvents | None:
        if connection is None or not self.settings.policy_events:
            return None
        return PolicyEvents(EventWriter(connection, self._network.random, clock=self._network.wall), uid_of=self._uid_of)

    def _uid_of(self, source: Source) -> str:
        return self._source.index.uid_of(source) if isinstance(self._source, KubernetesSource) else ""

    def _policy_source(self, connection: ApiConnection | None, published: Callable[[Change], None]) -> DirectorySource | KubernetesSource:
        settings, grants = self.settings.policy, self.settings.grants.grants
        if isinstance(settings, DirectorySettings):
            return DirectorySource(settings, frozenset(), self.policy, self._use_notices, grants, published, self._network, self._watch)
        list_watches = self._list_watches if connection is None else PolicyListWatches(connection)
        if list_watches is None:
            raise TypeError("the Kubernetes source needs a connection")
        return KubernetesSource(
            settings,
            frozenset(),
            self.policy,
            list_watches,
            on_stale=self.on_stale,
            network=self._network,
            on_notices=self._use_notices,
            grants=grants,
            on_published=published,
        )

    def _use_notices(self, notices: Notices) -> None:
        log_notices(self._log, self.policy.notices, notices)
        self.policy.notices = notices

    def _namespaces_file(self, source: DirectorySource | KubernetesSource) -> NamespacesFile | None:
        settings = self.settings.policy
        if not isinstance(source, KubernetesSource) or not isinstance(settings, KubernetesSettings) or settings.namespaces_file is None:
            return None
        return NamespacesFile(settings.namespaces_file, settings.namespaces, source.use_namespaces, self._network.run_sync)

    def _use_issuers(self, issuers: "HashTrieMap[str, Issuer]") -> None:
        self.on_issuers(issuers)
        if self._source is not None:
            self._source.use_issuers(frozenset(issuers))
