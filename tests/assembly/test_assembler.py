import gc
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from exchanger.assembly.assembler import (
    APART_S,
    FIRST_BUDGET_S,
    HOLD_S,
    INLINE_AREAS,
    Assembler,
    changed_allowances,
    make,
)
from exchanger.assembly.backlog import LIGHT_WORK, Lane
from exchanger.codes.manifests import MANY_AREAS
from exchanger.policy import selection
from exchanger.policy.documents.document import PolicyDocument, parse_document
from exchanger.policy.grants.allowance import Grants, NamespaceGrant
from exchanger.policy.grants.reader import read_grants
from exchanger.policy.limits import NamespaceLimits
from exchanger.policy.selection import Change, Text
from exchanger.values.entry import DenyEntry, ExchangeEntry, MatchScope, Source
from exchanger.values.selector import parse_selector
from exchanger.values.verdict import NoMatch, Unhealthy

A, B, OTHER = Source("a", "p"), Source("a", "q"), Source("b", "p")


def deny(path: str, *, heavy: bool = False) -> Text:
    padding = "#" * LIGHT_WORK if heavy else ""
    return Text(f"version: v1\nentries: [{{match: {{host: h, pathPrefix: {path}}}, action: deny}}]\n{padding}")


class Gate:
    """Holds the heavy work of threads until it is opened; ``reached`` counts what waits."""

    def __init__(self) -> None:
        self.event = trio.Event()
        self.reached = 0

    async def run_sync(self, function: Callable[..., object], *args: Any, **_options: object) -> Any:
        if function is changed_allowances or (function is make and all(change.lane is Lane.LIGHT for change in args[1])):
            await trio.lowlevel.checkpoint()
            return function(*args)
        self.reached += 1
        await self.event.wait()
        return function(*args)

    def step(self) -> None:
        """Let go of what waits, and hold what comes later."""
        self.event.set()
        self.event = trio.Event()


@asynccontextmanager
async def running(assembler: Assembler) -> AsyncGenerator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(assembler.run)
        yield
        nursery.cancel_scope.cancel()


async def taken(made: Assembler) -> Change:
    """Return the version that is there in a while."""
    await trio.sleep(1)
    change = made.take()
    assert change is not None
    return change


async def test_nothing_is_out_before_what_is_required(autojump_clock: MockClock) -> None:
    gate = Gate()
    made = Assembler(frozenset(), run_sync=gate.run_sync)
    made.put(A, deny("/a", heavy=True))
    made.put(OTHER, deny("/b"))
    made.require()
    async with running(made):
        await trio.sleep(1)
        assert made.take(anyway=True) is None
        made.put(B, deny("/c", heavy=True))  # which is not required
        gate.event.set()
        await made.news()
        await taken(made)


async def test_what_is_required_may_wait_for_an_older_change_of_its_source_and_for_no_newer_one(autojump_clock: MockClock) -> None:
    gate = Gate()
    made = Assembler(frozenset(), run_sync=gate.run_sync)
    async with running(made):
        made.put(A, deny("/old", heavy=True))
        await trio.sleep(1)
        made.put(A, deny("/new", heavy=True))
        made.require()
        gate.step()
        await trio.sleep(1)
        assert (made.unread, made.take()) == (1, None)
        made.put(A, deny("/newest", heavy=True))
        gate.step()
        change = await taken(made)
        assert made.unread == 1
        assert isinstance(change.snapshot.match("h", "/new", "GET"), DenyEntry)
        gate.step()


async def test_a_moment_that_is_put_in_parts_loosens_nothing_before_its_end(autojump_clock: MockClock) -> None:
    made = Assembler(frozenset(), run_sync=Gate().run_sync)
    made.put(A, deny("/a"))
    async with running(made):
        await taken(made)
        with made.putting():
            made.put(A, deny("/b"))
            snapshot = (await taken(made)).snapshot
            assert all(isinstance(snapshot.match("h", path, "GET"), DenyEntry) for path in ("/a", "/b"))
            made.put(OTHER, deny("/c"))
        snapshot = (await taken(made)).snapshot
        assert isinstance(snapshot.match("h", "/a", "GET"), NoMatch)


async def test_a_document_that_is_withdrawn_before_it_is_read_holds_no_version(autojump_clock: MockClock) -> None:
    gate = Gate()
    made = Assembler(frozenset(), run_sync=gate.run_sync)
    made.put(A, deny("/a"))
    async with running(made):
        await taken(made)
        made.put(OTHER, deny("/b", heavy=True))
        await trio.sleep(1)
        assert gate.reached == 1
        made.put(OTHER, None)
        made.put(A, None)
        assert not (await taken(made)).snapshot.held


