"""Fetches ConfigMaps that their namespace has room for again and whose content was not kept, one by one, beside the watch.

The watch says nothing about them, since they have not changed. Each is requested as a list of one object, which takes no more rights than
the other lists. What cannot be fetched is known with the next comparison (see ``reflector.REREAD_S``).
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from typing import Final, final

import attrs
import trio

from exchanger.policy.selection import ConfigMap
from exchanger.sources.kube.list_watch import ApiFailure, Key, Lister
from exchanger.sources.kube.store import ReflectorStore, older

# ConfigMaps that are requested at a time, and in each ``FETCH_EVERY_S``, for all namespaces together: a team that changes its ConfigMaps
# again and again causes no more. A namespace that has room for one ConfigMap again rarely has room for more than a few.
MAX_FETCHED: Final = 16
FETCH_EVERY_S: Final = 1.0
# Seconds for all requests of a time, so that one that is lost does not delay others for long.
FETCH_S: Final = 5.0


@final
@attrs.define(eq=False)
class Refetch:
    """Completes ``stores``, which are by the scope of their feeds. ``config_map`` returns what requests one ConfigMap.

    ``overtaken`` is called when a store has taken an object that is newer than what its watch has delivered: for a moment, the store is no
    moment of the cluster. ``changed`` receives the scope and the keys that differ. Namespaces take turns, so none waits for the many
    ConfigMaps of another one.
    """

    stores: Mapping[str, ReflectorStore[ConfigMap]]
    config_map: Callable[[str, str], Lister[ConfigMap]]
    overtaken: Callable[[], None]
    changed: Callable[[str, Collection[Key]], None]
    _wanted: trio.Event = attrs.field(factory=trio.Event, init=False)
    # Those whose request did not help, as long as they lack their content.
    _tried: set[Key] = attrs.field(factory=set, init=False, repr=False)
    # The turn at which each namespace that lacks something was served last.
    _served: dict[str, int] = attrs.field(factory=dict, init=False, repr=False)
    _turn: int = attrs.field(default=0, init=False)

    def look(self) -> None:
        """Check whether anything has to be fetched again: a store has changed."""
        if any(store.to_refetch for store in self.stores.values()):
            self._wanted.set()

    async def run(self) -> None:
        """Fetch what has to be fetched again, until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted = trio.Event()
            while batch := self._take():
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(trio.sleep, FETCH_EVERY_S)
                    for scope, key in batch:
                        nursery.start_soon(self._fetch, scope, self.stores[scope], key)

    def _take(self) -> list[tuple[str, Key]]:
        """Return the scopes and keys to fetch next: one ConfigMap of each namespace in turn."""
        to_refetch = {key: scope for scope, store in self.stores.items() for key in store.to_refetch}
        self._tried &= to_refetch.keys()
        by_namespace: defaultdict[str, list[str]] = defaultdict(list)
        for key in to_refetch.keys() - self._tried:
            by_namespace[key.namespace].append(key.name)
        self._served = {namespace: self._served.get(namespace, 0) for namespace in by_namespace}
        waiting = [
            (number, self._served[namespace], Key(namespace, name))
            for namespace, names in by_namespace.items()
            for number, name in enumerate(sorted(names)[:MAX_FETCHED])
        ]
        chosen = [key for *_, key in sorted(waiting, key=lambda one: (one[0], one[1], one[2].namespace))[:MAX_FETCHED]]
        self._turn += 1
        self._served.update((key.namespace, self._turn) for key in chosen)
        return [(to_refetch[key], key) for key in chosen]

    async def _fetch(self, scope: str, store: ReflectorStore[ConfigMap], key: Key) -> None:
        self._tried.add(key)
        items = store.items
        with trio.move_on_after(FETCH_S):
            page = await self.config_map(key.namespace, key.name).list_page(limit=1)
            # After another list, the answer may be older, or of another history.
            if not isinstance(page, ApiFailure) and store.items is items and self.stores.get(scope) is store:
                for item in page.items:
                    is_ahead = older(store.version, item.resource_version)
                    if item.key == key and (changed := store.supply(item)):
                        if is_ahead:
                            self.overtaken()
                        self.changed(scope, changed)
        if key not in store.to_refetch:
            self._tried.discard(key)
