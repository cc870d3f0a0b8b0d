"""``POLICY_SOURCE=kubernetes``: follows Namespaces and ConfigMaps of an API server, and publishes a version of the policy for each change.

Nothing is published before every list is complete and every document read. Later versions contain what is ready: a document whose new text
is not parsed yet stays unchanged. An outage keeps the last active version, unless its age is limited. While a feed is behind, nothing
loosens what was active before (see ``publish.machine``); a feed that connects again ends the waits of the others.
"""

import math
from collections.abc import Callable, Collection
from functools import partial
from itertools import chain
from typing import Any, Final, Protocol, TypeVar, final

import attrs
import structlog
import trio

from exchanger.model.entry import Source
from exchanger.model.notice import Notices
from exchanger.net.network import SYSTEM, Network
from exchanger.policy.current import PolicySink
from exchanger.policy.grants.allowance import NO_GRANTS, Grants
from exchanger.policy.notices import not_enabled, of_snapshot
from exchanger.policy.selection import Change, ConfigMap, DocumentText, Namespace
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.sources.kube.catch_up import CatchUp
from exchanger.sources.kube.index import EVERY_NAMESPACE, STEP, PolicyIndex
from exchanger.sources.kube.informer import Informer
from exchanger.sources.kube.list_watch import Key, Lister, ListWatch
from exchanger.sources.kube.refetch import Refetch
from exchanger.sources.kube.settings import KubernetesSettings
from exchanger.sources.kube.ungranted import Ungranted
from exchanger.sources.publish.machine import Machine
from exchanger.sources.publish.runner import Runner

T = TypeVar("T")

# Seconds in which events are collected for one version: those of one command arrive within milliseconds, and nobody notices the delay.
GATHER_S: Final = 0.03
# Seconds between looks at how much each feed knows.
LOOK_S: Final = 1.0
# The same while one of them is behind.
AGREE_S: Final = 0.1
# Seconds for which that is not worth a warning while every feed is followed, and only what a Namespace's event may have overtaken is
# waited for.
UNSAID_S: Final = 5.0
# Seconds for which the first version waits for all feeds to know everything once everything is listed: accepting a watch may take half of
# them. A feed that may list but not watch never does.
FIRST_S: Final = 60.0
# The feed that is behind while ConfigMaps may not have caught up with the events of Namespaces.
ORDER: Final = "order"


class ListWatches(Protocol):
    """Makes the requests for each resource; the server applies the selectors."""

    def namespaces(self, selector: str, /) -> ListWatch[Namespace]:
        """Return what lists and watches Namespaces."""

    def config_maps(self, selector: str, namespace: str, /) -> ListWatch[ConfigMap]:
        """Return what lists and watches the ConfigMaps in ``namespace``, or in every Namespace where that is ""."""

    def config_map_versions(self, selector: str, /) -> Lister[bool]:
        """Return what lists the names and versions of the ConfigMaps in every Namespace."""

    def config_map(self, selector: str, namespace: str, name: str, /) -> Lister[ConfigMap]:
        """Return what lists one ConfigMap, if it is selected."""