async def test_edits_beside_a_large_document_take_effect_at_once_and_few_versions_are_held(autojump_clock: MockClock) -> None:
    gate = Gate()
    made = Assembler(frozenset(), run_sync=gate.run_sync)
    made.put(A, deny("/a"))
    async with running(made):
        await taken(made)
        made.put(OTHER, deny("/b", heavy=True))
        for number in range(50):
            made.put(A, deny(f"/{number}"))
            await trio.sleep(APART_S / 10)
            change = made.take()
            assert change is not None
            assert isinstance(change.snapshot.match("h", f"/{number}", "GET"), DenyEntry)
            assert len(change.snapshot.held) <= HOLD_S / APART_S + 1


async def test_the_first_version_does_not_wait_for_ever_for_one_namespace(autojump_clock: MockClock) -> None:
    seconds = iter(range(0, 1000 * int(FIRST_BUDGET_S), int(FIRST_BUDGET_S)))
    gate = Gate()
    gate.event.set()
    made = Assembler(frozenset(), run_sync=gate.run_sync, cpu=lambda: float(next(seconds)))
    sources = [Source("a", f"p{number}") for number in range(300)]
    for number, source in enumerate(sources):
        made.put(source, deny(f"/{number}", heavy=True))
    made.require()
    async with running(made):
        while (change := made.take()) is None:
            await made.news()
        assert change.snapshot.document_count == 300
        assert 1 < change.snapshot.entry_count < 10
        assert isinstance(change.snapshot.match("h", "/299", "GET"), Unhealthy)
        while made.unread:
            await made.news()
        change = made.take()
        assert change is not None
        assert (change.snapshot.entry_count, change.snapshot.invalid_documents) == (300, 0)


async def test_full_collections_wait_and_threads_switch_often_while_documents_are_read(autojump_clock: MockClock) -> None:
    usual, interval = gc.get_threshold(), sys.getswitchinterval()
    gate = Gate()
    made = Assembler(frozenset(), run_sync=gate.run_sync)
    made.put(OTHER, deny("/b"))
    async with running(made):
        await trio.sleep(1)
        assert gc.get_threshold()[2] > usual[2]  # until there is a version
        assert made.take() is not None
        await trio.sleep(1)
        assert sys.getswitchinterval() == interval
        made.put(A, deny("/a", heavy=True))
        await trio.sleep(1)
        assert gc.get_threshold()[:2] == usual[:2]
        assert gc.get_threshold()[2] > usual[2]
        assert sys.getswitchinterval() < interval
        gc.collect()
        gate.event.set()
        await trio.sleep(1)
        assert gc.get_threshold()[2] < 1000
        gc.collect()
        assert gc.get_threshold() == usual
        assert sys.getswitchinterval() == interval
    assert (gc.get_threshold(), sys.getswitchinterval()) == (usual, interval)


def exchange(path: str) -> Text:
    does = "action: exchange, exchange: {issuerRef: one, scope: s}"
    return Text(f"version: v1\nentries: [{{match: {{host: h, pathPrefix: {path}}}, {does}}}]\n{'#' * LIGHT_WORK}", namespace_labels=RED)


RED, BLUE = ((("team", "red"),),), ((("team", "blue"),),)
BY_LABEL = NamespaceGrant(None, parse_selector("team=red"), ("h",), issuers=("one",), scopes=("s",))
OF_B = NamespaceGrant(frozenset({"b"}), None, ("h",), ("/b",), issuers=("one",), scopes=("s",))


