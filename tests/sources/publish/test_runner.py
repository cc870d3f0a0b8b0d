"""The machine with Trio's clock and threads."""

import gc
import sys
import threading
import weakref
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from exchanger.model.entry import DenyEntry, ExchangeEntry, Source
from exchanger.model.policy_decision import NoMatch
from exchanger.policy.grants.allowance import Grants, NamespaceGrant
from exchanger.policy.selection import Change
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.sources.publish.background import NEVER, Background
from exchanger.sources.publish.build import Regrant
from exchanger.sources.publish.discard import discard
from exchanger.sources.publish.machine import HOLD_S, Machine
from exchanger.sources.publish.pending import LIGHT_WORK
from exchanger.sources.publish.runner import Runner
from tests.sources.publish.world import ALLOW, DENY, EXCHANGE, FREE, denial, fresh, text_of
from tests.waiting import Gate

A, OTHER = Source("a", "p"), Source("b", "p")


def open_gate() -> Gate:
    gate = Gate()
    gate.event.set()
    return gate


@attrs.define(eq=False)
class Published:
    """What a runner publishes."""

    changes: list[Change] = attrs.field(factory=list)
    said: list[str] = attrs.field(factory=list)

    def publish(self, change: Change, reopens: bool) -> None:
        self.changes.append(change)
        self.said.append("reopen" if reopens else "publish")

    def runner(self, gate: Gate, **options: Any) -> Runner:
        machine = Machine("x", frozenset({"one"}), **options)
        return Runner(
            machine,
            self.publish,
            lambda _known_until: self.said.append("close"),
            lambda held: self.said.append("held back" if held else "active"),
            gate.run_sync,
        )

    def decision(self, path: str) -> type:
        return type(self.changes[-1].snapshot.match("h", path, "GET"))


@asynccontextmanager
async def running(runner: Runner) -> AsyncGenerator[Runner]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(runner.run)
        yield runner
        nursery.cancel_scope.cancel()


def tell(runner: Runner, texts: dict[Source, Any], *, caught_up: bool = True) -> None:
    runner.do(runner.machine.applied(texts, trio.current_time()))
    if caught_up:
        runner.do(runner.machine.caught_up("x", trio.current_time()))


async def test_what_is_reported_before_it_runs_is_in_the_first_version(autojump_clock: MockClock) -> None:
    published = Published()
    runner = published.runner(open_gate())
    tell(runner, {A: denial("/a"), OTHER: denial("/b", LIGHT_WORK)})
    async with running(runner):
        await trio.sleep(1)
        assert published.said == ["publish"]
        assert [published.decision(path) for path in ("/a", "/b")] == [DenyEntry, DenyEntry]


async def test_a_removal_beside_an_unread_text_takes_effect_in_time(autojump_clock: MockClock) -> None:
    published, gate = Published(), open_gate()
    runner = published.runner(gate)
    async with running(runner):
        tell(runner, {A: denial("/a")})
        await trio.sleep(1)
        heavy = trio.Event()

        async def run_sync(function: Callable[..., object], *args: object, **options: Any) -> Any:
            if options["limiter"] is runner.limiters.get("heavy"):
                await heavy.wait()
            return function(*args)

        runner.run_sync = run_sync
        tell(runner, {OTHER: denial("/b", LIGHT_WORK), A: None})
        await trio.sleep(HOLD_S - 0.1)
        assert published.decision("/a") is DenyEntry
        await trio.sleep(0.2)
        assert published.decision("/a") is NoMatch
        assert runner.machine.unread == 1


async def test_ten_thousand_texts_are_taken_in_with_pauses(autojump_clock: MockClock) -> None:
    published = Published()
    runner = published.runner(open_gate())
    async with running(runner):
        tell(runner, {Source("a", f"p{number}"): text_of() for number in range(1_000)})
        others = 0
        while not published.said:
            await trio.lowlevel.checkpoint()
            others += 1
        assert others > 5


async def test_a_thread_that_reads_is_not_waited_for_when_cancelled() -> None:
    begun, release, ended = threading.Event(), threading.Event(), threading.Event()

    def cpu() -> float:
        begun.set()
        release.wait(10)
        ended.set()
        return 0.0

    async with running(Runner(Machine("x"), lambda _change, _reopens: None, cpu=cpu)) as runner:
        tell(runner, {A: denial("/a")})
        await trio.to_thread.run_sync(begun.wait, 10)
    assert not ended.is_set()
    release.set()


async def test_a_fault_of_the_reader_of_versions_ends_it(autojump_clock: MockClock) -> None:
    def publish(_change: Change, _reopens: bool) -> None:
        raise RuntimeError

    runner = attrs.evolve(Published().runner(open_gate()), on_publish=publish)
    with pytest.RaisesGroup(RuntimeError, flatten_subgroups=True):
        async with running(runner):
            tell(runner, {A: denial("/a")})
            await trio.sleep(1)


async def test_age_closes_it_and_everything_that_was_missed_opens_it(autojump_clock: MockClock) -> None:
    published = Published()
    runner = published.runner(open_gate(), max_staleness=60.0)
    async with running(runner):
        tell(runner, {A: denial("/a")})
        await trio.sleep(1)
        runner.do(runner.machine.fell_behind("x", trio.current_time(), trio.current_time()))
        tell(runner, {A: denial("/b")}, caught_up=False)
        await trio.sleep(59)
        assert published.said == ["publish", "publish", "held back"]
        await trio.sleep(2)
        tell(runner, {})
        assert published.said[3:] == ["close", "reopen", "active"]


