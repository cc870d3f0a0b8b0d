"""One team that costs all teams: documents made to be expensive, in bulk, beside another team that edits a small one.

No step may hold the event loop for long, and the small edit may not wait for what is expensive: its version is out while most of that is
still to be read, whatever the machine.
"""

import gc
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Final, Generic, TypeVar

import attrs
import pytest
import structlog
import trio

from exchanger.app.policy_log import log_problems, log_version
from exchanger.formats.yaml.reader import MAX_BYTES
from exchanger.model.entry import DenyEntry, Source
from exchanger.model.policy_decision import NoMatch, Unhealthy
from exchanger.model.selector import parse_selector
from exchanger.net.network import SYSTEM
from exchanger.policy.grants.allowance import NO_GRANTS, Grants, NamespaceGrant
from exchanger.policy.limits import NamespaceLimits
from exchanger.policy.quota import MAX_LISTED
from exchanger.policy.selection import Change, ConfigMap, Namespace
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.sources.kube.event_writer import EventWriter
from exchanger.sources.kube.events import PolicyEvents
from exchanger.sources.kube.list_watch import Bookmark, Item, Key, Opened, Page, Put, WatchEvent
from exchanger.sources.kube.settings import KubernetesSettings
from exchanger.sources.kube.source import KubernetesSource
from exchanger.sources.publish.conflict_watch import ConflictWatch
from tests.sources.kube.cluster import Record, deny
from tests.sources.kube.telling import FakeEvents

T = TypeVar("T")

# Seconds that one step of the loop may take; each test prints its longest.
GOAL_S: Final = 0.010
# What fails. Hosts of virtual machines take memory away that lies untouched: the first look at 10,000 objects was then measured at 175 ms,
# the second at 1 ms. Without its slices the service took 1.7 s in one step.
LIMIT_S: Final = 25 * GOAL_S
# Seconds after which something hangs: how long documents take depends on what else the machine does.
PATIENCE_S: Final = 240.0
SELECTED: Final = (("policy", "enabled"),)
ENABLED: Final = (("enabled", "true"),)
GOOD: Final = Source("good", "p")
EVIL: Final = "evil"


@attrs.define(eq=False)
class Stream(Generic[T]):
    """A list and watch that cost nothing: the objects of the start are made before, and later events are said."""

    name: str
    items: list[Item[T]]
    later: list[Item[T]] = attrs.field(factory=list)
    events: deque[WatchEvent[T]] = attrs.field(factory=deque)
    said: trio.Event = attrs.field(factory=trio.Event)

    def put(self, item: Item[T]) -> None:
        self.later.append(item)
        self.events.append(Put(item))
        self.said.set()

    async def list_page(self, *, limit: int, continue_token: str = "", resource_version: str = "") -> Page[T]:
        """Return all objects: a watch that was silent for long is compared with a list."""
        items = {item.key: item for item in (*self.items, *self.later)}.values()
        return Page(tuple(items), max((item.resource_version for item in items), key=int, default="1"))

    @asynccontextmanager
    async def watch(
        self,
        *,
        resource_version: str,
        timeout: float,  # noqa: ASYNC109 - the Protocol's signature
        initial_events: bool = False,
    ) -> AsyncGenerator[AsyncIterator[WatchEvent[T]], None]:
        yield self._events(initial_events)

    async def _events(self, initial: bool) -> AsyncIterator[WatchEvent[T]]:
        yield Opened()
        if initial:  # the next watch, on a slow machine, goes on where the list ended
            for item in self.items:
                await trio.lowlevel.checkpoint()
                yield Put(item)
            yield Bookmark("1", initial_events_end=True)
        while True:
            await self.said.wait()
            self.said = trio.Event()
            while self.events:
                await trio.lowlevel.checkpoint()
                yield self.events.popleft()


