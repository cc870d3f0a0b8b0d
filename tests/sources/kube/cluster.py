"""A fake API server with Namespaces and ConfigMaps, a source that follows it, and a record of everything that the source says."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Final

import attrs
import structlog
import trio

from exchanger.model.entry import DenyEntry
from exchanger.model.policy_decision import NoMatch, Unhealthy
from exchanger.model.selector import parse_selector
from exchanger.net.network import SYSTEM, RunSync
from exchanger.policy.grants.allowance import NO_GRANTS, Grants
from exchanger.policy.selection import Change, ConfigMap, Namespace
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.sources.kube.list_watch import ApiFailure, FailureKind, Key
from exchanger.sources.kube.settings import KubernetesSettings
from exchanger.sources.kube.source import KubernetesSource, ListWatches
from tests.lines import logger_to
from tests.sources.kube.fake_api_server import FakeApiServer, FakeListWatch, FakeResource, FakeVersions
from tests.waiting import at_once

SELECTED: Final = {"policy": "enabled"}
ENABLED: Final = {"enabled": "true"}
PATIENCE_S: Final = 30.0
REFUSED: Final = ApiFailure(FailureKind.UNREACHABLE, message="connection refused")
# What ``Record.said`` has for each event of the log.
SAID: Final = {
    "policy.source_listed": "listed {objects} {resource}",
    "policy.source_failed": "failed {resource}: {kind}",
    "policy.source_connected": "connected {resource}",
    "policy.source_disconnected": "lost {resource}",
    "policy.source_silent": "silent {resource}",
    "policy.source_rolled_back": "went back {resource}",
    "policy.namespace_unreadable": "unreadable {namespace}: {reason}",
    "policy.namespace_readable": "readable {namespace}",
    "policy.removals_delayed": "held back",
    "policy.removals_applied": "agreed",
    "policy.stale": "stale {age_s:.0f}",
    "policy.fresh": "fresh",
}


def deny(path: str = "/a") -> str:
    return f"version: v1\nentries: [{{match: {{host: h, pathPrefix: {path}}}, action: deny}}]"


@attrs.define(eq=False)
class Cluster:
    """The server; ``obeys`` selectors or, like no real server, gives everything."""

    server: FakeApiServer = attrs.field(factory=FakeApiServer)
    obeys: bool = True
    asked: list[str] = attrs.field(factory=list, init=False)
    _namespaces: FakeResource[Namespace] = attrs.field(init=False)
    _config_maps: FakeResource[ConfigMap] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._namespaces = FakeResource(self.server, "namespaces")
        self._config_maps = FakeResource(self.server, "configmaps")

    def namespaces(self, selector: str, /) -> FakeListWatch[Namespace]:
        self.asked.append(f"namespaces {selector}")
        return self._namespaces.list_watch(selects=self._selects(selector))

    def config_maps(self, selector: str, namespace: str, /) -> FakeListWatch[ConfigMap]:
        self.asked.append(f"configmaps {selector} in {namespace or 'all'}")
        return self._config_maps.list_watch(namespace=namespace if self.obeys else "", selects=self._selects(selector))

    def config_map_versions(self, selector: str, /) -> FakeVersions:
        return self._config_maps.versions(selects=self._selects(selector))

    def config_map(self, selector: str, namespace: str, name: str, /) -> FakeListWatch[ConfigMap]:
        return self._config_maps.list_watch(namespace=namespace, selects=self._selects(selector), only=name)

    def put_namespace(self, name: str, labels: dict[str, str] = SELECTED, uid: str = "") -> None:
        """Create or change it; one that was there before keeps its ``uid``."""
        known = self.server.objects.get(("namespaces", Key("", name)))
        uid = uid or (known.value.uid if known is not None else f"{name}-first")
        self._namespaces.put(name, Namespace(name, tuple(labels.items()), uid), labels=labels)

    def delete_namespace(self, name: str) -> None:
        self._namespaces.delete(name)

    def put(self, namespace: str, name: str, text: str | None = None, labels: dict[str, str] = ENABLED) -> None:
        value = ConfigMap(namespace, name, tuple(labels.items()), deny() if text is None else text)
        self._config_maps.put(name, value, namespace=namespace, labels=labels)

    def delete(self, namespace: str, name: str) -> None:
        self._config_maps.delete(name, namespace=namespace)

    def _selects(self, selector: str) -> Callable[[object], bool]:
        parsed = parse_selector(selector)
        return lambda labels: not self.obeys or parsed.matches(dict(labels))  # type: ignore[call-overload]  # labels, in fact


@attrs.define(eq=False)
class Record:
    """Sink, log and callbacks of a source in one, with everything that happened in its order."""

    run_sync: RunSync = at_once
    said: list[str] = attrs.field(factory=list)
    changes: list[Change] = attrs.field(factory=list)
    snapshots: list[PolicySnapshot] = attrs.field(factory=list)
    _closed: bool = False
    _arrived: trio.Event = attrs.field(factory=trio.Event)

    def publish(self, snapshot: PolicySnapshot, /) -> None:
        self.snapshots.append(snapshot)
        self._say("publish")

    def on_stale(self, stale: bool) -> None:
        self._closed = stale
        self._say("close" if stale else "open")

    def published(self, change: Change, /) -> None:
        self.changes.append(change)
        self._wake()

    def _logged(self, line: structlog.typing.EventDict) -> None:
        self._say(SAID[line["event"]].format_map(line))

    def _say(self, what: str) -> None:
        self.said.append(what)
        self._wake()

    def _wake(self) -> None:
        self._arrived.set()
        self._arrived = trio.Event()

    async def until(self, holds: Callable[[], bool], patience: float = PATIENCE_S) -> None:
        """Wait for something that the source says to make ``holds`` true."""
        with trio.fail_after(patience):
            while not holds():
                await self._arrived.wait()

    def source(
        self, settings: KubernetesSettings, list_watches: ListWatches, random: Random | None = None, grants: Grants = NO_GRANTS
    ) -> KubernetesSource:
        """Return a source that says everything here."""
        return KubernetesSource(
            settings,
            frozenset(),
            self,
            list_watches,
            self.on_stale,
            attrs.evolve(SYSTEM, random=random or Random(), run_sync=self.run_sync),
            grants=grants,
            on_published=self.published,
            log=logger_to(self._logged),
        )

    def decision(self, path: str = "/a") -> type:
        """Return what kind of decision the active policy gives."""
        return type(self.snapshots[-1].match("h", path, "GET"))

    def denies(self, path: str = "/a") -> bool:
        return bool(self.snapshots) and self.decision(path) is DenyEntry

    def passes(self, path: str = "/a") -> bool:
        return bool(self.snapshots) and self.decision(path) is NoMatch

    def is_open(self) -> bool:
        return not self._closed

    def unhealthy(self) -> bool:
        return bool(self.snapshots) and self.decision() is Unhealthy


def source(
    cluster: Cluster,
    record: Record,
    *,
    namespaces: tuple[str, ...] = (),
    max_staleness: float = 0.0,
    seed: int = 7,
    grants: Grants = NO_GRANTS,
) -> KubernetesSource:
    settings = KubernetesSettings(
        parse_selector("policy=enabled"), parse_selector("enabled=true"), namespaces=namespaces, max_staleness=max_staleness
    )
    return record.source(settings, cluster, Random(seed), grants)


@attrs.frozen
class FollowedCluster:
    cluster: Cluster
    record: Record
    source: KubernetesSource


@asynccontextmanager
async def following(
    cluster: Cluster, *, namespaces: tuple[str, ...] = (), max_staleness: float = 0.0, run_sync: RunSync = at_once
) -> AsyncGenerator[FollowedCluster]:
    """Follow ``cluster`` from its first version on; afterwards nothing may be left of it."""
    record = Record(run_sync)
    followed = source(cluster, record, namespaces=namespaces, max_staleness=max_staleness)
    async with trio.open_nursery() as nursery:
        await nursery.start(followed.run)
        yield FollowedCluster(cluster, record, followed)
        nursery.cancel_scope.cancel()
    assert cluster.server.watchers == []