async def test_new_grants_take_effect(autojump_clock: MockClock) -> None:
    published = Published()
    runner = published.runner(open_gate(), start=PolicySnapshot(FREE))
    async with running(runner):
        tell(runner, {A: text_of(EXCHANGE % "/a"), OTHER: text_of(EXCHANGE % "/b")})
        await trio.sleep(1)
        assert [published.decision(path) for path in ("/a", "/b")] == [ExchangeEntry, ExchangeEntry]
        grant = NamespaceGrant(frozenset({"b"}), None, ("h",), issuers=("one",), scopes=("s",))
        runner.do(runner.machine.granted(Grants((grant,)), trio.current_time()))
        await trio.sleep(1)
        assert [published.decision(path) for path in ("/a", "/b")] == [NoMatch, ExchangeEntry]


@pytest.fixture
def without_automatic_collections() -> Generator[None]:
    """Keep the interpreter from collecting of itself."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("without_automatic_collections")
def test_a_full_collection_ends_what_was_put_off() -> None:
    usual, callbacks, background = gc.get_threshold(), gc.callbacks.copy(), Background()
    gc.collect()
    with background.watched():
        with background.at_work():
            for _ in range(3):
                gc.collect(1)
            assert gc.get_threshold() == (*usual[:2], NEVER)
        put_off = (*usual[:2], usual[2] + 3)
        assert gc.get_threshold() == put_off
        gc.collect(1)
        assert gc.get_threshold() == put_off
        gc.collect()
        assert gc.get_threshold() == usual
        with background.at_work():
            gc.collect()
            assert gc.get_threshold() == (*usual[:2], NEVER)
        assert gc.get_threshold() == usual
    assert gc.callbacks == callbacks


async def test_full_collections_wait_and_threads_switch_often_while_documents_are_read(autojump_clock: MockClock) -> None:
    usual, interval = gc.get_threshold(), sys.getswitchinterval()
    gate = open_gate()
    published = Published()
    runner = published.runner(gate)
    async with running(runner):
        await trio.sleep(1)
        assert gc.get_threshold()[2] > usual[2]  # until there is a version
        tell(runner, {OTHER: denial("/b")})
        await trio.sleep(1)
        assert sys.getswitchinterval() == interval
        gate.close()
        tell(runner, {A: denial("/a")})
        await trio.sleep(1)
        assert gc.get_threshold()[:2] == usual[:2]
        assert gc.get_threshold()[2] > usual[2]
        assert sys.getswitchinterval() < interval
        gate.event.set()
        await trio.sleep(1)
        assert sys.getswitchinterval() == interval
    assert (gc.get_threshold(), sys.getswitchinterval()) == (usual, interval)


async def test_a_thread_holds_the_last_references_to_what_is_replaced(autojump_clock: MockClock) -> None:
    freed = 0

    async def run_sync(function: Callable[..., object], *args: Any, **_options: object) -> Any:
        nonlocal freed
        await trio.lowlevel.checkpoint()
        if function is not discard:
            return function(*args)
        hosts = [weakref.ref(old.hosts.by_name["h"]) for old, _ in args[0] if old.document_count]
        function(*args)
        assert [host() for host in hosts] == [None] * len(hosts)
        freed += len(hosts)
        return None

    runner = Runner(Machine("x"), lambda _change, _reopens: None, run_sync=run_sync)
    async with running(runner):
        for path in ("/a", "/b", "/c"):
            tell(runner, {A: denial(path)})
            await trio.sleep(1)
    assert freed == 2


async def test_a_thread_frees_the_versions_under_grants_that_newer_ones_replace(autojump_clock: MockClock) -> None:
    made: list[weakref.ref[PolicySnapshot]] = []
    freed = 0

    async def run_sync(function: Callable[..., Any], *args: Any, **_options: object) -> Any:
        nonlocal freed
        await trio.lowlevel.checkpoint()
        if function is discard:
            freed += any(old is one() for old, _ in args[0] for one in made)
        result = function(*args)
        if isinstance(getattr(function, "__self__", None), Regrant) and not made:
            made.append(weakref.ref(result[0]))
            runner.do(runner.machine.granted(Grants(()), trio.current_time()))
        return result

    runner = Runner(Machine("x", start=PolicySnapshot(FREE)), lambda _change, _reopens: None, run_sync=run_sync)
    async with running(runner):
        tell(runner, {A: denial("/a")})
        await trio.sleep(1)
        runner.do(runner.machine.granted(Grants((NamespaceGrant(None, None, ("h",)),)), trio.current_time()))
        await trio.sleep(1)
    assert (freed, [one() for one in made]) == (1, [None])


@pytest.mark.usefixtures("without_automatic_collections")
def test_collections_resume_after_work_that_put_one_off() -> None:
    usual, background = gc.get_threshold(), Background()
    gc.collect()
    with background.watched():
        gc.collect(1)
        with background.at_work():
            gc.collect(1)
        assert gc.get_threshold() == (*usual[:2], usual[2] + 1)
    assert gc.get_threshold() == usual


def test_everything_that_two_versions_do_not_share_is_freed() -> None:
    before = fresh({A: text_of(DENY % "/a", ALLOW % "/b"), OTHER: text_of(EXCHANGE % "/c", "{}")})
    after = before.changed({A: None})
    shared = after.document(OTHER)
    box = [(before, after)]
    del before
    discard(box, [{OTHER: fresh({OTHER: denial("/d")}).document(OTHER).document}])  # type: ignore[union-attr]
    assert box == []
    assert after.document(OTHER) is shared
    assert isinstance(after.match("h", "/c", "GET"), type(fresh({OTHER: text_of(EXCHANGE % "/c", "{}")}).match("h", "/c", "GET")))
