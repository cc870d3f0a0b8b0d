"""Finds out when the ConfigMaps that a watch delivers have caught up with a moment that another watch knows of already.

Two watches deliver in no common order. A denial that moves to another Namespace, whose old Namespace is then deleted or no longer selected,
is gone as soon as the Namespace's event arrives, and its new ConfigMap may arrive seconds later. Nothing shows that the watch is late. So
after each such event, the names and versions of all ConfigMaps are listed, and the store is behind until it has each of them in that
version or a later one.

ConfigMaps that are in the store and no longer in the list can only deny too much, so nobody waits for their deletion. The exception is a
Namespace that took the name of another one: which of the known ConfigMaps are its own is known once the others are gone.

Must not know: what is held while the store is behind.
"""

import math
from collections.abc import Callable, Collection, Iterable
from random import Random
from typing import Final, final

import attrs
import trio

from exchanger.policy.selection import ConfigMap
from exchanger.sources.kube.list_watch import ApiFailure, FailureKind, Key, Lister
from exchanger.sources.kube.retry import ReflectorStep, Retry, RetryTimer
from exchanger.sources.kube.settings import ReflectorSettings
from exchanger.sources.kube.store import Complete, ReflectorStore, list_all, older, reaches

# Seconds in which events are collected for one list: those of one command arrive within milliseconds.
COLLECT_S: Final = 0.05
# Seconds between two lists at least: 100,000 names are 200 pages.
LIST_EVERY_S: Final = 1.0
# Seconds after which a list that the store still lacks something of is followed by another one: an object may be gone, and its events lost.
LIST_AGAIN_S: Final = 10.0
# Lists since the last event of which the store lacks something. With more, the newest one takes the place of the one before it.
MAX_LISTS: Final = 4
# Objects that are compared without a pause, in 1 ms.
COMPARED: Final = 1_000


@final
@attrs.define(eq=False)
class _Listed:
    """A list that the store must reach: what it lacks of ``version``, ``None`` while that is unknown.

    ``replaced`` are the Namespaces that took the names of others, and ``surplus`` the ConfigMaps in these that are not in the list.
    """

    replaced: frozenset[str]
    asked_at: float
    version: str | None = None
    is_compared: bool = False
    missing: dict[Key, str] = attrs.field(factory=dict, repr=False)
    surplus: set[Key] = attrs.field(factory=set, repr=False)

    async def compare(self, complete: Complete[bool], store: ReflectorStore[ConfigMap]) -> None:
        """Note what ``store`` lacks of ``complete``; ``look`` is told what changes during the pauses."""
        self.version = complete.resource_version
        for number, key in enumerate(store.keys() if self.replaced else (), 1):
            if key.namespace in self.replaced and self._is_old(key, store):
                self.surplus.add(key)
            if number % COMPARED == 0:
                await trio.lowlevel.checkpoint()
        for number, item in enumerate(complete.items, 1):
            self.surplus.discard(item.key)
            if not store.has(item.key, item.resource_version):
                self.missing[item.key] = item.resource_version
            if number % COMPARED == 0:
                await trio.lowlevel.checkpoint()
        self.is_compared = True

    def look(self, store: ReflectorStore[ConfigMap], keys: Collection[Key] | None) -> None:
        """Note what ``store`` has of the list now; ``keys`` are those that have changed, ``None`` for any."""
        if self.version is None:
            return
        if reaches(store.version, self.version):
            self.missing, self.surplus = {}, set()
            return
        for key in self._of(self.missing, keys):
            if store.has(key, self.missing[key]):
                del self.missing[key]
        for key in self._of(self.surplus, keys):
            if not self._is_old(key, store):
                self.surplus.discard(key)

    def _is_old(self, key: Key, store: ReflectorStore[ConfigMap]) -> bool:
        """Return whether ``store`` has an object that is not newer than the list."""
        known = store.version_of(key)
        return known is not None and self.version is not None and not older(self.version, known)

    @staticmethod
    def _of(waiting: Collection[Key], keys: Collection[Key] | None) -> list[Key]:
        return [key for key in (waiting if keys is None else keys) if key in waiting] if waiting else []

    @property
    def is_reached(self) -> bool:
        return self.is_compared and not (self.missing or self.surplus)


