"""``POLICY_SOURCE=kubernetes``: follows Namespaces and ConfigMaps of an API server, and publishes a version of the policy for each change.

Nothing is published before every list is complete. An outage keeps the last version in force, unless there is a limit to its age.

Must not know: how the server is reached (``ListWatches`` brings that), or what is made of a version.
"""

import enum
from collections.abc import Callable
from itertools import chain
from random import Random
from typing import Any, Final, Protocol, final

import attrs
import trio

from exchanger.kube.feed import ConfigMapSink, Feed, NamespaceSink
from exchanger.kube.index import EVERY_NAMESPACE, Difference, PolicyIndex
from exchanger.kube.list_watch import ListWatch
from exchanger.kube.observer import KubernetesObserver
from exchanger.kube.settings import KubernetesSettings
from exchanger.policy.document import PolicyDocument
from exchanger.policy.notices import not_enabled, of_snapshot
from exchanger.policy.objects import ConfigMap, Namespace
from exchanger.policy.selection import Change
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.typing import PolicySink
from exchanger.values.entry import Source
from exchanger.values.notice import Notices

GATHER_S: Final = 0.03
"""Seconds in which events gather into one version: what one command applies arrives within a few milliseconds, and nobody notices more."""
INLINE_WORK: Final = 2048
"""Characters of documents that are parsed on the event loop: 1 ms, for the worst ones 5, for which a thread would hold it up as well
(https://docs.python.org/3/library/sys.html#sys.setswitchinterval)."""
PART_WORK: Final = 32 * 1024
"""Characters of documents for one turn of the worker thread; for so long, some 75 ms at worst, it may outlive a cancellation.

A document is not divided: one of 1 MiB, the largest that a server keeps, takes up to a second.
"""
LOOK_S: Final = 1.0
"""Seconds between looks at the age of what is known: a limit takes effect so much late at most."""


class ListWatches(Protocol):
    """Makes the requests for each resource; selectors are for the server's side."""

    def namespaces(self, selector: str, /) -> ListWatch[Namespace]:
        """Return what lists and watches Namespaces."""

    def config_maps(self, selector: str, namespace: str, /) -> ListWatch[ConfigMap]:
        """Return what lists and watches the ConfigMaps in ``namespace``, or in every Namespace where that is ""."""


@final
@attrs.frozen
class KubernetesStatistics:
    """``namespaces`` and ``config_maps`` are those selected, ``documents`` those in force; ``versions`` counts what was published.

    ``connected``: the changes of every resource are followed. ``age``: see ``KubernetesSource.snapshot_age``. ``named`` has each Namespace
    that is followed by its name, and whether the right to read it is missing.
    """

    namespaces: int
    config_maps: int
    documents: int
    versions: int
    connected: bool
    age: float | None
    named: tuple[tuple[str, bool], ...] = ()


@enum.unique
class _Phase(enum.Enum):
    """What becomes of a version."""

    OPEN = "open"
    """It is published."""
    STALE = "stale"
    """None is made, since what is known is too old."""
    RECOVERING = "recovering"
    """It is the first one after that."""


