"""Complete states of a resource, gathered in parts: by pages of a list, or out of the beginning of a watch.

A state is whole or it is a failure; nothing in between leaves this module. Whatever the server does, the number of parts and objects is
bounded, and the time of a list.
"""

from collections.abc import AsyncIterator, Callable
from typing import Final, TypeVar, assert_never, final

import attrs
import trio

from exchanger.kube.list_watch import ApiFailure, Bookmark, Deleted, FailureKind, Item, Key, ListWatch, Opened, Put, WatchEvent
from exchanger.kube.reflection import Complete, usable

T = TypeVar("T")

PAGE_SIZE: Final = 500
"""Objects a page, as client-go and kubectl ask for: at a few kilobytes each, a page is some megabytes."""
MAX_OBJECTS: Final = 100_000
"""Ten times as many as the largest cluster that policy is made for; more are a mistake in a selector, or in the server."""
MAX_PAGES: Final = 1_000
"""Five times what ``MAX_OBJECTS`` need: a server may fill pages less than asked for, but a list must end."""
LIST_TIMEOUT_S: Final = 300.0
"""Seconds for all pages: API servers compact their history every five minutes, and a list that takes longer loses its version."""


@final
@attrs.frozen
class ListBounds:
    """``timeout`` is in seconds."""

    page_size: int = PAGE_SIZE
    max_objects: int = MAX_OBJECTS
    max_pages: int = MAX_PAGES
    timeout: float = LIST_TIMEOUT_S


async def list_all(list_watch: ListWatch[T], bounds: ListBounds) -> Complete[T] | ApiFailure:
    """List by pages, all in the newest version there is.

    client-go allows the first list to be as old as the server likes (version "0") and asks later ones to be no older than what it knows.
    Here every list is consistent: one that lags could put a policy back in force that was withdrawn, and one that must not be older than
    something known would never show that a store was restored.

    The version stays the same over all pages (https://kubernetes.io/docs/reference/using-api/api-concepts/#retrieving-large-results-sets-in-chunks);
    pages of different versions are no state that ever was.
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
    events: AsyncIterator[WatchEvent[T]], bounds: ListBounds, heard: Callable[[], None]
) -> Complete[T] | ApiFailure | None:
    """Take the initial objects from ``events``, up to the bookmark that ends them; ``None`` when the server ended the watch before.

    The wait is the caller's to bound; ``heard`` is called for each event. Other events than objects may come between them, since the
    server goes on while it sends (https://kubernetes.io/docs/reference/using-api/api-concepts/#streaming-lists).
    """
    items: dict[Key, Item[T]] = {}
    async for event in events:
        heard()
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
