"""Law: whatever happens between a reflector and its server, after a quiet time what is known is what a list shows.

"Any history with gaps ends in the listed state": writes, relabelling, compaction, cut watches, failures, pauses, lost and invented events,
a store that is restored or emptied. On the way, each complete state that was handed over is one that the server really had, what was
known stays until there is a better one, and the rate of requests is bounded whatever goes wrong.
"""

from collections.abc import Callable
from random import Random
from typing import Final, assert_never

import attrs
import trio
from hypothesis import event, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from exchanger.sources.kube.list_watch import ApiFailure, Bookmark, Deleted, FailureKind, Item, Key, Put
from exchanger.sources.kube.reflector import Reflector
from exchanger.sources.kube.settings import ReflectorSettings
from exchanger.sources.kube.store import ListBounds
from tests.examples import examples
from tests.sources.kube.fake_api_server import FakeApiServer, FakeResource, Initial, Request, Verb
from tests.sources.kube.reflecting import RecordingObserver

HOUR: Final = 3600.0
# Seconds after the last fault: the longest waits that may be under way, and the longest time to the next comparison.
QUIET: Final = 2 * 60.0 + 720.0 + 60.0
# Requests in any hour, further pages of a list not counted, and two requests for each failure.
#
# The two back-offs take turns at worst: one begins anew while the other one is waited for, nine failures in each two minutes, so 255 an
# hour. What needs no wait takes half a minute at least, or comes after a failure that was waited for. Faults of one kind get by with half
# of it (test_reflector_watching).
MOST_IN_AN_HOUR: Final = 520

NAMES: Final = ("a", "b", "c", "d", "e")
ON: Final = {"policy": "on"}


@attrs.frozen
class Write:
    name: str
    selected: bool
    value: int


@attrs.frozen
class Delete:
    name: str


@attrs.frozen
class Elsewhere:
    """A write to something that the reflector does not follow."""


@attrs.frozen
class Compact:
    pass


@attrs.frozen
class Cut:
    """All watches end: with a failure, or in good order."""

    kind: FailureKind | None


@attrs.frozen
class Fail:
    """The next requests fail."""

    kind: FailureKind
    verb: Verb | None
    skip: int
    times: int
    retry_after: float | None


@attrs.frozen
class Outage:
    """Every request fails from now on."""

    kind: FailureKind


@attrs.frozen
class Pause:
    """Nothing is answered or sent from now on."""


@attrs.frozen
class Mute:
    """Events are lost from now on."""


@attrs.frozen
class Heal:
    """Every fault is over."""


@attrs.frozen
class Restore:
    """The store goes back by some versions; ``cut`` is whether the watches notice."""

    back: int
    cut: bool


@attrs.frozen
class Wipe:
    cut: bool


@attrs.frozen
class Lie:
    """An event that is not true, at a version that far from the server's."""

    name: str
    offset: int
    kind: str


@attrs.frozen
class Bookmarks:
    sent: bool


@attrs.frozen
class Wait:
    seconds: float


Step = Write | Delete | Elsewhere | Compact | Cut | Fail | Outage | Pause | Mute | Heal | Restore | Wipe | Lie | Bookmarks | Wait

names = st.sampled_from(NAMES)
kinds = st.sampled_from(FailureKind)
waits = st.builds(Wait, st.sampled_from([0.1, 1.0, 5.0, 31.0, 80.0, 300.0, 1000.0]))
writes: st.SearchStrategy[Step] = st.builds(Write, names, st.booleans(), st.integers(0, 3)) | st.builds(Delete, names)
fails = st.builds(
    Fail, kinds, st.none() | st.sampled_from(Verb), st.integers(0, 2), st.integers(1, 12), st.none() | st.floats(-1.0, 1000.0)
)
broken_lists = st.builds(Fail, kinds, st.just(Verb.LIST), st.integers(1, 3), st.just(1), st.none())
steps: st.SearchStrategy[Step] = st.one_of(
    writes,
    writes,
    st.builds(Elsewhere),
    st.builds(Compact),
    st.builds(Cut, st.none() | kinds),
    st.just(Cut(FailureKind.GONE)),
    fails,
    broken_lists,
    st.builds(Outage, kinds),
    st.builds(Pause),
    st.builds(Mute),
    st.builds(Heal),
    st.builds(Restore, st.integers(1, 12), st.booleans()),
    st.builds(Wipe, st.booleans()),
    st.builds(Lie, names, st.integers(-3, 30), st.sampled_from(["put", "deleted", "bookmark"])),
    st.builds(Bookmarks, st.booleans()),
    waits,
)
pauses = st.sampled_from([0.0, 0.0, 0.1, 2.0, 20.0, 80.0]).map(Wait)
histories = st.lists(st.tuples(steps, pauses), min_size=5, max_size=40).map(lambda pairs: [step for pair in pairs for step in pair])


