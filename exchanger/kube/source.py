"""``POLICY_SOURCE=kubernetes``: follows Namespaces and ConfigMaps of an API server, and publishes a version of the policy for each change.

Nothing is published before every list is complete and every document read. Later versions contain what is ready: a document whose new text
is not parsed yet stays unchanged. An outage keeps the last version in force, unless its age is limited. While a feed is behind, nothing
loosens what was in force before (see ``assembly.held_versions``); a feed that connects again ends the waits of the others.
"""

import enum
import math
from collections.abc import Callable, Collection
from functools import partial
from itertools import chain
from typing import Any, Final, Protocol, TypeVar, final

import attrs
import structlog
import trio
from rpds import HashTrieMap

from exchanger.assembly.assembler import INLINE_AREAS, Assembler
from exchanger.assembly.held_versions import HeldVersions
from exchanger.kube.catch_up import CatchUp
from exchanger.kube.index import EVERY_NAMESPACE, STEP, PolicyIndex
from exchanger.kube.informer import Informer
from exchanger.kube.list_watch import Key, Lister, ListWatch
from exchanger.kube.refetch import Refetch
from exchanger.kube.settings import KubernetesSettings
from exchanger.net.network import SYSTEM, Network
from exchanger.policy.grants.allowance import NO_GRANTS, Grants
from exchanger.policy.notices import not_enabled, of_allowance, of_snapshot
from exchanger.policy.revocation import Revocation
from exchanger.policy.selection import Change, ConfigMap, Namespace
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.typing import PolicySink
from exchanger.values.entry import Source
from exchanger.values.notice import Notice, Notices

T = TypeVar("T")

# Seconds in which events are collected for one version: those of one command arrive within milliseconds, and nobody notices the delay.
GATHER_S: Final = 0.03
# Namespaces whose grants are looked at in one step: each costs a microsecond per grant.
GRANTS_STEP: Final = 10
# Seconds between checks of the age of the known state: a limit takes effect at most so much late.
LOOK_S: Final = 1.0
# Seconds between checks whether all feeds have caught up, while anything waits for that.
AGREE_S: Final = 0.1
# Seconds for which that is not worth a warning while every feed is followed, and only what a Namespace's event may have overtaken is
# waited for.
UNSAID_S: Final = 5.0
# Seconds for which the first version waits for that once everything is listed: accepting a watch may take half of them. A feed that may
# list but not watch never catches up.
FIRST_S: Final = 60.0


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


@enum.unique
class _Phase(enum.Enum):
    """The state of a version."""

    # It is published.
    OPEN = "open"
    # It is not published: the known state is too old.
    STALE = "stale"
    # Not published either: the known state is current again, and must be read.
    CATCHING_UP = "catching up"
    # It is published once all of that was read.
    RECOVERING = "recovering"


