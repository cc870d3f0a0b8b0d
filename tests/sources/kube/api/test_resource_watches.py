"""Watches against a server that a test scripts: their events, their ends, and silence."""

from collections.abc import AsyncIterator

import attrs
import orjson
import pytest
import trio

from exchanger.policy.selection import ConfigMap
from exchanger.sources.kube.api.connection import ApiConnection, ConnectionBounds
from exchanger.sources.kube.api.transport import MAX_BODY_BYTES
from exchanger.sources.kube.list_watch import ApiFailure, Bookmark, Deleted, FailureKind, Item, Key, Opened, Put, WatchEvent
from tests.sources.kube.leftovers import nothing_left, open_sockets
from tests.sources.kube.scripted_server import (
    FAST,
    LAST_CHUNK,
    WATCH_HEAD,
    Received,
    Script,
    answer,
    chunk,
    config_maps,
    connected,
    event,
    keeps_saying,
    query,
    says,
    serving,
)

POLICY = Item(Key("team", "policy"), "7", ConfigMap("team", "policy", (), "x: 1"))


async def watched(connection: ApiConnection) -> list[WatchEvent[ConfigMap]]:
    """Return all events of one watch, without the one that says that it was taken."""
    with trio.fail_after(30):
        async with config_maps(connection).watch(resource_version="5", timeout=300) as events:
            found = [event async for event in events]
    assert Opened() not in found[1:]
    return found[1:] if found[0] == Opened() else found


async def taken(events: AsyncIterator[WatchEvent[ConfigMap]]) -> None:
    """Wait until the server has taken the watch."""
    with trio.fail_after(30):
        assert await anext(events) == Opened()


async def test_a_watch_opens_before_its_first_event_and_its_waits_are_cancellable() -> None:
    take, tell = trio.Event(), trio.Event()

    async def script(_: Received, stream: trio.abc.Stream) -> None:
        await take.wait()
        await stream.send_all(WATCH_HEAD)
        await tell.wait()
        await stream.send_all(chunk(event("ADDED")) + LAST_CHUNK)

    async with connected(script) as connection, config_maps(connection).watch(resource_version="5", timeout=300) as events:
        with trio.move_on_after(0.1) as scope:
            await anext(events)
        assert scope.cancelled_caught
        take.set()
        await taken(events)
        with trio.move_on_after(0.05):
            await anext(events)
        tell.set()
        assert [found async for found in events] == [Put(POLICY)]


async def test_the_events_of_a_watch() -> None:
    lines = (
        event("ADDED"),
        event("MODIFIED", version="8"),
        event("BOOKMARK", name="", version="9"),
        event("DELETED", version="10"),
        event("BOOKMARK", name="", version="11", annotations={"k8s.io/initial-events-end": "true"}),
    )
    async with serving(says(WATCH_HEAD, *map(chunk, lines), LAST_CHUNK)) as server:
        connection = server.connection()
        assert await watched(connection) == [
            Put(POLICY),
            Put(attrs.evolve(POLICY, resource_version="8")),
            Bookmark("9"),
            Deleted(Key("team", "policy"), "10"),
            Bookmark("11", initial_events_end=True),
        ]
        assert query(server.requests[0]) == {
            "labelSelector": "enabled=true",
            "watch": "true",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": "300",
            "resourceVersion": "5",
        }


async def endless(_: Received, stream: trio.abc.Stream) -> None:
    await stream.send_all(WATCH_HEAD)
    while True:
        await stream.send_all(chunk(b" " * 65536))


@pytest.mark.parametrize(
    ("script", "bounds", "failure"),
    [
        (says(answer({"kind": "Status", "message": "no"}, "403 Forbidden")), FAST, ApiFailure(FailureKind.FORBIDDEN, 403, "no")),
        (endless, FAST, ApiFailure(FailureKind.MALFORMED, 200, f"an event of more than {MAX_BODY_BYTES} bytes")),
        (
            keeps_saying(WATCH_HEAD),
            attrs.evolve(FAST, watch_read=0.2),
            ApiFailure(FailureKind.TIMEOUT, message="no answer in time"),
        ),
    ],
    ids=["refused", "endless line", "silent"],
)
async def test_a_watch_without_events_is_one_failure(script: Script, bounds: ConnectionBounds, failure: ApiFailure) -> None:
    async with connected(script, bounds) as connection:
        assert await watched(connection) == [failure]


def error(code: int, message: str = "too old resource version: 1 (9)", **more: object) -> bytes:
    return orjson.dumps({"type": "ERROR", "object": {"kind": "Status", "code": code, "message": message, **more}}) + b"\n"


def nameless(what: str) -> bytes:
    return orjson.dumps({"type": what, "object": {"kind": "ConfigMap", "apiVersion": "v1"}}) + b"\n"


EVENTS = tuple(event(what) for what in ("ADDED", "MODIFIED", "DELETED", "BOOKMARK"))
OTHER_KIND = ApiFailure(FailureKind.MALFORMED, message="an event about something that is not a ConfigMap of v1")