@attrs.define(eq=False)
class World:
    server: FakeApiServer
    maps: FakeResource[int]

    async def take(self, step: Step) -> None:  # noqa: C901, PLR0912 - one case for each kind of step
        server = self.server
        match step:
            case Write(name, selected, value):
                self.maps.put(name, value, labels=ON if selected else {})
            case Delete(name):
                self.maps.delete(name)
            case Elsewhere():
                server.touch()
            case Compact():
                server.compact()
            case Cut(kind):
                server.cut(None if kind is None else ApiFailure(kind))
            case Fail(kind, verb, skip, times, retry_after):
                server.fail(ApiFailure(kind, retry_after=retry_after), verb=verb, skip=skip, times=times)
            case Outage(kind):
                server.stop(ApiFailure(kind))
            case Pause():
                server.pause()
            case Mute():
                server.mute = True
            case Heal():
                server.heal()
            case Restore(back, cut):
                server.restore(max(min(server.states), server.version - back))
                if cut:
                    server.cut(ApiFailure(FailureKind.UNREACHABLE))
            case Wipe(cut):
                server.wipe()
                if cut:
                    server.cut(ApiFailure(FailureKind.UNREACHABLE))
            case Lie():
                self.lie(step)
            case Bookmarks(sent):
                server.bookmarks = sent
            case Wait(seconds):
                await trio.sleep(seconds)
            case _:
                assert_never(step)

    def lie(self, lie: Lie) -> None:
        version = str(max(0, self.server.version + lie.offset))
        key = Key("", lie.name)
        match lie.kind:
            case "put":
                self.maps.inject(Put(Item(key, version, -1)))
            case "deleted":
                self.maps.inject(Deleted(key, version))
            case _:
                self.maps.inject(Bookmark(version))


async def live(
    history: list[Step], initial: Initial, seed: int, reflector_settings: ReflectorSettings, check: Callable[[RecordingObserver[int]], None]
) -> None:
    """Let ``history`` happen, then have a quiet time."""
    server = FakeApiServer(initial=initial)
    maps: FakeResource[int] = FakeResource(server, "maps")
    list_watch = maps.list_watch(selects=lambda labels: labels.get("policy") == "on")
    world = World(server, maps)
    observer: RecordingObserver[int] = RecordingObserver()
    reflector = Reflector(list_watch, observer, reflector_settings, Random(seed))
    for number, name in enumerate(NAMES):
        maps.put(name, number, labels=ON)
    del server.past[:-1]  # or parts of this state would be states that there were
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reflector.run)
        for step in history:
            await world.take(step)
        server.heal()
        await trio.sleep(QUIET)
        await wait_all_tasks_blocked()
        assert observer.state == list_watch.view()
        assert (reflector.connected, len(reflector.store.items)) == (True, len(observer.state))
        # And it follows: the version it watches from is one that the server can go on from.
        maps.put("last", 9, labels=ON)
        await wait_all_tasks_blocked()
        assert observer.state == list_watch.view()
        nursery.cancel_scope.cancel()
    assert server.watchers == []
    assert all(list_watch.ever(items) for items in observer.replacements)
    assert all(0.0 <= wait <= 60.0 for _, wait in observer.failures)
    assert most_in_an_hour(server.requests) <= MOST_IN_AN_HOUR
    check(observer)
    event(f"replaced {min(len(observer.replacements), 6)} times")
    event(f"went back {min(len(observer.steps_back), 3)} times")


def most_in_an_hour(requests: list[Request]) -> int:
    times = [request.time for request in requests if not request.continue_token]
    most = first = 0
    for last, time in enumerate(times):
        while times[first] < time - HOUR:
            first += 1
        most = max(most, last - first + 1)
    return most


def run(
    history: list[Step],
    initial: Initial,
    seed: int,
    reflector_settings: ReflectorSettings,
    check: Callable[[RecordingObserver[int]], None] = lambda _: None,
) -> None:
    trio.run(live, history, initial, seed, reflector_settings, check, clock=MockClock(autojump_threshold=0))


@settings(max_examples=examples(150))
@given(histories, st.sampled_from(Initial), st.integers(0, 2**32), st.integers(1, 4))
def test_any_history_ends_in_the_listed_state(history: list[Step], initial: Initial, seed: int, page_size: int) -> None:
    run(history, initial, seed, ReflectorSettings(list_bounds=ListBounds(page_size=page_size)))


truths: st.SearchStrategy[Step] = st.one_of(
    writes,
    st.builds(Cut, st.sampled_from([None, FailureKind.UNREACHABLE, FailureKind.TIMEOUT, FailureKind.TOO_MANY_REQUESTS])),
    waits,
)


@given(st.lists(truths, min_size=5, max_size=40), st.sampled_from(Initial), st.integers(0, 2**32))
def test_without_gaps_nothing_is_listed_twice(history: list[Step], initial: Initial, seed: int) -> None:
    """A watch that breaks goes on from its version: without compaction, restoring or lost events no second state is needed.

    Without comparisons, since one may come between a write and its event, and what it finds is handed over.
    """

    def check(sink: RecordingObserver[int]) -> None:
        assert len(sink.replacements) == 1

    run([Wait(15.0), *history], initial, seed, ReflectorSettings(compare=1e9), check)


faults: st.SearchStrategy[Step] = st.sampled_from(
    [Cut(None), *map(Cut, FailureKind), *map(Outage, FailureKind), Heal(), Compact(), Elsewhere(), Wait(2.0), Wait(31.0), Wait(125.0)]
)


@settings(max_examples=examples(50))
@given(st.lists(faults, min_size=1, max_size=12), st.sampled_from(Initial), st.integers(0, 2**32))
def test_faults_that_come_again_and_again_are_answered_slowly(pattern: list[Step], initial: Initial, seed: int) -> None:
    """A pattern of faults that repeats for more than an hour, in whatever rhythm."""
    pattern = [*pattern, Wait(3.0)]
    seconds = sum(step.seconds for step in pattern if isinstance(step, Wait))
    run(pattern * int(1.1 * HOUR / seconds), initial, seed, ReflectorSettings())
