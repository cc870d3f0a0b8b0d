"""The known state of a resource: its objects and the version up to which everything was seen; and how a complete state is gathered.

``Store`` tells of each event whether it changes anything or cannot follow the known state. ``list_all`` and ``gather_initial`` return a
whole state or a failure, and bound pages, objects and time whatever the server does.
"""

import enum
from collections.abc import AsyncIterator, Callable, Mapping
from types import MappingProxyType
from typing import Final, Generic, TypeVar, assert_never, final

import attrs
import trio

from exchanger.kube.list_watch import ApiFailure, Bookmark, Deleted, FailureKind, Item, Key, ListWatch, Opened, Put, WatchEvent

T = TypeVar("T")

# Objects per page, as in client-go and kubectl: at a few kilobytes each, a page is some megabytes.
PAGE_SIZE: Final = 500
# Ten times the largest cluster that is supported; more means a mistake in a selector, or in the server.
MAX_OBJECTS: Final = 100_000
# Five times what ``MAX_OBJECTS`` need: a server may return smaller pages than requested, but a list must end.
MAX_PAGES: Final = 1_000
# Seconds for all pages: API servers compact their history every five minutes, and a longer list loses its version.
LIST_TIMEOUT_S: Final = 300.0
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


def _is_number(version: str) -> bool:
    return len(version) <= _MOST_DIGITS and version.isascii() and version.isdecimal()


@final
@attrs.frozen
class Complete(Generic[T]):
    """All objects of a resource in one version."""

    items: tuple[Item[T], ...]
    resource_version: str


@enum.unique
class Effect(enum.Enum):
    """What an event does to the known state."""

    # It changes the objects.
    NEWS = "news"
    # It repeats what is known, or only advances the version.
    NOTHING = "nothing"
    # It cannot follow the known state; nothing was changed.
    BREAK = "break"


@final
@attrs.define(eq=False)
class Store(Generic[T]):
    """The known objects. ``version``, as the server wrote it, is "" until the first complete state."""

    version: str = attrs.field(default="", init=False)
    _items: dict[Key, Item[T]] = attrs.field(factory=dict, init=False)

    def __len__(self) -> int:
        return len(self._items)

    def replace(self, complete: Complete[T]) -> Mapping[Key, Item[T]]:
        """Take ``complete``, whatever its version, in place of the known state; return its objects by key."""
        self._items = {item.key: item for item in complete.items}
        self.version = complete.resource_version
        return MappingProxyType(dict(self._items))  # does not change when this store does

    def agrees(self, complete: Complete[T]) -> bool:
        """Return whether ``complete`` has the known objects and a version that may come after.

        After a restore the same versions mean other things, so a lower one never agrees, even if the objects are equal.
        """
        return not older(complete.resource_version, self.version) and {item.key: item for item in complete.items} == self._items

    def apply(self, event: Put[T] | Deleted | Bookmark) -> Effect:
        """Apply ``event``, unless it cannot follow the known state.

        Events come in the order of their versions. An older one is either a harmless repetition, or comes from another history (a restored
        store, or a server that lost its place). Then neither it nor the known state can be relied on, only a new list.
        """
        match event:
            case Put(item):
                return self._put(item)
            case Deleted(key, version):
                return self._delete(key, version)
            case Bookmark(version):
                return self._seen(version, Effect.NOTHING)
            case _:
                assert_never(event)

    def _put(self, item: Item[T]) -> Effect:
        if self._items.get(item.key) == item:
            return Effect.NOTHING
        effect = self._seen(item.resource_version, Effect.NEWS)
        if effect is Effect.NEWS:
            self._items[item.key] = item
        return effect

    def _delete(self, key: Key, version: str) -> Effect:
        known = self._items.get(key)
        if known is None:
            if usable(version) and not older(version, self.version):
                self.version = version
            return Effect.NOTHING
        # Some servers give a deletion the version of the object instead of its own.
        effect = Effect.NEWS if version == known.resource_version else self._seen(version, Effect.NEWS)
        if effect is Effect.NEWS:
            del self._items[key]
        return effect

    def _seen(self, version: str, effect: Effect) -> Effect:
        if not usable(version) or older(version, self.version):
            return Effect.BREAK
        self.version = version
        return effect


def discontinuity(event: Put[T] | Deleted | Bookmark, known: str) -> ApiFailure:
    """Return the failure that ``event``, which cannot follow version ``known``, means for its watch."""
    version = event.item.resource_version if isinstance(event, Put) else event.resource_version
    return ApiFailure(FailureKind.GONE, message=f"the watch went back from version {known[:40]} to {version[:40]!r}")


@final
@attrs.frozen
class ListBounds:
    """``timeout`` is in seconds."""

    page_size: int = PAGE_SIZE
    max_objects: int = MAX_OBJECTS
    max_pages: int = MAX_PAGES
    timeout: float = LIST_TIMEOUT_S


async def list_all(list_watch: ListWatch[T], bounds: ListBounds) -> Complete[T] | ApiFailure:
    """List by pages, all in the newest version.

    client-go allows the first list to be as old as the server likes (version "0") and later ones to be no older than the known version.
    Here every list is consistent: a list that lags could put a withdrawn policy back in force, and a lower bound would hide that a store
    was restored. All pages have the same version
    (https://kubernetes.io/docs/reference/using-api/api-concepts/#retrieving-large-results-sets-in-chunks); others are no state that ever
    existed.
    """
    with trio.move_on_after(bounds.timeout):
        return await _list_all(list_watch, bounds)
    return ApiFailure(FailureKind.TIMEOUT, message=f"the list took longer than {bounds.timeout:.0f} s")


async def _list_all(list_watch: ListWatch[T], bounds: ListBounds) -> Complete[T] | ApiFailure:
    items: dict[Key, Item[T]] = {}
    version = token = ""
    for _ in range(bounds.max_pages):
        page = await list_watch.list_page(limit=bounds.page_size, continue_token=token)
        if isinstance(page, ApiFailure):
            return page
        if not usable(page.resource_version):
            return _malformed("the list has no version")
        if version and page.resource_version != version:
            return _malformed("the pages of the list have different versions")
        version = page.resource_version
        items.update((item.key, item) for item in page.items)
        if len(items) > bounds.max_objects:
            return _malformed(f"the list has more than {bounds.max_objects} objects")
        token = page.continue_token
        if not token:
            return Complete(tuple(items.values()), version)
    return _malformed(f"the list does not end after {bounds.max_pages} pages")


async def gather_initial(
    events: AsyncIterator[WatchEvent[T]], bounds: ListBounds, extend: Callable[[], None]
) -> Complete[T] | ApiFailure | None:
    """Gather the initial objects of a watch, up to the bookmark that ends them; ``None`` if the server ended the watch before.

    The caller bounds the wait; ``extend`` is called for each event. Changes may come between the objects, since the server goes on while it
    sends (https://kubernetes.io/docs/reference/using-api/api-concepts/#streaming-lists).
    """
    items: dict[Key, Item[T]] = {}
    async for event in events:
        extend()
        match event:
            case Put(item):
                items[item.key] = item
                if len(items) > bounds.max_objects:
                    return _malformed(f"the watch began with more than {bounds.max_objects} objects")
            case Deleted(key):
                items.pop(key, None)
            case Bookmark(version, initial_events_end=True):
                return Complete(tuple(items.values()), version) if usable(version) else _malformed("the initial objects have no version")
            case Opened() | Bookmark():
                pass
            case ApiFailure():
                return event
            case _:
                assert_never(event)
    return None


def _malformed(message: str) -> ApiFailure:
    return ApiFailure(FailureKind.MALFORMED, message=message)
