"""What is known of a resource: its objects, and the version up to which everything has been seen.

Tells of each event of a watch whether it is news, nothing new, or no continuation of what is known.

Must not know: requests, time, or who is told.
"""

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Generic, TypeVar, assert_never, final

import attrs

from exchanger.kube.list_watch import Bookmark, Deleted, Item, Key, Put

T = TypeVar("T")

_MOST_DIGITS: Final = 20
"""As many as an unsigned 64-bit number has; etcd's revisions are signed ones. A longer text is no version that can be compared."""
_NO_VERSION: Final = frozenset({"", "0"})
"""What requests mean "newest" and "any" with: no state has such a version, and a watch from it would not continue from anywhere."""


def usable(version: str) -> bool:
    """Return whether a watch can continue from ``version``."""
    return version not in _NO_VERSION


def older(version: str, other: str) -> bool:
    """Return whether ``version`` is certainly lower than ``other``; versions that are no numbers have no order.

    Versions of one resource may be compared since Kubernetes 1.35, and could be before on every server that keeps its objects in etcd
    (https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions).
    """
    return _is_number(version) and _is_number(other) and int(version) < int(other)


def _is_number(version: str) -> bool:
    return len(version) <= _MOST_DIGITS and version.isascii() and version.isdecimal()


@final
@attrs.frozen
class Complete(Generic[T]):
    """All objects of a resource as they were in one version."""

    items: tuple[Item[T], ...]
    resource_version: str


@enum.unique
class Effect(enum.Enum):
    """What an event does to what is known."""

    NEWS = "news"
    """It changes the objects."""
    NOTHING = "nothing"
    """It says what is known, or only that time goes on."""
    BREAK = "break"
    """It cannot come after what is known; nothing was changed."""


@final
@attrs.define(eq=False)
class Reflection(Generic[T]):
    """The objects as far as they are known. ``version`` is "" until the first complete state."""

    _items: dict[Key, Item[T]] = attrs.field(factory=dict, init=False)
    _version: str = attrs.field(default="", init=False)

    @property
    def version(self) -> str:
        """The version up to which everything has been seen, as the server wrote it."""
        return self._version

    def __len__(self) -> int:
        return len(self._items)

    def replace(self, complete: Complete[T]) -> Mapping[Key, Item[T]]:
        """Take ``complete`` instead of all that was known, whatever its version, and return its objects by their keys."""
        self._items = {item.key: item for item in complete.items}
        self._version = complete.resource_version
        return MappingProxyType(dict(self._items))  # what was handed on does not change when this does

    def agrees(self, complete: Complete[T]) -> bool:
        """Return whether ``complete`` has the objects that are known and a version that may come after.

        Versions of a store that went back mean other things than they did, so a lower one never agrees, be the objects equal or not.
        """
        return not older(complete.resource_version, self._version) and {item.key: item for item in complete.items} == self._items

    def advance(self, version: str) -> None:
        """Note that nothing happened up to ``version``."""
        self._version = version

    def apply(self, event: Put[T] | Deleted | Bookmark) -> Effect:
        """Take over what ``event`` says, unless it cannot come after what is known.

        A watch's events come in the order of their versions. One that is older than what has been seen is either a repetition, which
        does no harm, or comes out of a history that is not the one that was followed (a store that was restored, or a server that lost
        its place). Then neither it nor what is known can be relied on, only a new list.
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
            if usable(version) and not older(version, self._version):
                self._version = version
            return Effect.NOTHING
        # Some servers give a deletion the version that the object had, instead of one of its own.
        effect = Effect.NEWS if version == known.resource_version else self._seen(version, Effect.NEWS)
        if effect is Effect.NEWS:
            del self._items[key]
        return effect

    def _seen(self, version: str, effect: Effect) -> Effect:
        if not usable(version) or older(version, self._version):
            return Effect.BREAK
        self._version = version
        return effect
