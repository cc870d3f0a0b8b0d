"""Laws of ConfigMaps that their namespace has room for again: fetched beside the watch, they end as a fresh list, whatever comes first."""

from collections import deque
from random import Random

import attrs
import trio
from hypothesis import event, example, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from exchanger.model.selector import parse_selector
from exchanger.policy.grants.allowance import Grants
from exchanger.policy.limits import NamespaceLimits
from exchanger.policy.selection import ConfigMap
from exchanger.sources.kube.list_watch import Deleted, Item, Key, Put
from exchanger.sources.kube.refetch import FETCH_EVERY_S, MAX_FETCHED
from exchanger.sources.kube.settings import KubernetesSettings
from exchanger.sources.kube.store import Complete, ReflectorStore
from tests.examples import examples
from tests.policy.comparing import content
from tests.sources.kube.cluster import Cluster, Record, deny

# Law: in whatever order answers to fetches and events of the watch arrive, the store ends as a fresh list.
#
# No event is taken for one of another history, and nothing that was once known in a later version is known in an earlier one.

NAMES = "abcd"
SMALL, LARGE = "small", "x" * 700
LIMITS = (NamespaceLimits(documents=1), NamespaceLimits(documents=2), NamespaceLimits(documents=10, kib=1))


@attrs.frozen
class Write:
    name: str
    text: str


@attrs.frozen
class Delete:
    name: str


@attrs.frozen
class Deliver:
    """The watch delivers so many events."""

    count: int


@attrs.frozen
class Ask:
    """Something that is to_refetch is requested; the server responds at once, and the response is on its way."""


@attrs.frozen
class Answer:
    """A response arrives: the one of this number that is on its way, which may not be the oldest."""

    number: int


Step = Write | Delete | Deliver | Ask | Answer
steps: st.SearchStrategy[Step] = st.one_of(
    st.builds(Write, st.sampled_from(NAMES), st.sampled_from([SMALL, LARGE])),
    st.builds(Delete, st.sampled_from(NAMES)),
    st.builds(Delete, st.sampled_from(NAMES)),
    st.builds(Deliver, st.integers(1, 3)),
    st.builds(Deliver, st.integers(1, 3)),
    st.just(Ask()),
    st.just(Ask()),
    st.builds(Answer, st.integers(0, 3)),
)


@attrs.define(eq=False)
class Server:
    """Its objects, what the watch has still to deliver, and the responses that are on their way."""

    store: ReflectorStore[ConfigMap]
    says_own_version: bool
    version: int = 10
    objects: dict[Key, Item[ConfigMap]] = attrs.field(factory=dict)
    events: deque[Put[ConfigMap] | Deleted] = attrs.field(factory=deque)
    answers: list[Item[ConfigMap] | None] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        for name in NAMES:
            self.take(Write(name, SMALL))
        self.events.clear()
        self.store.replace(self.listed)

    @property
    def listed(self) -> Complete[ConfigMap]:
        return Complete(tuple(self.objects.values()), str(self.version))

    def take(self, step: Step) -> None:
        match step:
            case Write(name, text):
                self.version += 1
                key = Key("n", name)
                self.objects[key] = Item(key, str(self.version), ConfigMap("n", name, (), text))
                self.events.append(Put(self.objects[key]))
            case Delete(name) if (known := self.objects.pop(Key("n", name), None)) is not None:
                self.version += 1
                self.events.append(Deleted(known.key, str(self.version) if self.says_own_version else known.resource_version))
            case Deliver(count):
                for _ in range(min(count, len(self.events))):
                    assert self.store.apply(self.events.popleft()) is not None
            case Ask() if self.store.to_refetch:
                self.answers.append(self.objects.get(min(self.store.to_refetch, key=lambda key: key.name)))
            case Answer(number) if number < len(self.answers) and (found := self.answers.pop(number)) is not None:
                known = self.store.items.get(found.key)
                self.store.supply(found)
                if known is not None:
                    assert int(self.store.items[found.key].resource_version) >= int(known.resource_version)


def known_content(store: ReflectorStore[ConfigMap]) -> dict[Key, str | None]:
    return {key: item.value.document for key, item in store.items.items()}