@pytest.mark.parametrize(
    ("line", "failure"),
    [
        (error(410), ApiFailure(FailureKind.GONE, 410, "too old resource version: 1 (9)")),
        (error(429, "later", details={"retryAfterSeconds": 3}), ApiFailure(FailureKind.TOO_MANY_REQUESTS, 429, "later", 3.0)),
        (error(500, "boom"), ApiFailure(FailureKind.SERVER_ERROR, 500, "boom")),
        (b'{"type":"ERROR","object":{"reason":"Expired"}}\n', ApiFailure(FailureKind.GONE)),
        (b'{"type":"ERROR","object":{"code":true}}\n', ApiFailure(FailureKind.SERVER_ERROR)),
        (b'{"type":"ADDED"}\n', ApiFailure(FailureKind.MALFORMED, message="an event without an object")),
        (nameless("SHUFFLED"), ApiFailure(FailureKind.MALFORMED, message="an event of an unknown type")),
        (nameless("ADDED"), ApiFailure(FailureKind.MALFORMED, message="an event with an object that cannot be read")),
        (nameless("DELETED"), ApiFailure(FailureKind.MALFORMED, message="an event with an object that cannot be read")),
        (nameless("BOOKMARK"), ApiFailure(FailureKind.MALFORMED, message="a bookmark without a resourceVersion")),
        *((line.replace(b"ConfigMap", b"Pod"), OTHER_KIND) for line in EVENTS),
        *((line.replace(b'"apiVersion":"v1",', b""), OTHER_KIND) for line in EVENTS),
        (b"\xff\n", ApiFailure(FailureKind.MALFORMED, message="an event that is not JSON")),
    ],
)
async def test_a_failure_ends_the_watch(line: bytes, failure: ApiFailure) -> None:
    sockets = open_sockets()
    async with connected(keeps_saying(WATCH_HEAD, chunk(event("ADDED") + line + event("ADDED")))) as connection:
        assert await watched(connection) == [Put(POLICY), failure]
    await nothing_left(sockets)


@pytest.mark.parametrize(
    ("end", "message"),
    [
        ((chunk(event("ADDED")[:40]), LAST_CHUNK), "the watch ended inside an event"),
        ((chunk(event("ADDED")[:40]),), "the connection broke"),
        ((chunk(event("ADDED"))[:40],), "the connection broke"),
        ((), "the connection broke"),
    ],
)
async def test_a_watch_that_is_cut(end: tuple[bytes, ...], message: str) -> None:
    async with connected(says(WATCH_HEAD, chunk(event("ADDED")), *end)) as connection:
        first, failure = await watched(connection)
        assert first == Put(POLICY)
        assert isinstance(failure, ApiFailure)
        assert (failure.kind, failure.message) == (FailureKind.UNREACHABLE, message)


async def test_a_slow_consumer_holds_the_server_back() -> None:
    sent: list[int] = []
    stalled = trio.Event()
    batch = chunk(event("ADDED") * 200)

    async def script(request: Received, stream: trio.abc.Stream) -> None:
        await stream.send_all(WATCH_HEAD)
        for _ in range(2000):  # 60 MB, more than any buffer between the two has
            with trio.move_on_after(1) as scope:
                await stream.send_all(batch)
            if scope.cancelled_caught:
                break
            sent.append(len(batch))
        stalled.set()
        await trio.sleep_forever()

    sockets = open_sockets()
    async with connected(script) as connection:
        async with config_maps(connection).watch(resource_version="5", timeout=300) as events:
            await taken(events)
            assert isinstance(await anext(events), Put)
            await stalled.wait()
        assert 0 < len(sent) < 2000
    await nothing_left(sockets)


@pytest.mark.parametrize("reply", [answer(b"ok"), answer({}, "403 Forbidden"), answer({}, "401 Unauthorized"), answer({}, "404 Not Found")])
async def test_a_healthy_watch_may_be_silent(reply: bytes) -> None:
    probes = 0

    async def script(request: Received, stream: trio.abc.Stream) -> None:
        nonlocal probes
        if request.target == "/readyz":
            probes += 1
            await stream.send_all(reply)
            return
        await stream.send_all(WATCH_HEAD)
        while probes < 3:  # noqa: ASYNC110 - the other requests are counted, and nothing else happens
            await trio.sleep(0.01)
        await stream.send_all(chunk(event("ADDED")) + LAST_CHUNK)

    async with connected(script, attrs.evolve(FAST, quiet=0.05)) as connection:
        assert await watched(connection) == [Put(POLICY)]


async def test_a_slow_consumer_is_no_silence() -> None:
    said = (WATCH_HEAD, *(chunk(event("ADDED")) for _ in range(20)), LAST_CHUNK)
    async with serving(says(b"".join(said))) as server:  # at once: a server that is slow to say it would be silent
        connection = server.connection(attrs.evolve(FAST, quiet=0.5))
        async with config_maps(connection).watch(resource_version="5", timeout=300) as events:
            await taken(events)
            await trio.sleep(1.5)  # several times as long as a watch may be silent
            assert [found async for found in events] == [Put(POLICY)] * 20
        assert connection.probes == 0


async def test_a_watch_that_the_server_does_not_end() -> None:
    async with (
        connected(keeps_saying(WATCH_HEAD), attrs.evolve(FAST, watch_margin=0.2)) as connection,
        config_maps(connection).watch(resource_version="5", timeout=1.0) as events,
    ):
        await taken(events)
        failure = ApiFailure(FailureKind.TIMEOUT, message="the server did not end the watch when it should have")
        assert [found async for found in events] == [failure]