@final
@attrs.define(eq=False)
class KubernetesSource:
    """Publishes complete snapshots. ``issuers`` are the profiles that entries may refer to, ``grants`` those that restrict documents.

    ``on_stale(True)`` means that nothing may be active any longer: the known state is older than ``settings.max_staleness``. Nothing is
    published until changes are followed again; then ``on_stale(False)`` is called, and the newest version published at once. ``on_notices``
    receives the probable mistakes whenever they may have changed, and ``on_published`` each version that differs. None may block or raise.
    """

    settings: KubernetesSettings
    issuers: frozenset[str]
    sink: PolicySink
    list_watches: ListWatches
    on_stale: Callable[[bool], None] = lambda _stale: None
    network: Network = SYSTEM
    on_notices: Callable[[Notices], None] = lambda _notices: None
    grants: Grants = NO_GRANTS
    on_published: Callable[[Change], None] = lambda _change: None
    _log: structlog.stdlib.BoundLogger = attrs.field(factory=structlog.get_logger)
    index: PolicyIndex = attrs.field(init=False)
    _informers: tuple[Informer[Any], ...] = attrs.field(init=False)
    # Whether ConfigMaps have caught up with the events of Namespaces. ``None`` where Namespaces are named: there are no events.
    _catch_up: CatchUp | None = attrs.field(default=None, init=False)
    _refetch: Refetch = attrs.field(init=False)
    runner: Runner = attrs.field(init=False)
    _nursery: trio.Nursery | None = attrs.field(default=None, init=False)
    _snapshot: PolicySnapshot = attrs.field(default=PolicySnapshot.EMPTY, init=False)
    _published: trio.Event = attrs.field(factory=trio.Event, init=False)
    _emptied: int = attrs.field(default=0, init=False)
    _news: trio.Event = attrs.field(factory=trio.Event, init=False)
    # The feeds from which the news is.
    _reporters: set[str] = attrs.field(factory=set, init=False)
    # When every list was complete for the first time; the first version comes once no feed is behind that.
    _complete_at: float = attrs.field(default=math.inf, init=False)
    # Since when something waits for feeds that are behind, and whether that was reported.
    _held_since: float = attrs.field(default=math.inf, init=False)
    _is_reported: bool = attrs.field(default=False, init=False)
    _ungranted: Ungranted = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        settings, network = self.settings, self.network
        self.index = PolicyIndex(
            settings.namespace_selector, settings.configmap_selector, frozenset(settings.namespaces), with_labels=self.grants.limited
        )
        config_map = partial(self.list_watches.config_map, str(settings.configmap_selector))
        self._refetch = Refetch(self.index.config_maps, config_map, self._overtaken, self._config_maps_changed)
        self._informers = tuple(self._config_maps(namespace) for namespace in settings.namespaces) or self._whole_cluster()
        self._ungranted = Ungranted(self.grants, self._notify, network.run_sync)
        machine = Machine(tuple(map(_name_of, self._informers)), self.issuers, PolicySnapshot(self.grants), settings.max_staleness)
        self.runner = Runner(machine, self._publish, self._close, self._hold_back, network.run_sync, network.cpu)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Publish the cluster's policy and each change until cancelled; ``started()`` once the first version is published.

        No failure of the server ends it. Only the caller bounds the wait for the first version.
        """
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._hurry(True)
            for informer in self._informers:
                nursery.start_soon(informer.run)
            nursery.start_soon(self._refetch.run)
            if self._catch_up is not None:
                nursery.start_soon(self._catch_up.run)
            nursery.start_soon(self.runner.run)
            nursery.start_soon(self._report)
            nursery.start_soon(self._look)
            nursery.start_soon(self._ungranted.run)
            await self._published.wait()
            task_status.started()

    def use_issuers(self, names: frozenset[str]) -> None:
        """Let entries refer to these profiles from now on; publish a version if that changes anything."""
        self.issuers = names
        self.runner.do(self._machine.use_issuers(names, trio.current_time()))

    def use_grants(self, grants: Grants) -> None:
        """Check all documents against ``grants`` from now on. There must have been some from the start."""
        self.grants = grants
        self.runner.do(self._machine.granted(grants, trio.current_time()))
        self._ungranted.use(grants, self.index.selected())

    def use_namespaces(self, names: tuple[str, ...]) -> None:
        """Follow these Namespaces, at least one, instead of those named before.

        The policies of a Namespace that is no longer named are removed. A new one adds its own once it is listed, and until then affects
        nothing; but the first version waits for it like for all others.
        """
        if not names or not all(informer.namespace for informer in self._informers):
            raise ValueError("Namespaces can be replaced by names only where they are named")
        before = {informer.namespace: informer for informer in self._informers}
        after = {name: before.get(name) or self._config_maps(name) for name in names}
        self._informers = tuple(after.values())
        self.settings = attrs.evolve(self.settings, namespaces=names)
        now = trio.current_time()
        for name in before.keys() - after.keys():
            before[name].close()
            del self.index.config_maps[name]
            self.runner.do(self._machine.caught_up(_name_of(before[name]), now))
        for name in after.keys() - before.keys():
            self.runner.do(self._machine.fell_behind(_name_of(after[name]), -math.inf, now))
            if self._nursery is not None:
                after[name].reflector.hurry(not self._machine.is_open)
                self._nursery.start_soon(after[name].run)
        self.index.use_named(names)
        self._reporters.add("")  # no feed has reported that
        self._wake()

    def retry_now(self) -> None:
        """End the waits of all feeds: there is reason to believe that their next attempts succeed."""
        for informer in self._informers:
            informer.reflector.retry_now()
        if self._catch_up is not None:
            self._catch_up.retry_now()

    def snapshot_age(self) -> float | None:
        """Return the seconds since the known state was last known to be current; ``None`` before the first version. Needs a Trio task.

        It is 0 while the changes of every resource are followed and the server is silent for no longer than servers are.
        """
        if not self._published.is_set():
            return None
        now = trio.current_time()
        return now - min(informer.current_until(now) for informer in self._informers)

    @property
    def is_connected(self) -> bool:
        """Whether the changes of every resource are followed."""
        return all(informer.reflector.connected for informer in self._informers)

    @property
    def named(self) -> tuple[tuple[str, bool], ...]:
        """The name of each Namespace that is followed on its own, and whether the right to read it is missing."""
        return tuple((informer.namespace, informer.is_unreadable) for informer in self._informers if informer.namespace)

    @property
    def unread(self) -> int:
        """How many changes are in no version yet."""
        return self._machine.unread

    @property
    def _machine(self) -> Machine:
        return self.runner.machine

    def _whole_cluster(self) -> tuple[Informer[Any], ...]:
        namespaces, config_maps = self._namespaces(), self._config_maps(EVERY_NAMESPACE)
        versions = self.list_watches.config_map_versions(str(self.settings.configmap_selector))
        store, settings, random = config_maps.reflector.store, self.settings.reflector, self.network.random
        self._catch_up = CatchUp(versions, store, settings, random, config_maps.failed, self._wake)
        return namespaces, config_maps

    def _namespaces(self) -> Informer[Namespace]:
        list_watch = self.list_watches.namespaces(str(self.settings.namespace_selector))
        made = self._informer("namespaces", EVERY_NAMESPACE, list_watch, self._namespaces_changed, self.settings)
        self.index.namespaces = made.reflector.store
        return made

    def _config_maps(self, namespace: str) -> Informer[ConfigMap]:
        list_watch = self.list_watches.config_maps(str(self.settings.configmap_selector), namespace)
        changed, settings = partial(self._config_maps_changed, namespace), self.settings.within(self.grants.limits)
        made = self._informer("configmaps", namespace, list_watch, changed, settings)
        self.index.config_maps[namespace] = made.reflector.store
        return made

    def _informer(
        self,
        resource: str,
        namespace: str,
        list_watch: ListWatch[T],
        changed: Callable[[Collection[Key] | None], None],
        settings: KubernetesSettings,
    ) -> Informer[T]:
        return Informer(resource, namespace, list_watch, changed, settings, self.network.random, self.retry_now, self._log)

    def _namespaces_changed(self, keys: Collection[Key] | None) -> None:
        self.index.namespaces_changed(keys)
        if keys and not self._published.is_set():  # an event that may have overtaken the first list of ConfigMaps
            self._overtaken()
        self._reported("namespaces", EVERY_NAMESPACE)

    def _config_maps_changed(self, scope: str, keys: Collection[Key] | None) -> None:
        self.index.config_maps_changed(scope, keys)
        if self._catch_up is not None:
            self._catch_up.store_changed(keys)
        self._refetch.look()
        self._reported("configmaps", scope)

    def _reported(self, resource: str, namespace: str) -> None:
        self._reporters.add(_name(resource, namespace))
        self._wake()

    def _overtaken(self) -> None:
        if self._catch_up is not None:
            self._catch_up.fall_behind()

    def _wake(self) -> None:
        self._news.set()

    async def _look(self) -> None:
        """Look at the feeds from time to time: that they know everything, or no longer do, is no event."""
        while True:
            await trio.sleep(AGREE_S if self._machine.behind else LOOK_S)
            self._report_held()
            self._wake()

    async def _report(self) -> None:
        """Report to the machine what changes, and how much each feed knows, once everything is listed."""
        while True:
            await self._news.wait()
            self._news = trio.Event()
            if self._machine.is_open and self.index.changed:
                await trio.sleep(GATHER_S)
            now = trio.current_time()
            if not self._is_complete(now):
                continue
            known_until = self._known_until(now)  # before anything is looked at, or it might include what comes later
            texts = await self._changes()
            labels, reporters, self._reporters = self.index.take_relabelled(), self._reporters, set()
            await trio.lowlevel.checkpoint()
            self._report_losses()
            if texts or labels:
                self.runner.do(self._machine.applied(texts, trio.current_time(), labels, feeds=reporters or ("",)))
                self._ungranted.describe(labels)
            for feed, until in known_until.items():
                await trio.lowlevel.checkpoint()
                self._report_progress(feed, until, now)
            if self.index.waiting_changed:
                self._notify()

    def _is_complete(self, now: float) -> bool:
        """Return whether everything has been listed that the first version needs."""
        is_complete = self._published.is_set() or all(informer.complete for informer in self._informers)
        self._complete_at = min(self._complete_at, now) if is_complete else math.inf
        return is_complete

    def _known_until(self, now: float) -> dict[str, float]:
        """Return until when each feed is sure to know everything that others need."""
        is_late = self._is_late(now)
        known = {_name_of(informer): now if is_late else self._knows_until(informer, now) for informer in self._informers}
        return {**known, ORDER: -math.inf if self._is_out_of_order(now) else now}

    def _is_late(self, now: float) -> bool:
        """Return whether the first version has waited for feeds that are behind for long enough."""
        return not self._published.is_set() and now >= self._complete_at + FIRST_S

    def _is_out_of_order(self, now: float) -> bool:
        """Return whether ConfigMaps may not have caught up with the events of Namespaces."""
        return self._catch_up is not None and self._catch_up.is_behind and not self._is_late(now)

    @staticmethod
    def _knows_until(informer: Informer[Any], now: float) -> float:
        """Return until when a feed is sure to know everything. One that may not be read and never was is not waited for."""
        if not informer.complete and informer.is_unreadable:
            return now
        return min(informer.reflector.caught_up_until(now), informer.current_until(now))

    async def _changes(self) -> dict[Source, DocumentText | None]:
        """Take what has changed, some objects at a time."""
        texts: dict[Source, DocumentText | None] = {}
        while True:
            for _ in self.index.settle():
                await trio.lowlevel.checkpoint()
            self._fall_behind()
            self._confirm()
            taken = self.index.take(STEP)
            for source in taken:
                texts.pop(source, None)
            texts |= taken
            if not self.index.changed:
                return texts
            await trio.lowlevel.checkpoint()

    def _fall_behind(self) -> None:
        """Check whether Namespaces have removed something that ConfigMaps may not have caught up with."""
        loosened = self.index.take_loosened()
        replaced = [namespace for namespace, is_replaced in loosened.items() if is_replaced]
        # Also for a Namespace without known documents: those that it had may be on their way.
        if self._catch_up is not None and (replaced or (self._published.is_set() and loosened)):
            self._catch_up.fall_behind(replaced)

    def _confirm(self) -> None:
        """Activate the ConfigMaps of Namespaces that took the names of others, once those of the others are gone."""
        for namespace in tuple(self.index.unconfirmed):
            if self._catch_up is not None and not self._catch_up.is_replaced(namespace):
                self.index.confirm(namespace)

    def _report_losses(self) -> None:
        """Report the feeds that may not know everything any longer."""
        machine, now = self._machine, trio.current_time()
        for informer in self._informers:
            until = self._knows_until(informer, now)
            if until < now and _name_of(informer) not in machine.behind:
                self.runner.do(machine.fell_behind(_name_of(informer), until, now))
        if ORDER not in machine.behind and self._is_out_of_order(now):
            self.runner.do(machine.fell_behind(ORDER, -math.inf, now))

    def _report_progress(self, feed: str, until: float, now: float) -> None:
        """Report how much a feed knows: all that it knew at the time ``now`` has been reported."""
        machine = self._machine
        if feed not in machine.behind or (feed == ORDER and self._is_out_of_order(now)):
            return
        at = trio.current_time()
        self.runner.do(machine.caught_up(feed, at) if until >= now else machine.passed(feed, until, at))

    def _notify(self) -> None:
        if self._published.is_set():
            self.on_notices(self._notices())

    def _notices(self) -> Notices:
        """Return what a watch shows. Near misses of labels are not included: the server sends only selected objects."""
        settings = self.settings
        nothing = tuple(of_snapshot(self._snapshot, settings.where, settings.configmap_selector, emptied=self._emptied))
        ungranted = self._ungranted.count
        self.index.waiting_changed = False
        waiting = (not_enabled(source, settings.namespace_selector, known=False) for source in self.index.waiting)
        return Notices.of(chain(nothing, self._ungranted.notices(), waiting), len(nothing) + ungranted + len(self.index.waiting))

    def _publish(self, change: Change, reopens: bool) -> None:  # noqa: FBT001 - the runner's signature
        is_first, self._snapshot = not self._published.is_set(), change.snapshot
        if is_first or reopens:
            self._hurry(False)
        if reopens:
            self.on_stale(False)
            self._log.info("policy.fresh")
        self.sink.publish(change.snapshot)
        self._published.set()
        if is_first or reopens or change.documents or change.removed:
            self._emptied = 0 if change.documents else self._emptied + len(change.removed)
            self.on_published(change)
            self._notify()

    def _close(self, known_until: float) -> None:
        self._is_reported, self._held_since = False, math.inf
        self.on_stale(True)
        age = trio.current_time() - known_until
        self._log.error("policy.stale", age_s=round(age, 1), text="every check is refused until the API server is reachable")
        self._hurry(True)

    def _hold_back(self, held: bool) -> None:  # noqa: FBT001 - the runner's signature
        self._held_since = trio.current_time() if held else math.inf
        if self._is_reported and not held:
            self._is_reported = False
            self._log.info("policy.removals_applied")
        self._report_held()

    def _report_held(self) -> None:
        """Report once that changes wait: when a feed is not followed, or after a while."""
        now = trio.current_time()
        is_followed = all(self._knows_until(informer, now) >= now for informer in self._informers)
        if self._held_since < math.inf and not self._is_reported and (not is_followed or now >= self._held_since + UNSAID_S):
            self._is_reported = True
            text = (
                "not all resources are followed, or ConfigMaps are late: what policies no longer deny or exchange stays active until all "
                "are up to date"
            )
            self._log.warning("policy.removals_delayed", text=text)

    def _hurry(self, hurried: bool) -> None:  # noqa: FBT001 - a setter
        for informer in self._informers:
            informer.reflector.hurry(hurried)


def _name_of(informer: Informer[Any]) -> str:
    return _name(informer.resource, informer.namespace)


def _name(resource: str, namespace: str) -> str:
    """Return the name of a feed."""
    return f"{resource} {namespace}"
