"""Whom a reflector tells, and what can be asked of it.

Must not know: how it comes to know what it tells.
"""

from collections.abc import Mapping
from typing import Protocol, TypeVar, final

import attrs

from exchanger.kube.list_watch import ApiFailure, Item, Key
from exchanger.kube.recovery import Attempt

T = TypeVar("T")


class Sink(Protocol[T]):
    """Is kept up to date; must neither block nor raise."""

    def replaced(self, items: Mapping[Key, Item[T]], /) -> None:
        """All objects there are: one complete state instead of the one before. The mapping does not change later."""

    def put(self, item: Item[T], /) -> None:
        """An object is new or other than before."""

    def deleted(self, key: Key, /) -> None:
        """An object is gone, or is no longer selected."""


class ReflectorObserver(Protocol):
    """Learns of what happens, for logs and metrics; ``name`` is the ListWatch's. Must neither block nor raise."""

    def listed(self, name: str, count: int, resource_version: str, /) -> None:
        """A complete state was handed to the sink."""

    def failed(self, name: str, failure: ApiFailure, retry_in: float, /) -> None:
        """An attempt failed; the next is made in ``retry_in`` seconds. What is known stays."""

    def connected(self, name: str, connected: bool, /) -> None:  # noqa: FBT001 - the method's name says what is true
        """Changes are followed, or no longer followed."""

    def silent(self, name: str, seconds: float, /) -> None:
        """A watch was taken and has said nothing for ``seconds``, longer than a server is silent; told once until watches speak again.

        A list of everything follows.
        """

    def went_back(self, name: str, known: str, found: str, /) -> None:
        """The server's version is lower than the one known: its store was restored or emptied. A new state follows."""


@final
@attrs.frozen
class ReflectorStatistics:
    """Counts are since the start.

    ``state`` is what the reflector is at, or will be when it no longer waits (``waiting``). ``lists`` counts complete states, whatever
    requests they came by, and ``comparisons`` the regular ones among them; ``events`` those of watches after that, bookmarks included.

    ``connected``: a watch is being followed. ``doubted``: watches said nothing for longer than a server is silent, and none has spoken
    since. ``last_contact`` is when (seconds of trio's clock) what is known was last known to be right: by a complete state, an event, a
    watch that ended in good order, or one that was taken when there was no doubt; ``None`` before that.
    """

    state: Attempt
    waiting: bool
    resource_version: str
    objects: int
    lists: int
    comparisons: int
    probes: int
    watches: int
    events: int
    failures: int
    last_contact: float | None
    connected: bool
    doubted: bool
