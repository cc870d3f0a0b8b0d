"""What other connections have sent and not read does not delay a call, counted in calls of functions."""

import trio

from tests.grpc.frames import SETTINGS, raw, request
from tests.grpc.peer import framed, head, routes
from tests.grpc.serving import serving
from tests.steps import MOST_CALLS, counted_steps

CONNECTIONS = 200
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + raw(SETTINGS, 0, 0)


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
