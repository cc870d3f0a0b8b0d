"""Implements ``list_watch.ListWatch`` for one resource of an API server, over a connection.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/.
"""

import math
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, Generic, TypeVar, final
from urllib.parse import quote, unquote

import attrs
import trio

from exchanger.policy.selection import ConfigMap, Namespace
from exchanger.sources.kube.api.connection import ApiConnection
from exchanger.sources.kube.api.decoding import CONFIG_MAP, CONFIG_MAP_VERSION, NAMESPACE, Kind, read_event, read_page
from exchanger.sources.kube.api.transport import MAX_BODY_BYTES, ApiRequest, ApiResponseTooLarge
from exchanger.sources.kube.list_watch import ApiFailure, FailureKind, Lister, ListWatch, Opened, Page, WatchEvent

T = TypeVar("T")

# Batches of events between the watch's thread and its follower; each has the events of one read, 64 KiB or one long event.
WAITING_BATCHES: Final = 4
# Divides the size of a page that was too large: from 500 objects to one in five steps.
SHRINK: Final = 4
# Multiplies the size of the next page after one that fitted, up to the requested size: some large objects among many small ones must not
# make each later list one of thousands of pages. If all are large, a third of the requests fail.
GROW: Final = 2


def path_of(*segments: str) -> str:
    """Return the path of a resource or object, such as of ``"api", "v1", "namespaces", name``, with any characters in the names."""
    return "".join(f"/{quote(segment, safe='')}" for segment in segments)