class Server:
    """Implements ``ListWatches``."""

    def __init__(self, config_maps: list[ConfigMap], *labels: tuple[str, str]) -> None:
        names = dict.fromkeys((GOOD.namespace, EVIL, *(config_map.namespace for config_map in config_maps)))
        self._version = 1
        self._namespaces = Stream("namespaces", [Item(Key("", name), "1", Namespace(name, (*SELECTED, *labels))) for name in names])
        self._config_maps = Stream("configmaps", [self._item(config_map) for config_map in config_maps])

    def namespaces(self, _selector: str, /) -> Stream[Namespace]:
        return self._namespaces

    def config_maps(self, _selector: str, _namespace: str, /) -> Stream[ConfigMap]:
        return self._config_maps

    def config_map_versions(self, _selector: str, /) -> Stream[bool]:
        known = (*self._config_maps.items, *self._config_maps.later)
        items = {item.key: Item(item.key, item.resource_version, True) for item in known}
        return Stream("configmaps", list(items.values()))

    def config_map(self, _selector: str, namespace: str, name: str, /) -> Stream[ConfigMap]:
        found = {item.key: item for item in (*self._config_maps.items, *self._config_maps.later) if item.key == Key(namespace, name)}
        return Stream("configmaps", list(found.values()))

    def label(self, namespace: str, *labels: tuple[str, str]) -> None:
        """Give a Namespace ``labels``, by which it may be selected no longer."""
        self._version += 1
        self._namespaces.put(Item(Key("", namespace), str(self._version), Namespace(namespace, labels)))

    def put(self, source: Source, text: str) -> None:
        self._version += 1
        self._config_maps.put(self._item(config_map(source, text)))

    def _item(self, config_map: ConfigMap) -> Item[ConfigMap]:
        return Item(Key(config_map.namespace, config_map.name), str(self._version), config_map)


def config_map(source: Source, text: str) -> ConfigMap:
    return ConfigMap(source.namespace, source.name, ENABLED, text)


class Told(Record):
    """What the service makes of versions: log lines, and Events for their authors."""

    def __init__(self, events: PolicyEvents, conflicts: ConflictWatch) -> None:
        super().__init__(SYSTEM.run_sync)
        self._events, self._conflicts = events, conflicts

    def published(self, change: Change, /) -> None:
        log_problems(structlog.get_logger(), change)
        log_version(structlog.get_logger(), change)
        self._events.published(change)
        self._conflicts.published(change)
        super().published(change)

    def text(self, source: Source) -> str | None:
        document = self.snapshots[-1].document(source)
        return None if document is None else document.text

    def pending(self, texts: dict[Source, str]) -> int:
        """Return how many of ``texts`` are not active yet."""
        return sum(self.text(source) != text for source, text in texts.items())


@pytest.fixture(autouse=True)
def frozen() -> None:
    """Have the collector look at what is made here only, as in the service."""
    gc.collect()
    gc.freeze()


@attrs.frozen
class Scene:
    server: Server
    told: Told
    source: KubernetesSource

    async def until(self, is_so: Callable[[PolicySnapshot], bool]) -> PolicySnapshot:
        """Return the first version from the active one on of which ``is_so``."""
        seen = len(self.told.snapshots) - 1
        await self.told.until(lambda: any(map(is_so, self.told.snapshots[seen:])), PATIENCE_S)
        return next(filter(is_so, self.told.snapshots[seen:]))

    async def put(self, texts: dict[Source, str]) -> float:
        """Have documents changed, and return the seconds of CPU time of all threads until they are active."""
        began = time.process_time()
        for source, text in texts.items():
            self.server.put(source, text)
        await self.told.until(lambda: not self.told.pending(texts), PATIENCE_S)
        return time.process_time() - began

    async def edit(self, number: int) -> None:
        """Have a small document changed, and wait until that is active."""
        text = deny(f"/edit-{number}")
        self.server.put(GOOD, text)
        await self.told.until(lambda: self.told.text(GOOD) == text, PATIENCE_S)


@asynccontextmanager
async def running(server: Server, grants: Grants = NO_GRANTS) -> AsyncGenerator[Scene]:
    events = PolicyEvents(EventWriter(FakeEvents()))
    conflicts = ConflictWatch((events,))
    told = Told(events, conflicts)
    settings = KubernetesSettings(parse_selector("policy=enabled"), parse_selector("enabled=true"))
    source = told.source(settings, server, grants=grants)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(events.run)
        nursery.start_soon(conflicts.run)
        await nursery.start(source.run)
        yield Scene(server, told, source)
        nursery.cancel_scope.cancel()


def full(text: str) -> str:
    """Return ``text`` with comments up to the size that a ConfigMap may have."""
    return text + "#" * (MAX_BYTES - len(text))


def entries(number: int, host: str) -> str:
    return "".join(f"- {{match: {{host: {host},pathPrefix: /{index}}},action: deny}}\n" for index in range(number))


