"""Streams opened and reset in great numbers (CVE-2023-44487): other calls stay right, and nothing is left in the end.

``bench/rapid_reset.py`` has the figures: how fast, and how little another connection notices.
"""

from collections.abc import AsyncIterator, Callable

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from exchanger.grpc.limits import CONNECTION_WINDOW
from exchanger.grpc.routes import CallInfo, Immediate, Route, Streaming, StreamMethod
from exchanger.grpc.status import StatusCode
from tests.grpc.frames import DATA, raw, request, reset
from tests.grpc.later import Pending
from tests.grpc.peer import ECHO, Text, framed, head, routes
from tests.grpc.serving import Client, Served, serving

LATER = b"/test.Echo/Later"
STREAM = b"/test.Echo/Stream"
STREAMS = 40_000
# Fewer than may be open at once, and less than the peer's socket takes.
PER_BATCH = 200


@attrs.define(eq=False)
class Tasks:
    """Methods that wait until they are cancelled; counts how many began and ended."""

    begun: int = 0
    cancelled: int = 0

    async def wait(self) -> bytes:
        self.begun += 1
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            self.cancelled += 1
            raise

    def later(self, _message: bytes, _call: CallInfo) -> Pending:
        return Pending(self.wait)

    async def join(self, messages: object, _call: CallInfo) -> AsyncIterator[Text]:
        yield Text(await self.wait())

    def table(self) -> dict[bytes, Route]:
        return {**routes(), LATER: Immediate(self.later), STREAM: StreamMethod(self.join, Text, Streaming.STREAM_STREAM)}


def partial(stream: int) -> bytes:
    return request(stream, head(), end=False) + raw(DATA, 0, stream, framed(bytes(1000))[:500])


@attrs.frozen
class Variant:
    """What opens a stream, whether it is given the time to start a task, and how many streams there are."""

    name: str
    open: Callable[[int], bytes]
    tasks: bool = False
    streams: int = STREAMS


VARIANTS = (
    Variant("headers", lambda stream: request(stream, head(), end=False)),
    Variant("partial", partial),
    Variant("complete", lambda stream: request(stream, head(), framed(b"x"))),
    Variant("pending", lambda stream: request(stream, head(LATER), framed(b"x")), tasks=True, streams=10_000),
    Variant("stream", lambda stream: request(stream, head(STREAM), framed(b"x"), end=False), tasks=True, streams=10_000),
)


async def attack(client: Client, witness: Client, variant: Variant) -> None:
    for start in range(0, variant.streams, PER_BATCH):
        streams = [2 * number + 3 for number in range(start, start + PER_BATCH)]
        if variant.tasks:
            client.send(b"".join(map(variant.open, streams)))
            await wait_all_tasks_blocked()
            client.send(b"".join(map(reset, streams)))
        else:
            client.send(b"".join(variant.open(stream) + reset(stream) for stream in streams))
        assert (await witness.ask(b"%d" % start)).messages == [b"echo %d" % start]
        witness.peer.answers.clear()
        drain(client)


def drain(client: Client) -> None:
    """Throw away what came, which the peer knows nothing of."""
    try:
        while client.socket.recv(1 << 20):
            pass
    except BlockingIOError:
        return


def window(served: Served) -> int:
    (attacked, _) = served.server._sessions.values()
    return attacked._http.local_window_size


def witnessed(variant: Variant) -> int:
    """Return how many calls the witness made."""
    return -(-variant.streams // PER_BATCH)


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
async def test_other_calls_stay_right_and_nothing_is_left(variant: Variant) -> None:
    tasks = Tasks()
    async with serving(tasks.table()) as served:
        client, witness = await served.connect(), await served.connect()
        assert (await client.ask(b"before")).status == 0
        await attack(client, witness, variant)
        assert served.at_rest()
        assert served.faults == []
        assert tasks.begun == tasks.cancelled == (variant.streams if variant.tasks else 0)
        ended = served.server.ended_calls
        # A read may end between a complete request and its reset: then the request is answered.
        assert ended[StatusCode.CANCELLED] + (ended[StatusCode.OK] - 1 - witnessed(variant)) == variant.streams
        assert window(served) > CONNECTION_WINDOW // 2
        last = 2 * variant.streams + 3
        client.send(request(last, head(ECHO), framed(b"still here")))
        await wait_all_tasks_blocked()
        assert b"echo still here" in client.socket.recv(1 << 20)
