"""An API server in memory, as far as lists and watches see it: versions, a history that is compacted, pages, bookmarks, and faults.

One ``FakeApiServer`` has a store with one counter of versions, as etcd is for a real one. A ``FakeResource`` keeps objects of one kind in
it, and a ``FakeListWatch`` is a client's view of them, in one namespace or all, selected by labels.
It is made for trio's MockClock: time passes only while it is waited for.

The server's habits are those of kube-apiserver: a write is one version; a watch gets what is newer than its version, and nothing, not even
bookmarks, while the server's version is lower (a restored store); pages of one list are of one version; a version whose history was
compacted is GONE; an object that gains the selected label arrives as put, one that loses it as deleted.
"""

import contextlib
import enum
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Generic, TypeAlias, TypeVar

import attrs
import trio
from rpds import HashTrieMap

from exchanger.sources.kube.list_watch import ApiFailure, Bookmark, Deleted, FailureKind, Item, Key, Opened, Page, Put, WatchEvent
from tests.steps import uncounted

T = TypeVar("T")

FIRST_VERSION: Final = 100
BOOKMARK_S: Final = 60.0
# Seconds between looks whether what is held back may go on.
HELD_BACK_S: Final = 0.25

Labels = Mapping[str, str]
Selects = Callable[[Labels], bool]


class Initial(enum.Enum):
    """What the server makes of a watch that asks for initial events."""

    OFFERED = "offered"
    # Known, but switched off: 422.
    REFUSED = "refused"
    # Not known: the objects are sent, and nothing tells when they end.
    IGNORED = "ignored"


class Verb(enum.Enum):
    LIST = "list"
    WATCH = "watch"


@attrs.frozen
class Request:
    """A request as the server saw it; ``time`` is trio's."""

    time: float
    resource: str
    verb: Verb
    resource_version: str
    limit: int = 0
    continue_token: str = ""
    initial_events: bool = False
    timeout: float = 0.0
    # The object that is asked for alone, and whether only versions are.
    only: str = ""
    versions: bool = False


@attrs.frozen
class Stored:
    """An object in the store; ``value`` is whatever its resource keeps."""

    key: Key
    version: int
    value: Any
    labels: tuple[tuple[str, str], ...] = ()

    def item(self) -> Item[Any]:
        return Item(self.key, str(self.version), self.value)


@attrs.frozen
class Change:
    """One write: what was there before, and after it."""

    version: int
    resource: str
    key: Key
    before: Stored | None
    after: Stored | None


# The whole store at one version, by resource and key. Persistent, so each version of it can be kept.
Objects: TypeAlias = "HashTrieMap[tuple[str, Key], Stored]"


@attrs.define(eq=False)
class _Script:
    """Failures that requests of one kind get, after ``skip`` that do not."""

    failure: ApiFailure
    verb: Verb | None
    resource: str | None
    skip: int
    times: float