@settings(max_examples=examples(300))
@example(history=[Delete("a"), Deliver(1), Write("b", LARGE), Ask(), Answer(0), Deliver(3)], limits=LIMITS[0], says_own_version=True)
@example(
    history=[Delete("a"), Deliver(1), Delete("b"), Write("b", LARGE), Ask(), Answer(0), Deliver(3)], limits=LIMITS[0], says_own_version=True
)
@given(history=st.lists(steps, max_size=30), limits=st.sampled_from(LIMITS), says_own_version=st.booleans())
def test_any_order_of_fetches_and_events_ends_as_a_fresh_list(history: list[Step], limits: NamespaceLimits, says_own_version: bool) -> None:
    server = Server(ReflectorStore(limits), says_own_version)
    for step in history:
        server.take(step)
    while server.events:
        server.take(Deliver(1))
    while server.answers:
        server.take(Answer(0))
    event(f"{min(len(server.store.to_refetch), 2)} to_refetch")
    for _ in NAMES:
        server.take(Ask())
        server.take(Answer(0))
    fresh: ReflectorStore[ConfigMap] = ReflectorStore(limits)
    fresh.replace(server.listed)
    assert not server.store.to_refetch
    assert known_content(server.store) == known_content(fresh)


# Law: whatever teams write, at most ``MAX_FETCHED`` ConfigMaps are requested a second, and a fresh start finds the same policy.
#
# A team whose ConfigMap has room again has it active within two seconds more than the watch is late, whatever another team does.

QUIET_S = 10.0
WRITTEN = ("0", "00", "01", "19", "20", "59")
ROOM = 20
BUSY = tuple(f"{number:02}" for number in range(3 * ROOM))
GOOD = tuple(f"first{number:02}" for number in range(ROOM))


async def live(history: list[tuple[str, str, bool]], pause: float, late: float, seed: int) -> None:
    cluster, record = Cluster(), Record()
    cluster.put_namespace("busy")
    cluster.put_namespace("good")
    for namespace, names in (("busy", BUSY), ("good", (*GOOD, "second"))):
        for name in names:
            cluster.put(namespace, name, deny(f"/{name}"))
    chosen = KubernetesSettings(parse_selector("policy=enabled"), parse_selector("enabled=true"))
    grants = Grants(limited=False, limits=NamespaceLimits(documents=ROOM))
    async with trio.open_nursery() as nursery:
        await nursery.start(record.source(chosen, cluster, Random(seed), grants).run)
        await trio.sleep(2.0)
        cluster.server.late["configmaps"] = late
        for number, (namespace, name, stays) in enumerate(history):
            if stays:
                cluster.put(namespace, name, deny(f"/{namespace}/{number}"))
            else:
                cluster.delete(namespace, name)
            await trio.sleep(pause)
        for name in WRITTEN:
            cluster.delete("good", name)
        for name in (*GOOD, "second"):
            cluster.put("good", name, deny(f"/{name}"))
        await trio.sleep(late + 1.0)
        assert not record.denies("/second")
        for name in BUSY[:ROOM]:
            cluster.delete("busy", name)
        cluster.delete("good", GOOD[0])
        await record.until(lambda: record.denies("/second"), late + 2.0)
        await trio.sleep(QUIET_S + late)
        nursery.cancel_scope.cancel()
    fresh = Record()
    async with trio.open_nursery() as nursery:
        await nursery.start(fresh.source(chosen, cluster, Random(seed), grants).run)
        nursery.cancel_scope.cancel()
    assert content(record.snapshots[-1]) == content(fresh.snapshots[-1])
    fetches = [request.time for request in cluster.server.requests if request.only]
    event(f"{min(len(fetches), 5)} fetches")
    assert all(after - before >= FETCH_EVERY_S - 1e-6 for before, after in zip(fetches, fetches[MAX_FETCHED:], strict=False))


writes = st.tuples(st.sampled_from(["busy", "busy", "good"]), st.sampled_from(WRITTEN), st.booleans())


@settings(max_examples=examples(40))
@given(st.lists(writes, max_size=20), st.sampled_from([0.0, 0.05, 0.4]), st.sampled_from([0.0, 0.2, 3.0]), st.integers(0, 1000))
def test_no_team_causes_more_fetches_or_delays_another_team(
    history: list[tuple[str, str, bool]], pause: float, late: float, seed: int
) -> None:
    trio.run(live, history, pause, late, seed, clock=MockClock(autojump_threshold=0))
