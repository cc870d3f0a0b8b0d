"""The vocabulary of lists and watches: pages, events, failures as values, and the protocols of those who make and follow them.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/.
"""

import enum
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Generic, Protocol, TypeVar, final

import attrs

T = TypeVar("T")


@final
@attrs.frozen
class Key:
    """Identifies an object of a resource; ``namespace`` is "" for cluster-scoped ones."""

    namespace: str
    name: str


@final
@attrs.frozen
class Item(Generic[T]):
    """An object: its key, its version, and its content. Versions are opaque, but every server uses numbers."""

    key: Key
    resource_version: str
    value: T


@enum.unique
class FailureKind(enum.Enum):
    """What a failed request means for its caller."""

    # The version no longer exists (410), or not yet (504): list again.
    GONE = "gone"
    # 401: the credentials are not, or no longer, valid.
    UNAUTHORIZED = "unauthorized"
    # 403: a right is missing; the message names it.
    FORBIDDEN = "forbidden"
    # 404: no such resource or namespace here.
    NOT_FOUND = "not_found"
    # 400 or 422: the server does not know the request, such as initial events.
    UNSUPPORTED = "unsupported"
    # 429: ``retry_after`` says when to try again.
    TOO_MANY_REQUESTS = "too_many_requests"
    # 5xx, or an answer without a proper status.
    SERVER_ERROR = "server_error"
    # No connection, or a broken one.
    UNREACHABLE = "unreachable"
    # No answer, or no sign of life, within the bound.
    TIMEOUT = "timeout"
    # An unreadable answer, or one that is too large.
    MALFORMED = "malformed"


@final
@attrs.frozen
class ApiFailure:
    """Why a request failed. ``status`` is 0 without an answer; ``retry_after`` is in seconds; ``message`` is short and fit for a log."""

    kind: FailureKind
    status: int = 0
    message: str = ""
    retry_after: float | None = None


@final
@attrs.frozen
class Page(Generic[T]):
    """A part of a list, in one version; ``continue_token`` requests the next part, "" if this is the last."""

    items: tuple[Item[T], ...]
    resource_version: str
    continue_token: str = ""


@final
@attrs.frozen
class Opened:
    """The server has accepted the watch: the first event of each watch that is not refused.

    Without it, a watch that is never answered would look like one without news.
    """


@final
@attrs.frozen
class Put(Generic[T]):
    """An object was added or modified, or is an initial one."""

    item: Item[T]


@final
@attrs.frozen
class Deleted:
    """An object is gone, or no longer selected."""

    key: Key
    resource_version: str


@final
@attrs.frozen
class Bookmark:
    """Everything up to ``resource_version`` has been sent; ``initial_events_end`` marks the end of the initial objects."""

    resource_version: str
    initial_events_end: bool = False


# A failure is the last event of its watch. Without one, the server ended the watch cleanly.
WatchEvent = Opened | Put[T] | Deleted | Bookmark | ApiFailure


class Lister(Protocol[T]):
    """One resource of an API server, in one namespace or all, with selection by the server."""

    @property
    def name(self) -> str:
        """The resource's name for logs: ``configmaps``, or ``configmaps in team-a``."""

    async def list_page(self, *, limit: int, continue_token: str = "", resource_version: str = "") -> "Page[T] | ApiFailure":
        """Return a page of at most ``limit`` objects.

        ``resource_version`` "" requests the newest state, "0" any state that the server has cached.
        """


class ListWatch(Lister[T], Protocol[T]):
    """A resource that can be watched, too."""

    def watch(
        self, *, resource_version: str, timeout: float, initial_events: bool = False
    ) -> "AbstractAsyncContextManager[AsyncIterator[WatchEvent[T]]]":
        """Watch from ``resource_version`` on, for ``timeout`` seconds by the server's clock, with bookmarks.

        With ``initial_events`` the present objects come first, then a bookmark that marks their end (the server's WatchList feature).
        Leaving the block ends the watch at once.
        """


class ReflectorObserver(Protocol[T]):
    """Receives a reflector's events, for logs and metrics; ``name`` is the ListWatch's. Must neither block nor raise."""

    def objects_changed(self, items: Mapping[Key, Item[T]], keys: Collection[Key] | None, /) -> None:
        """The objects under ``keys`` are different in ``items``, or gone from there; ``None``: any may be. The mapping changes later."""

    def listed(self, name: str, count: int, resource_version: str, /) -> None:
        """A complete state is known."""

    def failed(self, name: str, failure: ApiFailure, retry_in: float, /) -> None:
        """An attempt failed; the next follows in ``retry_in`` seconds. The known state stays."""

    def connected(self, name: str, connected: bool, /) -> None:  # noqa: FBT001 - the method's name says what is true
        """Changes are followed, or no longer followed."""

    def silent(self, name: str, seconds: float, /) -> None:
        """A watch was accepted and silent for ``seconds``, longer than a server is. A full list follows; not repeated before an event."""

    def went_back(self, name: str, known: str, found: str, /) -> None:
        """The server's version is lower than the known one: its store was restored or emptied. A new state follows."""
