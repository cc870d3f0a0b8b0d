"""A reflector on a fake server, with what tests look at, and the failures that befall it."""

from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import asynccontextmanager
from random import Random
from typing import Final, Generic, TypeVar

import attrs
import trio
from trio.testing import wait_all_tasks_blocked

from exchanger.sources.kube.list_watch import ApiFailure, FailureKind, Item, Key
from exchanger.sources.kube.reflector import Reflector
from exchanger.sources.kube.settings import ReflectorSettings
from tests.sources.kube.fake_api_server import FakeApiServer, FakeListWatch, FakeResource, Request, Verb

HOUR: Final = 3600.0

GONE = ApiFailure(FailureKind.GONE, 410, "too old resource version")
BUSY = ApiFailure(FailureKind.TOO_MANY_REQUESTS, 429, "too many requests", retry_after=20.0)
REFUSED = ApiFailure(FailureKind.UNREACHABLE, message="connection refused")
BROKEN = ApiFailure(FailureKind.SERVER_ERROR, 500, "etcdserver: no leader")
MALFORMED = ApiFailure(FailureKind.MALFORMED, message="no JSON")

T = TypeVar("T")


@attrs.define(eq=False)
class RecordingObserver(Generic[T]):
    """Implements ``ReflectorObserver``: keeps the state, every complete one, and all changes in order."""

    state: dict[Key, Item[T]] = attrs.field(factory=dict)
    replacements: list[Mapping[Key, Item[T]]] = attrs.field(factory=list)
    calls: list[tuple[str, str]] = attrs.field(factory=list)
    lists: list[tuple[int, str]] = attrs.field(factory=list)
    failures: list[tuple[ApiFailure, float]] = attrs.field(factory=list)
    connections: list[bool] = attrs.field(factory=list)
    silences: list[float] = attrs.field(factory=list)
    steps_back: list[tuple[str, str]] = attrs.field(factory=list)

    def objects_changed(self, items: Mapping[Key, Item[T]], keys: Collection[Key] | None, /) -> None:
        if keys is None:
            self.state = dict(items)
            self.replacements.append(dict(items))
            self.calls.append(("replaced", ",".join(sorted(key.name for key in items))))
        for key in keys or ():
            if key not in items:
                del self.state[key]
            else:
                self.state[key] = items[key]
            self.calls.append(("put" if key in items else "deleted", key.name))

    def values(self) -> dict[str, T]:
        return {key.name: item.value for key, item in self.state.items()}

    def listed(self, name: str, count: int, resource_version: str, /) -> None:
        self.lists.append((count, resource_version))

    def failed(self, name: str, failure: ApiFailure, retry_in: float, /) -> None:
        self.failures.append((failure, retry_in))

    def connected(self, name: str, connected: bool, /) -> None:
        self.connections.append(connected)

    def silent(self, name: str, seconds: float, /) -> None:
        self.silences.append(seconds)

    def went_back(self, name: str, known: str, found: str, /) -> None:
        self.steps_back.append((known, found))


@attrs.define(eq=False)
class Scene:
    """One resource, ``maps``, and one reflector that follows it."""

    settings: ReflectorSettings = attrs.field(factory=ReflectorSettings)
    server: FakeApiServer = attrs.field(factory=FakeApiServer)
    observer: RecordingObserver[str] = attrs.field(factory=RecordingObserver)
    random: Random = attrs.field(factory=lambda: Random(7))
    maps: FakeResource[str] = attrs.field(init=False)
    list_watch: FakeListWatch[str] = attrs.field(init=False)
    reflector: Reflector[str] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.maps = FakeResource(self.server, "maps")
        self.list_watch = self.maps.list_watch()
        self.use(self.settings)

    def use(self, settings: ReflectorSettings) -> None:
        """Take other settings, before anything runs."""
        self.reflector = Reflector(self.list_watch, self.observer, settings, self.random)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Run the reflector; the block begins when the first state is there and is being watched."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._run)
            await wait_all_tasks_blocked()
            yield
            nursery.cancel_scope.cancel()
        assert self.server.watchers == []

    @asynccontextmanager
    async def starting(self) -> AsyncGenerator[trio.Event, None]:
        """Run the reflector; the block begins at once, and the event is set when the first state is there."""
        started = trio.Event()

        async def start(nursery: trio.Nursery) -> None:
            await nursery.start(self._run)
            started.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(start, nursery)
            yield started
            nursery.cancel_scope.cancel()
        assert self.server.watchers == []

    async def _run(self, *, task_status: trio.TaskStatus[None]) -> None:
        await self.reflector.run(task_status=task_status)

    def probes(self) -> int:
        return len([request for request in self.requests(Verb.LIST) if request.limit == 1])

    @property
    def last_contact(self) -> float | None:
        return self.reflector.health.last

    @property
    def version(self) -> str:
        return self.reflector.store.version

    def requests(self, verb: Verb | None = None, *, since: float = -1.0) -> list[Request]:
        """Return the requests so far, probes included."""
        return [request for request in self.server.requests if verb in {None, request.verb} and request.time >= since]

    def lists(self) -> list[Request]:
        """Return the first pages of lists, without probes."""
        return [request for request in self.requests(Verb.LIST) if request.limit != 1 and not request.continue_token]

    def in_sync(self) -> bool:
        return self.observer.state == self.list_watch.view()