INVALID: Final = "version: v1\nentries:\n" + "- {x: 1}\n" * 16_000
METHODS: Final = ",".join(f"m{number:x}" for number in range(120_000))
HOSTILE: Final = {
    "entries": full("version: v1\nentries:\n" + entries(19_000, "h")),
    "other entries": full("version: v1\nentries:\n" + entries(19_000, "i")),
    "one place": full("version: v1\nentries:\n" + "- {match: {host: h,pathPrefix: /a},action: deny}\n" * 20_000),
    "aliases": full("version: v1\nentries:\n- &a {match: {host: h, pathPrefix: /x}, action: deny}\n" + "- *a\n" * 20_000),
    "methods": full(f"version: v1\nentries: [{{action: deny, match: {{host: h, pathPrefix: /, methods: [{METHODS}]}}}}]\n"),
    "escapes": f'version: v1\nentries: [{{action: deny, match: {{host: h, pathPrefix: "/{"%41" * 349_000}"}}}}]',
    "depth": "[" * MAX_BYTES,
    "long scalar": "version: v1\nx: " + "a" * (MAX_BYTES - 20),
}
GRANTED: Final = tuple(f"h{number}.example" for number in range(9_900))
# Twenty documents that take a while to read, and as long to take out of all tables.
IDLE: Final = {Source(EVIL, f"p{number}"): full("version: v1\nentries:\n" + entries(200, f"h{number}.example")) for number in range(20)}
BULK: Final = {
    "invalid entries": {Source(EVIL, f"p{number}"): f"{INVALID}# {number}" for number in range(3)},
    "hostile teams": {Source(f"{EVIL}-{number}", "p"): text for number, text in enumerate(HOSTILE.values())},
}


@attrs.define(eq=False)
class StepWatch(trio.abc.Instrument):
    """Times each step of each task, in seconds of this thread's CPU time, so that a busy machine makes no step longer than it is."""

    longest: float = 0.0
    task: str = ""
    _began: float = attrs.field(factory=time.thread_time)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._began = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        took = time.thread_time() - self._began
        if took > self.longest:
            self.longest, self.task = took, task.name


@contextmanager
def no_long_step() -> Generator[None]:
    """Watch the steps of the running loop, and fail if one of them is too long."""
    watch = StepWatch()
    trio.lowlevel.add_instrument(watch)
    try:
        yield
    finally:
        trio.lowlevel.remove_instrument(watch)
    print(f"longest step: {watch.longest * 1000:.1f} ms in {watch.task}, goal {GOAL_S * 1000:.0f} ms")
    assert watch.longest < LIMIT_S, watch.task


@pytest.mark.parametrize("kind", BULK)
async def test_expensive_documents_hold_up_neither_requests_nor_another_teams_edit(kind: str) -> None:
    bulk = BULK[kind]
    start = [config_map(source, deny()) for source in (GOOD, *(Source(source.namespace, "q") for source in bulk))]
    async with running(Server(start)) as scene:
        with no_long_step():
            for source, text in bulk.items():
                scene.server.put(source, text)
            await trio.sleep(0.1)
            await scene.edit(0)
            assert scene.told.pending(bulk) > len(bulk) // 2
            await scene.told.until(lambda: not scene.told.pending(bulk), PATIENCE_S)


@pytest.mark.full
async def test_ten_thousand_config_maps_hold_up_neither_requests_nor_an_edit() -> None:
    start = [config_map(Source(f"team-{number % 1000}", f"p{number}"), deny(f"/{number}")) for number in range(10_000)]
    start.append(config_map(GOOD, deny()))
    server = Server(start)
    with no_long_step():
        async with running(server) as scene:
            assert scene.told.snapshots[0].document_count == len(start)
            scene.source.use_issuers(frozenset({"another"}))
            await scene.edit(0)
            assert len(scene.told.snapshots) == 2
            assert scene.source.unread > 0


def of(*namespaces: str, hosts: tuple[str, ...] = GRANTED, selector: str = "") -> NamespaceGrant:
    return NamespaceGrant(frozenset(namespaces) or None, parse_selector(selector) if selector else None, hosts)


async def test_documents_that_close_all_that_is_granted_cost_that_once() -> None:
    start = [config_map(source, deny()) for source in (GOOD, Source(EVIL, "q"))]
    broken = {Source(EVIL, f"p{number}"): "version: v2" for number in range(60)}
    first = dict(list(broken.items())[:1])
    async with running(Server(start), Grants((of(EVIL), of(GOOD.namespace, hosts=("h",))))) as scene:
        with no_long_step():
            one = await scene.put(first)
            rest = await scene.put(broken)
        snapshot = scene.told.snapshots[-1]
        assert snapshot.invalid_documents == 60
        assert isinstance(snapshot.match(GRANTED[-1], "/", "GET"), Unhealthy)
        print(f"one: {one:.2f} s, 59 more: {rest:.2f} s")
        # The versions in which they arrive, and the last, cost as much as one each.
        assert rest < 10 * one


