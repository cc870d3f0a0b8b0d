"""``POLICY_SOURCE=kubernetes``: follows Namespaces and ConfigMaps of an API server, and publishes a version of the policy for each change.

Nothing is published before every list is complete, and every document in them read. After that a version has what is ready: a document
whose new text is not read yet stays as it was. An outage keeps the last version in force, unless there is a limit to its age.

Must not know: how the server is reached (``ListWatches`` brings that), or what is made of a version.
"""

import enum
from collections import deque
from collections.abc import Callable
from itertools import chain
from random import Random
from typing import Any, Final, Protocol, final

import attrs
import trio

from exchanger.assembly.assembler import Assembler
from exchanger.kube.feed import ConfigMapSink, Feed, NamespaceSink, Taking
from exchanger.kube.index import EVERY_NAMESPACE, STEP, PolicyIndex
from exchanger.kube.list_watch import ListWatch
from exchanger.kube.observer import KubernetesObserver
from exchanger.kube.settings import KubernetesSettings
from exchanger.policy.notices import not_enabled, of_snapshot
from exchanger.policy.selection import ConfigMap, Namespace
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.typing import PolicySink
from exchanger.values.entry import Source
from exchanger.values.notice import Notices

GATHER_S: Final = 0.03
"""Seconds in which events gather into one version: what one command applies arrives within a few milliseconds, and nobody notices more."""
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

    ``unread`` are the changes that are in no version yet. ``connected``: the changes of every resource are followed. ``age``: see
    ``KubernetesSource.snapshot_age``. ``named`` has each Namespace that is followed by its name, and whether the right to read it is
    missing.
    """

    namespaces: int
    config_maps: int
    documents: int
    versions: int
    connected: bool
    age: float | None
    named: tuple[tuple[str, bool], ...] = ()
    unread: int = 0


@enum.unique
class _Phase(enum.Enum):
    """What becomes of a version."""

    OPEN = "open"
    """It is published."""
    STALE = "stale"
    """It is not, since what is known is too old."""
    CATCHING_UP = "catching up"
    """Nor is this one: what is known is current again, and has to be read."""
    RECOVERING = "recovering"
    """It is published when it has all of that."""


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
    _assembler: Assembler = attrs.field(init=False)
    # What was said and has not been taken into the index, in its order.
    _untaken: deque[Taking] = attrs.field(factory=deque, init=False, repr=False)
    _nursery: trio.Nursery | None = attrs.field(default=None, init=False)
    _snapshot: PolicySnapshot = attrs.field(default=PolicySnapshot.EMPTY, init=False)
    _news: trio.Event = attrs.field(factory=trio.Event, init=False)
    _phase: _Phase = attrs.field(default=_Phase.CATCHING_UP, init=False)
    _versions: int = attrs.field(default=0, init=False)
    _emptied: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        settings = self.settings
        self._assembler = Assembler(self.issuers)
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
            nursery.start_soon(self._assembler.run)
            nursery.start_soon(self._hand_on)
            await nursery.start(self._publish)
            task_status.started()
            if self.settings.max_staleness > 0:
                await self._watch_age()

    def use_issuers(self, names: frozenset[str]) -> None:
        """Let entries refer to these profiles from now on; what that changes is published as a version."""
        if names != self.issuers:
            self.issuers = self._assembler.issuers = names
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
        for name in before.keys() - after.keys():
            before[name].close()
        if self._nursery is not None:
            for name in after.keys() - before.keys():
                after[name].hurry(self._versions > 0 and self._phase is not _Phase.OPEN)
                self._nursery.start_soon(after[name].run)
        self._said(lambda: self._index.using_named(names))

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
            unread=self._assembler.unread,
        )

    def _namespaces(self) -> Feed[Namespace]:
        list_watch = self.list_watches.namespaces(str(self.settings.namespace_selector))
        sink = NamespaceSink(self._index, self._said)
        return Feed("namespaces", EVERY_NAMESPACE, list_watch, sink, self.observer, self._changed, self.settings, self.random)

    def _config_maps(self, namespace: str) -> Feed[ConfigMap]:
        list_watch = self.list_watches.config_maps(str(self.settings.configmap_selector), namespace)
        sink = ConfigMapSink(self._index, self._said, namespace)
        return Feed("configmaps", namespace, list_watch, sink, self.observer, self._changed, self.settings, self.random)

    def _said(self, taking: Taking) -> None:
        steps = None if self._untaken else taking()
        if self._untaken:
            self._untaken.append(taking)
        elif steps is not None:
            self._untaken.append(lambda: steps)
        self._changed()

    def _changed(self) -> None:
        """Something was said: take it in, and hand it on if everything is known that a version needs."""
        self._news.set()

    async def _hand_on(self) -> None:
        """Take into the index what was said, and give the assembler what that changes, some events at a time."""
        while True:
            await self._news.wait()
            await self._take_in()
            if self._versions and self._phase is _Phase.OPEN and self._index.changed:
                await trio.sleep(GATHER_S)
                await self._take_in()
            self._news = trio.Event()
            if not self._versions and not all(feed.complete for feed in self._feeds):
                continue  # what was said is in the index; as it came, it would pile up for as long as one list cannot be had
            waiting_changed = await self._put_changes()
            if self._phase is _Phase.CATCHING_UP and not (self._untaken or self._index.changed):
                self._phase = _Phase.RECOVERING
                self._assembler.require()
            if waiting_changed and self._versions:
                self.on_notices(self._notices())

    async def _put_changes(self) -> bool:
        """Give the assembler what has changed in the index; return whether others may be waiting there."""
        waiting_changed = False
        withdrawn: dict[Source, None] = {}  # last, so that what moves from one document into another is never gone
        while True:
            waiting_changed |= self._index.waiting_changed  # which taking resets
            documents = self._index.take(STEP)
            if not documents:
                break
            for changed in documents:
                if changed.after is None:
                    withdrawn[changed.source] = None
                else:
                    withdrawn.pop(changed.source, None)
                    self._assembler.put(changed.source, changed.after, again=changed.before == changed.after)
            await trio.lowlevel.checkpoint()
            if self._index.changed:  # or whoever edits would wait until 10,000 documents are handed on to be read again
                await self._take_in()
        for number, source in enumerate(withdrawn, 1):
            self._assembler.put(source, None)
            if number % STEP == 0:
                await trio.lowlevel.checkpoint()
        return waiting_changed

    async def _take_in(self) -> None:
        while self._untaken:
            for _ in self._untaken[0]() or ():
                await trio.lowlevel.checkpoint()
            self._untaken.popleft()

    def _notices(self) -> Notices:
        """Return what a watch shows: near misses of labels it does not, since the server only sends what is selected."""
        settings, known = self.settings, self._index.statistics()
        nothing = tuple(of_snapshot(self._snapshot, settings.where, settings.configmap_selector, emptied=self._emptied))
        waiting = (not_enabled(source, settings.namespace_selector, known=False) for source in self._index.waiting())
        return Notices.of(chain(nothing, waiting), len(nothing) + known.config_maps - known.documents)

    async def _publish(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Publish each version that the assembler has, for as long as what is known is not too old."""
        while True:
            await self._assembler.news()
            if self._phase not in {_Phase.OPEN, _Phase.RECOVERING}:
                continue  # recovery brings its own news
            change = self._assembler.take(anyway=self._phase is _Phase.RECOVERING)
            if change is None:
                continue
            reopened, self._phase = self._phase is _Phase.RECOVERING and self._versions > 0, _Phase.OPEN
            self._versions += 1
            self._snapshot = change.snapshot
            self._emptied = 0 if change.documents else self._emptied + len(change.withdrawn)
            if reopened:
                self._hurry(False)
                self.on_stale(False)
                self.observer.stale(False, 0.0)
            self.sink.publish(change.snapshot)
            self.observer.published(change)
            self.on_notices(self._notices())
            if self._versions == 1:
                task_status.started()

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
                self._phase = _Phase.CATCHING_UP
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
