"""What passes between an API server's client and whoever follows a resource: pages, events, and failures as values.

Must not know: the client library, threads, or what objects are for.
Source: https://kubernetes.io/docs/reference/using-api/api-concepts/.
"""

import enum
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Generic, Protocol, TypeVar, final

import attrs

T = TypeVar("T")


@final
@attrs.frozen
class Key:
    """Which object of a resource; ``namespace`` is "" for those that have none."""

    namespace: str
    name: str


@final
@attrs.frozen
class Item(Generic[T]):
    """An object: which one, in which version, and what was read of it. Versions are opaque, but numbers on every server there is."""

    key: Key
    resource_version: str
    value: T


@enum.unique
class FailureKind(enum.Enum):
    """What a failed request means for whoever made it."""

    GONE = "gone"
    """The version asked for is not there any more (410, or 504 for one that the server has not reached): list afresh."""
    UNAUTHORIZED = "unauthorized"
    """401: the credentials are not, or no longer, good."""
    FORBIDDEN = "forbidden"
    """403: a right is missing; the message says which."""
    NOT_FOUND = "not_found"
    """404: no such resource or namespace here."""
    UNSUPPORTED = "unsupported"
    """400 or 422: the server does not know what was asked for, such as initial events."""
    TOO_MANY_REQUESTS = "too_many_requests"
    """429: later; ``retry_after`` says when."""
    SERVER_ERROR = "server_error"
    """5xx, or an answer that is no status at all."""
    UNREACHABLE = "unreachable"
    """No connection, or one that broke."""
    TIMEOUT = "timeout"
    """No answer, or no sign of life, within the bound."""
    MALFORMED = "malformed"
    """An answer that cannot be read, or is larger than any should be."""


@final
@attrs.frozen
class ApiFailure:
    """Why a request failed. ``status`` is 0 where there was none; ``retry_after`` is in seconds; ``message`` is short and fit for a log."""

    kind: FailureKind
    status: int = 0
    message: str = ""
    retry_after: float | None = None


@final
@attrs.frozen
class Page(Generic[T]):
    """A part of a list, in one version; the next part is asked for with ``continue_token``, "" when this is the last."""

    items: tuple[Item[T], ...]
    resource_version: str
    continue_token: str = ""


@final
@attrs.frozen
class Opened:
    """The server has taken the watch, and what it has to say follows: the first event of each watch that is not refused.

    Without it a watch that is never answered would look like one without news.
    """


@final
@attrs.frozen
class Put(Generic[T]):
    """An object was added or modified, or is one of the initial ones."""

    item: Item[T]


@final
@attrs.frozen
class Deleted:
    """An object is gone, or is no longer selected."""

    key: Key
    resource_version: str


@final
@attrs.frozen
class Bookmark:
    """Everything up to ``resource_version`` has been sent; ``initial_events_end`` marks the end of the initial objects."""

    resource_version: str
    initial_events_end: bool = False


WatchEvent = Opened | Put[T] | Deleted | Bookmark | ApiFailure
"""A failure is the last event of its watch. A watch that ends without one was ended by the server in good order."""


class ListWatch(Protocol[T]):
    """One resource of an API server, in one namespace or all, selected by labels on the server's side."""

    @property
    def name(self) -> str:
        """What it is, for logs: ``configmaps``, or ``configmaps in team-a``."""

    async def list_page(self, *, limit: int, continue_token: str = "", resource_version: str = "") -> "Page[T] | ApiFailure":
        """Return a page of at most ``limit`` objects.

        ``resource_version`` "" asks for the newest state, "0" for whatever the server has at hand.
        """

    def watch(
        self, *, resource_version: str, timeout: float, initial_events: bool = False
    ) -> "AbstractAsyncContextManager[AsyncIterator[WatchEvent[T]]]":
        """Watch from ``resource_version`` on, for ``timeout`` seconds by the server's clock; bookmarks are asked for.

        With ``initial_events`` the present objects come first, and then a bookmark that says so (the server's WatchList feature).
        Leaving the block ends the watch at once.
        """