# The entries are all to be active, so that they can be taken away.
ROOMY: Final = NamespaceLimits(entries=1_000_000, fail_closed_scopes=1_000_000, kib=1_000_000)


def is_refused(snapshot: PolicySnapshot) -> bool:
    return not isinstance(snapshot.match(f"h{len(IDLE) - 1}.example", "/1", "GET"), DenyEntry)


async def test_what_is_taken_away_beside_large_documents_takes_effect_at_once() -> None:
    start = [config_map(source, text) for source, text in IDLE.items()]
    start.append(config_map(GOOD, deny()))
    own, good = of(selector="team=evil"), of(GOOD.namespace, hosts=("h",))
    edited = {source: f"{text[:-1]}!" for source, text in IDLE.items()}
    server = Server(start, ("team", "evil"))
    async with running(server, Grants((own, good), limits=ROOMY)) as scene:
        await scene.until(lambda snapshot: not snapshot.invalid_documents)  # the first version does not wait for all of them
        assert not is_refused(scene.told.snapshots[-1])
        with no_long_step():
            scene.source.use_grants(Grants((good,), limits=ROOMY))
            assert (await scene.until(is_refused)).revocation is not None  # before its entries are built again
            scene.source.use_grants(Grants((own, good), limits=ROOMY))
            await scene.until(lambda snapshot: not is_refused(snapshot) and snapshot.revocation is None)
            server.label(EVIL, *SELECTED)
            await scene.until(is_refused)
            server.label(EVIL, *SELECTED, ("team", "evil"))
            await scene.until(lambda snapshot: not is_refused(snapshot) and snapshot.revocation is None)
            for source, text in edited.items():
                server.put(source, text)  # so that there is something to read, too
            server.label(EVIL)
            await scene.until(lambda snapshot: not any(map(snapshot.document, IDLE)))
            read = {document.text for snapshot in scene.told.snapshots for document in snapshot.documents()}
            assert len(read.intersection(edited.values())) < len(edited) // 2
            # What loosens waits until ConfigMaps are known to have caught up with the Namespace.
            await scene.until(lambda snapshot: isinstance(snapshot.match("h1.example", "/1", "GET"), NoMatch))


async def test_a_flood_of_config_maps_stays_within_quota() -> None:
    limits = NamespaceLimits(documents=20, kib=1024)
    server = Server([config_map(source, deny()) for source in (GOOD, Source(EVIL, "q"))])
    flood = {Source(EVIL, f"r{number:05}"): "version: v1\nentries:\n" + "- {x: 1}\n" * 500 for number in range(3_000)}
    async with running(server, attrs.evolve(NO_GRANTS, limits=limits)) as scene:
        with no_long_step():
            for number, (source, text) in enumerate(flood.items()):
                server.put(source, text)
                if number % 1_000 == 999:
                    await scene.edit(number)
            await scene.until(lambda snapshot: snapshot.document_count == limits.documents + MAX_LISTED + 1)
            await trio.sleep(1.0)
        snapshot = scene.told.snapshots[-1]
        kept = sum(len(document.text or "") for document in snapshot.documents() if document.source.namespace == EVIL)
        assert kept <= limits.kib * 1024
        assert isinstance(snapshot.match("nobody.example", "/", "GET"), Unhealthy)
        assert isinstance(snapshot.match("h", "/edit-2999", "GET"), DenyEntry)


def closed_scope_count(snapshot: PolicySnapshot, source: Source) -> int:
    document = snapshot.document(source)
    return 0 if document is None else len(document.document.closed_scopes)


async def test_scopes_over_quota_fail_closed_once_quota_allows() -> None:
    limits = NamespaceLimits(fail_closed_scopes=2_000)
    server = Server([config_map(source, deny()) for source in (GOOD, Source(EVIL, "q"))])
    broken = {Source(EVIL, f"p{number}"): "version: v1\nentries:\n" + "- {x: 1}\n" * 1_500 for number in range(4)}
    async with running(server, attrs.evolve(NO_GRANTS, limits=limits)) as scene:
        for source, text in broken.items():
            server.put(source, text)
        await scene.told.until(lambda: not scene.told.pending(broken), PATIENCE_S)
        last = Source(EVIL, "p3")
        assert [closed_scope_count(scene.told.snapshots[-1], source) for source in broken] == [1_500, 1, 1, 1]
        for source in list(broken)[:3]:
            server.put(source, deny("/repaired"))
        await scene.until(lambda snapshot: closed_scope_count(snapshot, last) == 1_500)
