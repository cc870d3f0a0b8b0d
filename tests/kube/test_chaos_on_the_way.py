"""Chaos on the way to the API server: requests that fail, answers that break off, come late, or say what is not so."""

import json
from collections.abc import Callable, Generator
from typing import Final

import pytest
import trio

from tests.kube.chaos import BEFORE, SEEN_S, TRIES, WAITS_S, change, chaos, prepared
from tests.kube.cluster import deny
from tests.kube.control_plane import ControlPlane
from tests.kube.fault_proxy import Answer, Cut, Delay, Edit, Editor, Fault, Kind, Pass, Refuse, Stall, status_object

pytestmark = pytest.mark.kubernetes


@pytest.fixture
def cluster(control_plane: ControlPlane) -> Generator[ControlPlane]:
    yield from prepared(control_plane)


def is_event(kind: str, line: bytes) -> bool:
    return line.startswith(f'{{"type":"{kind}",'.encode())


def lost_place() -> Editor:
    """An event is replaced by an error of the code 410, as when the server's cache is too slow."""
    error = json.dumps({"type": "ERROR", "object": status_object(410)}).encode() + b"\n"
    return lambda line: (error,)


def added_twice() -> Editor:
    return lambda line: (line, line) if is_event("ADDED", line) else (line,)


def added_again_later() -> Editor:
    """What was added comes once more after each deletion, as out of another history."""
    added: list[bytes] = []

    def edit(line: bytes) -> tuple[bytes, ...]:
        if is_event("ADDED", line):
            added.append(line)
        return (line, *added) if is_event("DELETED", line) else (line,)

    return edit


def without(kind: str) -> Editor:
    return lambda line: () if is_event(kind, line) else (line,)


# Faults that let nothing through, and what they are called.
BLOCKING: Final[dict[str, tuple[Fault, str]]] = {
    "410": (Answer(410), "gone"),
    "500": (Answer(500), "server_error"),
    "401": (Answer(401), "unauthorized"),
    "refused": (Refuse(), "unreachable"),
}


@pytest.mark.parametrize(("fault", "failure"), BLOCKING.values(), ids=BLOCKING)
async def test_requests_fail(cluster: ControlPlane, fault: Fault, failure: str) -> None:
    async with chaos(cluster) as test:
        test.proxy.become(fault)
        test.proxy.disconnect()
        began = trio.current_time()
        await test.do(change)
        await test.until_failed(TRIES, failure)
        assert trio.current_time() - began >= WAITS_S
        assert test.in_force() == BEFORE
        test.proxy.become(Pass())
        await test.until_fresh()


async def test_no_watch_can_be_had(cluster: ControlPlane) -> None:
    async with chaos(cluster) as test:
        test.proxy.become(Answer(410, frozenset({Kind.WATCH})))
        test.proxy.disconnect()
        await test.until_failed(3, "gone")
        await test.do(change)
        await test.until_fresh()  # by lists
        test.proxy.become(Pass())
        await test.do(lambda admin: admin.put_config_map("chaos", "more", deny("/more")))
        await test.record.until(lambda: test.record.denies("/more"), SEEN_S)


START: Final[dict[str, Fault]] = {
    "500": Answer(500),
    "410": Answer(410),
    "refused": Refuse(),
    "cut": Cut(700),
    "no ConfigMaps": Answer(500, resource="configmaps"),
    "no Namespaces": Answer(500, resource="namespaces"),
}


@pytest.mark.parametrize("fault", START.values(), ids=START)
async def test_nothing_is_published_before_all_is_known(cluster: ControlPlane, fault: Fault) -> None:
    async with chaos(cluster, at_first=fault) as test:
        await test.do(change)
        await test.until_fresh()


async def test_a_server_that_asks_to_wait_is_given_time(cluster: ControlPlane) -> None:
    async with chaos(cluster) as test:
        before = test.proxy.count(Kind.LIST, Kind.WATCH)
        test.proxy.become(Answer(429, retry_after="2"))
        test.proxy.disconnect()
        began = trio.current_time()
        await test.do(change)
        await test.until_failed(2, "too_many_requests")
        storm = test.proxy.count(Kind.LIST, Kind.WATCH) - before
        # Each of the two asks when the connection broke, and then every two seconds at most.
        assert storm <= 2 * (1 + (trio.current_time() - began) / 2.0)
        test.proxy.become(Pass())
        await test.until_fresh()


@pytest.mark.parametrize("after", [0, 40, 700])
async def test_answers_break_off(cluster: ControlPlane, after: int) -> None:
    async with chaos(cluster) as test:
        test.proxy.become(Cut(after))
        await test.do(change)
        with trio.fail_after(SEEN_S):
            await test.proxy.until_struck(3)
        test.proxy.become(Pass())
        await test.until_fresh()


EDITS: Final = {"410 as event": lost_place, "added twice": added_twice, "added again later": added_again_later}


@pytest.mark.parametrize("editor", EDITS.values(), ids=EDITS)
async def test_watches_say_what_they_should_not(cluster: ControlPlane, editor: Callable[[], Editor]) -> None:
    async with chaos(cluster) as test:
        test.proxy.become(Edit(editor))
        await test.do(change)
        with trio.fail_after(SEEN_S):
            await test.proxy.until_struck(1)
        if editor is not lost_place:
            await test.until_fresh()  # nothing is to be healed
        test.proxy.become(Pass())
        await test.until_fresh()


@pytest.mark.parametrize("kind", ["ADDED", "MODIFIED", "DELETED"])
async def test_watches_leave_something_out(cluster: ControlPlane, kind: str) -> None:
    async with chaos(cluster, compare=2.0) as test:
        lists = test.proxy.count(Kind.LIST)
        test.proxy.become(Edit(lambda: without(kind)))
        await test.do(change)
        with trio.fail_after(SEEN_S):
            await test.proxy.until_struck(1)
        await test.until_fresh()  # though the fault goes on
        assert test.proxy.count(Kind.LIST) > lists


async def test_answers_are_late(cluster: ControlPlane) -> None:
    async with chaos(cluster) as test:
        test.proxy.become(Delay(0.3))
        await test.do(change)
        await test.until_fresh()
        assert test.proxy.strikes > 0


async def test_the_connection_is_silent(cluster: ControlPlane) -> None:
    async with chaos(cluster) as test:
        test.proxy.become(Stall())
        await test.do(change)
        await test.until_failed(1, "timeout")
        assert test.in_force() == BEFORE
        test.proxy.become(Pass())
        await test.until_fresh()