@asynccontextmanager
async def two_teams(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[tuple[Assembler, Gate, list[object]]]:
    """Run an assembler with a document of each of two teams, behind a gate; the list tells when a document is read again."""
    gate, again = Gate(), list[object]()
    gate.event.set()
    made = Assembler(frozenset({"one"}), Grants((BY_LABEL, OF_B)), run_sync=gate.run_sync)
    made.put(A, exchange("/a"))
    made.put(OTHER, attrs.evolve(exchange("/b"), namespace_labels=()))
    async with running(made):
        assert (await taken(made)).snapshot.entry_count == 2
        gate.step()

        def parse(*args: Any) -> PolicyDocument:
            again.append("read")
            return parse_document(*args)

        monkeypatch.setattr(selection, "parse_document", parse)
        yield made, gate, again


async def test_narrower_grants_take_effect_before_documents_are_held_against_them(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two_teams(monkeypatch) as (made, gate, again):
        denial = DenyEntry(Source("", "baseline"), 0, MatchScope("other", "/"))
        wider = attrs.evolve(OF_B, path_prefixes=("/b", "/c"))
        made.use_grants(Grants((wider,), (denial,)))
        await trio.sleep(1)
        assert (made.take(), again) == (None, [])
        snapshot = made.refreshed()
        assert snapshot is not None
        assert isinstance(snapshot.match("h", "/a", "GET"), Unhealthy)  # rather than passing as what nobody has a policy for
        assert isinstance(snapshot.match("h", "/b", "GET"), ExchangeEntry)
        assert snapshot.match("other", "/", "GET") == denial
        gate.event.set()
        change = await taken(made)
        assert isinstance(change.snapshot.match("h", "/a", "GET"), NoMatch)
        assert change.snapshot.revocation is None
        made.use_grants(Grants((wider, OF_B)))
        made.use_grants(Grants((wider,)))
        assert isinstance((await taken(made)).snapshot.match("other", "/", "GET"), NoMatch)
        assert again == []


async def test_labels_take_effect_for_all_documents_of_a_namespace_and_read_nothing_again(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two_teams(monkeypatch) as (made, gate, again):
        made.put(B, attrs.evolve(deny("/c"), namespace_labels=BLUE))
        gate.event.set()
        change = await taken(made)
        assert isinstance(change.snapshot.match("h", "/a", "GET"), NoMatch)
        assert isinstance(change.snapshot.match("h", "/b", "GET"), ExchangeEntry)
        made.put(A, attrs.evolve(exchange("/a"), namespace_labels=RED))
        change = await taken(made)
        assert isinstance(change.snapshot.match("h", "/a", "GET"), ExchangeEntry)
        assert again == ["read"]  # of the new document


async def test_a_document_that_comes_while_grants_change_is_held_against_both(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two_teams(monkeypatch) as (made, gate, _):
        nothing = tuple(f"h{number}" for number in range(INLINE_AREAS + 1))
        made.use_grants(
            Grants((attrs.evolve(OF_B, namespaces=frozenset({"x"})), attrs.evolve(OF_B, namespaces=frozenset({"c"}), hosts=nothing)))
        )
        await trio.sleep(1)
        for namespace in "cd":
            made.put(Source(namespace, "p"), Text(deny("/d").text, namespace_labels=RED))
        change = await taken(made)
        assert {document.source.namespace for document in change.documents} == {"c", "d"}
        assert isinstance(change.snapshot.match("h", "/d", "GET"), Unhealthy)
        gate.event.set()
        change = await taken(made)
        assert (change.snapshot.entry_count, change.snapshot.revocation) == (0, None)


async def test_a_document_that_is_read_for_the_first_time_is_held_against_the_newest_labels(autojump_clock: MockClock) -> None:
    grants = read_grants(
        'version: v1\ngrants:\n- {namespaceSelector: "t=x", hosts: [h], issuers: ["*"], audiences: ["*"]}\n'
        '- {namespaceSelector: "t=y", hosts: [other], issuers: ["*"], audiences: ["*"]}',
        has_labels=True,
    )
    assert isinstance(grants, Grants)
    gate = Gate()
    made = Assembler(frozenset({"i"}), grants, run_sync=gate.run_sync)
    entry = "{match: {host: h, pathPrefix: /a}, action: exchange, exchange: {issuerRef: i, audiences: [x]}}"
    text = f"version: v1\nentries: [{entry}]\n#" + "#" * 9000
    async with running(made):
        made.put(Source("a", "p"), Text(text, "", ((("t", "x"),),)))
        await trio.sleep(1)
        made.put(Source("a", "p"), Text(text, "", ((("t", "y"),),)))
        gate.step()
        await trio.sleep(1)
        change = made.take(anyway=True)
        assert change is not None
        assert not isinstance(change.snapshot.match("h", "/a", "GET"), ExchangeEntry)
        gate.event.set()


BROKEN = Text("version: v1\nentries: [{match: {host: h, pathPrefix: /a}, action: no}, {match: {host: h, pathPrefix: /b}, action: no}]")


@pytest.mark.parametrize("change", ["repaired", "withdrawn"])
async def test_what_was_set_aside_is_read_again_when_there_is_room(autojump_clock: MockClock, change: str) -> None:
    last, limits = Source("a", "z"), NamespaceLimits(areas=3)
    gate = Gate()
    gate.event.set()
    made = Assembler(frozenset(), Grants((NamespaceGrant(None, None, ("*",)),), limits=limits), run_sync=gate.run_sync)
    async with running(made):
        for source in (A, last, OTHER):
            made.put(source, BROKEN)
        snapshot = (await taken(made)).snapshot
        found = snapshot.document(last)
        assert found is not None
        assert [problem.code for problem in found.findings] == [MANY_AREAS]
        assert isinstance(snapshot.match("h", "/c", "GET"), Unhealthy)
        made.put(A, deny("/c") if change == "repaired" else None)
        snapshot = (await taken(made)).snapshot
        await trio.sleep(1)
        later = made.take()
        snapshot = snapshot if later is None else later.snapshot
        found = snapshot.document(last)
        assert found is not None
        assert not found.is_over_quota
        assert len(found.problems) == 2
        assert isinstance(snapshot.match("h", "/d", "GET"), NoMatch)
        assert made.unread == 0