@final
@attrs.define(eq=False)
class KubernetesSource:
    """Implements ``typing.PolicySource``. ``issuers`` are the profiles that entries may refer to.

    ``on_stale(True)`` says that nothing may be in force any more, since what is known is older than ``settings.max_staleness``. Nothing is
    published after it until changes are followed again; then ``on_stale(False)`` comes, and the newest version at once. ``on_notices`` is
    told what is probably a mistake, whenever that may have changed. Neither may block or raise.
    """

    settings: KubernetesSettings
    issuers: frozenset[str]
    sink: PolicySink
    observer: KubernetesObserver
    list_watches: ListWatches
    on_stale: Callable[[bool], None] = lambda _stale: None
    random: Random = attrs.field(factory=Random)
    on_notices: Callable[[Notices], None] = lambda _notices: None
    _index: PolicyIndex = attrs.field(init=False)
    _feeds: tuple[Feed[Any], ...] = attrs.field(init=False)
    _nursery: trio.Nursery | None = attrs.field(default=None, init=False)
    _news: trio.Event = attrs.field(factory=trio.Event, init=False)
    _snapshot: PolicySnapshot = attrs.field(default=PolicySnapshot.EMPTY, init=False)
    _phase: _Phase = attrs.field(default=_Phase.OPEN, init=False)
    _versions: int = attrs.field(default=0, init=False)
    _emptied: int = attrs.field(default=0, init=False)
    # One thread at a time: a version starts from the one before it.
    _limiter: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1), init=False)

    def __attrs_post_init__(self) -> None:
        settings = self.settings
        self._index = PolicyIndex(settings.namespace_selector, settings.configmap_selector, frozenset(settings.namespaces))
        self._feeds = tuple(self._config_maps(namespace) for namespace in settings.namespaces) or (
            self._namespaces(),
            self._config_maps(EVERY_NAMESPACE),
        )

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Publish the cluster's policy and each change until cancelled; ``started()`` when the first version is published.

        No failure of the server ends it, and the wait for the first version has no bound but the caller's.
        """
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for feed in self._feeds:
                nursery.start_soon(feed.run)
            await nursery.start(self._publish)
            task_status.started()
            if self.settings.max_staleness > 0:
                await self._watch_age()

    def use_issuers(self, names: frozenset[str]) -> None:
        """Let entries refer to these profiles from now on; what that changes is published as a version."""
        if names != self.issuers:
            self.issuers = names
            self._index.refresh()
            self._changed()

    def use_namespaces(self, names: tuple[str, ...]) -> None:
        """Follow these Namespaces, at least one, instead of those that were named before.

        One that is named no longer takes its policies with it. A new one brings its own when it was listed, and takes nothing away until
        then; but where nothing is in force yet, it is waited for like all others.
        """
        if not names or not all(feed.namespace for feed in self._feeds):
            raise ValueError("Namespaces can be replaced by names only where they are named")
        before = {feed.namespace: feed for feed in self._feeds}
        after = {name: before.get(name) or self._config_maps(name) for name in names}
        self._feeds = tuple(after.values())
        self.settings = attrs.evolve(self.settings, namespaces=names)
        self._index.use_named(names)
        for name in before.keys() - after.keys():
            before[name].close()
        if self._nursery is not None:
            for name in after.keys() - before.keys():
                after[name].hurry(self._phase is _Phase.STALE)
                self._nursery.start_soon(after[name].run)
        self._changed()

    def uid_of(self, source: Source) -> str:
        """Return the ``uid`` of a ConfigMap, "" when it is not there any more."""
        return self._index.uid_of(source)

    def snapshot_age(self) -> float | None:
        """Return the seconds since the last moment at which what is in force was known to be current; ``None`` before the first version.

        It is 0 while the changes of every resource are followed and the server is silent for no longer than servers are. Only to be called
        in a Trio task.
        """
        if not self._versions:
            return None
        now = trio.current_time()
        return now - min(feed.current_until(now) for feed in self._feeds)

    def statistics(self) -> KubernetesStatistics:
        """Return what is known of the cluster; only to be called in a Trio task."""
        known = self._index.statistics()
        return KubernetesStatistics(
            namespaces=known.namespaces,
            config_maps=known.config_maps,
            documents=known.documents,
            versions=self._versions,
            connected=all(feed.is_connected for feed in self._feeds),
            age=self.snapshot_age(),
            named=tuple((feed.namespace, feed.is_unreadable) for feed in self._feeds if feed.namespace),
        )

    def _namespaces(self) -> Feed[Namespace]:
        list_watch = self.list_watches.namespaces(str(self.settings.namespace_selector))
        sink = NamespaceSink(self._index, self._changed)
        return Feed("namespaces", EVERY_NAMESPACE, list_watch, sink, self.observer, self._changed, self.settings, self.random)

    def _config_maps(self, namespace: str) -> Feed[ConfigMap]:
        list_watch = self.list_watches.config_maps(str(self.settings.configmap_selector), namespace)
        sink = ConfigMapSink(self._index, self._changed, namespace)
        return Feed("configmaps", namespace, list_watch, sink, self.observer, self._changed, self.settings, self.random)

    def _changed(self) -> None:
        """Something was said: wake the publisher if there may be something to publish, and everything is known that it needs."""
        changed = self._index.changed or self._index.waiting_changed or not self._versions
        if changed and (self._versions or all(feed.complete for feed in self._feeds)):
            self._news.set()

    async def _publish(self, *, task_status: trio.TaskStatus[None]) -> None:
        await self._news.wait()
        await self._make_version()
        task_status.started()
        while True:
            await self._news.wait()
            await trio.sleep(GATHER_S)
            await self._make_version()

    async def _make_version(self) -> None:
        """Publish the version that the index has now, unless it is the one that is in force already."""
        self._news = trio.Event()
        phase = self._phase
        if phase is _Phase.STALE:
            return  # recovery brings its own news
        difference = self._index.take()
        change = await self._advance(difference)
        if self._phase is not phase:
            self._index.give_back(difference)  # too old in the meantime
            return
        if self._versions and phase is _Phase.OPEN and not (change.documents or change.withdrawn):
            self.on_notices(self._notices())
            return
        self._emptied = len(change.withdrawn) or self._emptied if not change.snapshot.documents else 0
        self._snapshot = change.snapshot
        self._versions += 1
        if phase is _Phase.RECOVERING:
            self._phase = _Phase.OPEN
            self._hurry(False)
            self.on_stale(False)
            self.observer.stale(False, 0.0)
        self.sink.publish(change.snapshot)
        self.observer.published(change)
        self.on_notices(self._notices())

    def _notices(self) -> Notices:
        """Return what a watch shows: near misses of labels it does not, since the server only sends what is selected."""
        settings, known = self.settings, self._index.statistics()
        nothing = tuple(of_snapshot(self._snapshot, settings.where, settings.configmap_selector, emptied=self._emptied))
        waiting = (not_enabled(source, settings.namespace_selector, known=False) for source in self._index.waiting())
        return Notices.of(chain(nothing, waiting), len(nothing) + known.config_maps - known.documents)

    async def _advance(self, difference: Difference) -> Change:
        if difference.work <= INLINE_WORK:
            return difference.advance(self._snapshot, self.issuers)
        snapshot = self._snapshot
        documents: list[PolicyDocument] = []
        withdrawn: list[Source] = []
        for part in difference.parts(PART_WORK):
            # Abandoned when cancelled: it only reads, and what it made is dropped.
            change = await trio.to_thread.run_sync(part.advance, snapshot, self.issuers, abandon_on_cancel=True, limiter=self._limiter)
            snapshot = change.snapshot
            documents += change.documents
            withdrawn += change.withdrawn
        return Change(snapshot, tuple(documents), tuple(withdrawn))

    async def _watch_age(self) -> None:
        """Close when what is known has become too old; make ready to open when changes are followed at two looks in a row.

        At the first one the events that were missed may still be on their way.
        """
        current = False
        while True:
            await trio.sleep(LOOK_S)
            age = self.snapshot_age() or 0.0
            followed = age <= self.settings.max_staleness and all(feed.is_connected for feed in self._feeds if feed.complete)
            if age > self.settings.max_staleness:
                self._close(age)
            elif followed and current and self._phase is _Phase.STALE:
                self._phase = _Phase.RECOVERING
                self._news.set()
            current = followed

    def _hurry(self, hurried: bool) -> None:  # noqa: FBT001 - the one thing there is to say
        for feed in self._feeds:
            feed.hurry(hurried)

    def _close(self, age: float) -> None:
        before, self._phase = self._phase, _Phase.STALE
        if before is _Phase.OPEN:
            self.on_stale(True)
            self.observer.stale(True, age)
            self._hurry(True)
