"""The known state of a resource: its objects and the version up to which everything was seen; and how a complete state is gathered.

``ReflectorStore`` tells for each event what it changes, or that it cannot follow the known state. ``list_all`` and ``gather_initial``
return a whole state or a failure, and bound pages, objects and time whatever the server does. Of ConfigMaps beyond the limits of their
namespace, only the name is kept.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Final, Generic, TypeVar, assert_never, final

import attrs
import trio

from exchanger.policy.limits import NamespaceLimits
from exchanger.policy.quota import NamespaceQuota
from exchanger.policy.selection import ConfigMap
from exchanger.sources.kube.list_watch import ApiFailure, Bookmark, Deleted, FailureKind, Item, Key, Lister, Opened, Put, WatchEvent

T = TypeVar("T")

# Objects per page, as in client-go and kubectl: at a few kilobytes each, a page is some megabytes.
PAGE_SIZE: Final = 500
# Ten times the largest cluster that is supported; more means an error in a selector, or in the server.
MAX_OBJECTS: Final = 100_000
# Five times what ``MAX_OBJECTS`` need: a server may return smaller pages than requested, but a list must end.
MAX_PAGES: Final = 1_000
# Seconds for all pages: API servers compact their history every five minutes, and a longer list loses its version.
LIST_TIMEOUT_S: Final = 300.0
# Objects that are compared with known ones without a pause, in 2 ms.
COMPARED: Final = 500
# The digits of an unsigned 64-bit number; etcd's revisions are signed ones. A longer text is not comparable.
_MOST_DIGITS: Final = 20
# "newest" and "any" in requests: no state has such a version, so no watch can continue from it.
_NO_VERSION: Final = frozenset({"", "0"})


def usable(version: str) -> bool:
    """Return whether a watch can continue from ``version``."""
    return version not in _NO_VERSION


def older(version: str, other: str) -> bool:
    """Return whether ``version`` is certainly lower than ``other``; versions that are not numbers have no order.

    Versions of one resource may be compared since Kubernetes 1.35, and could be before on every server that keeps its objects in etcd
    (https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions).
    """
    return _is_number(version) and _is_number(other) and int(version) < int(other)


def reaches(version: str, other: str) -> bool:
    """Return whether ``version`` is certainly ``other`` or a later one."""
    return version == other or older(other, version)


def _is_number(version: str) -> bool:
    return len(version) <= _MOST_DIGITS and version.isascii() and version.isdecimal()


@final
@attrs.define(eq=False)
class BoundedObjects(Generic[T]):
    """Objects by key. With ``quota``, a ConfigMap without room is kept without its document and labels.

    If there are many, only their versions are kept. ``to_refetch`` are those that have room again: their content is known once the server
    sends it again, and until then they count as missing.
    """

    quota: NamespaceQuota | None = None
    items: dict[Key, Item[T]] = attrs.field(factory=dict, init=False, repr=False)
    to_refetch: set[Key] = attrs.field(factory=set, init=False, repr=False)
    # The versions of the objects that are not in ``items``.
    _versions: dict[Key, str] = attrs.field(factory=dict, init=False, repr=False)

    @classmethod
    def within(cls, limits: NamespaceLimits | None) -> "BoundedObjects[T]":
        """Return an empty holding with these limits for each namespace."""
        return cls(None if limits is None else NamespaceQuota(limits))

    def put(self, item: Item[T]) -> tuple[Key, ...]:
        """Take an object; return the keys of those that are kept, or known, otherwise than before."""
        key = item.key
        self.items[key] = item
        self._versions.pop(key, None)
        if self.quota is None or not isinstance(item.value, ConfigMap):
            return (key,)
        near = self.quota.put(key.namespace, key.name, item.value.size)
        self.to_refetch.discard(key)
        return self._moved(self.quota, key.namespace, near, item)

    def drop(self, key: Key) -> tuple[Key, ...]:
        """Forget an object; return the keys of others, as ``put`` does."""
        self.items.pop(key, None)
        self._versions.pop(key, None)
        self.to_refetch.discard(key)
        return () if self.quota is None else self._moved(self.quota, key.namespace, self.quota.drop(key.namespace, key.name))

    def version_of(self, key: Key) -> str | None:
        """Return the version of a known object, ``None`` if it is not known."""
        item = self.items.get(key)
        return self._versions.get(key) if item is None else item.resource_version

    def keys(self) -> tuple[Key, ...]:
        """Return the known objects."""
        return (*self.items, *self._versions)

    def is_known(self, item: Item[T]) -> bool:
        """Return whether ``item`` repeats the known object."""
        known = self.items.get(item.key)
        if known is not None and isinstance(known.value, ConfigMap) and known.value.over_quota:
            return known.resource_version == item.resource_version and item.key not in self.to_refetch
        return known == item

    def _moved(self, quota: NamespaceQuota, namespace: str, near: tuple[str, ...], put: Item[T] | None = None) -> tuple[Key, ...]:
        """Keep what there is room for of the objects ``near``, and of the one that was ``put``; return those that differ."""
        moved = list[Key]()
        names = near if put is None else dict.fromkeys((put.key.name, *near))
        for key in (Key(namespace, name) for name in names):
            known = self.items.get(key)
            is_empty = known is None or (isinstance(known.value, ConfigMap) and bool(known.value.over_quota))
            is_read = quota.is_read(namespace, key.name)
            if is_read and is_empty:
                self.to_refetch.add(key)
            elif not is_read:
                self.to_refetch.discard(key)
            if not quota.is_listed(namespace, key.name):
                if known is not None:
                    del self.items[key]
                    self._versions[key] = known.resource_version
                    moved.append(key)
            elif known is None or not (is_read or is_empty):
                self.items[key] = _emptied(key, known, quota.reason, self._versions.pop(key, ""))
                moved.append(key)
            elif known is put:
                moved.append(key)
        return tuple(moved)


def _emptied(key: Key, item: Item[T] | None, reason: str, version: str) -> Item[T]:
    """Return what is kept of a ConfigMap, which is ``item``, or of this ``version``, that is not read for ``reason``."""
    uid = item.value.uid if item is not None and isinstance(item.value, ConfigMap) else ""
    value = ConfigMap(key.namespace, key.name, (), None, uid, over_quota=reason)
    return Item(key, version if item is None else item.resource_version, value)  # type: ignore[arg-type]  # T is ConfigMap


@final
@attrs.frozen
class Complete(Generic[T]):
    """All objects of a resource in one version; ``held`` are the same, in the form in which they are kept."""

    items: tuple[Item[T], ...]
    resource_version: str
    held: BoundedObjects[T] | None = attrs.field(default=None, eq=False, repr=False)


@final
@attrs.define(eq=False)
class ReflectorStore(Generic[T]):
    """The known objects. ``version``, as the server wrote it, is "" until the first complete state.

    ``limits`` are those of a namespace, ``None`` for none.
    """

    limits: NamespaceLimits | None = None
    version: str = attrs.field(default="", init=False)
    # ``version``, or the one of a supplied object if that is later: the server's is no lower.
    newest: str = attrs.field(default="", init=False)
    _held: BoundedObjects[T] = attrs.field(init=False)

    @_held.default
    def _nothing(self) -> BoundedObjects[T]:
        return BoundedObjects.within(self.limits)

    @property
    def items(self) -> Mapping[Key, Item[T]]:
        """The kept objects, by key."""
        return self._held.items

    @property
    def to_refetch(self) -> AbstractSet[Key]:
        """The objects that there is room for again and that have been kept without their content."""
        return self._held.to_refetch

    def has(self, key: Key, version: str) -> bool:
        """Return whether this version of an object is known, or a later one."""
        known = self.version_of(key)
        return known is not None and reaches(known, version)

    def version_of(self, key: Key) -> str | None:
        """Return the version of a known object, ``None`` if it is not known."""
        return self._held.version_of(key)

    def keys(self) -> tuple[Key, ...]:
        """Return the known objects, including those of which only the version is kept."""
        return self._held.keys()

    def replace(self, complete: Complete[T]) -> None:
        """Replace the known state by ``complete``, whatever its version."""
        if complete.held is None:
            self._held = BoundedObjects.within(self.limits)
            for item in complete.items:
                self._held.put(item)
        else:
            self._held = complete.held
        self.version = self.newest = complete.resource_version

    def supply(self, item: Item[T]) -> tuple[Key, ...]:
        """Take the content of a refetched object, unless a newer version is known; return the keys of the objects that it changed.

        The object may be newer than ``version``: its older events, which are still to come, are then skipped.
        """
        known = self.version_of(item.key)
        if item.key not in self._held.to_refetch or known is None or not reaches(item.resource_version, known):
            return ()
        if older(self.newest, item.resource_version):
            self.newest = item.resource_version
        return self._held.put(item)

    async def agrees(self, complete: Complete[T]) -> bool:
        """Return whether ``complete`` has the known objects and a version that may come after. Pauses after each ``COMPARED`` objects.

        After a restore, the same versions mean other things, so a lower one never agrees, even if the objects are equal.
        """
        if older(complete.resource_version, self.newest) or len(complete.items) != len(self.items):
            return False
        for number, item in enumerate(complete.items, 1):
            if self.items.get(item.key) != item:
                return False
            if number % COMPARED == 0:
                await trio.lowlevel.checkpoint()
        return True

    def apply(self, event: Put[T] | Deleted | Bookmark) -> tuple[Key, ...] | None:
        """Apply ``event``; return the keys of the objects that it changed, or ``None`` if it cannot follow the known state.

        Events arrive in the order of their versions. An older one is either a harmless repetition, or comes from another history (a
        restored store, or a server that lost its position). Then neither it nor the known state can be relied on, only a new list.
        """
        match event:
            case Put(item):
                if self._held.is_known(item):
                    self._follows(item.resource_version)
                    return ()
                if not self._follows(item.resource_version):
                    return None
                return () if self._is_superseded(item.key, item.resource_version) else self._held.put(item)
            case Deleted(key, version):
                return self._delete(key, version)
            case Bookmark(version):
                return () if self._follows(version) else None
            case _:
                assert_never(event)

    def _delete(self, key: Key, version: str) -> tuple[Key, ...] | None:
        known = self._held.items.get(key)
        # Some servers give a deletion the version of the object instead of its own.
        if known is not None and version != known.resource_version and not self._follows(version):
            return None
        if known is None:
            self._follows(version)
        if self._is_superseded(key, version):
            return ()
        return (*(() if known is None else (key,)), *self._held.drop(key))

    def _is_superseded(self, key: Key, version: str) -> bool:
        """Return whether a later version of an object was supplied than the one of an event."""
        known = self.version_of(key)
        return known is not None and older(version, known)

    def _follows(self, version: str) -> bool:
        """Advance to ``version``, unless it cannot follow the known one."""
        if not usable(version) or older(version, self.version):
            return False
        self.version = version
        if not older(version, self.newest):
            self.newest = version
        return True


def discontinuity(event: Put[T] | Deleted | Bookmark, known: str) -> ApiFailure:
    """Return the failure that ``event``, which cannot follow version ``known``, means for its watch."""
    version = event.item.resource_version if isinstance(event, Put) else event.resource_version
    return ApiFailure(FailureKind.GONE, message=f"the watch went back from version {known[:40]} to {version[:40]!r}")


@final
@attrs.frozen
class ListBounds:
    """``timeout`` is in seconds. ``limits`` are those of a namespace, ``None`` for none."""

    page_size: int = PAGE_SIZE
    max_objects: int = MAX_OBJECTS
    max_pages: int = MAX_PAGES
    timeout: float = LIST_TIMEOUT_S
    limits: NamespaceLimits | None = None


async def list_all(lister: Lister[T], bounds: ListBounds) -> Complete[T] | ApiFailure:
    """List by pages, all in the newest version.

    client-go allows the first list to be as old as the server likes (version "0") and later ones to be no older than the known version.
    Here every list is consistent: a list that lags could activate a removed policy again, and a lower bound would hide that a store
    was restored. All pages have the same version
    (https://kubernetes.io/docs/reference/using-api/api-concepts/#retrieving-large-results-sets-in-chunks); other pages would not form a
    state that ever existed.
    """
    with trio.move_on_after(bounds.timeout):
        return await _list_all(lister, bounds)
    return ApiFailure(FailureKind.TIMEOUT, message=f"the list took longer than {bounds.timeout:.0f} s")


async def _list_all(lister: Lister[T], bounds: ListBounds) -> Complete[T] | ApiFailure:
    held: BoundedObjects[T] = BoundedObjects.within(bounds.limits)
    version = token = ""
    for _ in range(bounds.max_pages):
        page = await lister.list_page(limit=bounds.page_size, continue_token=token)
        if isinstance(page, ApiFailure):
            return page
        if not usable(page.resource_version):
            return _malformed("the list has no version")
        if version and page.resource_version != version:
            return _malformed("the pages of the list have different versions")
        version = page.resource_version
        for item in page.items:
            held.put(item)
        if len(held.items) > bounds.max_objects:
            return _malformed(f"the list has more than {bounds.max_objects} objects")
        token = page.continue_token
        if not token:
            return Complete(tuple(held.items.values()), version, held)
    return _malformed(f"the list does not end after {bounds.max_pages} pages")


async def gather_initial(
    events: AsyncIterator[WatchEvent[T]], bounds: ListBounds, extend: Callable[[], None]
) -> Complete[T] | ApiFailure | None:
    """Gather the initial objects of a watch, up to the bookmark that ends them; ``None`` if the server ended the watch before.

    The caller bounds the wait; ``extend`` is called for each event. Changes may occur between the objects, since the server continues while
    it sends (https://kubernetes.io/docs/reference/using-api/api-concepts/#streaming-lists).
    """
    held: BoundedObjects[T] = BoundedObjects.within(bounds.limits)
    async for event in events:
        extend()
        match event:
            case Put(item):
                held.put(item)
                if len(held.items) > bounds.max_objects:
                    return _malformed(f"the watch began with more than {bounds.max_objects} objects")
            case Deleted(key):
                held.drop(key)
            case Bookmark(version, initial_events_end=True):
                return (
                    Complete(tuple(held.items.values()), version, held)
                    if usable(version)
                    else _malformed("the initial objects have no version")
                )
            case Opened() | Bookmark():
                pass
            case ApiFailure():
                return event
            case _:
                assert_never(event)
    return None


def _malformed(message: str) -> ApiFailure:
    return ApiFailure(FailureKind.MALFORMED, message=message)
