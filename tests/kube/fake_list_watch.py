"""What clients see of the fake API server: resources, lists of them, and watches.

Each ``FakeResource`` keeps objects of one kind in the server's store, and ``FakeListWatch`` is a client's view of them, in one namespace or
all, selected by labels.
"""

import contextlib
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Generic, TypeVar

import attrs
import trio

from exchanger.kube.list_watch import ApiFailure, Bookmark, Deleted, FailureKind, Item, Key, Opened, Page, Put, WatchEvent
from tests.kube.fake_api_server import Change, FakeApiServer, Initial, Labels, Objects, Request, Stored, Verb

T = TypeVar("T")

BOOKMARK_S: Final = 60.0
HELD_BACK_S: Final = 0.25
"""Seconds between looks whether what is held back may go on."""
Selects = Callable[[Labels], bool]


@attrs.define(eq=False)
class FakeResource(Generic[T]):
    """Objects of one kind in the server's store."""

    server: FakeApiServer
    name: str

    def put(self, name: str, value: T, *, namespace: str = "", labels: Labels | None = None) -> Stored:
        """Create or replace an object."""
        return self.server.write(self.name, Key(namespace, name), value, labels)

    def delete(self, name: str, *, namespace: str = "") -> None:
        """Delete an object, if it is there."""
        self.server.delete(self.name, Key(namespace, name))

    def inject(self, event: WatchEvent[T]) -> None:
        """Send an event to all watches of this resource, whether it is true or not."""
        for watcher in tuple(self.server.watchers):
            if watcher.resource == self.name:
                watcher.push(event)

    def list_watch(self, *, namespace: str = "", selects: Selects = lambda _: True) -> "FakeListWatch[T]":
        """Return a client's view: of one namespace, or of all with ""; of the objects whose labels ``selects`` takes."""
        return FakeListWatch(self.server, self.name, namespace, selects)


@attrs.define(eq=False)
class FakeListWatch(Generic[T]):
    """Implements ``ListWatch``."""

    server: FakeApiServer
    resource: str
    namespace: str
    selects: Selects

    @property
    def name(self) -> str:
        return f"{self.resource} in {self.namespace}" if self.namespace else self.resource

    def view(self, objects: "Objects | None" = None) -> dict[Key, Item[T]]:
        """Return what a list of ``objects`` (by default the present ones) shows."""
        found = (self.server.objects if objects is None else objects).items()
        return {key: stored.item() for (resource, key), stored in sorted(found, key=_in_order) if self.shows(resource, stored)}

    def ever(self, items: Mapping[Key, Item[T]]) -> bool:
        """Return whether ``items`` is what a list would have shown at any time since the server began."""
        return any(self.view(objects) == items for objects in reversed(self.server.past))

    def shows(self, resource: str, stored: Stored | None) -> bool:
        return (
            stored is not None
            and resource == self.resource
            and self.namespace in {"", stored.key.namespace}
            and self.selects(dict(stored.labels))
        )

    async def list_page(self, *, limit: int, continue_token: str = "", resource_version: str = "") -> Page[T] | ApiFailure:
        server = self.server
        request = Request(trio.current_time(), self.resource, Verb.LIST, resource_version, limit=limit, continue_token=continue_token)
        failure = await server.admit(request) or self.forbidden("list")
        if failure is not None:
            return failure
        version, start = server.version, 0
        if continue_token:
            version, start = (int(part) for part in continue_token.split(":"))
            if version < server.compacted or version not in server.states:
                return ApiFailure(FailureKind.GONE, 410, "the continue token is too old")
        elif resource_version not in {"", "0"} and int(resource_version) > version:
            return ApiFailure(FailureKind.GONE, 504, "Too large resource version")
        found = tuple(self.view(server.states[version]).values())
        end = start + limit if limit else len(found)
        return Page(found[start:end], str(version), f"{version}:{end}" if end < len(found) else "")

    @asynccontextmanager
    async def watch(
        self,
        *,
        resource_version: str,
        timeout: float,  # noqa: ASYNC109 - the Protocol's signature: it is the server that ends the watch
        initial_events: bool = False,
    ) -> AsyncGenerator[AsyncIterator[WatchEvent[T]], None]:
        server = self.server
        request = Request(trio.current_time(), self.resource, Verb.WATCH, resource_version, initial_events=initial_events, timeout=timeout)
        watcher = _Watcher(self, trio.current_time() + timeout, request)
        try:
            yield watcher
        finally:
            watcher.ended = True
            if watcher in server.watchers:
                server.watchers.remove(watcher)

    def forbidden(self, verb: str) -> ApiFailure | None:
        if self.namespace not in self.server.forbidden:
            return None
        return ApiFailure(FailureKind.FORBIDDEN, 403, f'{self.resource} is forbidden: User "x" cannot {verb} resource "{self.resource}"')

    def refusal(self, request: Request) -> ApiFailure | None:
        if (forbidden := self.forbidden("watch")) is not None:
            return forbidden
        if request.initial_events:
            if self.server.initial is Initial.REFUSED:
                return ApiFailure(FailureKind.UNSUPPORTED, 422, "sendInitialEvents is forbidden for watch")
        elif request.resource_version not in {"", "0"} and int(request.resource_version) < self.server.compacted:
            return ApiFailure(FailureKind.GONE, 410, "too old resource version")
        return None