@attrs.define(eq=False)
class FakeApiServer:
    """The server. Attributes may be changed at any time.

    ``paused``: nothing is answered or sent until that is over (SIGSTOP). ``failing``: what every request gets until that is over, and no
    watch is cut by it (see ``cut``). ``mute``: writes are not told to watches, as if their events were lost; bookmarks go on.
    ``bookmarks``: whether they are sent. ``buffers``: what watches say arrives when they end, as through a proxy that collects answers.
    ``frozen``: watches are taken, and say nothing and do not end; all other requests are answered.
    ``ends_after``: watches from a version end after so many events, whatever else is queued.
    ``late``: seconds by which the watches of a resource deliver late, with nothing to show it.
    ``latency``: seconds of each request. ``watch_latency``: seconds more until a watch is taken,
    ``math.inf``: it never is. ``before``: called with each request before its answer is made, for things that happen in the middle of
    something.
    """

    initial: Initial = Initial.OFFERED
    bookmarks: bool = True
    buffers: bool = False
    frozen: bool = False
    ends_after: int | None = None
    failing: ApiFailure | None = None
    mute: bool = False
    late: dict[str, float] = attrs.field(factory=dict)
    latency: float = 0.0
    watch_latency: float = 0.0
    # Seconds after which the client's side of a request that is not answered gives TIMEOUT.
    client_timeout: float = 30.0
    before: Callable[[Request], None] | None = None
    # Namespaces that clients may not read.
    forbidden: set[str] = attrs.field(factory=set, init=False)
    requests: list[Request] = attrs.field(factory=list, init=False)
    version: int = attrs.field(default=FIRST_VERSION, init=False)
    compacted: int = attrs.field(default=0, init=False)
    objects: Objects = attrs.field(factory=HashTrieMap, init=False)
    history: list[Change] = attrs.field(factory=list, init=False)
    # The store at each version of the present history.
    states: dict[int, Objects] = attrs.field(init=False)
    # Every state that the store ever had, in all histories.
    past: list[Objects] = attrs.field(init=False)
    watchers: "list[Watcher]" = attrs.field(factory=list, init=False)
    _scripts: list[_Script] = attrs.field(factory=list, init=False)
    _resumed: trio.Event | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.states = {self.version: self.objects}
        self.past = [self.objects]

    # What may happen to the store

    def write(self, resource: str, key: Key, value: Any, labels: Labels | None = None) -> Stored:
        """Create or replace an object."""
        stored = Stored(key, self.version + 1, value, tuple(sorted((labels or {}).items())))
        self._change(resource, key, stored)
        return stored

    def delete(self, resource: str, key: Key) -> None:
        """Delete an object; nothing happens when there is none."""
        if (resource, key) in self.objects:
            self._change(resource, key, None)

    def touch(self) -> None:
        """Use up a version for something that no resource here is about."""
        self.version += 1
        self.states[self.version] = self.objects

    def compact(self, version: int | None = None) -> None:
        """Forget the history before ``version``, by default before the present one. Watches that are open go on."""
        self.compacted = max(self.compacted, min(self.version, self.version if version is None else version))

    def restore(self, version: int) -> None:
        """Go back to ``version``, as if etcd was restored from a snapshot: what came after it never was."""
        self.version = max(found for found in self.states if found <= version)
        self.objects = self.states[self.version]
        self.past.append(self.objects)
        self.states = {found: objects for found, objects in self.states.items() if found <= self.version}
        self.history = [change for change in self.history if change.version <= self.version]
        self.compacted = min(self.compacted, self.version)

    def wipe(self) -> None:
        """Begin anew with an empty store at version 1."""
        self.version, self.compacted, self.objects = 1, 0, HashTrieMap()
        self.states, self.history = {1: self.objects}, []
        self.past.append(self.objects)

    # What may happen to requests

    def fail(self, failure: ApiFailure, *, verb: Verb | None = None, resource: str | None = None, skip: int = 0, times: float = 1) -> None:
        """Answer the next ``times`` requests (of ``verb`` and ``resource``, if given) after ``skip`` others with ``failure``."""
        self._scripts.append(_Script(failure, verb, resource, skip, times))

    def fail_for_ever(self, failure: ApiFailure, *, verb: Verb, resource: str | None = None) -> None:
        """Answer all requests of ``verb`` with ``failure`` until ``heal``."""
        self.fail(failure, verb=verb, resource=resource, times=math.inf)

    def forbid(self, namespace: str) -> None:
        """Take the rights for ``namespace`` away, and cut its watches, as an API server does not; those would end by themselves."""
        self.forbidden.add(namespace)
        for watcher in tuple(self.watchers):
            if watcher.namespace == namespace:
                watcher.end(None)

    def heal(self) -> None:
        """End every fault; versions that went back stay where they are."""
        self.failing, self.mute, self.buffers, self.frozen, self.ends_after = None, False, False, False, None
        self.late.clear()
        self._scripts.clear()
        self.forbidden.clear()
        self.resume()

    def pause(self) -> None:
        """Answer nothing and send nothing until ``resume``."""
        if self._resumed is None:
            self._resumed = trio.Event()

    def resume(self) -> None:
        """Go on after ``pause``."""
        if self._resumed is not None:
            self._resumed.set()
            self._resumed = None

    def lose(self, resource: str, failure: ApiFailure) -> None:
        """Cut the watches of one resource and refuse its requests, until ``find``."""
        self.fail(failure, resource=resource, times=math.inf)
        self.cut(failure, resource=resource)

    def find(self, resource: str) -> None:
        """Answer requests for one resource again."""
        self._scripts[:] = [script for script in self._scripts if script.resource != resource]

    def cut(self, failure: ApiFailure | None = None, *, resource: str | None = None) -> None:
        """End all watches: in good order, or with ``failure``."""
        for watcher in tuple(self.watchers):
            if resource in {None, watcher.resource}:
                watcher.end(failure)

    def stop(self, failure: ApiFailure | None = None) -> None:
        """Go away: cut all watches and refuse all requests until ``heal``."""
        self.failing = failure or ApiFailure(FailureKind.UNREACHABLE, message="connection refused")
        self.cut(self.failing)

    # The server's side

    def _change(self, resource: str, key: Key, after: Stored | None) -> None:
        before = self.objects.get((resource, key))
        self.version += 1
        self.objects = self.objects.discard((resource, key)) if after is None else self.objects.insert((resource, key), after)
        self.states[self.version] = self.objects
        self.past.append(self.objects)
        change = Change(self.version, resource, key, before, after)
        self.history.append(change)
        if not self.mute:
            for watcher in tuple(self.watchers):
                watcher.offer(change)

    async def admit(self, request: Request) -> ApiFailure | None:
        """Take a request; return why it fails, or ``None``."""
        self.requests.append(request)
        with trio.move_on_after(self.client_timeout):
            await trio.sleep(self.latency)
            await trio.sleep(self.watch_latency if request.verb is Verb.WATCH else 0.0)
            await self.running()
            if self.before is not None:
                self.before(request)
            return self._scripted(request) or self.failing
        return ApiFailure(FailureKind.TIMEOUT, message="no answer")

    async def running(self) -> None:
        """Wait until the server is not paused."""
        while self._resumed is not None:
            await self._resumed.wait()

    @property
    def paused(self) -> bool:
        """Whether nothing is sent."""
        return self._resumed is not None

    def _scripted(self, request: Request) -> ApiFailure | None:
        for script in self._scripts:
            if script.verb in {None, request.verb} and script.resource in {None, request.resource}:
                if script.skip:
                    script.skip -= 1
                    continue
                script.times -= 1
                if script.times <= 0:
                    self._scripts.remove(script)
                return script.failure
        return None


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

    def list_watch(self, *, namespace: str = "", selects: Selects = lambda _: True, only: str = "") -> "FakeListWatch[T]":
        """Return a client's view: of one namespace, or of all with ""; of the objects whose labels ``selects`` takes; of ``only`` one."""
        return FakeListWatch(self.server, self.name, namespace, selects, only)

    def versions(self, *, selects: Selects = lambda _: True) -> "FakeVersions":
        """Return a client's view of the names and versions of all objects whose labels ``selects`` takes."""
        return FakeVersions(self.list_watch(selects=selects))


