"""Selects the ConfigMaps of a namespace that are read as policy: in the order of their names, as many as its limits allow.

So replicas agree, whatever the order of arrival, and an author sees which ones are left out. After the first one without room, none is
read, however small.

Must not know: what a document says, or where it is kept.
"""

from bisect import bisect_left
from collections.abc import Iterable
from typing import Final, final

import attrs

from exchanger.policy.limits import NamespaceLimits

# ConfigMaps beyond the limits that are reported, the first by name: each of them closes all that its namespace may decide, so more of them
# would change nothing, and there may be a hundred thousand.
MAX_LISTED: Final = 16
# Bytes of a KiB.
_KIB: Final = 1024


@final
@attrs.define(eq=False)
class _Queue:
    """The ConfigMaps of one namespace in order, of which the first ``count`` are read; these have ``size`` bytes."""

    sizes: dict[str, int] = attrs.field(factory=dict)
    names: list[str] = attrs.field(factory=list)
    count: int = 0
    size: int = 0

    def place(self, name: str) -> int:
        return bisect_left(self.names, name) if name in self.sizes else len(self.names)

    def put(self, name: str, size: int) -> None:
        self.drop(name)
        place = bisect_left(self.names, name)
        self.names.insert(place, name)
        self.sizes[name] = size
        if place < self.count:
            self.count += 1
            self.size += size

    def drop(self, name: str) -> None:
        if name not in self.sizes:
            return
        place, size = self.place(name), self.sizes.pop(name)
        del self.names[place]
        if place < self.count:
            self.count -= 1
            self.size -= size

    def fit(self, limits: NamespaceLimits) -> None:
        """Read as many as there is room for."""
        room = limits.kib * _KIB
        while self.count > limits.documents or self.size > room:
            self.count -= 1
            self.size -= self.sizes[self.names[self.count]]
        while self.count < min(limits.documents, len(self.names)) and self.size + self.sizes[self.names[self.count]] <= room:
            self.size += self.sizes[self.names[self.count]]
            self.count += 1


@final
@attrs.define(eq=False)
class NamespaceQuota:
    """Which ConfigMaps of each namespace are read. A change costs as much as names move, and little for each ConfigMap of its namespace."""

    limits: NamespaceLimits
    _queues: dict[str, _Queue] = attrs.field(factory=dict, init=False, repr=False)

    def put(self, namespace: str, name: str, size: int) -> tuple[str, ...]:
        """Add a ConfigMap of this size, replacing one of its name; return other names that this may affect."""
        queue = self._queues.setdefault(namespace, _Queue())
        before = queue.count
        queue.put(name, size)
        queue.fit(self.limits)
        return self._near(queue, before)

    def drop(self, namespace: str, name: str) -> tuple[str, ...]:
        """Remove a ConfigMap; return other names that this may affect."""
        queue = self._queues.get(namespace)
        if queue is None:
            return ()
        before = queue.count
        queue.drop(name)
        queue.fit(self.limits)
        if not queue.names:
            del self._queues[namespace]
        return self._near(queue, before)

    def is_read(self, namespace: str, name: str) -> bool:
        """Return whether there is room for a ConfigMap, which is known."""
        queue = self._queues.get(namespace)
        return queue is not None and queue.place(name) < queue.count

    def is_listed(self, namespace: str, name: str) -> bool:
        """Return whether a ConfigMap is read, or among the first of the others."""
        queue = self._queues.get(namespace)
        return queue is not None and queue.place(name) < min(queue.count + MAX_LISTED, len(queue.names))

    @property
    def reason(self) -> str:
        """Why a ConfigMap is not read, for its author."""
        limits = self.limits
        allowed = f"{limits.documents} ConfigMaps, in the order of their names, and {limits.kib} KiB in total"
        return f"the document is not read: its namespace may have {allowed}"

    def _near(self, queue: _Queue, before: int) -> tuple[str, ...]:
        """Return the names between the old and the new boundary of reading, and of reporting; a change moves others by one place."""
        low, high = min(before, queue.count) - 1, max(before, queue.count) + 1
        return tuple(dict.fromkeys((*queue.names[max(0, low) : high], *queue.names[low + MAX_LISTED : high + MAX_LISTED])))


def over_quota(sizes: Iterable[tuple[str, str, int]], limits: NamespaceLimits) -> frozenset[tuple[str, str]]:
    """Return the ConfigMaps, by namespace and name, that are not read; ``sizes`` has each of them with its bytes."""
    quota, known = NamespaceQuota(limits), tuple(sizes)
    for one in known:
        quota.put(*one)
    return frozenset((namespace, name) for namespace, name, _ in known if not quota.is_read(namespace, name))