@final
@attrs.define(eq=False)
class KubernetesSource:
    """Publishes complete snapshots. ``issuers`` are the profiles that entries may refer to, ``grants`` those that restrict documents.

    ``on_stale(True)`` means that nothing may be in force any longer: the known state is older than ``settings.max_staleness``. Nothing is
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
    _assembler: Assembler = attrs.field(init=False)
    # Documents to read again, since other profiles are known than when they were read.
    _to_reread: list[Source] = attrs.field(factory=list, init=False, repr=False)
    _nursery: trio.Nursery | None = attrs.field(default=None, init=False)
    _snapshot: PolicySnapshot = attrs.field(default=PolicySnapshot.EMPTY, init=False)
    _news: trio.Event = attrs.field(factory=trio.Event, init=False)
    # Namespaces or grants differ from those that ``_follow_grants`` looked at.
    _described: trio.Event = attrs.field(factory=trio.Event, init=False)
    _phase: _Phase = attrs.field(default=_Phase.CATCHING_UP, init=False)
    _published: bool = attrs.field(default=False, init=False)
    _emptied: int = attrs.field(default=0, init=False)
    _held_while_behind: HeldVersions = attrs.field(init=False)
    # When the last version was published.
    _taken_at: float = attrs.field(default=-math.inf, init=False)
    # Until when everything that each feed knew has been passed on to the assembler.
    _passed_on: float = attrs.field(default=-math.inf, init=False)
    # Whether ConfigMaps have caught up with the events of Namespaces. ``None`` where Namespaces are named: there are no events.
    _catch_up: CatchUp | None = attrs.field(default=None, init=False)
    _refetch: Refetch = attrs.field(init=False)
    # When every list was complete for the first time; the first version comes once no feed is behind that.
    _complete_at: float = attrs.field(default=math.inf, init=False)
    _waits: trio.Event = attrs.field(factory=trio.Event, init=False)
    # Since when versions are held, and whether that was reported.
    _held_since: float = attrs.field(default=math.inf, init=False)
    _is_reported: bool = attrs.field(default=False, init=False)
    # Until when everything was passed on and read that held versions wait for; ``None`` if no version without them is to be published.
    _release_until: float | None = attrs.field(default=None, init=False)
    # The grants of the held versions, those that they are to have, and the cut that applies to them at each look-up until then.
    _next_held_grants: Grants = attrs.field(default=NO_GRANTS, init=False)
    _held_revocation: Revocation | None = attrs.field(default=None, init=False, repr=False)
    _regranted: trio.Event = attrs.field(factory=trio.Event, init=False)
    # What each Namespace is granted less than it seems, according to ``_grants_seen``.
    _ungranted: dict[str, tuple[Notice, ...]] = attrs.field(factory=dict, init=False, repr=False)
    _grants_seen: Grants = attrs.field(default=NO_GRANTS, init=False)

    def __attrs_post_init__(self) -> None:
        settings = self.settings
        self._held_while_behind = HeldVersions(settings.max_staleness)
        self._next_held_grants = self.grants
        self._assembler = Assembler(self.issuers, self.grants, run_sync=self.network.run_sync, cpu=self.network.cpu)
        self.index = PolicyIndex(
            settings.namespace_selector, settings.configmap_selector, frozenset(settings.namespaces), with_labels=self.grants.limited
        )
        config_map = partial(self.list_watches.config_map, str(settings.configmap_selector))
        self._refetch = Refetch(self.index.config_maps, config_map, self._overtaken, self._config_maps_changed)
        self._informers = tuple(self._config_maps(namespace) for namespace in settings.namespaces) or self._whole_cluster()

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
            nursery.start_soon(self._assembler.run)
            nursery.start_soon(self._hand_on)
            nursery.start_soon(self._agree)
            nursery.start_soon(self._follow_grants)
            nursery.start_soon(self._hold_against_grants)
            await nursery.start(self._publish)
            task_status.started()
            if self.settings.max_staleness > 0:
                await self._watch_age()

    def use_issuers(self, names: frozenset[str]) -> None:
        """Let entries refer to these profiles from now on; publish a version if that changes anything."""
        if names != self.issuers:
            self.issuers = self._assembler.issuers = names
            self._to_reread = list(self._assembler.sources())
            self._news.set()

    def use_grants(self, grants: Grants) -> None:
        """Check all documents against ``grants`` from now on. There must have been some from the start."""
        self.grants = grants
        self._assembler.use_grants(grants)
        self._news.set()

    def use_namespaces(self, names: tuple[str, ...]) -> None:
        """Follow these Namespaces, at least one, instead of those named before.

        The policies of a Namespace that is no longer named are withdrawn. A new one adds its own once it is listed, and until then affects
        nothing; but the first version waits for it like for all others.
        """
        if not names or not all(informer.namespace for informer in self._informers):
            raise ValueError("Namespaces can be replaced by names only where they are named")
        before = {informer.namespace: informer for informer in self._informers}
        after = {name: before.get(name) or self._config_maps(name) for name in names}
        self._informers = tuple(after.values())
        self.settings = attrs.evolve(self.settings, namespaces=names)
        for name in before.keys() - after.keys():
            before[name].close()
            del self.index.config_maps[name]
        if self._nursery is not None:
            for name in after.keys() - before.keys():
                after[name].reflector.hurry(self._phase is not _Phase.OPEN)
                self._nursery.start_soon(after[name].run)
        self.index.use_named(names)
        self._news.set()

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
        if not self._published:
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
        return self._assembler.unread

    def _whole_cluster(self) -> tuple[Informer[Any], ...]:
        namespaces, config_maps = self._namespaces(), self._config_maps(EVERY_NAMESPACE)
        versions = self.list_watches.config_map_versions(str(self.settings.configmap_selector))
        store, settings, random = config_maps.reflector.store, self.settings.reflector, self.network.random
        self._catch_up = CatchUp(versions, store, settings, random, config_maps.failed, self._wake)
        return namespaces, config_maps

    def _namespaces(self) -> Informer[Namespace]:
        list_watch = self.list_watches.namespaces(str(self.settings.namespace_selector))
        made = self._informer("namespaces", EVERY_NAMESPACE, list_watch, self.index.namespaces_changed, self.settings)
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
        def report(keys: Collection[Key] | None) -> None:
            changed(keys)
            self._wake()

        return Informer(resource, namespace, list_watch, report, settings, self.network.random, self.retry_now, self._log)

    def _config_maps_changed(self, scope: str, keys: Collection[Key] | None) -> None:
        self.index.config_maps_changed(scope, keys)
        if self._catch_up is not None:
            self._catch_up.store_changed(keys)
        self._refetch.look()
        self._wake()

    def _overtaken(self) -> None:
        if self._catch_up is not None:
            self._catch_up.fall_behind()

    def _wake(self) -> None:
        self._news.set()

    async def _hand_on(self) -> None:
        """Pass on to the assembler what changes, some events at a time, if everything is known that a version needs."""
        while True:
            await self._news.wait()
            self._news = trio.Event()
            now = trio.current_time()
            caught_up_until = self._caught_up_until(now)  # before anything is looked at, or it might include what comes later
            is_known = self._published or self._is_known(caught_up_until, now)
            if self._published and self._phase is _Phase.OPEN and self.index.changed:
                await trio.sleep(GATHER_S)
            if not is_known:
                continue
            await self._settle()
            self._confirm()
            with self._assembler.putting():
                await self._put_changes()
            self._passed_on = caught_up_until
            if self._phase is _Phase.CATCHING_UP and not (self.index.changed or self._to_reread):
                self._phase = _Phase.RECOVERING
                self._assembler.require()
            self._described.set()
            if self.index.waiting_changed and self._published:
                self.on_notices(self._notices())

    async def _put_changes(self) -> None:
        """Pass on to the assembler what changed."""
        withdrawn: dict[Source, None] = {}  # last, so that an entry that moves between documents is never gone
        while True:
            await self._settle()
            waits = self._held_while_behind.is_full  # all but new documents
            changed = self.index.take(STEP, (lambda source: not self._assembler.has(source)) if waits else None)
            for source in changed:
                withdrawn.pop(source, None)
                document = self.index.document(source)
                if document is not None and not self._assembler.says(source, document):
                    self._assembler.put(source, document)
                elif document is None and self._assembler.has(source):
                    withdrawn[source] = None
            reread, self._to_reread = ((), self._to_reread) if waits else (self._to_reread[-STEP:], self._to_reread[:-STEP])
            for source in reread:
                if (document := self.index.document(source)) is not None:
                    self._assembler.put(source, document, reread=True)
            if not (changed or reread):
                break
            await trio.lowlevel.checkpoint()
        await self._assembler.withdraw(withdrawn)

    async def _settle(self) -> None:
        for _ in self.index.settle(self._assembler.sources):
            await trio.lowlevel.checkpoint()
        loosened = self.index.take_loosened()
        replaced = [namespace for namespace, is_replaced in loosened.items() if is_replaced]
        if self._catch_up is not None and (replaced or (self._published and any(map(self._may_have_documents, loosened)))):
            self._catch_up.fall_behind(replaced)

    def _may_have_documents(self, namespace: str) -> bool:
        """Return whether a Namespace has documents; while ConfigMaps are behind, those of any may be on their way."""
        is_behind = self._catch_up is not None and self._catch_up.is_behind
        return is_behind or next(iter(self._assembler.sources(namespace)), None) is not None

    async def _follow_grants(self) -> None:
        """Compute what grants give to Namespaces whenever either has changed, concurrently: nothing waits for it."""
        while True:
            await self._described.wait()
            self._described = trio.Event()
            if await self._look_at_grants() and self._published:
                self.on_notices(self._notices())

    async def _look_at_grants(self) -> bool:
        """Find items of the grants that give nothing to Namespaces that are new or changed; return whether there may be a difference."""
        relabelled, grants = self.index.take_relabelled(), self.grants
        described = relabelled if grants is self._grants_seen else {**relabelled, **self.index.selected()}
        self._grants_seen = grants
        changed = False
        for number, (namespace, labels) in enumerate(described.items(), 1):
            found: tuple[Notice, ...] = ()
            if labels is not None and grants.area_count(namespace, labels) <= INLINE_AREAS:
                found = tuple(of_allowance(grants, namespace, labels))
            elif labels is not None:
                found = await self.network.run_sync(lambda: tuple(of_allowance(grants, namespace, labels)), abandon_on_cancel=True)  # noqa: B023 - awaited
            changed |= self._ungranted.pop(namespace, ()) != found
            if found:
                self._ungranted[namespace] = found
            if number % GRANTS_STEP == 0:
                await trio.lowlevel.checkpoint()
        return changed

    def _is_known(self, caught_up_until: float, now: float) -> bool:
        """Return whether everything is known that the first version needs: all lists, and none of them is older than another."""
        if not all(informer.complete for informer in self._informers):
            self._complete_at = math.inf
            return False
        self._complete_at = min(self._complete_at, now)
        self._waits.set()
        return caught_up_until >= self._complete_at or now >= self._complete_at + FIRST_S

    def _caught_up_until(self, now: float) -> float:
        """Return until when every feed is sure to know everything, and nothing that one knows was overtaken by another one."""
        followed_until = self._followed_until(now)
        return followed_until if self._catch_up is None else min(followed_until, self._catch_up.caught_up_until(now))

    def _followed_until(self, now: float) -> float:
        """Return until when every feed is sure to know everything. One that may not be read and never was is not waited for."""
        feeds = (informer for informer in self._informers if informer.complete or not informer.is_unreadable)
        return min((informer.reflector.caught_up_until(now) for informer in feeds), default=now)

    def _confirm(self) -> None:
        """Put the ConfigMaps of Namespaces that took the names of others in force, once those of the others are gone."""
        for namespace in tuple(self.index.unconfirmed):
            if self._catch_up is not None and not self._catch_up.is_replaced(namespace):
                self.index.confirm(namespace)

    async def _agree(self) -> None:
        """While anything waits for feeds that are behind, check whether they have caught up."""
        while True:
            await self._waits.wait()
            await trio.sleep(AGREE_S if self.is_connected else LOOK_S)
            if not (self._held_while_behind or (self._complete_at < math.inf and not self._published)):
                self._waits = trio.Event()
                continue
            self._report_held(trio.current_time())
            self._news.set()
            caught_up_until = self._passed_on
            if self._held_while_behind.is_over(self._safe(caught_up_until), trio.current_time()):
                with trio.move_on_after(self.settings.max_staleness or math.inf):
                    await self._assembler.until_read()
                self._release_until = caught_up_until
                self._assembler.wake()

    def _notices(self) -> Notices:
        """Return what a watch shows. Near misses of labels are not included: the server sends only selected objects."""
        settings = self.settings
        nothing = tuple(of_snapshot(self._snapshot, settings.where, settings.configmap_selector, emptied=self._emptied))
        ungranted = sum(map(len, self._ungranted.values()))
        self.index.waiting_changed = False
        waiting = (not_enabled(source, settings.namespace_selector, known=False) for source in self.index.waiting)
        found = chain(nothing, *self._ungranted.values(), waiting) if ungranted else chain(nothing, waiting)
        return Notices.of(found, len(nothing) + ungranted + len(self.index.waiting))

    async def _publish(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Publish each version of the assembler, while the known state is not too old."""
        while True:
            await self._assembler.news()
            if self._phase not in {_Phase.OPEN, _Phase.RECOVERING}:
                continue  # recovery reports itself
            releases = self._releases(trio.current_time())
            change = self._assembler.take(anyway=self._phase is _Phase.RECOVERING or releases)
            if change is None:
                self._refresh()
                continue
            first, self._published = not self._published, True
            reopened, self._phase = self._phase is _Phase.RECOVERING and not first, _Phase.OPEN
            before, self._snapshot = self._snapshot, change.snapshot
            differs = bool(change.documents or change.withdrawn)
            if releases:
                self._release()
            if differs and not (first or reopened):
                self._hold(before, change)
            self._taken_at = trio.current_time()
            await self._revoke_held()
            self._emptied = 0 if change.documents else self._emptied + len(change.withdrawn)
            if first or reopened:
                self._hurry(False)
            if reopened:
                self.on_stale(False)
                self._log.info("policy.fresh")
            self._hand_over()
            if differs or not releases:
                self.on_published(change)
            if releases and self._is_reported and not self._held_while_behind:
                self._log.info("policy.withdrawals_in_force")
                self._is_reported = False
            self.on_notices(self._notices())
            if first:
                task_status.started()

    def _releases(self, now: float) -> bool:
        """Return whether the version that is taken now ends the time of others."""
        return self._release_until is not None and self._held_while_behind.is_over(self._safe(self._release_until), now)

    def _release(self) -> None:
        until, self._release_until = self._release_until, None
        if until is not None:
            self._held_while_behind.release(self._safe(until), trio.current_time())
            self._news.set()  # there is room again for what waits in the index

    def _safe(self, until: float) -> float:
        """Return ``until``, or no time if a Namespace's event came after it.

        The newest version may have that event, and no version was published that has what was caught up with before it alone.
        """
        return until if self._catch_up is None or until > self._catch_up.fell_behind_at else -math.inf

    def _refresh(self) -> None:
        snapshot = self._assembler.refreshed() if self._phase is _Phase.OPEN else None
        if snapshot is not None:
            self._snapshot = snapshot
            self._hand_over()

    def _hand_over(self) -> None:
        held = [version.revoked_by(self._held_revocation) for version in self._held_while_behind.snapshots]
        self.sink.publish(attrs.evolve(self._snapshot, held=(*self._snapshot.held, *held)))

    def _hold(self, before: PolicySnapshot, change: Change) -> None:
        """Hold the version ``before`` the present one, unless every feed knows everything."""
        now, alone = trio.current_time(), attrs.evolve(before, revocation=None, held=())
        if (self._held_while_behind or self._is_behind(now)) and self._held_while_behind.hold(alone, change, now):
            self._held_since = now
            self._report_held(now)
            self._waits.set()

    def _is_behind(self, now: float) -> bool:
        """Return whether feeds are behind, or were since the last version: what they caught up with since then may not be read yet."""
        overtaken_at = -math.inf if self._catch_up is None else self._catch_up.fell_behind_at
        return self._caught_up_until(now) < now or overtaken_at >= min(self._passed_on, self._taken_at)

    def _report_held(self, now: float) -> None:
        """Report once that versions are held: when a feed is not followed, or after a while."""
        if self._held_while_behind and not self._is_reported and (self._followed_until(now) < now or now >= self._held_since + UNSAID_S):
            self._is_reported = True
            text = (
                "not all resources are followed, or ConfigMaps are late: what policies no longer deny or exchange stays in force until all "
                "are up to date"
            )
            self._log.warning("policy.withdrawals_held_back", text=text)

    async def _revoke_held(self) -> None:
        """Check held versions against new grants at each look-up: they belong to no feed, and revoked rights end at once."""
        grants, held = self._assembler.grants, self._held_while_behind.snapshots
        if grants is not self._next_held_grants:
            self._next_held_grants = grants
            if held:
                self._held_revocation = await self.network.run_sync(_revocation, held, grants, abandon_on_cancel=True)
            self._regranted.set()

    async def _hold_against_grants(self) -> None:
        """Restrict the documents of held versions by new grants, which takes seconds: concurrently with everything else."""
        while True:
            await self._regranted.wait()
            self._regranted = trio.Event()
            # Those that are held from now on have these grants, or later ones.
            grants, held = self._next_held_grants, self._held_while_behind.snapshots
            made = await self.network.run_sync(_against, held, grants, abandon_on_cancel=True) if held else []
            self._held_while_behind.replace(held, made)
            if grants is self._next_held_grants and self._held_revocation is not None:
                self._held_revocation = None
                if self._phase is _Phase.OPEN:
                    self._hand_over()

    async def _watch_age(self) -> None:
        """Close when the known state is too old; prepare to open when every feed has caught up after the first check at which it is not.

        At that check, missed events may still be on their way. A feed catches up by a watch, or by a list where watches do not work.
        """
        since = math.inf
        while True:
            await trio.sleep(LOOK_S)
            now = trio.current_time()
            age = self.snapshot_age() or 0.0
            if age > self.settings.max_staleness:
                self._close(age)
                since = math.inf
            elif self._phase is _Phase.STALE:
                since = min(since, now)
                if self._followed_until(now) >= since and now > since:
                    self._phase, since = _Phase.CATCHING_UP, math.inf
                    self._news.set()

    def _hurry(self, hurried: bool) -> None:  # noqa: FBT001 - a setter
        for informer in self._informers:
            informer.reflector.hurry(hurried)

    def _close(self, age: float) -> None:
        before, self._phase = self._phase, _Phase.STALE
        if before is _Phase.OPEN:
            self._held_while_behind.release(math.inf, 0.0)
            self._is_reported = False
            self.on_stale(True)
            self._log.error("policy.stale", age_s=round(age, 1), text="every check is refused until the API server is reachable")
            self._hurry(True)


def _revocation(versions: tuple[PolicySnapshot, ...], grants: Grants) -> Revocation:
    """Return what ``grants`` leave of ``versions``. The cost depends on their namespaces, not on their entries."""
    described = {name: namespace.labels for version in reversed(versions) for name, namespace in version.namespaces.items()}
    allowances = {name: grants.allowances(name, labels) for name, labels in described.items()}
    return Revocation(HashTrieMap(allowances), grants.denials, grants.enforced)


def _against(versions: tuple[PolicySnapshot, ...], grants: Grants) -> list[PolicySnapshot]:
    return [version.with_grants(grants) for version in versions]