class _Watcher:
    """A watch: what the server has queued for it, and the client's iterator over that."""

    def __init__(self, list_watch: FakeListWatch[Any], ends_at: float, request: Request) -> None:
        self.list_watch = list_watch
        self.resource = list_watch.resource
        self.namespace = list_watch.namespace
        self._request: Request | None = request
        self.version = 0
        self.ended = False
        self._said = False
        self.ends_at = ends_at
        self._bookmark_at = trio.current_time() + BOOKMARK_S
        self._send, self._receive = trio.open_memory_channel[WatchEvent[Any]](math.inf)

    async def _ask(self, request: Request) -> None:
        """Make the request, when the client waits for what it brings; before that, the client does not know whether it is taken."""
        server = self.list_watch.server
        failure = await server.admit(request) or self.list_watch.refusal(request)
        if failure is not None:
            self.end(failure)
            return
        server.watchers.append(self)
        self.push(Opened())
        self.begin(request.resource_version, initial_events=request.initial_events)

    def begin(self, resource_version: str, *, initial_events: bool) -> None:
        server = self.list_watch.server
        if resource_version in {"", "0"}:
            self.version = server.version
            for item in self.list_watch.view().values():
                self.push(Put(item))
            if initial_events and server.initial is Initial.OFFERED:
                self.push(Bookmark(str(server.version), initial_events_end=True))
            return
        self.version = int(resource_version)
        for change in server.history:
            self.offer(change)

    def offer(self, change: Change) -> None:
        if change.version <= self.version:
            return
        self.version = change.version
        shown, was_shown = (self.list_watch.shows(change.resource, stored) for stored in (change.after, change.before))
        if shown:
            assert change.after is not None
            self.push(Put(change.after.item()))
        elif was_shown:
            self.push(Deleted(change.key, str(change.version)))

    def push(self, event: WatchEvent[Any]) -> None:
        self._send.send_nowait(event)

    def end(self, failure: ApiFailure | None) -> None:
        with contextlib.suppress(trio.WouldBlock):
            while self.list_watch.server.frozen:
                self._receive.receive_nowait()  # what was held back is lost
        if failure is not None:
            self.push(failure)
        self.ended = True
        self._send.close()
        if self in self.list_watch.server.watchers:
            self.list_watch.server.watchers.remove(self)

    def __aiter__(self) -> "_Watcher":
        return self

    async def __anext__(self) -> WatchEvent[Any]:
        server = self.list_watch.server
        if self._request is not None:
            request, self._request = self._request, None
            await self._ask(request)
        while True:
            await trio.lowlevel.checkpoint()
            await server.running()
            if self._said:
                await self._held_back()
            event = await self._next()
            await server.running()
            if event is not None:
                if self._said:
                    await self._held_back()
                    if self.ended and server.frozen and not isinstance(event, ApiFailure):
                        continue  # it is lost
                self._said = True
                return event

    async def _held_back(self) -> None:
        """Wait for as long as something in between lets nothing through but the end, or not even that."""
        server = self.list_watch.server
        while not self.ended and (server.frozen or (server.buffers and trio.current_time() < self.ends_at)):  # noqa: ASYNC110
            await trio.sleep(HELD_BACK_S)

    async def _next(self) -> WatchEvent[Any] | None:
        """Wait for an event, or for the time at which there may be something else to send."""
        try:
            try:
                return self._receive.receive_nowait()  # no bookmark overtakes what is queued
            except trio.WouldBlock:
                pass
            with trio.move_on_at(min(self.ends_at, self._bookmark_at)):
                return await self._receive.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None
        return None if self._receive.statistics().current_buffer_used else self._tick()

    def _tick(self) -> Bookmark | None:
        """Time passed without an event: end the watch, or send a bookmark if it is time for one."""
        server = self.list_watch.server
        now = trio.current_time()
        if server.paused or server.frozen:
            return None
        if self.ended or now >= self.ends_at:
            raise StopAsyncIteration
        self._bookmark_at = now + BOOKMARK_S
        if not server.bookmarks or server.version < self.version:
            return None
        self.version = server.version
        return Bookmark(str(server.version))


def _in_order(entry: tuple[tuple[str, Key], Stored]) -> tuple[str, str]:
    (_, key), _ = entry
    return key.namespace, key.name