@final
@attrs.define(eq=False)
class Resource(Generic[T]):
    """The objects at ``path`` that the selectors select, in the language of the API's ``labelSelector`` and ``fieldSelector``."""

    connection: ApiConnection
    path: str
    kind: Kind[T]
    label_selector: str = ""
    field_selector: str = ""
    # The number of objects of the next page, after one that was too large.
    _most: int | None = attrs.field(default=None, init=False)

    @property
    def name(self) -> str:
        """The resource's name for logs: ``configmaps``, or ``configmaps in team-a``."""
        resource = self.path.rpartition("/")[2]
        return f"{resource} in {self.namespace}" if self.namespace else resource

    @property
    def namespace(self) -> str:
        """The namespace in the path, "" for none: no object may be in another one."""
        segments = self.path.split("/")
        in_namespace = len(segments) > 2 and segments[-3] == "namespaces"  # noqa: PLR2004 - …/namespaces/NAMESPACE/RESOURCE
        return unquote(segments[-2]) if in_namespace else ""

    async def list_page(self, *, limit: int, continue_token: str = "", resource_version: str = "") -> Page[T] | ApiFailure:
        """Return a page of at most ``limit`` objects; fewer if they are large, and the next page continues with the rest."""
        version = "" if continue_token else resource_version  # the token includes one, and the server rejects another
        read = partial(read_page, kind=self.kind, namespace=self.namespace)
        while True:
            size = limit if self._most is None else min(limit, self._most)
            query = self._query(limit=str(size), resourceVersion=version, **{"continue": continue_token})
            outcome = await self.connection.ask(ApiRequest("GET", self.path, query, accept=self.kind.accept), read)
            if isinstance(outcome, Page) and size == self._most:
                self._most = size * GROW
            if not isinstance(outcome, ApiResponseTooLarge):
                return outcome
            if size <= 1 and not version:
                return ApiFailure(FailureKind.MALFORMED, message=f"a page of more than {MAX_BODY_BYTES} bytes")
            # A cached state ("0") may ignore the limit; the newest one is never worse.
            version = ""
            self._most = max(1, size // SHRINK)

    @asynccontextmanager
    async def watch(
        self,
        *,
        resource_version: str,
        timeout: float,  # noqa: ASYNC109 - the server keeps it
        initial_events: bool = False,
    ) -> AsyncGenerator[AsyncIterator[WatchEvent[T]]]:
        """Watch from ``resource_version`` on, for ``timeout`` seconds by the server's clock.

        A server that is silent for long is asked for a sign of life; if it gives none, the last event is a TIMEOUT. Nothing is lost then,
        and a new watch continues from the last version. An exception of the block is raised in a group, as by a nursery.
        """
        query = self._query(
            watch="true",
            allowWatchBookmarks="true",
            timeoutSeconds=str(max(1, math.ceil(timeout))),
            resourceVersion=resource_version,
            **({"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"} if initial_events else {}),
        )
        send, receive = trio.open_memory_channel[tuple[WatchEvent[T], ...]](WAITING_BATCHES)
        async with trio.open_nursery() as nursery:
            with receive:
                nursery.start_soon(self._follow, ApiRequest("GET", self.path, query), timeout, send)
                yield _Events(receive)
                nursery.cancel_scope.cancel()

    async def _follow(self, request: ApiRequest, seconds: float, send: trio.MemorySendChannel[tuple[WatchEvent[T], ...]]) -> None:
        async def take(batch: tuple[WatchEvent[T], ...]) -> bool:
            await send.send(batch)
            return not isinstance(batch[-1], ApiFailure)

        with send:
            failure = await self.connection.follow(request, seconds, self._read, take)
            if failure is not None:
                await send.send((failure,))

    def _read(self, lines: list[bytes]) -> tuple[WatchEvent[T], ...]:
        if not lines:
            return (Opened(),)
        events: list[WatchEvent[T]] = []
        namespace = self.namespace
        for line in lines:
            event = read_event(line, self.kind, namespace)
            events.append(event)
            if isinstance(event, ApiFailure):
                break  # a failure is the last event
        return tuple(events)

    def _query(self, **parameters: str) -> tuple[tuple[str, str], ...]:
        selectors = {"labelSelector": self.label_selector, "fieldSelector": self.field_selector}
        return tuple((name, text) for name, text in {**selectors, **parameters}.items() if text)


@final
@attrs.define(eq=False)
class _Events(Generic[T]):
    """The events of a watch, one by one; the wait for the next one may be cancelled without loss."""

    _batches: trio.MemoryReceiveChannel[tuple[WatchEvent[T], ...]]
    _waiting: deque[WatchEvent[T]] = attrs.field(factory=deque, init=False)

    def __aiter__(self) -> AsyncIterator[WatchEvent[T]]:
        return self

    async def __anext__(self) -> WatchEvent[T]:
        if not self._waiting:
            try:
                self._waiting.extend(await self._batches.receive())
            except trio.EndOfChannel:
                raise StopAsyncIteration from None
        return self._waiting.popleft()


@final
@attrs.define(eq=False)
class PolicyListWatches:
    """The resources of one API server that policy is made from."""

    connection: ApiConnection

    def namespaces(self, selector: str, /) -> ListWatch[Namespace]:
        """Return the Namespaces that ``selector`` matches."""
        return Resource(self.connection, path_of("api", "v1", "namespaces"), NAMESPACE, selector)

    def config_maps(self, selector: str, namespace: str, /) -> ListWatch[ConfigMap]:
        """Return the ConfigMaps that ``selector`` matches, in one namespace, or in all with ""."""
        within = ("namespaces", namespace) if namespace else ()
        return Resource(self.connection, path_of("api", "v1", *within, "configmaps"), CONFIG_MAP, selector)

    def config_map_versions(self, selector: str, /) -> Lister[bool]:
        """Return the names and versions of the ConfigMaps that ``selector`` matches, in all namespaces."""
        return Resource(self.connection, path_of("api", "v1", "configmaps"), CONFIG_MAP_VERSION, selector)

    def config_map(self, selector: str, namespace: str, name: str, /) -> Lister[ConfigMap]:
        """Return one ConfigMap, if ``selector`` matches it: as a list, which takes no more rights than the others do."""
        path = path_of("api", "v1", "namespaces", namespace, "configmaps")
        return Resource(self.connection, path, CONFIG_MAP, selector, f"metadata.name={name}")
