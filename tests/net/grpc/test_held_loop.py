"""A peer whose next full read is expensive does not hold the loop, nor what others did not read a call: in calls of functions."""

from collections.abc import Callable

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from exchanger.net.grpc.routes import ImmediateStream
from tests.net.grpc.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    block,
    raw,
    request,
    word,
)
from tests.net.grpc.peer import framed, head, routes
from tests.net.grpc.serving import serving
from tests.net.grpc.test_connection import STREAM
from tests.steps import MOST_CALLS, counted_steps

FULL = 64 * 1024
CONNECTIONS = 200
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + raw(SETTINGS, 0, 0)

INDEXED = b"\x40\x01x\x7f\xbd\x1d" + b"y" * 3900  # one field that becomes an entry (RFC 7541 section 6.2.1)
MALFORMED = b"\x00\x01X\x01y"


def referring(end: bytes = b"") -> Callable[[int], bytes]:
    """Return requests that refer to the newest entry of the header table again and again."""
    return lambda stream: raw(HEADERS, END_HEADERS, stream, block(head()) + b"\xbe" * 60 + end)


FLOODS: dict[str, Callable[[int], bytes]] = {
    "empty data": lambda _: raw(DATA, 0, 1),
    "windows": lambda _: raw(WINDOW_UPDATE, 0, 0, word(1)),
    "pings": lambda _: raw(PING, 0, 0, bytes(8)),
    "settings": lambda stream: raw(SETTINGS, 0, 0, b"\0\4" + word(65_535 - stream // 2 % 2)),
    "no message": lambda stream: raw(HEADERS, END_HEADERS | END_STREAM, stream, block(head())),
    "refused": lambda stream: request(stream, head(b"/unknown")),
    "reset": lambda stream: request(stream, head(), end=False) + raw(RST_STREAM, 0, stream, word(8)),
    "fields": referring(),
    "fields of malformed heads": referring(MALFORMED),
    "messages": lambda stream: request(stream, head(STREAM), framed(b"") * 3200, end=False),
    "messages before a wrong one": lambda stream: request(stream, head(STREAM), framed(b"") * 3200 + b"\7", end=False),
    "requests": lambda stream: request(stream, head(), framed(b"")),
}


@pytest.mark.parametrize("name", FLOODS)
async def test_a_full_read_of_expensive_bytes_does_not_hold_the_loop(name: str) -> None:
    unit, flood, stream = FLOODS[name], b"", 101
    while len(flood) < FULL:
        flood += unit(stream)
        stream += 2
    async with serving({**routes(), STREAM: ImmediateStream(lambda message, _call: message)}) as served:
        client = await served.connect()
        client.send(raw(HEADERS, END_HEADERS, 1, block(head()) + INDEXED))
        await wait_all_tasks_blocked()
        (session,) = served.server.sessions
        session.read_bytes = FULL  # as after cheap bytes
        with counted_steps() as steps:
            client.send(flood)
            await wait_all_tasks_blocked()
        assert not session.unparsed.pending
        assert max(steps.most.values()) < MOST_CALLS, steps.most


async def calls_until_answered(calls: int) -> int:
    """Return the most calls of functions until a call is answered, while each of the other connections has ``calls`` and reads nothing."""
    most = 0
    async with serving(routes(), max_connections=CONNECTIONS + 1) as served:
        client = await served.connect()
        stream = trio.socket.from_stdlib_socket(client.socket)
        others = [served.open(served.port) for _ in range(CONNECTIONS)]
        backlog = b"".join(request(2 * number + 1, head(), framed(b"x")) for number in range(calls))
        for other in others:
            other.send(PREFACE)
        await client.settle()
        for other in others:
            assert other.send(backlog) == len(backlog)
        with counted_steps() as steps:
            for number in range(4):
                asked, before = client.peer.call(b"%d" % number), steps.total
                client.send()
                while not client.peer.answers[asked].closed:
                    client.peer.receive(await stream.recv(1 << 16))
                assert client.peer.answers[asked].messages == [b"echo %d" % number]
                most = max(most, steps.total - before)
        for other in others:
            other.close()
    return most


async def test_calls_of_others_do_not_delay_a_call() -> None:
    # Together, the other connections would take 116,000 calls of functions with 100 calls each, and four times as many with 400.
    for calls in (100, 400):
        assert await calls_until_answered(calls) < MOST_CALLS