@attrs.define(eq=False)
class FakeListWatch(Generic[T]):
    """Implements ``ListWatch``."""

    server: FakeApiServer
    resource: str
    namespace: str
    selects: Selects
    only: str = ""

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
            and self.only in {"", stored.key.name}
            and self.selects(dict(stored.labels))
        )

    async def list_page(
        self, *, limit: int, continue_token: str = "", resource_version: str = "", versions: bool = False
    ) -> Page[T] | ApiFailure:
        server, now = self.server, trio.current_time()
        asked = Request(now, self.resource, Verb.LIST, resource_version, limit=limit, continue_token=continue_token)
        request = attrs.evolve(asked, only=self.only, versions=versions)
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
        with uncounted():
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
        watcher = Watcher(self, trio.current_time() + timeout, request)
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


@attrs.frozen
class FakeVersions:
    """Implements ``Lister`` for names and versions of what ``objects`` shows."""

    objects: FakeListWatch[Any]

    @property
    def name(self) -> str:
        return self.objects.name

    async def list_page(self, *, limit: int, continue_token: str = "", resource_version: str = "") -> Page[bool] | ApiFailure:
        page = await self.objects.list_page(limit=limit, continue_token=continue_token, resource_version=resource_version, versions=True)
        if isinstance(page, ApiFailure):
            return page
        return attrs.evolve(page, items=tuple(attrs.evolve(item, value=True) for item in page.items))


class Watcher:
    """A watch: what the server has queued for it, and the client's iterator over that."""

    def __init__(self, list_watch: FakeListWatch[Any], ends_at: float, request: Request) -> None:
        self.list_watch = list_watch
        self.resource = list_watch.resource
        self.namespace = list_watch.namespace
        self._request: Request | None = request
        self.version = 0
        self.ended = False
        self._is_initial = request.initial_events
        self._said = False
        self._told = 0
        self._due = -math.inf
        self.ends_at = ends_at
        self._bookmark_at = trio.current_time() + BOOKMARK_S
        self._send, self._receive = trio.open_memory_channel[tuple[float, WatchEvent[Any]]](math.inf)

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
        late = 0.0 if isinstance(event, Opened) else self.list_watch.server.late.get(self.resource, 0.0)
        self._due = max(self._due, trio.current_time() + late)  # in order, whenever the delay changes
        self._send.send_nowait((self._due, event))

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

    def __aiter__(self) -> "Watcher":
        return self

    async def __anext__(self) -> WatchEvent[Any]:
        server = self.list_watch.server
        if self._request is not None:
            request, self._request = self._request, None
            await self._ask(request)
        while True:
            await trio.lowlevel.checkpoint()
            await server.running()
            if self._said and not self._is_initial and server.ends_after is not None and self._told >= server.ends_after:
                raise StopAsyncIteration
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
                self._told += isinstance(event, Put | Deleted)
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
                due, event = self._receive.receive_nowait()  # no bookmark overtakes what is queued
            except trio.WouldBlock:
                pass
            else:
                await trio.sleep_until(due)
                return event
            found: tuple[float, WatchEvent[Any]] | None = None
            with trio.move_on_at(min(self.ends_at, self._bookmark_at)):
                found = await self._receive.receive()
            if found is not None:
                due, event = found
                await trio.sleep_until(due)
                return event
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