@final
@attrs.define(eq=False)
class CatchUp:
    """Says until when ``store`` is sure to have what ``versions`` lists: the names and versions of all its objects.

    It has caught up once it has a list that was requested after the last event. Until then, it is behind of the first one: a version of the
    policy that has some of the events and not all ConfigMaps of their time may be no moment of the cluster.

    ``failed`` receives each failure and the seconds until the next attempt; ``caught_up`` is called when the store has caught up.
    """

    versions: Lister[bool]
    store: ReflectorStore[ConfigMap]
    settings: ReflectorSettings
    random: Random
    failed: Callable[[str, ApiFailure, float], None]
    caught_up: Callable[[], None]
    # The last event, and the first one that the store has not caught up with.
    fell_behind_at: float = attrs.field(default=-math.inf, init=False)
    _since: float = attrs.field(default=math.inf, init=False)
    # Whether no list was requested since the last event.
    _is_new: bool = attrs.field(default=False, init=False)
    _replaced: set[str] = attrs.field(factory=set, init=False, repr=False)
    # The lists since the last event.
    _lists: list[_Listed] = attrs.field(factory=list, init=False, repr=False)
    _news: trio.Event = attrs.field(factory=trio.Event, init=False)
    _pace: RetryTimer = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._pace = RetryTimer(self.settings, self.random)

    def fall_behind(self, replaced: Iterable[str] = ()) -> None:
        """Count the store as behind from now on; ``replaced`` are Namespaces that took the names of others."""
        self.fell_behind_at = trio.current_time()
        self._since = min(self._since, self.fell_behind_at)
        self._replaced.update(replaced)
        self._is_new = True
        self._lists.clear()
        self._news.set()

    def caught_up_until(self, now: float) -> float:
        """Return until when the store is sure to have everything: ``now``, or a time just before the first event that it is behind of."""
        return min(now, math.nextafter(self._since, -math.inf))

    @property
    def is_behind(self) -> bool:
        """Whether the store has not caught up with an event."""
        return self._since < math.inf

    def is_replaced(self, namespace: str) -> bool:
        """Return whether the store may still have ConfigMaps of a Namespace whose name ``namespace`` took."""
        return namespace in self._replaced

    def store_changed(self, keys: Collection[Key] | None) -> None:
        """Check whether the store has caught up; ``keys`` have changed in it, ``None`` for any."""
        for listed in self._lists:
            listed.look(self.store, keys)
        if any(listed.is_reached for listed in self._lists):
            self._since = math.inf
            self._replaced.clear()
            self._lists.clear()
            self.caught_up()

    def retry_now(self) -> None:
        """End the wait after a failure: there is reason to believe that the next attempt succeeds."""
        self._pace.wake()

    async def run(self) -> None:
        """List when the store falls behind, until cancelled."""
        while True:
            await self._wanted()
            await trio.sleep(COLLECT_S)
            began = trio.current_time()
            await self._list()
            await trio.sleep_until(began + LIST_EVERY_S)

    async def _wanted(self) -> None:
        """Wait for an event, or until the newest list has not been reached for long."""
        while not self._is_new:
            again = self._lists[-1].asked_at + LIST_AGAIN_S if self._lists else math.inf
            if trio.current_time() >= again:
                return
            with trio.move_on_at(again):
                await self._news.wait()
                self._news = trio.Event()

    async def _list(self) -> None:
        self._is_new = False
        made = _Listed(frozenset(self._replaced), trio.current_time())
        found = await list_all(self.versions, self.settings.list_bounds)
        if isinstance(found, ApiFailure):
            self._is_new = self.is_behind
            retry = Retry(found, ReflectorStep.COMPARE, resync=found.kind is FailureKind.GONE)
            wait = self._pace.failed(retry, trio.current_time())
            self.failed(self.versions.name, found, wait)
            await self._pace.sleep(wait, retry.at_least)
            return
        self._pace.succeeded()
        if self._is_new or not self.is_behind:
            return
        del self._lists[MAX_LISTS - 1 :]
        self._lists.append(made)
        await made.compare(found, self.store)
        self.store_changed(())
