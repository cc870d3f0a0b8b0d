"""The event loop is not held by a peer whose next full read is expensive, counted in calls of functions."""

from collections.abc import Callable

import pytest
from trio.testing import wait_all_tasks_blocked

from exchanger.grpc.routes import ImmediateStream
from tests.grpc.frames import DATA, END_HEADERS, END_STREAM, HEADERS, RST_STREAM, block, raw, request, word
from tests.grpc.peer import framed, head, routes
from tests.grpc.serving import serving
from tests.grpc.test_connection import STREAM
from tests.steps import MOST_CALLS, counted_steps

FULL = 64 * 1024

FLOODS: dict[str, Callable[[int], bytes]] = {
    "empty data": lambda _: raw(DATA, 0, 1),
    "no message": lambda stream: raw(HEADERS, END_HEADERS | END_STREAM, stream, block(head())),
    "refused": lambda stream: request(stream, head(b"/unknown")),
    "reset": lambda stream: request(stream, head(), end=False) + raw(RST_STREAM, 0, stream, word(8)),
    "messages": lambda stream: request(stream, head(STREAM), framed(b"") * 3200, end=False),
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
        client.send(request(1, head(), end=False))
        await wait_all_tasks_blocked()
        (session,) = served.server.sessions
        session.read_bytes = FULL  # as after cheap bytes
        with counted_steps() as steps:
            client.send(flood)
            await wait_all_tasks_blocked()
        assert not session.unparsed.pending
        assert max(steps.most.values()) < MOST_CALLS, steps.most
