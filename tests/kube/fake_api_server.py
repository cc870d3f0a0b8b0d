"""An API server in memory, as far as lists and watches see it: versions, a history that is compacted, pages, bookmarks, and faults.

One ``FakeApiServer`` has a store with one counter of versions, as etcd is for a real one. What a client sees of it is in fake_list_watch.
It is made for trio's MockClock: time passes only while it is waited for.

The server's habits are those of kube-apiserver: a write is one version; a watch gets what is newer than its version, and nothing, not even
bookmarks, while the server's version is lower (a restored store); pages of one list are of one version; a version whose history was
compacted is GONE; an object that gains the selected label arrives as put, one that loses it as deleted.
"""

import enum
import math
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, TypeAlias

import attrs
import trio
from rpds import HashTrieMap

from exchanger.kube.list_watch import ApiFailure, FailureKind, Item, Key, WatchEvent

FIRST_VERSION: Final = 100

Labels = Mapping[str, str]


class Initial(enum.Enum):
    """What the server makes of a watch that asks for initial events."""

    OFFERED = "offered"
    REFUSED = "refused"
    """Known, but switched off: 422."""
    IGNORED = "ignored"
    """Not known: the objects are sent, and nothing tells when they end."""


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


class Watcher(Protocol):
    """An open watch, as far as the server knows it."""

    resource: str
    namespace: str
    ends_at: float
    """Trio's time at which the server ends it."""

    def offer(self, change: Change) -> None:
        """Tell of ``change``, unless the client does not see it or knows it already."""

    def push(self, event: WatchEvent[Any]) -> None:
        """Send an event, whether it is true or not."""

    def end(self, failure: ApiFailure | None) -> None:
        """End the watch, in good order or with ``failure``."""


Objects: TypeAlias = "HashTrieMap[tuple[str, Key], Stored]"
"""The whole store at one version, by resource and key. Persistent, so each version of it can be kept."""


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
    ``latency``: seconds of each request. ``watch_latency``: seconds more until a watch is taken,
    ``math.inf``: it never is. ``before``: called with each request before its answer is made, for things that happen in the middle of
    something.
    """

    initial: Initial = Initial.OFFERED
    bookmarks: bool = True
    buffers: bool = False
    frozen: bool = False
    failing: ApiFailure | None = None
    mute: bool = False
    latency: float = 0.0
    watch_latency: float = 0.0
    client_timeout: float = 30.0
    """Seconds after which the client's side of a request that is not answered gives TIMEOUT."""
    before: Callable[[Request], None] | None = None
    forbidden: set[str] = attrs.field(factory=set, init=False)
    """Namespaces that clients may not read."""
    requests: list[Request] = attrs.field(factory=list, init=False)
    version: int = attrs.field(default=FIRST_VERSION, init=False)
    compacted: int = attrs.field(default=0, init=False)
    objects: Objects = attrs.field(factory=HashTrieMap, init=False)
    history: list[Change] = attrs.field(factory=list, init=False)
    states: dict[int, Objects] = attrs.field(init=False)
    """The store at each version of the present history."""
    past: list[Objects] = attrs.field(init=False)
    """Every state that the store ever had, in all histories."""
    watchers: list[Watcher] = attrs.field(factory=list, init=False)
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
        self.failing, self.mute, self.buffers, self.frozen = None, False, False, False
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
